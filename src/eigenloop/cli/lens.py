"""`eigenloop lens`: which directions the layers and heads of a pretrained transformer amplify."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from eigenloop.lens import Spectra


def lens(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A directory with config.json and safetensors files, or a name on the Hugging Face hub.",
            show_default=False,
        ),
    ],
    weights_only: Annotated[
        bool, typer.Option("--weights-only", help="Read the weights' files and nothing else; without a text always so.")
    ] = False,
    rule: Annotated[
        Literal["modulus", "consensus", "layernorm"] | None,
        typer.Option(
            help="What leads: largest |lambda|; largest |1 + lambda|, with the residual; or with the normalisation. "
            "All three by default.",
            show_default=False,
        ),
    ] = None,
    layers: Annotated[str, typer.Option(help="all, late (the last third), or numbers and ranges: 0,3-5.")] = "all",
    compare: Annotated[
        str | None,
        typer.Option(
            help="Another checkpoint of the same model: how far have the directions turned?", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory for report.html and its tables; nothing is written by default.", show_default=False
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Find the principal modes of F = W_O W_V in every layer and head of a pretrained transformer (arXiv 2605.25619).

    Weights are taken as they are stored; no code from the checkpoint is run.
    """
    import json as encoder

    from rich.console import Console

    from eigenloop import __version__
    from eigenloop.cli.progress import bars
    from eigenloop.cli.safely import safely
    from eigenloop.lens import RULES
    from eigenloop.lens.survey import check_directory, survey

    if out is not None:
        check_directory(out)
    with bars() as shown:
        found = survey(
            model, rules=(rule,) if rule else RULES, layers=layers, with_query_keys=out is not None,
            compare_with=compare, report=shown.tell,
        )  # fmt: skip
    files: dict[str, str] = {}
    if out is not None:
        with safely(lambda: True):
            files = found.save(
                out, command=_command(model, out, weights_only=weights_only, rule=rule, layers=layers, compare=compare)
            )
    if json:
        typer.echo(encoder.dumps({**found.as_dict(), "version": __version__, "files": files}, allow_nan=False))
    else:
        _summary(Console(soft_wrap=True, highlight=False), found.spectra, found.seconds)
        if files:
            typer.echo(files["report"])


def _command(model: str, out: Path, **options: Any) -> str:
    """What was typed, quoted for a shell."""
    words = ["eigenloop", "lens", model]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value not in (None, False) and (name, value) != ("layers", "all"):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*words, "--out", str(out)])


def _summary(console: Any, found: "Spectra", seconds: float) -> None:
    """The human report on standard output."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    about = f"{found.model_type}, d = {found.width}, {found.heads} heads, {found.placement}-LN"
    console.print(f"[bold]{escape(found.source)}[/]: {about}; F = W_O W_V of each layer, raw weights")
    for note in found.notes():
        console.print(f"note: {note}", markup=False)
    for rule in found.rules:
        table = Table(box=SIMPLE)
        for heading in ("layer", "eigenvalue", "flag", "growth", "gap", "strongest head"):
            table.add_column(heading, no_wrap=True)
        for layer in found.layers:
            mode, heads = layer.modes[rule], layer.heads[rule]
            best = max(range(len(heads)), key=lambda h, heads=heads: heads[h].growth)
            table.add_row(
                str(layer.layer), _number(mode.eigenvalue), mode.flag, f"{mode.growth:.4g}", f"{mode.gap:.4f}",
                f"{best}: {_number(heads[best].eigenvalue)}",
            )  # fmt: skip
        console.print(f"\nrule {rule}: {found.layers[0].modes[rule].operator}, largest {_FACTORS[rule]}", markup=False)
        console.print(table)
        counts = found.counts()[rule]
        console.print("layers by flag: " + ", ".join(f"{count} {flag}" for flag, count in counts.items() if count))
    console.print(f"{seconds:.1f} s")


_FACTORS = {"modulus": "|lambda|", "consensus": "|1 + lambda|", "layernorm": "growth of one step"}


def _number(value: complex) -> str:
    return f"{value.real:.4g}" if not value.imag else f"{value.real:.4g} ± {abs(value.imag):.4g}i"
