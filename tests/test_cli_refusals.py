"""Bad input to a command: one clear line, exit status 2, nothing half-written."""

import errno
import io
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from command_line import TINY, call, content
from eigenloop.cli import starting
from eigenloop.lab import training
from eigenloop.system import directories
from eigenloop.system.errors import InputError


def lines(text: str) -> list[str]:
    return text.splitlines()


PLANTED = ["--task", "planted"]
BAD: list[tuple[list[Any], str]] = [
    (["train", *PLANTED, "--multiplicities", "5,4,3"], "3 multiplicities given, but --dim is 16"),
    (
        ["train", *PLANTED, "--dim", 3, "--samples", 9, "--multiplicities", "5,2,1"],
        "multiplicities sum to 8, but",
    ),
    (["train", *PLANTED, "--dim", 3, "--samples", 2, "--multiplicities", "1,1,0"], "--samples"),
    (["train", *PLANTED, "--dim", 3, "--samples", 6, "--multiplicities", "2,2,2"], "tight frame"),
    (["train", *PLANTED, "--dim", 3, "--samples", 6, "--multiplicities", "7,-2,1"], "-2"),
    (["train", *PLANTED, "--dim", 3, "--samples", 6, "--multiplicities", "3,2,x"], "give integers"),
    (
        ["train", *PLANTED, "--dim", 3, "--samples", 6, "--multiplicities", "3,2,nan"],
        "give integers",
    ),
    (["train", *PLANTED, "--dim", 8], "give --multiplicities"),
    *[
        (["train", f"--{name}", value], f"--{name} is {value}")
        for name in (
            "dim",
            "samples",
            "loops",
            "batch",
            "train-size",
            "test-size",
            "seeds",
            "epochs",
            "steps",
        )
        for value in (0, -3)
    ],
    (["train", "--batch", 200, "--train-size", 100], "--batch is 200, above --train-size 100"),
    (["train", "--epochs", 1, "--steps", 1], "give one of them"),
    (["train", "--no-norm"], "degenerate"),
    (["train", "--learning-rate", "nan"], "--learning-rate is nan"),
    (["train", "--learning-rate", "-0.1"], "--learning-rate is -0.1"),
    (["train", "--learning-rate", "fast"], "'--learning-rate': Input should be a valid number"),
    (["train", "--seed", -1], "--seed is -1"),
    (["train", "--samples", "1.5"], "'--samples': Input should be a valid integer"),
    (["train", "--samples", "1.5"], "(not '1.5')"),
    (["train", "--dim=abc"], "(not 'abc')"),
    (["train", "--steps", 99_999_999_999], "--steps is 99999999999; it must be at most 2147483647"),
    (
        ["train", "--train-size", 4_000_000_000],
        "--train-size is 4000000000; it must be at most 2147483647",
    ),
    (["train", "--dim", 200_000, "--samples", 200_002], "GiB of memory, and there are"),
    (["train", "--task", "cube"], "error: Invalid value for '--task': 'cube' is not one of"),
    (
        ["train", "--x0", "iris", "--header", "--no-header"],
        "--header and --no-header were both given; give one",
    ),
    (
        ["predict", "iris", "--no-header", "--header"],
        "--header and --no-header were both given; give one",
    ),
    (["train", "--target", "unnormalized"], "--no-norm"),
    (["train", "--fresh", "--epochs", 3], "--fresh"),
    (["train", "--samples", 8, "--min-eigenvalue", 0.5], "--min-eigenvalue"),
    (["train", "--colour", "red"], "--colour"),
    (["train", "--task", "rotated"], "--task rotated and --x0 go together"),
    (["train", "--x0", "iris"], "--task rotated and --x0 go together"),
    (
        ["train", "--task", "rotated", "--x0", "iris", "--dim", 5],
        "--dim is 5, but --x0 has 4; leave --dim out",
    ),
    (["train", "--task", "rotated", "--x0", "digits"], "Example 3.3 needs full rank d = 64"),
    (["train", "--task", "rotated", "--x0", "none.csv"], "none.csv does not exist"),
    (["train", "--task", "rotated", "--x0", ""], "--x0 is empty; give it a value"),
    (["train", "--x0="], "--x0 is empty; give it a value"),
    (["predict", ""], "an argument is empty; give it a value"),
    (["train", "extra"], "extra"),
    (
        ["reproduce", "--figure", 2, "--multiplicities", 8],
        "--multiplicities is '8'; give at least two numbers",
    ),
    (["reproduce", "--multiplicities", 8, "--dim", 3], "1 multiplicities given, but --dim is 3"),
    (["reproduce", "--figure", 9], "--figure is 9"),
    (["reproduce", "--figure", 0, "--quick"], "--figure is 0"),
    (["reproduce", "--figure", "one"], "'--figure': Input should be a valid integer"),
    (["reproduce", "--figure", 2, "--figure", "one"], "(not 'one')"),
    (["reproduce", "--epochs", 0], "--epochs is 0"),
    (["reproduce", "--seeds", -2], "--seeds is -2"),
    (["reproduce", "--seed", -1, "--quick"], "--seed is -1"),
    (["reproduce", "--colour"], "--colour"),
]


@pytest.mark.parametrize(
    ("arguments", "words"), BAD, ids=[" ".join(map(str, arguments)) for arguments, _ in BAD]
)
def test_bad_input_is_one_line_status_2_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list, words: str
) -> None:
    status, out, err = call(capsys, *arguments, "--out", tmp_path / "run")
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert words in err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_in_a_process_of_its_own() -> None:
    code = "from eigenloop.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "fly"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: No such command 'fly'.\n"


