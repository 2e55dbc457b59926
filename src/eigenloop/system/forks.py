"""Whether this process was forked from one in which JAX had begun to work.

A fork copies JAX's state but none of its threads, and what they should do is waited for without
end.
"""

import os
import sys
import threading
from pathlib import Path

from eigenloop.system.errors import InputError

TASKS = Path("/proc/self/task")
"""The threads of this process, Python's and others', where the system is Linux."""


def forked() -> bool:
    """Whether JAX would wait for ever in this process."""
    return _forked.is_set()


def refuse_forked() -> None:
    """Stop before JAX waits for ever.

    Raises:
        InputError: this process was forked after JAX had begun to work.
    """
    if forked():
        raise InputError(
            "this process was forked from one in which JAX had begun to work, and JAX would wait"
            ' for ever in it; start processes by multiprocessing.get_context("spawn")'
        )


def _begun() -> bool:
    """Whether JAX has chosen its devices, here or before a fork."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bool(getattr(bridge, "backends_are_initialized", lambda: False)())


def _alone() -> bool:
    """Whether this process has no thread but Python's own; JAX has a dozen others once it has
    begun.
    """
    return TASKS.is_dir() and len(list(TASKS.iterdir())) <= threading.active_count()


def _look() -> None:
    if _begun():
        _forked.set()


_forked = threading.Event()
if _begun() and _alone():  # forked before this was imported
    _forked.set()
os.register_at_fork(after_in_child=_look)
