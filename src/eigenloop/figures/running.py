"""Training what the figures need: each run once, finished ones read back."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from eigenloop.errors import InputError
from eigenloop.runs import RunDirectory
from eigenloop.training import Progress, TrainConfig, Trained, load_run, train

Report = Callable[[str, Progress], None]
"""Told the run's name and how far it is; called from worker threads, one call at a time."""


def silent(name: str, progress: Progress) -> None:
    """Say nothing."""


def train_all(
    configs: Mapping[str, TrainConfig], directory: Path, report: Report = silent, *, workers: int = 1
) -> dict[str, Trained]:
    """Train every run in its own folder under `directory`; a finished one is read, an interrupted one goes on.

    Runs share no state, so their number side by side changes no bit of them. One at a time by default: two XLA programs
    at once can wait for each other for ever where XLA's pool has only two threads.

    Raises:
        InputError: as for `eigenloop.training.train`.
        KeyboardInterrupt: after every run under way has been saved.
    """
    stop, lock = threading.Event(), threading.Lock()

    def one(name: str, config: TrainConfig) -> Trained:
        def tell(progress: Progress) -> None:
            if stop.is_set():
                raise KeyboardInterrupt  # makes `train` save its state
            with lock:
                report(name, progress)

        if stop.is_set():
            raise KeyboardInterrupt
        folder = Path(directory) / name
        finished = _finished(config, folder)
        if finished is not None:
            return finished
        return train(config, folder, report=tell)

    longest_first = sorted(configs, key=lambda name: -_cost(configs[name]))
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = {name: pool.submit(one, name, configs[name]) for name in longest_first}
        try:
            for future in futures.values():
                future.result()
        except BaseException:
            stop.set()
            raise
    return {name: futures[name].result() for name in configs}


def at_step(run: Trained, step: int) -> tuple[int, np.ndarray, np.ndarray]:
    """(step, V, W) of the snapshot at `step`, or of the end of a run that is shorter; arrays (K, 2d, 2d) float64."""
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
