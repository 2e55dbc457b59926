"""Every long command is killed at a few moments; what it writes in the end is the same
(`tools/kills.py`).
"""

import dataclasses
import importlib
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

TOOLS = Path(__file__).resolve().parents[1] / "tools"
sys.path.insert(0, str(TOOLS))
kills = importlib.import_module("kills")
sys.path.remove(str(TOOLS))

EACH = 3
SHORT = {"verify": ("verify", "--quick", "--only", "thm4.3.growth,lemA.4", "--out", "out")}
"""What stands for a command whose run would take minutes of the tests."""


@pytest.mark.slow
@pytest.mark.parametrize("command", kills.CASES)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="workers are looked for in /proc")
def test_a_killed_command_ends_as_if_it_had_not_been(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = kills.CASES[command]
    short = dataclasses.replace(case, words=SHORT.get(command, case.words))
    monkeypatch.setitem(kills.CASES, command, short)
    if command in ("lens", "steer"):
        pytest.importorskip("transformers", reason="transformers is missing: pip install '.[lens]'")
    tally = kills.run([command], lambda name: EACH)[command]
    assert tally.wrong == []
    assert tally.phases.total() == EACH
    assert tally.ended >= 1
    assert tally.gone <= kills.GONE_SECONDS


def test_only_clocks_are_left_out_of_the_comparison(tmp_path: Path) -> None:
    def written(
        name: str, *, seconds: float, step: int = 3, loss: str = "0.5", file: bytes = b"x"
    ) -> dict:
        out = tmp_path / name / "out"
        out.mkdir(parents=True)
        arrays = {"step": np.int64(step), "seconds": np.float64(seconds)}
        (out / "checkpoint.safetensors").write_bytes(
            save({key: np.asarray(value) for key, value in arrays.items()})
        )
        (out / "claims.csv").write_text(f"id,seconds,loss\na,{seconds},{loss}\n")
        (out / "report.html").write_text(f"<p>{loss} in {seconds:.1f} s</p>")
        (out / "figure.png").write_bytes(file)
        (tmp_path / f"{name}.out").write_text(
            f'{{"loss": {loss}, "all": [{{"seconds": {seconds}}}]}}'
        )
        return kills.results(tmp_path / name)

    one = written("one", seconds=1.5)
    assert kills.differences(one, written("later", seconds=22.0), "later") == []
    everywhere = [
        "claims.csv differs in x",
        "report.html differs in x",
        "standard output differs in x",
    ]
    assert kills.differences(one, written("loss", seconds=1.5, loss="0.25"), "x") == everywhere
    assert kills.differences(one, written("step", seconds=1.5, step=4), "x") == [
        "checkpoint.safetensors differs in x"
    ]
    assert kills.differences(one, written("file", seconds=1.5, file=b"y"), "x") == [
        "figure.png differs in x"
    ]
    (tmp_path / "file" / "out" / ".figure.png.0123abcd").touch()
    (tmp_path / "file" / "out" / ".lock").touch()
    (tmp_path / "file" / ".out.0123abcd").touch()
    assert kills.hidden(tmp_path / "file") == [".figure.png.0123abcd"]
    assert kills.beside(tmp_path / "file") == [".out.0123abcd"]


def test_kills_are_spread_over_times_and_changes() -> None:
    moments = list(kills.moments_of(40, 8.0, 10, random.Random(0)))
    times = sorted(seconds for seconds, change in moments if change is None)
    changes = sorted(change for _, change in moments if change is not None)
    assert len(times) == len(changes) == 20
    assert all(
        8.0 * (2 * i + 1) / 40 <= time <= 8.0 * (2 * i + 2) / 40 for i, time in enumerate(times)
    )
    assert set(changes) == set(range(1, 11))
