"""Headers and columns that number the rows: nothing of a table is lost in silence."""

from pathlib import Path

import numpy as np
import pytest

from dialects import RNG, ROWS, said, written
from eigenloop.predict.tables import Reading, read_table


def lines(rows: np.ndarray, separator: str = ",", decimal: str = ".", form: str = "{:.4f}") -> str:
    return "".join(
        separator.join(form.format(v).replace(".", decimal) for v in row) + "\n" for row in rows
    )


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(min(1.0, abs(a @ b)))))


def top(rows: np.ndarray) -> np.ndarray:
    x = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.linalg.eigh(x.T @ x)[1][:, -1]


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
