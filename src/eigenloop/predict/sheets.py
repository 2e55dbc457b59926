"""A file's contents before columns are chosen, whatever kind of file it was (NumPy, float64)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

MISSING = frozenset(
    (
        "",
        "na",
        "n/a",
        "#n/a",
        "#na",
        "#n/a n/a",
        "<na>",
        "nan",
        "-nan",
        "null",
        "none",
        "nil",
        "nat",
        "?",
        ".",
        "-",
        "--",
    )
)
"""Cells that stand for a missing value, in small letters: of pandas, R, SAS, spreadsheets and
the UCI archive.
"""

DATE = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([ T].*)?|\d{1,2}:\d{2}(:\d{2}.*)?|\d{4}[-:"
    r" ]?[QqMmWw]\d{1,2}|\d{4}-\d{1,2}|"
    r"([A-Za-z]{3,9}[ -]\d{1,2},?[ -]\d{2,4}|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4})("
    r" .*)?|[A-Z][a-z]{2,8}[ -]\d{2,4}"
)
THOUSANDS = re.compile(
    r"[+-]?\d{1,3}(?:([.,' \u00a0\u202f])\d{3}(?:\1\d{3})*)(?:[.,]\d+)?|[+-]?\d{1,3}(?:[.,]\d{3})+"
)

SEPARATED = "numbers with thousands separators"
"""The kind of a column with such a cell."""

NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True)
class Trouble:
    """Why a column is no column of numbers: its first cell that is none."""

    kind: str
    """text, dates, or numbers with thousands separators."""
    cell: str
    row: int
    """Counted from 1."""
    numbers: int
    """Cells of the column that are numbers."""

    def __str__(self) -> str:
        """As in "holds text ('x' in row 1)"."""
        return f"{self.kind} ({shortened(self.cell)!r} in row {self.row})"


@dataclass(frozen=True)
class Sheet:
    """Columns as they were found.

    Args:
        names: of all columns, in order.
        numbers: (n, D) float64; NaN where a cell is missing or no number.
        troubles: by position, the columns that are not of numbers.
        cell: what stands in row i, column j (from 0), for messages.
        index: position of a column that only names the rows, and why it is taken for that.
        first_line: the first line as numbers, where it may be a header and a sample as well.
        headed: whether that line was taken as a header; None where there is no such question.
        question: why it is one.
        thousands: numbers if commas separate thousands, where "1,234" may be 1.234 and 1234.
        facts: how it was read, for the line that says so.
        left_out: what was left out so far, for the same line.
    """

    names: tuple[str, ...]
    numbers: Float[np.ndarray, "n D"]
    troubles: Mapping[int, Trouble] = field(default_factory=dict)
    cell: Callable[[int, int], str] | None = None
    index: tuple[int, str] | None = None
    first_line: Float[np.ndarray, " D"] | None = None
    headed: bool | None = None
    question: str = ""
    thousands: Float[np.ndarray, "n D"] | None = None
    facts: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def number(cell: str, decimal: str = ".") -> float | None:
    """A cell's value; None where it is no number in this notation.

    Example:
        >>> number("1,5", ","), number(" -2e3 "), number("1_000"), number("1,5")
        (1.5, -2000.0, None, None)
    """
    cell = cell.strip()
    if decimal != ".":
        if "." in cell:
            return None
        cell = cell.replace(decimal, ".")
    return float(cell) if NUMBER.fullmatch(cell) else None


def is_missing(cell: str) -> bool:
    """Whether a cell stands for a missing value.

    Example:
        >>> is_missing(" NA "), is_missing("0")
        (True, False)
    """
    return cell.strip().lower() in MISSING


def column_of_cells(
    cells: list[str], decimal: str = "."
) -> tuple[Float[np.ndarray, " n"], Trouble | None]:
    """Values of a column of text, NaN where missing or no number, and what is wrong with it.

    True is 1 and false 0.

    Example:
        >>> column_of_cells(["1", "NA", "x"])
        (array([ 1., nan, nan]), Trouble(kind='text', cell='x', row=3, numbers=1))
    """
    values, bad = np.full(len(cells), np.nan), None
    small = [cell.strip().lower() for cell in cells]
    if {"true", "false"} & set(small) and all(
        cell in ("true", "false") or is_missing(cell) for cell in small
    ):
        return np.array([{"true": 1.0, "false": 0.0}.get(cell, np.nan) for cell in small]), None
    for i, cell in enumerate(cells):
        value = number(cell, decimal)
        if value is not None:
            values[i] = value
        elif bad is None and not is_missing(cell):
            bad = i
    if bad is None:
        return values, None
    return values, Trouble(
        _kind(cells[bad].strip()), cells[bad].strip(), bad + 1, int(np.sum(~np.isnan(values)))
    )


def shortened(text: str, most: int = 40) -> str:
    """A text for a message: in one line, cut where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]}..."


def _kind(cell: str) -> str:
    if DATE.fullmatch(cell):
        return "dates"
    return SEPARATED if THOUSANDS.fullmatch(cell) else "text"
