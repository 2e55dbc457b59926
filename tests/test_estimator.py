"""Applying trained blocks to tables: closed forms, exact eigenvectors, the cache, and
scikit-learn's own checks.
"""

import itertools
import json
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from eigenloop.lab.config import TrainConfig
from eigenloop.numerics.power import power_method, predicted_sines, sine_bounds
from eigenloop.numerics.spectrum import symmetric_with_spectrum, unit_columns_with_spectrum
from eigenloop.predict import estimator, prediction, targets
from eigenloop.predict.estimator import (
    Blocks,
    LoopedPCA,
    Target,
    cached_blocks,
    predict,
    training_recipe,
)
from eigenloop.predict.tables import read_table
from eigenloop.system import memory
from eigenloop.system.cache import cache_directory
from eigenloop.system.errors import InputError


def scalar(dim: int, *, a: float, b: float) -> Blocks:
    return Blocks(a * np.eye(dim), b * np.eye(dim))


def planted(seed: int = 0) -> np.ndarray:
    return unit_columns_with_spectrum(
        np.random.default_rng(seed), [9.0, 4.0, 2.0, 1.0], samples=16
    ).T


def test_a_scalar_model_follows_eq_d1() -> None:
    target = Target.from_rows(planted())
    found = predict(target, scalar(4, a=2.0, b=1.5), loops=12, seed=3)
    start = np.random.default_rng(3).standard_normal(4)
    exact_values, vectors = np.linalg.eigh(planted().T @ planted())
    coordinates = vectors[:, ::-1].T @ start / np.linalg.norm(start)
    sines = predicted_sines(exact_values[::-1], coordinates, loops=12, gamma=3.0)
    np.testing.assert_allclose(
        np.sin([found.start_angle, *found.angle_to_exact]), sines, rtol=1e-9, atol=1e-14
    )
    upper = sine_bounds(exact_values[::-1], coordinates, loops=12, gamma=3.0)[1]
    assert found.loops_predicted == int(np.argmax(upper <= np.sin(1e-2)))
    assert found.loops_predicted is not None
    assert found.loops_taken == int(np.argmax(sines <= np.sin(1e-2))) <= found.loops_predicted
    assert found.plateau_angle == pytest.approx(0, abs=1e-12)
    assert found.gamma == pytest.approx(3.0, rel=1e-15)


def test_a_large_gamma_is_the_power_method() -> None:
    target, start = Target.from_rows(planted()), np.array([1.0, -2.0, 0.5, 1.0])
    states = scalar(4, a=1e5, b=1e5).states(target.gram, start, loops=6)
    np.testing.assert_allclose(states, power_method(target.gram, start, loops=6), atol=1e-9)


@pytest.mark.parametrize(("center", "normalize"), list(itertools.product([False, True], repeat=2)))
def test_the_component_is_the_top_eigenvector_of_what_is_estimated(
    center: bool, normalize: bool
) -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((40, 5)) * [1, 5, 2, 1, 1] + [0, 1, 3, 0, 0]
    found = predict(
        Target.from_rows(rows, center=center, normalize=normalize),
        scalar(5, a=3.0, b=3.0),
        loops=300,
    )
    x = rows - rows.mean(axis=0) if center else rows
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if normalize else x
    values, vectors = np.linalg.eigh(x.T @ x)
    assert abs(vectors[:, -1] @ found.component) == pytest.approx(1, abs=1e-12)
    assert found.component[np.argmax(np.abs(found.component))] > 0
    assert found.explained == pytest.approx(values[-1] / values.sum(), rel=1e-9)
    if center and not normalize:
        assert abs(np.asarray(PCA(1).fit(rows).components_)[0] @ found.component) == pytest.approx(
            1, abs=1e-12
        )


def test_s_is_only_rescaled_without_normalisation() -> None:
    rows = np.random.default_rng(2).standard_normal((30, 4)) * 1e3
    target = Target.from_rows(rows, normalize=False)
    assert np.trace(target.gram) == pytest.approx(30, rel=1e-12)
    np.testing.assert_allclose(target.gram, rows.T @ rows * 30 / np.sum(rows**2), rtol=1e-12)


