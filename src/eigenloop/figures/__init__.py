"""Figures 1 to 8 of arXiv 2606.00605: each one computed (budget -> data) and drawn (data -> Matplotlib), apart.

Example:
    >>> sorted(FIGURES)
    [1, 2, 3, 4, 5, 6, 7, 8]
"""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl

from eigenloop.errors import InputError
from eigenloop.figures import figure1, figure2, figure3, figure4, figure5, figure6, figure7, figure8
from eigenloop.figures.panels import DARK, LIGHT
from eigenloop.figures.running import Report, silent, train_all
from eigenloop.figures.settings import Budget
from eigenloop.figures.values import FigureData, Row, read_table
from eigenloop.runs import atomic_write, save_table
from eigenloop.training import TrainConfig

__all__ = [
    "FIGURES", "Budget", "FigureData", "Recipe", "Row", "compute", "draw", "prepare", "read_table", "runs", "save",
    "svg_pair",
]  # fmt: skip

PNG_DPI = 150


@dataclass(frozen=True)
class Recipe:
    """How one figure is made."""

    runs: Callable[[Budget], dict[str, TrainConfig]]
    compute: Callable[..., FigureData]
    draw: Callable[[FigureData], Any]


FIGURES: dict[int, Recipe] = {
    number: Recipe(module.runs, module.compute, module.draw)
    for number, module in enumerate((figure1, figure2, figure3, figure4, figure5, figure6, figure7, figure8), start=1)
}
"""The recipes by the paper's numbers."""


def runs(numbers: Iterable[int], budget: Budget) -> dict[str, TrainConfig]:
    """Every run that these figures need, once.

    Raises:
        InputError: a number that names no figure.
    """
    return {name: config for number in numbers for name, config in _recipe(number).runs(budget).items()}


def prepare(numbers: Iterable[int], budget: Budget, directory: Path, report: Report = silent) -> None:
    """Train what several figures need, each run once; `compute` then only reads."""
    train_all(runs(numbers, budget), directory, report)


def compute(number: int, budget: Budget, directory: Path, report: Report = silent) -> FigureData:
    """Compute a figure.

    Args:
        number: 1 to 8.
        budget: how much to train.
        directory: where the runs live, one folder each; finished ones are read, interrupted ones go on.
        report: told (run, progress).

    Returns:
        The figure's table, what the paper says and what this run shows.

    Raises:
        InputError: a number that names no figure, or a directory that cannot be used.
    """
    return _recipe(number).compute(budget, directory, report)


def draw(data: FigureData) -> Any:
    """Draw a figure on a light ground from its table alone; returns a `matplotlib.figure.Figure`."""
    return _drawn(data, LIGHT)


def save(data: FigureData, directory: Path) -> dict[str, Path]:
    """Write figureN.png, .pdf, .svg and .csv, each in one move; the same data give the same bytes.

    Returns:
        The four paths by suffix.

    Raises:
        InputError: the directory cannot be written to.
    """
    stem = Path(directory) / f"figure{data.number}"
    paths = {suffix: stem.with_suffix(f".{suffix}") for suffix in ("png", "pdf", "svg", "csv")}
    figure = _drawn(data, LIGHT)
    with mpl.rc_context(cast(Any, LIGHT)):
        for suffix in ("png", "pdf", "svg"):
            atomic_write(paths[suffix], _bytes(figure, suffix))
    save_table(paths["csv"], Row._fields, data.table)
    return paths


def svg_pair(data: FigureData) -> tuple[str, str]:
    """The drawing as SVG text for a light and for a dark page, both with a transparent ground."""
    found = []
    for look in (LIGHT, DARK):
        clear = {**look, "savefig.facecolor": "none", "axes.facecolor": "none"}
        figure = _drawn(data, clear)
        with mpl.rc_context(cast(Any, clear)):
            found.append(_bytes(figure, "svg").decode())
    return found[0], found[1]


def _drawn(data: FigureData, look: dict[str, Any]) -> Any:
    """The figure in one look, laid out once: every later save would solve the layout again."""
    with mpl.rc_context(cast(Any, look)):
        figure = _recipe(data.number).draw(data)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    return figure


def _bytes(figure: Any, suffix: str) -> bytes:
    """A file's content without dates."""
    buffer = io.BytesIO()
    undated = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(buffer, format=suffix, dpi=PNG_DPI, metadata=undated[suffix])
    return buffer.getvalue()


def _recipe(number: int) -> Recipe:
    if number not in FIGURES:
        raise InputError(f"--figure is {number}; the paper has figures 1 to 8 (1, 2, 3, 4, 5, 6, 7, 8)")
    return FIGURES[number]
