"""Training by (stochastic) gradient descent: one compiled loop, seeds side by side, snapshots, exact resume (JAX).

The state at step t is a function of the configuration alone: batches come from keys folded with the step or epoch, and
one compiled program with a dynamic number of steps does every stretch, so stopping anywhere changes no bit.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from pydantic import BaseModel, ConfigDict, ValidationError

from eigenloop import problems
from eigenloop.blocks import TwoBlock
from eigenloop.errors import InputError
from eigenloop.objectives import EndToEnd, Layerwise, Objective, Target
from eigenloop.problems import Batch, Distribution
from eigenloop.runs import RunDirectory, load_arrays, read_config, save_arrays, save_table
from eigenloop.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.transformer import LoopedTransformer

METRICS = (
    "train_loss", "test_loss", "a", "b", "gamma", "v_max", "w_max", "off_diagonal_ratio", "inactive_max",
)  # fmt: skip
TASK_KEYS = ("task", "multiplicities", "min_eigenvalue", "dim", "samples")
STRETCH_SECONDS = 0.5
"""Aim for the length of one compiled stretch: how soon progress moves and Ctrl-C is heard."""
CHECKPOINT_SECONDS = 10.0
MOST_DRAWN = 2**23
"""Entries of X that are drawn at once."""


class TrainConfig(BaseModel):
    """Everything that decides a run. Defaults are the paper's (arXiv 2606.00605, Section 5), d = 16, n = 32, L = 10."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["sphere", "planted"] = "sphere"
    multiplicities: tuple[int, ...] | None = None
    min_eigenvalue: float | None = None
    dim: int = 16
    samples: int = 32
    loops: int = 10
    objective: Literal["end-to-end", "layerwise"] = "end-to-end"
    norm: bool = True
    target: Target = "normalized"
    epochs: int | None = None
    steps: int | None = None
    fresh: bool = False
    learning_rate: float = 0.1
    batch: int = 128
    train_size: int = 10_000
    test_size: int = 2_000
    seed: int = 0
    seeds: int = 1
    engine: Literal["reduced", "full"] = "reduced"
    dtype: Literal["float32", "float64"] = "float32"
    snapshots: tuple[int, ...] = ()

    @classmethod
    def create(cls, **values: Any) -> "TrainConfig":
        """Build and check; the defaults that depend on other values are filled in.

        Raises:
            InputError: the first thing that is wrong, in one line.

        Example:
            >>> TrainConfig.create(task="planted", epochs=2).total_steps
            156
        """
        try:
            config = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{_option(name)} is {first['input']!r}: {first['msg'].lower()}") from None
        return config._checked()

    def _checked(self) -> "TrainConfig":
        for name in ("samples", "loops", "batch", "train_size", "test_size", "seeds"):
            if getattr(self, name) < 1:
                raise InputError(f"{_option(name)} is {getattr(self, name)}; it must be at least 1")
        if self.dim < 2:
            raise InputError(f"--dim is {self.dim}; it must be at least 2")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed is {self.seed}; it must be from 0 to 2^32 - 1")
        if not (self.learning_rate > 0 and np.isfinite(self.learning_rate)):
            raise InputError(f"--learning-rate is {self.learning_rate:g}; it must be a positive number")
        if self.epochs is not None and self.steps is not None:
            raise InputError("--epochs and --steps were both given; give one of them")
        for name in ("epochs", "steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{_option(name)} is {value}; it must be at least 1")
        if self.fresh and self.epochs is not None:
            raise InputError("--epochs has no meaning with --fresh (no sample is seen twice); give --steps")
        if not self.fresh and self.batch > self.train_size:
            raise InputError(f"--batch is {self.batch}, above --train-size {self.train_size}; lower --batch")
        if self.objective == "end-to-end" and not self.norm:
            raise InputError(
                "--objective end-to-end with --no-norm is degenerate: the distance to the subspace falls to 0 with "
                "the output's length; use --objective layerwise"
            )
        if self.norm and self.target == "unnormalized":
            raise InputError("--target unnormalized needs --no-norm: a normalised output cannot reach Sq")
        if self.objective == "end-to-end" and self.target == "unnormalized":
            raise InputError("--target belongs to --objective layerwise")
        update: dict[str, Any] = {}
        if self.epochs is None and self.steps is None:
            update["steps" if self.fresh else "epochs"] = 2000
        if self.task == "planted" and self.multiplicities is None:
            if (self.dim, self.samples) != (16, 32):
                raise InputError(
                    f"multiplicities have a default only for --dim 16 --samples 32; give --multiplicities, {self.dim} "
                    f"numbers that sum to {self.samples}"
                )
            update["multiplicities"] = DEFAULT_MULTIPLICITIES
        if self.task != "planted" and self.multiplicities is not None:
            raise InputError("--multiplicities belong to --task planted")
        config = self.model_copy(update=update)
        config.distribution()  # refuses what no distribution can give
        return config

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training set; the rest of each shuffle is left out."""
        return self.train_size // self.batch

    @property
    def total_steps(self) -> int:
        """Length of the run in gradient steps."""
        return self.steps if self.steps is not None else (self.epochs or 0) * self.steps_per_epoch

    def distribution(self) -> Distribution:
        """The distribution of X that the task names."""
        if self.task == "sphere":
            base: Distribution = problems.Sphere(dim=self.dim, samples=self.samples)
        else:
            base = problems.Rotated.planted(self.multiplicities or (), dim=self.dim, samples=self.samples)
        return base if self.min_eigenvalue is None else problems.Rejected(base, threshold=self.min_eigenvalue)

    def loss(self) -> Objective:
        """The objective that the configuration names."""
        return EndToEnd(self.loops) if self.objective == "end-to-end" else Layerwise(self.target)

    def initial_model(self) -> TwoBlock | LoopedTransformer:
        """The paper's start in the chosen engine."""
        kind = TwoBlock if self.engine == "reduced" else LoopedTransformer
        return kind.initial(dim=self.dim, norm=self.norm)


