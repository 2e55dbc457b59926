"""Ctrl-C inside a command: heard at safe moments, and told what was kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InterruptedCommandError(Exception):
    """A command was interrupted; the message says what was kept."""


def nothing() -> bool:
    """Nothing is ever saved."""
    return False


@contextmanager
def safely(saved: Callable[[], bool] = nothing) -> Iterator[None]:
    """Run a command's work, so that Ctrl-C ends it between two pieces of it.

    Args:
        saved: whether something was, to go on from.

    Raises:
        InterruptedCommandError: in place of KeyboardInterrupt, which Typer would swallow.
    """
    from eigenloop.system import interrupts

    try:
        with interrupts.deferred():
            yield
    except KeyboardInterrupt:
        kept = (
            "what was done is saved: run the same command to go on"
            if saved()
            else "nothing was saved"
        )
        raise InterruptedCommandError(f"interrupted; {kept}") from None
