"""Tables at the edge: CSV, .npy, .npz and scikit-learn's bundled data sets, rows = samples (NumPy, float64)."""

import csv
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.system.errors import InputError

DATASETS = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
"""Names of the tables that scikit-learn ships; only their features are read, never their targets."""


@dataclass(frozen=True)
class Table:
    """A checked table.

    Args:
        rows: (n, d) float64, finite, n >= 2 samples, d >= 2 features.
        names: d column names.
        source: the name or path it was read from.
        notes: what a reader may have meant otherwise, one sentence each.
    """

    rows: Float[np.ndarray, "n d"]
    names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()


def read_table(source: str | Path, *, key: str | None = None) -> Table:
    """Read and check a table whose rows are samples.

    A name of `DATASETS` stands for scikit-learn's table (write ./digits for a file of that name). A text file may be
    separated by commas, semicolons or tabs; its first line is a header when none of its cells is a number.

    Args:
        source: a path that ends in .csv, .tsv, .txt, .npy or .npz, or a name of `DATASETS`.
        key: which array of an .npz file; not needed where it holds only one.

    Raises:
        InputError: nothing there, not a table of finite real numbers, or fewer than 2 rows or 2 columns.

    Example:
        >>> read_table("iris").rows.shape
        (150, 4)
    """
    path, shown = Path(source), str(source)
    if not shown:
        raise InputError(f"no table was named; give a .csv, .npy or .npz file or one of {', '.join(DATASETS)}")
    if key is not None and path.suffix.lower() != ".npz":
        raise InputError(f"--key is {key!r}, but {shown} is no .npz file; leave --key out")
    if shown in DATASETS:
        return _bundled(shown)
    if path.is_dir():
        raise InputError(f"{shown} is a directory; give a .csv, .npy or .npz file in it")
    if not path.exists():
        if path.suffix or path.name != shown:
            raise InputError(f"{shown} does not exist; give a .csv, .npy or .npz file or one of {', '.join(DATASETS)}")
        raise InputError(f"unknown data set {shown!r}; the known ones are {', '.join(DATASETS)} (or give a file)")
    readers = {".csv": _text, ".tsv": _text, ".txt": _text, ".npy": _npy, ".npz": _npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{shown} ends in {path.suffix or 'no suffix'}; give a .csv, .tsv, .txt, .npy or .npz file")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{shown} is empty; it must hold a table with samples in rows")
        values, names, *notes = reader(path, key)
    except OSError as error:
        raise InputError(f"cannot read {shown}: {error.strerror or error}") from None
    return _checked(values, names, shown, tuple(notes))


def _bundled(name: str) -> Table:
    from sklearn import datasets

    bunch: Any = getattr(datasets, f"load_{name}")()
    return _checked(bunch.data, tuple(str(column) for column in bunch.feature_names), name)


def _text(path: Path, key: str | None) -> tuple[Any, ...]:
    """Values, names, and notes."""
    del key
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count))
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as a UTF-8 CSV file") from None
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV file ({error}); save it as comma-separated text") from None
    if not lines:
        raise InputError(f"{path} is empty; it must hold a table with samples in rows")
    line, head = lines[0]
    width = len(head)
    for number, cells in lines:
        if len(cells) != width:
            raise InputError(
                f"{path}: line {number} has {len(cells)} cell(s), but line {line} has {width}; make them equal"
            )
    named = not any(_is_number(cell) for cell in head)
    names = tuple(cell or f"column {i}" for i, cell in enumerate(head, 1)) if named else _numbered(width)
    rows = [cells for _, cells in (lines[1:] if named else lines)]
    for j in range(width):
        for i, cells in enumerate(rows, 1):
            if cells[j] == "":
                raise InputError(f"{path}: row {i}, column {names[j]!r} is empty; fill it in or remove the row")
            if not _is_number(cells[j]):
                raise InputError(
                    f"{path}: column {names[j]!r} holds text ({cells[j]!r} in row {i}); remove it or make it numbers"
                )
    notes = []
    if not named and _counts(head):
        notes.append(
            f"{path}: the first line ({', '.join(head[:3])}, ...) counts the columns and was read as a sample; "
            "if it is a header, give the columns names"
        )
    if named and head[0] == "":
        notes.append(
            f"{path}: the first column has no name and was read as a feature; if it numbers the rows, remove it "
            "(pandas leaves it out with index=False)"
        )
    return np.array(rows, dtype=np.float64).reshape(len(rows), width), names, *notes


