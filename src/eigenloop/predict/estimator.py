"""`LoopedPCA`: the trained looped transformer as a scikit-learn estimator (NumPy float64).

What it applies is in `eigenloop.predict.prediction`, how that is trained in `eigenloop.predict.recipes`; both are found
here as well.
"""

from functools import lru_cache
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
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
    Target,
    check_settings,
    predict,
    rounding_of_mean,
    treated,
)
from eigenloop.predict.recipes import (
    TRAINING_STEPS,
    blocks_of_run,
    cache_folder,
    cached_blocks,
    train_blocks,
    training_recipe,
)

__all__ = [
    "ORIENTATION", "PLATEAU_REASON", "Blocks", "LoopedPCA", "Prediction", "Target", "blocks_of_run", "cache_folder",
    "cached_blocks", "check_settings", "predict", "train_blocks", "training_recipe",
]  # fmt: skip


class LoopedPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The first principal component, found by a looped transformer trained on synthetic data of the same dimension.

    By default the top direction of unit-norm, uncentred rows, as in arXiv 2606.00605; `center=True, normalize=False`
    gives the usual principal component. A zero row weighs nothing. The model is trained on the first fit of its
    dimension and kept in this process's memory; nothing is written.

    Args:
        center: subtract the mean row.
        normalize: divide each row by its norm, when fitting and when transforming.
        loops: K >= 1.
        training_steps: length of the training; 2,000 leaves an angle of about 1e-3 to the exact component.
        random_state: an integer decides the training and the start q_0. Otherwise the model of training seed 0 is used,
            and the start comes from the generator (None: NumPy's global one).

    Attributes:
        components_: (1, d), unit, its entry of largest absolute value positive.
        mean_: (d,), what is subtracted; zeros without centring.
        explained_variance_ratio_: (1,), component^T S component / tr S.
        n_iter_: loops applied.
        angle_: angle in radians to the exact component after them.
        n_features_in_: d.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> pca = LoopedPCA(training_steps=200, random_state=0).fit(load_iris().data)
        >>> pca.transform(load_iris().data).shape, bool(pca.angle_ < 0.05)
        ((150, 1), True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "center": ["boolean"],
        "normalize": ["boolean"],
        "loops": [Interval(Integral, 1, None, closed="left")],
        "training_steps": [Interval(Integral, 1, MOST, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        center=False,  # no annotations: scikit-learn wants any value taken here and checked by fit
        normalize=True,
        loops=LOOPS,
        training_steps=TRAINING_STEPS,
        random_state=None,
    ):
        self.center = center
        self.normalize = normalize
        self.loops = loops
        self.training_steps = training_steps
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "LoopedPCA":
        """Find the component of a table.

        Args:
            X: (n, d), rows = samples, n >= 2, d >= 2.
            y: ignored.

        Raises:
            ValueError: no such table, only zero rows, all eigenvalues of S equal, or a parameter out of range.
        """
        del y
        self._validate_params()
        rows = _validated(self, X, ensure_min_samples=2, ensure_min_features=2)
        target = Target.from_rows(rows, center=self.center, normalize=self.normalize, allow_zero=True)
        state = self.random_state
        whole = isinstance(state, int | np.integer)
        seed = int(state) if whole else 0
        blocks = _remembered(rows.shape[1], int(self.training_steps), seed)
        start = seed if whole else check_random_state(state).randint(2**31)
        found = predict(target, blocks, loops=int(self.loops), seed=start)
        self.components_ = found.component[None]
        self.mean_ = rows.mean(axis=0) if self.center else np.zeros(rows.shape[1])
        # a row within rounding of the mean has no direction: as in the fit, for the sizes that were met there
        self._rounding = rounding_of_mean(rows.shape[1]) * np.abs(rows).max() if self.center else 0.0
        self.explained_variance_ratio_ = np.array([found.explained])
        self.n_iter_ = self.loops
        self.angle_ = found.angle_to_exact[-1]
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "n 1"]:
        """Coordinates along the component of the rows, treated as in the fit (centred, normalised; zero stays zero).

        Args:
            X: (n, d), rows = samples.
        """
        check_is_fitted(self)
        rows = _validated(self, X, reset=False) - self.mean_
        return treated(rows, rounding=self._rounding, unit=self.normalize) @ self.components_.T

    @property
    def _n_features_out(self) -> int:
        return 1


def _validated(estimator: BaseEstimator, X: Any, **options: Any) -> np.ndarray:
    return np.asarray(validate_data(estimator, X, dtype=np.float64, **options))


@lru_cache(maxsize=16)
def _remembered(dim: int, steps: int, seed: int) -> Blocks:
    return train_blocks(training_recipe(dim, steps=steps, seed=seed))
