"""The curves of findings, drawn: a picture for each claim that has a plot."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from eigenloop import report
from eigenloop.claims.ledger import Plot
from eigenloop.report.drawing import (
    COLOURS,
    DARK,
    DASHES,
    LIGHT,
    file_content,
    in_look,
    label_logarithms,
    legend_below,
)
from eigenloop.system.workers import processes

MOST_POINTS = 200
"""Points of a curve that a small figure keeps."""


def draw_all(plots: Sequence[Plot], *, workers: int = 1) -> list[tuple[str, str]]:
    """Each plot as SVG text for a light and for a dark page, both with a transparent ground."""
    if workers == 1 or len(plots) < 8:
        return [draw(plot) for plot in plots]
    with processes(workers) as pool:
        return list(pool.map(draw, plots, chunksize=4))


def draw(plot: Plot) -> tuple[str, str]:
    """One plot, light and dark: the layout is solved once, in the light look."""
    looks = []
    for look in (LIGHT, DARK):
        with in_look(look):
            figure = _figure(plot)
            looks.append(file_content(figure, "svg", facecolor="none").decode())
    return looks[0], looks[1]


def _figure(plot: Plot) -> Figure:
    figure = Figure(figsize=(4.8, 3.1), layout="constrained")
    axes = figure.add_subplot(facecolor="none")
    axes.set(xscale=plot.xscale, yscale=plot.yscale)
    axes.set(xlabel=report.mathtext(plot.xlabel), ylabel=report.mathtext(plot.ylabel))
    for index, curve in enumerate(plot.curves):
        x, y = _thinned(curve.x, curve.y)
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "label": curve.name}
        if curve.points:
            axes.plot(
                x, y, "o", markerfacecolor="none", markersize=4.5, markeredgewidth=1.0, **style
            )
        else:
            axes.plot(x, y, linestyle=DASHES[index % len(DASHES)], **style)
    label_logarithms(axes)
    legend_below(figure)
    return figure


def _thinned(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST_POINTS` of a curve, its ends among them."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.size <= MOST_POINTS:
        return x, y
    kept = np.unique(np.linspace(0, x.size - 1, MOST_POINTS).round().astype(int))
    return x[kept], y[kept]


def picture(plot: Plot, light: str, dark: str) -> report.Figure:
    """A drawn plot as an item of a page."""
    names = ", ".join(curve.name for curve in plot.curves)
    return report.Figure(light, alt=f"{plot.ylabel} against {plot.xlabel}: {names}", svg_dark=dark)
