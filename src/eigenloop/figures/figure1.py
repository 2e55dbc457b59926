"""Figure 1 of arXiv 2606.00605: structure and growth of the looped model, L = 10, LN, end to end
(Thm 4.1).

Expected at 2,000 epochs: other entries of the active blocks at most 0.2 of their diagonals,
everything else exactly 0; ||W||_max and ||V||_max grow with exponents of 0.21 to 0.25, 1/4 in
theory. The paper's own points, read off Fig. 1(c), fit none of the learning rates 0.1, 0.031 and
0.01.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from eigenloop.figures import printed_points, sentences
from eigenloop.figures.growth import (
    draw_growth,
    growth_rows,
    growth_words,
    inactive_words,
    paper_rows,
)
from eigenloop.figures.running import train_all
from eigenloop.figures.settings import Budget, checks, looped
from eigenloop.figures.values import FigureData, paper_points, settings_of
from eigenloop.figures.verdicts import Judgement
from eigenloop.lab.config import TrainConfig
from eigenloop.system.progress import Progress, silent

TITLE = "Looped transformer, 10 loops: structure and growth of the weights"


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    trained = {
        name: config for task in budget.tasks for name, config in looped(task, budget).items()
    }
    return trained | checks(budget, trained)


def compute(budget: Budget, directory: Path, progress: Progress = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    configs = runs(budget)
    trained = train_all(configs, directory, progress)
    table, words = [], []
    for task, name in budget.tasks.items():
        run, check = trained[f"looped-{task}"], trained[f"looped-{task}-full"]
        table += growth_rows(run, name, exponent=Fraction(1, 4))
        words.append(f"{growth_words(run, name)}; {inactive_words(check)}")
    judges: list[Callable[..., Judgement]] = [sentences.structure, sentences.growth]
    if "Task 1" in budget.tasks.values():
        table += paper_rows("Task 1, growth", {"W_max": "W_max", "V_max": "V_max"}, _read)
        judges.append(printed_points.points_of_figure_1)
    steps = min(int(trained[f"looped-{task}"].steps[-1]) for task in budget.tasks)
    return FigureData(
        1,
        TITLE,
        tuple(table),
        tuple(judge(table, steps=steps) for judge in judges),
        tuple(words),
        f"eigenloop reproduce --figure 1 {budget.options}",
        settings_of(configs),
    )


_read = partial(paper_points, "1c")
draw: Callable[[FigureData], Any] = draw_growth
