"""The curves of a steered model's page: two measures of each point against one another."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from eigenloop import report
from eigenloop.report.drawing import COLOURS, DASHES, MARKERS, both_looks, label_logarithms
from eigenloop.steer.evidence import Evidence, Point

SIZE = (4.8, 3.1)

Value = Callable[[Point], tuple[float, float, float]]
"""(mean, low, high) of a point; NaN where it was not measured."""


def curve_figure(
    evidence: Evidence,
    x: Value,
    y: Value,
    *,
    xlabel: str,
    ylabel: str,
    yscale: str = "linear",
    downloads: Sequence[str] = (),
) -> report.Figure:
    """One drawing of the edit, activation addition and the random direction, with intervals.

    Args:
        evidence: the points.
        x: what is drawn across.
        y: what is drawn upwards.
        xlabel: in words.
        ylabel: in words.
        yscale: "linear" or "log".
        downloads: files with the same numbers.
    """

    def draw(axes: Any) -> None:
        axes.set(
            xlabel=report.mathtext(xlabel),
            ylabel=report.mathtext(ylabel),
            yscale=yscale,
        )
        _draw(axes, evidence, x, y)

    light, dark = both_looks(draw, SIZE)
    caption = f"{ylabel[0].upper()}{ylabel[1:]} against {xlabel}"
    return report.Figure(
        light,
        alt=f"{caption}: edit and activation addition",
        caption=caption,
        svg_dark=dark,
        downloads=downloads,
    )


def measured(kind: str) -> Value:
    """What was measured on the prompts; "damage" is 1 - keep, "strength" is c itself."""
    return partial(_value, kind)


def _value(kind: str, point: Point) -> tuple[float, float, float]:
    if kind == "strength":
        return point.strength, point.strength, point.strength
    name = "keep" if kind == "damage" else kind
    mean, interval = point.mean(name), point.interval(name)
    if mean is None or interval is None:
        return float("nan"), float("nan"), float("nan")
    return (1 - mean, 1 - interval[1], 1 - interval[0]) if kind == "damage" else (mean, *interval)


def _draw(axes: Any, evidence: Evidence, x: Value, y: Value) -> None:
    curves = (
        ("edit", sorted([evidence.before, *evidence.edit], key=lambda point: point.strength)),
        (
            "activation addition",
            sorted([evidence.before, *evidence.addition], key=lambda point: point.strength),
        ),
        ("random direction", [evidence.null]),
    )
    for index, (name, points) in enumerate(curves):
        style: dict[str, Any] = {
            "color": COLOURS[index],
            "marker": MARKERS[index],
            "markersize": 4.5,
        }
        across = [x(point)[0] for point in points]
        up = np.array([y(point) for point in points])
        axes.plot(across, up[:, 0], linestyle=DASHES[index], label=name, **style)
        axes.fill_between(across, up[:, 1], up[:, 2], color=COLOURS[index], alpha=0.18, linewidth=0)
    label_logarithms(axes)
