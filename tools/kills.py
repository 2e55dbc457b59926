"""Kill every long command at many moments, and see that the same command then ends as if it never
had been.

    python tools/kills.py --log docs/kills.md          100 kills of train, 20 of each other command
    python tools/kills.py --each 3 --only train,lens   a few

Each process gets SIGKILL, half of them after a time that is spread over the whole run, half of them
at the first, second, ... change of the output directory. Up to five processes are killed in one
directory, then the command is left to end there. Then it is required that

- it ends with status 0, and every file is that of a run that was never killed, bit for bit, clocks
  apart;
- nothing but the directory itself lies beside --out after each kill, and nothing hidden but its
  mark lies in it;
- worker processes are gone two seconds after their parent.
"""

import argparse
import csv
import importlib
import io
import itertools
import json
import math
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.numpy import load

ROOT = Path(__file__).resolve().parents[1]
CHAIN = 5
"""Kills in one directory, one after the other."""
GONE_SECONDS = 2.0
LONGEST_SECONDS = 600.0
CLOCK = re.compile(
    r"(\d[\d.,]*|under 0\.1) s\b|finished [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC"
)
DRIVER = """
import sys
from eigenloop.cli import main
from eigenloop.system import bars as module

def bars(of=module.bars):
    from eigenloop.lab import training  # not before the first word
    training.CHECKPOINT_SECONDS = training.STRETCH_SECONDS = 0.1
    return of()

module.bars = bars
main(sys.argv[1:])
"""
PLAIN = "import sys; from eigenloop.cli import main; main(sys.argv[1:])"


Moment = tuple[float, int | None]
"""Seconds after which a process is killed, or how often its directory has changed before."""


@dataclass(frozen=True)
class Case:
    """A command that is killed.

    Args:
        words: of the command; it writes to "out" in its working directory.
        phases: what the last phase reached leaves in "out": a glob for each; before it says more
            than "starting", a process is in its imports.
        kills: how many, where nothing else is asked for.
        code: what Python runs.
    """

    words: tuple[str, ...]
    phases: Mapping[str, str]
    kills: int = 20
    code: str = PLAIN


CASES: Mapping[str, Case] = {
    "train": Case(
        ("train", "--dim", "4", "--samples", "8", "--steps", "4000", "--train-size", "256",
         "--test-size", "64", "--learning-rate", "0.01", "--out", "out"),
        {"compiling": "config.toml", "training": "checkpoint.safetensors",
        "written": "weights.safetensors"},
        kills=100, code=DRIVER,
    ),
    "reproduce": Case(
        ("reproduce", "--quick", "--figure", "3", "--out", "out"),
        {"compiling": ".lock", "training": "runs/*/checkpoint.safetensors", "drawing": "figure*"},
    ),
    "verify": Case(
        ("verify", "--quick", "--only", "thm4.1,lemA", "--out", "out"),
        {"compiling": ".lock", "measuring": ".measured.jsonl", "writing": "claims.json"},
    ),
    "predict": Case(("predict", "iris", "--steps", "2000", "--json"), {"training": "**/*.lock"}),
    "lens": Case(
        ("lens", "MODEL", "--out", "out"), {"measuring": ".lock", "writing": "*.csv"},
    ),
    "steer": Case(
        ("steer", "MODEL", "--toward", " the", "--method", "signed", "--out", "out"),
        {"measuring": ".lock", "writing": ".new", "written": "steer.json"},
    ),
}  # fmt: skip


@dataclass
class Tally:
    """What happened to one command."""

    phases: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    """Runs that were left to end, and compared."""
    seconds: float = 0.0
    """Of the run that was never killed."""
    first_word: float = 0.0
    """Seconds from the start to the first word on standard error, the longest."""
    gone: float = 0.0
    """Seconds from a kill to the end of the last worker, the longest."""
    wrong: list[str] = field(default_factory=list)


