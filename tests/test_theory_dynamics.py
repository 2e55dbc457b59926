"""Population gradient descent: against naive recursions, its conservation law, its flow and the
asymptotics.
"""

import math

import numpy as np
import pytest

from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES as TASK_2
from eigenloop.system.errors import InputError
from eigenloop.theory import dynamics
from eigenloop.theory.dynamics import asymptotic, long_run, recorded_steps, recursion
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm, Setting
from eigenloop.theory.slopes import SlopeTable

LOOPED, SINGLE = EndToEnd(TASK_2, 10), LayerwiseNorm(TASK_2)


@pytest.mark.parametrize("setting", [LOOPED, SINGLE, LayerwiseLinear(TASK_2)])
def test_recursion_is_gradient_descent_written_out(setting: Setting) -> None:
    """a - (eta/d) b f', b - (eta/d) a f' with f' from the integrals themselves at every step."""
    a, b, rate = 1.0, 0.0, 0.1 / 16
    for _ in range(200):
        slope = float(setting.slope(a * b).value)
        a, b = a - rate * b * slope, b - rate * a * slope
    path = recursion(setting, learning_rate=0.1, steps=200)
    assert path.steps[-1] == 200
    assert (path.a[-1], path.b[-1]) == pytest.approx((a, b), rel=1e-12)


def test_the_table_is_as_exact_as_the_integrals() -> None:
    for setting in (LOOPED, SINGLE, EndToEnd([2.0, 1.99, 0.1], 300)):
        table = SlopeTable(setting)
        for gamma in (0.0, 1e-6, 0.03, 1.7, 90.0, 4e5):
            assert table(gamma) == pytest.approx(float(setting.slope(gamma).value), rel=1e-11)


def test_quasi_conservation() -> None:
    """a'^2 - b'^2 = (a^2 - b^2)(1 - (eta f'/d)^2) (Appendix C.2.2), step by step."""
    path = recursion(LOOPED, learning_rate=0.5, steps=10)
    assert path.steps.tolist() == list(range(11))
    for i in range(10):
        k = 0.5 / 16 * float(LOOPED.slope(float(path.gamma[i])).value)
        before, after = (path.a[j] ** 2 - path.b[j] ** 2 for j in (i, i + 1))
        assert after == pytest.approx(before * (1 - k**2), rel=1e-12)


@pytest.mark.parametrize("setting", [LOOPED, SINGLE])
def test_the_flow_is_the_recursion_where_both_run(setting: Setting) -> None:
    every = recursion(setting, learning_rate=0.1, steps=100_000)
    flow = long_run(setting, learning_rate=0.1, steps=1e5)
    np.testing.assert_array_equal(flow.steps, every.steps)
    np.testing.assert_allclose(flow.a, every.a, rtol=1e-10)
    np.testing.assert_allclose(flow.b, every.b, rtol=1e-10)
    assert flow.error < 1e-10


