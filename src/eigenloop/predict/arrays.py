"""Sheets of binary files: .npy, .npz (dense, or sparse as SciPy saves it) and Parquet."""

import warnings
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.predict.files import DAMAGE, unreadable
from eigenloop.predict.sheets import Sheet, Trouble, shortened
from eigenloop.system.errors import InputError
from eigenloop.system.memory import require_memory


def sheet_of_array(values: np.ndarray, source: str, names: Sequence[str] | None = None) -> Sheet:
    """A sheet of a matrix of numbers.

    Raises:
        InputError: no real numbers, or no matrix.
    """
    if values.dtype.names is not None:
        raise InputError(
            f"{source} holds a structured array (fields"
            f" {shortened(', '.join(values.dtype.names), 200)}); give a matrix"
        )
    if values.dtype.kind == "c":
        raise InputError(f"{source} holds complex numbers ({values.dtype}); give real ones")
    if values.dtype.kind not in "biuf":
        raise InputError(f"{source} holds values of type {values.dtype}; give real numbers")
    if values.ndim != 2:
        raise InputError(
            f"{source} has shape {values.shape}; it must be a table, samples x features"
        )
    named = tuple(names) if names is not None else numbered(values.shape[1])
    return Sheet(named, values.astype(np.float64))


def _loaded(file: Any) -> Any:
    # that Python 2 wrote the header changes nothing here
    with warnings.catch_warnings(action="ignore"):
        return np.load(file, allow_pickle=False)


def sheet_of_npy(file: Any, source: str) -> Sheet:
    """A sheet of an .npy file."""
    try:
        array = _loaded(file)
        if not isinstance(array, np.ndarray):
            raise InputError(f"{source} is an .npz archive; rename it to end in .npz")
        return sheet_of_array(array, source)
    except InputError:
        raise
    except DAMAGE as error:
        raise unreadable(source, error) from None


def sheet_of_npz(file: Any, source: str, key: str | None) -> Sheet:
    """A sheet of an .npz file: one of its arrays, or the sparse matrix that it is."""
    try:
        archive = _loaded(file)
        if isinstance(archive, np.ndarray):
            raise InputError(f"{source} is a single array; rename it to end in .npy")
        with archive:
            members = set(archive.zip.namelist())
            held = [name for name in archive.files if f"{name}.npy" in members]
            if key is None and {"format", "shape", "data"} <= set(held):
                return _sparse(file, source)
            if not held:
                raise InputError(f"{source} holds no array; save one with numpy.savez(path, X)")
            if key is None and len(held) > 1:
                raise InputError(
                    f"{source} holds {len(held)} arrays ({shortened(', '.join(held), 200)}); choose"
                    " one with --key NAME"
                )
            if key is not None and key not in held:
                raise InputError(
                    f"{source} has no array {key!r}; it holds {shortened(', '.join(held), 200)}"
                )
            with warnings.catch_warnings(action="ignore"):
                array = archive[held[0] if key is None else key]
            return sheet_of_array(array, source)
    except InputError:
        raise
    except DAMAGE as error:
        raise unreadable(source, error) from None


def _sparse(file: Any, source: str) -> Sheet:
    from scipy import sparse

    file.seek(0)
    matrix: Any = sparse.load_npz(file)
    if len(matrix.shape) != 2 or matrix.dtype.kind not in "biuf":
        raise InputError(
            f"{source} holds a sparse array of shape {matrix.shape} and type {matrix.dtype}; give a"
            " matrix"
        )
    n, d = matrix.shape
    require_memory(
        8 * n * d, f"{source}, {n} x {d} and sparse, written out,", "give fewer rows or columns"
    )
    if matrix.format in ("csr", "csc", "bsr"):
        matrix.check_format(full_check=True)  # hostile indices would be written wherever they point
    matrix = matrix.tocoo() if matrix.format != "dia" else matrix
    if matrix.format == "coo" and matrix.nnz:
        rows, columns = matrix.coords
        if rows.min() < 0 or columns.min() < 0 or rows.max() >= n or columns.max() >= d:
            raise InputError(
                f"{source} is damaged: entries lie outside its {n} x {d} cells; save it again"
            )
    dense = sheet_of_array(np.asarray(matrix.toarray()), source)
    return Sheet(dense.names, dense.numbers, facts=("sparse",))


def sheet_of_parquet(file: Any, source: str) -> Sheet:
    """A sheet of a Parquet file, by pyarrow."""
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            f"{source} needs pyarrow to be read: pip install 'eigenloop[parquet]'"
        ) from None
    try:
        opened = parquet.ParquetFile(file)
        about = opened.metadata
        size = 8 * max(about.num_rows, 0) * about.num_columns
        require_memory(
            3 * size,
            f"{source}, {about.num_rows} x {about.num_columns},",
            "give fewer rows or columns",
        )
        frame = opened.read().to_pandas()
    except InputError:
        raise
    except (pyarrow.ArrowException, OSError, *DAMAGE) as error:
        raise unreadable(source, error, "Parquet file") from None
    return sheet_of_frame(frame)


def sheet_of_frame(frame: Any) -> Sheet:
    """A sheet of a data frame whose columns have their types."""
    import pandas as pd

    numbers, troubles = np.full(frame.shape, np.nan), {}
    for j in range(frame.shape[1]):
        column = frame.iloc[:, j]
        kind = getattr(column.dtype, "kind", "O")
        if kind in "biuf":
            numbers[:, j] = column.to_numpy(np.float64, na_value=np.nan)
            continue
        there = column.notna().to_numpy()
        cells = column.to_numpy(object)
        if all(isinstance(cell, Decimal | int | float) for cell in cells[there]):
            numbers[there, j] = [float(cell) for cell in cells[there]]
            continue
        bad = int(np.argmax(there))
        troubles[j] = Trouble("dates" if kind in "mM" else "text", str(cells[bad]), bad + 1, 0)
    plain = isinstance(frame.index, pd.RangeIndex)
    rows = " and ".join(str(name or "unnamed") for name in frame.index.names)
    return Sheet(
        tuple(str(name) for name in frame.columns),
        numbers,
        troubles,
        left_out=() if plain else (f"the index of the data frame ({rows})",),
    )


def numbered(width: int) -> tuple[str, ...]:
    """Names of columns without names: 1, 2, ..."""
    return tuple(str(j) for j in range(1, width + 1))


def suffix_of(name: str) -> str:
    """A name's last suffix in small letters."""
    return Path(name).suffix.lower()
