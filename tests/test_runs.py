"""A run's directory: whole files only, one owner at a time, and no mixing of configurations."""

import errno
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eigenloop.lab.run_directory import RunDirectory, read_config
from eigenloop.system import directories
from eigenloop.system.errors import InputError
from eigenloop.system.files import atomic_write, load_arrays, save_arrays, save_table
from eigenloop.system.versions import versions

CONFIG: dict[str, Any] = {
    "task": "sphere",
    "rate": 0.1,
    "sizes": [3, 2],
    "steps": 10,
    "nothing": None,
}
STATE = {"x": np.arange(6.0).reshape(2, 3), "step": np.int64(7)}


def opened(path: Path, **changes: Any) -> RunDirectory:
    return RunDirectory(path, {**CONFIG, **changes}, extendable=("steps",))


def made(path: Path) -> Path:
    run = opened(path)
    with run.held() as saved:
        assert saved is None
        run.write_config()
        save_arrays(path / run.CHECKPOINT, STATE)
    return path


def refused(path: Path, **changes: Any) -> str:
    """The one line with which a directory is refused; nothing in it has changed."""

    def content() -> dict[str, bytes]:
        return (
            {p.name: p.read_bytes() for p in path.iterdir() if p.name != ".lock"}
            if path.is_dir()
            else {}
        )

    before = content()
    with pytest.raises(InputError) as raised, opened(path, **changes).held():
        pass
    assert content() == before
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    path = made(tmp_path / "deep" / "run")
    document = tomllib.loads((path / "config.toml").read_text())
    assert document == {
        "config": {k: v for k, v in CONFIG.items() if v is not None},
        "versions": versions(),
    }
    assert {"eigenloop", "jax", "numpy", "python", "machine"} <= versions().keys()
    assert opened(path).is_recorded()
    longer = opened(path, steps=20)
    assert not longer.is_recorded()
    with longer.held() as saved:
        assert saved is not None
        assert saved.keys() == STATE.keys()
        np.testing.assert_array_equal(saved["x"], STATE["x"])
        assert saved["step"].dtype == np.int64
        assert read_config(path)["steps"] == 10  # reading it has written nothing
        longer.write_config()
    assert read_config(path)["steps"] == 20


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rate": 0.2}, "rate is 0.1 there, 0.2 here"),
        ({"sizes": [3, 1]}, "sizes is [3, 2] there, [3, 1] here"),
        ({"task": None}, "task is sphere there, not set here"),
        ({"more": 1}, "more is not set there, 1 here"),
    ],
)
def test_another_configuration_is_refused_with_key_and_both_values(
    tmp_path: Path, changes: dict, words: str
) -> None:
    assert words in refused(made(tmp_path / "run"), **changes)


def test_what_a_killed_write_left_is_removed_and_refuses_nothing(tmp_path: Path) -> None:
    """SIGKILL between a temporary file and its move: the same command must go on."""
    path = tmp_path / "run"
    path.mkdir()
    left = [
        path / f".{name}.0123abcd"
        for name in ("config.toml", "checkpoint.safetensors", "metrics.csv")
    ]
    for file in left:
        file.write_bytes(b"half")
    made(path)
    assert not any(file.exists() for file in left)
    left[1].write_bytes(b"half")
    with opened(path).held() as saved:
        assert saved is not None
    assert not left[1].exists()
    foreign = tmp_path / "other" / ".config.toml.orig"
    foreign.parent.mkdir()
    foreign.write_text("")
    assert ".config.toml.orig" in refused(foreign.parent)  # not ours
    assert list(foreign.parent.iterdir()) == [foreign]


def test_the_configuration_is_compared_under_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may write its configuration between a first look and the lock."""
    path, flock = tmp_path / "run", directories.fcntl.flock

    def slow(*arguments: Any) -> None:
        opened(path, rate=0.2).write_config()
        flock(*arguments)

    monkeypatch.setattr(directories.fcntl, "flock", slow)
    with pytest.raises(InputError, match=r"rate is 0.2 there, 0.1 here"), opened(path).held():
        pass


def test_files_have_the_permissions_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_foreign_things_in_the_way_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    assert "thesis.tex" in refused(tmp_path)
    assert "is a file" in refused(tmp_path / "thesis.tex")
    assert "cannot write" in refused(tmp_path / "thesis.tex" / "below")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_directory_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "run")
    hold = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print('held',"
        " flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert "in use by another process" in refused(path)
        other.kill()
    with opened(path).held() as saved:  # a killed owner leaves no lock behind
        assert saved is not None


@contextmanager
def without_privileges() -> Iterator[None]:
    """As root, permissions bind nobody; become somebody."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_directory_without_permission_is_refused(tmp_path: Path) -> None:
    closed, read_only = tmp_path / "closed", tmp_path / "read-only"
    closed.mkdir(mode=0o000)
    read_only.mkdir(mode=0o555)
    try:
        with without_privileges():
            for path in (closed, closed / "run", read_only / "run"):
                with (
                    pytest.raises(InputError, match=r"cannot write to .*; choose another --out"),
                    opened(path).held(),
                ):
                    pass
                with pytest.raises(InputError, match="cannot write to"):
                    atomic_write(path / "file", b"")
    finally:
        closed.chmod(0o755)
    assert list(closed.iterdir()) == list(read_only.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "huge header", "text"])
def test_damaged_checkpoints_are_refused(tmp_path: Path, damage: str) -> None:
    file = made(tmp_path / "run") / RunDirectory.CHECKPOINT
    whole = file.read_bytes()
    file.write_bytes(
        {
            "truncated": whole[:-5],
            "empty": b"",
            "garbage": np.random.default_rng(0).bytes(200),
            "huge header": b"\xff" * 8 + whole[8:],
            "text": b"not a checkpoint at all",
        }[damage]
    )
    assert "checkpoint.safetensors is truncated or no safetensors file" in refused(file.parent)


def test_damaged_and_missing_configurations(tmp_path: Path) -> None:
    path = made(tmp_path / "run")
    for text in (
        b"task = ",
        b"\xff\xfe",
        b"other = 1\n",
        b"config = 3\n",
        b"config = [1]\n",
        b"[[config]]\nx = 1\n",
    ):
        (path / "config.toml").write_bytes(text)
        assert "config.toml is damaged" in refused(path)
    (path / "config.toml").unlink()  # a checkpoint without its configuration could be anybody's
    assert "checkpoint.safetensors" in refused(path)
    with pytest.raises(
        InputError, match=r"config.toml does not exist; give the directory of a run"
    ):
        read_config(path)
    with pytest.raises(InputError, match="does not exist"):
        load_arrays(tmp_path / "none.safetensors")


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    atomic_write(file, b"old")
    assert file.stat().st_mode & 0o777 == 0o644

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    for breaks, error in ((full, InputError), (killed, KeyboardInterrupt)):
        monkeypatch.setattr(os, "fsync", breaks)
        with pytest.raises(error):
            atomic_write(file, b"new")
        assert file.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [file]


def test_tables_keep_every_digit(tmp_path: Path) -> None:
    save_table(tmp_path / "t.csv", ("a", "b"), [(1, 0.1 + 0.2), (None, 1e-300)])
    assert (tmp_path / "t.csv").read_text() == "a,b\n1,0.30000000000000004\n,1e-300\n"


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {"t": np.arange(6.0).reshape(2, 3).T, "zero": np.float32(0), "none": np.zeros((0, 2))}
    save_arrays(tmp_path / "a.safetensors", arrays)
    found = load_arrays(tmp_path / "a.safetensors")
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
