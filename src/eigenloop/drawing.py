"""How every drawing of the package looks, on a light and on a dark page, and its content as a file (Matplotlib)."""

import io
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette without black and yellow: told apart by every eye, on white and on dark."""
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


def file_content(figure: Any, suffix: str, **options: Any) -> bytes:
    """A drawing as a file's content, without dates: the same drawing gives the same bytes.

    Args:
        figure: a `matplotlib.figure.Figure`, drawn in the look that is in force.
        suffix: "png", "pdf" or "svg".
        options: of `savefig`.
    """
    buffer = io.BytesIO()
    undated = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(buffer, format=suffix, dpi=PNG_DPI, metadata=undated[suffix], **options)
    return buffer.getvalue()
