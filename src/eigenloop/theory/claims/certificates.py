"""Sines of the full model against the theorem's bounds, for the claims on the power method."""

import numpy as np

from eigenloop.claims import Curve, Finding, Plot, every
from eigenloop.numerics.power import sine_bounds
from eigenloop.theory.claims.lemmas import oracle
from eigenloop.theory.claims.tested import (
    Tested,
    sines,
    weights,
)
from eigenloop.theory.claims.theorems import RATE, SINGLE
from eigenloop.theory.dynamics import long_run

TEST_LOOPS = 50
ROUNDING = 1e-12
"""What fifty loops and the eigenvectors of S may add to a sine, absolute."""


def bounds_kept(tested: list[Tested]) -> Finding:
    """How many samples of all keep to both bounds at every loop, after 10^6 steps of descent."""
    path = long_run(SINGLE, learning_rate=RATE, steps=1e6)
    a, b = float(path.a[-1]), float(path.b[-1])
    found = [within_bounds(some, a, b) for some in tested]
    return every(
        sum(passed for passed, _ in found),
        sum(len(some.values) for some in tested),
        justification="an inequality at every loop of the full model; 1e-12 for rounding",
        numbers={
            "loops": TEST_LOOPS,
            "gamma after 10^6 steps": a * b,
            "upper bound over sine at loop 10": float(
                np.median(np.concatenate([slack for _, slack in found]))
            ),
        },
    )


def within_bounds(some: Tested, a: float, b: float) -> tuple[int, np.ndarray]:
    """How many samples of the full model keep to both bounds at every loop; and each one's slack
    at loop 10.
    """
    found = sines(some, oracle.states(*weights(some, a, b), some.samples, loops=TEST_LOOPS))
    passed, slack = 0, []
    for (values, c, _), sine in zip(some, found.T, strict=True):
        low, high = sine_bounds(values, c, loops=TEST_LOOPS, gamma=a * b)
        passed += bool(np.all(low <= sine + ROUNDING) and np.all(sine <= high + ROUNDING))
        slack.append(float(high[10] / max(sine[10], ROUNDING)))
    return passed, np.array(slack)


def numbers_of_run(
    steps: int, gamma: float, found: np.ndarray, plain: np.ndarray
) -> dict[str, float]:
    """What both say of their run."""
    return {
        "steps of SGD at 0.1, batch 128, seed 0": steps,
        "gamma": gamma,
        "samples": found.shape[1],
        f"above the theorem's bound at loop {len(found) - 1}": int((found[-1] > plain[-1]).sum()),
        "median sine at the end": float(np.median(found[-1])),
        "first loop above the theorem's bound, median": float(
            np.median(np.argmax(found > plain + ROUNDING, axis=0))
        ),
    }


def curves_of_run(found: np.ndarray, plain: np.ndarray, level: float, name: str) -> Plot:
    """The median sine of a run, the theorem's bound and one level that is named, loop by loop."""
    loops = np.arange(len(found))
    return Plot(
        [
            Curve("median sine", loops, np.median(found, axis=1)),
            Curve("bound of the theorem", loops, np.median(plain, axis=1)),
            Curve(name, loops, np.full(len(loops), level)),
        ],
        "loop",
        "sine",
        xscale="linear",
    )