class Progress(NamedTuple):
    """What a caller is told after every stretch."""

    step: int
    total: int
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A finished (or loaded) run. Arrays have a leading axis over seeds."""

    config: TrainConfig
    model: LoopedTransformer
    """The full model, V and W of shape (K, 2d, 2d)."""
    steps: np.ndarray
    """Steps at which metrics were taken, (T,)."""
    metrics: dict[str, np.ndarray]
    """Each metric, (T, K) float64; NaN where undefined (`reasons` says why)."""
    snapshots: dict[int, LoopedTransformer]
    """Models at the steps of `config.snapshots`."""
    seconds: float

    @property
    def reasons(self) -> dict[str, str]:
        """Why a metric is undefined in this run."""
        reasons = {}
        if self.config.engine == "reduced":
            reasons["inactive_max"] = "the reduced engine has no inactive blocks; run --engine full to measure them"
        if self.config.fresh:
            reasons["train_loss"] = "fresh samples: there is no training set"
        return reasons

    def summary(self) -> dict[str, Any]:
        """The last metrics as JSON values: a number for one seed, a list for several, None with a reason."""

        def value(name: str) -> Any:
            last = [float(v) if np.isfinite(v) else None for v in self.metrics[name][-1]]
            return last[0] if self.config.seeds == 1 else last

        config = self.config
        metrics = {name: value(name) for name in METRICS}
        undefined = [name for name, v in metrics.items() if v is None or (isinstance(v, list) and None in v)]
        diverged = dict.fromkeys(undefined, "not a finite number: training diverged")
        return {
            "steps": int(self.steps[-1]), **metrics, "seconds": self.seconds, "seed": config.seed,
            "seeds": config.seeds, "dtype": config.dtype, "version": version("eigenloop"),
            "reasons": {**diverged, **self.reasons},
        }  # fmt: skip


def metric_steps(total: int, *, per_decade: int = 20) -> list[int]:
    """Steps at which metrics are taken: 0, log-spaced whole numbers, and the last step.

    The grid does not depend on `total`, so a longer run holds a shorter one's.

    Example:
        >>> metric_steps(12, per_decade=3)
        [0, 1, 2, 5, 10, 12]
    """
    decades = np.log10(max(total, 1))
    grid = np.unique(np.round(10 ** (np.arange(0, int(decades * per_decade) + 2) / per_decade)).astype(int))
    return [0, *(int(s) for s in grid if s < total), total]


def train(
    config: TrainConfig,
    directory: Path | None = None,
    *,
    distribution: Distribution | None = None,
    objective: Objective | None = None,
    optimizer: optax.GradientTransformation | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Train as the configuration says, and go on from the directory's checkpoint where there is one.

    A finished run is read back, and nothing is written.

    Args:
        config: from `TrainConfig.create`.
        directory: where the run lives; None keeps everything in memory.
        distribution: of the user's own, in place of the task's.
        objective: of the user's own, in place of the configuration's.
        optimizer: any optax transformation, in place of plain SGD at the configured learning rate.
        report: called after every stretch of steps.

    Returns:
        The trained model with its metrics and snapshots.

    Raises:
        InputError: the directory belongs to another configuration, is in use, or holds a damaged checkpoint.

    Example:
        >>> run = train(TrainConfig.create(dim=4, samples=8, steps=10, train_size=256, test_size=64))
        >>> int(run.steps[-1]), run.model.v.shape
        (10, (1, 8, 8))
    """
    own = {"distribution": distribution, "objective": objective, "optimizer": optimizer}
    record = {**_plain(config), **{key: _label(value) for key, value in own.items() if value is not None}}
    with jax.enable_x64(config.dtype == "float64"):
        if directory is None:
            return Trainer(config, distribution, objective, optimizer).run(None, None, report)
        run = RunDirectory(Path(directory), record, extendable=("epochs", "steps"))
        with run.held() as saved:
            if saved is not None and _is_complete(config, saved, run):
                return _trained(config, saved)
            run.write_config()
            return Trainer(config, distribution, objective, optimizer).run(run, saved, report)


