"""The command line: its JSON contract, one line for bad input, and runs that survive being
killed.
"""

import csv
import errno
import io
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from eigenloop import __version__
from eigenloop.cli import main, starting
from eigenloop.lab import training
from eigenloop.lab.checkpoints import load_run
from eigenloop.lab.run_directory import read_config
from eigenloop.system import directories, interrupts
from eigenloop.system.errors import InputError
from eigenloop.system.files import load_arrays

TINY = [
    "--dim",
    "3",
    "--samples",
    "5",
    "--batch",
    "8",
    "--train-size",
    "40",
    "--test-size",
    "16",
    "--loops",
    "2",
]
KEYS = {
    "steps",
    "train_loss",
    "test_loss",
    "a",
    "b",
    "gamma",
    "v_max",
    "w_max",
    "off_diagonal_ratio",
    "inactive_max",
    "seconds",
    "seed",
    "version",
}


def call(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def parsed(text: str) -> dict:
    """The one object on standard output; NaN and Infinity are no JSON."""

    def no_constant(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=no_constant)


def lines(text: str) -> list[str]:
    return text.splitlines()


def content(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.iterdir() if p.name != ".lock"}


# --- the contract of `train`


def test_json_of_one_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", *TINY, "--epochs", 2, "--seed", 3, "--json", "--out", tmp_path / "run"]
    status, out, err = call(capsys, *command)
    assert status == 0
    assert "training" in err
    found = parsed(out)
    assert found.keys() >= KEYS
    assert (found["steps"], found["seed"], found["version"]) == (10, 3, __version__)
    undefined = {key for key, value in found.items() if value is None}
    assert undefined == {"inactive_max"} == found["reasons"].keys()
    assert all(
        isinstance(found[key], float) for key in KEYS - {"steps", "seed", "version", "inactive_max"}
    )
    # the files by their stable names, and the numbers again in them
    weights = load_arrays(tmp_path / "run" / "weights.safetensors")
    assert {name: w.shape for name, w in weights.items()} == {"V": (6, 6), "W": (6, 6)}
    assert np.trace(weights["V"][3:, :3]) / 3 == pytest.approx(found["a"], rel=1e-6)
    assert np.trace(weights["W"][:3, 3:]) / 3 == pytest.approx(found["b"], rel=1e-6)
    assert abs(weights["W"]).max() == pytest.approx(found["w_max"], rel=1e-6)
    weights["V"][3:, :3] = weights["W"][:3, 3:] = 0
    assert not weights["V"].any()
    assert not weights["W"].any()
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == sorted({int(row["step"]) for row in rows})
    assert float(rows[-1]["test_loss"]) == found["test_loss"]
    assert rows[-1]["inactive_max"] == ""
    config = read_config(tmp_path / "run")
    assert (config["seed"], config["epochs"], config["dim"], config["dtype"]) == (
        3,
        2,
        3,
        "float32",
    )
    # the same command again: the same object at once, and nothing touched
    before = content(tmp_path / "run")
    began = time.monotonic()
    status, again, _ = call(capsys, *command)
    assert time.monotonic() - began < 1
    assert (status, parsed(again)) == (0, found)
    assert content(tmp_path / "run") == before


def test_json_of_several_seeds_in_the_full_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--fresh", "--steps", 4, "--seeds", 2, "--engine", "full", "--dtype", "float64"]
    options += ["--objective", "layerwise", "--no-norm", "--target", "unnormalized"]
    status, out, err = call(capsys, "train", *TINY, *options, "--json", "--out", tmp_path / "run")
    assert status == 0
    assert "note: --objective layerwise trains one layer; --loops 2 does not change it" in err
    found = parsed(out)
    assert read_config(tmp_path / "run")["loops"] == 1
    # which changes nothing, so the directory is still this run's
    options = [
        *options,
        "--loops",
        5,
    ]
    assert call(capsys, "train", *TINY, *options, "--json", "--out", tmp_path / "run")[:2] == (
        0,
        out,
    )
    assert found["train_loss"] == [None, None]
    assert found["reasons"].keys() == {"train_loss"}
    assert found["inactive_max"] == [0.0, 0.0]
    for key in ("test_loss", "a", "b", "gamma", "v_max", "w_max", "off_diagonal_ratio"):
        assert len(found[key]) == 2
        assert found[key][0] != found[key][1]
    weights = load_arrays(tmp_path / "run" / "weights.safetensors")
    assert {name: (w.shape, w.dtype) for name, w in weights.items()} == dict.fromkeys(
        "VW", ((2, 6, 6), np.float64)
    )


def test_summary_and_warning_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--samples", 4, "--steps", 1, "--objective", "layerwise"]
    status, out, err = call(capsys, "train", *TINY, *options, "--out", tmp_path / "run[1]")
    assert status == 0
    assert "warning: Assumption 3.2 (A3)" in err
    assert "n = d + 2 = 5" in err
    for word in ("test_loss", "gamma", "seconds", str(tmp_path / "run[1]")):
        assert word in out


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "--version") == (0, f"eigenloop {__version__}\n", "")
    status, out, _ = call(capsys, "train", "--help")
    assert status == 0
    assert "--multiplicities" in out


