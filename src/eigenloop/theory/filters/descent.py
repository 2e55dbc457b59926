"""Population descent of (a, b), or of (a, b, c) with a learned residual weight, from any start.

One loop is q <- N(c q + a b S q). With gamma = ab and T of `theory.integrals`, df/dgamma = -c T and
df/dc = gamma T, so

    a' = a + (eta/d) b c T,    b' = b + (eta/d) a c T,    c' = c - kappa (eta/d) gamma T

(the 1/d: a block whose gradient is g I has trace d g; kappa = 1 is the rate of a matrix C = cI,
kappa = d that of a bare number c, and kappa = 0 holds c fixed). The flow keeps a^2 - b^2 and c^2 +
kappa b^2, so from (1, 0, 1) it stays on an ellipse, on which c : gamma turns one way, through gamma
= infinity, until T changes its sign at a minimum.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from eigenloop.system.errors import InputError
from eigenloop.theory.dynamics import check_steps, recorded_steps
from eigenloop.theory.filters.circle import CircleTable, turn_at
from eigenloop.theory.filters.over_root import log_loss_over_root
from eigenloop.theory.population import EPSILON, EndToEnd

End = Literal["minimum", "power method", "no gradient", "moving", "plateau"]
"""Where a path stands: at a local minimum of f; at gamma > 0 with c fixed, which from there only
rises; where |T| is too small for f to show; none of these. A phase diagram splits "moving" and says
"plateau" where the loss is still above 1 - m/d, that of no loop at all."""

Start = tuple[float, float] | tuple[float, float, float]
Turning = Callable[[float, float], float]
"""(c, gamma) -> T."""

NEAR = 1e-6
"""In the angle of c : gamma lambda_1: how near a minimum must be."""
LOOK_EVERY = 50
"""Steps between two looks at whether a run of the phase diagram has ended."""


class Track(NamedTuple):
    """A path at some times (steps, or eta times the flow's); float64 arrays of equal length."""

    times: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    end: End

    @property
    def gamma(self) -> np.ndarray:
        """a b."""
        return self.a * self.b

    @property
    def rho(self) -> np.ndarray:
        """The root -c/gamma; infinite where gamma = 0."""
        with np.errstate(divide="ignore"):
            return -self.c / self.gamma


class Phases(NamedTuple):
    """Ends of descents from (1, b_0): the phase diagram."""

    starts: np.ndarray
    """b_0, (S,)."""
    rates: np.ndarray
    """eta, (R,)."""
    ends: np.ndarray
    """`End` of each, (S, R) of str."""
    gammas: np.ndarray
    """gamma at the end; infinite for "power method"; (S, R)."""
    steps: np.ndarray
    """Steps until the end was known, (S, R)."""


def state_of(setting: EndToEnd, *, residual: float, gamma: float, learned: bool = False) -> End:
    """What descent would do at c : gamma.

    "minimum" where f falls towards a point at most `NEAR` away from either side: a question of
    signs, which no underflow touches. "no gradient" where turning c : gamma by a whole radian at
    this slope would change f by less than its rounding: on the plateau about rho = lambda_1, where
    f = 1, and never called converged.

    Args:
        setting: the end-to-end model.
        residual: c.
        gamma: ab.
        learned: whether c is.

    Example:
        >>> setting = EndToEnd([3.0, 2.0, 1.0], loops=100)
        >>> [state_of(setting, residual=1.0, gamma=gamma) for gamma in (1.0, -0.35, -1 / 3)]
        ['power method', 'no gradient', 'no gradient']
    """
    scale = float(setting.rows[:, 0].mean())
    phi, radius = math.atan2(gamma * scale, residual), math.hypot(gamma * scale, residual)
    # with the angle f changes by -T lambda_1 (c^2 + gamma^2 lambda_1^2) / lambda_1^2 = -T r^2 /
    # lambda_1
    before, after = (
        turn_at(setting, math.cos(phi + turned), math.sin(phi + turned) / scale)[1]
        for turned in (-NEAR, NEAR)
    )
    if before > 0 > after:
        return "minimum"
    slope = abs(turn_at(setting, residual, gamma)[0]) * radius**2 / scale
    log_loss = (
        float(log_loss_over_root(setting, np.array([-residual / gamma])).value[0]) if gamma else 0.0
    )
    if slope <= EPSILON * math.exp(log_loss):
        return "no gradient"
    return "power method" if not learned and residual * gamma > 0 else "moving"


def descend(
    setting: EndToEnd,
    *,
    learning_rate: float,
    steps: int,
    start: Start = (1.0, 0.0),
    residual_rate: float = 0.0,
    turning: Turning | None = None,
) -> Track:
    """Gradient descent on the population loss, every step, from any start and past gamma =
    infinity.

    Args:
        setting: the end-to-end model; with many spectra their mean loss is descended.
        learning_rate: eta > 0.
        steps: how many.
        start: (a_0, b_0) or (a_0, b_0, c_0); c_0 = 1 by default.
        residual_rate: kappa; 0 holds c fixed, 1 is a matrix C = cI, d a number.
        turning: the setting's `CircleTable`, to be shared between several paths.

    Returns:
        The path at 0, at log-spaced steps and at the end.

    Raises:
        InputError: a learning rate, number of steps or start without meaning.

    Example:
        >>> track = descend(
        ...     EndToEnd([3.0, 2.0, 1.0], loops=2), learning_rate=0.1, steps=500, start=(1.0, -1.0)
        ... )
        >>> track.end, bool(1 < track.rho[-1] < 2)
        ('minimum', True)
    """
    check_steps(learning_rate, steps)
    a, b, c = _checked(start, residual_rate)
    turning, rate = turning or CircleTable(setting), learning_rate / setting.dim
    recorded, rows = iter(recorded_steps(steps)), []
    following = next(recorded)
    for step in range(steps + 1):
        if step == following:
            rows.append((step, a, b, c))
            following = next(recorded, steps + 1)
        gamma = a * b
        k = rate * turning(c, gamma)
        a, b, c = a + k * b * c, b + k * a * c, c - residual_rate * k * gamma
    times, *weights = np.array(rows, dtype=np.float64).T
    return _track(setting, times, weights, learned=residual_rate > 0)


def flow(
    setting: EndToEnd,
    *,
    time: float,
    start: Start = (1.0, 0.0),
    residual_rate: float = 0.0,
    turning: Turning | None = None,
) -> Track:
    """The gradient flow, the limit of small learning rates: time is eta times the number of steps.

    Args:
        setting: as for `descend`.
        time: how long, > 0.
        start: as for `descend`.
        residual_rate: kappa.
        turning: as for `descend`.

    Returns:
        The path at 0, at log-spaced times, 20 a decade from 10^-3, and at the end.

    Raises:
        InputError: a time or start without meaning.

    Example:
        >>> track = flow(
        ...     EndToEnd([3.0, 2.0, 1.0], loops=2),
        ...     time=100,
        ...     start=(1.0, 0.0, 1.0),
        ...     residual_rate=1.0,
        ... )
        >>> track.end, bool(abs(track.c[-1] ** 2 + track.b[-1] ** 2 - 1) < 1e-7)
        ('minimum', True)
    """
    if not (time > 0 and math.isfinite(time)):
        raise InputError(f"the time of a flow is {time:g}; it must be a positive number")
    begin = _checked(start, residual_rate)
    turning = turning or CircleTable(setting)

    def velocity(t: float, state: np.ndarray) -> tuple[float, float, float]:
        a, b, c = map(float, state)
        k = turning(c, a * b) / setting.dim
        return k * b * c, k * a * c, -residual_rate * k * a * b

    early = min(1e-3, time / 10)
    times = np.concatenate(
        [[0.0], np.geomspace(early, time, 1 + int(20 * math.log10(time / early)))]
    )
    found = solve_ivp(
        velocity, (0.0, time), begin, method="LSODA", t_eval=times, rtol=1e-10, atol=1e-13
    )
    return _track(setting, found.t, list(found.y), learned=residual_rate > 0)


def residual_end(rho: float, *, rate: float) -> tuple[float, float, float]:
    """(a, b, c) where the flow from (1, 0, 1) ends if its root ends at rho: in closed form.

    a^2 = 1 + b^2, c^2 = 1 - kappa b^2 and c = -rho a b leave rho^2 u^2 + (rho^2 + kappa) u - 1 = 0
    for u = b^2.

    Args:
        rho: where T changes its sign first, > 0: past gamma = infinity, where c = 0.
        rate: kappa > 0.

    Example:
        >>> a, b, c = residual_end(2.0, rate=1.0)
        >>> round(c / (a * b), 12), round(a**2 - b**2, 12), round(c**2 + b**2, 12)
        (-2.0, 1.0, 1.0)
    """
    half = rho**2 + rate
    u = 2 / (half + math.sqrt(half**2 + 4 * rho**2))
    return math.sqrt(1 + u), math.sqrt(u), -math.sqrt(1 - rate * u)


def phases(setting: EndToEnd, *, starts: np.ndarray, rates: np.ndarray, steps: int) -> Phases:
    """Where gradient descent from (1, b_0) ends, for each start and learning rate.

    gamma > 0 at any step decides it: there f' < 0, gamma only grows, and the end is the power
    method (arXiv 2606.00605, Lemma A.5). So a step so large that it jumps over the wall rho =
    lambda_1 and gamma = 0 ends there too.

    Args:
        setting: the end-to-end model.
        starts: b_0, (S,).
        rates: eta, (R,).
        steps: the most steps of one descent.

    Example:
        >>> found = phases(
        ...     EndToEnd([3.0, 2.0, 1.0], 2),
        ...     starts=np.array([0.0, -1.0]),
        ...     rates=np.array([0.1]),
        ...     steps=500,
        ... )
        >>> found.ends[:, 0].tolist()
        ['power method', 'minimum']
    """
    table, shape = CircleTable(setting), (len(starts), len(rates))
    ends, gammas, taken = np.full(shape, "moving", dtype=object), np.zeros(shape), np.zeros(shape)
    for i, b_0 in enumerate(starts):
        for j, rate in enumerate(rates):
            ends[i, j], gammas[i, j], taken[i, j] = _end_from(
                setting, float(b_0), float(rate), steps, table
            )
    return Phases(np.asarray(starts), np.asarray(rates), ends, gammas, taken)


def _end_from(
    setting: EndToEnd, b: float, learning_rate: float, steps: int, table: CircleTable
) -> tuple[End, float, int]:
    a, rate, last = 1.0, learning_rate / setting.dim, math.inf
    for step in range(steps + 1):
        gamma = a * b
        if gamma > 0:
            return "power method", math.inf, step
        if step % LOOK_EVERY == 0:
            if abs(gamma - last) <= NEAR * abs(gamma):
                state = state_of(setting, residual=1.0, gamma=gamma)
                if state in ("minimum", "no gradient"):
                    return state, gamma, step
            last = gamma
        k = rate * table(1.0, gamma)
        a, b = a + k * b, b + k * a
    log_loss = float(log_loss_over_root(setting, np.array([-1 / (a * b)])).value[0])
    lost = log_loss > math.log1p(-setting.multiplicity / setting.dim)
    return "plateau" if lost else "moving", a * b, steps


def _checked(start: Start, residual_rate: float) -> tuple[float, float, float]:
    a, b, c = (*start, 1.0)[:3]
    if not all(map(math.isfinite, (a, b, c))):
        raise InputError(
            f"the start {start} has a number that is not finite; give finite a_0, b_0 and c_0"
        )
    if not (residual_rate >= 0 and math.isfinite(residual_rate)):
        raise InputError(f"the rate of c is {residual_rate:g}; it must be 0 or a positive number")
    if a * b == 0 and c == 0:
        raise InputError(
            "gamma = ab and c are both 0, so that a loop maps every query to 0; change the start"
        )
    return a, b, c


def _track(
    setting: EndToEnd, times: np.ndarray, weights: list[np.ndarray], *, learned: bool
) -> Track:
    a, b, c = weights
    end = state_of(setting, residual=float(c[-1]), gamma=float(a[-1] * b[-1]), learned=learned)
    return Track(times, a, b, c, end)
