"""Figure 5 of arXiv 2606.00605: one trained layer with LN, looped at test time, beside the power method (Thm 4.6).

Expected at 2,000 epochs: the sine falls by a constant factor per loop, closer to the power method's for later
snapshots. The scalar model with the trained gamma stays between the theorem's bounds for every test point; the trained
matrices are not exactly multiples of I and end on a plateau, median sine near 0.003.
"""

from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.figures import panels
from eigenloop.figures.points import Points, held_out
from eigenloop.figures.running import Report, models, silent, train_all
from eigenloop.figures.settings import TASKS, Budget, layerwise
from eigenloop.figures.values import FigureData, Row, band, curve, settings_of, verdict
from eigenloop.lab.training import TrainConfig
from eigenloop.numerics.power import predicted_sines, sine_bounds

TITLE = "One layer with LN, looped at test time: angle against loops for snapshots of training"
PAPER_SAYS = (
    "On semi-logarithmic axes the error of each snapshot falls along a nearly straight line, and later snapshots come "
    "closer to the power method."
)
LOOPS = 50
PLATEAU_LOOPS = 400


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    return {name: config for task in TASKS for name, config in layerwise(task, budget).items()}


def compute(budget: Budget, directory: Path, report: Report = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    configs = runs(budget)
    trained = train_all(configs, directory, report)
    table: list[Row] = []
    words, held, short = [], [], []
    for task, name in TASKS.items():
        run = trained[f"layerwise-{task}"]
        points = held_out(run.config)
        point, x, rates, gamma = points.fixed(), range(LOOPS + 1), [], 0.0
        for step, (a, b) in models(run).items():
            sines = np.stack([point.sines(p, q, loops=LOOPS)[:, 0] for p, q in zip(a, b, strict=True)], axis=1)
            table += curve(name, f"step {step:,}", x, sines)
            gamma = float(np.median(np.trace(a @ b, axis1=1, axis2=2) / a.shape[1]))
            rates.append(float((1 + gamma * point.eigenvalues[0, 1]) / (1 + gamma * point.eigenvalues[0, 0])))
        last = f"step {int(run.steps[-1]):,}"
        low, high = sine_bounds(point.eigenvalues[0], point.coordinates[0], loops=LOOPS, gamma=gamma)
        table += band(name, f"{last} (bounds of Theorem 4.6)", x, low, high)
        table += curve(name, "power method", x, point.power_sines(loops=LOOPS))
        limit = point.eigenvalues[0, 1] / point.eigenvalues[0, 0]
        inside = scalar_within_bounds(points, gamma=gamma, loops=LOOPS)
        a, b = models(run)[int(run.steps[-1])]
        plateau = float(np.median(points.sines(a[0], b[0], loops=PLATEAU_LOOPS)[-1]))
        held.append(bool(np.all(np.diff(rates) < 0)) and rates[-1] < 1)
        short.append(
            f"{name} {rates[0]:.3f} at the first snapshot, {rates[-1]:.3f} at the end, {limit:.3f} in the limit"
        )
        steps = ", ".join(f"{rate:.3f}" for rate in rates)
        words.append(
            f"{name}: factor per loop of the fixed point's scalar model {steps}, power method {limit:.3f}; "
            f"with gamma = {gamma:.3g} exactly, {inside:,} of {len(points.query):,} test points stay between the "
            f"bounds at every loop; the trained matrices themselves end on a plateau, median sine {plateau:.2g} "
            f"after {PLATEAU_LOOPS} loops"
        )
    return FigureData(
        5, TITLE, tuple(table), PAPER_SAYS, verdict(all(held), "factor of the error per loop, " + "; ".join(short)),
        tuple(words),
        f"eigenloop reproduce --figure 5 {budget.options}", settings_of(configs),
    )  # fmt: skip


def scalar_within_bounds(points: Points, *, gamma: float, loops: int) -> int:
    """Number of points whose scalar model A = gamma I, B = I stays between the bounds of Theorem 4.6 at every loop."""
    count = 0
    for values, c in zip(points.eigenvalues, points.coordinates, strict=True):
        c = c / np.linalg.norm(c)
        sines = predicted_sines(values, c, loops=loops, gamma=gamma)
        low, high = sine_bounds(values, c, loops=loops, gamma=gamma)
        rounding = 1e-12
        count += bool(np.all(low <= sines * (1 + rounding)) and np.all(sines <= high * (1 + rounding)))
    return count


def draw(data: FigureData) -> Any:
    """One panel for each task."""
    figure = panels.canvas(10, 4.4)
    grid = figure.subplots(1, 2, sharey=True)
    look = panels.styles(data, markers=True)
    for axes, name in zip(grid, TASKS.values(), strict=True):
        panels.curves(
            axes, data.panel(name), look, title=f"{name}: one fixed test point", xlabel="loops at test time",
            ylabel=r"$\sin\,\varphi_k$ to the principal direction", xscale="linear",
        )  # fmt: skip
        axes.set_ylim(top=2)
    panels.shared_legend(figure, list(grid), columns=3)
    return figure
