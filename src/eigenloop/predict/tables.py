"""Tables at the edge: text, NumPy files, Parquet and scikit-learn's bundled data sets, rows =
samples (float64).

What is read and what is refused is described in docs/tables.md. Here: the kinds of files, and which
columns and rows of a sheet make the table. `eigenloop.predict.dialects` reads text,
`eigenloop.predict.doubts` says what may have been meant otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from eigenloop.predict.arrays import (
    sheet_of_array,
    sheet_of_npy,
    sheet_of_npz,
    sheet_of_parquet,
    suffix_of,
)
from eigenloop.predict.dialects import sheet_of_text
from eigenloop.predict.doubts import Doubt, doubts_of, is_row_number
from eigenloop.predict.files import PACKED, SHARE, SUFFIXES, TEXT, decoded, opened
from eigenloop.predict.sheets import SEPARATED, Sheet, shortened
from eigenloop.system.errors import InputError
from eigenloop.system.memory import require_memory

DATASETS = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
"""Names of the tables that scikit-learn ships; only their features are read, never their
targets.
"""

GIVE = "give a .csv, .tsv, .txt, .npy, .npz or .parquet file (text also as .gz or .zip)"


@dataclass(frozen=True)
class Table:
    """A checked table.

    Args:
        rows: (n, d) float64, finite, n >= 2 samples, d >= 2 features.
        names: d column names.
        source: the name or path it was read from.
        about: what was read and what was left out, in one line.
        notes: what else a reader should know, one sentence each.
        doubts: what may have been meant otherwise; `eigenloop.predict.doubts.warnings` words them.
    """

    rows: Float[np.ndarray, "n d"]
    names: tuple[str, ...]
    source: str
    about: str = ""
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How a table is to be read: the options of `eigenloop predict` of the same names.

    Args:
        header: whether the first line names the columns; None: decided by what stands in it.
        index_column: a column that names the rows: its name or its position from 1.
        columns: names or positions, and ranges of positions as 2-5, separated by commas: only these
            are read, in order.
        drop: the same, left out.
        missing: "error" refuses a missing value, "drop" leaves its row out.
        key: which array of an .npz file, or which file of a .zip archive; not needed where it holds
            only one.

    Example:
        >>> read_table("iris", Reading(columns="1,3-4")).names
        ('sepal length (cm)', 'petal length (cm)', 'petal width (cm)')
    """

    header: bool | None = None
    index_column: str | None = None
    columns: str | None = None
    drop: str | None = None
    missing: Literal["error", "drop"] = "error"
    key: str | None = None

    @property
    def selecting(self) -> list[str]:
        """Those of these options that were given and leave columns out.

        Example:
            >>> Reading(columns="a").selecting
            ['--columns']
        """
        given = {
            "--index-column": self.index_column,
            "--columns": self.columns,
            "--drop": self.drop,
        }
        return [name for name, text in given.items() if text is not None]

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names that these options may hold."""
        given = [text for text in (self.index_column, self.columns, self.drop) if text is not None]
        return tuple(part for text in given for part in (text, *_parts(text)))


def read_table(
    source: str | Path, reading: Reading | None = None, *, key: str | None = None
) -> Table:
    """Read and check a table whose rows are samples.

    A name of `DATASETS` stands for scikit-learn's table (write ./digits for a file of that name).

    Args:
        source: a path, or a name of `DATASETS`.
        reading: how; by default everything is decided by what stands in the file.
        key: short for `Reading(key=...)`.

    Raises:
        InputError: nothing there, not a table of finite real numbers, or fewer than 2 rows or 2
            columns.

    Example:
        >>> read_table("iris").rows.shape
        (150, 4)
    """
    reading = reading or Reading(key=key)
    path, shown = Path(source), str(source)
    if not shown or "\x00" in shown:
        raise InputError(f"no table was named; {GIVE} or one of {', '.join(DATASETS)}")
    if reading.key is not None and path.suffix.lower() not in (".npz", ".zip"):
        raise InputError(
            f"--key is {reading.key!r}, but {shown} is no .npz or .zip file; leave --key out"
        )
    if shown in DATASETS:
        return _table(_bundled(shown), shown, reading)
    try:
        if path.is_dir():
            raise InputError(f"{shown} is a directory; give a table in it")
        if not path.exists():
            if path.suffix or path.name != shown:
                raise InputError(f"{shown} does not exist; {GIVE} or one of {', '.join(DATASETS)}")
            raise InputError(
                f"unknown data set {shown!r}; the known ones are {', '.join(DATASETS)} (or give a"
                " file)"
            )
        if path.suffix.lower() not in (*SUFFIXES, *PACKED, ""):
            raise InputError(f"{shown} ends in {path.suffix}; {GIVE}")
        if path.stat().st_size == 0:
            raise InputError(f"{shown} is empty; it must hold a table with samples in rows")
        return _table(_sheet(path, shown, reading), shown, reading)
    except OSError as error:
        raise InputError(f"cannot read {shown}: {error.strerror or error}") from None


def _bundled(name: str) -> Sheet:
    from sklearn import datasets

    bunch: Any = getattr(datasets, f"load_{name}")()
    return sheet_of_array(bunch.data, name, tuple(str(column) for column in bunch.feature_names))


def _sheet(path: Path, shown: str, reading: Reading) -> Sheet:
    name, file, unpacked = opened(path, reading.key)
    with file:
        suffix = suffix_of(name)
        if suffix == ".npy":
            sheet = sheet_of_npy(file, shown)
        elif suffix == ".npz":
            sheet = sheet_of_npz(
                file, shown, reading.key if path.suffix.lower() == ".npz" else None
            )
        elif suffix == ".parquet":
            sheet = sheet_of_parquet(file, shown)
        elif suffix in (*TEXT, ""):
            require_memory(
                SHARE * path.stat().st_size,
                f"{shown} as a table",
                "cut it into parts or save it as .npy",
            )
            text, encoding = decoded(file.read(), shown)
            sheet = sheet_of_text(text, shown, header=reading.header, chosen=reading.chosen)
            if encoding == "Windows-1252":
                said = f"{shown} is not UTF-8; the names of its columns were read as Windows-1252"
                sheet = replace(sheet, notes=(*sheet.notes, said))
            unpacked += [encoding] * bool(encoding)
        else:
            raise InputError(f"{shown} holds {name}; {GIVE}")
    if suffix in (".npy", ".npz", ".parquet") and reading.header is not None:
        raise InputError(
            f"--header and --no-header are for text, but {shown} holds a {suffix} file; leave"
            " them out"
        )
    return replace(sheet, facts=(*unpacked, *sheet.facts))


def _table(sheet: Sheet, source: str, reading: Reading) -> Table:
    """The columns that were chosen, of numbers; the rows that are whole."""
    kept, left = _kept(sheet, source, reading)
    _require_numbers(sheet, kept, source, reading)
    everything = sheet.numbers[:, kept]
    names = tuple(sheet.names[j] for j in kept)
    holes = np.isnan(everything)
    whole = np.logical_not(holes.any(axis=1))
    if not whole.all():
        if reading.missing == "error":
            raise _missing(sheet, kept, holes, source)
        left.append(f"{int(np.sum(~whole))} row(s) with missing values")
    rows = everything[whole]
    n, d = rows.shape
    if n < 2:
        after = f" without missing values, of {len(whole)}" if not whole.all() else ""
        raise InputError(f"{source} has {n} row(s){after}; at least 2 samples are needed")
    bad = np.argwhere(~np.isfinite(rows))
    if bad.size:
        i, j = int(np.flatnonzero(whole)[bad[0][0]]), int(bad[0][1])
        raise InputError(
            f"{source}: row {i + 1}, column {_shown(names[j], kept[j])} is {everything[i, j]}; "
            "remove or replace it"
        )
    facts = [
        f"{n:,} rows x {d:,} columns",
        *sheet.facts,
        f"left out: {'; '.join(left) or 'nothing'}",
    ]
    doubts = doubts_of(sheet, kept, whole, asked=reading.columns is not None)
    return Table(rows, names, source, f"{source}: {', '.join(facts)}", sheet.notes, doubts)


def _kept(sheet: Sheet, source: str, reading: Reading) -> tuple[list[int], list[str]]:
    """Positions of the table's columns, and what was left out, each with its reason."""
    left = list(sheet.left_out)
    out: list[int] = []
    if reading.index_column is not None:
        out = _positions(reading.index_column, sheet, source, "--index-column")
        if len(out) != 1:
            raise InputError(f"--index-column is {reading.index_column!r}; give one column")
        left.append(f"column {sheet.names[out[0]]!r} (--index-column)")
    if reading.columns is not None:
        kept = _positions(reading.columns, sheet, source, "--columns")
        left += [f"{len(sheet.names) - len(set(kept) | set(out))} column(s) (not in --columns)"]
    else:
        kept = list(range(len(sheet.names)))
        guessed = _index(sheet) if reading.index_column is None else None
        if guessed is not None:
            left.append(
                f"column {guessed[0] + 1} as row names, because {guessed[1]} (--columns keeps it)"
            )
            out.append(guessed[0])
    if reading.drop is not None:
        dropped = _positions(reading.drop, sheet, source, "--drop")
        left.append(f"{len(dropped)} column(s) (--drop)")
        out += dropped
    return [j for j in kept if j not in out], left


