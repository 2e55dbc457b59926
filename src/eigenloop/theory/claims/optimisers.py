"""Momentum and Adam beyond arXiv 2606.00605, as claims: what becomes of the exponents, the
constants and the clock.

Task 2 (d = 16, n = 32, the default multiplicities), so that every expectation is exact.
"""

import math

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Ledger, Plot, within
from eigenloop.theory.claims.theorems import LAST, LOOPED, RATE, SINGLE
from eigenloop.theory.dynamics import Path, asymptotic, long_run
from eigenloop.theory.optimisers import adam, adam_run, clock_shift, descent, heavy_ball_run
from eigenloop.theory.population import EndToEnd, LayerwiseNorm
from eigenloop.theory.slopes import slope_function

ledger = Ledger("arXiv 2606.00605")

BETA = 0.9
PLAIN = RATE / (1 - BETA)
"""The learning rate of plain gradient descent that momentum is compared with."""
ADAM_RATE, EPSILON = 1e-3, 1e-8
MEMORY = 0.999 / (1 - 0.999) - 0.9 / (1 - 0.9)
"""Steps by which Adam's mean of g^2 lags more than that of g: 990."""
MODELS: tuple[tuple[str, EndToEnd | LayerwiseNorm], ...] = (
    ("looped", LOOPED),
    ("one layer", SINGLE),
)


# --- momentum


@ledger.claim(
    "beyond.momentum",
    "Heavy-ball momentum beta keeps the exponents 1/4 and 1/6 of a and b and their leading"
    " constants, with eta/(1 - beta) in the place of eta.",
    place="cf. Thms 4.1 and 4.3",
    provenance="ours",
)
def momentum(effort: Effort) -> Finding:
    paths = [
        heavy_ball_run(setting, learning_rate=RATE, momentum=BETA, steps=LAST)
        for _, setting in MODELS
    ]
    return _leading_order(paths, rate=PLAIN, late=[0.0, 0.0], also="")


@ledger.claim(
    "beyond.momentum.clock.looped",
    "L loops: against plain gradient descent at eta' = eta/(1 - beta) momentum's clock drifts like"
    " log t, by (3/4) beta/(1 - beta) + d (c^2 - c'^2)/(32 eta' Y1) steps per unit of log t, where"
    " c and c' are what a^2 - b^2 ends at with and without momentum.",
    place="cf. Thm 4.1",
    provenance="ours",
)
def clock_of_loops(effort: Effort) -> Finding:
    steps, shift, at, kept, curve = _clock(LOOPED, 1e7)
    inertia = 3 / 4 * BETA / (1 - BETA)
    imbalance = (
        LOOPED.dim * (kept[0] ** 2 - kept[1] ** 2) / (32 * PLAIN * float(LOOPED.upsilon1().value))
    )
    return within(
        measured=float(np.polyfit(np.log(steps), shift, 1)[0]),
        expected=inertia + imbalance,
        relative=False,
        tolerance=(inertia + abs(imbalance)) / at,
        justification=(
            "either term is the leading order in 1/gamma, here at the start of the last decade"
        ),
        numbers=_of_clock(steps, shift, kept)
        | {
            "from inertia": inertia,
            "from a^2 - b^2": imbalance,
        },
        plot=curve,
    )


@ledger.claim(
    "beyond.momentum.clock.single",
    "One layer: against plain gradient descent at eta' = eta/(1 - beta) momentum's clock drifts"
    " like t^(1/3), by (3/8) (c^2 - c'^2) (d/(12 eta' Y2))^(2/3) t^(1/3) steps, where c and c' are"
    " what a^2 - b^2 ends at with and without momentum: it falls behind, since c < c'.",
    place="cf. Thm 4.3",
    provenance="ours",
)
def clock_of_one_layer(effort: Effort) -> Finding:
    steps, shift, at, kept, curve = _clock(SINGLE, 1e10)
    scale = (SINGLE.dim / (12 * PLAIN * float(SINGLE.upsilon2().value))) ** (2 / 3)
    expected, inertia = 3 / 8 * (kept[0] ** 2 - kept[1] ** 2) * scale, 5 / 6 * BETA / (1 - BETA)
    return within(
        measured=float(np.polyfit(np.cbrt(steps), shift, 1)[0]),
        expected=expected,
        tolerance=3 * inertia / (abs(expected) * float(np.cbrt(steps[0]))) + 1 / at,
        justification=(
            "the share of inertia, (5/6) beta/(1 - beta) log t, and 1/gamma, at the start of the"
            " last decade"
        ),
        numbers=_of_clock(steps, shift, kept),
        plot=curve,
    )


# --- Adam


@ledger.claim(
    "beyond.adam",
    "Adam ends as plain gradient descent at learning rate eta/eps: once the gradients are far below"
    " eps the exponents 1/4 and 1/6 of a and b and their leading constants come back.",
    place="cf. Thms 4.1 and 4.3",
    provenance="ours",
)
def adam_ends(effort: Effort) -> Finding:
    paths = [
        adam_run(setting, learning_rate=ADAM_RATE, epsilon=EPSILON, steps=LAST)
        for _, setting in MODELS
    ]
    late = [math.sqrt(path.gamma[-1]) / (ADAM_RATE * LAST) for path in paths]
    earlier = {
        f"exponent of gamma^(1/2), decade to {end:.0e} steps, {name}": _exponent(path, end)
        for (name, _), path in zip(MODELS, paths, strict=True)
        for end in (1e6, 1e7, 1e8)
    }
    return _leading_order(
        paths,
        rate=ADAM_RATE / EPSILON,
        late=late,
        numbers=earlier,
        also=", and the share of the steps in which it grew linearly, gamma^(1/2)/(eta t)",
    )


