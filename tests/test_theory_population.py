"""Population objectives: against 30-digit arithmetic, Monte Carlo, closed forms in two
dimensions, and their limits.
"""

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES as TASK_2
from eigenloop.system.errors import InputError
from eigenloop.theory.integrals import Estimate, log_norm_mean
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm, mean_power_norm

# Computed in 30-digit arithmetic by two routes, d = 16, n = 32, L = 10.
REFERENCE = {
    "mean_power_norm": 2.275444398769546,
    "second_moment": 5.375,
    "gamma_star_normalized": 0.0512454695385202,
    "gamma_star_unnormalized": 0.627906976744186,
    "plateau_normalized": 0.226171883379953,
    "plateau_unnormalized": 0.255813953488372,
    "upsilon2": 0.0475842379002149,
    "limit_loss": 0.0981133129937826,
    "upsilon1": 0.0459631049811908,
    "loss_0": 0.9375,
    "slope_0": -10 / 3,
    "loss_1": 0.144023888073007,
    "slope_1": -0.0455274444015348,
    "loss_10": 0.102713027159870,
    "slope_10": -0.000460255091980011,
}


def of_task_2() -> dict[str, Estimate]:
    looped, linear = (
        EndToEnd(TASK_2, 10),
        {t: LayerwiseLinear(TASK_2, t) for t in ("normalized", "unnormalized")},
    )
    found = {
        "mean_power_norm": mean_power_norm(TASK_2),
        "second_moment": linear["normalized"].second_moment(),
        "upsilon2": LayerwiseNorm(TASK_2).upsilon2(),
        "limit_loss": looped.limit_loss(),
        "upsilon1": looped.upsilon1(),
    }
    for target, setting in linear.items():
        found |= {f"gamma_star_{target}": setting.optimum(), f"plateau_{target}": setting.floor()}
    for gamma in (0, 1, 10):
        found |= {f"loss_{gamma}": looped.loss(gamma), f"slope_{gamma}": looped.slope(gamma)}
    return found


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_values_of_task_2(name: str) -> None:
    found = of_task_2()[name]
    assert float(found.value) == pytest.approx(REFERENCE[name], rel=1e-12)
    assert float(found.error) < 1e-12


def by_trapezoid(integrand: Callable, low: float, high: float, step: str = "0.2") -> Any:
    """int integrand(t) dt over t = e^s in 30 digits: the trapezoidal rule with a step finer than
    any needed.
    """
    with mp.workdps(30):
        count = int((high - low) / float(step))
        points = (mp.mpf(low) + mp.mpf(step) * k for k in range(count + 1))
        return mp.mpf(step) * mp.fsum(mp.e**s * integrand(mp.e**s) for s in points)


def ratio_in_30_digits(
    eigenvalues: np.ndarray, loops: int, gamma: float | None, kind: str
) -> float:
    """f, f', f_inf or Y1 by their definitions, term by term."""
    with mp.workdps(30):
        lam = [mp.mpf(float(value)) for value in eigenvalues]
        top = max(lam)
        m = sum(value == top for value in lam)
        if gamma is None:
            r = [value / top for value in lam]
        else:
            r = [(1 + mp.mpf(gamma) * value) / (1 + mp.mpf(gamma) * top) for value in lam]
        w = [value ** (2 * loops) for value in r]
        if kind == "slope":
            g = mp.mpf(gamma or 0)
            n = [w[i] * (top / (1 + g * top) - lam[i] / (1 + g * lam[i])) for i in range(len(lam))]
        else:
            n = [r[i] ** (2 * loops - 1) * (1 - r[i]) / top for i in range(len(lam))]

        def integrand(t: Any) -> Any:
            u = [1 / (1 + 2 * t * value) for value in w]
            laplace = mp.sqrt(mp.fprod(u))
            rest = range(m, len(lam))
            if kind == "loss":
                return laplace * mp.fsum(w[i] * u[i] for i in rest)
            return 2 * loops * t * laplace * mp.fsum(u[:m]) * mp.fsum(n[i] * u[i] for i in rest)

        high = max(-float(mp.log(value)) for value in w if value > 0) + 110
        value = by_trapezoid(integrand, -75, high)
        return float(-value if kind == "slope" else value)


