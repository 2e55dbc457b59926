"""Load or train the blocks that `predict` applies: from the cache, from a run directory, or by a
fresh training with a recipe.

Cost: a training holds `BATCH` matrices S in float32 at once, 4 BATCH d^2 bytes for each copy (2 MB
at d = 64, 300 MB at d = 784, 2 GB at d = 2000). Measured on 2 busy cores: d = 64 trains in 11 to 14
s; d = 784 takes 0.9 s a step (half an hour for 2,000, once; an interrupted training starts again)
and 1.2 GB at its peak.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from eigenloop import __version__
from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.checkpoints import load_config, load_run, load_weights
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.run_directory import RunDirectory
from eigenloop.lab.training import train
from eigenloop.predict.prediction import Blocks
from eigenloop.system.cache import cache_directory
from eigenloop.system.errors import InputError
from eigenloop.system.files import load_arrays, save_arrays
from eigenloop.system.forks import forked
from eigenloop.system.progress import Progress, silent

BATCH = 128
TRAINING_STEPS = 2000
MAX_COLUMNS = 32
"""Most columns of a training X: what a step costs beyond it buys no accuracy (see
`training_recipe`).
"""


def unnoted(message: str) -> None:
    """Say nothing."""


def training_recipe(dim: int, *, steps: int = TRAINING_STEPS, seed: int = 0) -> TrainConfig:
    """How the model that `predict` applies is trained: one layer with LN, layerwise, on fresh
    samples of Task 1.

    The learning rate starts at d, since the gradient of a d x d block at a multiple of I has 1/d of
    the trace's derivative, and falls to 0 along a cosine, which averages the noise in A and B away.
    Plateau angles on the digits (d = 64, 2,000 steps, seed 0, 2 busy cores): with 128 columns and
    batch 64, 0.0077 at a constant rate d/4, 0.0029 with the cosine, 0.0009 with the cosine from d
    (16 to 26 s); with 32 columns and batch 128, from d, 0.0014 (11 s).

    X has min(2d, 32) columns: beyond 32 a step mostly pays for drawing X and forming S. Assumption
    3.2 (A3), E[1/lambda_d] < infinity, fails with n < d + 2; it is sufficient only, and what
    Theorem 4.3 needs of it, Y2 = E[(||q||^2 ||Sq||^2 - (q.Sq)^2) / ||Sq||^4] < infinity, holds
    here, as ||Sq||^2 >= ||X^T q||^4 and E[1/||X^T q||^4] is finite from n = 5 columns on.

    Args:
        dim: d >= 2.
        steps: length of the training.
        seed: of the training.

    Example:
        >>> training_recipe(64).samples, training_recipe(4).samples
        (32, 8)
    """
    return TrainConfig.create(
        dim=dim,
        samples=min(2 * dim, MAX_COLUMNS),
        objective="layerwise",
        loops=1,
        fresh=True,
        steps=steps,
        learning_rate=float(dim),
        batch=BATCH,
        test_size=BATCH,
        seed=seed,
    )


def train_blocks(config: TrainConfig, *, progress: Progress = silent) -> Blocks:
    """Train by a `training_recipe`, with its cosine schedule.

    In a forked process JAX may wait for ever for threads that the fork has not copied; there a
    fresh Python trains.
    """
    if forked():
        return _trained_elsewhere(config)

    def learning_rate(step: Any) -> jax.Array:
        phase = jnp.pi * step.astype(jnp.float32) / config.total_steps
        return config.learning_rate * 0.5 * (1 + jnp.cos(phase))

    model = TwoBlock.from_full(
        train(config, optimizer=optax.sgd(learning_rate), progress=progress).model
    )
    return _checked_blocks(np.asarray(model.a[0]), np.asarray(model.b[0]), "the training")


FRESH = """
import sys
from pathlib import Path
from eigenloop.predict.recipes import keep_trained
keep_trained(sys.stdin.read(), Path(sys.argv[1]))
"""


def keep_trained(config: str, path: Path) -> None:
    """Train by a configuration in JSON and write the blocks to a file: what a fresh Python does
    for a forked one.
    """
    _keep(path, train_blocks(TrainConfig.model_validate_json(config)))


def _trained_elsewhere(config: TrainConfig) -> Blocks:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blocks.safetensors"
        done = subprocess.run(
            [sys.executable, "-c", FRESH, str(path)],
            input=config.model_dump_json(),
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=False,
        )
        if done.returncode != 0 or not path.exists():
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(
                f"a forked process cannot train by itself, and a fresh Python failed to: {said}"
            )
        return _kept(path, config.dim)


def cached_blocks(
    config: TrainConfig,
    folder: Path | None = None,
    *,
    progress: Progress = silent,
    note: Callable[[str], None] = unnoted,
) -> Blocks:
    """The blocks of a recipe from the cache, trained and kept there if they are not.

    Processes that want the same blocks at once wait for the first of them to train.

    Args:
        config: from `training_recipe`.
        folder: the cache; None for `cache_directory()`. Files are named by version, dimension and
            configuration.
        progress: called while training.
        note: told in one line when an entry is damaged (it is trained again) or cannot be kept.
    """
    schedule = f"{config.model_dump_json()} cosine {jax.__version__}"
    digest = hashlib.sha256(schedule.encode()).hexdigest()[:16]
    path = (
        folder or cache_directory()
    ) / f"predict-{__version__}-d{config.dim}-{digest}.safetensors"
    found = _entry(path, config.dim, note)
    if found is not None:
        with suppress(OSError):  # of a process that was killed once it had written the entry
            path.with_suffix(".lock").unlink(missing_ok=True)
        return found
    with _held(path):
        # of a process that was killed while it wrote
        for leftover in path.parent.glob(f".{path.name}.*"):
            leftover.unlink(missing_ok=True)
        found = _entry(path, config.dim, unnoted)  # another process may have trained it meanwhile
        if found is not None:
            return found
        blocks = train_blocks(config, progress=progress)
        try:
            _keep(path, blocks)
        except (InputError, OSError):
            note(
                f"the trained model is not kept: {path.parent} cannot be written; set"
                " XDG_CACHE_HOME to another"
            )
        return blocks


def _entry(path: Path, dim: int, note: Callable[[str], None]) -> Blocks | None:
    if not path.exists():
        return None
    try:
        return _kept(path, dim)
    except InputError as error:
        note(f"the cached model cannot be used and is trained again: {error}")
        return None


def _kept(path: Path, dim: int) -> Blocks:
    arrays = load_arrays(path)
    if arrays.keys() != {"A", "B"} or any(m.shape != (dim, dim) for m in arrays.values()):
        raise InputError(f"{path} does not hold A and B of dimension {dim}")
    return _checked_blocks(arrays["A"], arrays["B"], str(path))


def _keep(path: Path, blocks: Blocks) -> None:
    save_arrays(path, {"A": blocks.a.astype(np.float32), "B": blocks.b.astype(np.float32)})


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """One process at a time; a lock ends with the process that has it.

    Nothing is held where nothing can be written.
    """
    lock = path.with_suffix(".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError:
        yield
        return
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
            except OSError:  # a file system without locks
                break
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def blocks_of_run(directory: Path, *, dim: int, note: Callable[[str], None] = unnoted) -> Blocks:
    """A and B of a run made by `eigenloop train` (its first seed where it has several).

    Args:
        directory: the run's; config.toml and weights.safetensors are enough.
        dim: that the model must have.
        note: told in one line where the run is unfinished.

    Raises:
        InputError: no such run, a damaged one, or one of another dimension.
    """
    config = load_config(directory)
    if config.dim != dim:
        raise InputError(
            f"{directory} was trained with --dim {config.dim}, but the data have {dim} features; "
            f"train one with --dim {dim} or leave --run out"
        )
    beyond = {
        "--untied": config.layers is not None,
        "--learn-residual": config.learn_residual,
        "--residual": config.residual != 1,
    }
    if any(beyond.values()):
        used = " and ".join(name for name, is_used in beyond.items() if is_used)
        raise InputError(
            f"{directory} was trained with {used}; predict applies looped models whose residual"
            " weight is 1, so train one without"
        )
    folder = Path(directory)
    weights, checkpoint = (
        folder / name for name in (RunDirectory.WEIGHTS, RunDirectory.CHECKPOINT)
    )
    if weights.exists() and not checkpoint.exists():
        full = load_weights(folder, config)
    else:
        run = load_run(folder)
        full = run.model
        if run.done < config.total_steps:
            note(
                f"{directory} is unfinished: the model applied is that of step {run.done:,} of"
                f" {config.total_steps:,}; start its training again to finish it"
            )
    model = TwoBlock.from_full(full)
    return _checked_blocks(np.asarray(model.a[0]), np.asarray(model.b[0]), str(directory))


def _checked_blocks(a: np.ndarray, b: np.ndarray, source: str) -> Blocks:
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        raise InputError(
            f"{source} gave matrices that are not finite; train with a smaller learning rate"
        )
    return Blocks(a.astype(np.float64), b.astype(np.float64))
