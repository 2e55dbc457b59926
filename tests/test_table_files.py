"""Files that hold a table: compression, encodings, other formats; written and read back."""

import gzip
import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from dialects import ROWS, written
from eigenloop.predict.tables import Reading, read_table
from eigenloop.system.errors import InputError


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("t.csv.gz", lambda text: gzip.compress(text.encode())),
        ("t.csv.zip", lambda text: zipped(**{"t.csv": text.encode(), "__MACOSX/._t.csv": b"x"})),
        ("t.zip", lambda text: zipped(**{"d/t.csv": text.encode(), "d/README": b"what it is"})),
        ("t.csv", lambda text: text.encode("utf-16")),
        ("t.csv", lambda text: b"\xfe\xff" + text.encode("utf-16-be")),
        ("t.csv", lambda text: text.encode("utf-8-sig")),
        ("t.csv", lambda text: text.encode("cp1252")),
        ("t.csv", lambda text: text.replace("\n", "\r").encode()),
        ("t.dat", lambda text: text.replace("\n", "\r\n").encode() + b"\x1a"),
        ("table", lambda text: text.encode()),
        ("t.tsv.gz", lambda text: gzip.compress(text.replace(",", "\t").encode("utf-16"))),
    ],
)
def test_compression_and_encodings(
    tmp_path: Path, name: str, encode: Callable[[str], bytes]
) -> None:
    path = written(tmp_path, encode("größe,b\n1.5,2\n3,4.5\n"), name)
    table = read_table(path)
    assert table.names == ("größe", "b")
    np.testing.assert_array_equal(table.rows, [[1.5, 2], [3, 4.5]])
    assert len(table.notes) == (
        b"gr\xf6" in path.read_bytes() and b"\xfe" not in path.read_bytes()[:2]
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv.gz", b"a,b\n1,2\n", "damaged or no gzip file"),
        (
            "t.csv.gz",
            gzip.compress(b"a,b\n1,2\n3,4\n" * 99, mtime=0)[:-20],
            "damaged or no gzip file",
        ),
        ("t.zip", b"PK\x03\x04 no more", "damaged or no zip archive"),
        (
            "t.zip",
            zipped(**{"a.csv": b"1", "b.csv": b"2"}),
            "2 files (a.csv, b.csv); choose one with --key",
        ),
        ("t.zip", zipped(**{"[Content_Types].xml": b"1"}), "Office document"),
        ("t.csv", zipped(**{"xl/workbook.xml": b"1"}), "Excel workbook"),
        ("t.csv", gzip.compress(b"a", mtime=0), "compressed by gzip"),
        ("t.csv", b"PAR1", "Parquet"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16-le"), "UTF-16 text without a byte order mark"),
        ("t.csv", b"\xff\xfea", "begins as UTF-16 text but is none"),
        ("t.parquet", b"no parquet", "Parquet"),
        ("t.csv.bz2", b"1", "ends in .bz2"),
    ],
)
def test_files_that_are_something_else(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install '.[parquet]'")
    with pytest.raises(InputError) as caught:
        read_table(written(tmp_path, content, name))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_member_of_an_archive_is_chosen_by_key(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, ROWS)
    path = written(
        tmp_path, zipped(**{"a.csv": b"1,2\n3,4\n5,6\n", "b.npy": array.getvalue()}), "t.zip"
    )
    np.testing.assert_array_equal(read_table(path, key="b.npy").rows, ROWS)
    with pytest.raises(InputError, match=r"no file 'c'; it holds a\.csv, b\.npy"):
        read_table(path, key="c")


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_sparse_matrices(tmp_path: Path, form: str) -> None:
    matrix = sparse.random(
        20, 6, density=0.3, rng=np.random.default_rng(1), dtype=np.float32
    ).asformat(form)
    sparse.save_npz(tmp_path / "x.npz", matrix)
    table = read_table(tmp_path / "x.npz")
    np.testing.assert_array_equal(table.rows, matrix.toarray())
    assert "sparse" in table.about
    hostile = {
        "format": np.array("csr"),
        "shape": np.array([4, 3]),
        "data": np.ones(2),
        "indices": np.array([0, 10**6]),
        "indptr": np.array([0, 1, 2, 2, 2]),
    }
    np.savez(tmp_path / "hostile.npz", **hostile)
    with pytest.raises(InputError, match="damaged"):
        read_table(tmp_path / "hostile.npz")


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install '.[parquet]'")
    frame = pd.DataFrame(ROWS, columns=pd.Index(["a", "b", "c", "d"]))
    frame["n"] = pd.array([1, None] * 20, dtype="Int64")
    frame["name"] = "x"
    frame["day"] = pd.Timestamp("2020-01-01")
    frame.to_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(
        read_table(tmp_path / "t.parquet", Reading(columns="a,b,c,d")).rows, ROWS
    )
    with pytest.raises(InputError, match=r"'name' holds text .* 'day' holds dates"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="'n' is nan"):
        read_table(tmp_path / "t.parquet", Reading(drop="name,day"))
    frame[["a", "b", "name"]].set_index("name").to_parquet(tmp_path / "i.parquet")
    table = read_table(tmp_path / "i.parquet")
    np.testing.assert_array_equal(table.rows, ROWS[:, :2])
    assert "index of the data frame (name)" in table.about


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'eigenloop\[parquet\]'"):
        read_table(written(tmp_path, b"PAR1", "t.parquet"))


def test_more_than_the_memory_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, gzip.compress(b"1,2\n" * 10**6), "bomb.csv.gz")
    monkeypatch.setattr("eigenloop.predict.files.memory_limit", lambda: 10**6)
    with pytest.raises(InputError, match="unpacks to more than"):
        read_table(path)