def test_the_flows_velocity_converges_with_each_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving out the n-th difference costs t^-n: taken over at step 30, each order gains a
    factor near 30.
    """
    monkeypatch.setattr(dynamics, "SMOOTH_FROM", 30)
    exact = recursion(LOOPED, learning_rate=0.1, steps=3000).gamma[-1]
    errors = []
    for order in (1, 2, 3):
        monkeypatch.setattr(dynamics, "ORDER", order + 1)
        errors.append(abs(long_run(LOOPED, learning_rate=0.1, steps=3000).gamma[-1] / exact - 1))
    assert errors[1] < errors[0] / 8
    assert errors[2] < errors[1] / 8
    assert errors[2] < 1e-6


@pytest.mark.parametrize(("setting", "exponent"), [(LOOPED, 1 / 4), (SINGLE, 1 / 6)])
def test_exponents_and_constants_at_very_long_times(
    setting: EndToEnd | LayerwiseNorm, exponent: float
) -> None:
    """Both approach their limits with a relative error of the order of 1/gamma, gamma at the
    start of the fit.
    """
    path = long_run(setting, learning_rate=0.1, steps=1e12)
    late = path.steps > 1e10
    gamma = path.gamma[-1]
    for weights in (path.a, path.b):
        slope = np.polyfit(np.log(path.steps[late]), np.log(weights[late]), 1)[0]
        assert slope == pytest.approx(exponent, rel=1 / path.gamma[late][0])
    predicted = asymptotic(setting, learning_rate=0.1, steps=1e12)
    assert gamma == pytest.approx(predicted["gamma"], rel=1 / gamma)
    assert float(setting.loss(gamma).value) == pytest.approx(predicted["loss"], rel=2 / gamma)


@pytest.mark.parametrize("target", ["normalized", "unnormalized"])
def test_without_ln_gamma_goes_to_its_optimum_at_the_predicted_rate(target: str) -> None:
    setting = LayerwiseLinear(TASK_2, target)  # pyright: ignore[reportArgumentType]
    rate, optimum, mu2 = 0.03, float(setting.optimum().value), float(setting.second_moment().value)
    path = recursion(setting, learning_rate=rate, steps=400)
    errors = abs(path.gamma - optimum)
    assert np.all(np.diff(errors) <= 0)
    c = path.a[-1] ** 2 - path.b[-1] ** 2
    factor = 1 - 2 * rate * mu2 / 16 * math.hypot(c, 2 * optimum)
    i = int(np.searchsorted(path.steps, 300))  # far from the start, and far above rounding
    measured = (errors[i + 1] / errors[i]) ** (1 / (path.steps[i + 1] - path.steps[i]))
    assert measured == pytest.approx(factor, abs=5e-5)
    end = asymptotic(setting, learning_rate=rate, steps=400)
    # c moves by O(eta)
    assert (path.a[-1], path.b[-1]) == pytest.approx((end["a"], end["b"]), rel=0.01)


@pytest.mark.parametrize("eigenvalues", [TASK_2, (0.5, 0.1)])
@pytest.mark.parametrize("target", ["normalized", "unnormalized"])
def test_without_ln_a_small_learning_rate_is_followed_to_the_end(
    eigenvalues: tuple, target: str
) -> None:
    """At 1e-6 nothing is settled after 10,000 steps; gamma* may be negative.

    Step by step against the flow.
    """
    setting = LayerwiseLinear(eigenvalues, target)  # pyright: ignore[reportArgumentType]
    every = recursion(setting, learning_rate=1e-6, steps=100_000)
    flow = long_run(setting, learning_rate=1e-6, steps=1e5)
    np.testing.assert_array_equal(flow.steps, every.steps)
    assert abs(flow.gamma[-1] / every.gamma[-1] - 1) < flow.error + every.error < 1e-8
    np.testing.assert_allclose(flow.a, every.a, rtol=1e-9)
    np.testing.assert_allclose(flow.b, every.b, rtol=1e-9)
    ends = [
        long_run(setting, learning_rate=1e-6, steps=n).gamma[-1]
        for n in (1e6, 2e6 + 1, 1e7, 1e8, 1e9, 1e18)
    ]
    apart = np.abs(np.array(ends) - float(setting.optimum().value))
    assert np.all(np.diff(apart) <= 0)
    assert np.all(np.diff(apart[:3]) < 0)
    assert apart[-1] <= 1e-13 * abs(float(setting.optimum().value))


def test_without_ln_the_flow_keeps_the_linear_rate() -> None:
    """e contracts by 1 - kappa s* a step in the limit: log e falls by kappa s* between late
    steps, at 1e-6.
    """
    setting = LayerwiseLinear(TASK_2, "unnormalized")
    optimum, kappa = (
        float(setting.optimum().value),
        2e-6 * float(setting.second_moment().value) / 16,
    )
    first, last = (long_run(setting, learning_rate=1e-6, steps=n) for n in (1.0e7, 1.2e7))
    s = math.hypot(last.a[-1] ** 2 - last.b[-1] ** 2, 2 * optimum)
    fall = math.log((optimum - first.gamma[-1]) / (optimum - last.gamma[-1]))
    assert fall == pytest.approx(-2e6 * math.log1p(-kappa * s), rel=1e-4)


def test_without_ln_an_oscillation_that_does_not_end_has_no_late_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a^2 - b^2 = 1, between the overshoot's threshold and divergence: what 20,000 steps
    leave open is nan.
    """
    monkeypatch.setattr(dynamics, "STEPWISE", 20_000)
    setting = LayerwiseLinear([2.0, 1.0], "unnormalized")
    mu2, best = 2.5, 0.4
    rate = 2 / math.hypot(1.0, 2 * best) * 2 / (2 * mu2) * (1 - 1e-9)
    path = long_run(setting, learning_rate=rate, steps=1e6, start=_weights_at(best * (1 + 1e-3)))
    if not abs(path.gamma[-1] - best) < 1e-9:
        assert math.isnan(path.a[-1])
        assert math.isinf(path.error)
    settled = long_run(setting, learning_rate=0.9 * rate, steps=1e6)
    assert settled.gamma[-1] == pytest.approx(best, rel=1e-12)


def _weights_at(gamma: float) -> tuple[float, float]:
    a = math.sqrt((1 + math.hypot(1.0, 2 * gamma)) / 2)
    return a, gamma / a


def test_a_step_too_large_diverges_without_a_word() -> None:
    path = recursion(LayerwiseLinear(TASK_2), learning_rate=50.0, steps=500)
    assert len(path.steps) == len(path.a)
    assert np.isinf(path.a[-1])


def test_many_spectra_descend_on_their_mean() -> None:
    rows = np.array([[5.0, 2.0, 1.0], [3.0, 2.5, 0.5]])
    path = recursion(EndToEnd(rows, 2), learning_rate=0.1, steps=3)
    a, b = 1.0, 0.0
    for _ in range(3):
        slope = sum(float(EndToEnd(row, 2).slope(a * b).value) for row in rows) / 2
        a, b = a - 0.1 / 3 * b * slope, b - 0.1 / 3 * a * slope
    assert path.gamma[-1] == pytest.approx(a * b, rel=1e-11)


def test_recorded_steps_hold_the_end() -> None:
    assert recorded_steps(3) == [0, 1, 2, 3]
    assert recorded_steps(1e6, after=999_000)[-1] == 1_000_000
    assert all(step > 10 for step in recorded_steps(1000, after=10))


@pytest.mark.parametrize(
    ("rate", "steps"),
    [(0.0, 10), (-1.0, 10), (math.nan, 10), (0.1, 0), (0.1, math.inf), (0.1, 1e19)],
)
def test_bad_input_is_refused(rate: float, steps: float) -> None:
    with pytest.raises(InputError, match=r"--(learning-rate|steps) is"):
        asymptotic(LOOPED, learning_rate=rate, steps=steps)