def test_directories_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", *TINY, "--steps", 3]
    run = tmp_path / "run"
    assert call(capsys, *command, "--out", run)[0] == 0
    checkpoint = (run / "checkpoint.safetensors").read_bytes()

    def fails(words: str, *arguments: Any) -> None:
        before = content(run)
        status, out, err = call(capsys, *command, *arguments)
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert words in err
        assert content(run) == before

    fails("seed is 0 there, 1 here", "--seed", 1, "--out", run)
    fails("loops is 2 there, 3 here", "--loops", 3, "--out", run)
    fails("already done 3 steps; 2 were asked for", "--steps", 2, "--out", run)
    fails("is a file; --out must be a directory", "--out", run / "metrics.csv")
    fails("cannot write to", "--out", run / "metrics.csv" / "below")
    fails("holds other files (run, ...)", "--out", tmp_path)
    for damaged in (checkpoint[:-7], b"", b"garbage" * 40):
        (run / "checkpoint.safetensors").write_bytes(damaged)
        fails("checkpoint.safetensors is truncated or no safetensors file", "--out", run)
    (run / "checkpoint.safetensors").write_bytes((run / "weights.safetensors").read_bytes())
    fails("the checkpoint lacks", "--out", run)
    # a missing one is a run that was killed before its first: it starts again and ends with the
    # same numbers
    weights = (run / "weights.safetensors").read_bytes()
    (run / "checkpoint.safetensors").unlink()
    assert call(capsys, *command, "--out", run)[0] == 0
    assert (run / "weights.safetensors").read_bytes() == weights
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


LONG = {
    "train": ["train", *TINY, "--steps", 2000],
    "reproduce": ["reproduce", "--quick", "--figure", 3],
    "verify": ["verify", "--quick", "--only", "thm4.1"],
}


@pytest.mark.parametrize("command", list(LONG))
def test_a_second_process_in_one_directory_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.setattr(directories, "PATIENCE_SECONDS", 0.0)
    with directories.OutputDirectory(
        tmp_path / "out", command
    ).held():  # a lock is the file's, not the process's
        status, out, err = call(capsys, *LONG[command], "--out", tmp_path / "out")
    assert (status, out) == (2, "")
    assert (
        err
        == f"error: {tmp_path / 'out'} is in use by another process; wait for it or choose another"
        " --out\n"
    )


@pytest.mark.parametrize("command", list(LONG))
def test_a_directory_of_another_command_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with directories.OutputDirectory(tmp_path, "lens").held():
        pass
    status, out, err = call(capsys, *LONG[command], "--out", tmp_path)
    assert (status, out) == (2, "")
    assert err == f"error: {tmp_path} was written by eigenloop lens; choose another --out\n"
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("command", ["train", "reproduce"])
def test_a_directory_that_is_removed_during_the_run_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    advance = training.Trainer.advance

    def removing(*arguments: Any) -> Any:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        return advance(*arguments)

    monkeypatch.setattr(training.Trainer, "advance", removing)
    monkeypatch.setattr("eigenloop.figures.side_by_side", lambda: 1)
    status, out, err = call(capsys, *LONG[command], "--out", tmp_path / "out")
    assert (status, out) == (2, "")
    assert re.fullmatch(
        r"error: \S*out\S* was removed while this ran; start the same command again", lines(err)[-1]
    )
    assert not any(line.startswith("error") for line in lines(err)[:-1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "file", ["config.toml", "checkpoint.safetensors", "weights.safetensors", "metrics.csv"]
)
def test_a_full_disk_is_one_line_and_leaves_whole_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    fsync, command = os.fsync, [*LONG["train"], "--out", tmp_path / "out"]

    def full(number: int) -> None:
        if file in os.readlink(f"/proc/self/fd/{number}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    if not Path("/proc/self/fd").exists():
        pytest.skip("files are named by /proc")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        status, out, err = call(capsys, *command)
    assert (status, out) == (2, "")
    said = (
        f"error: cannot write {tmp_path / 'out' / file}: No space left on device; make room and"
        " start the same"
    )
    assert lines(err)[-1].startswith(said)
    assert not any(
        path.name.startswith(".") for path in (tmp_path / "out").glob(".*") if path.name != ".lock"
    )
    assert call(capsys, *command)[0] == 0
    assert call(capsys, *LONG["train"], "--out", tmp_path / "whole")[0] == 0
    one, other = (content(tmp_path / name) for name in ("out", "whole"))
    del one["checkpoint.safetensors"], other["checkpoint.safetensors"]
    assert one == other


def test_the_first_word_comes_before_the_imports_and_the_first_checkpoint_after_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(starting, "PATIENCE", 0.05)
    with starting.starting("no such library"):
        time.sleep(1)
    with starting.starting("sys"):  # it is there already
        time.sleep(0.2)
    monkeypatch.setattr(starting, "PATIENCE", 60)
    with pytest.raises(InputError), starting.starting("no such library"):
        raise InputError("refused at once")
    assert err.getvalue() == "starting\n"
    seen, advance = [], training.Trainer.advance

    def looking(*arguments: Any) -> Any:
        seen.append((tmp_path / "run" / "checkpoint.safetensors").exists())
        return advance(*arguments)

    monkeypatch.setattr(training.Trainer, "advance", looking)
    config = training.TrainConfig.create(
        dim=3, samples=5, batch=8, train_size=40, test_size=16, steps=3
    )
    training.train(config, tmp_path / "run")
    assert seen == [False, True, True]