def test_the_matrices_are_applied_not_their_trace() -> None:
    """tr(AB)/d is 2, and yet A S B leads the loops to another axis than u_1 = e_1."""
    target = Target.from_rows(np.repeat(np.eye(3), [5, 3, 1], axis=0))
    noisy = Blocks(np.diag([0.5, 4.0, 1.5]), np.eye(3))
    assert noisy.gamma == pytest.approx(2.0)
    found = predict(target, noisy, loops=200)
    np.testing.assert_allclose(found.component, [0, 1, 0], atol=1e-12)
    assert found.plateau_angle == pytest.approx(np.pi / 2)
    assert found.loops_taken is None
    assert "plateau" in found.reasons["loops_taken"]
    np.testing.assert_allclose(
        predict(target, scalar(3, a=2.0, b=1.0), loops=200).component, [1, 0, 0], atol=1e-12
    )


def test_the_order_of_a_and_b_is_that_of_the_model() -> None:
    """One loop is N(q + A S B q): A acts after S and B before it, and neither is transposed."""
    rng = np.random.default_rng(4)
    a, b, q = rng.standard_normal((3, 3)), rng.standard_normal((3, 3)), np.array([0.6, 0.0, 0.8])
    gram = symmetric_with_spectrum(rng, [3.0, 1.0, 0.5])
    moved = np.array(
        [
            q[i]
            + sum(
                a[i, j] * gram[j, k] * b[k, m] * q[m]
                for j in range(3)
                for k in range(3)
                for m in range(3)
            )
            for i in range(3)
        ]
    )
    np.testing.assert_allclose(
        Blocks(a, b).states(gram, q, loops=1)[1], moved / np.linalg.norm(moved), rtol=1e-12
    )


def test_the_plateau_is_where_the_loops_end() -> None:
    rng = np.random.default_rng(5)
    target = Target.from_rows(planted())
    blocks = Blocks(
        2 * np.eye(4) + 0.02 * rng.standard_normal((4, 4)),
        np.eye(4) + 0.02 * rng.standard_normal((4, 4)),
    )
    found = predict(target, blocks, loops=400)
    assert found.plateau_angle is not None
    assert 1e-3 < found.plateau_angle < 0.1
    assert found.angle_to_exact[-1] == pytest.approx(found.plateau_angle, rel=1e-8)


def test_a_tied_top_eigenvalue_is_measured_as_a_subspace() -> None:
    target = Target.from_rows(np.repeat(np.eye(4), [4, 4, 1, 1], axis=0))
    assert target.basis.shape == (4, 2)
    found = predict(target, scalar(4, a=3.0, b=1.0), loops=60)
    assert found.angle_to_exact[-1] < 1e-12
    turn = np.eye(4)
    # a rotation inside the plane: a complex pair, at no angle to it
    turn[:2, :2] = [
        [1.0, -0.1],
        [0.1, 1.0],
    ]
    assert predict(target, Blocks(turn, np.eye(4))).plateau_angle == pytest.approx(0, abs=1e-12)
    single = Target.from_rows(np.repeat(np.eye(4), [5, 4, 1, 1], axis=0))
    turn[:2, :2] = [[1.0, -0.5], [0.5, 1.0]]
    found = predict(single, Blocks(turn, np.eye(4)))
    assert found.plateau_angle is None
    assert "complex" in found.reasons["plateau_angle"]


def test_what_was_not_reached_is_none_with_a_reason() -> None:
    target = Target.from_rows(planted())
    slow = predict(target, scalar(4, a=1e-3, b=1.0), loops=3)
    assert slow.loops_taken is None
    assert not slow.converged
    assert (
        f"raise --loops (Theorem 4.6 gives {slow.loops_predicted})" in slow.reasons["loops_taken"]
    )
    still = predict(target, scalar(4, a=1.0, b=-1e-3), loops=3)
    assert still.loops_predicted is None
    assert "gamma" in still.reasons["loops_predicted"]


