"""Trained blocks are kept and found again: the cache, workers and forks."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from eigenloop.lab.training import TrainConfig
from eigenloop.predict import estimator
from eigenloop.predict.estimator import (
    Blocks,
    LoopedPCA,
    Target,
    cached_blocks,
    predict,
    training_recipe,
)
from estimators import planted, scalar


def test_the_estimator_and_the_command_share_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    blocks = cached_blocks(training_recipe(4, steps=30, seed=3))
    # nothing is trained any more
    monkeypatch.setattr("eigenloop.predict.recipes.train_blocks", None)
    estimator._remembered.cache_clear()
    model = LoopedPCA(training_steps=30, tol=1.5, random_state=3).fit(planted())
    np.testing.assert_array_equal(
        model.components_[0],
        predict(Target.from_rows(planted()), blocks, tolerance=1.5, seed=3).component,
    )
    estimator._remembered.cache_clear()


def test_the_lock_of_a_process_killed_after_writing_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = scalar(3, a=1.0, b=0.5)
    monkeypatch.setattr("eigenloop.predict.recipes.train_blocks", lambda config, **options: blocks)
    recipe = training_recipe(3, steps=20)
    cached_blocks(recipe, tmp_path)
    (entry,) = tmp_path.iterdir()
    entry.with_suffix(".lock").touch()
    cached_blocks(recipe, tmp_path)
    assert list(tmp_path.iterdir()) == [entry]


def test_those_who_want_the_same_model_wait_for_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def slow(config: TrainConfig, **options: object) -> Blocks:
        trained.append(config)
        time.sleep(0.5)
        return scalar(3, a=1.0, b=0.5)

    monkeypatch.setattr("eigenloop.predict.recipes.train_blocks", slow)
    threads = [
        threading.Thread(target=cached_blocks, args=(training_recipe(3, steps=20), tmp_path))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trained) == 1
    assert len(list(tmp_path.iterdir())) == 1


def outcome(source: str, folder: Path) -> Any:
    """What a script prints as JSON, in a Python of its own with its cache in `folder`."""
    script = folder / "script.py"
    script.write_text(source)
    environment = {
        "XDG_CACHE_HOME": str(folder),
        "PYTHONPATH": str(Path(__file__).parents[1] / "src"),
        "PATH": "",
    }
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


FORKED = """
import json, multiprocessing, os, warnings
import numpy as np
from eigenloop import LoopedPCA
from eigenloop.predict import estimator
warnings.simplefilter("ignore")
rows = np.random.default_rng(0).standard_normal((40, 3)) * [3, 1, 1]

def fit(seed):
    return LoopedPCA(training_steps=20, random_state=seed).fit(rows).components_[0].tolist()

if __name__ == "__main__":
    fit(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        forked = pool.map_async(fit, [0, 1]).get(120)
    os.environ["XDG_CACHE_HOME"] += "/other"  # so that this process trains both itself
    estimator._remembered.cache_clear()
    print(json.dumps([forked, [fit(0), fit(1)]]))
"""


@pytest.mark.slow
def test_a_forked_process_trains_in_a_fresh_python(tmp_path: Path) -> None:
    """Seed 1 is not in the cache when the worker asks for it, and JAX has run before the fork."""
    printed = outcome(FORKED, tmp_path)
    forked, here = printed
    np.testing.assert_array_equal(forked, here)


LATE = """
import json, multiprocessing, warnings
import jax
warnings.simplefilter("ignore")
jax.numpy.ones(3).sum().block_until_ready()

def fit(seed):
    import numpy as np
    from eigenloop import InputError, LoopedPCA, TrainConfig, train
    rows = np.random.default_rng(0).standard_normal((40, 3)) * [3, 1, 1]
    found = LoopedPCA(training_steps=20, random_state=seed).fit(rows).components_[0].tolist()
    try:
        train(TrainConfig.create(dim=4, samples=8, steps=1))
    except InputError as error:
        return found, str(error)
    return found, ""

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        forked = pool.map_async(fit, [0]).get(120)
    print(json.dumps([forked[0], fit(0)]))
"""


@pytest.mark.slow
def test_a_child_that_imports_the_package_after_the_fork(tmp_path: Path) -> None:
    """JAX has run before the fork, and the package was not there to see it."""
    printed = outcome(LATE, tmp_path)
    (forked, refused), (here, allowed) = printed
    np.testing.assert_array_equal(forked, here)
    assert "forked from one in which JAX had begun to work" in refused
    assert allowed == ""


SWITCHES = {
    "64 bits": lambda: jax.enable_x64(True),
    "NaNs are errors": lambda: jax.debug_nans(True),
    "infinities are errors": lambda: jax.debug_infs(True),
    "leaks are errors": jax.checking_leaks,
    "standard promotion": lambda: jax.numpy_dtype_promotion("standard"),
    "another generator": lambda: jax.default_prng_impl("rbg"),
}


@pytest.mark.parametrize(
    "switch",
    [
        name if name == "NaNs are errors" else pytest.param(name, marks=pytest.mark.slow)
        for name in SWITCHES
    ],
)
def test_whatever_jax_is_set_to_the_component_is_that_of_pca(
    switch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    estimator._remembered.cache_clear()
    rows = np.random.default_rng(0).standard_normal((60, 3)) @ np.diag([3.0, 1.0, 1.0])
    with SWITCHES[switch]():
        fitted = LoopedPCA(center=True, normalize=False, training_steps=200, random_state=0).fit(
            rows
        )
    assert fitted.components_ is not None
    found = np.asarray(fitted.components_).reshape(-1)
    estimator._remembered.cache_clear()
    exact = np.linalg.svd(rows - rows.mean(0))[2][0]
    assert abs(found @ exact) > np.cos(0.05)
