"""`eigenloop loops`: what a looped map does, and how many loops are worth running."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from eigenloop.loops import Diagnosis, LoopedMap


def loops(
    source: Annotated[
        str,
        typer.Argument(
            metavar="paper|RUN|MODEL|FILE.py:STEP",
            help=(
                "paper: the exact case. RUN: a directory of `eigenloop train`. MODEL: a directory"
                " with config.json, "
                "or a name on the Hugging Face hub. FILE.py:STEP: a function of yours, x -> the"
                " next state; the file is "
                "run, as code, and only because you name it here."
            ),
            show_default=False,
        ),
    ],
    layer: Annotated[
        int | None,
        typer.Option(help="MODEL: the layer to loop; without it the model's own loop (albert)."),
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="MODEL: a text file whose states are looped.")
    ] = None,
    start: Annotated[Path | None, typer.Option(help="FILE.py:STEP: x_0, a .npy file.")] = None,
    context: Annotated[
        Path | None,
        typer.Option(
            help="FILE.py:STEP: an .npz file; its arrays are passed by name and stay fixed."
        ),
    ] = None,
    gamma: Annotated[
        float | None, typer.Option(help="paper: A B = gamma I; 5 by default.", show_default=False)
    ] = None,
    count: Annotated[
        int, typer.Option("--loops", metavar="K", help="Loops that you run or mean to run.")
    ] = 64,
    starts: Annotated[
        int, typer.Option(help="Starts whose ends are compared: x_0 and random ones of its length.")
    ] = 1,
    device: Annotated[
        str, typer.Option(help="MODEL: where it runs: auto, cpu, cuda, ...")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of every random vector; of RUN's problem.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory for report.html, its tables and loops.json; nothing by default.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Does a loop settle, rotate, grow or wander; how fast; and how many loops are worth running?

    Each answer comes with its certificate: residual, condition and error of eigenvalues, a bracket
    of the radius, standard errors of exponents, forecasts beside what was taken.
    """
    import json as encoder

    from rich.console import Console

    from eigenloop import __version__
    from eigenloop.cli.safely import safely
    from eigenloop.loops.page import output_directory, write_diagnosis
    from eigenloop.system.errors import InputError

    if starts < 1:
        raise InputError(f"--starts is {starts}; at least 1 is needed")
    kind = _kind(source)
    given = {"layer": layer, "text": text, "start": start, "context": context, "gamma": gamma}
    _belong(kind, given)
    if out is not None:
        output_directory(out).check()
    with safely():
        if kind == "paper":
            found, sentences, document = _paper(5.0 if gamma is None else gamma, count, seed)
        elif kind == "run":
            found, sentences, document = _run(Path(source), count, seed)
        else:
            looped, sentences = _user_map(source, kind, given, device)
            found, document = _diagnosed(looped, count, starts, seed), {}
    document = {**found.as_dict(), **document, "version": __version__}
    files: dict[str, str] = {}
    if out is not None:
        command = _command(source, given, count, starts, seed, device, out)
        with safely(lambda: True):
            plane = _plane(found, seed) if starts > 1 else None
            files = write_diagnosis(
                found, out, command=command, said=sentences, plane=plane, document=document
            )
    if json:
        typer.echo(encoder.dumps({**document, "files": files}, allow_nan=False))
        return
    console = Console(soft_wrap=True, highlight=False)
    _summary(console, found)
    for sentence in sentences:
        console.print(sentence, markup=False)
    if files:
        typer.echo(files["report"])


def _kind(source: str) -> str:
    if source == "paper":
        return "paper"
    if ".py:" in source:
        return "file"
    return "run" if (Path(source) / "config.toml").exists() else "model"


NEEDED = {"model": "text", "file": "start"}
OPTIONS = {"paper": ("gamma",), "run": (), "model": ("layer", "text"), "file": ("start", "context")}


def _belong(kind: str, given: dict[str, Any]) -> None:
    """Refuse options of another kind of source, and a source without what it needs."""
    from eigenloop.system.errors import InputError

    names = {"paper": "paper", "run": "RUN", "model": "MODEL", "file": "FILE.py:STEP"}
    for name, value in given.items():
        if value is not None and name not in OPTIONS[kind]:
            owner = next(names[other] for other, options in OPTIONS.items() if name in options)
            raise InputError(
                f"--{name} belongs to {owner}, and the source is {names[kind]}; leave it out"
            )
    needed = NEEDED.get(kind)
    if needed and given[needed] is None:
        raise InputError(f"{names[kind]} needs --{needed}; give a file")


