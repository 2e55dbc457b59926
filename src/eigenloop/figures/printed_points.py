"""Whether our curves meet the points that were read off the paper's figures."""

from collections.abc import Sequence

from eigenloop.figures import quotations as q
from eigenloop.figures.drawn import (
    deviation,
    series_of,
)
from eigenloop.figures.settings import PAPER_WINDOW
from eigenloop.figures.values import Row
from eigenloop.figures.verdicts import Judgement, Part, Sentence

READ = 0.02
"""Relative error of points read off the paper's figures."""


def points_of_figure_1(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether our curves of Fig. 1(c) meet the paper's points."""
    return _points(rows, "Task 1, growth", {"W_max": "W", "V_max": "V"}, q.POINTS_1, steps)


def points_of_figure_2(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether our test losses meet the paper's points, at the learning rates that were fitted to
    them.
    """
    names = series_of(rows, "Task 1, test loss")
    return _points(rows, "Task 1, test loss", {name: name for name in names}, q.POINTS_2, steps)


def _points(
    rows: Sequence[Row], panel: str, names: dict[str, str], sentence: Sentence, steps: int
) -> Judgement:
    parts = []
    for series, name in names.items():
        found = deviation([row for row in rows if row.panel == panel], series)
        if found is None:
            continue
        off, at, _ = found
        parts.append(
            Part(
                name,
                off <= 2 * READ,
                f"{name} up to {off:.{0 if off > 0.1 else 1}%} off (at step {at:,g})",
                f"within {2 * READ:.0%} at every point, twice the reading error",
                off,
            )
        )
    return Judgement(sentence, parts, steps < PAPER_WINDOW)