HARD = [
    # d, condition, loops, gamma, multiplicity, smallest eigenvalue zero
    (2, 1e8, 10, 1e-3, 1, False),
    (5, 1e8, 1, 1e12, 1, False),
    (5, 1e3, 40, 1e6, 2, False),
    (8, 1e6, 10, 3.0, 1, True),
    (5, 1e4, 40, 1e12, 1, True),
    (6, 1.5, 10, 0.2, 1, False),
    (4, 1e8, 60, 1e2, 1, False),
]


@pytest.mark.parametrize(("dim", "condition", "loops", "gamma", "multiplicity", "singular"), HARD)
def test_end_to_end_against_30_digits(
    dim: int, condition: float, loops: int, gamma: float, multiplicity: int, singular: bool
) -> None:
    rng = np.random.default_rng([dim, loops])
    values = np.sort(7 * np.exp(rng.uniform(-np.log(condition), 0, dim)))[::-1]
    values[:multiplicity] = values[0]
    values[-1] = 0 if singular else values[0] / condition
    setting = EndToEnd(values, loops)
    checks = {
        ("loss", gamma): setting.loss(gamma),
        ("slope", gamma): setting.slope(gamma),
        ("loss", None): setting.limit_loss(),
        ("upsilon1", None): setting.upsilon1(),
    }
    for (kind, at), found in checks.items():
        expected = ratio_in_30_digits(values, loops, at, kind)
        if expected == 0:
            assert float(found.value) == 0
            continue
        actual = abs(float(found.value) / expected - 1)
        assert actual < 1e-10
        assert actual <= 3 * float(found.error) + 1e-14


def test_the_logarithm_of_a_loss_that_underflows() -> None:
    setting = EndToEnd([1.0, 1e-3], 1000)
    assert float(setting.limit_loss().value) == 0
    # two dimensions: E[w z2^2/(z1^2 + w z2^2)] = w^{1/2}/(1 + w^{1/2}), w = rho^{2L}
    assert float(setting.log_limit_loss().value) == pytest.approx(1000 * np.log(1e-3), rel=1e-13)


@given(ratio=st.floats(1e-6, 0.999), loops=st.integers(1, 50), gamma=st.floats(0, 1e9))
@settings(max_examples=40)
def test_closed_forms_in_two_dimensions(ratio: float, loops: int, gamma: float) -> None:
    setting = EndToEnd([1.0, ratio], loops)
    r = ((1 + gamma * ratio) / (1 + gamma)) ** loops
    assert float(setting.loss(gamma).value) == pytest.approx(r / (1 + r), rel=1e-10)
    assert float(setting.limit_loss().value) == pytest.approx(
        ratio**loops / (1 + ratio**loops), rel=1e-10
    )
    # the angle between q = (cos, sin) and Sq, averaged: E||Sq|| is an elliptic integral
    from scipy.special import ellipe

    assert float(mean_power_norm([1.0, ratio]).value) == pytest.approx(
        2 / np.pi * ellipe(1 - ratio**2), rel=1e-12
    )


@pytest.mark.parametrize(
    "eigenvalues", [TASK_2, (3.0, 3.0, 1.0, 0.25), (2.0, 1.0), (9.0, 1.0, 1.0, 0.0, 1e-3)]
)
@pytest.mark.parametrize("gamma", [0.0, 0.3, 7.0])
def test_every_objective_against_monte_carlo(eigenvalues: tuple[float, ...], gamma: float) -> None:
    values, loops, size = np.array(eigenvalues), 3, 200_000
    rng = np.random.default_rng(5)
    q = rng.standard_normal((size, values.size))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    image = q * values
    target = image / np.linalg.norm(image, axis=1, keepdims=True)
    y = q * (1 + gamma * values) ** loops
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    one = q * (1 + gamma * values)
    unit = one / np.linalg.norm(one, axis=1, keepdims=True)
    m = int(np.sum(values == values.max()))
    samples = {
        "end to end": (np.sum(y[:, m:] ** 2, 1), EndToEnd(values, loops).loss(gamma)),
        "layerwise": (np.sum((unit - target) ** 2, 1), LayerwiseNorm(values).loss(gamma)),
        "normalized": (np.sum((one - target) ** 2, 1), LayerwiseLinear(values).loss(gamma)),
        "unnormalized": (
            np.sum((one - image) ** 2, 1),
            LayerwiseLinear(values, "unnormalized").loss(gamma),
        ),
    }
    for name, (sample, found) in samples.items():
        standard_error = sample.std() / np.sqrt(size)
        assert abs(sample.mean() - float(found.value)) < 5 * standard_error, name