def test_extreme_scales_do_not_matter() -> None:
    rows = planted()
    for factor in (1e-200, 1e200):
        for normalize in (True, False):
            scaled = Target.from_rows(rows * factor, normalize=normalize)
            np.testing.assert_allclose(
                scaled.gram, Target.from_rows(rows, normalize=normalize).gram, rtol=1e-12
            )
    uneven = rows * np.logspace(-150, 150, 16)[:, None]
    np.testing.assert_allclose(Target.from_rows(uneven).gram, rows.T @ rows, atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([[0, 0], [0, 0]], {}, "all 2 rows are zero"),
        ([[2, 2]] * 5, {}, "all 5 rows are the same"),
        ([[0.1, 0.3]] * 7, {"normalize": False}, "all 7 rows are the same"),
        (sparse.csr_matrix([[0, 1, 2]] * 3), {}, "all 3 rows are the same"),
        ([[0.1, 0.3]] * 7, {"scale": True}, "all 7 rows are zero once the mean"),
        (
            [[0.1, 0.3]] * 7,
            {"center": True, "normalize": False},
            "all 7 rows are zero once the mean",
        ),
        ([[1, 0], [0, 1]], {}, "tight frame"),
    ],
)
def test_tables_without_a_direction(rows: Any, options: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Target.from_rows(
            rows if sparse.issparse(rows) else np.array(rows, dtype=np.float64), **options
        )
    assert message in str(caught.value)


def test_a_constant_column_makes_no_constant_table() -> None:
    rows = np.array([[1.0, 0.0], [1.0, 2.0], [1.0, 3.0]])
    for table in (rows, sparse.csr_matrix(rows), rows[:1]):
        assert Target.from_rows(table).basis.shape == (2, 1)


def test_settings_are_checked() -> None:
    target = Target.from_rows(planted())
    with pytest.raises(InputError, match="--loops is 0"):
        predict(target, scalar(4, a=1.0, b=1.0), loops=0)
    for tolerance in (0.0, -1.0, np.nan, 2.0):
        with pytest.raises(InputError, match="--tolerance is"):
            predict(target, scalar(4, a=1.0, b=1.0), tolerance=tolerance)
    with pytest.raises(InputError, match="dimension 3, but the data have 4"):
        predict(target, scalar(3, a=1.0, b=1.0))


def test_a_trained_model_reaches_the_tolerance_on_real_tables() -> None:
    """The recipe's plateau is about 1e-3 (its docstring), a tenth of the tolerance asked for by
    default.
    """
    rows = read_table("iris").rows
    blocks = estimator._remembered(4, 2000, 0)
    found = predict(Target.from_rows(rows), blocks)
    assert found.plateau_angle is not None
    assert found.plateau_angle < 3e-3
    assert found.loops_taken is not None
    assert found.angle_to_exact[-1] == pytest.approx(found.plateau_angle, rel=1e-6)
    assert found.gamma > 4
    # noise is there: the model is a trained one and no multiple of I
    assert np.abs(blocks.a - np.diag(np.diag(blocks.a))).max() > 1e-6


def test_the_cache_trains_once_and_mends_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, trained, notes = training_recipe(3, steps=20), [], []

    def counting(config: TrainConfig, **options: object) -> Blocks:
        trained.append(config)
        return scalar(3, a=1.0 + config.seed, b=0.5)

    monkeypatch.setattr("eigenloop.predict.recipes.train_blocks", counting)
    first = cached_blocks(recipe, tmp_path, note=notes.append)
    again = cached_blocks(recipe, tmp_path, note=notes.append)
    assert (len(trained), notes) == (1, [])
    np.testing.assert_array_equal(first.a, again.a)
    np.testing.assert_array_equal(first.b, again.b)
    cached_blocks(training_recipe(3, steps=21), tmp_path)
    cached_blocks(training_recipe(3, steps=20, seed=1), tmp_path)
    assert len(trained) == 3
    assert len(list(tmp_path.iterdir())) == 3
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:50])
    mended = cached_blocks(recipe, tmp_path, note=notes.append)
    assert len(trained) == 4
    assert len(notes) == 1
    assert "trained again" in notes[0]
    np.testing.assert_array_equal(first.a, mended.a)
    cached_blocks(recipe, tmp_path, note=notes.append)
    assert len(trained) == 4
    (tmp_path / "file").touch()
    cached_blocks(recipe, tmp_path / "file" / "below", note=notes.append)
    assert "not kept" in notes[1]


