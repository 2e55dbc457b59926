"""Text to a sheet: separator, decimal sign, comments, header, row names; pandas reads the cells.

What decides is said in docs/tables.md. The separator is the one of `, ; tab | blanks` under which
all lines have equally many cells, and among several the one under which most cells are numbers.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.predict.arrays import numbered
from eigenloop.predict.headers import FirstLine, judged
from eigenloop.predict.sheets import (
    THOUSANDS,
    Sheet,
    Trouble,
    column_of_cells,
    is_missing,
    number,
    shortened,
)
from eigenloop.system.errors import InputError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "blanks"}
PERHAPS_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
SAMPLE = 200
"""Lines that the separator is chosen on; all lines are then held to it."""


@dataclass(frozen=True)
class _Dialect:
    separator: str
    quote: str
    decimal: str = "."

    def records(self, lines: Sequence[str]) -> list[list[str]]:
        return [row for _, row in self.numbered_records(lines)]

    def numbered_records(self, lines: Sequence[str]) -> list[tuple[int, list[str]]]:
        """Each record, blanks around its cells gone, with the number of lines read after it."""
        reader = csv.reader(
            [line + "\n" for line in self.prepared(lines)],
            delimiter=self.separator,
            quotechar=self.quote,
            skipinitialspace=True,
        )
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader]

    def prepared(self, lines: Sequence[str]) -> list[str]:
        return (
            [line.strip().replace("\t", " ") for line in lines]
            if self.separator == " "
            else list(lines)
        )


def sheet_of_text(
    text: str, source: str, *, header: bool | None = None, chosen: Sequence[str] = ()
) -> Sheet:
    """Read a table of text.

    Args:
        text: the file's.
        source: its name, for messages.
        header: whether the first line names the columns; None: decided by what stands in it.
        chosen: names that options ask for; a first line that has one of them is a header.

    Raises:
        InputError: no table: lines of different length, a quote that is never closed, nothing but
            comments.
    """
    lines, where, separator, comments = _lines(text, source)
    dialect = _dialect(lines, separator)
    try:
        records = dialect.numbered_records(lines)
    except csv.Error as error:
        raise InputError(
            f"{source}: a cell cannot be read ({error}); is a quotation mark never closed?"
        ) from None
    title, comments = _title(comments, dialect, records)
    ends, rows = [end for end, _ in records], [row for _, row in records]
    begins = [where[begin] for begin in [0, *ends[:-1]]]
    shorter = _require_equal(
        rows, begins, source, dialect, lonely=title is not None or header is False
    )
    raw = len(rows[-1])
    # a separator at the end of each line
    if raw > 1 + shorter and all(row[-1] == "" for row in rows[shorter:]):
        rows, shorter = [row[: raw - 1] for row in rows], False
    dialect = _with_decimal(dialect, rows)
    begin = 0 if title is not None else 1
    first, body = title or rows[0], rows[begin:]
    body_lines = lines[ends[0] :] if begin else lines
    numbers, troubles = _numbers(body_lines, body, dialect, raw=raw, width=len(rows[-1]))
    sheet = _assembled(
        first,
        numbers,
        troubles,
        dialect,
        True if shorter or title is not None else header,
        chosen,
        body[:SAMPLE],
        quoted=_quoted(lines[: ends[0]], raw, dialect)
        and not _quoted(body_lines[:1], raw, dialect),
    )
    facts = [f"separated by {SEPARATORS.get(dialect.separator, repr(dialect.separator))}"]
    facts += ["decimal comma"] if dialect.decimal == "," else []
    return _finished(sheet, body if sheet.headed else [first, *body], facts, comments, dialect)


def _lines(text: str, source: str) -> tuple[list[str], list[int], str | None, list[str]]:
    """Lines that hold cells, their numbers, the separator of a line `sep=`, and the comments."""
    raw = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x1a", "").split("\n")
    separator = None
    found = re.fullmatch(r'"?sep=(.)"?', raw[0].strip("\ufeff ")) or re.fullmatch(
        r"sep=(\t)", raw[0]
    )
    if found is not None:
        separator = " " if found.group(1) == " " else found.group(1)
        raw[0] = ""
    lines, where, comments = [], [], []
    for i, line in enumerate(raw, 1):
        if not line.strip():
            continue
        if line.lstrip().startswith("#"):
            comments.append(line.lstrip().lstrip("#"))
            continue
        lines.append(line)
        where.append(i)
    if not lines:
        raise InputError(
            f"{source} holds nothing but comments (lines that begin with #)"
            if comments
            else f"{source} is empty; it must hold a table with samples in rows"
        )
    return lines, where, separator, comments


def _dialect(lines: list[str], separator: str | None) -> _Dialect:
    best, score = _Dialect(separator or ",", '"'), (-1.0, -1.0, -1)
    sample = lines[:SAMPLE]
    for candidate in [separator] if separator else SEPARATORS:
        single = re.match(rf"\s*'[^']*'\s*({re.escape(candidate)}|$)", lines[0])
        dialect = _Dialect(candidate, "'" if single else '"')
        try:
            records = dialect.records(sample)
        except csv.Error:
            continue
        widths = [len(row) for row in records]
        width = max(set(widths[1:] or widths), key=(widths[1:] or widths).count)
        if width < 2:
            continue
        equal = sum(w == width for w in widths[1:]) + (
            widths[0] == width or widths[0] == width - 1 > 1
        )
        cells = [cell for row in records[1:] or records for cell in row if not is_missing(cell)]
        numeric = sum(_is_number(cell, candidate) for cell in cells) / max(len(cells), 1)
        found = (equal / len(records), numeric, width)
        if found > score:
            best, score = dialect, found
    return best


def _is_number(cell: str, separator: str) -> bool:
    """Whether a cell speaks for a separator; 1.234,56 does too, which is refused later by its
    own name.
    """
    if number(cell) is not None:
        return True
    return separator != "," and (
        number(cell, ",") is not None or THOUSANDS.fullmatch(cell) is not None
    )


def _with_decimal(dialect: _Dialect, rows: list[list[str]]) -> _Dialect:
    """With a decimal comma where more cells are numbers with a comma than with a point.

    Where commas separate, a quoted "1,234" is one thousand and something, unless some cell can only
    be a decimal.
    """
    commas = [cell for row in rows for cell in row if "," in cell and number(cell, ",") is not None]
    if not commas:
        return dialect
    points = sum("." in cell and number(cell) is not None for row in rows for cell in row)
    sure = any(not PERHAPS_THOUSANDS.fullmatch(cell) for cell in commas)
    if len(commas) > points and (dialect.separator != "," or sure):
        return replace(dialect, decimal=",")
    return dialect


def _title(
    comments: list[str], dialect: _Dialect, records: list[tuple[int, list[str]]]
) -> tuple[list[str] | None, list[str]]:
    """A comment that names the columns, as `numpy.savetxt(header=...)` writes it, and the other
    comments.
    """
    width = len(records[-1][1])
    first = records[0][1]
    if width < 2 or not any(number(cell, dialect.decimal) is not None for cell in first):
        return None, comments
    for comment in reversed(comments):
        try:
            (cells,) = dialect.records([comment]) if comment.strip() else ([],)
        except (csv.Error, ValueError):
            continue
        if len(cells) == width and any(cells):
            return cells, [other for other in comments if other is not comment]
    return None, comments


def _require_equal(
    rows: list[list[str]], begins: list[int], source: str, dialect: _Dialect, *, lonely: bool
) -> bool:
    """Whether the first line has one cell less, as R writes a header over row names; all others
    must be equal.

    Args:
        rows: cells of all lines.
        begins: the number of each line.
        source: for messages.
        dialect: for messages.
        lonely: whether the first line is no header, so that it must have as many cells as the
            others.
    """
    width = Counter(len(row) for row in rows[1:] or rows).most_common(1)[0][0]
    shorter = not lonely and len(rows) > 1 and len(rows[0]) == width - 1 and width > 2
    bad = [i for i, row in enumerate(rows) if len(row) != width and not (shorter and i == 0)]
    if bad:
        like = next(i for i in range(len(rows) - 1, -1, -1) if len(rows[i]) == width)
        above = bad == list(range(len(bad))) and len(rows) - len(bad) > 1
        raise InputError(
            f"{source}: line {begins[bad[0]]} has {len(rows[bad[0]])} cell(s), but line"
            f" {begins[like]} has {width}, separated by"
            f" {SEPARATORS.get(dialect.separator, repr(dialect.separator))}; "
            + (
                f"remove what stands above line {begins[len(bad)]}, if the table begins there"
                if above
                else "make them equal"
            )
        )
    return shorter


def _numbers(
    lines: list[str], rows: list[list[str]], dialect: _Dialect, *, raw: int, width: int
) -> tuple[Float[np.ndarray, "n D"], dict[int, Trouble]]:
    """The body's cells as numbers, by pandas; columns that it leaves as text are read cell by
    cell.
    """
    import pandas as pd

    numbers, troubles = np.full((len(rows), width), np.nan), {}
    if not rows:
        return numbers, troubles
    missing = sorted(
        {cell for row in rows[:SAMPLE] for cell in row if is_missing(cell)}
        | {"", "NA", "nan", "NaN"}
    )
    # pandas splits it otherwise: odd quotes, a separator of many bytes
    try:
        frame: Any = pd.read_csv(
            io.BytesIO("\n".join(dialect.prepared(lines)).encode()),
            header=None,
            names=list(range(raw)),
            sep=r"\s+" if dialect.separator == " " else dialect.separator,
            quotechar=dialect.quote,
            decimal=dialect.decimal,
            na_values=missing,
            keep_default_na=False,
            skipinitialspace=True,
            index_col=False,
            engine="c",
            low_memory=False,
            float_precision="round_trip",
        )
        whole = frame.shape == (len(rows), raw)
    except (
        ValueError,
        OverflowError,
        Warning,
    ):
        whole, frame = False, None
    for j in range(width):
        kind = frame[j].dtype.kind if whole else "O"
        if kind in "iuf":
            numbers[:, j] = frame[j].to_numpy(np.float64)
        elif kind == "b":
            numbers[:, j] = frame[j].to_numpy(bool)
        else:
            numbers[:, j], trouble = column_of_cells([row[j] for row in rows], dialect.decimal)
            if trouble is not None:
                troubles[j] = trouble
    return numbers, troubles


def _quoted(lines: list[str], width: int, dialect: _Dialect) -> bool:
    """Whether every cell of a line (in several where a cell has some) stands in quotation marks."""
    return "\n".join(lines).count(dialect.quote) >= 2 * width


def _assembled(
    first: list[str],
    numbers: np.ndarray,
    troubles: dict[int, Trouble],
    dialect: _Dialect,
    header: bool | None,
    chosen: Sequence[str],
    sample: list[list[str]],
    *,
    quoted: bool,
) -> Sheet:
    """The sheet with or without its first line as a sample."""
    width, question = numbers.shape[1], ""
    index = (
        (0, "the header has one name less than the lines have cells")
        if len(first) < width
        else None
    )
    first = ["", *first] if index else first
    values = np.array([column_of_cells([cell], dialect.decimal)[0][0] for cell in first])
    headed = bool(header)
    if header is None:
        named = any(cell in chosen for cell in first if number(cell, dialect.decimal) is None)
        line = FirstLine(first, values, quoted, named)
        headed, question = judged(line, numbers, sample, frozenset(troubles))
    asked = values if question else None
    if headed:
        names = tuple(cell or f"column {j}" for j, cell in enumerate(first, 1))
        if index is None and first[0] == "" and all(first[1:]) and width > 2:
            index = (0, "it has no name")
        return Sheet(names, numbers, troubles, None, index, asked, True, question)
    below = {j: replace(trouble, row=trouble.row + 1) for j, trouble in troubles.items()}
    for j, cell in enumerate(first):
        _, trouble = column_of_cells([cell], dialect.decimal)
        if trouble is not None:
            below[j] = replace(trouble, numbers=int(np.sum(~np.isnan(numbers[:, j]))))
    return Sheet(
        numbered(width), np.vstack([values, numbers]), below, None, index, asked, False, question
    )


def _finished(
    sheet: Sheet, rows: list[list[str]], facts: list[str], comments: list[str], dialect: _Dialect
) -> Sheet:
    more = ", ..." * (len(sheet.names) > 3)
    header = f"header {', '.join(shortened(name, 20) for name in sheet.names[:3])}{more}"
    return replace(
        sheet,
        cell=lambda i, j: rows[i][j],
        thousands=_by_thousands(rows, sheet, dialect),
        facts=(*facts, header if sheet.headed else "no header"),
        left_out=(f"{len(comments)} comment line(s) beginning with #",) if comments else (),
    )


def _by_thousands(rows: list[list[str]], sheet: Sheet, dialect: _Dialect) -> np.ndarray | None:
    """The numbers if "1,234" is 1234, where every decimal comma may be a thousands separator."""
    if dialect.decimal != ",":
        return None
    with_comma = [(i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if "," in cell]
    if not all(PERHAPS_THOUSANDS.fullmatch(rows[i][j]) for i, j in with_comma):
        return None
    values = sheet.numbers.copy()
    for i, j in with_comma:
        values[i, j] *= 1000
    return values
