"""Structure and fixed points, the common form of Figures 6 and 7: one layer without LN, both
targets (Thm 4.2).
"""

from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.figures import panels, quotations, sentences
from eigenloop.figures.growth import inactive_words
from eigenloop.figures.levels import Level, levels
from eigenloop.figures.running import at_step, train_all
from eigenloop.figures.settings import (
    FIXED_POINT_STEP,
    PAPER_WINDOW,
    Budget,
    Task,
    checks,
    without_norm,
)
from eigenloop.figures.values import FigureData, Row, cells, curve, settings_of
from eigenloop.lab.checkpoints import Trained
from eigenloop.lab.config import TrainConfig
from eigenloop.system.progress import Progress, silent

TARGETS = {"normalized": "normalised target", "unnormalized": "unnormalised target"}

SAYS = {6: (quotations.FIXED, quotations.LEAVING), 7: (quotations.FIXED_7, quotations.LEAVING_7)}
"""The paper's sentence, and ours on what comes after its window."""


def runs_of(task: Task, budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained: both targets, and their first steps with all eight blocks free."""
    trained = without_norm(task, budget)
    return trained | checks(budget, trained)


def compute_fixed_points(
    number: int, task: Task, budget: Budget, directory: Path, progress: Progress = silent
):
    """Train (or read) the runs and fill the table."""
    configs = runs_of(task, budget)
    trained = train_all(configs, directory, progress)
    table: list[Row] = []
    words = []
    stops = levels(next(iter(configs.values())), seed=budget.seed)
    for target, what in TARGETS.items():
        name = f"no-ln-{task}-{target}"
        run = trained[name]
        table += weight_rows(run, what, stops[target])
        early = int(np.argmin(abs(run.steps - FIXED_POINT_STEP)))
        shown = [early] if early == len(run.steps) - 1 else [early, -1]
        parts = [
            f"at step {int(run.steps[i]):,} gamma = {np.median(run.metrics['gamma'][i]):.4f}, a ="
            f" {np.median(run.metrics['a'][i]):.3f}, b = {np.median(run.metrics['b'][i]):.4f},"
            f" off-diagonal ratio {np.median(run.metrics['off_diagonal_ratio'][i]):.2g}, test loss"
            f" {np.median(run.metrics['test_loss'][i]):.4f}"
            for i in shown
        ]
        words.append(
            f"{what} ({stops[target]}): {', '.join(parts)};"
            f" {inactive_words(trained[f'{name}-full'])}"
        )
    steps = min(int(trained[name].steps[-1]) for name in without_norm(task, budget))
    said, ours = SAYS[number]
    judgements = [sentences.fixed_points(table, steps=steps, sentence=said)]
    if steps > PAPER_WINDOW:  # else nothing is beyond it
        judgements.append(sentences.leaving(table, steps=steps, sentence=ours))
    return FigureData(
        number,
        f"One layer without LN, {budget.tasks[task]}: structure and fixed points of the weights",
        tuple(table),
        tuple(judgements),
        tuple(words),
        f"eigenloop reproduce --figure {number} {budget.options}",
        settings_of(configs),
    )


def weight_rows(run: Trained, what: str, stop: Level) -> list[Row]:
    """W and V early and at the end, and a, b and gamma over time beside gamma*, of one target."""
    rows: list[Row] = []
    for place, wanted in (("early", FIXED_POINT_STEP), ("late", int(run.steps[-1]))):
        step, v, w = at_step(run, wanted)
        rows += cells(f"{what}, W {place}", f"W at step {step:,}", w[0])
        rows += cells(f"{what}, V {place}", f"V at step {step:,}", v[0])
    for metric in ("a", "b", "gamma"):
        rows += curve(f"{what}, weights", metric, run.steps[1:], run.metrics[metric][1:])
    return [*rows, Row(f"{what}, weights", "level", "gamma* (Theorem 4.2)", y=stop.gamma)]


def draw_fixed_points(data: FigureData) -> Any:
    """Two rows, one for each target: W and V early and late, then the active weights."""
    figure = panels.canvas(12, 5.0)
    grid = figure.subplots(2, 5, width_ratios=[1, 1, 1, 1, 1.7])
    look = panels.styles(data)
    image = None
    for row, what in enumerate(TARGETS.values()):
        for column, panel in enumerate(("W early", "V early", "W late", "V late")):
            found = data.panel(f"{what}, {panel}")
            image = panels.heatmap(
                grid[row, column], found, title=found[0].series, alone=f"{found[0].series}, {what}"
            )
        grid[row, 0].set_ylabel(what)
        panels.curves(
            grid[row, 4],
            data.panel(f"{what}, weights"),
            look,
            title=f"active weights, {what}",
            xlabel="training step",
            ylabel="mean diagonal",
        )
    panels.colour_bar(figure, image, list(grid[:, 3]))
    panels.shared_legend(figure, list(grid[:, 4]), columns=4)
    return figure
