"""The command line: its JSON contract, one line for bad input, and runs that survive being
killed.
"""

import csv
import json
import math
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from command_line import TINY, call, content
from eigenloop import __version__
from eigenloop.lab.checkpoints import load_run
from eigenloop.lab.run_directory import read_config
from eigenloop.system import interrupts
from eigenloop.system.files import load_arrays

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


def parsed(text: str) -> dict:
    """The one object on standard output; NaN and Infinity are no JSON."""

    def no_constant(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=no_constant)


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
