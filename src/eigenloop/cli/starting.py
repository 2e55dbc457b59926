"""The first word of a command whose libraries take seconds to import (standard library only)."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CLEAR = "\r\033[K"
"""Puts a terminal's cursor back to the beginning of its line, and clears that."""


@contextmanager
def starting(*libraries: str) -> Iterator[None]:
    """Say "starting" while the block imports; on a terminal the word goes again.

    Args:
        libraries: of which one takes long; where all of them are there already, nothing is said.
    """
    stream = sys.stderr
    if stream is None or all(library in sys.modules for library in libraries):
        yield
        return
    passing = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    print("starting", end=" ..." if passing else "\n", file=stream, flush=True)
    try:
        yield
    finally:
        if passing:
            print(CLEAR, end="", file=stream, flush=True)
