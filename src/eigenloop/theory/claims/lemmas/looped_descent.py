"""Appendix A, the descent of gamma in the looped model."""

from functools import cache

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Plot, every, within
from eigenloop.theory import dynamics, slopes
from eigenloop.theory.claims.lemmas.book import (
    LOOPS,
    TASK2,
    ledger,
)
from eigenloop.theory.population import EndToEnd


@cache
def long_path(rate: float, steps: float) -> dynamics.Path:
    """Population gradient descent on Task 2."""
    return dynamics.long_run(EndToEnd(TASK2, LOOPS), learning_rate=rate, steps=steps)


@ledger.claim(
    "lemA.5.increase",
    "gamma_t increases at every step (and a_t and b_t do), whatever the learning rate.",
    place="Lemma A.5",
    provenance="reconstructed",
)
def gamma_increases(effort: Effort) -> Finding:
    """The scalar recursion, every step of it."""
    steps, rates = effort.pick(1_000, 100_000), (0.01, 0.1, 1.0, 10.0, 100.0)
    slope = slopes.slope_function(EndToEnd(TASK2, LOOPS))
    increasing, numbers = 0, {}
    for rate in rates:
        a, b = dynamics.START
        for _ in range(steps):
            k = -rate / len(TASK2) * slope(a * b)
            after = a + k * b, b + k * a
            increasing += after[0] * after[1] > a * b and after[0] >= a and after[1] > b
            a, b = after
        numbers[f"gamma after {steps:,} steps at {rate:g}"] = a * b
    return every(
        increasing, steps * len(rates), justification="an inequality at every step", numbers=numbers
    )


@ledger.claim(
    "lemA.5.growth",
    "gamma_{t+1}^2 - gamma_t^2 -> 4 eta Upsilon_1/d, so gamma_t grows like t^{1/2} and a_t, b_t"
    " like t^{1/4}.",
    place="Lemma A.5",
    provenance="reconstructed",
)
def gamma_grows(effort: Effort) -> Finding:
    """One step of the recursion from points of its path, out to 10^12 steps."""
    rate, setting = 0.1, EndToEnd(TASK2, LOOPS)
    path = long_path(rate, effort.pick(10**10, 10**12))
    chosen = np.flatnonzero(path.gamma > 10)[:: effort.pick(20, 5)]
    increments = []
    for a, b in zip(path.a[chosen], path.b[chosen], strict=True):
        k = -rate / setting.dim * float(setting.slope(a * b).value)
        # gamma' - gamma = k (a^2 + b^2) + k^2 ab, without the difference of two large numbers
        rise = k * (a * a + b * b) + k * k * a * b
        increments.append(rise * (2 * a * b + rise))
    gammas, increments = path.gamma[chosen], np.array(increments)
    expected = 4 * rate * float(setting.upsilon1().value) / setting.dim
    ratio = path.a[chosen[-1]] / path.b[chosen[-1]]
    return within(
        measured=float(increments[-1]),
        expected=expected,
        tolerance=2 * (LOOPS + 1) / (gammas[-1] * TASK2[-1]),
        justification=(
            "gamma^2 f' is off by (2L + 2)/(gamma lambda_d) at most, and a^2 + b^2 = 2 gamma +"
            " O(1/gamma)"
        ),
        numbers={
            "steps": float(path.steps[chosen[-1]]),
            "gamma": float(gammas[-1]),
            "a/b": float(ratio),
        },
        plot=Plot(
            [
                Curve("gamma_{t+1}^2 - gamma_t^2", path.steps[chosen], increments, points=True),
                Curve("4 eta Y1/d", path.steps[chosen], np.full(len(chosen), expected)),
            ],
            "step t",
            "increment",
            yscale="linear",
        ),
    )
