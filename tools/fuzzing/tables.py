"""Tables of every kind, damaged."""

import gzip
import importlib.util
import io
import random
import zipfile
from pathlib import Path

import numpy as np
from scipy import sparse

from eigenloop.predict.tables import Reading, Table, read_table
from fuzzing.changes import damaged

SUFFIXES = [".csv", ".txt", ".tsv", ".csv.gz", ".zip", ".npy", ".npz", ".parquet"]
READINGS = [
    Reading(),
    Reading(header=True),
    Reading(header=False),
    Reading(missing="drop"),
    Reading(columns="1-2"),
    Reading(drop="a"),
    Reading(index_column="1"),
    Reading(columns="a,b", missing="drop"),
    Reading(key="X"),
]


class Tables:
    """The reader of tables."""

    def __init__(self, folder: Path) -> None:
        """Make the seeds; the folder is not needed."""
        del folder
        self._seeds = seeds()
        self._others = [content for _, content in self._seeds]

    def make(self, rng: random.Random) -> dict[str, bytes]:
        """One damaged file."""
        suffix, content = rng.choice(self._seeds)
        suffix = rng.choice(SUFFIXES) if rng.random() < 0.1 else suffix
        return {f"table{suffix}": damaged(rng, content, self._others)}

    def read(self, folder: Path, rng: random.Random) -> None:
        """Read it, and what its doubts compare."""
        path = next(folder.iterdir())
        table = read_table(path, rng.choice(READINGS))
        assert isinstance(table, Table), "no table"
        assert table.rows.shape[1] >= 2, "fewer than two columns"
        assert np.isfinite(table.rows).all(), "numbers that are not finite"
        assert len(table.names) == table.rows.shape[1], "another number of names than of columns"
        for doubt in table.doubts:
            if doubt.rows is not None:
                doubt.rows()


def seeds() -> list[tuple[str, bytes]]:
    """Whole files of every kind, with the suffix that they have."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((8, 3)).round(3)
    lines = [[f"{v}" for v in row] for row in rows]
    texts = [
        "".join(",".join(line) + "\n" for line in [["a", "b", "c"], *lines]),
        "".join(";".join(line).replace(".", ",") + "\r\n" for line in [["a", "b", "c"], *lines]),
        "".join(" ".join(line) + "\n" for line in lines),
        '"","a","b"\n' + "".join(f'"{i}",{a},{b}\n' for i, (a, b, _) in enumerate(lines)),
        "# a b c\n" + "".join("\t".join(line) + "\n" for line in lines),
        "1650,1648,1646\n" + "".join(",".join(line) + "\n" for line in lines),
        'id|"na|me"|day\n' + "".join(f"{i}|x|2020-01-0{i}\n" for i in range(1, 8)),
    ]
    found = [(".csv", text.encode()) for text in texts]
    found += [(".csv", text.encode("utf-16")) for text in texts[:2]]
    found += [(".csv.gz", gzip.compress(text.encode(), mtime=0)) for text in texts[:2]]
    buffers = {name: io.BytesIO() for name in ("zip", "npy", "npz", "two", "sparse")}
    with zipfile.ZipFile(buffers["zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("t.csv"), texts[0])
    np.save(buffers["npy"], rows)
    np.savez(buffers["npz"], X=rows)
    np.savez_compressed(buffers["two"], X=rows, y=rows[0])
    sparse.save_npz(buffers["sparse"], sparse.csr_matrix(rows * (rows > 0)))
    kinds = {"zip": ".zip", "npy": ".npy", "npz": ".npz", "two": ".npz", "sparse": ".npz"}
    found += [(kinds[name], buffer.getvalue()) for name, buffer in buffers.items()]
    if importlib.util.find_spec("pyarrow") is not None:
        import pandas as pd

        buffer = io.BytesIO()
        pd.DataFrame({"a": rows[:, 0], "b": rows[:, 1], "c": ["x"] * 8}).to_parquet(buffer)
        found += [(".parquet", buffer.getvalue())]
    return found
