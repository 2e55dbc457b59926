"""Population gradient descent for (a, b): step by step, and to any time by the recursion's own
continuous flow.

    a_{t+1} = a_t - (eta/d) b_t f'(gamma_t),  b_{t+1} = b_t - (eta/d) a_t f'(gamma_t),   gamma = a b

(the 1/d: a block whose gradient is g I has trace d g). With k = -(eta/d) f'(gamma), s = a^2 + b^2
and c = a^2 - b^2,

    gamma' = gamma (1 + k^2) + k s,    c' = c (1 - k^2),    s = (c^2 + 4 gamma^2)^{1/2}.

Source: arXiv 2606.00605, Thms 4.1 to 4.3 and Appendix C.2.2.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from eigenloop.system.errors import InputError
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm, Setting
from eigenloop.theory.slopes import linear_law, slope_function

START = (1.0, 0.0)
"""(a_0, b_0) of the paper's initialisation."""
RECORDED_PER_DECADE = 20
SMOOTH_FROM = 10_000
"""Steps done one by one before the flow takes over: by then a step changes gamma by less than
1e-4 of itself.
"""
ORDER = 4
"""Forward differences in the flow's velocity."""
STEPWISE = 2_000_000
"""The most steps that are done one by one; longer runs follow the recursion's own flow, whose
error is estimated.
"""
MOST_STEPS = 1e18
ROUNDING = 4e-15
"""Times the root of the number of steps: what rounding adds up to, the standstill just before
gamma* included.
"""
SMOOTH = 0.5
"""Without LN the flow takes over where a step shrinks gamma's error by less than this part of
it.
"""
CONVERGED = 40.0
"""Without LN gamma is at its limit where its error is e^-40 = 4e-18 of what it was at the start."""


class Path(NamedTuple):
    """Gradient descent at some steps; arrays of equal length."""

    steps: np.ndarray
    a: np.ndarray
    b: np.ndarray
    error: float
    """Estimated relative error of gamma at the end, apart from that of f'."""

    @property
    def gamma(self) -> np.ndarray:
        """a b; infinite, without a warning, where it diverges."""
        with np.errstate(over="ignore"):
            return self.a * self.b


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
        The path at 0, at log-spaced steps and at the end. A step too large makes it diverge: the
        rest is then infinite.

    Raises:
        InputError: a learning rate or a number of steps without meaning.

    Example:
        >>> path = recursion(
        ...     LayerwiseLinear([2.0, 1.0], target="unnormalized"), learning_rate=0.1, steps=500
        ... )
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
            rows += [
                (later, math.inf, math.inf) for later in (following, *recorded) if later <= steps
            ]
            break
        following_state = a + k * b, b + k * a
        if following_state == (a, b):  # rounding lets it move no more
            rows += [(later, a, b) for later in (following, *recorded) if later <= steps]
            break
        a, b = following_state
    found = np.array(rows, dtype=np.float64).T
    return Path(found[0], found[1], found[2], ROUNDING * math.sqrt(steps))


def long_run(
    setting: Setting, *, learning_rate: float, steps: float, start: tuple[float, float] = START
) -> Path:
    """Gradient descent to very long times, up to 10^12 steps and beyond.

    The recursion M has an exact continuous interpolation, the flow of log M: with forward
    differences along its own iterates, velocity = D x - (1/2) D^2 x + (1/3) D^3 x - ..., whose n-th
    term is of the order of t^-n. The first steps are done one by one; then the flow is solved in
    log t. The error is that of leaving out the last difference, plus the solver's.

    Args:
        setting: as for `recursion`.
        learning_rate: eta > 0.
        steps: how many.
        start: (a_0, b_0).

    Returns:
        The path at log-spaced steps and at the end. Without LN gamma is followed until it is gamma*
        to rounding. Steps so large that it still oscillates about gamma* after `STEPWISE` of them
        have no value at later ones: nan.

    Raises:
        InputError: with LN, gamma not above 0 when the flow takes over.
    """
    first = int(min(steps, SMOOTH_FROM))
    head = recursion(setting, learning_rate=learning_rate, steps=first, start=start)
    if steps <= first:
        return head
    times = np.array(recorded_steps(steps, after=first), dtype=np.float64)
    if not (math.isfinite(head.a[-1]) and math.isfinite(head.b[-1])):
        return _continued(head, times, math.inf, math.inf, head.error)
    if isinstance(setting, LayerwiseLinear):
        return _linear_run(setting, head, times, learning_rate, start)
    if head.gamma[-1] <= 0:
        raise InputError(
            f"gamma is {head.gamma[-1]:g} after {first:,} steps, and the flow is in log gamma; "
            f"give at most {first:,} steps, or use eigenloop.theory.flow, which passes infinity"
        )
    slope, rate = slope_function(setting), learning_rate / setting.dim
    begin = np.array([math.log(head.gamma[-1]), head.a[-1] ** 2 - head.b[-1] ** 2])

    def increments(log_gamma: float, c: float) -> tuple[float, float]:
        gamma = math.exp(log_gamma)
        k = -rate * slope(gamma)
        return math.log1p(k * k + k * math.hypot(c, 2 * gamma) / gamma), -c * k * k

    state, rougher = (_flow(increments, begin, first, times, order) for order in (ORDER, ORDER - 1))
    a, b = _weights(np.exp(state[0]), state[1], head)
    error = abs(float(np.expm1(rougher[0, -1] - state[0, -1]))) + 1e-11
    return _continued(head, times, a, b, error)