class Process:
    """A command in a process of its own, and whatever that starts."""

    def __init__(self, case: Case, words: tuple[str, ...], folder: Path) -> None:
        self.token, self.folder, self.case = secrets.token_hex(8), folder, case
        self.log = folder.parent / f"{folder.name}.log"
        environment = {**os.environ, "EIGENLOOP_KILLS": self.token, "PYTHONUNBUFFERED": "1"}
        if words[0] == "predict":
            environment["XDG_CACHE_HOME"] = str(folder / "out")
        self.began, self.first = time.monotonic(), float("nan")
        with (
            self.log.open("wb") as errors,
            (folder.parent / f"{folder.name}.out").open("wb") as said,
        ):
            self.popen = subprocess.Popen(
                [sys.executable, "-c", case.code, *words],
                cwd=folder,
                env=environment,
                stdout=said,
                stderr=errors,
            )

    def watch(self, seconds: float, changes: int | None = None) -> bool:
        """Wait for so many seconds or changes of the directory; whether the process still runs."""
        before, count = state(self.folder), 0
        while self.popen.poll() is None:
            now = time.monotonic() - self.began
            if math.isnan(self.first) and self.log.stat().st_size:
                self.first = now
            if now > seconds:
                return True
            if changes is not None:
                after = state(self.folder)
                count, before = count + (after != before), after
                if count >= changes:
                    return True
            time.sleep(0.002)
        return False

    def phase(self) -> str:
        """Where it is, by what it has said and written."""
        if self.log.read_text("utf-8", "replace").strip() in ("", "starting"):
            return "imports"
        reached = [
            name for name, glob in self.case.phases.items() if any((self.folder / "out").glob(glob))
        ]
        return reached[-1] if reached else "before writing"

    def kill(self) -> float:
        """SIGKILL to this process alone; seconds until what it had started is gone."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()
        began = time.monotonic()
        while alive(self.token) and time.monotonic() - began < 10 * GONE_SECONDS:
            time.sleep(0.02)
        return time.monotonic() - began


def alive(token: str) -> list[int]:
    """Processes that have a token in their environment (Linux)."""
    found, word = [], f"EIGENLOOP_KILLS={token}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if word in (place / "environ").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found


def state(folder: Path) -> list[tuple[str, int, int]]:
    """Every file in a folder with its size and time."""
    found = []
    for at, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.stat(os.path.join(at, name))
            except OSError:
                continue
            found.append((os.path.join(at, name), status.st_size, status.st_mtime_ns))
    return found


def results(folder: Path) -> dict[str, Any]:
    """Every file that a command has written, without its clocks."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "out").rglob("*")):
        name = path.relative_to(folder / "out").as_posix()
        if path.is_dir() or path.name == ".lock":
            continue
        if path.name == "checkpoint.safetensors":
            arrays = load(path.read_bytes())
            found[name] = {
                key: (str(a.dtype), a.shape, a.tobytes())
                for key, a in arrays.items()
                if key != "seconds"
            }
        elif path.suffix == ".json":
            found[name] = without_seconds(json.loads(path.read_text("utf-8")))
        elif path.name == "claims.csv":
            rows = csv.DictReader(io.StringIO(path.read_text("utf-8")))
            found[name] = [
                {key: value for key, value in row.items() if key != "seconds"} for row in rows
            ]
        elif path.suffix == ".html":
            found[name] = CLOCK.sub("", path.read_text("utf-8"))
        else:
            found[name] = path.read_bytes()
    said = (folder.parent / f"{folder.name}.out").read_text("utf-8")
    found["standard output"] = without_seconds(json.loads(said)) if said.startswith("{") else None
    return found


def without_seconds(value: Any) -> Any:
    """A JSON value without its clocks."""
    if isinstance(value, dict):
        return {key: without_seconds(item) for key, item in value.items() if key != "seconds"}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def hidden(folder: Path) -> list[str]:
    """What should not be there after a run has ended: hidden files other than marks."""
    out = folder / "out"
    return [path.relative_to(out).as_posix() for path in out.rglob(".*") if path.name != ".lock"]


def beside(folder: Path) -> list[str]:
    """What lies beside the output directory."""
    return [path.name for path in folder.iterdir() if path.name != "out"]


def killed(name: str, kills: int, place: Path, words: tuple[str, ...], seed: int) -> Tally:
    """Kill one command so often, and compare what the runs that were left to end have written."""
    tally = Tally()
    expected, changes = reference(CASES[name], tally, place, words)
    moments = list(moments_of(kills, tally.seconds, changes, random.Random(seed)))
    numbers = itertools.count()
    while moments:
        folder = folder_of(place, str(next(numbers)))
        kill_in(folder, CASES[name], tally, words, moments)
        process = Process(CASES[name], words, folder)
        process.watch(LONGEST_SECONDS)
        if process.popen.poll() != 0:
            process.kill()
            tally.wrong.append(f"the same command fails in {folder.name}: {last_line(process)}")
            continue
        tally.ended += 1
        tally.wrong += differences(expected, results(folder), folder.name)
        tally.wrong += [
            f"{found} is left in {folder.name}" for found in (*hidden(folder), *beside(folder))
        ]
        print(row(name, tally), file=sys.stderr, flush=True)
    return tally


def reference(
    case: Case, tally: Tally, place: Path, words: tuple[str, ...]
) -> tuple[dict[str, Any], int]:
    """What a run writes that is not killed, and how often its directory changes; two must write
    the same.
    """
    whole, again = folder_of(place, "whole"), folder_of(place, "again")
    process = Process(case, words, whole)
    changes, before = 0, state(whole)
    while process.watch(time.monotonic() - process.began + 0.002):
        after = state(whole)
        changes, before = changes + (after != before), after
    if process.popen.returncode:
        raise SystemExit(
            f"the run that is not killed fails: {process.log.read_text('utf-8', 'replace')}"
        )
    process = Process(case, words, again)  # now that its programs are compiled
    process.watch(LONGEST_SECONDS)
    tally.seconds, tally.first_word = time.monotonic() - process.began, process.first
    expected = results(whole)
    tally.wrong += differences(expected, results(again), "a second run")
    return expected, max(changes, 1)


