"""Text tables as pandas, NumPy, R and spreadsheets write them; what may be misread is never
misread in silence.
"""

import gzip
import io
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from eigenloop.predict.doubts import warnings
from eigenloop.predict.tables import Reading, Table, read_table
from eigenloop.predict.targets import Target
from eigenloop.system.errors import InputError

RNG = np.random.default_rng(0)
ROWS = (RNG.standard_normal((40, 4)) * [3, 1, 1, 0.5]).round(4)


def written(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(rows: np.ndarray, separator: str = ",", decimal: str = ".", form: str = "{:.4f}") -> str:
    return "".join(
        separator.join(form.format(v).replace(".", decimal) for v in row) + "\n" for row in rows
    )


def said(table: Table, **treatment: bool) -> list[str]:
    """The warnings of a table, as the command words them."""

    def direction(rows: np.ndarray) -> np.ndarray:
        return Target.from_rows(rows, **treatment).basis[:, 0]

    return warnings(table.doubts, direction, Target.from_rows(table.rows, **treatment).basis)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(min(1.0, abs(a @ b)))))


def top(rows: np.ndarray) -> np.ndarray:
    x = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.linalg.eigh(x.T @ x)[1][:, -1]


# --- a header of numbers is not a sample in silence

SPECTRA = (
    0.5
    + 0.05 * np.outer(RNG.standard_normal(40), [3, -2, 0, 0, 1, 2])
    + 0.01 * RNG.standard_normal((40, 6))
)


