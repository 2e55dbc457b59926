"""Population gradient descent for (a, b): step by step, and to any time by the recursion's own continuous flow.

    a_{t+1} = a_t - (eta/d) b_t f'(gamma_t),    b_{t+1} = b_t - (eta/d) a_t f'(gamma_t),    gamma = a b

(the 1/d: a block whose gradient is g I has trace d g). With k = -(eta/d) f'(gamma), s = a^2 + b^2 and c = a^2 - b^2,

    gamma' = gamma (1 + k^2) + k s,    c' = c (1 - k^2),    s = (c^2 + 4 gamma^2)^{1/2}.

Source: arXiv 2606.00605, Thms 4.1 to 4.3 and Appendix C.2.2.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from scipy.integrate import solve_ivp

from eigenloop.errors import InputError
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm, Setting

START = (1.0, 0.0)
"""(a_0, b_0) of the paper's initialisation."""
RECORDED_PER_DECADE = 20
DEGREE = 14
NEGLIGIBLE = 1e-13
WIDEST, NARROWEST = 0.5, 1e-4
SMOOTH_FROM = 10_000
"""Steps done one by one before the flow takes over: by then a step changes gamma by less than 1e-4 of itself."""
ORDER = 4
"""Forward differences in the flow's velocity."""


class Path(NamedTuple):
    """Gradient descent at some steps; arrays of equal length."""

    steps: np.ndarray
    a: np.ndarray
    b: np.ndarray
    error: float
    """Estimated relative error of gamma at the end, apart from that of f'."""

    @property
    def gamma(self) -> np.ndarray:
        """a b."""
        return self.a * self.b


class SlopeTable:
    """f'(gamma) by piecewise Chebyshev interpolation of log(-f') in log(1 + gamma lambda_1), built where it is needed.

    Each piece is halved until its last coefficients fall below 1e-13, so the table is as exact as f' itself. For many
    spectra it holds the mean of their slopes.
    """

    def __init__(self, setting: EndToEnd | LayerwiseNorm) -> None:
        """Start empty."""
        self._setting, self._scale = setting, float(setting.rows[:, 0].mean())
        self._low, self._high, self._half, self._coefficients = 1.0, 0.0, 1.0, (0.0,)
        self._known: dict[float, tuple[float, tuple[float, ...]]] = {}

    def __call__(self, gamma: float) -> float:
        """f'(gamma), gamma >= 0."""
        y = math.log1p(gamma * self._scale)
        if not self._low <= y < self._high:
            self._enter(y)
        x = (y - self._low) / self._half - 1.0
        value = 0.0
        for coefficient in self._coefficients:
            value = value * x + coefficient
        return -math.exp(value)

    def _enter(self, y: float) -> None:
        """Make the piece that holds y the current one."""
        low, width = math.floor(y / WIDEST) * WIDEST, WIDEST
        while True:
            if low not in self._known or self._known[low][0] > width:
                coefficients = self._fit(low, width)
                small = np.abs(coefficients[-3:]).max() < NEGLIGIBLE * max(1.0, float(np.abs(coefficients).max()))
                if small or width < NARROWEST:
                    self._known[low] = width, tuple(map(float, chebyshev.cheb2poly(coefficients)[::-1]))
            known = self._known.get(low)
            if known is not None and known[0] <= width and y < low + known[0]:
                self._low, self._high, self._half = low, low + known[0], known[0] / 2
                self._coefficients = known[1]
                return
            width /= 2
            low = low + width if y >= low + width else low

    def _fit(self, low: float, width: float) -> np.ndarray:
        x = chebyshev.chebpts1(DEGREE + 1)
        gammas = np.maximum(np.expm1(low + (x + 1) * width / 2) / self._scale, 0.0)
        slopes = [-np.mean(self._setting.slope(float(gamma)).value) for gamma in gammas]
        return chebyshev.chebfit(x, np.log(slopes), DEGREE)