@pytest.mark.parametrize(
    "setting", [EndToEnd(TASK_2, 10), LayerwiseNorm(TASK_2), LayerwiseNorm((5.0, 2.0, 0.02, 0.0))]
)
@pytest.mark.parametrize("gamma", [0.5, 20.0])
def test_the_slope_is_the_derivative_of_the_loss(
    setting: EndToEnd | LayerwiseNorm, gamma: float
) -> None:
    # Richardson's extrapolation of central differences: error of the order of h^4
    estimates = []
    for h in (0.02 * gamma, 0.01 * gamma):
        estimates.append(
            (float(setting.loss(gamma + h).value) - float(setting.loss(gamma - h).value)) / (2 * h)
        )
    derivative = (4 * estimates[1] - estimates[0]) / 3
    assert float(setting.slope(gamma).value) == pytest.approx(derivative, rel=3e-7)
    assert derivative < 0


def test_limits_at_large_gamma() -> None:
    """gamma^2 f' -> -Y1; gamma^2 f -> Y2 and gamma^3 f' -> -2 Y2: the error is of the order of
    1/gamma.
    """
    looped, single = EndToEnd(TASK_2, 10), LayerwiseNorm(TASK_2)
    y1, y2 = float(looped.upsilon1().value), float(single.upsilon2().value)
    errors = []
    for gamma in (1e3, 1e4, 1e5):
        found = [
            -(gamma**2) * float(looped.slope(gamma).value) / y1,
            gamma * (float(looped.loss(gamma).value) - float(looped.limit_loss().value)) / y1,
            gamma**2 * float(single.loss(gamma).value) / y2,
            -(gamma**3) * float(single.slope(gamma).value) / (2 * y2),
        ]
        errors.append(abs(np.array(found) - 1))
    orders = np.log10(errors[0] / errors[1]), np.log10(errors[1][[0, 2, 3]] / errors[2][[0, 2, 3]])
    for order in np.concatenate(orders):
        assert order == pytest.approx(1, abs=0.02)
    assert float(single.loss(1e12).value) * 1e24 == pytest.approx(y2, rel=1e-10)


def test_layerwise_loss_in_30_digits_for_an_ill_conditioned_spectrum() -> None:
    """Two dimensions: 2 - 2 E[cos] as an average over the circle, in 30 digits."""
    ratio, gamma = 1e-4, 50.0
    with mp.workdps(30):

        def integrand(angle: Any) -> Any:
            c, s = mp.cos(angle), mp.sin(angle)
            v, p = (c, ratio * s), ((1 + gamma) * c, (1 + gamma * mp.mpf(ratio)) * s)
            cross = v[0] * p[1] - v[1] * p[0]
            norms = mp.hypot(*v) * mp.hypot(*p)
            return 2 * cross**2 / (norms * (norms + v[0] * p[0] + v[1] * p[1]))

        pieces = [0, 1, 1.5, 1.55, 1.57, 1.5705, mp.pi / 2]
        expected = float(2 / mp.pi * mp.quad(integrand, pieces))
    assert float(LayerwiseNorm([1.0, ratio]).loss(gamma).value) == pytest.approx(
        expected, rel=1e-10
    )


def test_many_spectra_at_once_are_those_one_by_one() -> None:
    rng = np.random.default_rng(3)
    rows = np.sort(rng.exponential(size=(4, 6)), axis=1)[:, ::-1]
    for setting in (lambda values: EndToEnd(values, 4), LayerwiseNorm, LayerwiseLinear):
        together = setting(rows).loss(0.7).value
        alone = [float(setting(row).loss(0.7).value) for row in rows]
        np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_large_dimensions() -> None:
    """Equal eigenvalues but one: D concentrates and E||Sq|| -> (tr S^2 / d)^{1/2} with a
    relative error near 1/d.
    """
    for dim in (256, 4096):
        values = np.r_[2.0, np.ones(dim - 1)]
        assert float(mean_power_norm(values).value) == pytest.approx(
            np.sqrt(np.mean(values**2)), rel=2 / dim
        )
        assert float(EndToEnd(values, 1).loss(0.0).value) == pytest.approx(1 - 1 / dim, rel=1e-12)
        assert np.exp(log_norm_mean(dim)) == pytest.approx(np.sqrt(dim - 0.5), rel=1 / dim**2)


