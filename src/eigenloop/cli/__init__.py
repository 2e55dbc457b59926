"""The command line: one file per command; errors are one line on standard error, with exit status 2.

A command parses, imports its wing inside its function, calls it and prints; no mathematics here.
"""

import os
import sys
from typing import Annotated

import typer

from eigenloop.cli.predict import predict
from eigenloop.cli.reproduce import reproduce
from eigenloop.cli.theory import theory
from eigenloop.cli.train import train
from eigenloop.cli.verify import verify
from eigenloop.errors import InputError

app = typer.Typer(
    name="eigenloop",
    help="Looped transformers that learn the power method: train them, check the theorems, apply them to data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (reproduce, verify, theory, train, predict):
    app.command()(command)

INTERRUPTED = 130


def _version(asked: bool) -> bool:
    if asked:
        from eigenloop import __version__

        typer.echo(f"eigenloop {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 input that cannot be used, 130 interrupted."""
    try:
        status = app(args=arguments, standalone_mode=False)
        if status == INTERRUPTED:  # what Typer returns after Ctrl-C, without a word
            raise KeyboardInterrupt
    except InputError as error:
        status = _fail(str(error), 2)
    except typer.Exit as stop:
        status = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        said = "interrupted; with the same command train and reproduce go on, the others start again"
        status = _fail(said, INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: nothing more to say
        status = 1
    except Exception as error:
        if not hasattr(error, "format_message"):  # a usage error of the command line itself has one
            raise
        message = error.format_message()  # type: ignore[attr-defined]  # checked in the line above
        status = _fail(" ".join(message.split()), 2) if message else 2
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status
