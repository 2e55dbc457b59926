"""The signs of the Hessian along the manifold, which the claims on stability share."""

import math

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Kind, Plot
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.claims.theorems import LAST, RATE
from eigenloop.theory.dynamics import long_run
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm
from eigenloop.theory.stability import Lowest, hessian, lowest_eigenvalue

NOT_SCALAR = ("antisymmetric", "symmetric traceless")
EARLY = 30
"""Steps before which stability is not claimed; each recorded one of them is measured."""


def end_of(setting: LayerwiseLinear) -> tuple[float, float]:
    """(a, b) at gamma* with a^2 - b^2 = 1, where gradient descent from (1, 0) ends up to O(eta)."""
    gamma = float(setting.optimum().value)
    a = math.sqrt((math.hypot(1, 2 * gamma) + 1) / 2)
    return a, gamma / a


UNDECIDED = "to within the error of the eigenvalue, whose sign is not decided"


def _kind(found: Lowest, stated: int = 1) -> Kind:
    """Whether the lowest eigenvalue has the stated sign; one within its error is neither, and is
    not as recorded.
    """
    return "holds only" if found.sign is None else "holds" if found.sign == stated else "fails"


def stability_linear(target: str, *, sign: int) -> Finding:
    """The lowest eigenvalue off multiples of I where descent from (1, 0) ends; holds where it
    has this sign.
    """
    setting = LayerwiseLinear(DEFAULT_MULTIPLICITIES, target)  # pyright: ignore[reportArgumentType]
    a, b = end_of(setting)
    modes = hessian(setting, a=a, b=b)
    found = lowest_eigenvalue(modes)
    falling = sum(modes[name].sector.dimension for name in NOT_SCALAR if modes[name].signs[0] == -1)
    balanced = hessian(setting, a=math.sqrt(a * b), b=math.sqrt(a * b))
    return Finding(
        _kind(found, sign),
        found.value,
        "above 0" if sign > 0 else "below 0",
        None,
        f"exact integrals; quadrature and rounding leave {found.error:.1g}",
        note=UNDECIDED if found.sign is None else "",
        numbers={
            "falling directions": falling,
            **{name: float(modes[name].eigenvalues[0]) for name in NOT_SCALAR},
            "error": found.error,
            "sign": found.sign,
            "at balance a = b": lowest_eigenvalue(balanced).value,
        },
    )


def stability_along(setting: EndToEnd | LayerwiseNorm, *, effort: Effort) -> Finding:
    """The lowest eigenvalue off the scalar manifold at recorded steps, and from which of them on
    it stays above 0.
    """
    path = long_run(setting, learning_rate=RATE, steps=LAST)
    every_nth = effort.pick(16, 4)
    chosen = [
        i
        for i, step in enumerate(path.steps)
        if step >= 1 and (step <= EARLY or i % every_nth == 0)
    ]
    lowest, found = {name: [] for name in NOT_SCALAR}, []
    for i in chosen:
        modes, scale = (
            hessian(setting, a=float(path.a[i]), b=float(path.b[i])),
            1 + float(path.gamma[i]),
        )
        for name, values in lowest.items():
            values.append(float(modes[name].eigenvalues[0]) * scale)
        one = lowest_eigenvalue(modes)
        found.append(one._replace(value=one.value * scale, error=one.error * scale))
    steps = path.steps[chosen]
    late, unstable = steps >= EARLY, steps[[one.sign == -1 for one in found]]
    # the one nearest to falling: a sign that is not decided must not be passed over for a smaller
    # one that is
    worst = min(
        (one for one, counts in zip(found, late, strict=True) if counts),
        key=lambda one: one.value - one.error,
    )
    numbers: dict[str, float | str | None] = {
        "steps measured": len(chosen),
        "last of them with a falling direction": float(unstable[-1]) if len(unstable) else "none",
        "error": worst.error,
        "sign": worst.sign,
    }
    for name, values in lowest.items():
        early = np.array(values)[~late]
        numbers[f"lowest before step {EARLY}, {name}"] = float(early.min())
    return Finding(
        _kind(worst),
        worst.value,
        "above 0",
        None,
        "(1 + gamma) times the lowest eigenvalue, exact integrals, at log-spaced steps from"
        f" {EARLY} to 10^12",
        note=UNDECIDED if worst.sign is None else "",
        numbers=numbers,
        plot=Plot(
            [Curve(name, steps, values) for name, values in lowest.items()],
            "step",
            "(1 + gamma) x smallest eigenvalue",
            yscale="linear",
        ),
    )
