"""The trained looped transformer on real tables: predict a principal component, and the same for scikit-learn.

    q_l = N(q_{l-1} + A S B q_{l-1}),   S = X X^T,   A, B the trained matrices themselves (never their traces)

Training does not see the table: the model learns from synthetic data of its dimension (Task 1, arXiv 2606.00605,
Section 5) and is then applied to the table's S (Assumption 4.4, out of distribution). NumPy float64.

Cost: S, A and B are d x d, and the exact eigenvectors and the plateau are dense decompositions: O(d^2) memory and
O(d^3) time, besides a training that holds `BATCH` matrices S in float32 at once, 4 BATCH d^2 bytes for each copy (2 MB
at d = 64, 300 MB at d = 784, 2 GB at d = 2000). Measured on 2 busy cores: d = 64 trains in 11 to 14 s; d = 784 takes
0.9 s a step (half an hour for 2,000, once; an interrupted training starts again) and 1.2 GB at its peak.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from eigenloop import __version__
from eigenloop.blocks import TwoBlock
from eigenloop.errors import InputError
from eigenloop.power import loops_needed, normalize, sin_angle
from eigenloop.runs import load_arrays, save_arrays
from eigenloop.spectrum import require_gap
from eigenloop.training import Progress, TrainConfig, load_run, train

BATCH = 128
TRAINING_STEPS = 2000
LOOPS = 100
MAX_COLUMNS = 32
"""Most columns of a training X: what a step costs beyond it buys no accuracy (see `training_recipe`)."""

ESTIMATES = {
    (False, True): "the top direction of unit-norm, uncentred rows, as in the paper "
    "(--center --no-normalize gives the usual principal component)",
    (True, True): "the top direction of centred rows, each divided by its norm",
    (
        False,
        False,
    ): "the top direction of uncentred rows of any length (S rescaled to trace n, which moves no direction)",
    (True, False): "the usual principal component: centred rows of any length (S rescaled to trace n, which moves no "
    "direction)",
}
"""What is estimated, by (center, normalize)."""

ORIENTATION = "rows of the table are samples; they became the columns of X, once"

PLATEAU_REASON = (
    "the trained A, B are not exact multiples of I, so the loops converge to the dominant eigenvector of I + A S B, "
    "not to u_1"
)


@dataclass(frozen=True)
class Blocks:
    """Trained A and B in float64, (d, d) each."""

    a: Float[np.ndarray, "d d"]
    b: Float[np.ndarray, "d d"]

    @property
    def dim(self) -> int:
        """Dimension d of the data vectors."""
        return self.a.shape[0]

    @property
    def gamma(self) -> float:
        """Scalar summary gamma = tr(AB)/d: used for the prediction of Theorem 4.6 only, never to apply the model."""
        return float(np.sum(self.a * self.b.T)) / self.dim

    def states(
        self, gram: Float[np.ndarray, "d d"], start: Float[np.ndarray, " d"], *, loops: int
    ) -> Float[np.ndarray, "K d"]:
        """q_0..q_K of q_l = N(q_{l-1} + A S B q_{l-1}), unit rows, q_0 = N(start).

        Example:
            >>> Blocks(np.eye(2), np.eye(2)).states(np.diag([1.0, 0.0]), np.array([1.0, 1.0]), loops=1).round(4)
            array([[0.7071, 0.7071],
                   [0.8944, 0.4472]])
        """
        states = [normalize(start)]
        for _ in range(loops):
            query = states[-1]
            states.append(normalize(query + self.a @ (gram @ (self.b @ query))))
        return np.stack(states)

    def plateau_angle(
        self, gram: Float[np.ndarray, "d d"], basis: Float[np.ndarray, "d m"]
    ) -> tuple[float | None, str | None]:
        """Angle in radians between the limit of the loops and the principal subspace; None with a reason if undefined.

        The limit is the dominant eigenvector of I + A S B, which is u_1 for every S only if A, B are multiples of I. A
        tie that noise turns into a complex pair makes the loops rotate in a plane: for m >= 2 the plane's largest angle
        to PS is given.

        Args:
            gram: S.
            basis: orthonormal basis of PS.

        Example:
            >>> Blocks(np.eye(2), np.eye(2)).plateau_angle(np.diag([2.0, 1.0]), np.eye(2)[:, :1])
            (0.0, None)
        """
        values, vectors = np.linalg.eig(np.eye(self.dim) + self.a @ gram @ self.b)
        top = int(np.argmax(np.abs(values)))
        vector = vectors[:, top]
        if np.imag(values[top]) == 0:
            return _angle(np.real(vector), basis), None
        if basis.shape[1] < 2:
            return None, "I + A S B has a complex dominant pair, so the loops rotate and have no limit; train longer"
        plane = np.linalg.qr(np.stack([np.real(vector), np.imag(vector)], axis=1))[0]
        outside = np.linalg.norm(plane - basis @ (basis.T @ plane), ord=2)
        return float(np.arcsin(min(outside, 1.0))), None


@dataclass(frozen=True)
class Target:
    """What a table asks for: S with its exact eigenvalues (descending) and principal subspace."""

    gram: Float[np.ndarray, "d d"]
    eigenvalues: Float[np.ndarray, " d"]
    basis: Float[np.ndarray, "d m"]
    samples: int
    center: bool
    normalized: bool

    @classmethod
    def from_rows(
        cls, rows: Float[np.ndarray, "n d"], *, center: bool = False, normalize: bool = True, allow_zero: bool = False
    ) -> "Target":
        """S = X X^T of the rows, which become the columns of X here, once.

        Args:
            rows: (n, d), finite.
            center: subtract the mean row first (the usual principal component).
            normalize: divide each row by its norm (the paper's unit columns); otherwise S <- S n / tr S.
            allow_zero: let a zero row count for nothing instead of refusing it (only where rows are normalised).

        Raises:
            InputError: a zero row, nothing but zeros, or all eigenvalues equal.

        Example:
            >>> Target.from_rows(np.array([[3.0, 0.0], [5.0, 0.0], [0.0, 1.0]])).eigenvalues
            array([2., 1.])
        """
        n, d = rows.shape
        peak = np.abs(rows).max()
        rows = rows / peak if peak > 0 else rows  # only directions matter, and squares must stay in range
        rounding = 0.0
        if center:
            rows = rows - rows.mean(axis=0)
            rounding = 8 * np.finfo(np.float64).eps * np.sqrt(d)
        rows = _unit_rows(rows, rounding=rounding) if normalize else np.where(_sizes(rows) > rounding, rows, 0.0)
        zero = np.flatnonzero(~rows.any(axis=1))
        after = " once the mean is subtracted" if center else ""
        if zero.size == n:
            raise InputError(f"all {n} rows are zero{after}; there is no direction to find")
        if zero.size and normalize and not allow_zero:
            raise InputError(f"row {zero[0] + 1} is zero{after} and has no direction; remove it or give --no-normalize")
        gram = rows.T @ rows
        if not normalize:
            gram *= n / np.trace(gram)
        values, vectors = np.linalg.eigh(gram)
        values, vectors = values[::-1].clip(0), vectors[:, ::-1]
        return cls(gram, values, vectors[:, : require_gap(values)], n, center, normalize)


@dataclass(frozen=True)
class Prediction:
    """A predicted component with its certificate. Angles in radians, to the exact principal subspace."""

    component: Float[np.ndarray, " d"]
    """q_K, unit, its entry of largest absolute value positive."""
    start_angle: float
    angle_to_exact: tuple[float, ...]
    """After loops 1..K."""
    plateau_angle: float | None
    loops_predicted: int | None
    """Loops that suffice by the upper bound of Theorem 4.6 for a scalar model of the same gamma."""
    loops_taken: int | None
    """First loop within the tolerance; 0 if the start already was."""
    explained: float
    """component^T S component / tr S."""
    dim: int
    samples: int
    loops: int
    tolerance: float
    gamma: float
    estimates: str
    reasons: dict[str, str]
    """Why an entry is None."""

    @property
    def converged(self) -> bool:
        """Whether the tolerance was reached within the loops."""
        return self.loops_taken is not None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; never NaN."""
        plain = {**vars(self), "component": self.component.tolist(), "angle_to_exact": list(self.angle_to_exact)}
        return {**plain, "converged": self.converged, "plateau_reason": PLATEAU_REASON, "orientation": ORIENTATION}


def check_settings(*, loops: int, tolerance: float) -> None:
    """Refuse settings without meaning, before anything is trained.

    Raises:
        InputError: loops below 1, or a tolerance that is no angle above 0.
    """
    if loops < 1:
        raise InputError(f"--loops is {loops}; it must be at least 1")
    if not 0 < tolerance < np.pi / 2:
        raise InputError(f"--tolerance is {tolerance:g}; it is an angle in radians, above 0 and below pi/2")


def predict(
    target: Target, blocks: Blocks, *, loops: int = LOOPS, tolerance: float = 1e-2, seed: int = 0
) -> Prediction:
    """Apply trained blocks to a table's S from a fixed random unit start, and measure each loop.

    Args:
        target: from `Target.from_rows`.
        blocks: of the same dimension.
        loops: K >= 1.
        tolerance: angle in radians to reach.
        seed: of the start q_0.

    Raises:
        InputError: loops, tolerance or dimensions that cannot be.

    Example:
        >>> exact = Blocks(2 * np.eye(2), 2 * np.eye(2))
        >>> rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> predict(Target.from_rows(rows), exact).component.round(6) + 0.0
        array([1., 0.])
    """
    check_settings(loops=loops, tolerance=tolerance)
    dim = target.gram.shape[0]
    if blocks.dim != dim:
        raise InputError(f"the model has dimension {blocks.dim}, but the data have {dim} features; they must be equal")
    start = np.random.default_rng(seed).standard_normal(dim)
    states = blocks.states(target.gram, start, loops=loops)
    angles = [_angle(state, target.basis) for state in states]
    taken = next((k for k, angle in enumerate(angles) if angle <= tolerance), None)
    reasons: dict[str, str] = {}
    plateau, reason = blocks.plateau_angle(target.gram, target.basis)
    if reason is not None:
        reasons["plateau_angle"] = reason
    gamma, predicted = blocks.gamma, None
    if gamma > 0:
        predicted = loops_needed(
            target.eigenvalues, tan_start=float(np.tan(angles[0])), tolerance=float(np.sin(tolerance)), gamma=gamma
        )
    if predicted is None:
        reasons["loops_predicted"] = f"gamma = tr(AB)/d is {gamma:g}: Theorem 4.6 needs it positive; train longer"
    if taken is None:
        reasons["loops_taken"] = _not_reached(tolerance, loops, plateau, predicted)
    component = states[-1] * np.sign(states[-1][np.argmax(np.abs(states[-1]))])
    explained = float(component @ target.gram @ component / np.trace(target.gram))
    return Prediction(
        component, angles[0], tuple(angles[1:]), plateau, predicted, taken, explained, dim, target.samples, loops,
        tolerance, gamma, ESTIMATES[target.center, target.normalized], reasons,
    )  # fmt: skip


def training_recipe(dim: int, *, steps: int = TRAINING_STEPS, seed: int = 0) -> TrainConfig:
    """How the model that `predict` applies is trained: one layer with LN, layerwise, on fresh samples of Task 1.

    The learning rate starts at d, since the gradient of a d x d block at a multiple of I has 1/d of the trace's
    derivative, and falls to 0 along a cosine, which averages the noise in A and B away. Plateau angles on the digits
    (d = 64, 2,000 steps, seed 0, 2 busy cores): with 128 columns and batch 64, 0.0077 at a constant rate d/4, 0.0029
    with the cosine, 0.0009 with the cosine from d (16 to 26 s); with 32 columns and batch 128, from d, 0.0014 (11 s).

    X has min(2d, 32) columns: beyond 32 a step mostly pays for drawing X and forming S. Assumption 3.2 (A3),
    E[1/lambda_d] < infinity, fails with n < d + 2; it is sufficient only, and what Theorem 4.3 needs of it,
    Y2 = E[(||q||^2 ||Sq||^2 - (q.Sq)^2) / ||Sq||^4] < infinity, holds here, as ||Sq||^2 >= ||X^T q||^4 and
    E[1/||X^T q||^4] is finite from n = 5 columns on.

    Args:
        dim: d >= 2.
        steps: length of the training.
        seed: of the training.

    Example:
        >>> training_recipe(64).samples, training_recipe(4).samples
        (32, 8)
    """
    return TrainConfig.create(
        dim=dim, samples=min(2 * dim, MAX_COLUMNS), objective="layerwise", loops=1, fresh=True, steps=steps,
        learning_rate=float(dim), batch=BATCH, test_size=BATCH, seed=seed,
    )  # fmt: skip


def train_blocks(config: TrainConfig, *, report: Callable[[Progress], None] = lambda progress: None) -> Blocks:
    """Train by a `training_recipe`, with its cosine schedule."""

    def learning_rate(step: Any) -> jax.Array:
        phase = jnp.pi * step.astype(jnp.float32) / config.total_steps
        return config.learning_rate * 0.5 * (1 + jnp.cos(phase))

    model = TwoBlock.from_full(train(config, optimizer=optax.sgd(learning_rate), report=report).model)
    return _checked_blocks(np.asarray(model.a[0]), np.asarray(model.b[0]), "the training")


def cached_blocks(
    config: TrainConfig,
    folder: Path | None = None,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    note: Callable[[str], None] = lambda message: None,
) -> Blocks:
    """The blocks of a recipe from the cache, trained and kept there if they are not.

    Args:
        config: from `training_recipe`.
        folder: the cache; None for `cache_folder()`. Files are named by version, dimension and configuration.
        report: called while training.
        note: told in one line when an entry is damaged (it is trained again) or cannot be kept.
    """
    schedule = f"{config.model_dump_json()} cosine {jax.__version__}"
    digest = hashlib.sha256(schedule.encode()).hexdigest()[:16]
    path = (folder or cache_folder()) / f"predict-{__version__}-d{config.dim}-{digest}.safetensors"
    if path.exists():
        try:
            arrays = load_arrays(path)
            if arrays.keys() != {"A", "B"} or any(m.shape != (config.dim, config.dim) for m in arrays.values()):
                raise InputError(f"{path} does not hold A and B of dimension {config.dim}")
            return _checked_blocks(arrays["A"], arrays["B"], str(path))
        except InputError as error:
            note(f"the cached model cannot be used and is trained again: {error}")
    blocks = train_blocks(config, report=report)
    try:
        save_arrays(path, {"A": blocks.a.astype(np.float32), "B": blocks.b.astype(np.float32)})
    except (InputError, OSError):
        note(f"the trained model is not kept: {path.parent} cannot be written; set XDG_CACHE_HOME to choose another")
    return blocks


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/eigenloop, or ~/.cache/eigenloop."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "eigenloop"


def blocks_of_run(directory: Path, *, dim: int) -> Blocks:
    """A and B of a run made by `eigenloop train` (its first seed where it has several).

    Raises:
        InputError: no such run, a damaged one, or one of another dimension.
    """
    run = load_run(directory)
    if run.config.dim != dim:
        raise InputError(
            f"{directory} was trained with --dim {run.config.dim}, but the data have {dim} features; "
            f"train one with --dim {dim} or leave --run out"
        )
    model = TwoBlock.from_full(run.model)
    return _checked_blocks(np.asarray(model.a[0]), np.asarray(model.b[0]), str(directory))


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
        check_settings(loops=self.loops, tolerance=1e-2)
        if self.training_steps < 1:
            raise InputError(f"training_steps is {self.training_steps}; it must be at least 1")
        rows = _validated(self, X, ensure_min_samples=2, ensure_min_features=2)
        target = Target.from_rows(rows, center=self.center, normalize=self.normalize, allow_zero=True)
        state = self.random_state
        whole = isinstance(state, int | np.integer)
        seed = int(state) if whole else 0
        blocks = _remembered(rows.shape[1], self.training_steps, seed)
        start = seed if whole else check_random_state(state).randint(2**31)
        found = predict(target, blocks, loops=self.loops, seed=start)
        self.components_ = found.component[None]
        self.mean_ = rows.mean(axis=0) if self.center else np.zeros(rows.shape[1])
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
        return (_unit_rows(rows) if self.normalize else rows) @ self.components_.T

    @property
    def _n_features_out(self) -> int:
        return 1


def _validated(estimator: BaseEstimator, X: Any, **options: Any) -> np.ndarray:
    return np.asarray(validate_data(estimator, X, dtype=np.float64, **options))


@lru_cache(maxsize=16)
def _remembered(dim: int, steps: int, seed: int) -> Blocks:
    return train_blocks(training_recipe(dim, steps=steps, seed=seed))


def _checked_blocks(a: np.ndarray, b: np.ndarray, source: str) -> Blocks:
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        raise InputError(f"{source} gave matrices that are not finite; train with a smaller learning rate")
    return Blocks(a.astype(np.float64), b.astype(np.float64))


def _sizes(rows: np.ndarray) -> np.ndarray:
    return np.abs(rows).max(axis=1, keepdims=True)


def _unit_rows(rows: np.ndarray, *, rounding: float = 0.0) -> np.ndarray:
    """Rows divided by their norms; those whose entries are within `rounding` of 0 become 0."""
    sizes = _sizes(rows)
    scaled = np.where(sizes > rounding, rows, 0.0) / np.where(sizes > 0, sizes, 1.0)  # so that no square underflows
    return normalize(scaled)


def _angle(vector: np.ndarray, basis: np.ndarray) -> float:
    return float(np.arcsin(np.minimum(sin_angle(vector, basis), 1.0)))


def _not_reached(tolerance: float, loops: int, plateau: float | None, predicted: int | None) -> str:
    if plateau is not None and plateau > tolerance:
        return f"the plateau angle {plateau:.2g} is above the tolerance {tolerance:g}: {PLATEAU_REASON}"
    advice = f" (Theorem 4.6 gives {predicted})" if predicted is not None and predicted > loops else ""
    return f"the angle was not within {tolerance:g} after {loops} loops; raise --loops{advice}"
