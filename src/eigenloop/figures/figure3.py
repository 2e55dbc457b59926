"""Figure 3 of arXiv 2606.00605: losses of one layer with LN for several (d, n), Task 1.

Expected at 2,000 epochs: training and test loss fall together for every size, as about t^(-2/3)
(Thm 4.3).
"""

from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.figures import panels, sentences
from eigenloop.figures.growth import growth_exponent
from eigenloop.figures.running import train_all
from eigenloop.figures.settings import Budget, layerwise
from eigenloop.figures.values import FigureData, Row, curve, settings_of
from eigenloop.lab.checkpoints import Trained
from eigenloop.lab.config import TrainConfig
from eigenloop.system.progress import Progress, silent

TITLE = "One layer with LN: training and test loss for several sizes, Task 1"
LOSSES = {"train_loss": "training loss", "test_loss": "test loss"}


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    return {
        name: config
        for size in budget.sizes
        for name, config in layerwise("sphere", budget, size).items()
    }


def compute(budget: Budget, directory: Path, progress: Progress = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    configs = runs(budget)
    trained = train_all(configs, directory, progress)
    table: list[Row] = []
    words = []
    for (dim, samples), run in zip(budget.sizes, trained.values(), strict=True):
        name = f"d = {dim}, n = {samples}"
        table += loss_rows(run, name)
        first, test, train = (
            float(np.median(values))
            for values in (
                run.metrics["test_loss"][0],
                run.metrics["test_loss"][-1],
                run.metrics["train_loss"][-1],
            )
        )
        slope = growth_exponent(run, "test_loss")
        words.append(
            f"{name}: test loss from {first:.3f} to {test:.5f}, {abs(test / train - 1):.1%} "
            f"{'above' if test >= train else 'below'} the training loss"
            + (f", exponent over the last decade {slope.exponent:.2f}" if slope else "")
        )
    judged = sentences.no_gap(table, steps=min(int(run.steps[-1]) for run in trained.values()))
    return FigureData(
        3,
        TITLE,
        tuple(table),
        (judged,),
        tuple(words),
        f"eigenloop reproduce --figure 3 {budget.options}",
        settings_of(configs),
    )


def loss_rows(run: Trained, name: str) -> list[Row]:
    """Both losses of one size."""
    return [
        row
        for metric, panel in LOSSES.items()
        for row in curve(panel, name, run.steps[1:], run.metrics[metric][1:])
    ]


def draw(data: FigureData) -> Any:
    """Training loss beside test loss."""
    figure = panels.canvas(10, 4.2)
    grid = figure.subplots(1, 2, sharey=True)
    look = panels.styles(data)
    for axes, panel in zip(grid, LOSSES.values(), strict=True):
        panels.curves(
            axes,
            data.panel(panel),
            look,
            title=panel,
            xlabel="training step",
            ylabel="mean squared distance",
        )
    panels.shared_legend(figure, list(grid), columns=4)
    return figure
