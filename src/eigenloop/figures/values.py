"""What a figure is before it is drawn: one tidy table and what may be said about it."""

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from eigenloop.figures.verdicts import Judgement
from eigenloop.lab.config import TrainConfig
from eigenloop.system.errors import InputError

Kind = Literal["line", "points", "reference", "theory", "band", "level", "mark", "cell"]


class Row(NamedTuple):
    """One thing that is drawn; None where a column has no meaning.

    Kinds: `line` (y at x, with low and high over seeds), `points` (the paper's), `reference` (a
    slope), `theory` (gradient descent on the population), `band` (low and high), `level`
    (horizontal, y), `mark` (vertical, x), `cell` (of a heatmap: column x, row y, value).
    """

    panel: str
    kind: str
    series: str
    x: float | None = None
    y: float | None = None
    low: float | None = None
    high: float | None = None
    value: float | None = None


@dataclass(frozen=True)
class FigureData:
    """A computed figure.

    Args:
        number: 1 to 8, as in the paper.
        title: what it shows.
        table: everything that is drawn, and nothing else.
        judgements: what the paper says of it, each sentence judged from the table.
        details: what this run measured besides, one statement each.
        command: the shell command that repeats it.
        settings: pairs (run, its settings).
    """

    number: int
    title: str
    table: tuple[Row, ...]
    judgements: tuple[Judgement, ...]
    details: tuple[str, ...]
    command: str
    settings: tuple[tuple[str, str], ...]

    @property
    def paper_says(self) -> str:
        """The paper's own sentences, with their places."""
        return " ".join(
            each.sentence.quote for each in self.judgements if each.sentence.whose == "stated"
        )

    @property
    def run_shows(self) -> str:
        """Each sentence's outcome with its numbers."""
        return " ".join(str(each) for each in self.judgements)

    def panel(self, name: str) -> list[Row]:
        """The rows of one panel."""
        return [row for row in self.table if row.panel == name]

    @property
    def panels(self) -> list[str]:
        """Panel names in order of appearance."""
        return list(dict.fromkeys(row.panel for row in self.table))

    def panel_names(self, ending: str) -> list[str]:
        """What stands before `ending` in the panels that end so, in order of appearance."""
        return [name.removesuffix(ending) for name in self.panels if name.endswith(ending)]


def curve(panel: str, series: str, x: Any, values: np.ndarray, *, kind: Kind = "line") -> list[Row]:
    """Rows of a line; `values` is (T,) or (T, K), and K > 1 seeds become the median with the range.

    Example:
        >>> curve("p", "s", [1], np.array([[1.0, 2.0, 4.0]]))[0].y
        2.0
    """
    values = np.asarray(values, np.float64)
    if values.ndim == 1 or values.shape[1] == 1:
        middle = values.reshape(len(values))
        return [
            Row(panel, kind, series, float(at), float(y)) for at, y in zip(x, middle, strict=True)
        ]
    stacked = zip(x, np.median(values, 1), values.min(1), values.max(1), strict=True)
    return [
        Row(panel, kind, series, float(at), float(y), float(low), float(high))
        for at, y, low, high in stacked
    ]


def band(panel: str, series: str, x: Any, low: np.ndarray, high: np.ndarray) -> list[Row]:
    """Rows of a filled region."""
    return [
        Row(panel, "band", series, float(at), None, float(below), float(above))
        for at, below, above in zip(x, low, high, strict=True)
    ]


def cells(panel: str, series: str, matrix: np.ndarray) -> list[Row]:
    """Rows of a heatmap, the matrix divided by its largest absolute entry (a zero matrix stays
    as it is).
    """
    matrix = np.asarray(matrix, np.float64)
    largest = abs(matrix).max()
    scaled = matrix / largest if largest > 0 else matrix
    return [
        Row(panel, "cell", series, float(column), float(row), value=float(scaled[row, column]))
        for row, column in np.ndindex(*scaled.shape)
    ]


def paper_points(figure: str, series: str) -> tuple[np.ndarray, np.ndarray]:
    """Points read off a curve of the paper, Task 1 (data/README.md).

    Example:
        >>> x, y = paper_points("2b", "ln_norm_test_loss")
        >>> float(x[0]), float(y[0])
        (10.0, 0.2918)
    """
    text = (resources.files("eigenloop") / "data" / "paper_curves_task1.csv").read_text()
    rows = [
        row
        for row in csv.DictReader(text.splitlines())
        if (row["figure"], row["series"]) == (figure, series)
    ]
    return np.array([float(row["x"]) for row in rows]), np.array([float(row["y"]) for row in rows])


def read_table(path: Path) -> tuple[Row, ...]:
    """Read a figure's CSV back.

    Raises:
        InputError: the file is missing or is no figure's table.
    """
    try:
        lines = list(csv.reader(path.read_text().splitlines()))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if (
        not lines
        or tuple(lines[0]) != Row._fields
        or any(line[1] not in get_args(Kind) for line in lines[1:])
    ):
        raise InputError(
            f"{path} is no figure's table; it must have the columns {', '.join(Row._fields)}"
        )
    return tuple(_row(line) for line in lines[1:])


def _row(line: list[str]) -> Row:
    panel, kind, series, *numbers = line
    x, y, low, high, value = (float(cell) if cell else None for cell in numbers)
    return Row(panel, kind, series, x, y, low, high, value)


def settings_of(configs: dict[str, TrainConfig]) -> tuple[tuple[str, str], ...]:
    """Pairs (run, its settings)."""
    from eigenloop.figures.settings import describe

    return tuple((name, describe(config)) for name, config in configs.items())