def test_the_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "eigenloop"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "eigenloop"


@pytest.fixture
def as_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[int]]:
    """Blocks of any dimension as a training leaves them, without one, in a cache of their own;
    which were asked for.
    """
    asked: list[int] = []

    def blocks(config: TrainConfig, **options: object) -> Blocks:
        asked.append(config.dim)
        noise = np.random.default_rng(config.seed).standard_normal((2, config.dim, config.dim))
        return Blocks(*(2 * np.eye(config.dim) + 1e-3 * noise))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("eigenloop.predict.recipes.train_blocks", blocks)
    estimator._remembered.cache_clear()
    yield asked
    estimator._remembered.cache_clear()


def test_looped_pca_passes_scikit_learns_checks(
    standard_promotion: None, as_trained: list[int]
) -> None:
    """All of them, at the default parameters; nothing is expected to fail.

    Some tables are noise, with a small gap.

    The tables have many widths, and each would be a training compiled for itself; that one repeats,
    with the model that it trains, is `test_looped_pca_refuses_and_repeats`.
    """
    del standard_promotion
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        results = check_estimator(LoopedPCA(), on_fail=None, on_skip=None)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {
        "check_array_api_input"
    }
    assert len(results) > 40
    assert len(set(as_trained)) > 3  # widths


def test_looped_pca_is_pca_when_asked() -> None:
    rows = read_table("iris").rows
    ours = LoopedPCA(center=True, normalize=False, random_state=0).fit(rows)
    theirs = PCA(1).fit(rows)
    assert np.arccos(abs(ours.components_[0] @ np.asarray(theirs.components_)[0])) == pytest.approx(
        ours.angle_, abs=1e-6
    )
    assert ours.angle_ < 3e-3
    np.testing.assert_allclose(
        ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-4
    )
    np.testing.assert_allclose(
        ours.transform(rows), (rows - rows.mean(axis=0)) @ ours.components_.T, rtol=1e-12
    )
    assert ours.get_feature_names_out().tolist() == ["loopedpca0"]


def test_looped_pca_on_a_frame_and_with_a_zero_row() -> None:
    frame = pd.DataFrame(read_table("iris").rows, columns=pd.Index(["a", "b", "c", "d"]))
    frame.loc[0] = 0.0
    pca = LoopedPCA(random_state=0, loops=30).fit(frame)
    assert list(vars(pca)["feature_names_in_"]) == ["a", "b", "c", "d"]
    without = LoopedPCA(random_state=0, loops=30).fit(frame.iloc[1:])
    np.testing.assert_allclose(pca.components_, without.components_, rtol=1e-12)
    projected = pca.transform(frame)
    assert projected[0, 0] == 0
    unit = frame.to_numpy()[1:] / np.linalg.norm(frame.to_numpy()[1:], axis=1, keepdims=True)
    np.testing.assert_allclose(projected[1:], unit @ pca.components_.T, rtol=1e-12)


def test_looped_pca_refuses_and_repeats() -> None:
    rows = read_table("wine").rows[:, :4]
    same = [
        LoopedPCA(training_steps=30, tol=1.5, random_state=5).fit(rows).components_
        for _ in range(2)
    ]
    np.testing.assert_array_equal(same[0], same[1])
    for refused in (LoopedPCA(loops=0), LoopedPCA(training_steps=0)):
        with pytest.raises(ValueError, match=r"in the range \[1, "):
            refused.fit(rows)
    with pytest.raises(ValueError, match=r"1 feature\(s\)"):
        LoopedPCA().fit(rows[:, :1])
    with pytest.raises(ValueError, match="all 3 rows are zero"):
        LoopedPCA().fit(np.zeros((3, 2)))