def _npy(path: Path, key: str | None) -> tuple[np.ndarray, tuple[str, ...]]:
    del key
    with _opened(path) as array:
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path} is an .npz archive; rename it to end in .npz")
        return array, _numbered(array.shape[-1] if array.ndim else 0)


def _npz(path: Path, key: str | None) -> tuple[np.ndarray, tuple[str, ...]]:
    with _opened(path) as archive:
        if isinstance(archive, np.ndarray):
            raise InputError(f"{path} is a single array; rename it to end in .npy")
        members = set(archive.zip.namelist())
        held = [name for name in archive.files if f"{name}.npy" in members]
        if not held:
            raise InputError(f"{path} holds no array; save one with numpy.savez(path, X)")
        if key is None and len(held) > 1:
            raise InputError(f"{path} holds {len(held)} arrays ({', '.join(held)}); choose one with --key NAME")
        if key is not None and key not in held:
            raise InputError(f"{path} has no array {key!r}; it holds {', '.join(held)}")
        array = archive[held[0] if key is None else key]
    return array, _numbered(array.shape[-1] if array.ndim else 0)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:  # np.load leaves the file open when it meets a damaged archive
        try:
            yield np.load(file, allow_pickle=False)
        except InputError:
            raise
        except DAMAGE as error:
            raise _unreadable(path, error) from None


DAMAGE = (
    ValueError, TypeError, KeyError, EOFError, SyntaxError, RuntimeError, MemoryError, OverflowError, struct.error,
    zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
"""What NumPy and the archive raise over hostile or damaged files."""


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, MemoryError | OverflowError):
        return InputError(f"{path} declares an array that does not fit in memory; it is damaged, or cut it into parts")
    if isinstance(error, NotImplementedError):
        return InputError(f"{path} is compressed by a method that cannot be read; save it again with numpy.savez")
    if isinstance(error, RuntimeError) and "encrypted" in str(error):
        return InputError(f"{path} is encrypted; save it again without a password")
    if "Object arrays" in str(error):
        return InputError(f"{path} holds Python objects, which are never unpickled; save an array of numbers instead")
    return InputError(f"{path} is damaged or no NumPy file; save it again with numpy.save or numpy.savez")


def _checked(values: np.ndarray, names: tuple[str, ...], source: str, notes: tuple[str, ...] = ()) -> Table:
    if values.dtype.kind == "c":
        raise InputError(f"{source} holds complex numbers ({values.dtype}); give real ones")
    if values.dtype.kind not in "biuf":
        raise InputError(f"{source} holds values of type {values.dtype}; give real numbers")
    if values.ndim != 2:
        raise InputError(f"{source} has shape {values.shape}; it must be a table, samples x features")
    n, d = values.shape
    if d < 2:
        raise InputError(f"{source} has {d} feature(s); at least 2 are needed")
    if n < 2:
        raise InputError(f"{source} has {n} row(s); at least 2 samples are needed")
    rows = values.astype(np.float64)
    bad = np.argwhere(~np.isfinite(rows))
    if bad.size:
        i, j = (int(index) for index in bad[0])
        name = names[j] if names[j] == str(j + 1) else repr(names[j])
        raise InputError(f"{source}: row {i + 1}, column {name} is {rows[i, j]}; remove or replace it")
    return Table(rows, names, source, notes)


def _numbered(width: int) -> tuple[str, ...]:
    return tuple(str(j) for j in range(1, width + 1))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python's own notation for 1_000, nobody's in a table


def _counts(head: list[str]) -> bool:
    """Whether a line is 0, 1, 2, ... or 1, 2, 3, ..., as written where columns have no names."""
    return any(head == [str(j) for j in range(start, start + len(head))] for start in (0, 1))