def kill_in(
    folder: Path, case: Case, tally: Tally, words: tuple[str, ...], moments: list[Moment]
) -> None:
    """Kill up to `CHAIN` processes in one directory, one after the other, at the first of the
    moments.
    """
    for _ in range(min(CHAIN, len(moments))):
        process = Process(case, words, folder)
        seconds, change = moments[0]
        if not process.watch(seconds, change):
            if process.popen.returncode:
                tally.wrong.append(f"fails in {folder.name}: {last_line(process)}")
            moments[0] = 0.7 * seconds, None if change is None or change < 2 else change - 1
            return  # it was faster: nothing to kill
        tally.phases[process.phase()] += 1
        gone = process.kill()
        tally.gone = max(tally.gone, gone)
        if gone > GONE_SECONDS:
            tally.wrong.append(f"a worker stays {gone:.1f} s after its parent in {folder.name}")
        if not math.isnan(process.first):
            tally.first_word = max(tally.first_word, process.first)
        tally.wrong += [f"{found} lies beside --out in {folder.name}" for found in beside(folder)]
        moments.pop(0)


def moments_of(kills: int, seconds: float, changes: int, rng: random.Random) -> Iterator[Moment]:
    """When to kill: every other one after a time, the others at a change of the directory."""
    order = list(range(kills))
    rng.shuffle(order)
    for index in order:
        share = (index + rng.random()) / kills
        if index % 2:
            yield share * seconds, None
        else:
            yield LONGEST_SECONDS, 1 + int(share * changes)


def differences(expected: Mapping[str, Any], found: Mapping[str, Any], where: str) -> list[str]:
    """Files that differ, in words."""
    names = sorted({*expected} | {*found})
    return [f"{name} differs in {where}" for name in names if expected.get(name) != found.get(name)]


def last_line(process: Process) -> str:
    """The end of what a process has said."""
    return (process.log.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"])[
        -1
    ]


def folder_of(place: Path, name: str) -> Path:
    """A new working directory."""
    folder = place / name
    folder.mkdir(parents=True)
    return folder


def small_model(folder: Path) -> Path:
    """A GPT-2 of three layers with a tokenizer, that `lens` and `steer` take."""
    sys.path[:0] = [str(ROOT / "tests" / "steer"), str(ROOT / "tests" / "lens")]
    return importlib.import_module("steer_models").saved(folder / "model", "gpt2")


def run(
    only: list[str],
    kills: Callable[[str], int],
    *,
    seed: int = 0,
    tell: Callable[[str], None] = print,
) -> dict[str, Tally]:
    """Kill the commands.

    Args:
        only: which, names of `CASES`.
        kills: how often, by name.
        seed: decides when.
        tell: hears one row of the table after each command.
    """
    found: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(prefix="eigenloop-kills-") as name:
        place = Path(name)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(place / "compiled"))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        model = str(small_model(place)) if {"lens", "steer"} & {*only} else ""
        for case in only:
            words = tuple(model if word == "MODEL" else word for word in CASES[case].words)
            found[case] = killed(case, kills(case), place / case, words, seed)
            tell(row(case, found[case]))
            shutil.rmtree(place / case, ignore_errors=True)
    return found


HEADER = (
    "| command | kills | in which phase | runs compared | one run, s | first word, s | workers"
    " gone, s | wrong |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def row(name: str, tally: Tally) -> str:
    """A row of the table."""
    phases = ", ".join(f"{count} {phase}" for phase, count in tally.phases.most_common())
    wrong = "; ".join(sorted(set(tally.wrong))) or "nothing"
    return (
        f"| `{name}` | {tally.phases.total()} | {phases} | {tally.ended} | {tally.seconds:.1f} | "
        f"{tally.first_word:.2f} | {tally.gone:.2f} | {wrong} |"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default=",".join(CASES), help="commands, separated by commas")
    parser.add_argument(
        "--each", type=int, help="kills of each command; by default 100 of train, 20 of others"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides when")
    parser.add_argument("--log", type=Path, help="a file for the table")
    asked = parser.parse_args()
    print(HEADER, flush=True)
    found = run(
        asked.only.split(","),
        lambda name: asked.each or CASES[name].kills,
        seed=asked.seed,
        tell=lambda text: print(text, flush=True),
    )
    if asked.log:
        rows = "\n".join(row(name, tally) for name, tally in found.items())
        asked.log.write_text(f"{HEADER}\n{rows}\n", encoding="utf-8")
    sys.exit(any(tally.wrong for tally in found.values()))


if __name__ == "__main__":
    main()