def load_run(directory: Path) -> Trained:
    """Read a run's directory back.

    Raises:
        InputError: a file is missing or damaged.
    """
    config = TrainConfig.create(**{k: v for k, v in read_config(directory).items() if k in TrainConfig.model_fields})
    arrays = load_arrays(Path(directory) / RunDirectory.CHECKPOINT)
    with jax.enable_x64(config.dtype == "float64"):
        return _trained(config, arrays)


class _Static:
    """Anything as a static argument of a compiled function: equal to itself only."""

    def __init__(self, value: Any) -> None:
        self.value = value


# Equal settings give the same static object, so that runs share their compiled programs.


@lru_cache(maxsize=64)
def _distribution(config_of_task: tuple[tuple[str, Any], ...]) -> _Static:
    return _Static(TrainConfig(**dict(config_of_task)).distribution())


@lru_cache(maxsize=64)
def _objective(objective: Objective) -> _Static:
    return _Static(objective)


@lru_cache(maxsize=64)
def _sgd(learning_rate: float) -> _Static:
    return _Static(optax.sgd(learning_rate))


_NOTHING = _Static(None)


class _Parts(NamedTuple):
    """What a compiled training program depends on, apart from its arguments."""

    distribution: _Static
    objective: _Static
    optimizer: _Static
    batch: int
    size: int
    """Training samples; 0 draws fresh ones."""
    principal: bool
    full: bool

    def draw(self, key: jax.Array, size: int) -> Batch:
        """Examples of the distribution; the reduced engine reads S only, so X is dropped."""
        batch = problems.draw(self.distribution.value, key, size, principal=self.principal)
        return batch if self.full else batch._replace(columns=batch.columns[:, :, :0])


