"""Applying trained blocks to tables: closed forms, exact eigenvectors, the cache, and
scikit-learn's own checks.
"""

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import check_estimator

from eigenloop.lab.config import TrainConfig
from eigenloop.numerics.power import power_method, predicted_sines, sine_bounds
from eigenloop.numerics.spectrum import symmetric_with_spectrum
from eigenloop.predict import estimator
from eigenloop.predict.estimator import (
    Blocks,
    LoopedPCA,
    Target,
    cached_blocks,
    predict,
    training_recipe,
)
from eigenloop.predict.tables import read_table
from eigenloop.system.cache import cache_directory
from eigenloop.system.errors import InputError
from estimators import planted, scalar


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
