"""Structure and growth, the common form of Figures 1 and 4: heatmaps of W and V, their largest
entries over time.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from eigenloop.figures import panels
from eigenloop.figures.levels import spectra_of
from eigenloop.figures.running import at_step
from eigenloop.figures.values import FigureData, Row, cells, curve
from eigenloop.lab.checkpoints import Trained
from eigenloop.lab.config import TrainConfig
from eigenloop.numerics.statistics import PowerLawFit, fit_power_law
from eigenloop.system.errors import InputError
from eigenloop.theory.dynamics import Path, long_run
from eigenloop.theory.population import EndToEnd, LayerwiseNorm

DRAWS = 32
"""Sampled X of Task 1 that the theory's curves are averaged over."""


def growth_rows(run: Trained, name: str, *, exponent: Fraction) -> list[Row]:
    """Heatmaps of the first seed at the end, ||W||_max and ||V||_max, and t^p lines through their
    last points.

    Beside them what gradient descent on the population has at the same steps, and how far A and B
    are from multiples of I: the larger of their largest off-diagonal entries, each over the mean of
    its diagonal.
    """
    step, v, w = at_step(run, int(run.steps[-1]))
    rows = cells(f"{name}, W", f"W at step {step:,}", w[0]) + cells(
        f"{name}, V", f"V at step {step:,}", v[0]
    )
    steps = run.steps[1:]
    for metric, series in (("w_max", "W_max"), ("v_max", "V_max")):
        values = run.metrics[metric][1:]
        rows += curve(f"{name}, growth", series, steps, values)
        last = float(np.median(values[-1]))
        start = max(1.0, steps[-1] / 1000)
        x = np.array([start, float(steps[-1])])
        reference = last * (x / x[-1]) ** float(exponent)
        rows += curve(f"{name}, growth", f"{series} (t^{exponent})", x, reference, kind="reference")
    path = population_path(run.config, float(run.steps[-1]))
    for weights, series in ((path.b, "W_max"), (path.a, "V_max")):
        rows += curve(
            f"{name}, growth", f"{series} (population)", path.steps[1:], weights[1:], kind="theory"
        )
    beside = run.metrics["off_diagonal_ratio"][1:]
    drawn = np.min(beside, axis=1) > 0  # has a logarithm; the first step may leave none
    return rows + curve(f"{name}, growth", "largest other entry", steps[drawn], beside[drawn])


def population_path(config: TrainConfig, steps: float) -> Path:
    """Gradient descent on the population of a run with LN: a_t and b_t, which V's and W's largest
    entries then are.

    Expectations over q are exact; those over X too, but for Task 1, where they are means over
    `DRAWS` of them.

    Example:
        >>> config = TrainConfig.create(task="planted", objective="layerwise")
        >>> population_path(config, 1_000).gamma[-1].round(3)
        np.float64(0.981)
    """
    loops = config.loops if config.objective == "end-to-end" else None
    return _path(
        tuple(map(tuple, spectra_of(config, draws=DRAWS).rows)), loops, config.learning_rate, steps
    )


@lru_cache
def _path(
    rows: tuple[tuple[float, ...], ...], loops: int | None, learning_rate: float, steps: float
) -> Path:
    setting = LayerwiseNorm(rows) if loops is None else EndToEnd(rows, loops)
    return long_run(setting, learning_rate=learning_rate, steps=steps)


def growth_exponent(run: Trained, metric: str) -> PowerLawFit | None:
    """Power law fitted to the last decade of steps, median over seeds; None for a run too short
    to have one.
    """
    late = run.steps >= max(1, run.steps[-1] / 10)
    try:
        return fit_power_law(run.steps[late], np.median(run.metrics[metric][late], axis=1))
    except InputError:
        return None


def inactive_words(check: Trained) -> str:
    """The largest inactive entry that the first steps with all eight blocks free have met."""
    largest, steps = float(check.metrics["inactive_max"].max()), int(check.steps[-1])
    return (
        "with all eight blocks free, the largest entry of the six inactive ones in the first"
        f" {steps} steps is {largest:.2g}"
    )


def growth_words(run: Trained, name: str) -> str:
    """The end of a run and the exponents of its last decade."""
    w, v, ratio = (
        float(np.median(run.metrics[key][-1])) for key in ("w_max", "v_max", "off_diagonal_ratio")
    )
    fits = [growth_exponent(run, key) for key in ("w_max", "v_max")]
    slopes = [
        f"fitted exponent over the last decade {fit.exponent:.3f}" if fit else "too short for a fit"
        for fit in fits
    ]
    return (
        f"{name}, step {int(run.steps[-1]):,}: largest entry of W {w:.3g} ({slopes[0]}), of V"
        f" {v:.3g} ({slopes[1]}), largest off-diagonal entry of an active block {ratio:.3g} of its"
        " mean diagonal"
    )


def draw_growth(data: FigureData) -> Any:
    """A row for each task: W, V, growth."""
    names = data.panel_names(", growth")
    figure = panels.canvas(10, 3.2 * len(names))
    grid = figure.subplots(len(names), 3, width_ratios=[1, 1, 1.5], squeeze=False)
    look = panels.styles(data)
    image = None
    for row, name in enumerate(names):
        for column, letter in enumerate("WV"):
            found = data.panel(f"{name}, {letter}")
            image = panels.heatmap(grid[row, column], found, title=f"{name}: {found[0].series}")
        panels.curves(
            grid[row, 2],
            data.panel(f"{name}, growth"),
            look,
            title=f"{name}: growth",
            xlabel="training step",
            ylabel="largest absolute entry",
        )
    panels.colour_bar(figure, image, list(grid[:, 1]))
    panels.shared_legend(figure, list(grid[:, 2]), columns=3)
    return figure


def paper_rows(
    panel: str, series: dict[str, str], read: Callable[[str], tuple[np.ndarray, np.ndarray]]
) -> list[Row]:
    """The paper's points over our series: {our series: the paper's}."""
    rows = []
    for ours, theirs in series.items():
        x, y = read(theirs)
        rows += curve(panel, f"{ours} (paper)", x, y, kind="points")
    return rows
