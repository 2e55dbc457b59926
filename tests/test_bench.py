"""The benchmark compares equal work, against baselines that stay as they are."""

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from eigenloop.lab.training import train

BENCH = Path(__file__).parents[1] / "bench"
FROZEN = {
    "baseline_torch.py": "5f902d97ea93061a0446cde9ba6b84b8377bec21fb12338238096f3e5a988d08",
    "baseline_jax.py": "9a4d4d1f2fb16eb41de9f4325a75f291b400119d8e61b7bc1bb9b5d2a48f3beb",
}


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """bench/run.py as a module, with its folder on the path as when it runs as a script."""
    spec = importlib.util.spec_from_file_location("bench_run", BENCH / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        spec.loader.exec_module(module)
        yield module
    for name in ("baseline_jax", "baseline_torch"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def results(bench: ModuleType) -> dict:
    return bench.losses_and_gradients(seed=1, dim=4, samples=7, loops=5, batch=6)


def check(results: dict, name: str) -> None:
    for found, expected in zip(results[name], results["default"], strict=True):
        assert np.max(np.abs(expected)) > 1e-4  # there is something to compare
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.max(np.abs(expected)))


def test_full_model_in_jax_does_the_same_work(results: dict) -> None:
    check(results, "jax")


def test_pytorch_does_the_same_work(results: dict) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed; make bench installs it")
    check(results, "torch")


def test_a_different_gradient_is_noticed(bench: ModuleType, results: dict) -> None:
    assert bench.largest_difference(results) < 1e-12
    loss, d_a, d_b = results["jax"]
    assert bench.largest_difference({**results, "jax": (loss, d_a, 1.01 * d_b)}) == pytest.approx(
        0.01, rel=1e-6
    )


def test_default_engine_is_what_train_runs(bench: ModuleType) -> None:
    config = bench.paper_config(dim=4, samples=8, train_size=64, batch=8, steps=10)
    engine = bench.DefaultEngine(config)
    engine.run(10)
    model = engine.state[0].lift()
    expected = train(config).model
    np.testing.assert_array_equal(model.v, expected.v)
    np.testing.assert_array_equal(model.w, expected.w)


def test_without_pytorch_one_clear_line(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "torch", None)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    assert bench.main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "pip install" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", FROZEN)
def test_baselines_are_frozen(name: str) -> None:
    digest = hashlib.sha256((BENCH / name).read_bytes()).hexdigest()
    assert digest == FROZEN[name], "a faster baseline would make every earlier ratio incomparable"
