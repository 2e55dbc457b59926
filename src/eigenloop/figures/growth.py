"""Structure and growth, the common form of Figures 1 and 4: heatmaps of W and V, their largest entries over time."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from eigenloop.figures import panels
from eigenloop.figures.running import at_step
from eigenloop.figures.settings import TASKS, Task
from eigenloop.figures.values import FigureData, Row, cells, curve, verdict
from eigenloop.lab.training import Trained
from eigenloop.numerics.statistics import PowerLawFit, fit_power_law
from eigenloop.system.errors import InputError

DECADES = 1_000
"""Steps below which a growth exponent means nothing."""


def growth_rows(run: Trained, task: Task, *, exponent: Fraction) -> list[Row]:
    """Heatmaps of the first seed at the end, ||W||_max and ||V||_max, and t^p lines through their last points."""
    name = TASKS[task]
    step, v, w = at_step(run, int(run.steps[-1]))
    rows = cells(f"{name}, W", f"W at step {step:,}", w[0]) + cells(f"{name}, V", f"V at step {step:,}", v[0])
    steps = run.steps[1:]
    for metric, series in (("w_max", "W_max"), ("v_max", "V_max")):
        values = run.metrics[metric][1:]
        rows += curve(f"{name}, growth", series, steps, values)
        last = float(np.median(values[-1]))
        start = max(1.0, steps[-1] / 1000)
        x = np.array([start, float(steps[-1])])
        reference = last * (x / x[-1]) ** float(exponent)
        rows += curve(f"{name}, growth", f"{series} (t^{exponent})", x, reference, kind="reference")
    return rows


def growth_exponent(run: Trained, metric: str) -> PowerLawFit | None:
    """Power law fitted to the last decade of steps, median over seeds; None for a run too short to have one."""
    late = run.steps >= max(1, run.steps[-1] / 10)
    try:
        return fit_power_law(run.steps[late], np.median(run.metrics[metric][late], axis=1))
    except InputError:
        return None


def inactive_words(check: Trained) -> str:
    """The largest inactive entry that the first steps with all eight blocks free have met."""
    largest, steps = float(check.metrics["inactive_max"].max()), int(check.steps[-1])
    return (
        f"with all eight blocks free, the largest entry of the six inactive ones in the first {steps} steps is "
        f"{largest:.2g}"
    )


def growth_verdict(runs: Mapping[str, Trained], inactive: float, *, exponent: Fraction) -> str:
    """Whether the active diagonals stand out and grow as t^p in every run, within a fifth of p."""
    fits = [growth_exponent(run, key) for run in runs.values() for key in ("w_max", "v_max")]
    off = max(float(np.median(run.metrics["off_diagonal_ratio"][-1])) for run in runs.values())
    found = [fit.exponent for fit in fits if fit]
    steps = max(int(run.steps[-1]) for run in runs.values())
    structure = (
        f"the six inactive blocks are {'exactly 0' if inactive == 0 else f'at most {inactive:.2g}'}, entries beside "
        f"the active diagonals at most {off:.2g} of their mean"
    )
    if len(found) < len(fits) or steps < DECADES:
        return verdict(None, f"after {steps:,} steps {structure}; a growth of t^{exponent} shows after thousands")
    near = all(abs(found_ - exponent) < 0.2 * exponent for found_ in found)
    growth = f"the weights grow with exponents from {min(found):.3f} to {max(found):.3f}, {exponent} in theory"
    if not near:  # a^2 - b^2 changes at second order in the learning rate only: a da = b db
        lead = max(float(np.median(run.metrics["v_max"][-1] / run.metrics["w_max"][-1])) ** 2 for run in runs.values())
        growth += (
            f" (W begins at 0 and V at 1; a^2 - b^2 is all but kept, so W's exponent is (a/b)^2 = {lead:.2f} times V's)"
        )
    return verdict(near and off < 0.5 and inactive < 1e-6, f"{growth}; {structure}")


def growth_words(run: Trained, name: str) -> str:
    """The end of a run and the exponents of its last decade."""
    w, v, ratio = (float(np.median(run.metrics[key][-1])) for key in ("w_max", "v_max", "off_diagonal_ratio"))
    fits = [growth_exponent(run, key) for key in ("w_max", "v_max")]
    slopes = [
        f"fitted exponent over the last decade {fit.exponent:.3f}" if fit else "too short for a fit" for fit in fits
    ]
    return (
        f"{name}, step {int(run.steps[-1]):,}: largest entry of W {w:.3g} ({slopes[0]}), of V {v:.3g} ({slopes[1]}), "
        f"largest off-diagonal entry of an active block {ratio:.3g} of its mean diagonal"
    )


def draw_growth(data: FigureData) -> Any:
    """Two rows, one for each task: W, V, growth."""
    figure = panels.canvas(10, 6.4)
    grid = figure.subplots(2, 3, width_ratios=[1, 1, 1.5])
    look = panels.styles(data)
    image = None
    for row, name in enumerate(TASKS.values()):
        for column, letter in enumerate("WV"):
            found = data.panel(f"{name}, {letter}")
            image = panels.heatmap(grid[row, column], found, title=f"{name}: {found[0].series}")
        panels.curves(
            grid[row, 2], data.panel(f"{name}, growth"), look, title=f"{name}: growth", xlabel="training step",
            ylabel="largest absolute entry",
        )  # fmt: skip
    panels.colour_bar(figure, image, list(grid[:, 1]))
    panels.shared_legend(figure, list(grid[:, 2]), columns=3)
    return figure


def paper_rows(panel: str, series: dict[str, str], read: Callable[[str], tuple[np.ndarray, np.ndarray]]) -> list[Row]:
    """The paper's points over our series: {our series: the paper's}."""
    rows = []
    for ours, theirs in series.items():
        x, y = read(theirs)
        rows += curve(panel, f"{ours} (paper)", x, y, kind="points")
    return rows


def deviation(rows: list[Row], series: str) -> tuple[float, float, float] | None:
    """Ours, interpolated, against the paper's points in a panel: (largest relative deviation, its x, with its sign).

    Interpolation is linear in log x and log y; points outside our range are left out. None where none is left.
    """
    line = [(row.x, row.y) for row in rows if row.kind == "line" and row.series == series and row.x]
    points = [(row.x, row.y) for row in rows if row.kind == "points" and row.series == f"{series} (paper)"]
    x, y = np.array(line, np.float64).T
    points = [(px, py) for px, py in points if px is not None and x[0] <= px <= x[-1]]
    if not points:
        return None
    px, py = np.array(points, np.float64).T
    relative = np.exp(np.interp(np.log(px), np.log(x), np.log(y))) / py - 1
    worst = int(np.argmax(abs(relative)))
    return float(abs(relative[worst])), float(px[worst]), float(relative[worst])
