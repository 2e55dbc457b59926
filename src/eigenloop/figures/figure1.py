"""Figure 1 of arXiv 2606.00605: structure and growth of the looped model, L = 10, LN, end to end (Thm 4.1).

Expected at 2,000 epochs: both active blocks close to multiples of I, everything else exactly 0; ||W||_max and ||V||_max
grow, their slope still below or near 1/4. The paper's own points, read off Fig. 1(c), fit none of the learning rates
0.1, 0.031 and 0.01.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from eigenloop.figures.growth import (
    deviation,
    draw_growth,
    growth_rows,
    growth_verdict,
    growth_words,
    inactive_words,
    paper_rows,
)
from eigenloop.figures.running import Report, silent, train_all
from eigenloop.figures.settings import TASKS, Budget, checks, looped
from eigenloop.figures.values import FigureData, listed, paper_points, settings_of
from eigenloop.lab.training import TrainConfig

TITLE = "Looped transformer, 10 loops: structure and growth of the weights"
PAPER_SAYS = (
    "After training, only the diagonals of V's bottom-left and W's top-right block stand out, and their growth on "
    "log-log axes is consistent with t^(1/4)."
)
NAMES = {"W_max": "W", "V_max": "V"}
MET = 0.05
"""Largest relative deviation from the paper's points that counts as meeting them."""


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    trained = {name: config for task in TASKS for name, config in looped(task, budget).items()}
    return trained | checks(budget, trained)


def compute(budget: Budget, directory: Path, report: Report = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    configs = runs(budget)
    trained = train_all(configs, directory, report)
    table, words = [], []
    for task, name in TASKS.items():
        run, check = trained[f"looped-{task}"], trained[f"looped-{task}-full"]
        table += growth_rows(run, task, exponent=Fraction(1, 4))
        words.append(f"{growth_words(run, name)}; {inactive_words(check)}")
    panel = "Task 1, growth"
    table += paper_rows(panel, {"W_max": "W_max", "V_max": "V_max"}, _read)
    found = {series: deviation([row for row in table if row.panel == panel], series) for series in ("W_max", "V_max")}
    off = {NAMES[series]: d for series, d in found.items() if d}
    if off:
        met = max(d[0] for d in off.values()) <= MET
        words.append(
            f"the paper's points are {'met' if met else 'not met'} at this learning rate: the largest entry "
            + listed(f"of {name} deviates by up to {d[0]:.0%} (at step {d[1]:g})" for name, d in off.items())
        )
    inactive = max(float(trained[f"looped-{task}-full"].metrics["inactive_max"].max()) for task in TASKS)
    own = {task: trained[f"looped-{task}"] for task in TASKS}
    return FigureData(
        1, TITLE, tuple(table), PAPER_SAYS, growth_verdict(own, inactive, exponent=Fraction(1, 4)), tuple(words),
        f"eigenloop reproduce --figure 1 {budget.options}", settings_of(configs),
    )  # fmt: skip


_read = partial(paper_points, "1c")
draw: Callable[[FigureData], Any] = draw_growth
