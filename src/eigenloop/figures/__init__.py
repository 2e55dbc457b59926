"""Figures 1 to 8 of arXiv 2606.00605: each one computed (budget -> data) and drawn (data ->
Matplotlib), apart.

Example:
    >>> sorted(FIGURES)
    [1, 2, 3, 4, 5, 6, 7, 8]
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigenloop.figures import figure1, figure2, figure3, figure4, figure5, figure6, figure7, figure8
from eigenloop.figures.pieces import Pieces, pieces
from eigenloop.figures.running import require_budget, side_by_side, train_all
from eigenloop.figures.settings import Budget, Problem
from eigenloop.figures.values import FigureData, Row, read_table
from eigenloop.lab.config import TrainConfig
from eigenloop.report.drawing import DARK, LIGHT, file_content, in_look
from eigenloop.system.errors import InputError
from eigenloop.system.files import atomic_write, save_table
from eigenloop.system.progress import Progress, silent
from eigenloop.system.workers import gather, processes

__all__ = [
    "FIGURES", "Budget", "FigureData", "Pieces", "Problem", "Recipe", "Row", "compute", "draw",
    "file_names", "prepare", "read_table", "runs", "save", "save_all", "side_by_side",
]  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How one figure is made."""

    runs: Callable[[Budget], dict[str, TrainConfig]]
    compute: Callable[..., FigureData]
    draw: Callable[[FigureData], Any]


FIGURES: dict[int, Recipe] = {
    number: Recipe(module.runs, module.compute, module.draw)
    for number, module in enumerate(
        (figure1, figure2, figure3, figure4, figure5, figure6, figure7, figure8), start=1
    )
}
"""The recipes by the paper's numbers."""

SUFFIXES = ("png", "pdf", "svg")
"""The forms that a figure is saved in."""


def runs(numbers: Iterable[int], budget: Budget) -> dict[str, TrainConfig]:
    """Every run that these figures need, once.

    Raises:
        InputError: a number that names no figure, or one that the budget's problem does not have.
    """
    for number in numbers:
        if number not in budget.numbers and number in FIGURES:
            raise InputError(
                f"--figure {number} is not on the task {budget.problem and budget.problem.task}; "
                f"choose among {', '.join(map(str, budget.numbers))}"
            )
    return {
        name: config for number in numbers for name, config in _recipe(number).runs(budget).items()
    }


def prepare(
    numbers: Iterable[int],
    budget: Budget,
    directory: Path,
    progress: Progress = silent,
    *,
    workers: int = 1,
) -> None:
    """Train what several figures need, each run once, `workers` at a time; `compute` then only
    reads.

    Raises:
        InputError: as for `train_all`; the directory holds runs of another budget. Then nothing is
            trained.
    """
    configs = runs(numbers, budget)
    require_budget(configs, budget, directory)
    train_all(configs, directory, progress, workers=workers)


def compute(
    number: int, budget: Budget, directory: Path, progress: Progress = silent
) -> FigureData:
    """Compute a figure.

    Args:
        number: 1 to 8.
        budget: how much to train.
        directory: where the runs live, one folder each; finished ones are read, interrupted ones go
            on.
        progress: told the steps of each run.

    Returns:
        The figure's table, what the paper says and what this run shows.

    Raises:
        InputError: a number that names no figure, or a directory that cannot be used.
    """
    return _recipe(number).compute(budget, directory, progress)


def draw(data: FigureData) -> Any:
    """Draw a figure on a light ground from its table alone; returns a
    `matplotlib.figure.Figure`.
    """
    return _drawn(data, LIGHT)


def save(data: FigureData, directory: Path) -> Pieces:
    """Write figureN.png, .pdf, .svg and .csv, each in one move; the same data give the same bytes.

    Returns:
        The drawing's panels and legend for a page.

    Raises:
        InputError: the directory cannot be written to.
    """
    stem = Path(directory) / f"figure{data.number}"
    figure = _drawn(data, LIGHT)
    with in_look(LIGHT):
        for suffix in SUFFIXES:
            atomic_write(stem.with_suffix(f".{suffix}"), file_content(figure, suffix))
    save_table(stem.with_suffix(".csv"), Row._fields, data.table)
    return pieces(figure, _drawn(data, DARK))


def save_all(made: Iterable[FigureData], directory: Path, *, workers: int = 1) -> list[Pieces]:
    """`save` for several figures, in order; drawing takes seconds each, so `workers` processes
    share it.

    Raises:
        InputError: the directory cannot be written to.
    """
    if workers == 1:
        return [save(data, directory) for data in made]
    with processes(workers) as pool:
        futures = [pool.submit(save, data, directory) for data in made]
        gather(futures)
        return [future.result() for future in futures]


def file_names() -> tuple[str, ...]:
    """What a reproduction of all figures writes, without the runs."""
    figures = [f"figure{number}.{suffix}" for number in FIGURES for suffix in (*SUFFIXES, "csv")]
    return ("report.html", *figures)


def _drawn(data: FigureData, look: dict[str, Any]) -> Any:
    """The figure in one look, laid out once: every later save would solve the layout again."""
    with in_look(look):
        figure = _recipe(data.number).draw(data)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    return figure


def _recipe(number: int) -> Recipe:
    if number not in FIGURES:
        raise InputError(
            f"--figure is {number}; the paper has figures 1 to 8 (1, 2, 3, 4, 5, 6, 7, 8)"
        )
    return FIGURES[number]