@partial(jax.jit, static_argnames=("parts", "stream", "size"))
def _data_set(keys: jax.Array, *, parts: _Parts, stream: int, size: int) -> Batch:
    """A data set for each seed, one after the other, and a large one in pieces: drawing takes six times X's memory."""
    distribution = parts.distribution.value
    pieces = -(-size * distribution.dim * distribution.samples // MOST_DRAWN)

    def one(key: jax.Array) -> Batch:
        key = jax.random.fold_in(key, stream)
        if pieces == 1:
            return parts.draw(key, size)
        drawn = lax.map(lambda key: parts.draw(key, -(-size // pieces)), jax.random.split(key, pieces))
        return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])[:size], drawn)

    return lax.map(one, keys)


@partial(jax.jit, static_argnames="parts")
def _advance(
    models: Any,
    optimizer_states: Any,
    keys: jax.Array,
    train: Batch | None,
    start: jax.Array,
    stop: jax.Array,
    *,
    parts: _Parts,
) -> tuple[Any, Any]:
    """Steps start, start + 1, ..., stop - 1 of every seed."""
    per_epoch = parts.size // parts.batch

    def one_seed(model: Any, state: Any, batch: Batch) -> tuple[Any, Any]:
        gradient = jax.grad(lambda m: jnp.mean(parts.objective.value(m, batch)))(model)
        updates, state = parts.optimizer.value.update(gradient, state, model)
        return optax.apply_updates(model, updates), state

    def shuffled(step: jax.Array) -> jax.Array:
        """One permutation for each seed: a sort by 32 random bits."""

        def one(key: jax.Array) -> jax.Array:
            key = jax.random.fold_in(jax.random.fold_in(key, 2), step // per_epoch)
            bits, index = jax.random.bits(key, (parts.size,), jnp.uint32), jnp.arange(parts.size, dtype=jnp.uint32)
            with jax.enable_x64(True):  # (bits, index) as one number sorts 5 times faster on CPUs than as two arrays
                words = lax.sort(lax.bitcast_convert_type(jnp.stack([index, bits], axis=1), jnp.uint64))
                return lax.bitcast_convert_type(words, jnp.uint32)[:, 0].astype(jnp.int32)

        return jax.vmap(one)(keys)

    def batch_of(step: jax.Array, order: jax.Array, seed_data: Batch) -> Batch:
        rows = lax.dynamic_slice(order, ((step % per_epoch) * parts.batch,), (parts.batch,))
        return seed_data[rows]

    def body(step: jax.Array, carry: tuple) -> tuple:
        models, states, order = carry
        if train is None:
            fresh = jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, 3), step))(keys)
            batches = jax.vmap(lambda key: parts.draw(key, parts.batch))(fresh)
        else:
            order = lax.cond(step % per_epoch == 0, shuffled, lambda _: order, step)
            batches = _over_seeds(partial(batch_of, step))(order, train)
        models, states = _over_seeds(one_seed)(models, states, batches)
        return models, states, order

    order = jnp.zeros((keys.shape[0], 0), jnp.int32) if train is None else shuffled(start)
    models, states, _ = lax.fori_loop(start, stop, body, (models, optimizer_states, order))
    return models, states


@partial(jax.jit, static_argnames="parts")
def _measure(models: Any, train: Batch | None, test: Batch, *, parts: _Parts) -> dict[str, jax.Array]:
    """The metrics of every seed, (K,) each."""

    def mean_loss(data: Batch | None) -> jax.Array:
        if data is None:
            return jnp.full(test.query.shape[0], jnp.nan)
        return lax.map(lambda pair: jnp.mean(parts.objective.value(*pair)), (models, data))

    full = models.lift() if isinstance(models, TwoBlock) else models
    return {"train_loss": mean_loss(train), "test_loss": mean_loss(test), **weight_metrics(full)}