# --- parameters, rows at the mean, reasons


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"loops": 2.5}, "loops"),
        ({"loops": "a"}, "loops"),
        ({"loops": 0}, "loops"),
        ({"center": "yes"}, "center"),
        ({"normalize": 3}, "normalize"),
        ({"training_steps": 0}, "training_steps"),
        ({"training_steps": 2**31}, "training_steps"),
        ({"random_state": "x"}, "random_state"),
        ({"random_state": -1}, "random_state"),
        ({"tol": 0}, "tol"),
        ({"tol": 2}, "tol"),
        ({"tol": "x"}, "tol"),
        ({"n_components": None}, "n_components"),
        ({"n_components": 0.5}, "n_components"),
    ],
)
def test_parameters_are_checked_by_their_own_names_before_training(
    values: dict, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_training(*arguments: object) -> None:
        raise AssertionError("nothing may be trained")

    monkeypatch.setattr(estimator, "_remembered", no_training)
    with pytest.raises(ValueError, match=f"The '{name}' parameter of LoopedPCA must be"):
        LoopedPCA(**values).fit(planted())


@pytest.mark.parametrize("normalize", [True, False])
def test_a_row_at_the_mean_is_zero_in_transform_as_in_fit(normalize: bool) -> None:
    rng = np.random.default_rng(0)
    half = rng.standard_normal((20, 4)) * [5, 1, 1, 1]
    mean = np.array([0.1, 0.7, -0.3, 123.4])
    # the last row is the mean, to rounding
    rows = np.concatenate([mean + half, mean - half, [mean]])
    pca = LoopedPCA(
        center=True, normalize=normalize, training_steps=30, tol=1.5, random_state=0
    ).fit(rows)
    coordinates = pca.transform(np.concatenate([rows, [mean * (1 + 4e-16)]]))
    np.testing.assert_array_equal(coordinates[-2:], 0.0)
    assert np.all(coordinates[:-2] != 0)
    np.testing.assert_allclose(pca.fit_transform(rows), coordinates[:-1], rtol=1e-12)


def test_the_reason_says_why_no_number_of_loops_is_predicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = Target.from_rows(planted())
    found = predict(target, scalar(4, a=1.0, b=-1.0), loops=2)
    assert "gamma = tr(AB)/d is -1" in found.reasons["loops_predicted"]
    monkeypatch.setattr(prediction, "loops_needed", lambda *arguments, **options: None)
    found = predict(target, scalar(4, a=1.0, b=1.0), loops=2)
    assert found.loops_predicted is None
    assert "orthogonal" in found.reasons["loops_predicted"]
    assert "positive" not in found.reasons["loops_predicted"]


def test_too_many_features_for_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: 500)
    with pytest.raises(
        InputError, match=r"S = X X\^T of 4 features.* give a table with fewer features"
    ):
        Target.from_rows(planted())


# --- as a user of scikit-learn expects


def exact(monkeypatch: pytest.MonkeyPatch, dim: int) -> None:
    """Blocks that are the power method to 1e-8, so that what depends on the component can be
    compared with PCA's.
    """
    monkeypatch.setattr(estimator, "_remembered", lambda *arguments: scalar(dim, a=1e4, b=1e4))


@pytest.mark.parametrize(
    "kind", ["array", "float32", "csr_matrix", "csr_array", "csc_array", "frame", "1e70"]
)
def test_looped_pca_has_the_attributes_of_pca(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact(monkeypatch, 5)
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((60, 5)) * [1, 4, 1, 2, 1] * (rng.random((60, 5)) < 0.7) + [
        0,
        1,
        0,
        0,
        2,
    ]
    if kind == "1e70":
        rows = rows * 1e70
    given = {
        "float32": lambda: rows.astype(np.float32),
        "csr_matrix": lambda: sparse.csr_matrix(rows),
        "csr_array": lambda: sparse.csr_array(rows),
        "csc_array": lambda: sparse.csc_array(rows),
        "frame": lambda: pd.DataFrame(rows, columns=pd.Index(list("abcde"))),
    }.get(kind, lambda: rows)()
    ours = LoopedPCA(center=True, normalize=False, loops=200, random_state=0).fit(given)
    theirs = PCA(1, svd_solver="full").fit(rows)
    tolerance = 2e-6 if kind == "float32" else 1e-9
    assert (ours.n_components_, ours.components_.shape[1], ours.n_samples_, ours.n_iter_) == (
        1,
        5,
        60,
        200,
    )
    assert (ours.converged_, ours.plateau_angle_ < 1e-7, ours.angle_ < 1e-7) == (True, True, True)
    assert ours.loops_taken_ in range(1, 200)
    flip = np.sign(ours.components_[0] @ np.asarray(theirs.components_)[0])
    for name in (
        "mean_",
        "explained_variance_",
        "explained_variance_ratio_",
        "singular_values_",
        "noise_variance_",
    ):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=tolerance, err_msg=name
        )
    scale = np.abs(rows).max()
    np.testing.assert_allclose(
        ours.components_, flip * np.asarray(theirs.components_), atol=tolerance
    )
    np.testing.assert_allclose(
        ours.get_covariance() / scale**2, theirs.get_covariance() / scale**2, atol=tolerance
    )
    coordinates = ours.transform(given)
    assert coordinates.dtype == (np.float32 if kind == "float32" else np.float64)
    np.testing.assert_allclose(
        coordinates / scale, flip * theirs.transform(rows) / scale, atol=tolerance
    )
    back = theirs.inverse_transform(theirs.transform(rows))
    np.testing.assert_allclose(
        ours.inverse_transform(coordinates) / scale, back / scale, atol=tolerance
    )
    np.testing.assert_allclose(ours.score(given), theirs.score(rows), rtol=1e-6)
    if kind == "array":
        density = multivariate_normal(np.asarray(theirs.mean_), np.asarray(ours.get_covariance()))  # pyright: ignore[reportArgumentType]
        np.testing.assert_allclose(ours.score_samples(rows), density.logpdf(rows), rtol=1e-9)


