"""Feed damaged and hostile tables to the reader: it must answer, or refuse with `InputError`, in time and memory.

Files are made from seeds of every kind by flipping, cutting, repeating and splicing bytes and by inserting words of the
formats. An input counts as a failure where anything but `InputError` comes out, its message has several lines, reading
takes longer than --limit seconds, or the process needs more than 2 GiB. The failing file is kept.

Usage::

    python tools/fuzz_tables.py [--seconds 30] [--seed 0] [--keep runs/fuzz-tables]
"""

import argparse
import gzip
import importlib.util
import io
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np
from scipy import sparse

from eigenloop.predict.tables import Reading, Table, read_table
from eigenloop.system.errors import InputError

MEMORY = 2 * 2**30
WORDS = [
    b",", b";", b"\t", b"|", b" ", b"\n", b"\r\n", b"\r", b'"', b"'", b"#", b"sep=;\n", b"NA", b"nan", b"inf",
    b"-", b"1e400", b"1.234,56", b"1,5", b"TRUE", b"2020-01-01", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\xe9", b"9" * 400, b"a" * 3000, b"\\", b"0x1f", b"1_0", b"--5", b"+", b".", b"e", b"(0, 3)", b"<f8",
    b"|O", b"PK\x03\x04", b"PAR1", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x00\x00\x00\x00\x80",
]  # fmt: skip
SUFFIXES = [".csv", ".txt", ".tsv", ".csv.gz", ".zip", ".npy", ".npz", ".parquet"]
READINGS = [
    Reading(), Reading(header=True), Reading(header=False), Reading(missing="drop"), Reading(columns="1-2"),
    Reading(drop="a"), Reading(index_column="1"), Reading(columns="a,b", missing="drop"), Reading(key="X"),
]  # fmt: skip


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
    found += [(".csv.gz", gzip.compress(text.encode())) for text in texts[:2]]
    buffers = {name: io.BytesIO() for name in ("zip", "npy", "npz", "two", "sparse")}
    with zipfile.ZipFile(buffers["zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", texts[0])
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


def mutated(rng: random.Random, content: bytes, others: list[tuple[str, bytes]]) -> bytes:
    """A few random changes."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 3, 8, 30])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] = rng.randrange(256)
        elif kind == 1:
            data[at : at + rng.randrange(1, 40)] = b""
        elif kind == 2:
            data[at:at] = rng.choice(WORDS)
        elif kind == 3:
            data[at : at + rng.randrange(1, 9)] = rng.choice(WORDS)
        elif kind == 4:
            piece = data[at : at + rng.randrange(1, 60)]
            data[at:at] = piece * rng.choice([1, 2, 50])
        elif kind == 5:
            other = rng.choice(others)[1]
            begin = rng.randrange(len(other))
            data[at:at] = other[begin : begin + rng.randrange(1, 200)]
        elif kind == 6 and data:
            data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
    return bytes(data)


def tried(path: Path, reading: Reading, limit: int) -> str | None:
    """What is wrong with the answer; None if nothing is."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no answer within {limit} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
    try:
        table = read_table(path, reading)
        if not isinstance(table, Table) or table.rows.shape[1] < 2 or not np.isfinite(table.rows).all():
            return "a table that is none"
        for doubt in table.doubts:
            if doubt.rows is not None:
                doubt.rows()
    except InputError as error:
        return None if "\n" not in str(error) and "\r" not in str(error) else f"several lines: {str(error)!r}"
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.alarm(0)
    return None


def main() -> int:
    """Run until the time is over; 0 when nothing failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=10, help="seconds for one file")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz-tables"))
    options = parser.parse_args()
    rng, pool, failures, count, read = random.Random(options.seed), seeds(), [], 0, 0
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + 2**30, MEMORY + 2**30))  # of addresses, shared libraries too
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() - began < options.seconds:
            suffix, content = rng.choice(pool)
            suffix = rng.choice(SUFFIXES) if rng.random() < 0.1 else suffix
            path = Path(folder) / f"t{suffix}"
            path.write_bytes(mutated(rng, content, pool))
            wrong = tried(path, rng.choice(READINGS), options.limit)
            count += 1
            read += wrong is None
            if wrong is not None:
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = options.keep / f"{options.seed}-{count}{suffix}"
                kept.write_bytes(path.read_bytes())
                failures.append(f"{kept}: {wrong}")
                print(failures[-1], file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{count:,} files, {len(failures)} failures, peak memory {peak:.2f} GiB")
    return 1 if failures or peak > MEMORY / 2**30 else 0


if __name__ == "__main__":
    sys.exit(main())
