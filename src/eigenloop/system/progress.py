"""How long work says how far it is: one callback, of one signature, in every package."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""progress(name, done, total): `done` of `total` pieces of the work called `name` are done, from 0
to the whole; called in the caller's own thread. What it raises ends the work.
"""


def silent(name: str, done: int, total: int) -> None:
    """A `Progress` that says nothing."""
