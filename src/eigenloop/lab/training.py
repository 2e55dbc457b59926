"""Training by (stochastic) gradient descent: one compiled loop, seeds side by side, snapshots,
exact resume (JAX).

The state at step t is a function of the configuration alone: batches come from keys folded with the
step or epoch, and one compiled program with a dynamic number of steps does every stretch, so
stopping anywhere changes no bit.
"""

import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from eigenloop.lab import checkpoints, problems
from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.checkpoints import METRICS, Trained, load_run, metric_names
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.identity import describe
from eigenloop.lab.objectives import Objective
from eigenloop.lab.problems import Batch, Distribution
from eigenloop.lab.run_directory import RunDirectory
from eigenloop.lab.transformer import LoopedTransformer
from eigenloop.system import interrupts
from eigenloop.system.errors import InputError
from eigenloop.system.files import save_arrays
from eigenloop.system.forks import refuse_forked
from eigenloop.system.memory import require_memory
from eigenloop.system.progress import Progress, silent

__all__ = [
    "METRICS",
    "TrainConfig",
    "Trained",
    "Trainer",
    "load_run",
    "metric_steps",
    "train",
]

TASK_KEYS = ("task", "multiplicities", "x0", "min_eigenvalue", "dim", "samples")
STRETCH_SECONDS = 0.5
"""Aim for the length of one compiled stretch: how soon progress moves and Ctrl-C is heard."""
CHECKPOINT_SECONDS = 5.0
"""Between two checkpoints; the first is written after the first step, so that a kill loses no
more than this.
"""
MOST_DRAWN = 2**23
"""Entries of X that are drawn at once."""


def metric_steps(total: int, *, per_decade: int = 20) -> list[int]:
    """Steps at which metrics are taken: 0, log-spaced whole numbers, and the last step.

    The grid does not depend on `total`, so a longer run holds a shorter one's.

    Example:
        >>> metric_steps(12, per_decade=3)
        [0, 1, 2, 5, 10, 12]
    """
    decades = np.log10(max(total, 1))
    grid = np.unique(
        np.round(10 ** (np.arange(0, int(decades * per_decade) + 2) / per_decade)).astype(int)
    )
    return [0, *(int(s) for s in grid if s < total), total]