class Trainer:
    """One run: its data, its state, and the compiled pieces applied to them."""

    def __init__(
        self,
        config: TrainConfig,
        distribution: Distribution | None = None,
        objective: Objective | None = None,
        optimizer: optax.GradientTransformation | None = None,
    ) -> None:
        """Draw the data; None stands for what the configuration names."""
        self.config = config
        task = tuple((key, getattr(config, key)) for key in TASK_KEYS)
        loss = _objective(config.loss()) if objective is None else _Static(objective)
        parts = _Parts(
            distribution=_distribution(task) if distribution is None else _Static(distribution),
            objective=loss,
            optimizer=_sgd(config.learning_rate) if optimizer is None else _Static(optimizer),
            batch=config.batch,
            size=0 if config.fresh else config.train_size,
            principal=getattr(loss.value, "needs_principal", True),
            full=config.engine == "full",
        )
        self.parts = parts if config.fresh else parts._replace(distribution=_NOTHING)
        data = parts._replace(objective=_NOTHING, optimizer=_NOTHING, batch=0, size=0)
        self.keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(config.seed)))(jnp.arange(config.seeds))
        self.test = _data_set(self.keys, parts=data, stream=1, size=config.test_size)
        self.train = None if config.fresh else _data_set(self.keys, parts=data, stream=0, size=config.train_size)

    def initial(self) -> tuple[Any, Any]:
        """Models and optimiser states at step 0."""
        model = self.config.initial_model()
        models = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.config.seeds, *leaf.shape)), model)
        return models, jax.vmap(self.parts.optimizer.value.init)(models)

    def advance(self, models: Any, states: Any, start: int, stop: int) -> tuple[Any, Any]:
        """The state `stop - start` steps later."""
        return jax.block_until_ready(
            _advance(models, states, self.keys, self.train, jnp.int32(start), jnp.int32(stop), parts=self.parts)
        )

    def measure(self, models: Any) -> dict[str, jax.Array]:
        """The metrics of every seed."""
        return _measure(models, self.train, self.test, parts=self.parts)

    def run(
        self, directory: RunDirectory | None, saved: dict[str, np.ndarray] | None, report: Callable[[Progress], None]
    ) -> Trained:
        """Go from the saved state (or the start) to the last step, keeping the directory up to date."""
        total = self.config.total_steps
        models, states = self.initial()
        leaves, structure = jax.tree.flatten((models, states))
        step, seconds, rows, snapshots = 0, 0.0, {}, {}
        if saved is not None:
            step, seconds, leaves, rows, snapshots = _unpack(saved, leaves)
            models, states = jax.tree.unflatten(structure, leaves)
        events = sorted({*metric_steps(total), *self.config.snapshots} - set(range(step)))
        stretch, began, checkpointed = 1, time.monotonic() - seconds, time.monotonic()

        def checkpoint() -> dict[str, np.ndarray]:
            arrays = _pack(
                step, time.monotonic() - began, jax.tree.leaves((models, states)), rows, snapshots, self.config
            )
            if directory is not None:
                save_arrays(directory.path / directory.CHECKPOINT, arrays)
            return arrays

        try:
            for event in (e for e in events if e <= total):
                while step < event:
                    stop, clock = min(event, step + stretch), time.monotonic()
                    new = self.advance(models, states, step, stop)
                    spent = time.monotonic() - clock
                    (models, states), done, step = new, stop - step, stop
                    stretch = max(1, min(4 * stretch, int(done * STRETCH_SECONDS / max(spent, 1e-6))))
                    if directory is not None and time.monotonic() - checkpointed > CHECKPOINT_SECONDS:
                        checkpoint()
                        checkpointed = time.monotonic()
                    report(Progress(step, total, time.monotonic() - began))
                if step not in rows and step in metric_steps(total):
                    taken = self.measure(models)
                    rows[step] = np.stack([np.asarray(taken[name], np.float64) for name in METRICS])
                if step in self.config.snapshots:
                    snapshots[step] = [np.asarray(leaf) for leaf in jax.tree.leaves(models)]
        except KeyboardInterrupt:
            checkpoint()
            raise
        arrays = checkpoint()
        result = _trained(self.config, arrays)
        if directory is not None:
            _write_derived(directory, result)
        return result


