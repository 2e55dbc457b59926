"""Distributions of (X, q): unit columns, rotation invariance, spectra, conditioning and
principal bases.
"""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigenloop.lab.problems import (
    Distribution,
    Observed,
    Rejected,
    Rotated,
    Sphere,
    assemble,
    assumption_breaches,
    draw,
    haar_rotations,
    uniform_queries,
)
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES, unit_columns_with_spectrum
from eigenloop.system.errors import InputError

TASK_2 = Rotated.planted(DEFAULT_MULTIPLICITIES, dim=16, samples=32)


def sigmas(values: np.ndarray, expected: float | np.ndarray) -> float:
    """Largest distance of the mean over axis 0 from its expectation, in standard errors."""
    values = np.asarray(values, dtype=np.float64)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return float(np.max(abs(values.mean(axis=0) - expected) / error))


def grams(distribution: Distribution, size: int, seed: int = 0) -> np.ndarray:
    x = np.asarray(distribution.sample(jax.random.key(seed), size), dtype=np.float64)
    return x @ x.swapaxes(1, 2)


@pytest.mark.parametrize(
    "distribution",
    [
        Sphere(dim=3, samples=5),
        Rotated.planted([2, 1, 2], dim=3, samples=5),
        Rejected(Sphere(dim=3, samples=5), threshold=0.2),
        Rejected(Rotated.planted([2, 1, 2], dim=3, samples=5), threshold=0.5),
        Rejected(Observed(np.arange(1.0, 16.0).reshape(3, 5) ** 2), threshold=1e-6),
        Observed(np.arange(1.0, 16.0).reshape(3, 5) ** 2),
    ],
)
def test_a_distribution_has_unit_columns_and_follows_its_key(distribution: Distribution) -> None:
    assert isinstance(distribution, Distribution)
    assert (distribution.dim, distribution.samples) == (3, 5)
    batch = draw(distribution, jax.random.key(1), 6)
    np.testing.assert_allclose(jnp.linalg.norm(batch.columns, axis=1), 1, atol=3e-7)
    np.testing.assert_allclose(jnp.linalg.norm(batch.query, axis=1), 1, atol=3e-7)
    np.testing.assert_allclose(batch.gram, batch.columns @ batch.columns.mT, atol=1e-6)
    again, other = (draw(distribution, jax.random.key(seed), 6) for seed in (1, 2))
    assert all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(again), strict=True)
    )
    assert not np.any(np.isclose(batch.query, other.query, atol=1e-6).all(axis=1))
    part = batch[jnp.arange(2, 4)]
    np.testing.assert_array_equal(part.query, batch.query[2:4])
    assert draw(distribution, jax.random.key(1), 6, principal=False).principal is None


def test_sphere_has_the_moments_of_independent_uniform_columns() -> None:
    d, n, size = 4, 6, 20000
    s = grams(Sphere(dim=d, samples=n), size)
    variance = n * (3 / (d * (d + 2)) - 1 / d**2)  # of S_11 = sum_j x_1j^2
    # 4.5 sigma for the 16 entries each; exact variances: n/(d(d+2)) off the diagonal
    sd = np.where(np.eye(d, dtype=bool), np.sqrt(variance), np.sqrt(n / (d * (d + 2))))
    assert np.all(abs(s.mean(axis=0) - n / d * np.eye(d)) < 4.5 * sd / np.sqrt(size))
    assert sigmas(s[:, 0, 0] ** 2, variance + (n / d) ** 2) < 4
    assert sigmas(s[:, 0, 1] ** 2, n / (d * (d + 2))) < 4
    # E tr S^2 = n + n(n-1) E(x.y)^2
    assert sigmas(np.sum(s * s, axis=(1, 2)), n + n * (n - 1) / d) < 4


def test_rotated_has_the_moments_of_a_haar_rotation() -> None:
    values = np.array([3.0, 2.0, 1.0, 1.0])
    d, n, squares, size = 4, 7, float(np.sum(values**2)), 20000
    s = grams(Rotated.planted([3, 2, 1, 1], dim=d, samples=n), size, seed=3)
    diagonal = (2 * squares + n**2) / (d * (d + 2))  # E S_11^2 for S = Q diag(lambda) Q^T
    crossed = (squares - d * diagonal) / (d * (d - 1))  # E S_12^2, from tr S^2
    for i in range(d):
        for j in range(d):
            assert sigmas(s[:, i, j], n / d if i == j else 0.0) < 4.5
            assert sigmas(s[:, i, j] ** 2, diagonal if i == j else crossed) < 4.5


