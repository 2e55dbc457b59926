"""Feed damaged and hostile files to a reader: it must answer, or refuse with `InputError`, in time
and memory.

An input is a failure where anything but `InputError` comes out; where the message has several
lines, is longer than MESSAGE characters, does not name what was read, or gives a reason that is not
true; where reading takes longer than --limit seconds of the processor; or where the process needs
more than 2 GiB. Each input is decided by the seed and its number, and the files of a failure are
kept as TARGET-SEED-NUMBER.

Usage::

    python tools/fuzz.py {tables,headers,configs,texts,directions} [--seconds 30] [--seed 0] [--only
    NUMBER]
"""

import argparse
import faulthandler
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before anything reads them
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ["TQDM_DISABLE"] = os.environ["HF_HUB_OFFLINE"] = (
        "1"  # no reader has to ask for anything
    )
sys.path.insert(0, str(Path(__file__).resolve().parent))

from eigenloop.system.errors import InputError
from fuzzing import TARGETS

MEMORY = 2 * 2**30
MESSAGE = 1000


def tried(target: Any, folder: Path, rng: random.Random, limit: float) -> tuple[str, str | None]:
    """("read" or "refused", what is wrong with that; None if nothing is)."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no answer within {limit} s")

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, limit)
    # for what hears no signal, such as a loop in C; this clock goes on while others have the
    # processor
    faulthandler.dump_traceback_later(max(6 * limit, 60), exit=True)
    try:
        target.read(folder, rng)
    except InputError as error:
        return "refused", _wrong(str(error))
    except BaseException:
        return "failed", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
    return "read", None


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _wrong(message: str) -> str | None:
    if len(message.splitlines()) != 1:
        return f"several lines: {message!r}"
    if not message.isprintable():
        return f"signs that cannot be shown: {message!r}"
    if len(message) > MESSAGE:
        return f"{len(message):,} characters: {message[:200]!r}..."
    if "Traceback" in message:
        return f"a traceback: {message!r}"
    return None


def run(name: str, options: argparse.Namespace) -> tuple[dict[str, int], list[str]]:
    """Try inputs until the time is over."""
    counts, failures, number = {"read": 0, "refused": 0, "failed": 0}, [], options.only or 0
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "seeds").mkdir()
        target = TARGETS[name](Path(scratch) / "seeds")
        began, folder = time.monotonic(), Path(scratch) / "input"
        kept = options.keep / f"{name}-{options.seed}"
        while time.monotonic() - began < options.seconds:
            number += options.only is None
            rng = random.Random(f"{options.seed}-{number}")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for file, content in target.make(rng).items():
                (folder / file).write_bytes(content)
            (Path(scratch) / "number").write_text(str(number))
            outcome, wrong = tried(target, folder, rng, options.limit)
            if (
                wrong is None
                and not any("GiB" in failure for failure in failures)
                and peak() > MEMORY
            ):
                wrong = f"{peak() / 2**30:.2f} GiB are needed"
            counts["failed" if wrong else outcome] += 1
            if wrong:
                shutil.copytree(folder, options.keep / f"{kept.name}-{number}", dirs_exist_ok=True)
                failures.append(f"{kept}-{number}: {wrong}")
                print(failures[-1], file=sys.stderr, flush=True)
            if options.only is not None:
                break
    return counts, failures


def main() -> int:
    """Run until the time is over; 0 when nothing failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--limit", type=float, default=10, help="seconds of the processor for one input"
    )
    parser.add_argument("--only", type=int, metavar="NUMBER", help="try this input alone")
    parser.add_argument(
        "--keep", type=Path, default=Path("runs/fuzz"), help="where failing inputs are kept"
    )
    options = parser.parse_args()
    warnings.simplefilter("error")
    logging.disable()
    addresses = MEMORY + 6 * 2**30
    # of addresses, shared libraries too
    resource.setrlimit(resource.RLIMIT_AS, (addresses, addresses))
    counts, failures = run(options.target, options)
    print(
        f"{options.target}, seed {options.seed}: {sum(counts.values()):,} inputs in"
        f" {options.seconds:g} s, {counts['read']:,} read, {counts['refused']:,} refused,"
        f" {len(failures)} failures, peak memory {peak() / 2**30:.2f} GiB"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
