"""The figures as one page: what was run, where, how long, and each figure with the paper's word
beside this run's.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import eigenloop
from eigenloop import report
from eigenloop.figures import FigureData, Pieces
from eigenloop.figures.settings import Budget
from eigenloop.figures.verdicts import Judgement, Outcome

LEAD = (
    "Looped linear transformers, trained by gradient descent to predict a principal component,"
    " become the power method when they have layer normalisation, and cannot without it. Every"
    " figure of the paper, computed again: what the paper says it shows, and what this run shows,"
    " in numbers. Circles are points read off the paper's figures."
)
OVERVIEW = (
    (
        "Each sentence of the paper about its figures, and questions of ours, named as such, judged"
        " from the curves and heat maps drawn below. Held: every part of the sentence held in these"
        " runs. Partly: some did. Not held: none did. Too short: the runs end before the 2,000"
        " iterations of the paper's shortest window."
    ),
    (
        "The paper's learning rate, batch size, seeds and numbers of loops are missing from the"
        " text that we have, so every verdict is about our settings, which stand under each figure;"
        " a sentence that did not hold here may hold at the paper's. A row opens to its parts and"
        " to the criterion of each."
    ),
)
OWN_LEAD = (
    "Looped linear transformers, trained by gradient descent to predict a principal component,"
    " become the power method when they have layer normalisation, and cannot without it. The"
    " figures of the paper, for your own problem: what the paper says of its own, and what these"
    " runs show, in numbers."
)
OWN_OVERVIEW = (
    (
        "Each sentence of the paper about its figures, asked of your own problem, which is not one"
        " of the paper's tasks: what did not hold here says nothing against the paper. Held: every"
        " part of the sentence held in these runs. Partly: some did. Not held: none did. Too short:"
        " the runs end before the 2,000 iterations of the paper's shortest window."
    ),
    (
        "Criteria that are numbers were argued for the paper's sizes. A row opens to its parts and"
        " to their criteria."
    ),
)
TONES: dict[Outcome, report.Tone] = {
    "held": "good",
    "partly": "warn",
    "not held": "bad",
    "too short": "neutral",
}
WHOSE = {"stated": "the paper", "figure": "points read off", "ours": "asked by eigenloop"}


class WrittenPage(NamedTuple):
    """Where the page is, and the facts that it states."""

    path: Path
    metadata: dict[str, Any]


def write_page(
    made: Sequence[FigureData],
    drawings: Sequence[Pieces],
    budget: Budget,
    directory: Path,
    *,
    seconds: float,
    beside: Sequence[report.Section] = (),
    options: str = "",
) -> WrittenPage:
    """Write report.html beside the figures' files.

    Args:
        made: the computed figures, in order.
        budget: what they were computed with.
        drawings: what `figures.save` returned for each.
        directory: where it wrote their files.
        seconds: time spent in this call (runs found finished cost nothing).
        beside: sections after the figures.
        options: further ones of the command that repeats it.
    """
    chosen = (
        ""
        if len(made) == len(budget.numbers)
        else "".join(f"--figure {data.number} " for data in made)
    )
    own = budget.problem
    place = f" --out {shlex.quote(str(directory))}"
    command = f"eigenloop reproduce {chosen}{budget.options}".strip() + options + place
    facts = [
        (
            "what",
            (
                "quick form: far below the paper's budget"
                if budget.quick
                else f"{budget.epochs:,} epochs"
            ),
        ),
        (
            "problem",
            "the paper's two tasks" if budget.problem is None else " ".join(budget.problem.options),
        ),
        ("seeds", f"{budget.seeds}, from {budget.seed}"),
        ("precision", "training in float32, looping at test time in float64"),
        ("runs", "those found finished are not trained again, and cost this call no time"),
    ]
    page = report.Page(
        "Looped transformers learn the power method: the paper's figures"
        + ("" if own is None else ", your problem"),
        LEAD if budget.as_in_paper else OWN_LEAD,
        [
            overview(made, as_in_paper=budget.as_in_paper),
            *(_section(data, place, drawing) for data, drawing in zip(made, drawings, strict=True)),
            *beside,
        ],
        facts=facts,
        command=command,
        origin=report.Origin.here(seconds),
        links=[
            report.Link("Wu, Zhang and Cao, arXiv 2606.00605", "https://arxiv.org/abs/2606.00605"),
            report.Link("Li and Altafini, arXiv 2605.25619", "https://arxiv.org/abs/2605.25619"),
        ],
    )
    path = report.write(page, Path(directory) / "report.html")
    metadata = {
        "version": eigenloop.__version__,
        "seed": budget.seed,
        "seeds": budget.seeds,
        "seconds": seconds,
    }
    return WrittenPage(path, {**metadata, "command": command})


def overview(made: Sequence[FigureData], *, as_in_paper: bool = True) -> report.Section:
    """What held and what did not, one row for each sentence; of the paper's problem or of the
    user's own.
    """
    rows = [
        report.Row(_row(judgement), [_parts(judgement)])
        for data in made
        for judgement in data.judgements
    ]
    header = ("figure", "what is said of it", "here", "measured")
    table = report.Table(
        header, rows, caption="What held", filters=["here"], details_label="Part by part"
    )
    return report.Section(
        "What held, and what did not",
        (*(OVERVIEW if as_in_paper else OWN_OVERVIEW), table),
        anchor="overview",
    )


def _row(judgement: Judgement) -> tuple[report.Cell, ...]:
    said, outcome = judgement.sentence, judgement.outcome
    where = f"{WHOSE[said.whose]}, {said.place}" if said.place else WHOSE[said.whose]
    text = f'"{said.says}"' if said.whose == "stated" else said.says
    words = judgement.words
    return (
        f"Fig. {said.figure}",
        f"{text} ({where})",
        report.Tag(outcome, TONES[outcome]),
        words[0].upper() + words[1:],
    )


def _parts(judgement: Judgement) -> report.Table:
    """The parts of a sentence, each with what was found and its criterion."""

    def mark(held: bool) -> report.Cell:
        if judgement.short:
            return report.Tag("too short", "neutral")
        return report.Tag("held", "good") if held else report.Tag("not held", "bad")

    rows = [(part.what, mark(part.held), part.found, part.holds_where) for part in judgement.parts]
    return report.Table(("part", "here", "measured", "holds where"), rows)


def _section(data: FigureData, place: str, drawing: Pieces) -> report.Section:
    figure = report.Figure(
        "",
        alt=f"Figure {data.number}: {data.title}. {data.run_shows}",
        panels=drawing.panels,
        key=drawing.key,
        paper_says=data.paper_says,
        run_shows=data.run_shows,
        details=data.details,
        downloads=[f"figure{data.number}.{suffix}" for suffix in ("csv", "png", "pdf", "svg")],
    )
    runs = report.Table(("run", "settings"), data.settings, caption="The runs behind it.")
    again = report.Command(data.command + place, "Repeat this figure")
    return report.Section(
        f"Figure {data.number}: {data.title}", (figure, runs, again), anchor=f"figure-{data.number}"
    )
