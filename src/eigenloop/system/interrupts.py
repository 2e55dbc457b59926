"""Ctrl-C that waits for a safe moment (standard library only).

An exception raised in the middle of XLA's compiler ends the process with a segmentation fault. So
the command line keeps in mind that Ctrl-C was pressed, long computations ask by `check` between
their pieces, and a second Ctrl-C ends the process at once, whatever it is doing. Nothing here is in
force until `handled` is entered.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Exit status after Ctrl-C."""
TOGETHER_SECONDS = 0.3
"""SIGINTs within this interval count as one Ctrl-C: a parent process may forward it."""

_asked, _deferring = threading.Event(), threading.Event()


@contextmanager
def handled() -> Iterator[None]:
    """Take Ctrl-C over while the block runs: the first raises KeyboardInterrupt, where `deferred`
    at the next `check`.

    Where Ctrl-C is ignored or has another handler, and outside the main thread, everything stays as
    it is.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    _asked.clear()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _hear)
    listener = threading.Thread(target=_listen, args=(reader,), daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(before)
        os.close(writer)
        listener.join()
        os.close(reader)
        _asked.clear()


@contextmanager
def deferred() -> Iterator[None]:
    """Let Ctrl-C wait for the next `check`, or for the end of the block.

    Raises:
        KeyboardInterrupt: at the end, where it was pressed and nothing has asked.
    """
    outermost = not _deferring.is_set()
    _deferring.set()
    try:
        yield
        check()
    finally:
        if outermost:
            _deferring.clear()


def check() -> None:
    """A safe moment.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if _asked.is_set():
        raise KeyboardInterrupt


def _hear(number: int, frame: object) -> None:
    """Runs in the main thread between two bytecodes, so possibly late."""
    del number, frame
    _asked.set()
    if not _deferring.is_set():
        raise KeyboardInterrupt


def _listen(reader: int) -> None:
    """Hears every signal when it comes, also while the main thread is inside compiled code."""
    first = None
    while pressed := os.read(reader, 1):
        if pressed[0] != signal.SIGINT:
            continue
        if first is None:
            first = time.monotonic()
            if _deferring.is_set():
                os.write(
                    2, b"\nnote: stopping at the next safe moment; Ctrl-C again stops at once\n"
                )
        elif time.monotonic() - first > TOGETHER_SECONDS:
            os.write(2, b"\nerror: interrupted twice; stopped at once\n")
            os._exit(INTERRUPTED)
