"""Tables of random numbers as files, and the warnings of what was read."""

from pathlib import Path

import numpy as np

from eigenloop.predict.doubts import warnings
from eigenloop.predict.tables import Table
from eigenloop.predict.targets import Target

RNG = np.random.default_rng(0)
ROWS = (RNG.standard_normal((40, 4)) * [3, 1, 1, 0.5]).round(4)


def written(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def said(table: Table, **treatment: bool) -> list[str]:
    """The warnings of a table, as the command words them."""

    def direction(rows: np.ndarray) -> np.ndarray:
        return Target.from_rows(rows, **treatment).basis[:, 0]

    return warnings(table.doubts, direction, Target.from_rows(table.rows, **treatment).basis)
