"""`eigenloop reproduce`: the paper's figures and one HTML page."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from eigenloop.figures import Budget, FigureData
    from eigenloop.system.progress import Progress

DEFAULT_OUT = Path("runs/paper")
OWN_OUT = Path("runs/own")
NOT_VERIFIED = (
    "left out: --figure, --quick, --no-verify or a problem of your own was given; --verify"
    " includes it"
)


def reproduce(
    figure: Annotated[
        list[int] | None,
        typer.Option(
            help="A figure, 1 to 8; may be given again. All by default.", show_default=False
        ),
    ] = None,
    epochs: Annotated[
        int, typer.Option(help="Passes over the training set; the paper's number is 2000.")
    ] = 2000,
    seeds: Annotated[int, typer.Option(help="Independent runs; two or more give bands.")] = 1,
    seed: Annotated[int, typer.Option(help="Start of every random stream.")] = 0,
    task: Annotated[
        str | None,
        typer.Option(
            help=(
                "Your own problem in place of the paper's two tasks: sphere, or planted with"
                " --multiplicities."
            ),
            show_default=False,
        ),
    ] = None,
    multiplicities: Annotated[
        str | None,
        typer.Option(
            help="How many columns of X share each axis, e.g. 5,4,3,2,1,1: the eigenvalues of S. "
            "Implies --task planted.",
            show_default=False,
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(
            help="d of your own problem; as many as the multiplicities.", show_default=False
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="n of your own problem; the sum of the multiplicities.", show_default=False
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Under a minute: few steps, few samples.")
    ] = False,
    verify: Annotated[
        bool | None,
        typer.Option(
            help=(
                "Measure the claims too, as `eigenloop verify --quick` does; by default where all"
                " figures are made "
                "and --quick is not given."
            ),
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help=(
                "Directory of report.html, the figures and the runs. [default: runs/paper; for a"
                " problem of your own "
                "runs/own]"
            ),
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Train what Figures 1 to 8 of arXiv 2606.00605 need, draw them, measure the theorems, and
    write report.html.

    Runs are kept under --out: an interrupted reproduction goes on, a finished one is only drawn
    again. With --task, --multiplicities, --dim or --samples the same figures are made for that
    problem; the paper's points are shown where it is one of the paper's tasks.
    """
    import json as encoder
    import time

    from eigenloop.cli.safely import safely
    from eigenloop.cli.starting import starting

    with safely(), starting("jax"):
        from eigenloop import figures
        from eigenloop.figures.page import write_page
        from eigenloop.system.bars import bars
        from eigenloop.system.directories import OutputDirectory

    began = time.monotonic()
    problem = _problem(task, multiplicities, dim, samples)
    budget = figures.Budget(epochs=epochs, seeds=seeds, seed=seed, quick=quick, problem=problem)
    numbers = sorted(set(figure or budget.numbers))
    out = out or (DEFAULT_OUT if problem is None else OWN_OUT)
    place = OutputDirectory(out, "reproduce", figures.file_names(), beside=("verify",))
    with place.held(), bars() as shown:
        with safely(lambda: any((out / "runs").glob("*/checkpoint.safetensors"))):
            made, drawings = _figures(numbers, budget, out, shown.tell)
        claims = (
            _claims(out, seed, shown)
            if verify or (verify is None and not figure and not quick and problem is None)
            else None
        )
        seconds = time.monotonic() - began
        all_named = (
            bool(figure) and not quick and problem is None and len(numbers) == len(budget.numbers)
        )
        # the page's command names no figure where all are there
        said = False if verify is None and all_named else verify
        page = write_page(
            made,
            drawings,
            budget,
            out,
            seconds=seconds,
            beside=() if claims is None else (claims.section,),
            options="" if said is None else " --verify" if said else " --no-verify",
        )
    if json:
        document = {**page.metadata, "report": str(page.path), **_document(made, claims)}
        typer.echo(encoder.dumps(document, allow_nan=False))
    else:
        typer.echo(f"{page.path} ({len(made)} figures, {seconds:.0f} s)")
        if claims is not None:
            typer.echo(f"{claims.found['report']} ({claims.found['summary']})")
    if claims is not None and not claims.found["as_expected"]:
        raise typer.Exit(1)


def _figures(
    numbers: Sequence[int], budget: "Budget", out: Path, progress: "Progress"
) -> tuple[list["FigureData"], Any]:
    """Train what the figures need, and compute and draw them.

    Returns:
        Their data, and the files of their drawings.
    """
    from eigenloop import figures
    from eigenloop.system.directories import require_there

    workers, made = figures.side_by_side(), []

    def computed() -> Iterator["FigureData"]:
        for done, number in enumerate(numbers):
            progress("figures", done, len(numbers))
            made.append(figures.compute(number, budget, out / "runs"))
            yield made[-1]

    figures.prepare(numbers, budget, out / "runs", progress, workers=workers)
    # else the figures would train their runs again, in a directory that nobody holds
    require_there(out)
    drawings = figures.save_all(computed(), out, workers=workers)
    progress("figures", len(numbers), len(numbers))
    return made, drawings


def _document(made: Sequence["FigureData"], claims: "_Claims | None") -> dict[str, Any]:
    """What the figures show and what the claims came to, for JSON."""
    verdicts = [
        {"figure": data.number, **each.plain()} for data in made for each in data.judgements
    ]
    return {
        "figures": {data.number: data.run_shows for data in made},
        "details": {data.number: data.details for data in made},
        "verdicts": verdicts,
        **(
            {"verify": claims.found}
            if claims
            else {"verify": None, "reasons": {"verify": NOT_VERIFIED}}
        ),
    }


def _problem(
    task: str | None, multiplicities: str | None, dim: int | None, samples: int | None
) -> Any:
    """The user's own problem; None where no option names one."""
    from eigenloop.cli.parsing import numbers
    from eigenloop.figures import Problem
    from eigenloop.system.errors import InputError

    if task is None and multiplicities is None and dim is None and samples is None:
        return None
    if task not in (None, "sphere", "planted"):
        raise InputError(f"--task is {task!r}; for figures it is sphere or planted")
    given = (
        None
        if multiplicities is None
        else numbers("multiplicities", multiplicities, int, example="5,4,3")
    )
    return Problem(task or ("planted" if given else "sphere"), given, dim, samples)


class _Claims(NamedTuple):
    section: Any
    """Of the page."""
    found: dict[str, Any]
    """For JSON."""


def _claims(out: Path, seed: int, shown: Any) -> _Claims:
    """`eigenloop verify --quick` into the same directory."""
    from eigenloop.claims import Effort
    from eigenloop.claims.journal import Kept
    from eigenloop.claims.measuring import measure
    from eigenloop.claims.page import ledger_directory, teaser, write_ledger
    from eigenloop.claims.sources import collect
    from eigenloop.cli.safely import safely
    from eigenloop.system import workers

    effort = Effort(quick=True, seed=seed)
    ledger_directory(out, page="verify.html").mark()
    kept = Kept(out, effort)
    with safely(lambda: True):
        results = measure(collect(), effort, shown.tell, workers=workers.cores(), kept=kept)
    page = write_ledger(results, out, page="verify.html", workers=workers.cores()).page
    kept.forget()
    verdicts = {
        "counts": results.counts,
        "as_expected": results.as_expected,
        "summary": results.summary,
        "report": str(page),
    }
    return _Claims(teaser(results, page), {**verdicts, "seconds": results.seconds})
