"""Whether the first line of a table of text names the columns, where it holds numbers (NumPy).

A line of numbers is taken as a header on two kinds of evidence, and as a sample with a question on one. Evidence: it is
evenly spaced (four numbers or more, and no other row is), or in order (rows are exchangeable as far as a reader knows:
if k of the n others are in order too, the first is so by chance with probability (k + 1)/(n + 1), which must be at
most `CHANCE`); it lies outside each column's range by more than that range; its numbers are written otherwise than
those below; it stands in quotation marks.
"""

import re
from collections.abc import Set as AbstractSet

import numpy as np
from jaxtyping import Float

CHANCE = 0.05


def judged(
    first: list[str], values: Float[np.ndarray, " D"], body: Float[np.ndarray, "n D"], texts: AbstractSet[int], *,
    decimal: str, quoted: bool, named: bool,
) -> tuple[bool, str]:  # fmt: skip
    """Whether the first line is a header, and the question that remains ("" for none).

    Args:
        first: its cells.
        values: their values; NaN for texts and missing cells.
        body: the other lines; NaN alike.
        texts: positions of columns that hold text below the first line.
        decimal: the decimal sign.
        quoted: whether all its cells stand in quotation marks.
        named: whether an option names one of its cells.
    """
    is_text = np.array([cell != "" and value != value for cell, value in zip(first, values, strict=True)])
    is_number = ~np.isnan(values)
    if not is_number.any():
        return bool(is_text.any()), ""
    shown = _shown(first, is_number)
    filled = ~np.isnan(body).all(axis=0) if len(body) else np.zeros(len(first), dtype=bool)
    proven = named or any(is_text[j] and filled[j] and j not in texts for j in range(len(first)))
    if proven or (first[0] == "" and len(body) and not np.isnan(body[:, 0]).any()):
        if not named and is_counting([cell for cell, there in zip(first, is_number, strict=True) if there]):
            return True, "" if not is_text.any() else _among(shown)
        return True, "" if named else _among(shown)
    columns = np.flatnonzero(is_number)
    head, below = values[columns], body[:, columns]
    complete = below[~np.isnan(below).any(axis=1)]
    written = [first[j] for j in columns]
    if is_counting(written) and len(columns) == len(first):
        whole = bool(np.all(complete == np.rint(complete)))
        question = f"the first line ({shown}) counts the columns"
        if len(complete) < 2 or (len(first) < 3 and whole):
            return False, f"{question} and was read as a sample"
        return True, f"{question} and was read as a header" if whole else ""
    evidence = _evidence(written, head, complete, decimal=decimal, quoted=quoted)
    if not evidence:
        return False, ""
    headed = len(evidence) > 1 and len(complete) >= 2
    return headed, (
        f"the first line holds numbers ({shown}) and was read as a {'header' if headed else 'sample'}, "
        f"because {' and '.join(evidence)}" if headed else
        f"the first line holds numbers ({shown}) and was read as a sample, although {' and '.join(evidence)}"
    )  # fmt: skip


def is_counting(cells: list[str]) -> bool:
    """Whether cells are 0, 1, 2, ... or 1, 2, 3, ..., as written where columns have no names.

    Example:
        >>> is_counting(["0", "1", "2"]), is_counting(["1", "2"]), is_counting(["2", "3"])
        (True, True, False)
    """
    return len(cells) > 1 and any(cells == [str(j) for j in range(start, start + len(cells))] for start in (0, 1))


def _among(shown: str) -> str:
    return f"the first line was read as column names although some are numbers ({shown})"


def _evidence(written: list[str], head: np.ndarray, rows: np.ndarray, *, decimal: str, quoted: bool) -> list[str]:
    """What speaks for a header, each in words; the first of them weighs double where no row shares it by chance."""
    n, d = rows.shape
    if n < 1 or d < 2:
        return []
    found = []
    even, likewise = _evenly_spaced(head[None])[0], _evenly_spaced(rows)
    if d >= 4 and even and not likewise.any():
        found += ["they are evenly spaced"]
    elif d >= 3 and _ordered(head[None])[0] and (1 + _ordered(rows).sum()) / (n + 1) <= CHANCE:
        found += ["they are in order, as few rows are"]
    low, high = rows.min(axis=0), rows.max(axis=0)
    spread = high - low
    if n >= 3 and np.all((head < low - spread) | (head > high + spread)):
        found += ["they lie outside the range of every column"]
    whole = [re.fullmatch(r"[+-]?\d+", cell) is not None for cell in written]
    fractions = rows != np.rint(rows)
    if all(whole) and n >= 3 and fractions.any(axis=1).all() and np.all(fractions.mean(axis=0) > 0.5):
        found += ["they are whole numbers, as the rows below are not"]
    elif not any(whole) and n >= 3 and not fractions.any() and any(decimal in cell for cell in written):
        found += ["they have decimals, as the rows below have not"]
    if quoted:
        found += ["they stand in quotation marks", "the rows below do not"]
    return found


def _evenly_spaced(rows: np.ndarray) -> np.ndarray:
    steps = np.diff(rows, axis=1)
    mean = steps.mean(axis=1, keepdims=True)
    return (np.abs(steps - mean).max(axis=1) <= 1e-3 * np.abs(mean[:, 0])) & (mean[:, 0] != 0)


def _ordered(rows: np.ndarray) -> np.ndarray:
    steps = np.diff(rows, axis=1)
    return np.all(steps > 0, axis=1) | np.all(steps < 0, axis=1)


def _shown(first: list[str], is_number: np.ndarray) -> str:
    cells = [cell for cell, there in zip(first, is_number, strict=True) if there]
    return ", ".join(cells[:3]) + ", ..." * (len(cells) > 3)
