"""The first word of a command whose libraries take seconds to import (standard library only)."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 0.7
"""Seconds after which the word is said where standard error is no terminal: what is refused
earlier is one line.
"""
CLEAR = "\r\033[K"
"""Puts a terminal's cursor back to the beginning of its line, and clears that."""


@contextmanager
def starting(*libraries: str) -> Iterator[None]:
    """Say "starting" while the block imports; on a terminal at once, and the word goes again.

    Args:
        libraries: of which one takes long; where all of them are there already, nothing is said.
    """
    stream = sys.stderr
    if stream is None or all(library in sys.modules for library in libraries):
        yield
        return
    passing = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if not passing:
        timer = threading.Timer(PATIENCE, print, ["starting"], {"file": stream, "flush": True})
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        return
    print("starting", end=" ...", file=stream, flush=True)
    try:
        yield
    finally:
        print(CLEAR, end="", file=stream, flush=True)
