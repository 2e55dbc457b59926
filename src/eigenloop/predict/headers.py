"""Whether the first line of a table of text names the columns, where it holds numbers (NumPy).

A line of numbers is taken as a header on two kinds of evidence, and as a sample with a question on
one. Evidence: it is evenly spaced (four numbers or more, and no other row is), or in order (rows
are exchangeable as far as a reader knows: if k of the n others are in order too, the first is so by
chance with probability (k + 1)/(n + 1), which must be at most `CHANCE`); it lies outside each
column's range by more than that range; its numbers are written otherwise than those below; it
stands in quotation marks.
"""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eigenloop.predict.sheets import is_missing

CHANCE = 0.05
WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


@dataclass(frozen=True)
class FirstLine:
    """The first line of a table of text.

    Args:
        cells: as written.
        values: (D,) their values; NaN for texts and missing cells.
        quoted: whether every cell stands in quotation marks.
        named: whether an option names one of its cells.
    """

    cells: list[str]
    values: Float[np.ndarray, " D"]
    quoted: bool = False
    named: bool = False

    @property
    def texts(self) -> list[int]:
        """Positions of the cells that hold text."""
        return [
            j
            for j, cell in enumerate(self.cells)
            if np.isnan(self.values[j]) and not is_missing(cell)
        ]

    @property
    def numbers(self) -> list[int]:
        """Positions of the cells that hold numbers."""
        return [int(j) for j in np.flatnonzero(~np.isnan(self.values))]

    def __str__(self) -> str:
        """The first of its numbers, for messages."""
        cells = [self.cells[j] for j in self.numbers]
        return ", ".join(cells[:3]) + ", ..." * (len(cells) > 3)


def judged(
    line: FirstLine,
    body: Float[np.ndarray, "n D"],
    written: list[list[str]],
    texts: AbstractSet[int],
) -> tuple[bool, str]:
    """Whether the first line is a header, and the question that remains ("" for none).

    Args:
        line: the first.
        body: the other lines; NaN for texts and missing cells.
        written: some of the other lines, as written.
        texts: positions of columns that hold text below the first line.
    """
    if not line.numbers:
        return bool(line.texts), ""
    among = f"the first line was read as column names although some are numbers ({line})"
    counting = is_counting([line.cells[j] for j in line.numbers])
    filled = (
        np.any(np.logical_not(np.isnan(body)), axis=0).tolist()
        if len(body)
        else [False] * len(line.cells)
    )
    if line.named or any(filled[j] and j not in texts for j in line.texts):
        return True, "" if line.named else among
    # over row names
    if line.cells[0] == "" and len(body) and (0 in texts or not np.isnan(body[:, 0]).any()):
        return True, "" if counting else among
    if counting and len(line.numbers) == len(line.cells):
        whole = not any(_is_fraction(cell) for row in written for cell in row)
        if len(body) < 2 or (len(line.cells) < 3 and whole):
            return False, f"the first line ({line}) counts the columns and was read as a sample"
        return (
            True,
            f"the first line ({line}) counts the columns and was read as a header" if whole else "",
        )
    columns = line.numbers
    # infinite entries, and differences beyond float64
    with np.errstate(over="ignore", invalid="ignore"):
        evidence = _evidence(line, body[:, columns], [[row[j] for j in columns] for row in written])
    if not evidence:
        return False, ""
    headed = len(body) >= 2 and len(evidence) > (0 if line.texts else 1)
    because = "because" if headed else "although"
    return (
        headed,
        (
            f"the first line holds numbers ({line}) and was read as a"
            f" {'header' if headed else 'sample'}, {because} {' and '.join(evidence)}"
        ),
    )


def is_counting(cells: list[str]) -> bool:
    """Whether cells are 0, 1, 2, ... or 1, 2, 3, ..., as written where columns have no names.

    Example:
        >>> is_counting(["0", "1", "2"]), is_counting(["1", "2"]), is_counting(["2", "3"])
        (True, True, False)
    """
    return len(cells) > 1 and any(
        cells == [str(j) for j in range(start, start + len(cells))] for start in (0, 1)
    )


def _evidence(
    line: FirstLine, rows: Float[np.ndarray, "n c"], written: list[list[str]]
) -> list[str]:
    """What speaks for a header, each in words."""
    head, (n, d), found = line.values[line.numbers], rows.shape, []
    if n < 1 or d < 2:
        return []
    if d >= 4 and _evenly_spaced(head[None])[0] and not _evenly_spaced(rows).any():
        found += ["they are evenly spaced"]
    elif d >= 3 and _ordered(head[None])[0] and (1 + _ordered(rows).sum()) / (n + 1) <= CHANCE:
        found += ["they are in order, as few rows are"]
    there = ~np.isnan(rows)
    low = np.where(there, rows, np.inf).min(axis=0)
    high = np.where(there, rows, -np.inf).max(axis=0)
    spread = high - low
    if n >= 3 and np.all((head < low - spread) | (head > high + spread)):
        found += ["they lie outside the range of every column"]
    whole = [WHOLE.fullmatch(line.cells[j]) is not None for j in line.numbers]
    fractions = np.array([[_is_fraction(cell) for cell in row] for row in written])
    if len(fractions) >= 3:
        if all(whole) and fractions.any(axis=1).all() and np.all(fractions.mean(axis=0) > 0.5):
            found += ["they are whole numbers, as the rows below are not"]
        elif not any(whole) and not fractions.any():
            found += ["they have decimals, as the rows below have not"]
    if line.quoted:
        found += ["they stand in quotation marks", "the rows below do not"]
    return found


def _is_fraction(cell: str) -> bool:
    return not WHOLE.fullmatch(cell) and not is_missing(cell)


def _evenly_spaced(rows: np.ndarray) -> np.ndarray:
    steps = np.diff(rows, axis=1)
    mean = steps.mean(axis=1, keepdims=True)
    return (np.abs(steps - mean).max(axis=1) <= 1e-3 * np.abs(mean[:, 0])) & (mean[:, 0] != 0)


def _ordered(rows: np.ndarray) -> np.ndarray:
    steps = np.diff(rows, axis=1)
    return np.all(steps > 0, axis=1) | np.all(steps < 0, axis=1)
