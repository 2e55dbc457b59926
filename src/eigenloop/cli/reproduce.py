"""`eigenloop reproduce`: the paper's figures and one HTML page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_OUT = Path("runs/paper")


def reproduce(
    figure: Annotated[
        list[int] | None, typer.Option(help="A figure, 1 to 8; may be given again. All by default.", show_default=False)
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training set; the paper's number is 2000.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Independent runs; two or more give bands.")] = 1,
    seed: Annotated[int, typer.Option(help="Start of every random stream.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Under a minute: few steps, few samples.")] = False,
    out: Annotated[Path, typer.Option(help="Directory of report.html, the figures and the runs.")] = DEFAULT_OUT,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Train what Figures 1 to 8 of arXiv 2606.00605 need, draw them, and write report.html.

    Runs are kept under --out: an interrupted reproduction goes on, a finished one is only drawn again.
    """
    import json as encoder
    import time

    from eigenloop import figures
    from eigenloop.cli.progress import bars
    from eigenloop.figures.page import write_page

    began = time.monotonic()
    budget = figures.Budget(epochs=epochs, seeds=seeds, seed=seed, quick=quick)
    numbers = sorted(set(figure or figures.FIGURES))
    workers = figures.side_by_side()
    made = []

    def computed() -> Iterator[figures.FigureData]:
        for done, number in enumerate(numbers):
            shown.tell("figures", done, len(numbers))
            made.append(figures.compute(number, budget, out / "runs"))
            yield made[-1]

    with bars() as shown:
        told = lambda name, p: shown.tell(name, p.step, p.total)  # noqa: E731
        figures.prepare(numbers, budget, out / "runs", told, workers=workers)
        drawings = figures.save_all(computed(), out, workers=workers)
        shown.tell("figures", len(numbers), len(numbers))
    seconds = time.monotonic() - began
    page = write_page(made, drawings, budget, out, seconds=seconds)
    if json:
        shows = {data.number: data.run_shows for data in made}
        typer.echo(encoder.dumps({**page.metadata, "report": str(page.path), "figures": shows}, allow_nan=False))
    else:
        typer.echo(f"{page.path} ({len(made)} figures, {seconds:.0f} s)")