@pytest.mark.parametrize("gap", [0.5, 1e-2, 1e-4, 1e-6, 1e-8])
def test_nearly_tight_frames_keep_their_digits(gap: float) -> None:
    """gamma* and f* of diag(1, 1 - gap), averages over the circle in 50 digits: differences lost
    up to all digits.
    """
    with mp.workdps(50):
        first, second = mp.mpf(1), mp.mpf(1 - gap)
        count, excess, start = 200, mp.mpf(0), mp.mpf(0)
        for k in range(count):
            angle = mp.pi * (k + mp.mpf(1) / 2) / count
            c, s = mp.cos(angle) ** 2, mp.sin(angle) ** 2
            norm, dot = mp.sqrt(first**2 * c + second**2 * s), first * c + second * s
            excess, start = excess + (norm - dot) / count, start + (2 - 2 * dot / norm) / count
        mu2 = (first**2 + second**2) / 2
        expected = float(excess / mu2), float(start - excess**2 / mu2)
    setting = LayerwiseLinear([1.0, 1 - gap])
    for found, value in zip((setting.optimum(), setting.floor()), expected, strict=True):
        assert float(found.error) < 1e-12
        assert abs(float(found.value) / value - 1) < float(found.error)


def test_the_norm_of_a_gaussian_is_known_to_rounding() -> None:
    for dim in (1, 2, 31, 32, 33, 100, 1024, 4096, 10**6):
        with mp.workdps(30):
            x = mp.mpf(dim) / 2
            expected = float(mp.log(2) / 2 + mp.loggamma(x + mp.mpf(1) / 2) - mp.loggamma(x))
        assert log_norm_mean(dim) == pytest.approx(expected, rel=5e-16, abs=5e-16)


def test_a_large_dimension_costs_no_digits() -> None:
    """One eigenvalue 3 in d = 1024: E||Sq|| and gamma* with D = 9 x + y, x, y chi-squared, by
    their own integral.
    """
    dim = 1024
    with mp.workdps(30):
        # E[D^1/2] = pi^-1/2 int E[D e^-tD] t^-1/2 dt
        def integrand(t: Any) -> Any:
            u, v = 1 / (1 + 18 * t), 1 / (1 + 2 * t)
            return mp.sqrt(u * v ** (dim - 1)) * (9 * u + (dim - 1) * v) / mp.sqrt(t)

        x = mp.mpf(dim) / 2
        norm = (
            by_trapezoid(integrand, -110, 12)
            / mp.sqrt(mp.pi)
            / mp.sqrt(2)
            * mp.gamma(x)
            / mp.gamma(x + 0.5)
        )
        star = float((norm - mp.mpf(dim + 2) / dim) / (mp.mpf(dim + 8) / dim))
    values = np.r_[3.0, np.ones(dim - 1)]
    found, best = mean_power_norm(values), LayerwiseLinear(values).optimum()
    assert abs(float(found.value) / float(norm) - 1) < float(found.error) < 1e-13
    assert abs(float(best.value) / star - 1) < float(best.error) < 1e-12


def test_the_largest_gamma_gives_no_warning() -> None:
    for top in (1.0, 1e60):
        values = top * np.array([1.0, 0.5, 0.25, 0.0])
        looped = EndToEnd(values, 3)
        assert float(looped.loss(1e300).value) == pytest.approx(
            float(looped.limit_loss().value), rel=1e-12
        )
        assert float(looped.slope(1e300).value) == 0
        assert (
            float(LayerwiseNorm(values).loss(1e300).value)
            == float(LayerwiseNorm(values).slope(1e300).value)
            == 0
        )


