"""The claims past gamma = infinity: verdicts, and the tables and naive routes they rest on."""

import math

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine

from documented import compare
from documented import of as repeated_of
from eigenloop.claims import Claim, Effort
from eigenloop.theory.claims.filters import ledger, naive, safety

LONG = {"beyond.filter.untied", "beyond.filter.starts"}
"""Thousands of steps with a checked call each: a second without the checks, ten with them."""


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(claim, marks=[pytest.mark.slow] if claim.id in LONG else [], id=claim.id)
        for claim in ledger.claims
    ],
)
def test_each_verdict_is_the_recorded_one_and_so_are_numbers_of_the_docs(claim: Claim) -> None:
    found = claim.run(Effort(quick=True))
    assert found.finding.kind == claim.expected_verdict == "holds"
    assert claim.provenance == "ours"
    assert found.finding.justification
    for each in repeated_of(claim.id):
        compare(each, found.finding)


@pytest.mark.parametrize(("name", "load"), [("iris", load_iris), ("wine", load_wine)])
def test_the_spectra_of_the_tables_are_theirs(name: str, load) -> None:
    rows = load().data
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    values, samples = safety.TABLES[name]
    assert samples == len(rows)
    np.testing.assert_allclose(np.linalg.eigvalsh(rows.T @ rows)[::-1], values, rtol=1e-5)


def test_the_naive_loss_is_that_of_the_loop_and_of_closed_forms() -> None:
    """In the plane E[w z_2^2/(z_1^2 + w z_2^2)] = w^(1/2)/(1 + w^(1/2))."""
    for ratio in (0.5, 1e-3):
        expected = ratio / (1 + ratio)
        assert naive.loss([2.0, 1.0], np.array([1.0, ratio]), 1).real == pytest.approx(
            expected, rel=1e-9
        )
    values = np.array([4.0, 3.0, 1.0, 0.5])
    a, b = 0.9 * np.eye(4), -0.6 * np.eye(4)
    of_state = naive.of_tied(values, np.array([0.9, -0.6, 1.0]), 3, 1).real
    assert naive.of_matrices(values, a, b, 3, 1) == pytest.approx(of_state, rel=1e-12)
    q = np.random.default_rng(0).standard_normal((40_000, 4))
    losses = naive.looped(values, q, [-0.54] * 3)
    assert abs(losses.mean() - of_state) < 5 * losses.std() / 200


def test_naive_derivatives_are_those_of_the_loss() -> None:
    """A complex step against a difference, and both against the plane's closed form."""
    values, step = [3.0, 2.0, 1.0], 1e-6
    rise = naive.at_root(values, 0.3 + step, 2, 1) - naive.at_root(values, 0.3 - step, 2, 1)
    assert naive.slope_at_root(values, 0.3, 2, 1) == pytest.approx(rise / (2 * step), rel=1e-6)
    ratio = lambda rho: ((1 - rho) / (2 - rho)) ** 3  # noqa: E731
    slope = (ratio(0.3 + step) - ratio(0.3 - step)) / (2 * step) / (1 + ratio(0.3)) ** 2
    assert naive.slope_at_root([2.0, 1.0], 0.3, 3, 1) == pytest.approx(slope, rel=1e-6)


def test_a_basis_of_a_sector_is_orthonormal() -> None:
    values = np.array([3.0, 2.0, 2.0, 1.0])
    for name, basis in naive._bases(values).items():
        assert sum(times for _, times in basis) == (6 if name == "antisymmetric" else 9)
        for matrix, _ in basis:
            assert math.isclose(np.linalg.norm(matrix), 1)
            assert abs(np.trace(matrix)) < 1e-15
