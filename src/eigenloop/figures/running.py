"""Training what the figures need: each run once, finished ones read back, several in processes
of their own.
"""

import os
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eigenloop.figures.settings import Budget
from eigenloop.lab.checkpoints import Trained, load_run
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.run_directory import RunDirectory
from eigenloop.lab.training import train
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent
from eigenloop.system.workers import (
    POLL_SECONDS,
    context,
    cores,
    gather,
    orphaned,
    processes,
    saving,
)

LENGTH = ("epochs", "steps")
"""What may differ between a run and its continuation."""
LONG = 1_000
"""Steps beside which compiling again costs little."""


def side_by_side() -> int:
    """How many runs to train at once on this machine: one for each core, and one where JAX has a
    GPU.
    """
    return 1 if jax.default_backend() != "cpu" else cores()


def train_all(
    configs: Mapping[str, TrainConfig],
    directory: Path,
    progress: Progress = silent,
    *,
    workers: int = 1,
) -> dict[str, Trained]:
    """Train every run in its own folder under `directory`; a finished one is read, an interrupted
    one goes on.

    Args:
        configs: the runs by name.
        directory: holds one folder for each.
        progress: told the steps of each run, by its name.
        workers: runs trained at the same time, each in a process of its own with one thread: a step
            is too small to share between cores, and two XLA programs in one process can wait for
            each other for ever. More than one starts Python anew, so a script that asks for it
            needs the usual `if __name__ == "__main__":`.

    Raises:
        InputError: as for `eigenloop.lab.training.train`; a process that was killed.
        KeyboardInterrupt: after every run under way has been saved.
    """
    folders = {name: Path(directory) / name for name in configs}
    found = {name: _finished(config, folders[name]) for name, config in configs.items()}
    missing = sorted(
        (name for name in configs if found[name] is None), key=lambda name: -_cost(configs[name])
    )
    if workers == 1 or len(missing) < 2:
        for name in missing:
            found[name] = train(
                configs[name],
                folders[name],
                progress=lambda _, done, total, name=name: progress(name, done, total),
            )
    else:
        _train_apart(
            {name: (configs[name], folders[name]) for name in missing},
            progress,
            min(workers, len(missing)),
        )
        found |= {name: load_run(folders[name]) for name in missing}
    return {name: run for name, run in found.items() if run is not None}


def require_budget(configs: Mapping[str, TrainConfig], budget: Budget, directory: Path) -> None:
    """Refuse a directory whose runs were made with another budget, before any of ours is trained.

    Args:
        configs: the runs by name.
        budget: that they come from.
        directory: holds one folder for each.

    Raises:
        InputError: names the option that differs, with both values.
    """
    for name, config in configs.items():
        run = RunDirectory(Path(directory) / name, config.plain(), extendable=LENGTH)
        differences = run.differences()
        if differences:
            raise InputError(
                f"{directory} holds runs made {_made(differences, budget)}; choose another --out"
            )
        done = _steps_done(run.path, config)
        if done > config.total_steps:
            passed = done // config.steps_per_epoch
            raise InputError(
                f"{directory} holds runs of {passed} epochs, more than --epochs {budget.epochs}; "
                f"give --epochs {passed} or more, or choose another --out"
            )


def _made(differences: Mapping[str, tuple[Any, Any]], budget: Budget) -> str:
    """What the runs that are there were made with, in options of the command line."""
    for key in ("seeds", "seed"):
        if key in differences:
            return "with --{} {}, not {}".format(key, *differences[key])
    own = [key for key in ("task", "multiplicities", "dim", "samples") if key in differences]
    if own:
        return "for another problem ({} {}, not {})".format(
            own[0], *(_plain(value) for value in differences[own[0]])
        )
    if differences.keys() & {"train_size", "test_size", "snapshots"}:
        return "without --quick" if budget.quick else "with --quick"
    key, (there, here) = next(iter(differences.items()))
    return f"by another version of these figures ({key} is {there} there, {here} here)"


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _steps_done(folder: Path, config: TrainConfig) -> int:
    """Steps of the checkpoint in a folder; 0 where there is none, or one of which `train` says
    what is wrong.
    """
    if config.steps is not None or not (folder / RunDirectory.CHECKPOINT).exists():
        return 0
    try:
        return load_run(folder).done
    except InputError:
        return 0


def _train_apart(
    jobs: Mapping[str, tuple[TrainConfig, Path]], progress: Progress, workers: int
) -> None:
    """Train in processes: what they tell comes back through a queue; an interruption is passed
    on to all of them.
    """
    spawned = context()
    told, stop = spawned.SimpleQueue(), spawned.Event()
    with processes(workers, _begin, told, stop) as pool:
        futures: set[Future[None]] = {
            pool.submit(_train_one, name, *job) for name, job in jobs.items()
        }

        def tell() -> None:
            while not told.empty():
                progress(*told.get())

        try:
            gather(futures, meanwhile=tell)
        except BrokenProcessPool:
            said = (
                "a training process was killed (is there enough memory?); run the same command to"
                " go on"
            )
            raise InputError(said) from None
        finally:
            stop.set()  # the others save their state and end
            pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}


def _begin(told: Any, stop: Any) -> None:
    """Prepare a training process."""
    # what XLA takes for the number of cores; the arithmetic stays the same, bit for bit
    os.environ["NPROC"] = "1"
    _worker.update(told=told, stop=stop, said=0.0)


def _train_one(name: str, config: TrainConfig, folder: Path) -> None:
    def tell(_: str, done: int, total: int) -> None:
        if _worker["stop"].is_set() or orphaned.is_set():
            raise KeyboardInterrupt  # makes `train` save its state
        if time.monotonic() - _worker["said"] > POLL_SECONDS or done == total:
            _worker["said"] = time.monotonic()
            _worker["told"].put((name, done, total))

    with saving:
        train(config, folder, progress=tell)
    if config.total_steps > LONG:
        jax.clear_caches()  # compiled programs of many runs would add up to most of the memory


def at_step(run: Trained, step: int) -> tuple[int, np.ndarray, np.ndarray]:
    """(step, V, W) of the snapshot at `step`, or of the end of a run that is shorter; arrays (K,
    2d, 2d) float64.
    """
    model = run.snapshots.get(step, run.model)
    actual = step if step in run.snapshots else int(run.steps[-1])
    return actual, np.asarray(model.v, np.float64), np.asarray(model.w, np.float64)


def models(run: Trained) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Step -> (A, B), (K, d, d) float64 each: the snapshots and the end."""
    steps = sorted({*run.snapshots, int(run.steps[-1])})
    found = {}
    for step in steps:
        _, v, w = at_step(run, step)
        dim = v.shape[-1] // 2
        found[step] = (v[:, dim:, :dim], w[:, :dim, dim:])
    return found


def _finished(config: TrainConfig, folder: Path) -> Trained | None:
    if not (folder / RunDirectory.CHECKPOINT).exists():
        return None
    try:
        run = load_run(folder)
    except InputError:
        return None  # `train` says what is wrong with it
    return run if run.config == config and int(run.steps[-1]) == config.total_steps else None


def _cost(config: TrainConfig) -> float:
    loops = config.loops if config.objective == "end-to-end" else 1
    return config.total_steps * loops * config.dim**2 * (100.0 if config.engine == "full" else 1.0)