def _paper(gamma: float, count: int, seed: int) -> "tuple[Diagnosis, list[str], dict[str, Any]]":
    from eigenloop.loops import paper_case

    case = paper_case(gamma, loops=count, seed=seed)
    return case.found, case.sentences(), case.as_dict()


def _run(directory: Path, count: int, seed: int) -> "tuple[Diagnosis, list[str], dict[str, Any]]":
    from eigenloop.lab import load_run, loop_matrices
    from eigenloop.loops.snapshots import snapshots

    run = load_run(directory)
    matrices, query = loop_matrices(run, seed=seed)
    seen = snapshots(
        matrices,
        query,
        loops=count,
        norm=run.config.norm,
        trained_loops=1 if run.config.untied else run.config.loops,  # a loop is a pass of them all
        seed=seed,
    )
    return seen.last, seen.sentences(), seen.as_dict()


def _user_map(
    source: str, kind: str, given: dict[str, Any], device: str
) -> "tuple[LoopedMap, list[str]]":
    if kind == "file":
        from eigenloop.loops import map_of_file

        return map_of_file(source, start=given["start"], context=given["context"]), []
    from eigenloop.lens import looped_map

    return looped_map(source, given["text"], layer=given["layer"], device=device)


def _diagnosed(looped: "LoopedMap", count: int, starts: int, seed: int) -> "Diagnosis":
    from eigenloop.loops import diagnose, random_starts

    several = random_starts(looped, starts, seed=seed) if starts > 1 else None
    return diagnose(looped, loops=count, starts=several, seed=seed)


def _plane(found: "Diagnosis", seed: int) -> Any:
    """Ends of a slice of starts, where the state is small enough for hundreds of runs."""
    from eigenloop.loops import slice_ends
    from eigenloop.loops.linear import DENSE

    looped, run = found.looped, found.orbit
    few = looped.size <= DENSE
    return (
        slice_ends(looped, loops=min(run.total, 5 * run.loops), scale=run.scale, seed=seed)
        if few
        else None
    )


def _command(
    source: str, given: dict[str, Any], count: int, starts: int, seed: int, device: str, out: Path
) -> str:
    """What was typed, quoted for a shell; defaults are left out."""
    words = ["eigenloop", "loops", source]
    rest = {
        "loops": (count, 64),
        "starts": (starts, 1),
        "seed": (seed, 0),
        "device": (device, "auto"),
    }
    for name, value in given.items():
        words += [] if value is None else [f"--{name}", str(value)]
    for name, (value, default) in rest.items():
        words += [] if value == default else [f"--{name}", str(value)]
    return shlex.join([*words, "--out", str(out)])


def _summary(console: Any, found: "Diagnosis") -> None:
    """The verdict, the modes and the table of loops on standard output."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    console.print(f"[bold]{escape(str(found.verdict))}[/]: {escape(found.verdict.sentence)}")
    if found.modes:
        table = Table("eigenvalue", "modulus", "kind", "residual", "condition", "error", box=SIMPLE)
        for mode in found.modes[:6]:
            imaginary = f" ± {mode.value.imag:.6g}i" if mode.value.imag else ""
            table.add_row(
                f"{mode.value.real:.6g}{imaginary}",
                f"{mode.modulus:.8g}",
                mode.kind,
                f"{mode.residual:.1e}",
                _short(mode.condition, ".3g"),
                _short(mode.error, ".1e"),
            )
        console.print(table)
    if found.bracket is not None:
        ends = [_short(end, ".8g") for end in (found.bracket.lower, found.bracket.upper)]
        console.print(f"spectral radius between {ends[0]} and {ends[1]}")
        for warning in found.bracket.warnings:
            console.print(f"warning: {warning}", markup=False)
    if found.rate is not None:
        console.print(f"measured factor per loop {found.rate.modulus:.8g} ± {found.rate.error:.1g}")
    if found.needed is not None:
        table = Table(
            "distance",
            "forecast",
            "taken",
            "bound",
            "stop at first step below it",
            "left there",
            box=SIMPLE,
        )
        for need, left in zip(found.needed, found.exits or (), strict=True):
            table.add_row(
                f"{need.tolerance:g}",
                _short(need.forecast, "d"),
                _short(need.taken, "d"),
                _short(need.bound, "d"),
                _short(left.loop, "d"),
                _short(left.left, ".2g"),
            )
        console.print(table)
    if found.ends is not None:
        shares = ", ".join(map(str, found.ends.shares)) or "none settled"
        console.print(f"{len(found.ends.labels)} starts, {len(found.ends.shares)} ends ({shares})")
    for note in found.looped.notes:
        console.print(f"note: {note}", markup=False)


def _short(value: float | int | None, digits: str) -> str:
    return "-" if value is None else format(value, digits)
