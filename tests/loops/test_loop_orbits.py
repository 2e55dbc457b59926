"""Fixed points, orbits, rates on the left coordinate, exponents and ends, on maps whose answer
is known.
"""

import numpy as np
import pytest

from eigenloop.loops import (
    Linear,
    LoopedMap,
    anderson,
    ends,
    exponents,
    fixed_point,
    left_rate,
    orbit,
    random_starts,
    slice_ends,
    spectrum,
)
from eigenloop.loops.cases import (
    block_diagonal,
    henon,
    linear_map,
    normalized_map,
    planted,
    ring,
    tanh_map,
)
from eigenloop.loops.fixed_points import solve_along
from eigenloop.loops.linear import DENSE
from eigenloop.loops.orbits import grows, period
from eigenloop.numerics.statistics import fit_rate
from eigenloop.system.errors import InputError

LARGE = DENSE + 20


def affine(leaders, *, size=20, seed=0, condition=5.0):
    rng = np.random.default_rng(seed)
    matrix, shift = planted(rng, leaders, size=size, condition=condition), rng.standard_normal(size)
    return linear_map(matrix, rng.standard_normal(size), shift=shift), np.linalg.solve(
        np.eye(size) - matrix, shift
    )


@pytest.mark.parametrize("leader", [0.5, 0.999, -0.9999, 1.3])
@pytest.mark.parametrize("size", [20, LARGE])
def test_a_solver_finds_the_fixed_point_attracting_or_not(leader, size):
    looped, point = affine([leader], size=size)
    found = fixed_point(looped, looped.start, scale=float(np.linalg.norm(point)))
    assert found.found
    np.testing.assert_allclose(found.point, point, atol=1e-8 * float(np.linalg.norm(point)))
    assert found.error < 1e-9


def test_the_estimated_error_is_the_distance_to_the_point():
    """||(I - J)^{-1} (f(x) - x)||, exact for an affine map."""
    looped, point = affine([0.95])
    x = point + 1e-3 * np.random.default_rng(1).standard_normal(point.size)
    step = solve_along([looped.at(x)], looped.step(x) - x)
    np.testing.assert_allclose(x + step, point, atol=1e-12)


def test_anderson_is_far_faster_than_the_loop():
    looped, point = affine([0.98])
    _, residual, count = anderson(
        looped, looped.start, scale=float(np.linalg.norm(point)), tolerance=1e-10
    )
    assert residual < 1e-10
    assert count < 60  # the loop takes log(1e-10)/log(0.98) = 1140


def test_no_fixed_point_is_found_where_there_is_none():
    looped = LoopedMap.numpy(lambda x: x + 1.0, np.zeros(3))
    found = fixed_point(looped, looped.start, scale=1.0)
    assert not found.found
    assert found.reason


def test_a_point_of_period_two():
    looped = LoopedMap.numpy(lambda x: np.tanh(-1.5 * x), np.array([0.5]))
    found = fixed_point(looped, looped.start, scale=1.0, period=2)
    assert found.found
    assert abs(found.point[0]) == pytest.approx(0.8586, abs=1e-4)  # tanh(1.5 x) = x
    np.testing.assert_allclose(looped.step(found.point), -found.point, atol=1e-12)


def test_states_steps_and_distances():
    looped = LoopedMap.numpy(lambda x: 0.5 * x, np.array([4.0, 0.0]))
    run = orbit(looped, looped.start, loops=3, more=5)
    np.testing.assert_allclose(run.asked[:, 0], [4, 2, 1, 0.5])
    np.testing.assert_allclose(run.norms, 4 * 0.5 ** np.arange(9))
    assert run.scale == 3.5  # the way that it came, above its last length
    np.testing.assert_allclose(run.steps[:3], np.array([2, 1, 0.5]) / 3.5)
    np.testing.assert_allclose(run.distances(np.zeros(2)), run.norms / 3.5)
    assert run.total == 8
    # 5 times the loops asked for
    assert len(orbit(looped, looped.start, loops=1, more=9).states) == 6
    assert run.tail[-1][0] == 4 / 2**8


def test_a_state_that_leaves_the_numbers_ends_the_run():
    looped = LoopedMap.numpy(lambda x: x * x, np.array([3.0]))
    run = orbit(looped, looped.start, loops=64)
    assert run.blew_up
    assert np.isfinite(run.states).all()


@pytest.mark.parametrize("p", [1, 2, 3, 7])
def test_periods(p):
    tail = np.tile(np.random.default_rng(0).standard_normal((p, 4)), (10, 1))
    assert period(tail, scale=1.0, tolerance=1e-9) == p


def test_an_alternating_decay_is_no_period_of_two():
    tail = ((-0.95) ** np.arange(280, 384))[:, None]  # repeats in two before it does in one
    assert np.linalg.norm(tail[-1] - tail[-3]) < 1e-9 < 1e3 * np.linalg.norm(tail[-1] - tail[-2])
    assert period(tail, scale=1.0, tolerance=1e-9) is None


@pytest.mark.parametrize(
    ("norms", "answer"),
    [
        (1.01 ** np.arange(400), True),
        (np.sqrt(np.arange(1.0, 400)), True),
        (np.r_[np.linspace(1, 9, 40), np.full(360, 9.0)], False),
        (5 + np.sin(0.1 * np.arange(400)), False),
        (np.ones(8), False),
    ],
)
def test_growth_without_end(norms, answer):
    assert grows(norms) is answer


