"""An output directory has an owner, is held by one process, and keeps nothing of a killed one."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eigenloop.system.directories import LOCK, STAGED, OutputDirectory, make
from eigenloop.system.errors import InputError
from eigenloop.system.files import atomic_write

HOLD = """
import sys
from pathlib import Path
from eigenloop.system.directories import OutputDirectory
with OutputDirectory(Path(sys.argv[1]), "train", ("a",)).held():
    print("held", flush=True)
    input()
"""


def train(path: Path, **settings) -> OutputDirectory:
    return OutputDirectory(path, "train", ("a", "b"), **settings)


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def test_a_directory_bears_the_mark_of_its_command_and_others_are_refused(tmp_path):
    out = tmp_path / "deep" / "out"
    with train(out).held():
        assert train(out).owners() == {"train": ["a", "b"]}
    assert train(out).is_ours()
    train(out).check()
    with pytest.raises(
        InputError, match=r"out was written by eigenloop train; choose another --out"
    ):
        OutputDirectory(out, "lens").check()
    beside = OutputDirectory(out, "verify", ("c",), beside=("train",))
    with beside.held():
        assert beside.owners() == {"train": ["a", "b"], "verify": ["c"]}
    with pytest.raises(InputError, match=r"b is eigenloop train's; choose another --out"):
        OutputDirectory(out, "verify", ("b",), beside=("train",)).check()
    with pytest.raises(InputError, match="written by eigenloop verify"):
        train(out).check()


def test_a_lock_of_somebody_else_is_left_alone(tmp_path):
    for content in ("pid 7\n", "[1, 2]", '{"train": 3}'):
        (tmp_path / LOCK).write_text(content)
        with (
            pytest.raises(InputError, match=r"\.lock was not written by eigenloop"),
            train(tmp_path).held(),
        ):
            pass
        assert (tmp_path / LOCK).read_text() == content
    (tmp_path / LOCK).write_text("")  # of an earlier version
    with train(tmp_path).held():
        pass
    assert json.loads((tmp_path / LOCK).read_text()) == {"train": ["a", "b"]}


def test_a_second_process_is_refused_until_the_first_has_gone_however_it_went(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match="in use by another process; wait for it or choose"),
            train(tmp_path / "out").held(),
        ):
            pass
        other.kill()
    with train(tmp_path / "out").held():
        pass


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    place = OutputDirectory(tmp_path, "steer", ("a", STAGED))
    with place.held():
        place.claim([*place.names, "c"])
    ours = [".a.0123abcd", ".c.0123abcd"]
    theirs = [".b.0123abcd", ".a.0123abc", ".a.orig", "a.0123abcd", "b"]
    for name in (*ours, *theirs):
        (tmp_path / name).write_text("half")
    (tmp_path / STAGED).mkdir()
    (tmp_path / STAGED / "half").touch()
    with OutputDirectory(tmp_path, "train", ("b",), beside=("steer",)).held():
        assert names(tmp_path) == sorted([LOCK, STAGED, *ours, *theirs[1:]])
    with OutputDirectory(tmp_path, "steer", ("a", STAGED), beside=("train",)).held():
        assert names(tmp_path) == sorted([LOCK, *theirs[1:]])


def test_an_error_removes_a_directory_that_was_made_and_is_empty_only(tmp_path):
    out = tmp_path / "out"

    def fails(*written: str) -> None:
        with train(out).held():
            for name in written:
                atomic_write(out / name, b"")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert names(tmp_path) == []
    out.mkdir()
    with pytest.raises(RuntimeError):
        fails()
    assert names(out) == [LOCK]
    shutil.rmtree(out)
    with pytest.raises(RuntimeError):
        fails("a")
    assert names(out) == [LOCK, "a"]


def test_a_directory_that_is_removed_meanwhile_is_not_made_again(tmp_path):
    out, message = tmp_path / "out", r"out was removed while this ran; start the same command again"

    @contextmanager
    def removed() -> Iterator[None]:
        with train(out).held():
            shutil.rmtree(out)
            yield

    with pytest.raises(InputError, match=message), train(out).held():
        shutil.rmtree(out)
    for place in (out, out / "below"):
        with pytest.raises(InputError, match=message), removed():
            atomic_write(place / "a", b"")
        assert names(tmp_path) == []
    with pytest.raises(InputError, match=message), removed():
        make(out.mkdir() or out)  # by another process
    assert names(out) == []


def test_what_is_refused_is_refused_under_the_lock_as_well_and_then_bears_no_mark(tmp_path):
    calls = []

    def refuse() -> None:
        calls.append((tmp_path / "out").exists())
        if len(calls) == 2:
            raise InputError("foreign")

    with pytest.raises(InputError, match="foreign"), train(tmp_path / "out", refuse=refuse).held():
        pass
    assert calls == [False, True]
    assert names(tmp_path) == []