def _over_seeds(function: Callable) -> Callable:
    """Map over the leading axis by vmap; a single seed is unwrapped instead, which compiles to faster products."""

    def mapped(*arguments: Any) -> Any:
        if jax.tree.leaves(arguments)[0].shape[0] > 1:
            return jax.vmap(function)(*arguments)
        result = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: leaf[None], result)

    return mapped


def weight_metrics(model: LoopedTransformer) -> dict[str, jax.Array]:
    """Means a = tr(A)/d, b = tr(B)/d, gamma = tr(AB)/d, largest entries, distance of A and B from multiples of I.

    Args:
        model: V, W of shape (..., 2d, 2d).

    Returns:
        The entries of `METRICS` after the losses, (...,) each. `off_diagonal_ratio` is the larger of
        max|off-diagonal| / mean|diagonal| over A and B (over A alone while B is zero); `inactive_max` is the largest
        absolute entry of the six blocks that training leaves at zero (NaN for a lifted reduced model is set by the
        caller).
    """
    dim = model.v.shape[-1] // 2
    a, b = model.v[..., dim:, :dim], model.w[..., :dim, dim:]

    def trace(matrix: jax.Array) -> jax.Array:
        return jnp.trace(matrix, axis1=-2, axis2=-1) / dim

    def off_diagonal(matrix: jax.Array) -> jax.Array:
        diagonal = jnp.abs(jnp.diagonal(matrix, axis1=-2, axis2=-1)).mean(-1)
        outside = jnp.broadcast_to(1 - jnp.eye(dim, dtype=matrix.dtype), matrix.shape)
        rest = jnp.abs(matrix * outside).max((-2, -1))
        return jnp.where(diagonal > 0, rest / jnp.where(diagonal > 0, diagonal, 1), 0)

    inactive_v = jnp.abs(model.v.at[..., dim:, :dim].set(0)).max((-2, -1))
    inactive_w = jnp.abs(model.w.at[..., :dim, dim:].set(0)).max((-2, -1))
    return {
        "a": trace(a),
        "b": trace(b),
        "gamma": trace(a @ b),
        "v_max": jnp.abs(model.v).max((-2, -1)),
        "w_max": jnp.abs(model.w).max((-2, -1)),
        "off_diagonal_ratio": jnp.maximum(off_diagonal(a), off_diagonal(b)),
        "inactive_max": jnp.maximum(inactive_v, inactive_w),
    }


def _is_complete(config: TrainConfig, saved: dict[str, np.ndarray], directory: RunDirectory) -> bool:
    """Whether nothing is left to do: the last step done and measured, and every file written.

    Raises:
        InputError: the run has gone further than what is asked for now.
    """
    if not {"step", "metrics.steps"} <= saved.keys():
        return False  # `_unpack` says what is wrong with it
    step, total = int(saved["step"]), config.total_steps
    if step > total:
        raise InputError(f"this run has already done {step} steps; {total} were asked for, so nothing to do")
    measured = step == total and total in saved["metrics.steps"]
    names = [directory.WEIGHTS, directory.METRICS, *([directory.SNAPSHOTS] if _snapshots(saved) else [])]
    return measured and directory.is_recorded() and all((directory.path / name).exists() for name in names)