@pytest.mark.parametrize("leader", [0.9, -0.9, 0.9 * np.exp(0.7j), 0.8 * np.exp(0.0377j)])
def test_the_left_coordinate_gives_mu_where_distances_do_not(leader):
    looped, point = affine([leader, 0.79], condition=20.0)
    run = orbit(looped, looped.start, loops=80)
    found = fixed_point(looped, run.states[-1], scale=run.scale)
    mode = spectrum(looped.at(found.point)).modes[0]
    rate, why = left_rate(run, found, mode, noise=looped.noise)
    assert why == ""
    assert rate.modulus == pytest.approx(abs(leader), abs=1e-9)
    assert abs(rate.angle) == pytest.approx(abs(np.angle(leader)), abs=1e-8)
    # a slow pair: least squares on distances is off by many of its own errors
    if leader == 0.8 * np.exp(0.0377j):
        fit = fit_rate(run.distances(point))
        assert abs(np.log(fit.value / 0.8)) > 3 * fit.stderr


def test_a_rate_needs_a_left_vector_and_loops_near_the_point():
    looped, _ = affine([0.99])
    run = orbit(looped, looped.start, loops=12)
    found = fixed_point(looped, looped.start, scale=run.scale)
    mode = spectrum(looped.at(found.point)).modes[0]
    rate, why = left_rate(run, found, mode, noise=looped.noise)
    assert rate is None
    assert "from x*" in why
    forward = Linear(LARGE, forward=lambda v: 0.5 * v)
    rate, why = left_rate(run, found, spectrum(forward).modes[0], noise=0.0)
    assert rate is None
    assert "vjp" in why


def test_exponents_of_a_linear_map_are_the_logarithms_of_its_moduli():
    matrix = block_diagonal([0.9 * np.exp(0.5j), 0.5, -0.25])
    looped = linear_map(matrix, np.ones(4))
    found = exponents(looped, looped.start, count=4, loops=400)
    np.testing.assert_allclose(found.values, np.log([0.9, 0.9, 0.5, 0.25]), atol=1e-6)
    assert found.running.shape == (400, 4)
    np.testing.assert_allclose(found.running[-1], found.values)


def test_the_exponents_of_henons_map():
    """0.41922 and -1.62319; their sum is log 0.3 exactly."""
    looped = LoopedMap.numpy(
        henon,
        np.array([0.1, 0.1]),
        jvp=lambda x, v: np.array([-2.8 * x[0] * v[0] + v[1], 0.3 * v[0]]),
    )
    found = exponents(looped, looped.start, count=2, loops=4000)
    assert abs(found.values[0] - 0.41922) < 3 * found.errors[0]
    assert abs(found.values[1] + 1.62319) < 3 * found.errors[1]
    assert found.values.sum() == pytest.approx(np.log(0.3), abs=1e-6)
    assert found.largest == (found.values[0], found.errors[0])


def test_exponents_of_an_orbit_that_leaves_the_numbers_are_none():
    looped = LoopedMap.numpy(lambda x: x + x * x, np.array([1.0]))
    with np.errstate(over="ignore", invalid="ignore"):
        assert exponents(looped, looped.start) is None


def test_ends_of_an_odd_map_are_two_and_lie_on_one_line():
    looped = normalized_map(np.diag([3.0, 1.0, 0.5]), np.array([0.3, 0.9, 0.2]))
    found = ends(looped, random_starts(looped, 12, seed=1), loops=80, scale=1.0)
    assert sum(found.shares) == found.settled == 12
    assert len(found.shares) == 2
    assert found.alignment_up_to_sign == pytest.approx(1, abs=1e-12)
    assert found.worst == pytest.approx(-1, abs=1e-12)
    plus, minus = found.shares
    pairs = 12 * 11
    assert found.alignment == pytest.approx(
        (plus * (plus - 1) + minus * (minus - 1) - 2 * plus * minus) / pairs
    )


def test_starts_that_do_not_settle_have_no_end():
    looped = LoopedMap.numpy(ring(1.0, 1.0, 0.0), np.array([1.0, 0.0]))
    found = ends(looped, random_starts(looped, 3), loops=20, scale=1.0)
    assert (found.settled, found.shares, found.labels.tolist()) == (0, (), [-1, -1, -1])


def test_starts_begin_with_the_maps_own_and_have_its_length():
    looped = LoopedMap.numpy(lambda x: 0.5 * x, np.array([3.0, 4.0]))
    starts = random_starts(looped, 4)
    np.testing.assert_array_equal(starts[0], [3, 4])
    np.testing.assert_allclose(np.linalg.norm(starts, axis=1), 5)
    with pytest.raises(InputError, match="at least 1"):
        random_starts(looped, 0)
    with pytest.raises(InputError, match="one row of 2 numbers"):
        ends(looped, np.ones((2, 3)), loops=1, scale=1.0)


def test_a_slice_is_coloured_by_end():
    """tanh(2 x) in each of two coordinates: the sign of each decides, four ends."""
    looped = tanh_map(2 * np.eye(2), np.array([0.5, 0.45]))
    found = slice_ends(looped, loops=60, scale=1.0, points=8)
    assert found.labels.shape == (8, 8)
    assert len(found.ends.shares) == 4
    assert found.ends.settled == 64
    corner = np.linalg.norm(found.ends.states, axis=1)
    np.testing.assert_allclose(corner, corner[0], atol=1e-6)