def slope_function(setting: Setting) -> Callable[[float], float]:
    """gamma -> f'(gamma) as a quick function of floats."""
    if isinstance(setting, LayerwiseLinear):
        curvature, mean_optimum = _linear(setting)
        return lambda gamma: 2 * curvature * (gamma - mean_optimum)
    assert isinstance(setting, EndToEnd | LayerwiseNorm)
    return SlopeTable(setting)


def recursion(
    setting: Setting,
    *,
    learning_rate: float,
    steps: int,
    start: tuple[float, float] = START,
    slope: Callable[[float], float] | None = None,
) -> Path:
    """Gradient descent on the population objective, every step.

    Args:
        setting: `EndToEnd`, `LayerwiseNorm` or `LayerwiseLinear`.
        learning_rate: eta > 0.
        steps: how many.
        start: (a_0, b_0).
        slope: the setting's `slope_function`, to be shared between several paths.

    Returns:
        The path at 0, at log-spaced steps and at the end. A step too large makes it diverge: the rest is then infinite.

    Raises:
        InputError: a learning rate or a number of steps without meaning.

    Example:
        >>> path = recursion(LayerwiseLinear([2.0, 1.0], target="unnormalized"), learning_rate=0.1, steps=500)
        >>> round(float(path.gamma[-1]), 9)
        0.4
    """
    check_steps(learning_rate, steps)
    slope, rate = slope or slope_function(setting), learning_rate / setting.dim
    (a, b), recorded, rows = start, iter(recorded_steps(steps)), []
    following = next(recorded)
    for step in range(steps + 1):
        if step == following:
            rows.append((step, a, b))
            following = next(recorded, steps + 1)
        k = -rate * slope(a * b) if abs(a * b) < 1e150 else math.inf
        if not math.isfinite(k):
            rows += [(later, math.inf, math.inf) for later in (following, *recorded) if later <= steps]
            break
        a, b = a + k * b, b + k * a
    found = np.array(rows, dtype=np.float64).T
    return Path(found[0], found[1], found[2], 1e-15 * math.sqrt(steps))


def long_run(setting: Setting, *, learning_rate: float, steps: float, start: tuple[float, float] = START) -> Path:
    """Gradient descent to very long times, up to 10^12 steps and beyond.

    The recursion M has an exact continuous interpolation, the flow of log M: with forward differences along its own
    iterates, velocity = D x - (1/2) D^2 x + (1/3) D^3 x - ..., whose n-th term is of the order of t^-n. The first steps
    are done one by one; then the flow is solved in log t. The error is that of leaving out the last difference, plus
    the solver's.

    Args:
        setting: as for `recursion`.
        learning_rate: eta > 0.
        steps: how many; any float.
        start: (a_0, b_0).

    Returns:
        The path at log-spaced steps and at the end.
    """
    first = int(min(steps, SMOOTH_FROM))
    head = recursion(setting, learning_rate=learning_rate, steps=first, start=start)
    if steps <= first or isinstance(setting, LayerwiseLinear):
        tail = recorded_steps(steps, after=first) if steps > first else []
        a, b = (np.append(x, np.full(len(tail), x[-1])) for x in (head.a, head.b))
        return Path(np.append(head.steps, tail), a, b, head.error)
    slope, rate = slope_function(setting), learning_rate / setting.dim
    times = np.array(recorded_steps(steps, after=first), dtype=np.float64)
    begin = np.array([math.log(head.gamma[-1]), head.a[-1] ** 2 - head.b[-1] ** 2])

    def solved(order: int) -> np.ndarray:
        def velocity(log_time: float, state: np.ndarray) -> np.ndarray:
            return math.exp(log_time) * _log_of_map(slope, rate, state, order)

        found = solve_ivp(
            velocity, (math.log(first), math.log(times[-1])), begin, method="DOP853", t_eval=np.log(times),
            rtol=1e-12, atol=1e-14,
        )  # fmt: skip
        return found.y

    state, rougher = solved(ORDER), solved(ORDER - 1)
    gamma, c = np.exp(state[0]), state[1]
    s = np.hypot(c, 2 * gamma)
    a = np.sqrt((s + abs(c)) / 2)
    a, b = np.where(c >= 0, a, gamma / a), np.where(c >= 0, gamma / a, a)
    error = abs(float(np.expm1(rougher[0, -1] - state[0, -1]))) + 1e-11
    return Path(np.append(head.steps, times), np.append(head.a, a), np.append(head.b, b), error)


