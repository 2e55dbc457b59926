"""Population descent of (a, b) by heavy-ball momentum and by Adam: step by step, then along their
slow flow.

With g_a = b f'(gamma)/d and g_b = a f'(gamma)/d, gamma = ab, and for each of a, b

    heavy ball:  v <- beta v - eta g,                                                    a <- a + v,
    Adam:        m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2,
                 a <- a - eta (m / (1 - beta1^t)) / ((v / (1 - beta2^t))^{1/2} + eps).

Both remember gradients for a fixed number of steps, while late gradients change over times of the
order of t. So after many steps the state is a function of (a, b) alone, and these follow a
differential equation, whose first term takes the gradient as constant over that memory and whose
second takes it as linear in time. Two terms are kept.

Source: the gradients are those of arXiv 2606.00605, Lemma A.3; heavy ball: Polyak (1964); Adam:
arXiv 1412.6980.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from eigenloop.system.errors import InputError
from eigenloop.theory.dynamics import START, Path, check_steps, recorded_steps
from eigenloop.theory.population import EndToEnd, LayerwiseNorm
from eigenloop.theory.slopes import slope_function

Rule = Callable[[float, float], tuple[float, float]]
"""(g_a, g_b) -> what a and b move by; called once a step, and may remember."""
Velocity = Callable[[float, float], tuple[float, float]]
"""(a, b) -> (da/dt, db/dt) with t in steps."""

HEAVY_BALL_FROM = 10_000
ADAM_FROM = 50_000
"""Steps that are done one by one: a thousand, and fifty, times as many as are remembered."""
APART = 1e-3
"""Relative difference of gamma over which the elasticity of f' is taken: its error is of second
order in it.
"""


def heavy_ball(*, learning_rate: float, momentum: float) -> Rule:
    """Polyak's rule for a and b; momentum 0 is plain gradient descent.

    Raises:
        InputError: a momentum outside [0, 1).

    Example:
        >>> rule = heavy_ball(learning_rate=1.0, momentum=0.5)
        >>> rule(0.0, -1.0), rule(0.0, 0.0)
        ((0.0, 1.0), (0.0, 0.5))
    """
    check_memory("momentum", momentum)
    of_a = of_b = 0.0

    def rule(g_a: float, g_b: float) -> tuple[float, float]:
        nonlocal of_a, of_b
        of_a, of_b = momentum * of_a - learning_rate * g_a, momentum * of_b - learning_rate * g_b
        return of_a, of_b

    return rule


def adam(
    *, learning_rate: float, epsilon: float = 1e-8, first: float = 0.9, second: float = 0.999
) -> Rule:
    """Kingma and Ba's rule (their Algorithm 1) for a and b, which every diagonal entry of A and B
    follows alike.

    Raises:
        InputError: epsilon not positive (at b_0 = 0 the first gradient of a is 0, and its step
            would be 0/0); beta1 or beta2 outside [0, 1).

    Example:
        >>> a, b = adam(learning_rate=0.001)(0.0, -5.0)
        >>> a, round(b, 9)
        (0.0, 0.001)
    """
    check_epsilon(epsilon)
    check_memory("beta1", first)
    check_memory("beta2", second)
    means, squares, kept_first, kept_second = [0.0, 0.0], [0.0, 0.0], 1.0, 1.0

    def rule(g_a: float, g_b: float) -> tuple[float, float]:
        nonlocal kept_first, kept_second
        kept_first, kept_second = kept_first * first, kept_second * second
        moves = []
        for i, g in enumerate((g_a, g_b)):
            means[i] = first * means[i] + (1 - first) * g
            squares[i] = second * squares[i] + (1 - second) * g * g
            scale = math.sqrt(squares[i] / (1 - kept_second)) + epsilon
            moves.append(-learning_rate * means[i] / (1 - kept_first) / scale)
        return moves[0], moves[1]

    return rule


def descent(
    setting: EndToEnd | LayerwiseNorm,
    rule: Rule,
    *,
    steps: int,
    slope: Callable[[float], float] | None = None,
) -> Path:
    """Every step of a rule from (1, 0), as `dynamics.recursion` does for plain gradient descent.

    Args:
        setting: with LN, where f' < 0 at every gamma.
        rule: `heavy_ball` or `adam`, unused so far: it keeps its memory.
        steps: how many.
        slope: the setting's `slope_function`, to be shared between several paths.

    Returns:
        (a, b) at 0, at log-spaced steps and at the end, float64.

    Example:
        >>> path = descent(
        ...     EndToEnd([2.0, 1.0], 1), heavy_ball(learning_rate=0.1, momentum=0.9), steps=100
        ... )
        >>> bool(1 < path.a[-1] < 2)
        True
    """
    check_steps(1.0, steps)
    slope, (a, b), rows = slope or slope_function(setting), START, []
    recorded = iter(recorded_steps(steps))
    following = next(recorded)
    for step in range(steps + 1):
        if step == following:
            rows.append((step, a, b))
            following = next(recorded, steps + 1)
        g = slope(a * b) / setting.dim
        of_a, of_b = rule(b * g, a * g)
        a, b = a + of_a, b + of_b
    found = np.array(rows, dtype=np.float64).T
    return Path(found[0], found[1], found[2], 4e-15 * math.sqrt(steps))


def heavy_ball_run(
    setting: EndToEnd | LayerwiseNorm, *, learning_rate: float, momentum: float, steps: float
) -> Path:
    """Heavy-ball momentum to very long times: `HEAVY_BALL_FROM` steps one by one, then the slow
    flow.

    With G = -(eta/(1 - beta)) (g_a, g_b), expanding a_{t+1} - a_t - beta (a_t - a_{t-1}) = -eta g_a
    in the time derivatives of a gives

        a' = G - kappa a'',   kappa = (1 + beta) / (2 (1 - beta)),
            a'' = d/dt G = (dG/da) a' + (dG/db) b' + ...

    Args:
        setting: with LN.
        learning_rate: eta > 0.
        momentum: beta in [0, 1).
        steps: how many.

    Returns:
        (a, b) at log-spaced steps and at the end. `error`, of gamma there, is the difference from a
        flow begun at half as many steps.

    Raises:
        InputError: settings without meaning.

    Example:
        >>> path = heavy_ball_run(
        ...     EndToEnd([2.0, 1.0], 1), learning_rate=0.1, momentum=0.9, steps=1e6
        ... )
        >>> bool(path.error < 1e-6)
        True
    """
    check_steps(learning_rate, steps)
    check_memory("momentum", momentum)
    slope, rate = slope_function(setting), learning_rate / (1 - momentum) / setting.dim
    kappa = (1 + momentum) / (2 * (1 - momentum))

    def velocity(a: float, b: float) -> tuple[float, float]:
        gamma, s = a * b, a * a + b * b
        k = -rate * slope(gamma)
        # dk/dt, since gamma' = k s to leading order
        of_k = k * elasticity(slope, gamma) * k * s / gamma
        return k * b - kappa * (of_k * b + k * k * a), k * a - kappa * (of_k * a + k * k * b)

    rule = heavy_ball(learning_rate=learning_rate, momentum=momentum)
    return _run(setting, rule, velocity, steps=steps, first=HEAVY_BALL_FROM, slope=slope)


def adam_run(
    setting: EndToEnd | LayerwiseNorm,
    *,
    learning_rate: float,
    steps: float,
    epsilon: float = 1e-8,
    first: float = 0.9,
    second: float = 0.999,
) -> Path:
    """Adam to very long times: `ADAM_FROM` steps one by one, then the slow flow.

    A mean that forgets with beta lags by beta/(1 - beta) steps, so with l = d log|g| / dt of either
    gradient

        a' = -eta g (1 - l beta1/(1 - beta1)) / (|g| (1 - l beta2/(1 - beta2)) + eps).

    Args:
        setting: with LN.
        learning_rate: eta > 0.
        steps: how many.
        epsilon: eps > 0.
        first: beta1.
        second: beta2.

    Returns:
        As `heavy_ball_run`.

    Raises:
        InputError: settings without meaning.

    Example:
        >>> path = adam_run(EndToEnd([2.0, 1.0], 1), learning_rate=0.001, steps=1e6)
        >>> bool(path.error < 1e-2)
        True
    """
    check_steps(learning_rate, steps)
    rule = adam(learning_rate=learning_rate, epsilon=epsilon, first=first, second=second)
    slope, lags = slope_function(setting), (first / (1 - first), second / (1 - second))

    def velocity(a: float, b: float) -> tuple[float, float]:
        gamma = a * b
        fall = -slope(gamma) / setting.dim
        sizes = fall * b, fall * a
        at_once = [learning_rate * size / (size + epsilon) for size in sizes]
        of_fall = elasticity(slope, gamma) * (at_once[0] / a + at_once[1] / b)  # d log|f'| / dt
        changes = of_fall + at_once[1] / b, of_fall + at_once[0] / a
        moves = [
            learning_rate
            * size
            * (1 - lags[0] * change)
            / (size * (1 - lags[1] * change) + epsilon)
            for size, change in zip(sizes, changes, strict=True)
        ]
        return moves[0], moves[1]

    return _run(setting, rule, velocity, steps=steps, first=ADAM_FROM, slope=slope)


def clock_shift(path: Path, plain: Path) -> np.ndarray:
    """Steps by which `path` is ahead of `plain` (negative: behind), at every step that both record.

    The difference of log gamma over what plain gradient descent adds to it in one step there; of
    first order in the shift over t.

    Args:
        path: of any optimiser.
        plain: gradient descent recorded at the same steps.

    Returns:
        (K,) float64 for the K steps; nan at 0, where gamma is 0.

    Raises:
        InputError: the two record different steps.

    Example:
        >>> path = descent(
        ...     EndToEnd([2.0, 1.0], 1), heavy_ball(learning_rate=0.1, momentum=0.0), steps=100
        ... )
        >>> float(abs(clock_shift(path, path)[1:]).max())
        0.0
    """
    if not np.array_equal(path.steps, plain.steps):
        raise InputError(
            "the two paths record different steps; run them to the same number of steps"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        logs, times = np.log(plain.gamma), np.log(plain.steps)
        apart = np.log(path.gamma / plain.gamma)
    shift = np.full(len(logs), math.nan)
    speed = np.gradient(logs[1:], times[1:], edge_order=2) / plain.steps[1:]
    shift[1:] = apart[1:] / speed
    return shift


def elasticity(slope: Callable[[float], float], gamma: float) -> float:
    """d log|f'| / d log gamma, to 1e-7.

    Example:
        >>> round(elasticity(lambda gamma: -1 / gamma**2, 7.0), 6)
        -2.0
    """
    return math.log(slope(gamma * math.exp(APART)) / slope(gamma * math.exp(-APART))) / (2 * APART)


def check_memory(name: str, value: float) -> None:
    """Refuse a coefficient of memory outside [0, 1).

    Raises:
        InputError: with its name and value.
    """
    if not 0 <= value < 1:
        raise InputError(f"{name} is {value:g}; it must be at least 0 and below 1")


def check_epsilon(epsilon: float) -> None:
    """Refuse an eps that is not positive.

    Raises:
        InputError: with its value.
    """
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise InputError(
            f"epsilon is {epsilon:g}; it must be positive: the first gradient of a is 0, its"
            " step 0/0"
        )


def _run(
    setting: EndToEnd | LayerwiseNorm,
    rule: Rule,
    velocity: Velocity,
    *,
    steps: float,
    first: int,
    slope: Callable[[float], float],
) -> Path:
    """The first steps one by one, then the flow; nothing but the former where there are no more."""
    head = descent(setting, rule, steps=int(min(steps, first)), slope=slope)
    if steps <= first:
        return head
    times = np.array(recorded_steps(steps, after=first), dtype=np.float64)
    a, b = _follow(velocity, head, len(head.steps) - 1, times)
    earlier = int(np.searchsorted(head.steps, first / 2))
    rough = _follow(velocity, head, earlier, times[-1:])
    error = abs(float(rough[0, -1] * rough[1, -1] / (a[-1] * b[-1])) - 1) + 1e-11
    return Path(np.append(head.steps, times), np.append(head.a, a), np.append(head.b, b), error)


def _follow(velocity: Velocity, head: Path, index: int, times: np.ndarray) -> np.ndarray:
    """(a, b) at `times`, (2, K), along the flow from the head's state of that index; solved in
    log t for their logs.
    """

    def of_logs(log_time: float, logs: np.ndarray) -> np.ndarray:
        a, b = math.exp(logs[0]), math.exp(logs[1])
        of_a, of_b = velocity(a, b)
        return math.exp(log_time) * np.array([of_a / a, of_b / b])

    begin, grid = np.log([head.a[index], head.b[index]]), np.log(times)
    span = (math.log(head.steps[index]), float(grid[-1]))
    found = solve_ivp(of_logs, span, begin, method="DOP853", t_eval=grid, rtol=1e-12, atol=1e-14)
    return np.exp(found.y)
