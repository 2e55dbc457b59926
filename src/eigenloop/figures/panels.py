"""Panels that the figures share: heatmaps and curves, drawn from rows, through Matplotlib's
objects alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eigenloop.figures.values import FigureData, Row
from eigenloop.report import mathtext
from eigenloop.report.drawing import COLOURS, DASHES, MARKERS, diverging, label_logarithms

LABELS = {
    "W_max": "||W||_max",
    "V_max": "||V||_max",
    "gamma": "gamma = tr(AB)/d",
    "largest other entry": "largest other entry / mean diagonal",
}
"""How series are written where their plain name is not enough."""


LINES = "#7a7a7a"
"""Between the blocks of a matrix, seen on light and on dark."""


def heatmap(axes: Axes, rows: Sequence[Row], *, title: str, alone: str = "") -> Any:
    """A matrix with its four blocks; colours from -1 to 1. Returns the image, for a colour bar.

    Args:
        axes: where to.
        rows: its entries.
        title: above it.
        alone: its title where it does not stand beside the others; by default `title`.
    """
    size = int(max(row.x or 0 for row in rows)) + 1
    matrix = np.zeros((size, size))
    for row in rows:
        matrix[int(row.y or 0), int(row.x or 0)] = row.value or 0
    image = axes.imshow(matrix, cmap=diverging(), vmin=-1, vmax=1, interpolation="nearest")
    half = size / 2 - 0.5
    axes.axhline(half, color=LINES, linewidth=0.7)
    axes.axvline(half, color=LINES, linewidth=0.7)
    axes.set_xticks([0, size // 2, size - 1], ["1", str(size // 2 + 1), str(size)])
    axes.set_yticks([0, size // 2, size - 1], ["1", str(size // 2 + 1), str(size)])
    axes.spines[["top", "right"]].set_visible(True)
    axes.grid(visible=False)
    axes.set_title(mathtext(title))
    axes.set_label(alone or title)
    return image


def colour_bar(
    figure: Figure, image: Any, axes: Sequence[Axes], label: str = "entry / largest entry"
) -> None:
    """One bar for several heatmaps."""
    bar = figure.colorbar(
        image, ax=list(axes), shrink=0.75, aspect=28, pad=0.015, ticks=[-1, -0.5, 0, 0.5, 1]
    )
    bar.set_label(label)


def curves(
    axes: Axes,
    rows: Sequence[Row],
    styles: Mapping[str, dict[str, Any]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    xscale: str = "log",
    yscale: str = "log",
) -> None:
    """Everything but heatmap cells, in the colour of its series."""
    axes.set(xscale=xscale, yscale=yscale, xlabel=mathtext(xlabel), ylabel=mathtext(ylabel))
    axes.set_title(mathtext(title))
    axes.set_label(title)
    for kind, series in dict.fromkeys((row.kind, row.series) for row in rows):
        group = [row for row in rows if (row.kind, row.series) == (kind, series)]
        style, label = styles[base_name(series)], series_label(series)
        colour = style["color"]
        x, y, low, high = (_column(group, name) for name in ("x", "y", "low", "high"))
        if kind == "line":
            axes.plot(x, y, label=label, markevery=_every(len(x)), markersize=4, **style)
            if np.isfinite(low).any():
                axes.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0)
        elif kind == "points":
            axes.plot(
                x,
                y,
                "o",
                color=colour,
                markerfacecolor="none",
                markersize=4.5,
                markeredgewidth=1.0,
                label=label,
            )
        elif kind == "reference":
            axes.plot(x, y, color=colour, linestyle=":", linewidth=1.3, label=label)
        elif kind == "theory":
            axes.plot(x, y, color=colour, linestyle="-", linewidth=0.8, alpha=0.7, label=label)
        elif kind == "band":
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, label=label)
        elif kind == "level":
            axes.axhline(
                float(y[0]), color=colour, linestyle=(0, (1, 1.5)), linewidth=1.3, label=label
            )
        elif kind == "mark":
            ink = mpl.rcParams["text.color"]
            axes.axvline(float(x[0]), color=ink, linewidth=0.8, alpha=0.6)
            axes.annotate(
                series,
                (float(x[0]), 0),
                xycoords=("data", "axes fraction"),
                xytext=(-4, 4),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=7.5,
                alpha=0.8,
            )
    label_logarithms(axes)


def styles(data: FigureData, *, markers: bool = False) -> dict[str, dict[str, Any]]:
    """A colour, dashes and (for loops) a marker for every base series; the power method in the
    text's colour.
    """
    names = list(dict.fromkeys(base_name(row.series) for row in data.table if row.kind != "cell"))
    first = [
        name
        for name in names
        if any(row.kind == "line" and row.series == name for row in data.table)
    ]
    ink = mpl.rcParams["text.color"]
    found: dict[str, dict[str, Any]] = {name: {"color": ink, "linestyle": "-"} for name in names}
    for index, name in enumerate(name for name in first if name != "power method"):
        found[name] = {"color": COLOURS[index % 6], "linestyle": DASHES[index % 6]}
        if markers:
            found[name]["marker"] = MARKERS[index % 6]
    return found


def shared_legend(figure: Figure, panels: Sequence[Axes], *, columns: int) -> None:
    """One legend under all panels, where it covers nothing."""
    entries = legend_entries(panels)
    figure.legend(
        list(entries.values()),
        list(map(mathtext, entries)),
        loc="outside lower center",
        ncols=columns,
        handlelength=2.8,
    )


def legend_entries(panels: Sequence[Axes]) -> dict[str, Any]:
    """What the panels have labelled, each label once: words -> what is drawn."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return entries


def canvas(width: float, height: float) -> Figure:
    """An empty figure that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained")


def base_name(series: str) -> str:
    """The series that a paper's curve, a slope or a bound belongs to: what stands before " ("."""
    return series.partition(" (")[0]


def series_label(series: str) -> str:
    """A series in the words of the legend."""
    base, bracket, rest = series.partition(" (")
    return LABELS.get(base, base) + bracket + rest


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    """One column of the table, NaN where it is empty."""
    return np.array([np.nan if (value := getattr(row, name)) is None else value for row in rows])


def _every(count: int) -> int:
    return max(1, count // 12)
