"""Attractors and leading eigenvalues against maps whose answer is known."""

import numpy as np
import pytest

from eigenloop.lens.cases.generators import with_spectrum
from eigenloop.lens.loops import contraction
from eigenloop.lens.loops.contraction import attractor, leading_mode


def affine(values, *, seed=0, condition=3.0):
    """x -> A x + b, with its fixed point."""
    rng = np.random.default_rng(seed)
    matrix, shift = (
        with_spectrum(rng, values, condition=condition),
        rng.standard_normal(len(values)),
    )
    point = np.linalg.solve(np.eye(len(values)) - matrix, shift)
    return (lambda x: matrix @ x + shift), (lambda x, v: v @ matrix.T), point


@pytest.mark.parametrize("slow", [0.5, 0.99, -0.9999])
def test_the_fixed_point_is_found_however_slow_the_map_is(slow):
    step, derivative, point = affine([slow, 0.4, 0.1, -0.2])
    found = attractor(step, derivative, np.ones(4))
    assert found.converged
    assert found.period == 1
    np.testing.assert_allclose(found.points[0], point, rtol=1e-9)
    assert (found.steps < contraction.PLAIN) == (slow == 0.5)


def test_without_newton_a_slow_map_is_said_not_to_have_converged():
    step, derivative, _ = affine([0.999, 0.4, 0.1, -0.2])
    found = attractor(step, derivative, np.ones(4), newton=False)
    assert not found.converged
    assert 1e-6 < found.residual < 1e-2


@pytest.mark.parametrize("gap", [0.5, 0.995])
def test_two_points_in_turn(gap):
    """N(M x) for a negative leader goes to v and -v in turn, fast or slowly."""
    matrix = np.diag([-1.0, gap, 0.2])

    def derivative(x, v):
        y = matrix @ x
        size = np.linalg.norm(y)
        moved = v @ matrix.T
        return (moved - np.outer(moved @ y, y) / size**2) / size

    found = attractor(
        lambda x: matrix @ x / np.linalg.norm(matrix @ x), derivative, np.array([0.9, 0.3, 0.3])
    )
    assert found.converged
    assert found.period == 2
    np.testing.assert_allclose(found.points[0], -found.points[1], atol=1e-10)
    np.testing.assert_allclose(np.abs(found.points[0]), [1, 0, 0], atol=1e-9)


def test_a_map_that_turns_for_ever_has_no_attractor():
    angle = 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = attractor(
        lambda x: turn @ x / np.linalg.norm(x),
        lambda x, v: v @ turn.T,
        np.array([1.0, 0.5]),
        newton=False,
    )
    assert not found.converged


@pytest.mark.parametrize("condition", [1.0, 3.0])
@pytest.mark.parametrize("size", [12, contraction.DENSE + 8])
def test_the_leading_mode_is_the_planted_one_with_its_left_vector(size, condition):
    """l A = mu l without a conjugate, so that l A^k x = mu^k l x for every x; from products u A
    alone.
    """
    for leader in ([-0.9], [0.3 + 0.8j, 0.3 - 0.8j]):
        rest = np.linspace(0.7, -0.6, size - len(leader))
        matrix = with_spectrum(np.random.default_rng(size), [*leader, *rest], condition=condition)
        found = leading_mode(lambda u, matrix=matrix: u @ matrix, size)
        assert found.converged
        assert found.value == pytest.approx(leader[0], rel=1e-9)
        assert found.residual < 1e-9
        assert np.linalg.norm(found.vector) == pytest.approx(1)
        assert np.isrealobj(found.vector) == (len(leader) == 1)
        np.testing.assert_allclose(found.vector @ matrix, leader[0] * found.vector, atol=1e-9)
        x = np.random.default_rng(0).standard_normal(size)
        y = matrix @ (matrix @ x)
        assert found.vector @ y == pytest.approx(leader[0] ** 2 * (found.vector @ x), rel=1e-7)


def test_a_large_map_is_solved_without_its_matrix(monkeypatch):
    monkeypatch.setattr(contraction, "DENSE", 3)
    step, derivative, point = affine([0.999, 0.4, 0.1, -0.2])
    found = attractor(step, derivative, np.ones(4))
    assert found.converged
    np.testing.assert_allclose(found.points[0], point, rtol=1e-8)
