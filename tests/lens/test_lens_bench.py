"""The benchmark of the lens compares equal answers on a checkpoint that the lens reads."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from eigenloop import lens

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """bench/lens.py as a module, with its folder on the path as when it runs as a script."""
    spec = importlib.util.spec_from_file_location("bench_lens", BENCH / "lens.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        spec.loader.exec_module(module)
        yield module


def test_the_product_and_the_dense_matrix_give_the_same_eigenvalue(bench):
    found = bench.heads_against_dense(48, 4, rounds=4)
    assert found["largest_relative_difference"] < 1e-10
    assert found["ratio"]["min"] > 0


def test_the_checkpoint_is_a_gpt2(bench, tmp_path):
    bench.write_gpt2(tmp_path, layers=2, width=24, heads=3, vocabulary=10)
    found = lens.spectra(tmp_path)
    assert (found.model_type, found.heads, found.width, len(found.layers)) == ("gpt2", 3, 24, 2)


WORKER = """
import json, sys
import numpy as np
from eigenloop import lens
print(json.dumps({"import_seconds": 1.0, "load_seconds": 1.0}), flush=True)
for line in sys.stdin:
    layers = [lens.circuits(sys.argv[1], l) for l in range(12)]
    heads = [layer.head(h) for layer in layers for h in range(3)]
    largest = [float(abs(np.linalg.eigvals(head)).max()) for head in heads]
    print(json.dumps({"seconds": 2.0, "dtype": "complex128", "largest": largest}), flush=True)
"""


def test_another_program_is_asked_in_turns_and_gives_the_same_numbers(bench, tmp_path, monkeypatch):
    bench.write_gpt2(tmp_path, layers=12, width=24, heads=3, vocabulary=10)
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    monkeypatch.setattr(bench, "BASELINE", worker)
    found = bench.beside_transformer_lens(Path(sys.executable), tmp_path, rounds=2)
    assert found["heads"] == 36
    assert found["largest_relative_difference"] < 1e-10
    assert found["theirs"]["median"] == 2.0
    assert found["ratio"]["median"] == pytest.approx(2.0 / found["ours"]["median"], rel=0.5)


def test_without_transformer_lens_the_reason_is_said(bench, tmp_path, monkeypatch):
    assert "left out by --quick" in bench.compared(tmp_path, tmp_path, 1, quick=True)["skipped"]
    bench.write_gpt2(tmp_path, layers=12, width=24, heads=3, vocabulary=10)
    worker = tmp_path / "worker.py"
    worker.write_text("raise SystemExit('there is no such package')")
    monkeypatch.setattr(bench, "BASELINE", worker)
    monkeypatch.setattr(
        bench, "transformer_lens_python", lambda folder: (Path(sys.executable), "4")
    )
    found = bench.compared(tmp_path, tmp_path, 1, quick=False)
    assert found == {"skipped": "stopped: there is no such package"}
