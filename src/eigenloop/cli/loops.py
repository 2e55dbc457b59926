"""`eigenloop loops`: what a looped map does, and how many loops are worth running."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

if TYPE_CHECKING:
    from eigenloop.loops import Diagnosis

Found: TypeAlias = "tuple[Diagnosis, list[str], dict[str, Any]]"
"""A diagnosis, what is said beside it, and what its JSON holds beyond it."""

DEFAULTS = {"loops": 64, "starts": 1, "device": "auto", "seed": 0}


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
        typer.Option(
            help=(
                "MODEL: the layer to loop; without it the model's own loop (albert, hrm_text,"
                " perceiver, esmfold2, funnel)."
            )
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="MODEL: a text file whose states are looped; esmfold2: a protein."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="FILE.py:STEP: x_0, a .npy file; .npz where a state is a dictionary of arrays."
        ),
    ] = None,
    context: Annotated[
        Path | None,
        typer.Option(
            help="FILE.py:STEP: an .npz file; its arrays are passed by name and stay fixed."
        ),
    ] = None,
    read: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=(
                "FILE.py:STEP: a function of the same file, x -> a number (smaller is better) or"
                " logits: how useful each loop is."
            ),
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
    tolerance: Annotated[
        str | None,
        typer.Option(
            metavar="EPS,EPS,...",
            help="Relative distances that loops are counted to; 0.1,0.01,0.001,0.0001 by default.",
        ),
    ] = None,
    exponents: Annotated[
        str | None,
        typer.Option(
            metavar="N[,LOOPS]",
            help=(
                "Lyapunov exponents to compute wherever the loop goes, and the loops they are"
                " counted over; by default 4, where it does not settle."
            ),
        ),
    ] = None,
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
    from contextlib import nullcontext

    from eigenloop.cli.parsing import repeated
    from eigenloop.cli.safely import safely
    from eigenloop.system.errors import InputError

    if starts < 1:
        raise InputError(f"--starts is {starts}; at least 1 is needed")
    kind = _kind(source)
    given = {
        "layer": layer,
        "text": text,
        "start": start,
        "context": context,
        "read": read,
        "gamma": gamma,
    }
    _belong(kind, given)
    how = _how(count, tolerance, exponents, seed)
    _start_up(kind)
    from rich.console import Console

    from eigenloop import __version__
    from eigenloop.loops.page import output_directory, save_diagnosis

    typed = given | {
        "loops": count,
        "starts": starts,
        "tolerance": tolerance,
        "exponents": exponents,
        "seed": seed,
        "device": device,
        "out": out,
    }
    files: dict[str, str] = {}
    with nullcontext() if out is None else output_directory(out).held(), safely():
        found, sentences, document = _found(source, kind, given, how, starts, device)
        document = {**found.as_dict(), **document, "version": __version__}
        if out is not None:
            files = save_diagnosis(
                found,
                out,
                command=repeated("loops", source, options=typed, defaults=DEFAULTS),
                said=sentences,
                plane=_plane(found, seed) if starts > 1 else None,
                document=document,
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


def _how(count: int, tolerance: str | None, exponents: str | None, seed: int) -> dict[str, Any]:
    """What a diagnosis is asked for, by its arguments."""
    from eigenloop.cli.parsing import numbers
    from eigenloop.system.errors import InputError

    how: dict[str, Any] = {"loops": count, "seed": seed}
    if tolerance is not None:
        from eigenloop.loops.forecast import check_tolerances

        how["tolerances"] = numbers("tolerance", tolerance, float, example="1e-2,1e-4")
        check_tolerances(how["tolerances"])
    if exponents is not None:
        first, *rest = numbers("exponents", exponents, int, example="4 or 4,1000")
        if len(rest) > 1:
            raise InputError(
                f"--exponents is {exponents!r}; give how many, and the loops they are counted over"
                " if you like, e.g. 4 or 4,1000"
            )
        how["lyapunov"] = (first, rest[0] if rest else None)
    return how


def _start_up(kind: str) -> None:
    """Import what takes long, with a word."""
    import importlib

    from eigenloop.cli.starting import starting

    library, module = {
        "model": ("torch", "eigenloop.lens.loops.maps"),
        "run": ("jax", "eigenloop.lab.training"),
    }.get(kind, ("scipy.linalg", "eigenloop.loops.page"))
    with starting(library):
        importlib.import_module(module)
        if kind == "model":
            from eigenloop.lens.model.loaded import require_torch

            require_torch()


def _kind(source: str) -> str:
    if source == "paper":
        return "paper"
    if ".py:" in source:
        return "file"
    return "run" if (Path(source) / "config.toml").exists() else "model"


NEEDED = {"model": "text", "file": "start"}
OPTIONS = {
    "paper": ("gamma",),
    "run": (),
    "model": ("layer", "text"),
    "file": ("start", "context", "read"),
}


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


def _found(
    source: str, kind: str, given: dict[str, Any], how: dict[str, Any], starts: int, device: str
) -> Found:
    """The diagnosis of a source."""
    from eigenloop.loops import diagnose, random_starts

    if kind == "paper":
        from eigenloop.loops import paper_case

        case = paper_case(5.0 if given["gamma"] is None else given["gamma"], **how)
        return case.found, case.sentences(), case.as_dict()
    if kind == "run":
        return _run(Path(source), how)
    if kind == "file":
        from eigenloop.loops import loop_of_file

        mine = loop_of_file(
            source, start=given["start"], context=given["context"], read=given["read"]
        )
        looped, sentences, readout = mine.looped, [], mine.readout
    else:
        from eigenloop.lens import looped_map

        looped, sentences = looped_map(source, given["text"], layer=given["layer"], device=device)
        readout = None
    several = random_starts(looped, starts, seed=how["seed"]) if starts > 1 else None
    return diagnose(looped, starts=several, readout=readout, **how), sentences, {}


def _run(directory: Path, how: dict[str, Any]) -> Found:
    from eigenloop.lab import load_run, loop_matrices
    from eigenloop.loops.snapshots import snapshots

    run = load_run(directory)
    matrices, query = loop_matrices(run, seed=how["seed"])
    shape = {"norm": run.config.norm, "trained_loops": run.config.loops}
    if run.config.untied:  # a loop is a pass of them all
        shape |= {"trained_loops": 1, "layers": run.config.loops}
    seen = snapshots(matrices, query, **shape, **how)
    return seen.last, seen.sentences(), seen.as_dict()


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
    _measured(console, found)


def _measured(console: Any, found: "Diagnosis") -> None:
    """What stands below the tables: where the forecast begins, exponents, readout, ends, notes."""
    if found.region is not None:
        console.print(
            f"the forecast begins at loop {found.region.loop}, the first in the linear region"
        )
    if found.lyapunov is not None:
        seen = found.lyapunov
        told = ", ".join(
            f"{v:.4g} ± {e:.1g}" for v, e in zip(seen.values, seen.errors, strict=True)
        )
        console.print(f"Lyapunov exponents per loop over {seen.loops} loops: {told}")
    if found.readout is not None:
        from eigenloop.loops.page import useful

        console.print(useful(found), markup=False)
    if found.ends is not None:
        shares = ", ".join(map(str, found.ends.shares)) or "none settled"
        console.print(f"{len(found.ends.labels)} starts, ends: {len(found.ends.shares)} ({shares})")
    for note in found.looped.notes:
        console.print(f"note: {note}", markup=False)


def _short(value: float | int | None, digits: str) -> str:
    return "-" if value is None else format(value, digits)