@pytest.mark.parametrize(("center", "normalize"), list(itertools.product([False, True], repeat=2)))
def test_sparse_rows_are_treated_as_dense_ones(
    center: bool, normalize: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "BLOCK", 8)  # several blocks
    exact(monkeypatch, 4)
    rows = np.random.default_rng(2).poisson(0.7, (30, 4)) * [3.0, 1, 1, 1]
    rows[4] = 0
    one, two = (
        LoopedPCA(center=center, normalize=normalize, random_state=0).fit(given)
        for given in (rows, sparse.csr_array(rows))
    )
    for name in (
        "components_",
        "mean_",
        "explained_variance_",
        "explained_variance_ratio_",
        "singular_values_",
    ):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        one.transform(rows), two.transform(sparse.csr_array(rows)), atol=1e-10
    )
    np.testing.assert_allclose(one.score(rows), two.score(sparse.csr_array(rows)), rtol=1e-9)


def test_only_one_component_is_found() -> None:
    assert LoopedPCA(1, training_steps=30, tol=1.5).fit(planted()).components_.shape == (1, 4)
    for refused in (0, 2, 4):
        with pytest.raises(
            ValueError,
            match=rf"n_components is {refused}, but .* one direction.*sklearn.decomposition",
        ):
            LoopedPCA(n_components=refused).fit(planted())


def test_what_does_not_converge_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimator, "_remembered", lambda *arguments: scalar(4, a=1e-3, b=1.0))
    with pytest.warns(
        ConvergenceWarning, match=r"above tol=0.01: .*raise --loops|above tol=0.01: .*raise loops"
    ):
        slow = LoopedPCA(loops=3, random_state=0).fit(planted())
    assert (slow.converged_, slow.loops_taken_) == (False, None)
    assert slow.angle_ > 0.01
    noisy = Blocks(np.diag([0.5, 4.0, 1.5]), np.eye(3))
    monkeypatch.setattr(estimator, "_remembered", lambda *arguments: noisy)
    with pytest.warns(ConvergenceWarning, match="plateau"):
        stuck = LoopedPCA(random_state=0).fit(np.repeat(np.eye(3), [5, 3, 1], axis=0))
    assert stuck.plateau_angle_ == pytest.approx(np.pi / 2)
    monkeypatch.setattr(estimator, "_remembered", lambda *arguments: scalar(4, a=1e-3, b=1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LoopedPCA(loops=3, tol=1.5, random_state=0).fit(planted()).converged_


def test_rows_on_a_line_have_no_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    exact(monkeypatch, 2)
    rows = np.outer(np.arange(1.0, 6.0), [3.0, 4.0])
    pca = LoopedPCA(center=True, normalize=False, random_state=0).fit(rows)
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(rows)), rows, atol=1e-7)
    with pytest.raises(ValueError, match="no likelihood"):
        pca.score(rows)
    with pytest.raises(ValueError, match=r"must be \(n, 1\)"):
        pca.inverse_transform(np.ones((2, 2)))