def train(
    config: TrainConfig,
    directory: Path | None = None,
    *,
    distribution: Distribution | None = None,
    objective: Objective | None = None,
    optimizer: optax.GradientTransformation | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train as the configuration says, and go on from the directory's checkpoint where there is
    one.

    A finished run is read back, and nothing is written.

    Args:
        config: from `TrainConfig.create`.
        directory: where the run lives; None keeps everything in memory.
        distribution: of the user's own, in place of the task's.
        objective: of the user's own, in place of the configuration's.
        optimizer: any optax transformation, in place of plain SGD at the configured learning rate.
        progress: called after every stretch of steps.

    Returns:
        The trained model with its metrics and snapshots.

    Raises:
        InputError: the directory belongs to another configuration, is in use, or holds a damaged
            checkpoint; the data would not fit in memory; this process was forked after JAX had
            begun to work.

    Example:
        >>> run = train(
        ...     TrainConfig.create(dim=4, samples=8, steps=10, train_size=256, test_size=64)
        ... )
        >>> int(run.steps[-1]), run.model.v.shape
        (10, (1, 8, 8))
    """
    refuse_forked()
    own = {"distribution": distribution, "objective": objective, "optimizer": optimizer}
    record = {
        **config.plain(),
        **{key: describe(value) for key, value in own.items() if value is not None},
    }
    _require_memory(config, objective)
    with jax.enable_x64(config.dtype == "float64"):
        if directory is None:
            return Trainer(config, distribution, objective, optimizer).run(None, None, progress)
        run = RunDirectory(Path(directory), record, extendable=("epochs", "steps"))
        with run.held() as saved:
            if saved is not None:
                checkpoints.check(saved, config)
                if _is_complete(config, saved, run):
                    return checkpoints.trained(config, saved)
            run.write_config()
            return Trainer(config, distribution, objective, optimizer).run(run, saved, progress)


class _Static:
    """Wrap an object as a static argument of a compiled function: hashed by identity."""

    def __init__(self, value: Any) -> None:
        self.value = value


# Equal settings give the same static object, so that runs share their compiled programs.


@lru_cache(maxsize=64)
def _distribution(config_of_task: tuple[tuple[str, Any], ...]) -> _Static:
    return _Static(TrainConfig(**dict(config_of_task)).distribution())


@lru_cache(maxsize=64)
def _objective(objective: Objective) -> _Static:
    return _Static(objective)


_NOTHING = _Static(None)
_SGD = _Static(optax.sgd)
"""Plain gradient descent, whose learning rate is an argument of the compiled program: runs that
differ in it alone are compiled once.
"""


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

    def descent(self, learning_rate: jax.Array) -> optax.GradientTransformation:
        """What is done with a gradient; the rate is that of plain gradient descent alone."""
        own = self.optimizer.value
        return own(learning_rate) if self.optimizer is _SGD else own

    def draw(self, key: jax.Array, size: int) -> Batch:
        """Examples of the distribution; the reduced engine reads S only, so X is dropped."""
        batch = problems.draw(self.distribution.value, key, size, principal=self.principal)
        return batch if self.full else batch._replace(columns=batch.columns[:, :, :0])


@partial(jax.jit, static_argnames=("parts", "stream", "size"))
def _data_set(keys: jax.Array, *, parts: _Parts, stream: int, size: int) -> Batch:
    """A data set for each seed, one after the other, and a large one in pieces: drawing takes
    six times X's memory.
    """
    distribution = parts.distribution.value
    pieces = -(-size * distribution.dim * distribution.samples // MOST_DRAWN)

    def one(key: jax.Array) -> Batch:
        key = jax.random.fold_in(key, stream)
        if pieces == 1:
            return parts.draw(key, size)
        drawn = lax.map(
            lambda key: parts.draw(key, -(-size // pieces)), jax.random.split(key, pieces)
        )
        return jax.tree.map(
            lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])[:size], drawn
        )

    return lax.map(one, keys)


@partial(jax.jit, static_argnames="parts")
def _advance(
    models: Any,
    optimizer_states: Any,
    keys: jax.Array,
    train: Batch | None,
    start: jax.Array,
    stop: jax.Array,
    learning_rate: jax.Array,
    *,
    parts: _Parts,
) -> tuple[Any, Any]:
    """Steps start, start + 1, ..., stop - 1 of every seed."""
    per_epoch, descent = parts.size // parts.batch, parts.descent(learning_rate)

    def one_seed(model: Any, state: Any, batch: Batch) -> tuple[Any, Any]:
        gradient = jax.grad(lambda m: jnp.mean(parts.objective.value(m, batch)))(model)
        updates, state = descent.update(gradient, state, model)
        return optax.apply_updates(model, updates), state

    def shuffled(step: jax.Array) -> jax.Array:
        """One permutation for each seed: a sort by 32 random bits."""

        def one(key: jax.Array) -> jax.Array:
            key = jax.random.fold_in(jax.random.fold_in(key, 2), step // per_epoch)
            bits, index = (
                jax.random.bits(key, (parts.size,), jnp.uint32),
                jnp.arange(parts.size, dtype=jnp.uint32),
            )
            # (bits, index) as one number sorts 5 times faster on CPUs than as two arrays
            with jax.enable_x64(True):
                words = lax.sort(
                    lax.bitcast_convert_type(jnp.stack([index, bits], axis=1), jnp.uint64)
                )
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
def _measure(
    models: Any, train: Batch | None, test: Batch, *, parts: _Parts
) -> dict[str, jax.Array]:
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
            optimizer=_SGD if optimizer is None else _Static(optimizer),
            batch=config.batch,
            size=0 if config.fresh else config.train_size,
            principal=getattr(loss.value, "needs_principal", True),
            full=config.engine == "full",
        )
        self.parts = parts if config.fresh else parts._replace(distribution=_NOTHING)
        self.learning_rate = jnp.asarray(config.learning_rate, config.dtype)
        data = parts._replace(objective=_NOTHING, optimizer=_NOTHING, batch=0, size=0)
        self.keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(config.seed)))(
            jnp.arange(config.seeds)
        )
        self.test = _data_set(self.keys, parts=data, stream=1, size=config.test_size)
        self.train = (
            None
            if config.fresh
            else _data_set(self.keys, parts=data, stream=0, size=config.train_size)
        )

    def initial(self) -> tuple[Any, Any]:
        """Models and optimiser states at step 0."""
        model = self.config.initial_model()
        models = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (self.config.seeds, *leaf.shape)), model
        )
        return models, jax.vmap(self.parts.descent(self.learning_rate).init)(models)

    def advance(self, models: Any, states: Any, start: int, stop: int) -> tuple[Any, Any]:
        """The state `stop - start` steps later."""
        return jax.block_until_ready(
            _advance(
                models,
                states,
                self.keys,
                self.train,
                jnp.int32(start),
                jnp.int32(stop),
                self.learning_rate,
                parts=self.parts,
            )
        )

    def measure(self, models: Any) -> dict[str, jax.Array]:
        """The metrics of every seed; NaN is what one that is not defined has, whatever JAX's
        switches make of it.
        """
        # whatever does not count here would be compiled for once more
        parts = self.parts._replace(
            distribution=_NOTHING, optimizer=_NOTHING, batch=0, size=0, principal=True, full=True
        )
        with jax.debug_nans(False):
            return _measure(models, self.train, self.test, parts=parts)

    def run(
        self,
        directory: RunDirectory | None,
        saved: dict[str, np.ndarray] | None,
        progress: Progress,
    ) -> Trained:
        """Go from the saved state (or the start) to the last step, keeping the directory up to
        date.
        """
        total = self.config.total_steps
        models, states = self.initial()
        leaves, structure = jax.tree.flatten((models, states))
        step, seconds, rows, snapshots = 0, 0.0, {}, {}
        if saved is not None:
            checkpoints.check(saved, self.config, leaves)
            step, seconds, leaves, rows, snapshots = checkpoints.unpack(saved, leaves)
            models, states = jax.tree.unflatten(structure, leaves)
        events = sorted({*metric_steps(total), *self.config.snapshots} - set(range(step)))
        stretch, began, checkpointed = (
            1,
            time.monotonic() - seconds,
            -np.inf if saved is None else time.monotonic(),
        )

        def checkpoint() -> dict[str, np.ndarray]:
            arrays = checkpoints.pack(
                step,
                time.monotonic() - began,
                jax.tree.leaves((models, states)),
                rows,
                snapshots,
                self.config,
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
                    stretch = max(
                        1, min(4 * stretch, int(done * STRETCH_SECONDS / max(spent, 1e-6)))
                    )
                    if (
                        directory is not None
                        and time.monotonic() - checkpointed > CHECKPOINT_SECONDS
                    ):
                        checkpoint()
                        checkpointed = time.monotonic()
                    progress("training", step, total)
                    interrupts.check()
                if step not in rows and step in metric_steps(total):
                    taken = self.measure(models)
                    names = metric_names(self.config)
                    rows[step] = np.stack([np.asarray(taken[name], np.float64) for name in names])
                if step in self.config.snapshots:
                    snapshots[step] = [np.asarray(leaf) for leaf in jax.tree.leaves(models)]
                interrupts.check()
        except KeyboardInterrupt:
            if rows:  # else nothing has been done
                checkpoint()
            raise
        arrays = checkpoint()
        result = checkpoints.trained(self.config, arrays)
        if directory is not None:
            checkpoints.write_derived(directory, result)
        return result


def _over_seeds(function: Callable) -> Callable:
    """Map over the leading axis by vmap; a single seed is unwrapped instead, which compiles to
    faster products.
    """

    def mapped(*arguments: Any) -> Any:
        if jax.tree.leaves(arguments)[0].shape[0] > 1:
            return jax.vmap(function)(*arguments)
        result = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: leaf[None], result)

    return mapped


def weight_metrics(model: LoopedTransformer) -> dict[str, jax.Array]:
    """Means a = tr(A)/d, b = tr(B)/d, gamma = tr(AB)/d, largest entries, distance of A and B from
    multiples of I; of untied layers the mean of the first three, and of the rest the largest.

    Args:
        model: V, W of shape (..., 2d, 2d), or (..., L, 2d, 2d) where layers are untied.

    Returns:
        The entries of `METRICS` after the losses, (...,) each. `off_diagonal_ratio` is the larger
        of max|off-diagonal| / mean|diagonal| over A and B (over A alone while B is zero);
        `inactive_max` is the largest absolute entry of the six blocks that training leaves at zero
        (NaN for a lifted reduced model is set by the caller). A learned residual weight adds "c".
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
    found = {
        "a": trace(a),
        "b": trace(b),
        "gamma": trace(a @ b),
        "v_max": jnp.abs(model.v).max((-2, -1)),
        "w_max": jnp.abs(model.w).max((-2, -1)),
        "off_diagonal_ratio": jnp.maximum(off_diagonal(a), off_diagonal(b)),
        "inactive_max": jnp.maximum(inactive_v, inactive_w),
    }
    if model.c is not None:
        found["c"] = model.c
    if model.untied:
        means = ("a", "b", "gamma", "c")
        found = {name: v.mean(-1) if name in means else v.max(-1) for name, v in found.items()}
    return found


def _is_complete(
    config: TrainConfig, saved: dict[str, np.ndarray], directory: RunDirectory
) -> bool:
    """Whether nothing is left to do: the last step done and measured, and every file written.

    Raises:
        InputError: the run has gone further than what is asked for now.
    """
    step, total = int(saved["step"]), config.total_steps
    if step > total:
        raise InputError(
            f"this run has already done {step} steps; {total} were asked for, so nothing to do"
        )
    measured = step == total and total in saved["metrics.steps"]
    names = [
        directory.WEIGHTS,
        directory.METRICS,
        *([directory.SNAPSHOTS] if checkpoints.snapshots_of(saved) else []),
    ]
    return (
        measured
        and directory.is_recorded()
        and all((directory.path / name).exists() for name in names)
    )


def _require_memory(config: TrainConfig, objective: Objective | None) -> None:
    """Refuse what cannot fit before anything is written."""
    needed = config.least_bytes(
        principal=getattr(objective or config.loss(), "needs_principal", True)
    )
    device = jax.local_devices()[0]
    held = None if device.platform == "cpu" else (device.memory_stats() or {}).get("bytes_limit")
    require_memory(
        needed,
        "this training",
        "lower --dim, --train-size, --test-size, --batch or --seeds",
        limit=held,
    )
