"""Where a map is linear about its fixed point: remainders, the rule for them, and forecasts that
begin there.
"""

import numpy as np
import pytest

from eigenloop.loops import Linear, LoopedMap, diagnose, spectrum
from eigenloop.loops.cases import linear_map, planted, tanh_map
from eigenloop.loops.forecast import first_below
from eigenloop.loops.linear import DENSE
from eigenloop.loops.region import allowance, linear_region, remainders


def quadratic(mu: float, curve: float, x0: float) -> LoopedMap:
    """x -> mu x + curve x^2: R(h) = curve h^2, so that delta = curve |h| / mu."""
    return LoopedMap.numpy(
        lambda x: mu * x + curve * x * x, np.array([x0]), jvp=lambda x, v: (mu + 2 * curve * x) * v
    )


def test_the_remainder_of_a_quadratic_map_is_its_quadratic_term():
    looped = quadratic(0.8, 0.3, 0.2)
    states = [looped.start]
    for _ in range(10):
        states.append(looped.step(states[-1]))
    h = np.stack(states)
    left, kept = remainders(looped.at(np.zeros(1)), h, np.arange(10))
    np.testing.assert_allclose(left, 0.3 * h[:10, 0] ** 2, rtol=1e-10)
    np.testing.assert_allclose(kept, 0.8 * h[:10, 0], rtol=1e-12)


@pytest.mark.parametrize("mu", [0.5, 0.9, 0.99])
def test_the_allowance_is_what_costs_one_loop(mu):
    """Remainders that begin at the allowance and fall by mu change where the orbit ends by less
    than one loop.

    c_{k+1} = mu c_k (1 + delta mu^k): the product of all factors is below 1/mu, and at twice the
    allowance above it.
    """
    allowed = allowance(spectrum(Linear.of(np.diag([mu, 0.1]))).modes[0])
    assert allowed == pytest.approx((1 - mu) * np.log(1 / mu), rel=1e-12)
    products = [np.prod(1 + part * allowed * mu ** np.arange(5000)) for part in (1, 2)]
    assert products[0] <= 1 / mu
    assert products[1] > 1 / mu


def test_a_condition_takes_its_part():
    matrix = planted(np.random.default_rng(0), [0.9], size=8, condition=30.0)
    mode = spectrum(Linear.of(matrix)).modes[0]
    assert mode.condition > 1.5
    assert allowance(mode) * mode.condition == pytest.approx(0.1 * np.log(1 / 0.9), rel=1e-9)
    assert allowance(spectrum(Linear.of(np.eye(2))).modes[0]) == 0


def test_the_first_state_inside_is_where_the_quadratic_term_is_small_enough():
    mu, curve = 0.9, 0.5
    found = diagnose(quadratic(mu, curve, 0.15), loops=300)
    states = found.orbit.states[:, 0]
    inside = np.flatnonzero(curve * np.abs(states) / mu <= (1 - mu) * np.log(1 / mu))
    assert found.needed[0].from_loop == inside[0] > 0
    assert found.region.remainder == pytest.approx(curve * states[inside[0]] / mu, rel=1e-6)


def test_a_forecast_from_a_tenth_is_off_by_a_hundred_loops_and_one_from_the_region_by_none():
    found = diagnose(quadratic(0.99, -0.5, 0.5), loops=400, norms=False)
    needed = found.loops_to(1e-4)
    assert (needed.from_loop, needed.forecast, needed.taken) == (453, 590, 590)
    distances = found.orbit.distances(found.point.point)
    near = first_below(distances, 0.1)
    assert near is not None
    below = first_below(distances[near] * 0.99 ** np.arange(2000), 1e-4)
    assert below is not None
    assert near + below == 714
    early = found.loops_to(1e-2)
    assert early.forecast is None
    assert f"from loop {early.taken}" in early.reasons["forecast"]


def test_every_state_of_an_affine_map_is_inside():
    rng = np.random.default_rng(1)
    matrix = planted(rng, [0.9 * np.exp(0.7j)], size=20, condition=20.0)
    found = diagnose(linear_map(matrix, np.ones(20), shift=rng.standard_normal(20)), loops=200)
    assert found.region.loop == 0
    assert all(each.forecast == each.taken for each in found.needed)


@pytest.mark.parametrize("leader", [0.9, -0.93, 0.95 * np.exp(2.5j), 0.99])
def test_a_forecast_from_there_is_right_to_one_loop(leader):
    rng = np.random.default_rng(2)
    looped = tanh_map(planted(rng, [leader], size=30), rng.standard_normal(30))
    found = diagnose(looped, loops=400, norms=False, tolerances=(1e-1, 1e-2, 1e-3, 1e-4))
    made = [each for each in found.needed if each.forecast is not None and each.taken is not None]
    assert len(made) >= 2
    assert all(abs(each.forecast - each.taken) <= 1 for each in made)
    for each in found.needed:
        if each.forecast is None:
            assert each.taken <= each.from_loop
            assert "before" in each.reasons["forecast"]


def test_a_large_map_is_searched_by_halving_to_the_same_loop():
    rng, size = np.random.default_rng(3), DENSE + 5
    matrix = np.diag(np.r_[0.9, rng.uniform(-0.5, 0.5, size - 1)])
    looped = tanh_map(matrix, rng.standard_normal(size))
    states = [looped.start]
    for _ in range(60):
        states.append(looped.step(states[-1]))
    h, linear = np.stack(states), looped.at(np.zeros(size))
    mode = spectrum(linear).modes[0]
    found = linear_region(linear, h, mode, scale=1.0, noise=1e-16)
    assert found is not None
    left, kept = remainders(linear, h, np.arange(60))
    assert found.loop == int(np.flatnonzero(left / kept > found.allowed)[-1]) + 1
    assert 0 < found.loop < 60


def test_no_state_inside_is_none_and_the_forecast_says_why():
    looped = quadratic(0.99, 0.5, 0.5 * 0.01)
    found = diagnose(looped, loops=4, norms=False)
    if found.needed is not None and found.region is None:
        assert all("linear region" in each.reasons["forecast"] for each in found.needed)
    short = np.array([[1.0], [2.0]])
    linear = looped.at(np.zeros(1))
    mode = spectrum(linear).modes[0]
    assert linear_region(linear, short, mode, scale=1.0, noise=1e-16) is None
    assert linear_region(linear, short[:1], mode, scale=1.0, noise=1e-16) is None
