"""`eigenloop lens`: which directions the layers and heads of a pretrained transformer amplify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from eigenloop.lens import Spectra
    from eigenloop.lens.survey import Survey


def lens(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help=(
                "A directory with config.json and safetensors files, or a name on the Hugging Face"
                " hub."
            ),
            show_default=False,
        ),
    ],
    text: Annotated[
        Path | None,
        typer.Option(
            help="A text file: do its tokens follow the leading directions?", show_default=False
        ),
    ] = None,
    weights_only: Annotated[
        bool,
        typer.Option("--weights-only", help="Run no model; without --text and --loop always so."),
    ] = False,
    rule: Annotated[
        Literal["modulus", "consensus", "layernorm"] | None,
        typer.Option(
            help=(
                "What leads: largest |lambda|; largest |1 + lambda|, with the residual; or with the"
                " normalisation. "
                "All three by default."
            ),
            show_default=False,
        ),
    ] = None,
    layers: Annotated[
        str, typer.Option(help="all, late (the last third), or numbers and ranges: 0,3-5.")
    ] = "all",
    loop: Annotated[
        int | None,
        typer.Option(
            metavar="LAYER",
            help="A layer to apply again and again, as shared weights do.",
            show_default=False,
        ),
    ] = None,
    loops: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help=(
                "How often, 48 by default. Without --loop: how many loops of one shared block the"
                " text's tokens are "
                "followed for, twice the trained number by default."
            ),
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where the model runs: auto, cpu, cuda, ...")
    ] = "auto",
    compare: Annotated[
        str | None,
        typer.Option(
            help="Another checkpoint of the same model: how far have the directions turned?",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory for report.html and its tables; nothing is written by default.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Find the principal modes of F = W_O W_V in every layer and head of a pretrained transformer
    (arXiv 2605.25619).

    Weights are taken as they are stored; no code from the checkpoint is run.
    """
    import json as encoder
    from contextlib import nullcontext

    from eigenloop.cli.parsing import repeated
    from eigenloop.cli.safely import safely
    from eigenloop.cli.starting import starting

    _check(text, loop, loops, weights_only=weights_only)
    with starting("scipy.linalg"):
        from eigenloop import __version__
        from eigenloop.lens import RULES
        from eigenloop.lens.survey import output_directory, survey
        from eigenloop.system.bars import bars

    files: dict[str, str] = {}
    with nullcontext() if out is None else output_directory(out).held():
        with bars() as shown:
            found = survey(
                model,
                rules=(rule,) if rule else RULES,
                layers=layers,
                with_query_keys=out is not None,
                text=text,
                loop=loop,
                loops=loops,
                compare_with=compare,
                device=device,
                progress=shown.tell,
            )
        if out is not None:
            options = {
                "text": text,
                "weights_only": weights_only,
                "rule": rule,
                "layers": layers,
                "loop": loop,
                "loops": loops,
                "device": device,
                "compare": compare,
                "out": out,
            }
            command = repeated("lens", model, options=options, defaults=_DEFAULTS)
            with safely(lambda: True):
                files = found.write(out, command=command)
    if json:
        typer.echo(
            encoder.dumps(
                {**found.as_dict(), "version": __version__, "files": files}, allow_nan=False
            )
        )
    else:
        _summary(found)
        if files:
            typer.echo(files["report"])


_DEFAULTS = {"layers": "all", "device": "auto"}


def _check(text: Path | None, loop: int | None, loops: int | None, *, weights_only: bool) -> None:
    """Refuse options that do not go together, before anything heavy is imported."""
    from eigenloop.system.errors import InputError

    for name, given in (("--text", text), ("--loop", loop)):
        if weights_only and given is not None:
            raise InputError(
                f"--weights-only runs no model, and {name} needs it to run; leave one of them out"
            )
    if loops is not None and loop is None and text is None:
        raise InputError(
            f"--loops is {loops}, but no layer is looped; say which: --loop 0 --loops {loops}"
        )
    if loops is not None and loops < 1:
        raise InputError(f"--loops is {loops}; at least 1 is needed")


def _summary(found: "Survey") -> None:
    """The human report on standard output."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:  # a file has room for every digit
        console = Console(soft_wrap=True, highlight=False, width=140)
    _spectra(console, found.spectra, found.notes())
    for sentence in found.sentences():
        console.print(sentence, markup=False)
    console.print(f"{found.seconds:.1f} s")


def _spectra(console: Any, found: "Spectra", notes: list[str]) -> None:
    """A table for each rule."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    from eigenloop.system.wording import number

    about = f"{found.model_type}, d = {found.width}, {found.heads} heads, {found.placement}-LN"
    console.print(
        f"[bold]{escape(found.source)}[/]: {about}; F = W_O W_V of {found.shown()}; raw weights"
    )
    for note in notes:
        console.print(f"note: {note}", markup=False)
    several = len(found.layers) > 1
    for rule in found.rules:
        table = Table(box=SIMPLE)
        for heading in (
            found.unit.split()[-1],
            "eigenvalue",
            "flag",
            "growth",
            "gap",
            "strongest head",
        ):
            table.add_column(heading, no_wrap=True)
        for layer in found.layers:
            mode, heads = layer.modes[rule], layer.heads[rule]
            best = max(range(len(heads)), key=lambda h, heads=heads: heads[h].growth)
            table.add_row(
                str(layer.layer),
                number(mode.eigenvalue),
                mode.flag,
                f"{mode.growth:.4g}",
                f"{mode.gap:.4f}",
                f"{best}: {number(heads[best].eigenvalue)}",
            )
        operator = ", ".join(dict.fromkeys(layer.modes[rule].operator for layer in found.layers))
        console.print(f"\nrule {rule}: {operator}, largest {_FACTORS[rule]}", markup=False)
        console.print(table)
        counts = ", ".join(
            f"{count} {flag}" for flag, count in found.counts()[rule].items() if count
        )
        if several:
            console.print(f"{found.unit}s by flag: {counts}")


_FACTORS = {"modulus": "|lambda|", "consensus": "|1 + lambda|", "layernorm": "growth of one step"}
