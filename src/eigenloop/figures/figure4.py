"""Figure 4 of arXiv 2606.00605: structure and growth of one layer with LN, layerwise (Thm 4.3).

Expected at 2,000 epochs: V grows like t^0.167, W still like t^0.20 (1/6 in theory; a^2 - b^2 is
nearly kept, so W's exponent is near (a/b)^2 times V's), other entries at most 0.003 of the
diagonals.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from eigenloop.figures import quotations, sentences
from eigenloop.figures.growth import draw_growth, growth_rows, growth_words, inactive_words
from eigenloop.figures.running import train_all
from eigenloop.figures.settings import Budget, checks, layerwise
from eigenloop.figures.values import FigureData, settings_of
from eigenloop.lab.config import TrainConfig
from eigenloop.system.progress import Progress, silent

TITLE = "One layer with LN: structure and growth of the weights"


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    trained = {
        name: config for task in budget.tasks for name, config in layerwise(task, budget).items()
    }
    return trained | checks(budget, trained)


def compute(budget: Budget, directory: Path, progress: Progress = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    configs = runs(budget)
    trained = train_all(configs, directory, progress)
    table, words = [], []
    for task, name in budget.tasks.items():
        run = trained[f"layerwise-{task}"]
        table += growth_rows(run, name, exponent=Fraction(1, 6))
        words.append(
            f"{growth_words(run, name)}; {inactive_words(trained[f'layerwise-{task}-full'])}"
        )
    steps = min(int(trained[f"layerwise-{task}"].steps[-1]) for task in budget.tasks)
    judgements = (
        sentences.structure(table, steps=steps, sentence=quotations.SPARSE),
        sentences.growth(table, steps=steps, sentence=quotations.SLOPE),
    )
    return FigureData(
        4,
        TITLE,
        tuple(table),
        judgements,
        tuple(words),
        f"eigenloop reproduce --figure 4 {budget.options}",
        settings_of(configs),
    )


draw: Callable[[FigureData], Any] = draw_growth