def test_what_diverges_says_so() -> None:
    with pytest.raises(InputError, match=r"Upsilon_2 diverges: S has rank 2 in dimension 3"):
        LayerwiseNorm([2.0, 1.0, 0.0]).upsilon2()
    with pytest.raises(InputError, match=r"rank 1 in dimension 2"):
        LayerwiseNorm([2.0, 0.0]).upsilon2()
    # rank 2 in the plane is finite: S = diag(1, rho), E = int sin^2 cos^2 (1-rho)^2/(cos^2 + rho^2
    # sin^2)^2
    found = LayerwiseNorm([1.0, 0.5]).upsilon2()
    angle = (np.arange(4096) + 0.5) * np.pi / 4096
    c, s = np.cos(angle) ** 2, np.sin(angle) ** 2
    assert float(found.value) == pytest.approx(np.mean(0.25 * c * s / (c + s / 4) ** 2), rel=1e-12)


def test_rank_one_is_found_in_one_step() -> None:
    setting = EndToEnd([4.0, 0.0, 0.0], 2)
    assert float(setting.limit_loss().value) == 0
    assert float(setting.log_limit_loss().value) == -np.inf
    assert float(setting.upsilon1().value) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: EndToEnd([1.0, 1.0], 3), "tight frame"),
        (lambda: EndToEnd([2.0, 1.0], 0), "--loops is 0"),
        (lambda: EndToEnd([2.0, -1.0], 1), "is negative"),
        (lambda: EndToEnd([2.0, 1.0], 1).loss(-np.inf), "gamma is -inf"),
        (lambda: LayerwiseNorm([2.0, 1.0]).loss(np.nan), "gamma is nan"),
        (lambda: LayerwiseLinear([np.inf, 1.0]), "not a finite number"),
        (lambda: EndToEnd([[2.0, 1.0], [2.0, 2.0]], 1), "tight frame"),
        (lambda: EndToEnd([[3.0, 2.0, 1.0], [2.0, 2.0, 1.0]], 1), "multiplicity"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("gamma", [-0.1, -0.45, -0.7, -3.0])
def test_one_layer_with_norm_at_negative_gamma_by_an_average_over_the_circle(gamma: float) -> None:
    """In the plane the trapezoidal rule over the angle of q is exact; -1/gamma is no eigenvalue."""
    values, angles = np.array([3.0, 1.0]), np.arange(4000) * np.pi / 4000
    q = np.stack([np.cos(angles), np.sin(angles)], 1)

    def loss(at: float) -> float:
        p, v = q + at * values * q, values * q
        cosine = (p * v).sum(1) / np.linalg.norm(p, axis=1) / np.linalg.norm(v, axis=1)
        return float((2 - 2 * cosine).mean())

    setting, step = LayerwiseNorm(values), 1e-6
    assert float(setting.loss(gamma).value) == pytest.approx(loss(gamma), rel=1e-12)
    slope = (loss(gamma + step) - loss(gamma - step)) / (2 * step)
    assert float(setting.slope(gamma).value) == pytest.approx(slope, rel=1e-7)


def test_where_one_coordinate_is_left_the_layerwise_slope_is_infinite() -> None:
    assert float(LayerwiseNorm([4.0, 1.0]).slope(-0.25).value) == -np.inf
    assert np.isfinite(LayerwiseNorm([4.0, 2.0, 1.0]).slope(-0.25).value)


@pytest.mark.parametrize("gamma", [-0.1, -0.25, -0.4, -0.5, -2.0, -1e6])
def test_end_to_end_at_negative_gamma_the_slope_is_the_derivative(gamma: float) -> None:
    """On the plateau, at -1/lambda_1 and -1/lambda_3, and far out; each spectrum by itself."""
    setting, step = EndToEnd([[4.0, 3.0, 2.0, 0.5], [4.4, 2.2, 1.0, 1.0]], 4), 1e-6 * abs(gamma)
    rise = setting.loss(gamma + step).value - setting.loss(gamma - step).value
    slope = setting.slope(gamma).value
    np.testing.assert_allclose(slope * 2 * step, rise, rtol=1e-5, atol=1e-14)
    known = slope != 0
    logs = setting.log_slope(gamma).value
    np.testing.assert_allclose(np.exp(logs[known]), abs(slope[known]), rtol=1e-12)


def test_at_minus_one_over_the_largest_the_loss_is_one_and_the_slope_zero() -> None:
    setting = EndToEnd([4.0, 3.0, 1.0], 5)
    assert float(setting.loss(-0.25).value) == 1
    assert float(setting.slope(-0.25).value) == 0
    assert float(setting.log_slope(-0.25).value) == -np.inf
