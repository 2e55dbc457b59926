"""A figure in pieces for a page: every panel a drawing of its own, so that they stack on a
phone, and their legend.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from eigenloop import report
from eigenloop.figures.panels import legend_entries
from eigenloop.report.drawing import DARK, LIGHT, diverging, file_content, in_look

EDGE = 0.03
"""Inches around a panel."""
SWATCH = (0.4, 0.15)
"""Inches of a drawing in the legend."""
SHADES = "entry / largest entry, from -1 to 1"


class Pieces(NamedTuple):
    """Rows of panels, and the legend that they share."""

    panels: tuple[tuple[report.Panel, ...], ...]
    key: tuple[report.Key, ...]


def pieces(light: Figure, dark: Figure) -> Pieces:
    """The panels of a drawing, each cut out of it.

    Args:
        light: laid out, for a light page; afterwards all but its last panel are hidden.
        dark: the same for a dark page.
    """
    bright, dim = (list(_panels(figure)) for figure in (light, dark))
    key = _key(bright, dim)
    rows: dict[int, list[report.Panel]] = {}
    for (row, first), (_, second) in zip(bright, dim, strict=True):
        title = str(first.get_label() or first.get_title())
        drawn = report.Panel(
            title, _cut(light, first, LIGHT), title, svg_dark=_cut(dark, second, DARK)
        )
        rows.setdefault(row, []).append(drawn)
    return Pieces(tuple(map(tuple, rows.values())), key)


def _panels(figure: Figure) -> Iterator[tuple[int, Axes]]:
    """The panels with their rows; a colour bar is none, nor is what has no axes."""
    for axes in figure.axes:
        place = axes.get_subplotspec()
        if place is not None and axes.axison and axes.get_label() != "<colorbar>":
            yield place.rowspan.start, axes


def _cut(figure: Figure, axes: Axes, look: dict[str, Any]) -> str:
    """One panel as SVG text, without its title and with the labels of its own axes."""
    for other in [*figure.axes, *figure.legends]:
        other.set_visible(other is axes)
    axes.set_title("")
    if axes.images:
        axes.set_ylabel("")  # a heat map's row, which its own title names
    axes.set_facecolor("none")
    axes.tick_params(labelleft=True, labelbottom=True)
    with in_look(look):
        box = axes.get_tightbbox()
        assert box is not None
        inches = Bbox(np.array(box) / figure.dpi).padded(EDGE)
        return file_content(figure, "svg", facecolor="none", bbox_inches=inches).decode()


def _key(bright: list[tuple[int, Axes]], dim: list[tuple[int, Axes]]) -> tuple[report.Key, ...]:
    """The shared legend: a small drawing of each line, marker, band and scale beside its words."""
    light, dark = (legend_entries([axes for _, axes in found]) for found in (bright, dim))
    entries = [
        report.Key(words, _swatch(_like(light[words]), LIGHT), _swatch(_like(dark[words]), DARK))
        for words in light
    ]
    if any(axes.images for _, axes in bright):
        entries.append(report.Key(SHADES, *(_swatch(_scale(look), look) for look in (LIGHT, DARK))))
    return tuple(entries)


def _like(drawn: Any) -> list[Any]:
    """A line with its marker in the middle, or a band, in the style of what is drawn."""
    if not isinstance(drawn, Line2D):
        return [Rectangle((0, 0.1), 1, 0.8, facecolor=drawn.get_facecolor()[0], linewidth=0)]
    line, marker = Line2D([], []), Line2D([], [])
    for artist in (line, marker):
        artist.update_from(drawn)
    line.set(xdata=[0.02, 0.98], ydata=[0.5, 0.5], marker="")
    marker.set(xdata=[0.5], ydata=[0.5], markevery=None)
    return [line, marker]


def _scale(look: dict[str, Any]) -> list[Any]:
    """The colours of the heat maps from -1 to 1."""
    with in_look(look):
        colours = diverging()(np.linspace(0, 1, 15))
    return [
        Rectangle((i / 15, 0), 1 / 15 + 0.01, 1, facecolor=to_hex(c), linewidth=0)
        for i, c in enumerate(colours)
    ]


def _swatch(artists: list[Any], look: dict[str, Any]) -> str:
    with in_look(look):
        figure = Figure(figsize=SWATCH)
        for artist in artists:
            artist.set(transform=figure.transFigure, clip_path=None, clip_box=None, clip_on=False)
            figure.add_artist(artist)
        return file_content(figure, "svg", facecolor="none").decode()
