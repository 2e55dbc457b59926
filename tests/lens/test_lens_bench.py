"""The benchmark of the lens compares equal answers on a checkpoint that the lens reads."""

import importlib.util
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
