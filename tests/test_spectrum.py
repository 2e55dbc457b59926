"""Spectra with multiplicity, Haar rotations, and matrices that have a prescribed spectrum."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenloop.numerics.spectrum import (
    DEFAULT_MULTIPLICITIES,
    check_multiplicities,
    random_orthogonal,
    require_gap,
    sorted_eigenvalues,
    symmetric_with_spectrum,
    top_multiplicity,
    unit_columns_with_spectrum,
)
from eigenloop.system.errors import InputError

seeds = st.integers(0, 2**32 - 1)
weights = st.one_of(st.just(0.0), st.floats(1e-6, 1.0))


@given(st.permutations([3.0, 1.0, 2.0, 0.0, 2.0]))
def test_eigenvalues_come_out_in_descending_order(values: list[float]) -> None:
    assert sorted_eigenvalues(values).tolist() == [3.0, 2.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_ties_are_relative_to_the_largest_eigenvalue(scale: float) -> None:
    within, beyond = scale * (1 - 0.9e-9), scale * (1 - 1.1e-9)
    assert top_multiplicity([scale, within, beyond, 0.0]) == 2
    assert top_multiplicity([beyond, 0.0, scale]) == 1
    assert top_multiplicity([scale, scale, scale]) == 3
    assert require_gap([scale, scale, beyond]) == 2


def test_default_multiplicities_are_those_of_task_2() -> None:
    assert (
        check_multiplicities(DEFAULT_MULTIPLICITIES, dim=16, samples=32) == DEFAULT_MULTIPLICITIES
    )
    assert sum(m * m for m in DEFAULT_MULTIPLICITIES) == 86  # mu2 = 86/16 = 5.375


@pytest.mark.parametrize(
    ("call", "fragments"),
    [
        (lambda: sorted_eigenvalues([1.0]), ["1 eigenvalue(s)", "at least 2"]),
        (lambda: sorted_eigenvalues([1.0, float("nan")]), ["nan", "finite"]),
        (lambda: sorted_eigenvalues([1.0, float("inf")]), ["inf", "finite"]),
        (lambda: sorted_eigenvalues([1.0, -0.25]), ["-0.25", "below 0"]),
        (lambda: sorted_eigenvalues([0.0, 0.0]), ["0", "positive"]),
        (lambda: require_gap([1.5, 1.5, 1.5]), ["3 eigenvalues", "1.5", "tight frame"]),
        (lambda: check_multiplicities([2, 1], dim=4, samples=3), ["--samples is 3", "--dim = 4"]),
        (
            lambda: check_multiplicities([2, 1], dim=3, samples=3),
            ["2 multiplicities", "--dim is 3"],
        ),
        (lambda: check_multiplicities([3, 0], dim=2, samples=3), ["multiplicity 0", "at least 1"]),
        (lambda: check_multiplicities([3, 2], dim=2, samples=4), ["sum to 5", "--samples is 4"]),
        (
            lambda: check_multiplicities([2, 2], dim=2, samples=4),
            ["2 eigenvalues equal 2", "tight frame"],
        ),
        (lambda: check_multiplicities([2.5, 1.5], dim=2, samples=4), ["2.5", "not an integer"]),
        (
            lambda: unit_columns_with_spectrum(np.random.default_rng(0), [2.0, 1.0], samples=4),
            ["sum to 3", "n = 4"],
        ),
        (
            lambda: unit_columns_with_spectrum(
                np.random.default_rng(0), [0.7, 0.7, 0.6], samples=2
            ),
            ["3 positive", "n is 2"],
        ),
    ],
)
def test_errors_name_value_and_bound(call: Callable[[], object], fragments: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_random_orthogonal_has_the_moments_of_the_haar_measure() -> None:
    # For a Haar Q every entry has the law of a coordinate of a uniform unit vector:
    # E Q = 0, E Q^2 = 1/d, E Q^4 = 3/(d(d+2)), E Q^8 = 105/(d(d+2)(d+4)(d+6)).
    d, draws = 4, 6000
    rng = np.random.default_rng(1)
    q = np.array([random_orthogonal(rng, d) for _ in range(draws)])
    np.testing.assert_allclose(
        q @ q.swapaxes(1, 2), np.broadcast_to(np.eye(d), q.shape), atol=1e-14
    )
    second, fourth = 1 / d, 3 / (d * (d + 2))
    eighth = 105 / (d * (d + 2) * (d + 4) * (d + 6))
    # 4.5 sigma for each of the 16 entries: a false alarm once in 9,000 choices of the seed
    assert np.all(abs(q.mean(axis=0)) < 4.5 * np.sqrt(second / draws))
    assert np.all(abs((q**2).mean(axis=0) - second) < 4.5 * np.sqrt((fourth - second**2) / draws))
    assert np.all(abs((q**4).mean(axis=0) - fourth) < 4.5 * np.sqrt((eighth - fourth**2) / draws))
    # both components of O(d), equally often
    assert abs(np.linalg.det(q).mean()) < 4.5 / np.sqrt(draws)
    # E (tr Q)^2 = 1 and E (tr Q)^4 = 3 on O(d), d >= 4: it sees dependence between entries
    assert abs((np.trace(q, axis1=1, axis2=2) ** 2).mean() - 1) < 4.5 * np.sqrt(2 / draws)


@given(st.lists(weights, min_size=2, max_size=8), seeds)
def test_symmetric_with_spectrum_has_it(values: list[float], seed: int) -> None:
    if max(values) == 0:
        values[0] = 1.0
    s = symmetric_with_spectrum(np.random.default_rng(seed), values)
    np.testing.assert_allclose(np.linalg.eigvalsh(s), np.sort(values), atol=1e-14)


@given(st.lists(weights, min_size=2, max_size=7), st.integers(0, 9), seeds)
def test_unit_columns_with_spectrum_has_both(values: list[float], extra: int, seed: int) -> None:
    if max(values) == 0:
        values[0] = 1.0
    samples = int(np.count_nonzero(values)) + extra
    spectrum = np.array(values) * samples / np.sum(values)
    x = unit_columns_with_spectrum(np.random.default_rng(seed), spectrum, samples=samples)
    assert x.shape == (len(values), samples)
    np.testing.assert_allclose(np.sum(x * x, axis=0), 1, atol=1e-14)
    # eigenvalues of a symmetric matrix of norm <= n: rounding of n, times a few operations per
    # column
    np.testing.assert_allclose(
        np.linalg.eigvalsh(x @ x.T), np.sort(spectrum), atol=1e-14 * samples**2
    )


@pytest.mark.parametrize("spectrum", [[2.0, 2.0, 2.0], [6.0, 0.0, 0.0], [1.0, 1.0, 4.0]])
def test_unit_columns_at_the_edges(spectrum: list[float]) -> None:
    x = unit_columns_with_spectrum(np.random.default_rng(5), spectrum, samples=6)
    np.testing.assert_allclose(np.linalg.norm(x, axis=0), 1, atol=1e-15)
    np.testing.assert_allclose(np.linalg.eigvalsh(x @ x.T), np.sort(spectrum), atol=1e-13)