def test_rotations_have_the_moments_of_the_haar_measure() -> None:
    d, size = 3, 20000
    q = np.asarray(haar_rotations(jax.random.key(4), size, d), dtype=np.float64)
    np.testing.assert_allclose(q @ q.swapaxes(1, 2), np.broadcast_to(np.eye(d), q.shape), atol=2e-6)
    assert sigmas(q, 0.0) < 4.5
    assert sigmas(q**2, 1 / d) < 4.5
    assert sigmas(q**4, 3 / (d * (d + 2))) < 4.5
    assert sigmas(np.linalg.det(q), 0.0) < 4


def test_queries_are_uniform_and_independent_of_the_columns() -> None:
    d, n, size = 4, 6, 20000
    q = np.asarray(uniform_queries(jax.random.key(5), size, d), dtype=np.float64)
    assert sigmas(q, 0.0) < 4.5
    assert sigmas(q[:, :, None] * q[:, None, :], np.eye(d) / d) < 4.5
    assert sigmas(q**4, 3 / (d * (d + 2))) < 4.5
    # one example for each of many keys: numbers shared by X and q would sit at the start of both
    keys = jax.random.split(jax.random.key(6), 5000)
    batch = jax.vmap(lambda key: draw(Sphere(dim=d, samples=n), key, 1, principal=False))(keys)
    x, q = np.asarray(batch.columns)[:, 0], np.asarray(batch.query)[:, 0]
    products = np.einsum("bdn,bd->bn", x, q)
    assert sigmas(products, 0.0) < 4.5
    assert sigmas(products**2, 1 / d) < 4.5
    assert sigmas(x[:, :, :, None] * q[:, None, None, :], 0.0) < 4.5


@pytest.mark.usefixtures("x64")
def test_rotated_keeps_its_spectrum_in_every_draw() -> None:
    spectrum = [2.75, 1.5, 0.5, 0.25]
    x0 = unit_columns_with_spectrum(np.random.default_rng(0), spectrum, samples=5)
    distribution = Rotated(x0)
    np.testing.assert_allclose(distribution.eigenvalues, spectrum, rtol=1e-13)
    found = np.linalg.eigvalsh(grams(distribution, 20))[:, ::-1]
    np.testing.assert_allclose(found, np.broadcast_to(spectrum, found.shape), atol=1e-13)
    # X^T X is that of X0: a rotation, and nothing else
    x = np.asarray(distribution.sample(jax.random.key(1), 3))
    np.testing.assert_allclose(
        x.swapaxes(1, 2) @ x, np.broadcast_to(x0.T @ x0, (3, 5, 5)), atol=1e-13
    )


def test_planted_multiplicities_are_the_eigenvalues() -> None:
    assert TASK_2.eigenvalues == tuple(float(m) for m in DEFAULT_MULTIPLICITIES)
    found = np.linalg.eigvalsh(grams(TASK_2, 8))[:, ::-1]
    # float32
    np.testing.assert_allclose(found, np.broadcast_to(TASK_2.eigenvalues, found.shape), atol=2e-5)
    assert Rotated.planted([1, 4, 2], dim=3, samples=7).eigenvalues == (4.0, 2.0, 1.0)


def test_second_moment_of_task_2() -> None:
    # E||Sq||^2 = E tr(S^2)/d = 86/16
    batch = draw(TASK_2, jax.random.key(7), 8000, principal=False)
    moved = np.einsum(
        "bij,bj->bi", np.asarray(batch.gram, dtype=np.float64), np.asarray(batch.query)
    )
    assert sigmas(np.sum(moved**2, axis=1), 5.375) < 4
    assert sigmas(np.sum(moved * np.asarray(batch.query), axis=1), 2.0) < 4  # E q.Sq = n/d


def test_rejection_conditions_and_changes_nothing_else() -> None:
    inner, threshold, size = Sphere(dim=3, samples=5), 0.4, 6000
    kept = np.linalg.eigvalsh(grams(Rejected(inner, threshold=threshold), size, seed=8))
    assert kept[:, 0].min() >= threshold * (1 - 1e-5)
    naive = np.linalg.eigvalsh(grams(inner, 4 * size, seed=9))
    assert 0.2 < np.mean(naive[:, 0] >= threshold) < 0.8  # the condition bites
    naive = naive[naive[:, 0] >= threshold]
    for statistic in (lambda v: v[:, 2], lambda v: v[:, 0], lambda v: v[:, 2] ** 2):
        ours, reference = statistic(kept), statistic(naive)
        error = np.sqrt(ours.var(ddof=1) / len(ours) + reference.var(ddof=1) / len(reference))
        assert abs(ours.mean() - reference.mean()) < 4 * error
    off = grams(Rejected(inner, threshold=threshold), size, seed=10)[:, 0, 1]
    assert sigmas(off, 0.0) < 4  # still rotation invariant


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("multiplicities", [[3, 3, 1, 1], [2, 2, 2, 1], [4, 2, 1, 1]])
def test_principal_basis_spans_the_top_eigenspace(multiplicities: list[int]) -> None:
    d, n = len(multiplicities), sum(multiplicities)
    m = multiplicities.count(max(multiplicities))
    batch = draw(Rotated.planted(multiplicities, dim=d, samples=n), jax.random.key(11), 5)
    assert batch.principal is not None
    assert batch.principal.shape == (5, d, m)
    basis, gram = np.asarray(batch.principal), np.asarray(batch.gram)
    np.testing.assert_allclose(
        basis.swapaxes(1, 2) @ basis, np.broadcast_to(np.eye(m), (5, m, m)), atol=1e-14
    )
    # S u = lambda_1 u
    np.testing.assert_allclose(gram @ basis, max(multiplicities) * basis, atol=1e-13)
    inside = np.einsum("bdm,m->bd", basis, np.arange(1.0, m + 1))
    distance = np.sum(inside**2, axis=1) - np.sum(
        np.einsum("bdm,bd->bm", basis, inside) ** 2, axis=1
    )
    np.testing.assert_allclose(distance, 0, atol=1e-13)


