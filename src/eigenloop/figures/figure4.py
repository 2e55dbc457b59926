"""Figure 4 of arXiv 2606.00605: structure and growth of one layer with LN, layerwise (Thm 4.3).

Expected at 2,000 epochs: exponents close to the theorem's 1/6 for both active blocks, in both tasks.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from eigenloop.figures.growth import draw_growth, growth_rows, growth_verdict, growth_words, inactive_words
from eigenloop.figures.running import Report, silent, train_all
from eigenloop.figures.settings import TASKS, Budget, checks, layerwise
from eigenloop.figures.values import FigureData, settings_of
from eigenloop.lab.training import TrainConfig

TITLE = "One layer with LN: structure and growth of the weights"
PAPER_SAYS = (
    "Everything but the diagonals of the two active blocks converges to zero, and those grow like a power of t whose "
    "slope approaches the predicted 1/6."
)


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    trained = {name: config for task in TASKS for name, config in layerwise(task, budget).items()}
    return trained | checks(budget, trained)


def compute(budget: Budget, directory: Path, report: Report = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    configs = runs(budget)
    trained = train_all(configs, directory, report)
    table, words = [], []
    for task, name in TASKS.items():
        run = trained[f"layerwise-{task}"]
        table += growth_rows(run, task, exponent=Fraction(1, 6))
        words.append(f"{growth_words(run, name)}; {inactive_words(trained[f'layerwise-{task}-full'])}")
    inactive = max(float(trained[f"layerwise-{task}-full"].metrics["inactive_max"].max()) for task in TASKS)
    own = {task: trained[f"layerwise-{task}"] for task in TASKS}
    return FigureData(
        4, TITLE, tuple(table), PAPER_SAYS, growth_verdict(own, inactive, exponent=Fraction(1, 6)), tuple(words),
        f"eigenloop reproduce --figure 4 {budget.options}", settings_of(configs),
    )  # fmt: skip


draw: Callable[[FigureData], Any] = draw_growth
