"""Tables at the edge: what is read, and one clear line for everything that is not a table of
numbers.
"""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from eigenloop.predict.tables import DATASETS, read_table
from eigenloop.system.errors import InputError

VALUES = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("comma.csv", "1,2,3\n4,5,6.5\n"),
        ("header.csv", "\ufeffa,b,c\r\n1, 2,3\r\n4,5,6.5\r\n\r\n"),
        ("semicolon.csv", '"a";"b";"c"\n1;2;3\n4;5;6.5'),
        ("tabs.tsv", "1\t2\t3\n4\t5\t6.5\n"),
        ("exponent.txt", "1e0,2,3\n+4,5,65e-1\n"),
    ],
)
def test_text_tables(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    table = read_table(path)
    np.testing.assert_array_equal(table.rows, VALUES)
    assert table.names == (("a", "b", "c") if "a" in text else ("1", "2", "3"))


def test_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VALUES.astype(np.float32))
    np.savez(tmp_path / "one.npz", X=VALUES)
    np.savez_compressed(tmp_path / "two.npz", X=VALUES, y=np.arange(2))
    for path, key in (("x.npy", None), ("one.npz", None), ("one.npz", "X"), ("two.npz", "X")):
        np.testing.assert_array_equal(read_table(tmp_path / path, key=key).rows, VALUES)


@pytest.mark.parametrize("name", DATASETS)
def test_bundled_tables_are_the_features_of_scikit_learn(name: str) -> None:
    table, bunch = read_table(name), getattr(datasets, f"load_{name}")()
    np.testing.assert_array_equal(table.rows, bunch.data)
    assert len(table.names) == table.rows.shape[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,nan\n", "row 2, column 'b' is nan"),
        ("1,2\n3,inf\n", "row 2, column 2 is inf"),
        ("a,name\n1,x\n2,y\n", "column 'name' holds text ('x' in row 1)"),
        ("1,x\n2,y\n", "column 2 holds text ('x' in row 1)"),
        ("a,b\n1,\n2,3\n", "row 1, column 'b' is empty"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cell(s), but line 2 has 2"),
        ("a,b\n1,2\n", "1 row(s); at least 2"),
        ("a,b\n", "0 row(s); at least 2"),
        ("1\n2\n", "1 feature(s) of numbers; at least 2"),
        ("a,b\n1_0,2\n3,4\n", "holds text ('1_0' in row 1)"),
        ("", "is empty"),
        ("\n \n", "is empty"),
    ],
)
def test_bad_text(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (VALUES.astype(complex), "complex numbers"),
        (np.ones((2, 2, 2)), "shape (2, 2, 2)"),
        (np.ones(3), "shape (3,)"),
        (np.array(1.0), "shape ()"),
        (np.array([["a", "b"], ["c", "d"]]), "type <U1"),
        (np.array([[1, None], [2, 3]], dtype=object), "never unpickled"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "row 2, column 1 is nan"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_bad_arrays(tmp_path: Path, array: np.ndarray, message: str, suffix: str) -> None:
    path = tmp_path / f"bad{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    else:
        np.savez(path, array)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert message in str(caught.value)


def test_bad_sources(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", X=VALUES, y=np.arange(2))
    np.savez(tmp_path / "none.npz")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY no more")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no more")
    (tmp_path / "binary.csv").write_bytes(b"\x01\x02\x00\x01")
    (tmp_path / "x.xlsx").write_bytes(b"1")
    for name, rows in (("many", 10**12), ("more", 10**20)):
        head = (
            f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, 3), }}".ljust(117) + "\n"
        )
        (tmp_path / f"{name}.npy").write_bytes(
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()
        )
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("foo.txt", "no array")
    np.savez(tmp_path / "whole.npz", X=VALUES)
    whole = (tmp_path / "whole.npz").read_bytes()
    # flags and method in both headers
    for name, local, central, value in (
        ("secret", 6, 8, 1),
        ("method", 8, 10, 99),
    ):
        changed = bytearray(whole)
        for mark, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
            struct.pack_into("<H", changed, whole.index(mark) + offset, value)
        (tmp_path / f"{name}.npz").write_bytes(changed)
    for path, message in (
        ("two.npz", "2 arrays (X, y); choose one with --key"),
        ("none.npz", "holds no array"),
        ("broken.npy", "damaged or no NumPy file"),
        ("broken.npz", "damaged or no NumPy file"),
        ("binary.csv", "no text: it holds zero bytes"),
        ("x.xlsx", "give a .csv"),
        ("missing.csv", "does not exist"),
        ("", "is a directory"),
        ("many.npy", "does not fit in memory"),
        ("more.npy", "does not fit in memory"),
        ("text.npz", "holds no array"),
        ("secret.npz", "is encrypted"),
        ("method.npz", "compressed by a method that cannot be read"),
    ):
        with pytest.raises(InputError) as caught:
            read_table(tmp_path / path)
        assert message in str(caught.value), path
    with pytest.raises(InputError, match="no table was named"):
        read_table("")
    with pytest.raises(InputError, match="no array 'z'; it holds X, y"):
        read_table(tmp_path / "two.npz", key="z")
    with pytest.raises(InputError, match="leave --key out"):
        read_table("iris", key="z")
    with pytest.raises(
        InputError, match="unknown data set 'irish'; the known ones are breast_cancer, diabetes"
    ):
        read_table("irish")


def test_an_archive_may_hold_a_readme_beside_its_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=VALUES)
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("README.txt", "what this is")
    np.testing.assert_array_equal(read_table(tmp_path / "x.npz").rows, VALUES)