def _linear_run(
    setting: LayerwiseLinear,
    head: Path,
    times: np.ndarray,
    learning_rate: float,
    start: tuple[float, float],
) -> Path:
    """Without LN: the flow of (log |e|, c), e = gamma* - gamma, whose differences are in closed
    form.

    With kappa = 2 eta mu2/d: k = kappa e, e' = e (1 - kappa s - kappa^2 gamma e), c' = c (1 - k^2).
    Once e is below rounding, gamma = gamma*. Large steps overshoot, and an e of changing sign has
    no flow: those are done one by one, as far as that goes.
    """
    mu2, best = linear_law(setting)
    kappa, first, gamma = (
        2 * learning_rate * mu2 / setting.dim,
        float(head.steps[-1]),
        float(head.gamma[-1]),
    )
    apart, before = best - gamma, abs(best - start[0] * start[1])
    c = head.a[-1] ** 2 - head.b[-1] ** 2
    if abs(apart) <= before * math.exp(-CONVERGED):
        return _continued(head, times, float(head.a[-1]), float(head.b[-1]), head.error)
    if kappa * (math.hypot(c, 2 * gamma) + abs(kappa * gamma * apart)) > SMOOTH:
        most = int(min(times[-1], STEPWISE))
        found = recursion(setting, learning_rate=learning_rate, steps=most, start=start)
        settled = most == times[-1] or abs(best - found.gamma[-1]) <= 1e-12 * abs(best)
        end = (float(found.a[-1]), float(found.b[-1])) if settled else (math.nan, math.nan)
        a, b = (
            np.interp(times, found.steps, x, right=last)
            for x, last in zip(found[1:3], end, strict=True)
        )
        return _continued(head, times, a, b, found.error if settled else math.inf)

    def increments(log_apart: float, c: float) -> tuple[float, float]:
        e = math.copysign(math.exp(log_apart), apart)
        gamma = best - e
        return (
            math.log1p(-kappa * (math.hypot(c, 2 * gamma) + kappa * gamma * e)),
            -c * (kappa * e) ** 2,
        )

    begin, least = np.array([math.log(abs(apart)), c]), math.log(before) - CONVERGED
    state, rougher = (
        _flow(increments, begin, int(first), times, order, least) for order in (ORDER, ORDER - 1)
    )
    e = np.copysign(np.exp(state[0]), apart)
    a, b = _weights(best - e, state[1], head)
    off = abs(float(np.copysign(np.exp(rougher[0, -1]), apart) - e[-1])) + 1e-11 * abs(float(e[-1]))
    return _continued(head, times, a, b, off / abs(float(best - e[-1])) + head.error)


def _flow(
    increments: Callable[[float, float], tuple[float, float]],
    begin: np.ndarray,
    first: int,
    times: np.ndarray,
    order: int,
    least: float = -math.inf,
) -> np.ndarray:
    """The flow of the map x -> x + increments(x) from step `first`, at `times`; constant once
    x[0] is below `least`.
    """

    def velocity(log_time: float, state: np.ndarray) -> np.ndarray:
        return math.exp(log_time) * _log_of_map(increments, state, order)

    def ended(log_time: float, state: np.ndarray) -> float:
        return float(state[0]) - least

    ended.terminal = True  # type: ignore[attr-defined]  # read by solve_ivp
    logs = np.log(times)
    found = solve_ivp(
        velocity,
        (math.log(first), logs[-1]),
        begin,
        method="DOP853",
        t_eval=logs,
        rtol=1e-12,
        atol=1e-14,
        events=ended if math.isfinite(least) else None,
    )
    # an empty list where it ended before the first of the times
    reached = np.reshape(found.y, (len(begin), -1))
    if reached.shape[1] == len(times):
        return reached
    last = found.y_events[0][0]
    return np.concatenate(
        [reached, np.repeat(last[:, None], len(times) - reached.shape[1], axis=1)], axis=1
    )


