"""Structure and fixed points, the common form of Figures 6 and 7: one layer without LN, both targets (Thm 4.2)."""

from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.figures import panels
from eigenloop.figures.growth import inactive_words
from eigenloop.figures.levels import levels
from eigenloop.figures.running import Report, at_step, silent, train_all
from eigenloop.figures.settings import FIXED_POINT_STEP, TASKS, Budget, Task, checks, without_norm
from eigenloop.figures.values import FigureData, Row, cells, curve, listed, settings_of, verdict
from eigenloop.lab.training import TrainConfig

PAPER_SAYS = (
    "For both targets all entries but the diagonals of the two active blocks vanish, and the active weights quickly "
    "reach fixed points."
)
TARGETS = {"normalized": "normalised target", "unnormalized": "unnormalised target"}


NEAR = 0.05
"""Relative distance of gamma from gamma* that counts as having reached it."""


def runs_of(task: Task, budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained: both targets, and their first steps with all eight blocks free."""
    trained = without_norm(task, budget)
    return trained | checks(budget, trained)


def compute_fixed_points(number: int, task: Task, budget: Budget, directory: Path, report: Report = silent):
    """Train (or read) the runs and fill the table."""
    configs = runs_of(task, budget)
    trained = train_all(configs, directory, report)
    table: list[Row] = []
    words, short, held = [], [], []
    stops = levels(next(iter(configs.values())), seed=budget.seed)
    for target, what in TARGETS.items():
        name = f"no-ln-{task}-{target}"
        run = trained[name]
        for place, wanted in (("early", FIXED_POINT_STEP), ("late", int(run.steps[-1]))):
            step, v, w = at_step(run, wanted)
            table += cells(f"{what}, W {place}", f"W at step {step:,}", w[0])
            table += cells(f"{what}, V {place}", f"V at step {step:,}", v[0])
        for metric in ("a", "b", "gamma"):
            table += curve(f"{what}, weights", metric, run.steps[1:], run.metrics[metric][1:])
        table.append(Row(f"{what}, weights", "level", "gamma* (Theorem 4.2)", y=stops[target].gamma))
        early = int(np.argmin(abs(run.steps - FIXED_POINT_STEP)))
        shown = [early] if early == len(run.steps) - 1 else [early, -1]
        parts = [
            f"at step {int(run.steps[i]):,} gamma = {np.median(run.metrics['gamma'][i]):.4f}, a = "
            f"{np.median(run.metrics['a'][i]):.3f}, b = {np.median(run.metrics['b'][i]):.4f}, off-diagonal ratio "
            f"{np.median(run.metrics['off_diagonal_ratio'][i]):.2g}, test loss "
            f"{np.median(run.metrics['test_loss'][i]):.4f}"
            for i in shown
        ]
        words.append(f"{what} ({stops[target]}): {', '.join(parts)}; {inactive_words(trained[f'{name}-full'])}")
        off = {int(run.steps[i]): float(np.median(run.metrics["gamma"][i])) / stops[target].gamma - 1 for i in shown}
        away = listed(f"{abs(value):.1%} from gamma* at step {step:,}" for step, value in off.items())
        short.append(f"{what} {away}")
        held.append(None if run.steps[-1] < FIXED_POINT_STEP else all(abs(value) < NEAR for value in off.values()))
    return FigureData(
        number, f"One layer without LN, {TASKS[task]}: structure and fixed points of the weights", tuple(table),
        PAPER_SAYS, verdict(None if None in held else all(held), "; ".join(short)), tuple(words),
        f"eigenloop reproduce --figure {number} {budget.options}", settings_of(configs),
    )  # fmt: skip


def draw_fixed_points(data: FigureData) -> Any:
    """Two rows, one for each target: W and V early and late, then the active weights."""
    figure = panels.canvas(12, 5.0)
    grid = figure.subplots(2, 5, width_ratios=[1, 1, 1, 1, 1.7])
    look = panels.styles(data)
    image = None
    for row, what in enumerate(TARGETS.values()):
        for column, panel in enumerate(("W early", "V early", "W late", "V late")):
            found = data.panel(f"{what}, {panel}")
            image = panels.heatmap(grid[row, column], found, title=found[0].series)
        grid[row, 0].set_ylabel(what)
        panels.curves(
            grid[row, 4], data.panel(f"{what}, weights"), look, title=f"active weights, {what}",
            xlabel="training step", ylabel="mean diagonal",
        )  # fmt: skip
    panels.colour_bar(figure, image, list(grid[:, 3]))
    panels.shared_legend(figure, list(grid[:, 4]), columns=4)
    return figure
