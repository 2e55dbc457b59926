"""LoopedPCA as a user of scikit-learn expects it, and the signs of its components."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eigenloop.predict import estimator, prediction, targets
from eigenloop.predict.estimator import (
    Blocks,
    LoopedPCA,
    Target,
    predict,
)
from eigenloop.system import memory
from eigenloop.system.errors import InputError
from estimators import exact, planted, scalar


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
