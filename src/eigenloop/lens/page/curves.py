"""Curves of the lens's page: a statistic over depth with its nulls, and the two rates over loops
(Matplotlib).

Arrays in, SVG text out, light and dark; nothing is computed here.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from eigenloop.report import mathtext
from eigenloop.report.drawing import COLOURS, DASHES, both_looks, label_logarithms, positive

SIZE = (4.6, 3.2)
"""Inches: a phone shows it at four fifths of its natural width."""


class Band(NamedTuple):
    """A null over depth: mean and quantiles, NaN where there is none."""

    name: str
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Points(NamedTuple):
    """A statistic over depth with its interval, NaN where there is none."""

    name: str
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Series(NamedTuple):
    """A series over loops."""

    name: str
    x: np.ndarray
    y: np.ndarray


def over_depth(
    layers: Sequence[int],
    points: Sequence[Points],
    bands: Sequence[Band],
    *,
    ylabel: str,
    level: float | None = None,
    log: bool = False,
    xlabel: str = "layer",
    trained: int | None = None,
) -> tuple[str, str]:
    """A statistic layer by layer: points with intervals, its nulls as dashed lines with bands, and
    a level to compare.

    Args:
        layers: their numbers, the x axis.
        points: one or two statistics, (layers,) each.
        bands: the nulls.
        ylabel: of the y axis.
        level: a horizontal line.
        log: logarithmic y axis; values that are not positive are left out.
        xlabel: what is counted along the x axis.
        trained: where the loops that the model was trained with end, a vertical line before the
            next.

    Returns:
        SVG text for a light and for a dark page.
    """
    x = np.asarray(layers, dtype=float)

    def draw(axes: Any) -> None:
        if level is not None:
            axes.axhline(
                level, color=axes.xaxis.label.get_color(), linewidth=0.9, alpha=0.7, zorder=1
            )
        if trained is not None:
            style = {
                "color": axes.xaxis.label.get_color(),
                "linewidth": 1.1,
                "linestyle": ":",
                "zorder": 1,
            }
            axes.axvline(trained - 0.5, label=f"{trained} trained | beyond", **style)
        for index, band in enumerate(bands):
            style = {"color": COLOURS[1 + index], "linestyle": DASHES[1 + index]}
            axes.plot(x, _shown(band.mean, log), linewidth=1.3, label=band.name, zorder=2, **style)
            low, high = _shown(band.low, log), _shown(band.high, log)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0, zorder=1)
        for index, found in enumerate(points):
            colour = (COLOURS[0], COLOURS[5])[index]
            value, low, high = (_shown(each, log) for each in (found.value, found.low, found.high))
            errors = np.nan_to_num(np.maximum([value - low, high - value], 0))
            dodged = x + (index - (len(points) - 1) / 2) * 0.16
            axes.errorbar(
                dodged,
                value,
                yerr=errors,
                color=colour,
                marker="os"[index],
                markersize=4.5,
                linewidth=1.2,
                elinewidth=1.4,
                capsize=2.5,
                label=found.name,
                zorder=3,
            )
        axes.set(
            xlabel=mathtext(xlabel), ylabel=mathtext(ylabel), yscale="log" if log else "linear"
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        label_logarithms(axes)

    return both_looks(draw, SIZE)


def over_loops(
    series: Sequence[Series], *, ylabel: str, level: float | None = None
) -> tuple[str, str]:
    """Series against loops on a logarithmic y axis, each with its own dashes.

    Args:
        series: what to draw; values that are not positive are left out.
        ylabel: of the y axis.
        level: a horizontal line.

    Returns:
        SVG text for a light and for a dark page.
    """

    def draw(axes: Any) -> None:
        for index, found in enumerate(series):
            style = {
                "color": COLOURS[index % len(COLOURS)],
                "linestyle": DASHES[index % len(DASHES)],
            }
            axes.plot(found.x, positive(found.y), label=found.name, **style)
        if level is not None:
            axes.axhline(level, color=axes.xaxis.label.get_color(), linewidth=0.9, alpha=0.7)
        axes.set(xlabel="loop", ylabel=mathtext(ylabel), yscale="log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        label_logarithms(axes)

    return both_looks(draw, SIZE)


def _shown(values: np.ndarray, log: bool) -> np.ndarray:
    """What an axis can show: on a logarithmic one, nothing that is not positive."""
    return positive(values) if log else np.asarray(values, dtype=float)