@ledger.claim(
    "beyond.adam.linear",
    "As eps -> 0 Adam grows a and b linearly for good, whatever the theorems' exponents: each step"
    " tends to eta, short of it by beta2/(1 - beta2) - beta1/(1 - beta1) = 990 times the relative"
    " change of the gradient in a step.",
    place="cf. Thms 4.1 and 4.3",
    provenance="ours",
)
def adam_without_epsilon(effort: Effort) -> Finding:
    steps, measured, expected, allowed, curves = effort.pick(100_000, 400_000), [], [], [], []
    for name, setting in MODELS:
        slope = slope_function(setting)
        path = descent(
            setting, adam(learning_rate=ADAM_RATE, epsilon=1e-30), steps=steps, slope=slope
        )
        late = int(np.searchsorted(path.steps, steps / 2))
        took = steps - path.steps[late]
        # the gradient of a is b f'/d, that of b is a f'/d
        for moved, beside in ((path.a, path.b), (path.b, path.a)):
            fall = math.log(
                slope(path.gamma[late]) * beside[late] / (slope(path.gamma[-1]) * beside[-1])
            ) / float(took)
            measured.append(float((moved[-1] - moved[late]) / took / ADAM_RATE))
            expected.append(1 - MEMORY * fall)
            allowed.append(2 * (MEMORY * fall) ** 2)
        curves.append(Curve(name, path.steps[1:], np.gradient(path.a, path.steps)[1:] / ADAM_RATE))
    off = np.abs(np.subtract(measured, expected))
    return Finding(
        "holds" if np.all(off <= allowed) else "fails",
        measured,
        expected,
        float(max(allowed)),
        "steps of a and b over eta, looped and one layer, over the second half: the next order in"
        " memory over time is 1/2 + 1/p times the square of what is short where |g| ~ t^-p, p = 3"
        " and 5; twice the square leaves room for the orders after it",
        numbers={"steps": steps, "distances": off.tolist(), "allowed": allowed},
        plot=Plot(curves, "step", "step of a over eta"),
    )


# --- what several share


def _leading_order(
    paths: list[Path],
    *,
    rate: float,
    late: list[float],
    also: str,
    numbers: dict[str, float] | None = None,
) -> Finding:
    """Whether a and b are at plain gradient descent's leading order at this learning rate, over
    the last decade.
    """
    ratios, exponents, distances, allowed = [], [], [], []
    for (_, setting), path, share in zip(MODELS, paths, late, strict=True):
        last = path.steps >= LAST / 10
        steps, gamma, kept = (
            path.steps[last],
            path.gamma[last],
            abs(path.a[-1] ** 2 - path.b[-1] ** 2),
        )
        leading = np.array(
            [asymptotic(setting, learning_rate=rate, steps=step)["a"] for step in steps]
        )
        found = np.array([path.a[last], path.b[last]]) / leading
        distances.append(float(abs(found - 1).max()))
        # a^2 = (s + c)/2 with s = (c^2 + 4 gamma^2)^(1/2), and gamma is its leading order to
        # 1/gamma
        allowed.append(float((1 + kept) / gamma[0] + share * 10))
        ratios += found[:, -1].tolist()
        exponents += [
            float(np.polyfit(np.log(steps), np.log(found[i] * leading), 1)[0]) for i in (0, 1)
        ]
    return Finding(
        "holds" if np.all(np.less(distances, allowed)) else "fails",
        ratios,
        [1.0] * 4,
        float(max(allowed)),
        "a and b over their leading order, looped and one layer, at the end of the decade over"
        f" which all are compared: 1/gamma and (a^2 - b^2)/gamma at its start{also}",
        numbers={
            "exponents of a and b over the last decade, looped and one layer": exponents,
            "largest distance from 1, looped and one layer": distances,
            "allowed": allowed,
            "steps": LAST,
            **(numbers or {}),
        },
    )


def _clock(
    setting: EndToEnd | LayerwiseNorm, last: float
) -> tuple[np.ndarray, np.ndarray, float, tuple[float, float], Plot]:
    """Over the last decade: steps, signed shift of the clock; gamma at its start; a^2 - b^2 of
    both; the figure.
    """
    path = heavy_ball_run(setting, learning_rate=RATE, momentum=BETA, steps=last)
    plain = long_run(setting, learning_rate=PLAIN, steps=last)
    shift = clock_shift(path, plain)
    late, shown = path.steps >= last / 10, path.steps >= 100
    kept = float(path.a[-1] ** 2 - path.b[-1] ** 2), float(plain.a[-1] ** 2 - plain.b[-1] ** 2)
    figure = Plot(
        [Curve("momentum ahead", path.steps[shown], shift[shown])], "step", "steps", yscale="linear"
    )
    return path.steps[late], shift[late], float(path.gamma[late][0]), kept, figure


def _of_clock(steps: np.ndarray, shift: np.ndarray, kept: tuple[float, float]) -> dict[str, float]:
    return {
        f"steps ahead at {steps[0]:.0e}": float(shift[0]),
        f"steps ahead at {steps[-1]:.0e}": float(shift[-1]),
        "a^2 - b^2 with momentum": kept[0],
        "without": kept[1],
    }


def _exponent(path: Path, end: float) -> float:
    """Slope of log gamma^(1/2) over log t in the decade that ends at `end`."""
    chosen = (path.steps >= end / 10.1) & (path.steps <= end * 1.01)
    return float(np.polyfit(np.log(path.steps[chosen]), np.log(path.gamma[chosen]) / 2, 1)[0])
