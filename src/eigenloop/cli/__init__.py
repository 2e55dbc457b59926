"""The command line: one file per command; errors are one line on standard error.

A command parses, imports its wing inside its function, calls it and prints; no mathematics here.
This file imports nothing of weight, so that Ctrl-C is heard from the start.
"""

import codecs
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from eigenloop.cli.causes import known
from eigenloop.system.cache import keep_compiled_programs
from eigenloop.system.errors import InputError, one_line, reason

__all__ = ["main"]

INTERNAL = 70
"""Exit status after an exception whose cause is not known (EX_SOFTWARE of sysexits.h)."""

NEGATED = (("--header", "--no-header"),)
"""Options that come as a pair."""

PLAIN = {
    "±": "+-",
    "×": "x",
    "−": "-",
    "–": "-",
    "…": "...",
    "≥": ">=",
    "≤": "<=",
    "λ": "lambda",
    "γ": "gamma",
}
"""What stands for a sign that the terminal's encoding lacks; a question mark for others."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 input that cannot be used, 70 a fault of its own,
    130 interrupted.

    `--debug`, anywhere among the arguments, shows the traceback of whatever ends the command.
    """
    from eigenloop.system import interrupts

    words = list(sys.argv[1:] if arguments is None else arguments)
    debug, words = "--debug" in words, [word for word in words if word != "--debug"]
    _prepare()
    try:
        with interrupts.handled():
            status = _run(words, interrupts, debug)
    except KeyboardInterrupt:
        status = _fail("interrupted", interrupts.INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _run(words: list[str], interrupts: Any, debug: bool) -> Any:
    try:
        keep_compiled_programs()
        with interrupts.deferred():
            import typer

            from eigenloop.cli.app import app
            from eigenloop.cli.safely import InterruptedCommandError
        try:
            _refuse_nothing(words)
            _refuse_contradiction(words)
            status = app(args=words, standalone_mode=False)
            if sys.stdout is not None:
                # what cannot be written is heard of here, not when Python has ended
                sys.stdout.flush()
            if status == interrupts.INTERRUPTED:  # what Typer returns after Ctrl-C, without a word
                raise KeyboardInterrupt
            return status
        except InterruptedCommandError as stop:
            return _fail(str(stop), interrupts.INTERRUPTED)
        except typer.Exit as stop:
            return stop.exit_code
        except typer.Abort:
            raise KeyboardInterrupt from None
    except BrokenPipeError:
        _silence()  # the reader has gone: nothing more to say
        return 1
    except Exception as error:
        # the outermost: every one ends in a line and a status, and --debug has the traceback
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError):
            _silence()  # or Python would try once more to write what was not
        message, status = _told(error)
        return _fail(message, status) if message else status


def _told(error: Exception) -> tuple[str, int]:
    """What to say of an exception, and the exit status."""
    if isinstance(error, InputError):
        return str(error), 2
    usage = getattr(error, "format_message", None)
    # an error of the command line itself, by whichever library Typer stands on
    if usage is not None:
        message = " ".join(usage().split())
        # what pydantic puts before the words of others
        message = message.replace(": Value error, ", ": ", 1)
        return message + _offending(error, message), 2
    cause = known(error)
    if cause is not None:
        return one_line(cause), 2
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}eigenloop{os.sep}" in frame.filename] or frames
    where = f"{ours[-1].filename.rpartition(f'{os.sep}eigenloop{os.sep}')[2]}:{ours[-1].lineno}"
    text = (
        f"internal error: {type(error).__name__} at {where} ({reason(error)}); this is a fault of"
        " eigenloop: "
    )
    return (
        one_line(f"{text}please report the command, and what it prints with --debug added"),
        INTERNAL,
    )


def _prepare() -> None:
    """What others have set for their own sake and what would stop a command: encodings, and how
    to draw on a screen.
    """
    os.environ["MPLBACKEND"] = "agg"  # a command draws into files
    # where it keeps its fonts is nobody's concern here
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    codecs.register_error("eigenloop", _plain)
    # there may be no output, or one that a test has put there
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="eigenloop")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return (
        "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]),
        error.end,
    )


def _silence() -> None:
    """Let what is still to be written to standard output go nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # there is none, or it is no file
        return


def _refuse_nothing(words: list[str]) -> None:
    """An empty word would stand for the current directory, or for no table at all."""
    for before, word in zip(["", *words], words, strict=False):
        if word == "" or (word.startswith("--") and word.endswith("=")):
            name = (
                before
                if word == "" and before.startswith("--")
                else word.rstrip("=") or "an argument"
            )
            raise InputError(f"{name} is empty; give it a value")


def _refuse_contradiction(words: list[str]) -> None:
    """Of an option and its negation the parser would take the last without a word."""
    options = words[: words.index("--")] if "--" in words else words
    for pair in NEGATED:
        if all(word in options for word in pair):
            raise InputError(f"{' and '.join(pair)} were both given; give one of them")


def _offending(error: Any, message: str) -> str:
    """The value that an option could not take, where the message does not name it."""
    cause = error.__cause__ or error.__context__
    found = cause.errors()[0].get("input") if hasattr(cause, "errors") else None
    return f" (not {found!r})" if isinstance(found, str) and repr(found) not in message else ""


def _fail(message: str, status: int) -> int:
    if sys.stderr is not None:
        print(f"error: {message}", file=sys.stderr)
    return status
