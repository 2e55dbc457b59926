"""What the results of the lens share: a table of rows, as a data frame and as a CSV file."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from eigenloop.system.files import save_table
from eigenloop.system.wording import listed

ONE = "the one block"
"""What the block of a model is called that applies one alone, again and again."""


def called(unit: str, numbers: int | Sequence[int]) -> str:
    """Blocks by their numbers, or by the one name where there is only one.

    Args:
        unit: what one is called: "layer", "block" where weights are shared, or `ONE`.
        numbers: which.

    Example:
        >>> called("layer", 3), called("block", [0, 2]), called(ONE, [0])
        ('layer 3', 'blocks 0, 2', 'the one block')
    """
    several = [numbers] if isinstance(numbers, int) else list(numbers)
    return unit if unit == ONE else f"{unit}{'' if len(several) == 1 else 's'} {listed(several)}"


def noun(unit: str) -> str:
    """The word for one in the head of a table: "layer" or "block"."""
    return unit.split()[-1]


class TabularResult(ABC):
    """A result that is a table; a class of its own says its columns, its file and its rows."""

    COLUMNS: ClassVar[tuple[str, ...]]
    """Names of the columns."""
    FILE: ClassVar[str]
    """Name of the CSV file."""

    @abstractmethod
    def rows(self) -> list[tuple]:
        """The rows, in the order of `COLUMNS`."""

    def table(self) -> Any:
        """The rows as a pandas DataFrame, or as a list of dictionaries where pandas is missing."""
        return frame(self.COLUMNS, self.rows())

    def save(self, directory: Path) -> Path:
        """Write `FILE` into a directory and give its path.

        Raises:
            InputError: the directory cannot be written to.
        """
        path = Path(directory) / self.FILE
        save_table(path, self.COLUMNS, self.rows())
        return path


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


def pair(value: complex) -> list[float]:
    """[re, im], for JSON.

    Example:
        >>> pair(1 - 2j)
        [1.0, -2.0]
    """
    return [float(value.real), float(value.imag)]
