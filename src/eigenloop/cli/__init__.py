"""The command line: one file per command; errors are one line on standard error, with exit status 2.

A command parses, imports its wing inside its function, calls it and prints; no mathematics here. This file imports
nothing of weight, so that Ctrl-C is heard from the start.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

from eigenloop.system.cache import keep_compiled_programs
from eigenloop.system.errors import InputError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 input that cannot be used, 130 interrupted."""
    from eigenloop.system import interrupts

    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with interrupts.handled():
            status = _run(words, interrupts)
    except KeyboardInterrupt:
        status = _fail("interrupted", interrupts.INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _run(words: list[str], interrupts: Any) -> Any:
    keep_compiled_programs()
    with interrupts.deferred():
        import typer

        from eigenloop.cli.app import app
        from eigenloop.cli.safely import InterruptedCommandError
    try:
        _refuse_nothing(words)
        status = app(args=words, standalone_mode=False)
        if status == interrupts.INTERRUPTED:  # what Typer returns after Ctrl-C, without a word
            raise KeyboardInterrupt
        return status
    except InputError as error:
        return _fail(_one_line(str(error)), 2)
    except InterruptedCommandError as stop:
        return _fail(str(stop), interrupts.INTERRUPTED)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: nothing more to say
        return 1
    except MemoryError as error:
        return _fail(f"not enough memory ({_one_line(str(error)) or 'no more is given'}); ask for smaller sizes", 2)
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):  # XLA's word for it
            return _fail("not enough memory (of the machine or its accelerator); ask for smaller sizes", 2)
        if not hasattr(error, "format_message"):  # a usage error of the command line itself has one
            raise
        message = _one_line(error.format_message())  # type: ignore[attr-defined]  # checked in the line above
        return _fail(message + _offending(error, message), 2) if message else 2


def _refuse_nothing(words: list[str]) -> None:
    """An empty word would stand for the current directory, or for no table at all."""
    for before, word in zip(["", *words], words, strict=False):
        if word == "" or (word.startswith("--") and word.endswith("=")):
            name = before if word == "" and before.startswith("--") else word.rstrip("=") or "an argument"
            raise InputError(f"{name} is empty; give it a value")


def _offending(error: Any, message: str) -> str:
    """The value that an option could not take, where the message does not name it."""
    cause = error.__cause__ or error.__context__
    found = cause.errors()[0].get("input") if hasattr(cause, "errors") else None
    return f" (not {found!r})" if isinstance(found, str) and repr(found) not in message else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fail(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status