def test_any_x0_from_a_file_and_its_rotations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.random.default_rng(0).standard_normal((7, 3))
    np.save(tmp_path / "x0.npy", rows)
    command = [
        "train",
        "--task",
        "rotated",
        "--x0",
        tmp_path / "x0.npy",
        "--loops",
        2,
        "--batch",
        8,
    ]
    command += [
        "--train-size",
        40,
        "--test-size",
        16,
        "--steps",
        5,
        "--json",
        "--out",
        tmp_path / "run",
    ]
    status, out, err = call(capsys, *command)
    assert status == 0, err
    assert parsed(out)["steps"] == 5
    (tmp_path / "x0.npy").unlink()
    config = load_run(tmp_path / "run").config  # the run holds X0 itself
    assert (config.dim, config.samples) == (3, 7)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.linalg.eigvalsh(unit.T @ unit)[::-1]
    drawn = np.asarray(config.distribution().sample(jax.random.key(0), 3), np.float64)
    found = np.linalg.eigvalsh(drawn @ drawn.swapaxes(1, 2))[:, ::-1]
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-5)
    np.save(tmp_path / "x0.npy", rows[::-1])
    status, out, err = call(capsys, *command)
    assert (status, out) == (2, "")
    assert "x0 is [[" in err
    assert len(err) < 700


# --- bad input


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


# --- killed, interrupted, and started again

DRIVER = """
import signal, sys
from eigenloop.lab import training
from eigenloop.cli import main

# it may be ignored where tests run in the background
signal.signal(signal.SIGINT, signal.default_int_handler)
training.CHECKPOINT_SECONDS, training.STRETCH_SECONDS = 0.0, 0.002
main(sys.argv[1:])
"""


STARTED = """
import signal, sys
from eigenloop.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)
print("here", flush=True)
main(sys.argv[1:])
"""


def started(*command: Any) -> subprocess.Popen[str]:
    """A command in a process of its own, at the moment when its `main` begins."""
    words = [sys.executable, "-c", STARTED, *map(str, command)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


@pytest.mark.parametrize("delay", [0.1, 0.4, 1.0, 2.0, 3.0, 4.5])
def test_an_interrupt_at_any_moment_is_one_line_and_says_what_is_saved(
    tmp_path: Path, delay: float
) -> None:
    """During imports, while XLA compiles, and in training: never a traceback, never a crash."""
    with started(
        "train", *TINY, "--loops", 7, "--steps", 2_000_000_000, "--out", tmp_path / "run"
    ) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("error: interrupted")
    assert ("what was done is saved" in last) == (
        tmp_path / "run" / "checkpoint.safetensors"
    ).exists()
    assert ("nothing was saved" in last or last == "error: interrupted") == ("is saved" not in last)


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    """Also where the first cannot be heard: here because nothing ever asks."""
    code = STARTED.replace("main(sys.argv[1:])", WAITING)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        for _ in range(2):
            time.sleep(1.0)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Ctrl-C again stops at once" in err
    assert err.endswith(b"error: interrupted twice; stopped at once\n")


WAITING = """
import time
from eigenloop.system import interrupts
with interrupts.handled(), interrupts.deferred():
    while True:
        time.sleep(0.1)
"""


def test_the_handler_is_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)
    assert call(capsys, "--version")[0] == 0
    assert (signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)) == before
    for handler in (signal.SIG_IGN, lambda *arguments: None):  # somebody else's is left alone
        signal.signal(signal.SIGINT, handler)
        try:
            with interrupts.handled():
                assert signal.getsignal(signal.SIGINT) is handler
        finally:
            signal.signal(signal.SIGINT, before[0])


def test_interrupts_wait_for_a_check_only_where_deferred() -> None:
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        pytest.skip("Ctrl-C is ignored here")
    with pytest.raises(KeyboardInterrupt), interrupts.handled():
        signal.raise_signal(signal.SIGINT)
    reached = []

    def work() -> None:
        with interrupts.handled(), interrupts.deferred():
            with interrupts.deferred():
                interrupts.check()
                signal.raise_signal(signal.SIGINT)
                reached.append("after the signal")
            reached.append("after the check")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["after the signal"]
    interrupts.check()  # forgotten


def test_a_killed_run_ends_bit_for_bit_as_if_never_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    total, rng = 40_000, random.Random(0)
    command = ["train", *TINY, "--steps", str(total), "--learning-rate", "0.01", "--out"]
    assert call(capsys, *command, tmp_path / "whole")[0] == 0
    stopped = []
    for stop in (signal.SIGKILL, signal.SIGKILL, signal.SIGINT):
        checkpoint = tmp_path / "parts" / "checkpoint.safetensors"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        with subprocess.Popen(
            [sys.executable, "-c", DRIVER, *command, str(tmp_path / "parts")],
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while process.poll() is None and not (
                checkpoint.exists() and checkpoint.stat().st_mtime_ns > before
            ):
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.1))
            process.send_signal(stop)
            _, err = process.communicate(timeout=60)
        assert process.returncode == (130 if stop == signal.SIGINT else -stop), err
        assert "Traceback" not in err
        assert ("error: interrupted; what was done is saved" in err) == (stop == signal.SIGINT)
        stopped.append(int(load_arrays(checkpoint)["step"]))
    assert 0 < stopped[0] < stopped[1] < stopped[2] < total, (
        "every process must have been stopped on the way"
    )
    assert call(capsys, *command, tmp_path / "parts")[0] == 0
    one, other = content(tmp_path / "whole"), content(tmp_path / "parts")
    # a killed write's leftover
    other = {name: data for name, data in other.items() if not name.startswith(".")}
    assert (
        one.keys()
        == other.keys()
        == {"config.toml", "metrics.csv", "weights.safetensors", "checkpoint.safetensors"}
    )
    for name in one.keys() - {"checkpoint.safetensors"}:
        assert one[name] == other[name], name
    first, second = (
        load_arrays(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts")
    )
    assert first.keys() == second.keys()
    for name in first.keys() - {"seconds"}:
        assert first[name].tobytes() == second[name].tobytes(), name
    assert math.isfinite(float(second["seconds"]))
