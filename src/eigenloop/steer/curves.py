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
    lines = _lines(evidence, x, y)

    def draw(axes: Any) -> None:
        axes.set(
            xlabel=report.mathtext(xlabel),
            ylabel=report.mathtext(ylabel),
            yscale=yscale,
        )
        for index, (name, across, up) in enumerate(lines):
            style: dict[str, Any] = {
                "color": COLOURS[index],
                "marker": MARKERS[index],
                "markersize": 4.5,
            }
            axes.plot(across, up[:, 0], linestyle=DASHES[index], label=name, **style)
            axes.fill_between(
                across, up[:, 1], up[:, 2], color=COLOURS[index], alpha=0.18, linewidth=0
            )
        label_logarithms(axes)

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


def _lines(evidence: Evidence, x: Value, y: Value) -> list[tuple[str, list[float], np.ndarray]]:
    """Name, what is drawn across, and (mean, low, high) upwards, of each way of steering."""
    curves = (
        ("edit", (evidence.before, *evidence.edit)),
        ("activation addition", (evidence.before, *evidence.addition)),
        ("random direction", (evidence.null,)),
    )
    found = []
    for name, points in curves:
        ordered = sorted(points, key=lambda point: point.strength)
        found.append(
            (name, [x(point)[0] for point in ordered], np.array([y(point) for point in ordered]))
        )
    return found