def test_principal_basis_ends_at_an_examples_own_multiplicity() -> None:
    columns = jnp.stack(
        [jnp.eye(3)[:, jnp.array([0, 0, 1, 1, 2])], jnp.eye(3)[:, jnp.array([0, 0, 0, 1, 2])]]
    )
    principal = assemble(columns, jnp.eye(3)[:2], 2).principal
    assert principal is not None
    projector = np.asarray(principal @ principal.mT)
    np.testing.assert_allclose(projector[0], np.diag([1, 1, 0]), atol=1e-6)
    np.testing.assert_allclose(projector[1], np.diag([1, 0, 0]), atol=1e-6)


def test_observed_data_are_normalised_and_stay_the_same() -> None:
    data = np.array([[3.0, 0.0, -1.0], [4.0, 2.0, 1.0]])
    observed = Observed(data)
    expected = data / np.array([5.0, 2.0, np.sqrt(2)])
    x = observed.sample(jax.random.key(0), 3)
    np.testing.assert_allclose(x, np.broadcast_to(expected, (3, 2, 3)), atol=1e-7)
    np.testing.assert_allclose(
        observed.eigenvalues, np.linalg.eigvalsh(expected @ expected.T)[::-1], rtol=1e-13
    )
    batch = draw(observed, jax.random.key(0), 3)
    assert len(np.unique(np.asarray(batch.query)[:, 0])) == 3  # only the query is random


@pytest.mark.parametrize(
    ("distribution", "words"),
    [
        (Sphere(dim=16, samples=18), None),
        (Sphere(dim=16, samples=17), ["(A3)", "17 columns", "dimension 16", "n = d + 2 = 18"]),
        (Sphere(dim=5, samples=3), ["(A3)", "3 columns", "dimension 5", "n = d + 2 = 7"]),
        (TASK_2, None),
        (Rejected(Sphere(dim=3, samples=3), threshold=0.1), None),
        (Observed(np.array([[1.0, 1.0], [0.0, 1.0]])), ["(A2)", "4.6", "4.7"]),
    ],
)
def test_breaches_of_assumption_3_2(distribution: Distribution, words: list[str] | None) -> None:
    breaches = assumption_breaches(distribution)
    assert len(breaches) == (words is not None)
    for word in words or []:
        assert re.search(
            rf"{re.escape(word)}\b" if word[-1].isalnum() else re.escape(word), breaches[0]
        )


def test_a_distribution_of_the_users_own_needs_three_names() -> None:
    class Own:
        dim, samples = 2, 3

        def sample(self, key: jax.Array, size: int) -> jax.Array:
            angle = jax.random.uniform(key, (size, 3))
            return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)

    own = Own()
    assert isinstance(own, Distribution)
    assert assumption_breaches(own) == []
    batch = draw(own, jax.random.key(0), 4)
    assert batch.principal is not None
    moved = np.einsum("bij,bjm->bim", np.asarray(batch.gram), np.asarray(batch.principal))
    top = np.linalg.eigvalsh(np.asarray(batch.gram))[:, -1:, None]
    np.testing.assert_allclose(moved, top * np.asarray(batch.principal), atol=2e-6)


