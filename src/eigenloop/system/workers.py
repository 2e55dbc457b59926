"""Worker processes: fresh Pythons that leave Ctrl-C to their parent and end when it is gone
(standard library only).
"""

import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ProcessPoolExecutor, wait
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext
from typing import Any

from eigenloop.system import cache, interrupts

POLL_SECONDS = 0.2
"""Between two looks for Ctrl-C while workers work."""
SAVING_SECONDS = 1.0
"""How long a worker whose parent is gone may take to save its work."""
orphaned, saving = threading.Event(), threading.Lock()
"""In a worker: set once its parent is gone; what holds the lock may finish first."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def context() -> SpawnContext:
    """Where fresh Python processes, their events and their queues come from.

    Python has a process that removes the semaphores of one that is killed. It does so, and warns of
    each beforehand, on the standard error of the process that is gone; here it is started deaf to
    that warning, unless something else has started it.
    """
    quiet = "ignore:resource_tracker:UserWarning"
    sys.warnoptions.append(quiet)  # what it is started with
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(quiet)
    return multiprocessing.get_context("spawn")


def processes(
    workers: int, begin: Callable[..., None] | None = None, *arguments: Any
) -> ProcessPoolExecutor:
    """A pool of fresh Python processes, deaf to Ctrl-C (their parent decides), that end when their
    parent is gone.

    Args:
        workers: how many.
        begin: a function of a module, called once in each, with `arguments`; it is named to them,
            so that they look for their parent while they import it, which may take seconds.
        arguments: of `begin`.
    """
    name = None if begin is None else (begin.__module__, begin.__name__)
    return ProcessPoolExecutor(workers, context(), initializer=_serve, initargs=(name, *arguments))


def gather(
    futures: Collection[Future[Any]],
    ended: Callable[[Future[Any]], None] = lambda future: future.result(),
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Wait for every future; Ctrl-C is heard meanwhile.

    Args:
        futures: of a pool.
        ended: called with each as it ends, in this thread; by default raises what the work raised.
        meanwhile: called some five times a second.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed. What is not yet begun is cancelled, as after every
            other error.
    """
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
            meanwhile()
            for future in done:
                ended(future)
            interrupts.check()
    finally:
        for future in waiting:
            future.cancel()


def work_alone(stop: Any) -> None:
    """Prepare a worker for one-threaded arithmetic on the CPU, and for ending at once when `stop`
    is set.

    NumPy and JAX read these settings when they are first imported, which is after this.

    Args:
        stop: a `multiprocessing.Event`.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"):
        os.environ[name] = "1"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    threading.Thread(target=_leave_when, args=(stop,), daemon=True).start()


def _serve(begin: tuple[str, str] | None, *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    cache.ignore_damaged_programs()
    if begin is not None:
        module, name = begin
        getattr(importlib.import_module(module), name)(*arguments)


def _leave_with_parent() -> None:
    """A killed parent sends no word, and its pool's queue stays open for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        orphaned.set()
        saving.acquire(timeout=SAVING_SECONDS)  # a compiler may be at work, and does not hear
        os._exit(1)


def _leave_when(stop: Any) -> None:
    stop.wait()
    os._exit(1)
