"""Training by (stochastic) gradient descent: one compiled loop, seeds side by side, snapshots,
exact resume (JAX).

The state at step t is a function of the configuration alone: batches come from keys folded with the
step or epoch, and one compiled program with a dynamic number of steps does every stretch, so
stopping anywhere changes no bit.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from eigenloop.lab import checkpoints, programs
from eigenloop.lab.checkpoints import Trained, metric_names
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.identity import describe
from eigenloop.lab.metrics import metric_steps
from eigenloop.lab.objectives import Objective
from eigenloop.lab.problems import Distribution
from eigenloop.lab.run_directory import RunDirectory
from eigenloop.system import interrupts
from eigenloop.system.errors import InputError
from eigenloop.system.files import save_arrays
from eigenloop.system.forks import refuse_forked
from eigenloop.system.memory import require_memory
from eigenloop.system.progress import Progress, silent

TASK_KEYS = ("task", "multiplicities", "x0", "min_eigenvalue", "dim", "samples")
STRETCH_SECONDS = 0.5
"""Aim for the length of one compiled stretch: how soon progress moves and Ctrl-C is heard."""
CHECKPOINT_SECONDS = 5.0
"""Between two checkpoints; the first is written after the first step, so that a kill loses no
more than this.
"""


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
        loss = (
            programs.static_objective(config.loss())
            if objective is None
            else programs.Static(objective)
        )
        parts = programs.Parts(
            distribution=programs.static_distribution(task)
            if distribution is None
            else programs.Static(distribution),
            objective=loss,
            optimizer=programs.SGD if optimizer is None else programs.Static(optimizer),
            batch=config.batch,
            size=0 if config.fresh else config.train_size,
            principal=getattr(loss.value, "needs_principal", True),
            full=config.engine == "full",
        )
        self.parts = parts if config.fresh else parts._replace(distribution=programs.NOTHING)
        self.learning_rate = jnp.asarray(config.learning_rate, config.dtype)
        data = parts._replace(
            objective=programs.NOTHING, optimizer=programs.NOTHING, batch=0, size=0
        )
        self.keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(config.seed)))(
            jnp.arange(config.seeds)
        )
        self.test = programs.data_set(self.keys, parts=data, stream=1, size=config.test_size)
        self.train = (
            None
            if config.fresh
            else programs.data_set(self.keys, parts=data, stream=0, size=config.train_size)
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
            programs.advance(
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
            distribution=programs.NOTHING,
            optimizer=programs.NOTHING,
            batch=0,
            size=0,
            principal=True,
            full=True,
        )
        with jax.debug_nans(False):
            return programs.measure(models, self.train, self.test, parts=parts)

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
        stretch, began = 1, time.monotonic() - seconds
        checkpointed = -np.inf if saved is None else time.monotonic()

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
                    overdue = time.monotonic() - checkpointed > CHECKPOINT_SECONDS
                    if directory is not None and overdue:
                        checkpoint()
                        checkpointed = time.monotonic()
                    progress("training", step, total)
                    interrupts.check()
                if step not in rows and step in metric_steps(total):
                    rows[step] = self._row(models)
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

    def _row(self, models: Any) -> np.ndarray:
        """The metrics that the run keeps of a step, (metrics, K)."""
        taken = self.measure(models)
        return np.stack([np.asarray(taken[n], np.float64) for n in metric_names(self.config)])


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