def test_the_principal_subspace_is_whole_whatever_is_known_of_the_spectrum() -> None:
    planted = Rotated.planted([2, 2, 1], dim=3, samples=5)

    class Own:
        dim, samples, sample = 3, 5, planted.sample  # says nothing of its spectrum

    class Told(Own):
        multiplicity = 2

    def projectors(distribution: Distribution) -> np.ndarray:
        batch = draw(distribution, jax.random.key(0), 4)
        assert batch.principal is not None
        assert batch.principal.shape == (4, 3, 2)
        return np.asarray(batch.principal @ batch.principal.mT)

    expected = projectors(planted)
    np.testing.assert_allclose(np.trace(expected, axis1=1, axis2=2), 2, rtol=1e-6)
    for other in (Own(), Told()):
        np.testing.assert_array_equal(projectors(other), expected)
    for conditioned in (Rejected(planted, threshold=0.5), Rejected(Told(), threshold=0.5)):
        np.testing.assert_allclose(
            np.trace(projectors(conditioned), axis1=1, axis2=2), 2, rtol=1e-6
        )
    # where nothing is known, the surplus columns are zero; where the spectrum is simple, there are
    # none
    for distribution, columns in (
        (Rejected(Sphere(dim=4, samples=6), threshold=0.1), 1),
        (Sphere(dim=9, samples=9), 1),
    ):
        principal = draw(distribution, jax.random.key(0), 2).principal
        assert principal is not None
        assert principal.shape[2] == columns

    class Unknown:
        dim, samples, sample = 4, 6, Sphere(dim=4, samples=6).sample

    principal = draw(Unknown(), jax.random.key(0), 2).principal
    assert principal is not None
    assert principal.shape == (2, 4, 3)
    assert not np.any(principal[:, :, 1:])


@pytest.mark.parametrize(
    "made",
    [lambda: Rotated.planted([2, 1], dim=2, samples=3), lambda: Observed([[1.0, 1], [1, 0]])],
)
def test_a_distribution_draws_in_the_precision_of_its_time(
    made: Callable[[], Distribution],
) -> None:
    """Built in float32, used in float64: every part of a batch is float64, to the last digit
    of X0.
    """
    distribution = made()
    assert draw(distribution, jax.random.key(0), 2).gram.dtype == jnp.float32
    with jax.enable_x64(True):
        batch = draw(distribution, jax.random.key(0), 2)
        assert {leaf.dtype for leaf in jax.tree.leaves(batch)} == {jnp.dtype(jnp.float64)}
        np.testing.assert_allclose(jnp.linalg.norm(batch.columns, axis=1), 1, rtol=1e-15)


@pytest.mark.parametrize(
    ("call", "fragments"),
    [
        (lambda: Sphere(dim=1, samples=4), ["--dim is 1", "at least 2"]),
        (lambda: Sphere(dim=2, samples=0), ["--samples is 0", "at least 1"]),
        (lambda: Rotated(np.ones(3)), ["(3,)", "d x n"]),
        (lambda: Rotated(np.array([[1.0, np.nan], [0.0, 1.0]])), ["not finite"]),
        (lambda: Rotated(np.array([[1.0, 0.0, 0.0], [0.0, 2.5, 1.0]])), ["column 1", "2.5"]),
        (
            lambda: Rotated(np.array([[1.0, 1.0], [0.0, 0.0]])),
            ["smallest eigenvalue 0", "full rank d = 2"],
        ),
        (lambda: Rotated(np.eye(2)), ["2 eigenvalues equal 1", "tight frame"]),
        (
            lambda: Rotated(np.hstack([np.eye(3), np.eye(3)])),
            ["3 eigenvalues equal 2", "tight frame"],
        ),
        (lambda: Rotated.planted([2, 1], dim=2, samples=4), ["sum to 3", "--samples is 4"]),
        (lambda: Rotated.planted([2.5, 1.5], dim=2, samples=4), ["2.5", "not an integer"]),
        (
            lambda: Rejected(Sphere(dim=3, samples=5), threshold=0.0),
            ["--min-eigenvalue is 0", "above 0"],
        ),
        (
            lambda: Rejected(Sphere(dim=3, samples=5), threshold=float("nan")),
            ["--min-eigenvalue is nan"],
        ),
        (lambda: Rejected(Sphere(dim=3, samples=5), threshold=1.6), ["0 of 1000", ">= 1.6"]),
        (
            lambda: Rejected(Sphere(dim=4, samples=3), threshold=1e-9),
            ["--samples is 3", "--dim = 4"],
        ),
        (lambda: Observed(np.ones(3)), ["(3,)", "d x n"]),
        (lambda: Observed(np.ones((1, 3))), ["--dim is 1", "at least 2"]),
        (lambda: Observed(np.array([[1.0, np.inf], [0.0, 1.0]])), ["not finite"]),
        (lambda: Observed(np.array([[1.0, 0.0], [1.0, 0.0]])), ["column 1", "zero"]),
        (lambda: Observed(3 * np.eye(2)), ["2 eigenvalues equal 1", "tight frame"]),
    ],
)
def test_errors_name_value_and_bound(call: Callable[[], object], fragments: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)