def test_scaled_columns_are_those_of_the_standard_scaler(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).standard_normal((50, 4)) * [1, 100, 1e-3, 5] + [5, 5, 5, 5]
    rows[:, 3] = 7  # constant: it stays 0
    scaled = Target.from_rows(rows, normalize=False, scale=True)
    z = StandardScaler().fit_transform(rows)
    np.testing.assert_allclose(scaled.gram, z.T @ z * 50 / np.sum(z**2), atol=1e-9)
    unit = Target.from_rows(rows, scale=True)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(unit.gram, z.T @ z, atol=1e-9)
    exact(monkeypatch, 3)
    pipeline = make_pipeline(StandardScaler(), LoopedPCA(loops=500)).fit(rows[:, :3])
    assert pipeline.transform(rows[:, :3]).shape == (50, 1)


def test_zero_rows_weigh_nothing() -> None:
    rows = planted()
    padded = np.insert(rows, [0, 3, 16], 0.0, axis=0)
    target = Target.from_rows(padded)
    np.testing.assert_allclose(target.gram, Target.from_rows(rows).gram, rtol=1e-12)
    assert (target.samples, target.zero_rows) == (19, (0, 4, 18))
    assert Target.from_rows(np.array([[1.1, 2], [2.1, 3], [3.1, 4]]), center=True).zero_rows == (1,)


# --- signs


def tied(seed: int = 0) -> np.ndarray:
    """Features b = -a and c: the exact component has entries of one size."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((50, 1))
    return np.hstack([3 * a, -3 * a, 0.1 * rng.standard_normal((50, 2))])


@pytest.mark.parametrize(
    "order",
    [[0, 1, 2, 3], [1, 0, 2, 3], [2, 0, 1, 3], [2, 3, 1, 0], [1, 3, 0, 2]],
    ids=lambda order: "".join(map(str, order)),
)
@pytest.mark.parametrize("center", [False, True])
def test_a_tie_has_one_sign_for_all_seeds_and_orders_of_rows(
    order: list[int], center: bool
) -> None:
    rows = tied()[:, order]
    first = min(order.index(0), order.index(1))
    for seed in range(3):
        noise = np.random.default_rng(seed).standard_normal((2, 4, 4))
        # as a training leaves them
        blocks = Blocks(2 * np.eye(4) + 0.02 * noise[0], np.eye(4) + 0.02 * noise[1])
        for _ in range(3):
            target = Target.from_rows(
                np.random.default_rng(seed).permutation(rows), center=center, normalize=False
            )
            component = predict(target, blocks, seed=seed).component
            assert component[first] > 0
            assert np.argmax(np.abs(component)) in (order.index(0), order.index(1))


def test_the_sign_is_that_of_the_first_entry_near_the_largest() -> None:
    for inside in (0.0, 0.5, 0.9):
        vector = np.array([0.1, -(1 - inside * 1e-6), 1.0])
        np.testing.assert_array_equal(prediction.oriented(vector, np.eye(3)), -vector)
    for outside in (1.1, 100.0):
        vector = np.array([0.1, -(1 - outside * 1e-6), 1.0])
        np.testing.assert_array_equal(prediction.oriented(vector, np.eye(3)), vector)
    u = np.array([[0.6], [-0.8]])
    np.testing.assert_array_equal(prediction.oriented(np.array([0.62, -0.78]), u), [-0.62, 0.78])
    # no estimate of u
    np.testing.assert_array_equal(prediction.oriented(np.array([0.8, 0.6]), u), [0.8, 0.6])


# --- the cache, workers, forks


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
    script = tmp_path / "forked.py"
    script.write_text(FORKED)
    environment = {
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[1] / "src"),
        "PATH": "",
    }
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    forked, here = json.loads(done.stdout)
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
    script = tmp_path / "late.py"
    script.write_text(LATE)
    environment = {
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[1] / "src"),
        "PATH": "",
    }
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    (forked, refused), (here, allowed) = json.loads(done.stdout)
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
