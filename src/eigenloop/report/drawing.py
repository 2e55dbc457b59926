"""How every drawing of the package looks, on a light and on a dark page, and its content as a
file (Matplotlib).
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from eigenloop.report.formulas import mathtext

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette without black and yellow: told apart by every eye, on white and on
dark.
"""
DASHES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), ":")
MARKERS = ("o", "s", "^", "D", "v", "P")

LIGHT: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.7,
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
    "svg.hashsalt": "eigenloop",
    "savefig.facecolor": "white",
}
_INK = "#d7dbe0"
DARK: dict[str, Any] = {
    **LIGHT,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#8b929c",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": "#aeb4bd",
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}

PNG_DPI = 150
_ON_DARK = ("#8cc8ff", "#2f7dbd", "#20262e", "#c04a1a", "#ffab7a")
"""From -1 over 0, little above the ground of a dark page, to 1."""


def diverging() -> Any:
    """The colours of a heat map from -1 to 1 for the look that is in force: 0 is near the ground
    of the page.
    """
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap

    if mpl.rcParams["text.color"] != _INK:
        return mpl.colormaps["RdBu_r"]
    return LinearSegmentedColormap.from_list("on dark", _ON_DARK)


@contextmanager
def in_look(look: dict[str, Any]) -> Iterator[None]:
    """Draw by Matplotlib's own defaults and a look, whatever a matplotlibrc, a notebook or a style
    has set.

    Args:
        look: `LIGHT` or `DARK`; settings are as before when the block ends.
    """
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(cast(Any, look))
        yield


def file_content(figure: Any, suffix: str, **options: Any) -> bytes:
    """A drawing as a file's content, without dates: the same drawing gives the same bytes.

    Args:
        figure: a `matplotlib.figure.Figure`, drawn with the active rcParams.
        suffix: "png", "pdf" or "svg".
        options: of `savefig`.
    """
    buffer = io.BytesIO()
    undated = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(buffer, format=suffix, dpi=PNG_DPI, metadata=undated[suffix], **options)
    return buffer.getvalue()


def both_looks(draw: Callable[[Any], None], size: tuple[float, float]) -> tuple[str, str]:
    """A drawing of one pair of axes as SVG text, light and dark, with a transparent ground and its
    legend below.

    Args:
        draw: draws into `matplotlib.axes.Axes`; called in each look.
        size: width and height in inches.
    """
    from matplotlib.figure import Figure

    looks = []
    for look in (LIGHT, DARK):
        with in_look(look):
            figure = Figure(figsize=size, layout="constrained")
            draw(figure.add_subplot(facecolor="none"))
            legend_below(figure)
            looks.append(file_content(figure, "svg", facecolor="none").decode())
    return looks[0], looks[1]


def positive(values: Any) -> np.ndarray:
    """What a logarithmic axis can show: NaN in place of what is not positive.

    Example:
        >>> positive([0.0, 2.0])
        array([nan,  2.])
    """
    array = np.asarray(values, dtype=float)
    return np.where(array > 0, array, np.nan)


def legend_below(figure: Any) -> None:
    """A legend under the axes, its formulas typeset, in as many columns, three at most, as fit the
    drawing's width.

    Args:
        figure: a `matplotlib.figure.Figure` in constrained layout, with everything labelled that it
            lists.
    """
    found = [axes.get_legend_handles_labels() for axes in figure.axes]
    handles = [handle for each, _ in found for handle in each]
    words = [mathtext(label) for _, each in found for label in each]
    for columns in range(min(3, len(words)), 0, -1):
        legend = figure.legend(
            handles, words, loc="outside lower center", ncols=columns, handlelength=2.8
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def label_logarithms(axes: Any) -> None:
    """Labels of logarithmic axes that never run into each other.

    Powers of ten over two decades and more, 2 and 5 as well over fewer, and a few plain numbers
    within a factor of 5.

    Args:
        axes: `matplotlib.axes.Axes`, with everything drawn that decides their limits.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if axis.get_scale() != "log":
            continue
        if high >= 100 * low:
            axis.set_minor_formatter(NullFormatter())
            continue
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(FuncFormatter(_two_or_five))
        if high < 5 * low:
            axis.set_major_locator(MaxNLocator(4))
            axis.set_minor_locator(NullLocator())


def _two_or_five(value: float, _: int | None) -> str:
    """A tick's label where its leading digit is 2 or 5."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""