def _index(sheet: Sheet) -> tuple[int, str] | None:
    if sheet.index is not None:
        return sheet.index
    if (
        sheet.headed
        and len(sheet.names) > 2
        and 0 not in sheet.troubles
        and is_row_number(sheet.names[0], sheet.numbers[:, 0])
    ):
        return 0, f"it is called {sheet.names[0]!r} and counts the rows"
    return None


def _require_numbers(sheet: Sheet, kept: Sequence[int], source: str, reading: Reading) -> None:
    bad = [j for j in kept if j in sheet.troubles]
    good = [j for j in kept if j not in sheet.troubles]
    if not bad:
        there = len(sheet.names) - len(sheet.troubles)
        if len(kept) < 2 <= there and reading.selecting:
            raise InputError(
                f"{source} has {there} columns of numbers, but with"
                f" {' and '.join(reading.selecting)} {len(kept)} feature(s) are left; at least 2"
                " are needed"
            )
        if len(kept) < 2:
            raise InputError(
                f"{source} has {len(kept)} feature(s) of numbers; at least 2 are needed"
            )
        return
    said = [f"column {_shown(sheet.names[j], j)} holds {sheet.troubles[j]}" for j in bad[:2]]
    said += [f"{len(bad) - 2} more column(s) hold no numbers"] if len(bad) > 2 else []
    first, n = sheet.troubles[bad[0]], len(sheet.numbers)
    if all(sheet.troubles[j].row == 1 and sheet.troubles[j].numbers == n - 1 > 0 for j in bad):
        remedy = "row 1 seems to be a second header line: remove it"
        if sheet.headed is False:
            given = reading.header is False
            remedy = (
                "row 1 seems to be the header:"
                f" {'leave out --no-header' if given else 'give --header'}"
            )
    elif "\n" in first.cell:
        remedy = "a quotation mark seems to be never closed: close it"
    elif len(good) < 2 and all(sheet.troubles[j].kind == SEPARATED for j in bad):
        remedy = "write such numbers without them"
    elif len(good) < 2:
        remedy = f"only {len(good)} column(s) hold numbers, and at least 2 are needed"
    else:
        remedy = "correct it, or " if len(bad) == 1 and 2 * first.numbers >= n else ""
        remedy += (
            f"leave {'it' if len(bad) == 1 else 'them'} out with --drop {_listed(sheet, bad)}, or"
            " choose with "
        )
        remedy += f"--columns {_listed(sheet, good)}"
    raise InputError(f"{source}: {', '.join(said)}; {remedy}")


