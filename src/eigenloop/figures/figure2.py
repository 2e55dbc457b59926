"""Figure 2 of arXiv 2606.00605: what LN is for.

Three one-layer models, their losses, and their angle when looped.

Expected: with LN the losses fall like a power of t; without it they stop at f* (Thm 4.2): Task 2
0.2262 and 0.2558, Task 1 0.3015 and 0.3191. The paper stops at 2,000 iterations. Later the
normalised no-LN model falls below its f*, because the limit of Theorem 4.2 is a saddle of the full
loss. Task 1, LN, learning rate 0.031: within 5 % of the paper.
"""

from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.figures import panels, printed_points, sentences
from eigenloop.figures.growth import paper_rows
from eigenloop.figures.levels import Level, levels
from eigenloop.figures.points import held_out
from eigenloop.figures.running import models, train_all
from eigenloop.figures.settings import PAPER_WINDOW, Budget, compared
from eigenloop.figures.values import FigureData, Row, curve, paper_points, settings_of
from eigenloop.lab.checkpoints import Trained
from eigenloop.lab.config import TrainConfig
from eigenloop.system.progress import Progress, silent

TITLE = "One layer with and without LN: losses, and the angle when looped"
MODELS = {
    "ln": "LN, normalised target",
    "normalized": "no LN, normalised target",
    "unnormalized": "no LN, unnormalised target",
}
PAPER_NAMES = {"ln": "ln_norm", "normalized": "noln_norm", "unnormalized": "noln_unnorm"}
LOOPS = 25
LOSSES = {"train_loss": "training loss", "test_loss": "test loss"}


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    return {
        name: config for task in budget.tasks for name, config in compared(task, budget).items()
    }


def compute(budget: Budget, directory: Path, progress: Progress = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    configs = runs(budget)
    trained = train_all(configs, directory, progress)
    table: list[Row] = []
    words = []
    for task, name in budget.tasks.items():
        own = {key: trained[run] for key, run in zip(MODELS, compared(task, budget), strict=True)}
        stops = levels(own["ln"].config, seed=budget.seed)
        table += loss_rows(name, own, stops) + loop_rows(name, own)
        words.append(_loss_words(name, own, stops))
    judges = [sentences.losses, sentences.separation]
    if "Task 1" in budget.tasks.values():
        table += points_rows()
        judges += [printed_points.points_of_figure_2, sentences.order_of_angles]
    steps = min(int(run.steps[-1]) for run in trained.values())
    return FigureData(
        2,
        TITLE,
        tuple(table),
        tuple(judge(table, steps=steps) for judge in judges),
        tuple(words),
        f"eigenloop reproduce --figure 2 {budget.options}",
        settings_of(configs),
    )


def loss_rows(name: str, own: dict[str, Trained], stops: dict[str, Level]) -> list[Row]:
    """Both losses of a task's three models, with the levels f* of those without LN."""
    rows: list[Row] = []
    for metric, what in LOSSES.items():
        panel = f"{name}, {what}"
        for key, run in own.items():
            rows += curve(panel, MODELS[key], run.steps[1:], run.metrics[metric][1:])
        for key, stop in stops.items():
            rows.append(Row(panel, "level", f"{MODELS[key]} (f*)", y=stop.loss))
        if own["ln"].steps[-1] > PAPER_WINDOW:
            rows.append(Row(panel, "mark", "the paper's window", x=float(PAPER_WINDOW)))
    return rows


def points_rows() -> list[Row]:
    """The paper's points of Fig. 2(b) and 2(c), Task 1."""
    names = {MODELS[key]: paper for key, paper in PAPER_NAMES.items()}
    rows = paper_rows(
        "Task 1, test loss",
        {ours: f"{paper}_test_loss" for ours, paper in names.items()},
        lambda series: paper_points("2b", series),
    )
    return rows + paper_rows(
        "Task 1, angle",
        {ours: f"{paper}_sin" for ours, paper in names.items()},
        lambda series: paper_points("2c", series),
    )


def loop_rows(name: str, own: dict[str, Trained]) -> list[Row]:
    """The angle of one fixed test point, looped, of a task's three models in the paper's window."""
    panel, rows = f"{name}, angle", []
    point = held_out(own["ln"].config).fixed()
    for key, run in own.items():
        found = models(run)
        a, b = found.get(PAPER_WINDOW) or found[int(run.steps[-1])]
        sines = np.stack(
            [point.sines(x, y, loops=LOOPS)[:, 0] for x, y in zip(a, b, strict=True)], axis=1
        )
        rows += curve(panel, MODELS[key], range(LOOPS + 1), sines)
    return rows + curve(panel, "power method", range(LOOPS + 1), point.power_sines(loops=LOOPS))


def _at(run: Trained, step: int) -> tuple[int, float]:
    """The step nearest to `step`, and the test loss there."""
    index = int(np.argmin(abs(run.steps - step)))
    return int(run.steps[index]), float(np.median(run.metrics["test_loss"][index]))


def _loss_words(name: str, own: dict[str, Trained], stops: dict[str, Level]) -> str:
    last = int(own["ln"].steps[-1])
    parts = []
    for key, run in own.items():
        step, early = _at(run, PAPER_WINDOW)
        text = f"{MODELS[key]} {early:.4f}"
        text += f" then {_at(run, last)[1]:.4f}" if last > step else ""
        text += f" ({stops[key].floor})" if key in stops else ""
        parts.append(text)
    when = _at(own["ln"], PAPER_WINDOW)[0]
    return (
        f"{name}, test loss at step {when:,}"
        + (f" and {last:,}" if last > when else "")
        + ": "
        + ", ".join(parts)
    )


def draw(data: FigureData) -> Any:
    """A row for each task: training loss, test loss, angle."""
    names = data.panel_names(", angle")
    figure = panels.canvas(10, 3.3 * len(names))
    grid = figure.subplots(len(names), 3, squeeze=False)
    look = panels.styles(data)
    for row, name in enumerate(names):
        for column, what in enumerate(LOSSES.values()):
            panels.curves(
                grid[row, column],
                data.panel(f"{name}, {what}"),
                look,
                title=f"{name}: {what}",
                xlabel="training step",
                ylabel="mean squared distance",
            )
        panels.curves(
            grid[row, 2],
            data.panel(f"{name}, angle"),
            look,
            title=f"{name}: one fixed test point",
            xlabel="loops at test time",
            ylabel="sin phi_k to the principal direction",
            xscale="linear",
        )
    panels.shared_legend(figure, list(grid.flat), columns=3)
    return figure