VALUES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 6), st.integers(2, 5)),
    elements=st.floats(-1e300, 1e300) | st.integers(-1000, 1000).map(float),
)
NAME = st.text(st.sampled_from("abcxyz 0123456789,;|'\"é_.-#"), max_size=8).map(
    lambda text: ("c" + text).strip()
)


def reads_back(
    folder: Path, text: bytes, rows: np.ndarray, names: list[str] | None, name: str = "t.csv"
) -> None:
    """Exactly, or with a doubt about the first line that its option settles."""
    path = written(folder, text, name)
    table = read_table(path)
    if table.rows.shape != rows.shape and names is None:
        assert (
            any("first line" in doubt.sentence for doubt in table.doubts) or "header" in table.about
        )
        table = read_table(path, Reading(header=False))
    np.testing.assert_array_equal(table.rows, rows)
    if names is not None:
        assert table.names == tuple(names)


@given(
    VALUES,
    st.data(),
    st.sampled_from([",", ";", "\t", "|"]),
    st.booleans(),
    st.sampled_from(["utf-8", "utf-16"]),
)
def test_what_pandas_writes(
    tmp_path_factory: pytest.TempPathFactory,
    rows: np.ndarray,
    data: st.DataObject,
    separator: str,
    index: bool,
    code: str,
) -> None:
    names = data.draw(st.lists(NAME, min_size=rows.shape[1], max_size=rows.shape[1], unique=True))
    decimal = "." if separator == "," else data.draw(st.sampled_from([".", ","]))
    frame = pd.DataFrame(rows, columns=pd.Index(names))
    text = frame.to_csv(sep=separator, index=index, decimal=decimal)
    reads_back(tmp_path_factory.mktemp("p"), text.encode(code), rows, names)


@given(
    VALUES,
    st.sampled_from([" ", ",", ";", "\t"]),
    st.booleans(),
    st.sampled_from(["%.18e", "%r", "%24.17g"]),
)
def test_what_numpy_writes(
    tmp_path_factory: pytest.TempPathFactory,
    rows: np.ndarray,
    separator: str,
    named: bool,
    form: str,
) -> None:
    buffer, names = io.StringIO(), [f"c{j}" for j in range(rows.shape[1])]
    with np.printoptions(legacy="1.25"):
        np.savetxt(
            buffer,
            rows,
            delimiter=separator,
            header=separator.join(names) if named else "",
            fmt=form,
        )
    reads_back(
        tmp_path_factory.mktemp("n"),
        buffer.getvalue().encode(),
        rows,
        names if named else None,
        "t.txt",
    )


@given(VALUES, st.data(), st.sampled_from(["csv", "csv2", "table"]), st.booleans())
def test_what_r_writes(
    tmp_path_factory: pytest.TempPathFactory,
    rows: np.ndarray,
    data: st.DataObject,
    kind: str,
    row_names: bool,
) -> None:
    """write.csv, write.csv2 and write.table, with their defaults: 15 digits, names in quotation
    marks.
    """
    rows = np.array([[float(f"{value:.15g}") for value in row] for row in rows])
    names = data.draw(st.lists(NAME, min_size=rows.shape[1], max_size=rows.shape[1], unique=True))
    separator, decimal = {"csv": (",", "."), "csv2": (";", ","), "table": (" ", ".")}[kind]
    head = ['"' + name.replace('"', '""') + '"' for name in names]
    head = (['""'] if kind != "table" and row_names else []) + head
    body = [
        [
            *([f'"{i}"'] if row_names else []),
            *(f"{value:.15g}".replace(".", decimal) for value in row),
        ]
        for i, row in enumerate(rows, 1)
    ]
    text = "".join(separator.join(cells) + "\n" for cells in [head, *body])
    reads_back(tmp_path_factory.mktemp("r"), text.encode(), rows, names)


@given(VALUES, st.data(), st.booleans(), st.booleans())
def test_what_a_spreadsheet_writes(
    tmp_path_factory: pytest.TempPathFactory,
    rows: np.ndarray,
    data: st.DataObject,
    european: bool,
    hint: bool,
) -> None:
    """CRLF, a byte order mark, quotation marks only where they are needed; in Europe ; and
    decimal commas.
    """
    names = data.draw(st.lists(NAME, min_size=rows.shape[1], max_size=rows.shape[1], unique=True))
    separator, decimal = (";", ",") if european else (",", ".")
    quoted = [
        '"' + name.replace('"', '""') + '"' if set(name) & {separator, '"'} else name
        for name in names
    ]
    body = [[repr(float(value)).replace(".", decimal) for value in row] for row in rows]
    text = f"sep={separator}\r\n" * hint + "".join(
        separator.join(cells) + "\r\n" for cells in [quoted, *body]
    )
    reads_back(tmp_path_factory.mktemp("s"), text.encode("utf-8-sig"), rows, names)
