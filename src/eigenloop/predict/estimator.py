"""`LoopedPCA`: the trained looped transformer as a scikit-learn estimator (NumPy float64).

What it applies is in `eigenloop.predict.prediction`, how that is trained in
`eigenloop.predict.recipes`; both are found here as well.
"""

import warnings
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from eigenloop.lab.config import MOST
from eigenloop.predict.prediction import (
    LOOPS,
    ORIENTATION,
    PLATEAU_REASON,
    Blocks,
    Prediction,
    check_settings,
    predict,
)
from eigenloop.predict.recipes import (
    TRAINING_STEPS,
    blocks_of_run,
    cached_blocks,
    train_blocks,
    training_recipe,
)
from eigenloop.predict.targets import Target, Treatment

__all__ = [
    "ORIENTATION",
    "PLATEAU_REASON",
    "Blocks",
    "LoopedPCA",
    "Prediction",
    "Target",
    "blocks_of_run",
    "cached_blocks",
    "check_settings",
    "predict",
    "train_blocks",
    "training_recipe",
]


class LoopedPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The first principal component, found by a looped transformer trained on synthetic data of the
    same dimension.

    By default the top direction of unit-norm, uncentred rows, as in arXiv 2606.00605;
    `center=True, normalize=False` gives the usual principal component. A zero row weighs nothing.
    The model is trained on the first fit of its dimension and kept in memory and in the cache that
    `eigenloop predict` uses ($XDG_CACHE_HOME/eigenloop), so that other processes need not train it
    again; in a forked process it is trained by a fresh Python.

    Args:
        n_components: 1; the query of a looped transformer leaves with one direction.
        center: subtract the mean row.
        normalize: divide each row by its norm, when fitting and when transforming.
        loops: K >= 1.
        tol: angle in radians to the exact component; a larger one after the loops is a
            `ConvergenceWarning`.
        training_steps: length of the training; 2,000 leaves an angle of about 1e-3 to the exact
            component.
        random_state: an integer decides the training and the start q_0. Otherwise the model of
            training seed 0 is used, and the start comes from the generator (None: NumPy's global
            one).

    Attributes:
        components_: (1, d), unit. Its sign is that of the exact component whose first entry within
            1e-6 (relative) of its largest absolute one is positive, so that neither seed nor order
            of the rows changes it.
        mean_: (d,), what is subtracted; zeros without centring.
        explained_variance_: (1,), component^T S component / (n - 1), S of the treated rows (of unit
            length where they are normalised); the variance along the component for
            `center=True, normalize=False`.
        explained_variance_ratio_: (1,), component^T S component / tr S.
        singular_values_: (1,), the square root of component^T S component.
        noise_variance_: mean of the variances across the component, as in `PCA`.
        angle_: angle in radians to the exact component after the loops.
        converged_: whether it is at most `tol`.
        plateau_angle_: angle where the loops end, by the noise that training leaves; NaN where they
            have no limit.
        loops_taken_: first loop after which the angle is at most `tol`; None if none is.
        n_iter_: loops applied.
        n_components_: 1.
        n_samples_: n.
        n_features_in_: d.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> pca = LoopedPCA(training_steps=200, tol=0.05, random_state=0).fit(load_iris().data)
        >>> pca.transform(load_iris().data).shape, bool(pca.angle_ < 0.05)
        ((150, 1), True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Integral],
        "center": ["boolean"],
        "normalize": ["boolean"],
        "loops": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, np.pi / 2, closed="neither")],
        "training_steps": [Interval(Integral, 1, MOST, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        # no annotations: scikit-learn wants any value taken here and checked by fit
        n_components=1,
        *,
        center=False,
        normalize=True,
        loops=LOOPS,
        tol=1e-2,
        training_steps=TRAINING_STEPS,
        random_state=None,
    ):
        self.n_components = n_components
        self.center = center
        self.normalize = normalize
        self.loops = loops
        self.tol = tol
        self.training_steps = training_steps
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may expect: sparse input is taken, float32 comes back as float32."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X: Any, y: Any = None) -> "LoopedPCA":
        """Find the component of a table.

        Args:
            X: (n, d), rows = samples, n >= 2, d >= 2; an array, a data frame, or sparse.
            y: ignored.

        Raises:
            ValueError: no such table, only zero rows, all eigenvalues of S equal, or a parameter
                out of range.
        """
        del y
        self._validate_params()
        if self.n_components != 1:
            raise ValueError(
                f"n_components is {self.n_components}, but a looped transformer finds one"
                " direction, the first principal component; give 1, or use"
                " sklearn.decomposition.PCA"
            )
        rows = _validated(self, X, ensure_min_samples=2, ensure_min_features=2)
        n, d = rows.shape
        target = Target.from_rows(rows, center=self.center, normalize=self.normalize)
        state = self.random_state
        whole = isinstance(state, int | np.integer)
        seed = int(state) if whole else 0
        blocks = _remembered(d, int(self.training_steps), seed)
        start = seed if whole else check_random_state(state).randint(2**31)
        found = predict(
            target, blocks, loops=int(self.loops), tolerance=float(self.tol), seed=start
        )
        self.components_ = found.component[None]
        self._treatment = Treatment.of(rows, center=self.center, normalize=self.normalize)
        self.mean_ = self._treatment.mean * self._treatment.peak
        self.n_components_, self.n_samples_, self.n_iter_ = 1, n, self.loops
        self._keep_variances(target)
        self.angle_ = found.angle_to_exact[-1]
        self.converged_ = bool(self.angle_ <= self.tol)
        self.plateau_angle_ = np.nan if found.plateau_angle is None else found.plateau_angle
        self.loops_taken_ = found.loops_taken
        if not self.converged_:
            why = found.reasons.get(
                "loops_taken", f"it was after {found.loops_taken} loops, and left again"
            )
            warnings.warn(
                f"LoopedPCA is at an angle of {self.angle_:.2g} to the exact component, above"
                f" tol={self.tol:g}: {why}",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "n 1"]:
        """Coordinates along the component of the rows, treated as in the fit (centred, normalised;
        zero stays zero).

        Args:
            X: (n, d), rows = samples.
        """
        rows = self._rows_like_those_of_the_fit(X)
        size = 1.0 if self.normalize else self._treatment.peak
        coordinates = [
            size * (block @ self.components_.T) for block in self._treatment.blocks(rows)
        ]
        return np.concatenate(coordinates).astype(rows.dtype, copy=False)

    def inverse_transform(self, X: Any) -> Float[np.ndarray, "n d"]:
        """Rows from their coordinates: t component + mean.

        Where rows are normalised their lengths are gone, and with them the scale on which a mean
        could be added: then t component, next to the unit rows.

        Args:
            X: (n, 1), from `transform`.
        """
        check_is_fitted(self)
        coordinates = np.asarray(X, dtype=np.float64)
        if coordinates.ndim != 2 or coordinates.shape[1] != 1:
            raise ValueError(
                f"coordinates have shape {coordinates.shape}; they must be (n, 1), as transform"
                " gives them"
            )
        return coordinates @ self.components_ + (0.0 if self.normalize else self.mean_)

    def get_covariance(self) -> Float[np.ndarray, "d d"]:
        """Covariance of the probabilistic model: noise I + (explained variance - noise) component
        component^T.

        Source: Tipping and Bishop 1999, as `PCA.get_covariance`; of the treated rows.
        """
        check_is_fitted(self)
        (component,), excess = self.components_, self.explained_variance_[0] - self.noise_variance_
        return excess * np.outer(component, component) + self.noise_variance_ * np.eye(
            component.size
        )

    def score_samples(self, X: Any) -> Float[np.ndarray, " n"]:
        """Log-likelihood of each row under a normal law of covariance `get_covariance`, about the
        mean.

        Args:
            X: (n, d), rows = samples, treated as in the fit.

        Raises:
            ValueError: no variance is left across the component, so that there is no density.
        """
        rows = self._rows_like_those_of_the_fit(X)
        along, across, d = (
            self.explained_variance_[0],
            self.noise_variance_,
            self.components_.shape[1],
        )
        if not (across > 0 and along > 0):
            raise ValueError(
                "all rows lie on the component: the model has no density and no likelihood"
            )
        size, found = (1.0 if self.normalize else self._treatment.peak), []
        for block in self._treatment.blocks(rows):
            coordinates = size * (block @ self.components_[0])
            rest = np.sum((size * block - coordinates[:, None] * self.components_) ** 2, axis=1)
            found.append(coordinates**2 / along + rest / across)
        constant = d * np.log(2 * np.pi) + np.log(along) + (d - 1) * np.log(across)
        return -0.5 * (constant + np.concatenate(found))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`, as `PCA.score`.

        Args:
            X: (n, d), rows = samples.
            y: ignored.
        """
        del y
        return float(np.mean(self.score_samples(X)))

    def _keep_variances(self, target: Target) -> None:
        (component,), n, d = self.components_, self.n_samples_, self.components_.shape[1]
        energy, total = component @ target.gram @ component, np.trace(target.gram)
        self.explained_variance_ratio_ = np.array([energy / total])
        self.singular_values_ = np.array([np.sqrt(energy) * target.length])
        with np.errstate(over="ignore"):  # beyond 1e154 a variance is no float64
            self.explained_variance_ = self.singular_values_**2 / (n - 1)
            rest = np.float64(np.sqrt(max(total - energy, 0.0)) * target.length)
            self.noise_variance_ = float(rest**2 / (n - 1) / (d - 1))

    def _rows_like_those_of_the_fit(self, X: Any) -> Any:
        check_is_fitted(self)
        return _validated(self, X, reset=False)

    @property
    def _n_features_out(self) -> int:
        return 1


def _validated(estimator: BaseEstimator, X: Any, **options: Any) -> Any:
    return validate_data(
        estimator, X, dtype=[np.float64, np.float32], accept_sparse="csr", **options
    )


@lru_cache(maxsize=16)
def _remembered(dim: int, steps: int, seed: int) -> Blocks:
    return cached_blocks(training_recipe(dim, steps=steps, seed=seed))