def _missing(sheet: Sheet, kept: Sequence[int], holes: np.ndarray, source: str) -> InputError:
    j = int(np.flatnonzero(holes.any(axis=0))[0])
    i = int(np.flatnonzero(holes[:, j])[0])
    cell = sheet.cell(i, kept[j]).strip() if sheet.cell is not None else "nan"
    n = int(holes.any(axis=1).sum())
    some = (
        f"leave out the {n} of {len(holes)} row(s) with missing values with --missing drop, or the"
        " column with --drop"
    )
    return InputError(
        f"{source}: row {i + 1}, column {_shown(sheet.names[kept[j]], kept[j])} is"
        f" {cell or 'empty'}; fill it in, or "
        + (some if n + 2 <= len(holes) else "leave the column out with --drop")
    )


def _shown(name: str, j: int) -> str:
    return name if name == str(j + 1) else repr(shortened(name))


def _listed(sheet: Sheet, positions: Sequence[int]) -> str:
    """Columns as an option takes them: names where they are plain and few, else positions in
    ranges.
    """
    names = [sheet.names[j] for j in positions]
    plain = [
        name.isidentifier() or name == str(j + 1) for name, j in zip(names, positions, strict=True)
    ]
    if len(names) <= 8 and all(plain) and all(sheet.names.count(name) == 1 for name in names):
        return ",".join(names)
    runs: list[list[int]] = []
    for j in positions:
        if runs and runs[-1][-1] == j - 1:
            runs[-1].append(j)
        else:
            runs.append([j])
    parts = [str(run[0] + 1) if len(run) == 1 else f"{run[0] + 1}-{run[-1] + 1}" for run in runs]
    return ",".join(parts[:20]) + ",..." * (len(parts) > 20)


def _positions(text: str, sheet: Sheet, source: str, option: str) -> list[int]:
    """Positions (from 0) of the columns that an option names, each once, in its order."""
    found: list[int] = []
    for part in [text] if text in sheet.names else _parts(text):
        here = [j for j, name in enumerate(sheet.names) if name == part]
        if len(here) > 1:
            places = [
                str(j + 1) if str(j + 1) not in sheet.names else f"{j + 1}-{j + 1}" for j in here
            ]
            raise InputError(
                f"{option}: {source} has {len(here)} columns named {shortened(part)!r}; give"
                f" positions instead, of {', '.join(places[:20])}{', ...' * (len(places) > 20)}"
            )
        if not here:
            begin, _, end = part.partition("-")
            if begin.isdecimal() and (end.isdecimal() or (not end and "-" not in part)):
                first, last = int(begin), int(end or begin)
                if 1 <= first <= last <= len(sheet.names):
                    here = list(range(first - 1, last))
        if not here:
            known = ", ".join(shortened(name) for name in sheet.names[:10]) + ", ..." * (
                len(sheet.names) > 10
            )
            raise InputError(
                f"{option}: {source} has no column {part!r}; it has {known} (or positions, 1 to"
                f" {len(sheet.names)})"
            )
        found += [j for j in here if j not in found]
    if not found:
        raise InputError(f"{option} is {text!r} and names no column")
    return found


def _parts(text: str) -> list[str]:
    """Names separated by commas; one with commas stands in quotation marks."""
    import csv

    try:
        rows = list(csv.reader([text], skipinitialspace=True))
    except csv.Error:
        return [text]
    return [part.strip() for row in rows for part in row if part.strip()]
