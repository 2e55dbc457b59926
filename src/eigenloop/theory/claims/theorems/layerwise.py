"""Theorem 4.3: one layer with LN, layerwise."""

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Plot, every, within
from eigenloop.theory.claims.theorems.book import LAST, RATE, SINGLE, SLOW, ledger
from eigenloop.theory.claims.theorems.shared import constant, growth, structure
from eigenloop.theory.dynamics import Path, long_run


@ledger.claim(
    "thm4.3.structure",
    "One layer with LN keeps its active blocks multiples of I.",
    place="Thm 4.3 (1)",
    provenance="stated",
    quote='"by Lemma C.2, both gradients are isotropic" (Lemma C.3)',
)
def structure_layerwise(effort: Effort) -> Finding:
    return structure("layerwise", effort)


@ledger.claim(
    "thm4.3.growth.a",
    "The active entry a of V grows like t^(1/6).",
    place="Thm 4.3 (1)",
    provenance="reconstructed",
)
def growth_of_a_layerwise(effort: Effort) -> Finding:
    return growth(SINGLE, "a", 1 / 6)


@ledger.claim(
    "thm4.3.growth.b",
    "The active entry b of W grows like t^(1/6).",
    place="Thm 4.3 (1)",
    provenance="reconstructed",
)
def growth_of_b_layerwise(effort: Effort) -> Finding:
    return growth(SINGLE, "b", 1 / 6)


@ledger.claim(
    "thm4.3.growth.constant",
    "gamma_t / (12 eta Y2 t/d)^(1/3) tends to 1. It follows from the limit of the cubic differences"
    " in the paper's own Appendix C.2.2.",
    place="beside Thm 4.3 (1)",
    provenance="ours",
)
def constant_layerwise(effort: Effort) -> Finding:
    return constant(SINGLE)


def _late_losses(since: float) -> tuple[Path, np.ndarray, np.ndarray]:
    """The path, where it has reached `since`, and the losses from there on."""
    path = long_run(SINGLE, learning_rate=RATE, steps=LAST)
    late = path.steps >= since
    return (
        path,
        late,
        np.array([float(SINGLE.loss(float(gamma)).value) for gamma in path.gamma[late]]),
    )


@ledger.claim(
    "thm4.3.loss",
    "The loss falls under every bound and stays there: it goes to 0.",
    place="Thm 4.3 (2)",
    provenance="stated",
    quote=(
        '"the population loss can be driven arbitrarily close to zero through training" (after'
        " Theorem 4.3)"
    ),
)
def loss_layerwise(effort: Effort) -> Finding:
    path, late, losses = _late_losses(0)
    bounds = 10.0 ** -np.arange(1, 8)
    first = [
        float(path.steps[late][losses < bound][0]) if (losses < bound).any() else None
        for bound in bounds
    ]
    falls = int((np.diff(losses) < 0).sum())
    return every(
        falls + sum(step is not None for step in first),
        len(losses) - 1 + len(bounds),
        justification=(
            "every recorded loss below the one before, and seven bounds from 0.1 to 10^-7"
        ),
        numbers={
            "first recorded step below each bound": first,
            "loss at step 10^12": float(losses[-1]),
        },
        plot=Plot([Curve("f", path.steps[late][1:], losses[1:])], "step", "loss"),
    )


@ledger.claim(
    "thm4.3.loss.exponent",
    "The loss falls like t^(-2/3), no faster than the paper's bound: gamma^2 f tends to Y2.",
    place="beside Thm 4.3 (2)",
    provenance="ours",
)
def loss_exponent(effort: Effort) -> Finding:
    path, late, losses = _late_losses(LAST / 100)
    slope = float(np.polyfit(np.log(path.steps[late]), np.log(losses), 1)[0])
    return within(
        measured=slope,
        expected=-2 / 3,
        tolerance=1 / float(path.gamma[late][0]),
        justification=SLOW,
        numbers={
            "gamma^2 f / Y2 at the end": float(
                path.gamma[-1] ** 2 * losses[-1] / SINGLE.upsilon2().value
            )
        },
        plot=Plot([Curve("f", path.steps[late], losses)], "step", "loss"),
    )


@ledger.claim(
    "thm4.3.time",
    "The steps that a loss of eps takes grow like eps^(-3/2).",
    place="Thm 4.3 (2)",
    provenance="reconstructed",
)
def time_exponent(effort: Effort) -> Finding:
    path, late, losses = _late_losses(LAST / 100)
    slope = float(np.polyfit(np.log(losses), np.log(path.steps[late]), 1)[0])
    return within(
        measured=slope,
        expected=-3 / 2,
        tolerance=1 / float(path.gamma[late][0]),
        justification=SLOW,
        numbers={"loss at the end": float(losses[-1])},
        plot=Plot([Curve("steps taken", losses, path.steps[late])], "eps", "T(eps)"),
    )


@ledger.claim(
    "thm4.3.time.constant",
    "T(eps) ~ (d/(12 eta Y2)) (Y2/eps)^(3/2).",
    place="beside Thm 4.3 (2)",
    provenance="ours",
)
def time_to_reach(effort: Effort) -> Finding:
    path, late, losses = _late_losses(1e3)
    y2 = float(SINGLE.upsilon2().value)
    predicted = 16 / (12 * RATE * y2) * (y2 / losses) ** 1.5
    ratio = path.steps[late] / predicted
    return within(
        measured=float(ratio[-1]),
        expected=1.0,
        tolerance=3 / float(path.gamma[-1]),
        justification="gamma is off by O(1/gamma) of itself, and T is its cube",
        numbers={"loss at the end": float(losses[-1])},
        plot=Plot(
            [Curve("steps taken", losses, path.steps[late]), Curve("predicted", losses, predicted)],
            "eps",
            "T(eps)",
        ),
    )
