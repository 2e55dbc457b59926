"""A command called in this process, and the smallest run of `train`."""

from pathlib import Path
from typing import Any

import pytest

from eigenloop.cli import main

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


def call(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def content(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.iterdir() if p.name != ".lock"}