def _pack(
    step: int, seconds: float, leaves: Sequence[Any], rows: dict, snapshots: dict, config: TrainConfig
) -> dict[str, np.ndarray]:
    arrays = {"step": np.int64(step), "seconds": np.float64(seconds)}
    arrays |= {f"state.{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    arrays["metrics.steps"] = np.array(list(rows), np.int64)
    arrays["metrics.values"] = np.array(list(rows.values()), np.float64).reshape(len(rows), len(METRICS), config.seeds)
    for at, parts in snapshots.items():
        arrays |= {f"snapshot.{at}.{i}": part for i, part in enumerate(parts)}
    return {name: np.asarray(value) for name, value in arrays.items()}


def _unpack(saved: dict[str, np.ndarray], like: Sequence[Any]) -> tuple[int, float, list, dict, dict]:
    try:
        leaves = [jnp.asarray(saved[f"state.{i}"]) for i in range(len(like))]
        rows = dict(zip(saved["metrics.steps"].tolist(), saved["metrics.values"], strict=True))
        step, seconds = int(saved["step"]), float(saved["seconds"])
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"the checkpoint lacks {error}; delete it to start again") from None
    for leaf, expected in zip(leaves, like, strict=True):
        if leaf.shape != expected.shape:
            raise InputError(f"the checkpoint holds shape {leaf.shape}, not {expected.shape}; delete it to start again")
    return step, seconds, leaves, rows, _snapshots(saved)


def _snapshots(saved: dict[str, np.ndarray]) -> dict[int, list[np.ndarray]]:
    steps = sorted({int(name.split(".")[1]) for name in saved if name.startswith("snapshot.")})
    return {at: [saved[f"snapshot.{at}.0"], saved[f"snapshot.{at}.1"]] for at in steps}


def _trained(config: TrainConfig, arrays: dict[str, np.ndarray]) -> Trained:
    """Read a checkpoint's arrays as a result."""

    def full(parts: Sequence[np.ndarray]) -> LoopedTransformer:
        first, second = (jnp.asarray(part) for part in parts)
        if config.engine == "full":
            return LoopedTransformer(v=first, w=second, norm=config.norm)
        return TwoBlock(a=first, b=second, norm=config.norm).lift()

    try:
        values = arrays["metrics.values"]
        metrics = {name: values[:, i].copy() for i, name in enumerate(METRICS)}
        model = full([arrays["state.0"], arrays["state.1"]])
        steps, seconds = arrays["metrics.steps"], float(arrays["seconds"])
    except (KeyError, IndexError) as error:
        raise InputError(f"the checkpoint lacks {error}; delete it to start again") from None
    if config.engine == "reduced":
        metrics["inactive_max"][:] = np.nan
    snapshots = {at: full(parts) for at, parts in _snapshots(arrays).items()}
    return Trained(config, model, steps, metrics, snapshots, seconds)


def _write_derived(directory: RunDirectory, run: Trained) -> None:
    """metrics.csv, weights.safetensors (V and W; a leading seed axis when K > 1) and snapshots.safetensors."""
    squeeze = (lambda array: np.asarray(array)[0]) if run.config.seeds == 1 else np.asarray
    save_arrays(directory.path / directory.WEIGHTS, {"V": squeeze(run.model.v), "W": squeeze(run.model.w)})
    if run.snapshots:
        arrays = {f"V.{at}": squeeze(m.v) for at, m in run.snapshots.items()}
        arrays |= {f"W.{at}": squeeze(m.w) for at, m in run.snapshots.items()}
        save_arrays(directory.path / directory.SNAPSHOTS, arrays)
    rows = [
        [
            int(step),
            run.config.seed,
            k,
            *(float(v) if np.isfinite(v) else None for v in (run.metrics[m][t, k] for m in METRICS)),
        ]
        for t, step in enumerate(run.steps)
        for k in range(run.config.seeds)
    ]
    save_table(directory.path / directory.METRICS, ("step", "seed", "replica", *METRICS), rows)


def _plain(config: TrainConfig) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in config.model_dump().items() if v is not None}


def _label(value: Any) -> str:
    """How a user's own object is written into the configuration: its name, without memory addresses."""
    return getattr(value, "__qualname__", None) or type(value).__qualname__


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
