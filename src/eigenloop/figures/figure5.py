"""Figure 5 of arXiv 2606.00605: one trained layer with LN, looped at test time, beside the power
method (Thm 4.6).

Expected at 2,000 epochs: to about 30 loops the sine falls by a constant factor per loop, closer to
the power method's for later snapshots. The scalar model with the trained gamma stays between the
theorem's bounds for every test point; the trained matrices are not exactly multiples of I and end
on a plateau, median sine near 0.003, above those bounds.
"""

from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.figures import error_curves, panels
from eigenloop.figures.drawn import line
from eigenloop.figures.points import Points, held_out
from eigenloop.figures.running import models, train_all
from eigenloop.figures.settings import Budget, layerwise
from eigenloop.figures.values import FigureData, Row, band, curve, settings_of
from eigenloop.lab.checkpoints import Trained
from eigenloop.lab.config import TrainConfig
from eigenloop.numerics.power import predicted_sines, sine_bounds
from eigenloop.system.progress import Progress, silent

TITLE = "One layer with LN, looped at test time: angle against loops for snapshots of training"
LOOPS = 50
PLATEAU_LOOPS = 400


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    return {
        name: config for task in budget.tasks for name, config in layerwise(task, budget).items()
    }


def compute(budget: Budget, directory: Path, progress: Progress = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    configs = runs(budget)
    trained = train_all(configs, directory, progress)
    table: list[Row] = []
    words = []
    for task, name in budget.tasks.items():
        run = trained[f"layerwise-{task}"]
        points = held_out(run.config)
        point = points.fixed()
        table += loop_rows(run, name, point)
        gammas = [
            float(np.median(np.trace(a @ b, axis1=1, axis2=2))) / a.shape[1]
            for a, b in models(run).values()
        ]
        gamma = gammas[-1]
        first, next_ = point.eigenvalues[0, 0], point.eigenvalues[0, point.multiplicity]
        rates = [float((1 + g * next_) / (1 + g * first)) for g in gammas]
        limit = point.ratios[0]
        inside = scalar_within_bounds(points, gamma=gamma, loops=LOOPS)
        a, b = models(run)[int(run.steps[-1])]
        plateau = float(np.median(points.sines(a[0], b[0], loops=PLATEAU_LOOPS)[-1]))
        steps = ", ".join(f"{rate:.3f}" for rate in rates)
        words.append(
            f"{name}: factor per loop of the fixed point's scalar model {steps}, power method"
            f" {limit:.3f}; with gamma = {gamma:.3g} exactly, {inside:,} of {len(points.query):,}"
            " test points stay between the bounds at every loop; the trained matrices themselves"
            f" end on a plateau, median sine {plateau:.2g} after {PLATEAU_LOOPS} loops;"
            f" {_leaving(table, name)}"
        )
    steps = min(int(trained[f"layerwise-{task}"].steps[-1]) for task in budget.tasks)
    judges = (error_curves.straight, error_curves.bent, error_curves.longer)
    return FigureData(
        5,
        TITLE,
        tuple(table),
        tuple(judge(table, steps=steps) for judge in judges),
        tuple(words),
        f"eigenloop reproduce --figure 5 {budget.options}",
        settings_of(configs),
    )


def loop_rows(run: Trained, name: str, point: Points) -> list[Row]:
    """The angle of one test point against loops: each snapshot, the power method, the bounds at
    the end's gamma.
    """
    rows, x, gamma, last = [], range(LOOPS + 1), 0.0, ""
    for step, (a, b) in models(run).items():
        last = f"step {step:,}"
        sines = np.stack(
            [point.sines(p, q, loops=LOOPS)[:, 0] for p, q in zip(a, b, strict=True)], axis=1
        )
        rows += curve(name, last, x, sines)
        gamma = float(np.median(np.trace(a @ b, axis1=1, axis2=2) / a.shape[1]))
    low, high = sine_bounds(point.eigenvalues[0], point.coordinates[0], loops=LOOPS, gamma=gamma)
    rows += band(name, f"{last} (bounds of Theorem 4.6)", x, low, high)
    return rows + curve(name, "power method", x, point.power_sines(loops=LOOPS))


def _leaving(rows: list[Row], panel: str) -> str:
    """Where the end's curve leaves the band that is drawn for multiples of I of its gamma."""
    band_ = [row for row in rows if (row.panel, row.kind) == (panel, "band")]
    sines = line(rows, panel, band_[0].series.partition(" (")[0])[1]
    out = [
        int(row.x or 0)
        for row, y in zip(band_, sines, strict=True)
        if row.high is not None and y > row.high
    ]
    if not out:
        return "their drawn curve stays below the upper bound"
    return f"their drawn curve leaves the band, which is that of multiples of I, at loop {out[0]}"


def scalar_within_bounds(points: Points, *, gamma: float, loops: int) -> int:
    """Number of points whose scalar model A = gamma I, B = I stays between the bounds of Theorem
    4.6 at every loop.
    """
    count = 0
    for values, c in zip(points.eigenvalues, points.coordinates, strict=True):
        c = c / np.linalg.norm(c)
        sines = predicted_sines(values, c, loops=loops, gamma=gamma)
        low, high = sine_bounds(values, c, loops=loops, gamma=gamma)
        rounding = 1e-12
        count += bool(
            np.all(low <= sines * (1 + rounding)) and np.all(sines <= high * (1 + rounding))
        )
    return count


def draw(data: FigureData) -> Any:
    """One panel for each task."""
    names = data.panels
    figure = panels.canvas(5 * len(names) if len(names) > 1 else 6.5, 4.4)
    grid = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    look = panels.styles(data, markers=True)
    for axes, name in zip(grid, names, strict=True):
        panels.curves(
            axes,
            data.panel(name),
            look,
            title=f"{name}: one fixed test point",
            xlabel="loops at test time",
            ylabel="sin phi_k to the principal direction",
            xscale="linear",
        )
        axes.set_ylim(top=2)
    panels.shared_legend(figure, list(grid), columns=3)
    return figure
