"""Standard errors, bootstrap coverage and power-law fits."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from eigenloop.numerics.statistics import bootstrap_interval, fit_power_law, standard_error
from eigenloop.system.errors import InputError


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_standard_error_is_its_formula(axis: int) -> None:
    values = np.random.default_rng(0).normal(size=(5, 7))
    rows = values.T if axis == 0 else values
    naive = [
        math.sqrt(sum((x - sum(row) / len(row)) ** 2 for x in row) / (len(row) - 1) / len(row))
        for row in rows.tolist()
    ]
    np.testing.assert_allclose(standard_error(values, axis=axis), naive, rtol=1e-14)


def test_standard_error_predicts_the_scatter_of_means() -> None:
    means = np.random.default_rng(1).normal(size=(4000, 25))
    predicted = standard_error(means, axis=1)
    # the mean of s^2/N over 4,000 sets has relative standard deviation sqrt(2/24/4000): 4 sigma
    assert abs((predicted**2).mean() * 25 - 1) < 4 * math.sqrt(2 / 24 / 4000)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_bootstrap_covers_the_mean_as_often_as_it_should(level: float) -> None:
    # The percentile interval of N normal values is mean +- z s sqrt((N-1)/N)/sqrt(N), so its exact
    # coverage is that of Student's t at z sqrt((N-1)/N); 400 resamples lower it by less than 1/400.
    values, sets = 30, 500
    data = np.random.default_rng(2).normal(loc=3.0, size=(sets, values))
    intervals = [
        bootstrap_interval(row, seed=i, level=level, resamples=400) for i, row in enumerate(data)
    ]
    covered = np.mean([low < 3.0 < high for low, high in intervals])
    z = scipy.stats.norm.ppf((1 + level) / 2)
    expected = 2 * scipy.stats.t.cdf(z * math.sqrt((values - 1) / values), values - 1) - 1
    assert abs(covered - expected) < 4 * math.sqrt(expected * (1 - expected) / sets) + 1 / 400


def test_bootstrap_is_a_function_of_its_seed() -> None:
    values = np.random.default_rng(3).exponential(size=50)
    low, high = bootstrap_interval(values, seed=7, resamples=200)
    assert bootstrap_interval(values, seed=7, resamples=200) == (low, high)
    assert bootstrap_interval(values, seed=8, resamples=200) != (low, high)
    np.testing.assert_allclose(
        bootstrap_interval(-values, seed=7, resamples=200), (-high, -low), rtol=1e-13
    )


@given(st.floats(-4, 4), st.floats(1e-3, 1e3), st.integers(3, 12))
def test_power_law_without_noise_is_recovered(
    exponent: float, prefactor: float, count: int
) -> None:
    x = np.geomspace(0.1, 1e4, count)
    fit = fit_power_law(x, prefactor * x**exponent)
    assert fit.exponent == pytest.approx(exponent, abs=1e-12)
    assert fit.prefactor == pytest.approx(prefactor, rel=1e-11)
    assert fit.stderr < 1e-12


def test_power_law_with_noise_agrees_with_scipy() -> None:
    rng = np.random.default_rng(4)
    x = np.geomspace(1, 100, 17)
    y = 3 * x**0.25 * np.exp(rng.normal(scale=0.3, size=17))
    fit = fit_power_law(x, y)
    reference: Any = scipy.stats.linregress(np.log(x), np.log(y))
    assert fit.exponent == pytest.approx(reference.slope, rel=1e-12)
    assert fit.prefactor == pytest.approx(math.exp(reference.intercept), rel=1e-12)
    assert fit.stderr == pytest.approx(reference.stderr, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "fragments"),
    [
        (lambda: standard_error([1.0]), ["at least 2", "1 given"]),
        (lambda: bootstrap_interval([1.0], seed=0), ["at least 2", "1 given"]),
        (lambda: bootstrap_interval([1.0, 2.0], seed=0, level=1.5), ["1.5", "below 1"]),
        (lambda: fit_power_law([1, 2], [1, 2]), ["at least 3", "2 given"]),
        (lambda: fit_power_law([1, 2, 0], [1, 2, 3]), ["positive"]),
        (lambda: fit_power_law([1, 2, 3], [1, 2, float("nan")]), ["finite"]),
        (lambda: fit_power_law([2, 2, 2], [1, 2, 3]), ["all 3 are 2", "different x"]),
    ],
)
def test_errors_name_value_and_bound(call: Callable[[], object], fragments: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        call()
    for fragment in fragments:
        assert fragment in str(caught.value)