def asymptotic(setting: Setting, *, learning_rate: float, steps: float) -> dict[str, float]:
    """The leading order of gamma, a, b and the loss after many steps.

    End to end: gamma ~ 2 (eta Y1 t/d)^{1/2}, a ~ b ~ gamma^{1/2}, f - f_inf ~ Y1/gamma.
    Layerwise with LN: gamma ~ (12 eta Y2 t/d)^{1/3}, a ~ b ~ gamma^{1/2}, f ~ Y2/gamma^2.
    Without LN: gamma*, f*, and a, b from a^2 - b^2 = 1 (kept to first order in eta).

    Source: arXiv 2606.00605, Thms 4.1 to 4.3; the paper states the exponents, the constants are derived here.
    """
    check_steps(learning_rate, steps)
    rate = learning_rate * steps / setting.dim
    if isinstance(setting, LayerwiseLinear):
        _, gamma = _linear(setting)
        s = math.hypot(1.0, 2 * gamma)
        a = math.sqrt((s + 1) / 2)
        return {"gamma": gamma, "a": a, "b": gamma / a, "loss": float(np.mean(setting.loss(gamma).value))}
    if isinstance(setting, EndToEnd):
        constant = float(np.mean(setting.upsilon1().value))
        gamma = 2 * math.sqrt(rate * constant)
        loss = float(np.mean(setting.limit_loss().value)) + constant / gamma
    else:
        assert isinstance(setting, LayerwiseNorm)
        constant = float(np.mean(setting.upsilon2().value))
        gamma = (12 * rate * constant) ** (1 / 3)
        loss = constant / gamma**2
    return {"gamma": gamma, "a": math.sqrt(gamma), "b": math.sqrt(gamma), "loss": loss}


def recorded_steps(steps: float, *, after: int = -1) -> list[int]:
    """0, log-spaced whole numbers, and the last step; those beyond `after` only."""
    decades = math.log10(max(steps, 1))
    grid = np.unique(np.round(10 ** (np.arange(0, int(decades * RECORDED_PER_DECADE) + 1) / RECORDED_PER_DECADE)))
    found = [0, *(int(step) for step in grid if step < steps), int(steps)]
    return [step for step in dict.fromkeys(found) if step > after]


def check_steps(learning_rate: float, steps: float) -> None:
    """Refuse a learning rate that is not positive, and fewer than one step.

    Raises:
        InputError: what is wrong.
    """
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise InputError(f"--learning-rate is {learning_rate:g}; it must be a positive number")
    if not (steps >= 1 and math.isfinite(steps)):
        raise InputError(f"--steps is {steps:g}; it must be at least 1")


def _log_of_map(slope: Callable[[float], float], rate: float, state: np.ndarray, order: int) -> np.ndarray:
    """The velocity of (log gamma, c) in steps: D - D^2/2 + D^3/3 - ... along the recursion's own iterates."""
    log_gamma, c = float(state[0]), float(state[1])
    increments = np.empty((order, 2))
    for i in range(order):
        gamma = math.exp(log_gamma)
        k = -rate * slope(gamma)
        increments[i] = math.log1p(k * k + k * math.hypot(c, 2 * gamma) / gamma), -c * k * k
        log_gamma, c = log_gamma + increments[i, 0], c + increments[i, 1]
    velocity, differences = increments[0].copy(), increments
    for n in range(2, order + 1):
        differences = np.diff(differences, axis=0)
        velocity += (-1) ** (n + 1) / n * differences[0]
    return velocity


def _linear(setting: LayerwiseLinear) -> tuple[float, float]:
    """(mu2, gamma*) of the population, means over spectra taken before the quotient."""
    mu2 = np.atleast_1d(setting.second_moment().value)
    optimum = np.atleast_1d(setting.optimum().value)
    return float(mu2.mean()), float((mu2 * optimum).mean() / mu2.mean())