def _weights(gamma: np.ndarray, c: np.ndarray, head: Path) -> tuple[np.ndarray, np.ndarray]:
    """(a, b) out of gamma = ab and c = a^2 - b^2; the larger of the two never changes its sign."""
    larger = np.sqrt((np.hypot(c, 2 * gamma) + abs(c)) / 2)
    larger = (
        np.where(c >= 0, math.copysign(1.0, head.a[-1]), math.copysign(1.0, head.b[-1])) * larger
    )
    return np.where(c >= 0, larger, gamma / larger), np.where(c >= 0, gamma / larger, larger)


def _continued(
    head: Path, times: np.ndarray, a: np.ndarray | float, b: np.ndarray | float, error: float
) -> Path:
    """The head, then (a, b) at `times`."""
    tails = (np.broadcast_to(x, times.shape) for x in (a, b))
    a, b = (np.append(x, tail) for x, tail in zip((head.a, head.b), tails, strict=True))
    return Path(np.append(head.steps, times), a, b, error)


def asymptotic(setting: Setting, *, learning_rate: float, steps: float) -> dict[str, float]:
    """The leading order of gamma, a, b and the loss after many steps.

    End to end: gamma ~ 2 (eta Y1 t/d)^{1/2}, a ~ b ~ gamma^{1/2}, f - f_inf ~ Y1/gamma.
    Layerwise with LN: gamma ~ (12 eta Y2 t/d)^{1/3}, a ~ b ~ gamma^{1/2}, f ~ Y2/gamma^2.
    Without LN: gamma*, f*, and a, b from a^2 - b^2 = 1 (kept to first order in eta).

    Source: arXiv 2606.00605, Thms 4.1 to 4.3; the paper states the exponents, the constants are
    derived here.
    """
    check_steps(learning_rate, steps)
    rate = learning_rate * steps / setting.dim
    if isinstance(setting, LayerwiseLinear):
        _, gamma = linear_law(setting)
        s = math.hypot(1.0, 2 * gamma)
        a = math.sqrt((s + 1) / 2)
        return {
            "gamma": gamma,
            "a": a,
            "b": gamma / a,
            "loss": float(np.mean(setting.loss(gamma).value)),
        }
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
    grid = np.unique(
        np.round(10 ** (np.arange(0, int(decades * RECORDED_PER_DECADE) + 1) / RECORDED_PER_DECADE))
    )
    found = [0, *(int(step) for step in grid if step < steps), int(steps)]
    return [step for step in dict.fromkeys(found) if step > after]


def check_steps(learning_rate: float, steps: float) -> None:
    """Refuse a learning rate that is not positive, fewer than one step, and more than `MOST_STEPS`.

    Raises:
        InputError: what is wrong.
    """
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise InputError(f"--learning-rate is {learning_rate:g}; it must be a positive number")
    if not (steps >= 1 and math.isfinite(steps)):
        raise InputError(f"--steps is {steps:g}; it must be at least 1")
    if steps > MOST_STEPS:
        raise InputError(
            f"--steps is {steps:g}; it must be at most {MOST_STEPS:g}, where the limits are long"
            " reached"
        )


def _log_of_map(
    increments: Callable[[float, float], tuple[float, float]], state: np.ndarray, order: int
) -> np.ndarray:
    """The velocity of x in steps: D - D^2/2 + D^3/3 - ... along the recursion's own iterates."""
    x, y = float(state[0]), float(state[1])
    moves = np.empty((order, 2))
    for i in range(order):
        moves[i] = increments(x, y)
        x, y = x + moves[i, 0], y + moves[i, 1]
    velocity, differences = moves[0].copy(), moves
    for n in range(2, order + 1):
        differences = np.diff(differences, axis=0)
        velocity += (-1) ** (n + 1) / n * differences[0]
    return velocity
