"""What the results of the lens share: tables of rows, as data frames and as CSV files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eigenloop.system.files import save_table


def frame(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """Rows as a pandas DataFrame, or as a list of dictionaries where pandas is missing.

    Example:
        >>> frame(["layer", "gap"], [(0, 0.5)])["gap"][0]
        np.float64(0.5)
    """
    try:
        import pandas
    except ImportError:
        return [dict(zip(columns, row, strict=True)) for row in rows]
    return pandas.DataFrame(list(rows), columns=list(columns))


def saved(directory: Path, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """Write one CSV file into a directory and give its path.

    Raises:
        InputError: the directory cannot be written to.
    """
    path = Path(directory) / name
    save_table(path, columns, rows)
    return path


def pair(value: complex) -> list[float]:
    """[re, im], for JSON.

    Example:
        >>> pair(1 - 2j)
        [1.0, -2.0]
    """
    return [float(value.real), float(value.imag)]


def listed(numbers: Sequence[int], *, most: int = 12) -> str:
    """Numbers in a sentence, the rest of a long list counted.

    Example:
        >>> listed([0, 1, 2, 5], most=3)
        '0, 1, 2 and 1 more'
    """
    shown = ", ".join(str(number) for number in numbers[:most])
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"
