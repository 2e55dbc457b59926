"""Every reader under damaged and hostile files: an answer, or `InputError` in one line with a
true reason.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))  # with the modules that it uses
import fuzz  # noqa: E402  # its folder is on the path only now
from eigenloop.system.errors import InputError  # noqa: E402
from fuzzing import TARGETS  # noqa: E402


def ran(*words: str, seconds: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "fuzz.py"), *words, "--seconds", str(seconds)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_are_refused_in_one_line(target: str, tmp_path: Path) -> None:
    if target != "tables":
        pytest.importorskip("transformers", reason="transformers is missing: pip install '.[lens]'")
    done = ran(target, "--keep", str(tmp_path), seconds=30)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert ", 0 failures," in done.stdout


class Reader:
    """A reader with a fault of every kind, by the first letter of what it reads."""

    def make(self, rng) -> dict[str, bytes]:
        return {"file": rng.choice("abcde").encode()}

    def read(self, folder: Path, rng) -> None:
        letter = (folder / "file").read_text()
        if letter == "b":
            raise InputError("no")
        if letter == "c":
            raise KeyError("c")
        while letter == "d":
            pass
        assert letter != "e", "a false reason"


@pytest.mark.parametrize(
    ("letter", "outcome", "words"),
    [
        ("a", "read", None),
        ("b", "refused", None),
        ("c", "failed", "KeyError"),
        ("d", "failed", "no answer within"),
        ("e", "failed", "a false reason"),
    ],
)
def test_what_counts_as_a_failure(
    tmp_path: Path, letter: str, outcome: str, words: str | None
) -> None:
    import random

    (tmp_path / "file").write_text(letter)
    found, wrong = fuzz.tried(Reader(), tmp_path, random.Random(0), 0.3)
    assert found == outcome
    assert (wrong is None) == (words is None)
    assert (words or "") in (wrong or "")


def test_a_failure_is_kept_and_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    monkeypatch.setitem(TARGETS, "reader", lambda folder: Reader())
    options = argparse.Namespace(seed=4, seconds=3.0, limit=0.05, only=None, keep=tmp_path)
    counts, failures = fuzz.run("reader", options)
    assert all(counts[name] for name in ("read", "refused", "failed"))
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == len(failures) == counts["failed"]
    for path in kept[:3]:
        number = int(path.name.rpartition("-")[2])
        again, _ = fuzz.run(
            "reader",
            argparse.Namespace(**{**vars(options), "only": number, "keep": tmp_path / "again"}),
        )
        assert again == {"read": 0, "refused": 0, "failed": 1}
        assert (tmp_path / "again" / path.name / "file").read_bytes() == (
            path / "file"
        ).read_bytes()