@pytest.mark.parametrize(
    ("head", "rows", "form"),
    [
        ("1650.5,1648.4,1646.3,1644.2,1642.1,1640.0", SPECTRA, "{:.5f}"),  # wavenumbers
        ("1990,1991,1992,1993,1994,1995", SPECTRA, "{:.5f}"),  # years
        ("400.1,402.7,411.9,437.0,450.2,500.4", SPECTRA, "{:.5f}"),  # masses, unevenly spaced
        (
            '"0.1","0.35","0.2","0.4","0.35","0.2"',
            SPECTRA,
            "{:.5f}",
        ),  # in quotation marks, in the range of the data
        ("0,1,2,3,4,5", SPECTRA, "{:.5f}"),  # pandas without names
        ("1,2,3,4,5,6", np.rint(1000 * SPECTRA), "{:.0f}"),  # R without names, counts
        (
            "10021,10045,10107,10230,10388,10402",
            np.rint(1000 * SPECTRA),
            "{:.0f}",
        ),  # identifiers of genes
    ],
)
def test_a_header_of_numbers(tmp_path: Path, head: str, rows: np.ndarray, form: str) -> None:
    path = written(tmp_path, head + "\n" + lines(rows, form=form))
    table = read_table(path)
    assert table.rows.shape == (40, 6)
    assert table.names == tuple(head.replace('"', "").split(","))
    assert "header" in table.about
    sample = read_table(path, Reading(header=False))
    assert sample.rows.shape == (41, 6)
    assert sample.doubts == ()
    if table.doubts:
        assert "--no-header" in said(table)[0]
        turned = angle(top(table.rows), top(sample.rows))
        assert (f"by {turned:.0f} degrees" in said(table)[0]) is (turned > 1)


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("5,6,4,7,5,6", "whole numbers"),
        ("0.9,0.8,0.7,0.6,0.5,0.4", "evenly spaced"),
        ("90.5,80.1,95.2,99.0,85.3,91.4", "outside the range"),
    ],
)
def test_a_first_line_that_may_be_a_header_is_a_sample_with_a_warning(
    tmp_path: Path, first: str, words: str
) -> None:
    body = SPECTRA if words != "outside the range" else SPECTRA + RNG.standard_normal((40, 6))
    table = read_table(written(tmp_path, first + "\n" + lines(body, form="{:.5f}")))
    head = read_table(
        written(tmp_path, first + "\n" + lines(body, form="{:.5f}"), "b.csv"), Reading(header=True)
    )
    assert head.rows.shape == (40, 6)
    if table.rows.shape == (41, 6):
        (warning,) = said(table)
        assert "--header" in warning
    else:  # two kinds of evidence
        assert "--no-header" in said(table)[0]
    assert words in said(table)[0]


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_numbers_without_a_header_raise_no_doubt(tmp_path: Path, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((30, 5)) + 10
    table = read_table(written(tmp_path, lines(rows)))
    assert (table.rows.shape, table.doubts) == ((30, 5), ())
    counts = np.random.default_rng(seed).integers(0, 50, (30, 5))
    table = read_table(written(tmp_path, lines(counts, form="{}")))
    assert (table.rows.shape, table.doubts) == ((30, 5), ())


@pytest.mark.parametrize(
    ("text", "names", "doubts"),
    [
        ("a,2020,b\n5,6,1\n7,9,2\n", ("a", "2020", "b"), 1),
        ("150,4,setosa\n5.1,6,1\n7,9,2\n", ("150", "4", "setosa"), 1),
        ("2,3\n5,6\n7,9\n", ("1", "2"), 0),
        ("0,1\n5,6\n7,9\n", ("1", "2"), 1),
        ("1,2\n0.5,0.6\n7.1,9.3\n", ("1", "2"), 0),
        ("1,2\n3,4\n5,6\n", ("1", "2"), 1),
        ("a,\n5,6\n7,9\n", ("a", "column 2"), 0),
        ("# x y\n5 6\n7 9\n", ("x", "y"), 0),
        ("# 1 2\n5 6\n7 9\n", ("1", "2"), 0),
        ("# made by f\n# today\nx,y\n5,6\n7,9\n", ("x", "y"), 0),
    ],
)
def test_first_lines(tmp_path: Path, text: str, names: tuple[str, ...], doubts: int) -> None:
    table = read_table(written(tmp_path, text))
    header = names != ("1", "2") or "0.5" in text or "#" in text
    np.testing.assert_array_equal(
        table.rows[-1], [float(cell) for cell in text.splitlines()[-1].replace(",", " ").split()]
    )
    assert table.rows.shape[0] == (2 if header else 3)
    if names != ("1", "2"):
        assert table.names == names
    assert len(table.doubts) == doubts


# --- what numbers the rows is no feature in silence


def numbered(rows: np.ndarray, first: list[object], head: str) -> str:
    return head + "".join(
        f"{i}," + line + "\n" for i, line in zip(first, lines(rows).splitlines(), strict=True)
    )


@pytest.mark.parametrize(
    ("head", "first", "left"),
    [
        (",a,b,c,d\n", list(range(40)), True),  # pandas
        ('"","a","b","c","d"\n', [f'"{i}"' for i in range(1, 41)], True),  # R, write.csv
        (",a,b,c,d\n", [f"s{i}" for i in range(40)], True),  # row names of text
        ("Unnamed: 0,a,b,c,d\n", list(range(40)), True),  # pandas twice
        ("id,a,b,c,d\n", list(range(1, 41)), True),
        ("id,a,b,c,d\n", [int(i) for i in RNG.permutation(10**6)[:40]], False),
        ("time,a,b,c,d\n", list(range(100, 140)), False),
        ("year,a,b,c,d\n", [1990 + i // 4 for i in range(40)], False),
        ("label,a,b,c,d\n", [i // 20 for i in range(40)], False),
        ("", list(range(1, 41)), False),
        ("down,a,b,c,d\n", list(range(40, 0, -1)), False),
    ],
)
def test_row_numbers(tmp_path: Path, head: str, first: list[object], left: bool) -> None:
    path = written(tmp_path, numbered(ROWS, first, head))
    table = read_table(path)
    if left:
        np.testing.assert_array_equal(table.rows, ROWS)
        assert "column 1 as row names" in table.about
        assert table.doubts == ()
        return
    assert table.rows.shape == (40, 5)
    (warning,) = said(table, center=True, normalize=False)
    assert "--drop 1" in warning
    without = read_table(path, Reading(drop="1"))
    np.testing.assert_array_equal(without.rows, ROWS)
    assert without.doubts == ()
    centred = table.rows - table.rows.mean(axis=0)
    one = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    two = np.append(0.0, np.linalg.eigh(centred[:, 1:].T @ centred[:, 1:])[1][:, -1])
    assert (f"by {angle(one, two):.0f} degrees" in warning) is (angle(one, two) > 1)
    assert read_table(path, Reading(columns="1-5")).doubts == ()
    np.testing.assert_array_equal(read_table(path, Reading(index_column="1")).rows, ROWS)


def test_each_of_a_few_columns_is_doubted_by_itself(tmp_path: Path) -> None:
    rows = np.column_stack([np.arange(1990, 2020), 3 * np.arange(30) + 100, ROWS[:30, 0]])
    table = read_table(written(tmp_path, "year,gdp,x\n" + lines(rows, form="{:g}")))
    assert ["--drop 1 " in one for one in said(table)] == [True, False]
    assert ["--drop 2 " in one for one in said(table)] == [False, True]
    assert all("degrees" in one for one in said(table, center=True, normalize=False))
    many = np.arange(30)[:, None] * [1, 2, 3, 4] + 5
    assert (
        len(
            said(
                read_table(
                    written(
                        tmp_path,
                        "a,b,c,d,e\n" + lines(np.column_stack([many, rows[:, 2]]), form="{:g}"),
                    )
                )
            )
        )
        == 1
    )


def test_row_names_of_r_under_a_shorter_header(tmp_path: Path) -> None:
    text = '"a" "b" "c" "d"\n' + "".join(
        f'"r {i}" {line}\n' for i, line in enumerate(lines(ROWS, " ").splitlines())
    )
    table = read_table(written(tmp_path, text))
    np.testing.assert_array_equal(table.rows, ROWS)
    assert table.names == ("a", "b", "c", "d")


# --- quotes, blanks, decimal commas


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            '"height, cm, standing";"weight, kg"\n1,5;2\n3;4,5\n',
            ("height, cm, standing", "weight, kg"),
        ),
        ('"a;b","c|d"\n1.5,2\n3,4.5\n', ("a;b", "c|d")),
        ("'OBS' 'G P A'\n1.5 2\n3 4.5\n", ("OBS", "G P A")),
        ('"a ""x"" b"\t"c"\n1.5\t2\n3\t4.5\n', ('a "x" b', "c")),
        ('"two\nlines",b\n1.5,2\n3,4.5\n', ("two\nlines", "b")),
        ("a|b\n1.5|2\n3|4.5\n", ("a", "b")),
        ("sep=;\r\na;b\r\n1,5;2\r\n3;4,5\r\n", ("a", "b")),
        ("a,b,\n1.5,2,\n3,4.5,\n", ("a", "b")),
        ("  a   b\n 1.5\t2\n   3 4.5  \n", ("a", "b")),
        ("a , b\n1.5 , 2\n3 , 4.5\n", ("a", "b")),
        ('"1,5","2"\n"3","4,5"\n', ("1", "2")),
        ("1,5 2\n3 4,5\n", ("1", "2")),
        ("1,5\t2\n3\t4,5\n", ("1", "2")),
    ],
)
def test_separators_and_quotes(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    table = read_table(written(tmp_path, text))
    np.testing.assert_array_equal(table.rows, [[1.5, 2], [3, 4.5]])
    assert table.names == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a;b\n1;20\n22;3\n4;1.234,56\n", ("'b'", "1.234,56", "row 3", "thousands")),
        ('a,b\n"1,234",5\n2,3\n', ("'a'", "1,234", "row 1", "thousands")),
        ("a;b\n1,5;20\n2,5;1.234,5\n", ("'b'", "1.234,5", "row 2", "thousands")),
        ("a\tb\n1 234\t5\n2\t3\n", ("'a'", "1 234", "row 1", "thousands")),
        ("a,b\n1'234,5\n2,3\n", ("'a'", "1'234", "row 1", "thousands")),
        (
            "a;b\n1.100,50;0\n1.200,50;1\n",
            ("'a'", "1.100,50", "row 1", "thousands", "without them"),
        ),
        ("a;b\n1,5;x\n2,5;y\n", ("'b'", "text ('x' in row 1)", "only 1 column(s) hold numbers")),
        (
            "1.100,50;0\n1.200,50;1\n",
            ("column 1", "1.100,50", "row 1", "thousands", "without them"),
        ),
        ("a,b,c\n1,2,12%\n3,4,5%\n", ("'c'", "12%", "--drop c", "--columns a,b")),
        (
            "a,b,day\n1,2,2020-01-31\n3,4,2020-02-01\n",
            ("'day'", "dates", "--drop day", "--columns a,b"),
        ),
        ("a,b,t\n1,2,31.01.2020\n3,4,1.2.2020\n", ("'t'", "dates", "--drop t")),
        ("a,b\nm,kg\n1,2\n3,4\n", ("second header", "row 1")),
        ("title\nmore\na,b\n1,2\n3,4\n", ("line 1 has 1", "above line 3")),
        ("name,a\nx,1\ny,2\n", ("only 1 column(s) hold numbers",)),
        ("a,b\n1,2\n3,4,5\n", ("line 3 has 3",)),
        ('a,b\n1,"2\n3,4\n', ("'b'", "quotation mark")),
        ("#only\n#comments\n", ("comments",)),
        ("<!DOCTYPE html>\n<p>", ("web page",)),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", ("git-lfs",)),
        ("a,b\n1,\n3,4\n5,6\n", ("'b' is empty", "--missing drop")),
    ],
)
def test_refusals_give_the_true_reason(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        read_table(written(tmp_path, text))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": "a"}, ("has 3 columns of numbers", "with --columns 1 feature", "at least 2")),
        ({"drop": "a,b"}, ("has 3 columns of numbers", "with --drop 1 feature")),
        ({"index_column": "a", "drop": "b"}, ("with --index-column and --drop 1 feature",)),
        ({"columns": "a,b", "drop": "a,b"}, ("with --columns and --drop 0 feature",)),
        ({"header": False}, ("'a' in row 1", "the header", "leave out --no-header")),
    ],
)
def test_what_an_option_brought_about_names_the_option(
    tmp_path: Path, options: dict, words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        read_table(written(tmp_path, "a,b,c\n1,2,3\n4,5,7\n"), Reading(**options))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("option", ["columns", "drop", "index_column"])
def test_a_name_of_two_columns_is_refused_and_positions_are_not(
    tmp_path: Path, option: str
) -> None:
    path = written(tmp_path, "a,b,a,c\n1.5,2,3,9\n4,5,7,8\n")
    with pytest.raises(
        InputError, match=f"--{option.replace('_', '-')}: .* 2 columns named 'a'; .* 1, 3"
    ):
        read_table(path, replace(Reading(), **{option: "a"}))
    np.testing.assert_array_equal(read_table(path, Reading(columns="3,1")).rows, [[3, 1.5], [7, 4]])
    with pytest.raises(InputError, match=r"--drop 3, .* --columns 1-2,4"):
        read_table(written(tmp_path, "a,b,a,c\n1.5,2,x,9\n4,5,y,8\n"))
    path = written(tmp_path, "2,x,x,2\n1.5,2,3,9\n4,5,7,8\n")
    with pytest.raises(InputError, match=r"columns named '2'; .* 1, 4"):
        read_table(path, Reading(header=True, drop="2"))


def test_a_comma_that_may_separate_thousands_is_a_doubt(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a;b\n1,234;20\n2,345;900\n1,999;400\n"))
    np.testing.assert_array_equal(table.rows[0], [1.234, 20])
    assert "thousands" in said(table)[0]
    assert "degrees" in said(table)[0]
    assert read_table(written(tmp_path, "a;b\n0,234;20\n2,345;900\n")).doubts == ()


# --- options


def test_columns_are_named_by_name_position_or_range(tmp_path: Path) -> None:
    path = written(tmp_path, '"a, x",b,c,day\n1,2,3,2020-01-01\n4,5,6,2020-01-02\n')
    for reading, expected in (
        (Reading(columns="c,b"), [3, 2]),
        (Reading(columns='"a, x",c'), [1, 3]),
        (Reading(drop="4"), [1, 2, 3]),
        (Reading(drop="day,b"), [1, 3]),
        (Reading(index_column="day"), [1, 2, 3]),
        (Reading(columns="1-3"), [1, 2, 3]),
        (Reading(index_column="day", drop="a, x"), [2, 3]),
    ):
        np.testing.assert_array_equal(read_table(path, reading).rows[0], expected)
    for bad, word in (
        ("z", "no column 'z'"),
        ("0", "no column '0'"),
        ("3-1", "no column"),
        (" , ", "names no column"),
    ):
        with pytest.raises(InputError, match=word):
            read_table(path, Reading(columns=bad))
    with pytest.raises(InputError, match="give one column"):
        read_table(path, Reading(index_column="b,c"))
    np.savetxt(tmp_path / "x.txt", ROWS)
    assert read_table(tmp_path / "x.txt", Reading(columns="2,4")).names == ("2", "4")
    assert read_table("iris", Reading(drop="2-3")).rows.shape == (150, 2)


def test_rows_with_missing_values_are_refused_or_left_out(tmp_path: Path) -> None:
    text = "a,b,c\n1,2,3\nNA,5,6\n7,8,9\n10,,12\n13,14,?\n1,5,9\n"
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=r"row 2, column 'a' is NA; .*the 3 of 6 row\(s\)"):
        read_table(path)
    table = read_table(path, Reading(missing="drop"))
    np.testing.assert_array_equal(table.rows, [[1, 2, 3], [7, 8, 9], [1, 5, 9]])
    assert "3 row(s) with missing values" in table.about
    assert read_table(path, Reading(missing="drop", columns="a,b")).rows.shape == (4, 2)
    with pytest.raises(InputError, match=r"has 1 row\(s\) without missing values, of 2"):
        read_table(written(tmp_path, "a,b\n1,2\n3,\n"), Reading(missing="drop"))
    np.save(tmp_path / "x.npy", np.array([[1.0, 2], [np.nan, 3], [4, 6]]))
    assert read_table(tmp_path / "x.npy", Reading(missing="drop")).rows.tolist() == [[1, 2], [4, 6]]
    with pytest.raises(InputError, match="is inf"):
        read_table(written(tmp_path, "a,b\n1,2\n3,inf\n"), Reading(missing="drop"))


# --- compression, encodings, other files


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


# --- written and read back

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
