"""Text tables as pandas, NumPy, R and spreadsheets write them; what may be misread is never
misread in silence.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dialects import ROWS, said, written
from eigenloop.predict.tables import Reading, read_table
from eigenloop.system.errors import InputError

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
