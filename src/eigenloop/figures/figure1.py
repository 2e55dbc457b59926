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

from eigenloop.figures.growth import deviation, draw_growth, growth_rows, growth_words, paper_rows
from eigenloop.figures.running import Report, silent, train_all
from eigenloop.figures.settings import TASKS, Budget, looped, looped_check
from eigenloop.figures.values import FigureData, joined, paper_points, settings_of
from eigenloop.training import TrainConfig

TITLE = "Looped transformer, 10 loops: structure and growth of the weights"
PAPER_SAYS = (
    "After training, only the diagonals of V's bottom-left and W's top-right block stand out, and their growth on "
    "log-log axes is consistent with t^(1/4)."
)


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    return {k: v for task in TASKS for k, v in (looped(task, budget) | looped_check(task, budget)).items()}


def compute(budget: Budget, directory: Path, report: Report = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    configs = runs(budget)
    trained = train_all(configs, directory, report)
    table, words = [], []
    for task, name in TASKS.items():
        run, check = trained[f"looped-{task}"], trained[f"looped-{task}-full"]
        table += growth_rows(run, task, exponent=Fraction(1, 4))
        inactive, steps = float(check.metrics["inactive_max"].max()), int(check.steps[-1])
        words.append(
            growth_words(run, name)
            + f"; with all eight blocks free, the largest entry of the six inactive ones in the first {steps} steps "
            f"is {inactive:.2g}"
        )
    panel = "Task 1, growth"
    table += paper_rows(panel, {"W_max": "W_max", "V_max": "V_max"}, _read)
    found = {series: deviation([row for row in table if row.panel == panel], series) for series in ("W_max", "V_max")}
    off = [f"{series} by up to {d[0]:.0%} (at step {d[1]:g})" for series, d in found.items() if d]
    if off:
        words.append("the paper's points are not met at this learning rate: ours deviate in " + " and ".join(off))
    return FigureData(
        1, TITLE, tuple(table), PAPER_SAYS, joined(words),
        f"eigenloop reproduce --figure 1 {budget.options}", settings_of(configs),
    )  # fmt: skip


_read = partial(paper_points, "1c")
draw: Callable[[FigureData], Any] = draw_growth
