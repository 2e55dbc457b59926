"""The commands of the command line, one file each."""

from typing import Annotated

import typer

from eigenloop.cli.lens import lens
from eigenloop.cli.loops import loops
from eigenloop.cli.predict import predict
from eigenloop.cli.reproduce import reproduce
from eigenloop.cli.steer import steer
from eigenloop.cli.theory import theory
from eigenloop.cli.train import train
from eigenloop.cli.verify import verify

app = typer.Typer(
    name="eigenloop",
    help=(
        "Looped transformers that learn the power method: train them, check the theorems, apply"
        " them to data."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (reproduce, verify, theory, train, predict, lens, loops, steer):
    app.command()(command)


def _version(asked: bool) -> bool:
    if asked:
        from eigenloop import __version__

        typer.echo(f"eigenloop {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")
    ] = False,
) -> None:
    del version, debug  # heard of above, and in `main`
