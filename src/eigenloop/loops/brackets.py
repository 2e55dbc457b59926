"""A bracket of the spectral radius, the norms of the powers of J, and how far J is from normal
(NumPy and SciPy).

    |mu_1| - kappa (r + rounding)  <=  rho(J)  <=  min_p ||J^p||^{1/p}

The lower end is first-order perturbation theory, the upper end a theorem for every p. Norms of a
matrix too large to write out come from k steps of Lanczos on (J^p)^T J^p from a random start, which
approach ||J^p||^2 from below: with probability 1 - delta over the start the relative shortfall is
at most

    (log(1.648 sqrt(n) / delta) / (2 k - 1))^2            (Kuczynski and Wozniakowski 1992, Thm 4.2)

and each norm is raised by that. ||J^p|| is the largest growth of a small deviation in p loops,
whatever rho is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from eigenloop.loops.linear import DENSE, Linear
from eigenloop.loops.modes import Mode, Spectrum

POWERS = (1, 2, 4, 16)
"""p of the norms ||J^p||."""

STEPS = 24
"""Steps of Lanczos for each of them."""

DELTA = 1e-4
"""Probability, over the random start, that a raised norm is too small."""

SMALL = 0.1
"""First-order errors are believed below this fraction of |mu| and of the distance to the next
eigenvalue.
"""

STRONG = 10.0
"""Growth of a deviation, or condition of the leading eigenvalue's mode times 1/10, that calls
for a warning.
"""


@dataclass(frozen=True, kw_only=True)
class PowerNorm:
    """||J^p||.

    Args:
        power: p.
        norm: as computed.
        raised: an upper bound: exact but for rounding, or raised by the shortfall of Lanczos.
    """

    power: int
    norm: float
    raised: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Bracket:
    """Where the spectral radius of J is.

    Args:
        lower: |mu_1| - error; None where first order says too little.
        upper: min_p (raised ||J^p||)^{1/p}; None without reverse products.
        power: the p of the upper end.
        norms: ||J^p|| for the powers computed.
        singular: largest singular values of J.
        failure: probability that the upper end is too low; 0 where norms are exact but for
            rounding.
        reasons: why something is None, by name.
        warnings: strong non-normality, in sentences.
    """

    lower: float | None
    upper: float | None
    power: int | None
    norms: tuple[PowerNorm, ...]
    singular: tuple[float, ...]
    failure: float
    reasons: dict[str, str]
    warnings: tuple[str, ...]

    @property
    def growth(self) -> float | None:
        """max_p ||J^p|| over the powers computed and p = 0: how far a small deviation can grow
        before it falls.
        """
        return max((1.0, *(each.norm for each in self.norms))) if self.norms else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "lower": self.lower,
            "upper": self.upper,
            "power": self.power,
            "failure": self.failure,
            "norms": [
                {"power": each.power, "norm": each.norm, "raised": each.raised}
                for each in self.norms
            ],
            "singular": list(self.singular),
            "growth": self.growth,
            "reasons": self.reasons,
            "warnings": list(self.warnings),
        }


def bracket(
    linear: Linear, found: Spectrum, *, powers: tuple[int, ...] = POWERS, seed: int = 0
) -> Bracket:
    """The bracket of rho(J), with the norms of its powers.

    Args:
        linear: J.
        found: its leading modes.
        powers: p, at least 1 each.
        seed: of the start vectors of Lanczos.

    Example:
        >>> from eigenloop.loops.modes import spectrum
        >>> shear = Linear.of(np.array([[0.5, 4.0], [0.0, 0.25]]))
        >>> b = bracket(shear, spectrum(shear))
        >>> bool(b.lower <= 0.5 <= b.upper), b.power, round(b.growth, 3)
        (True, 16, 4.038)
    """
    reasons: dict[str, str] = {}
    norms: tuple[PowerNorm, ...] = ()
    singular: tuple[float, ...] = ()
    exact = linear.size <= DENSE
    if exact:
        norms, singular = _exact_norms(linear, powers)
    elif linear.reverse is None or linear.forward is None:
        missing = "reverse (vjp)" if linear.reverse is None else "forward (jvp)"
        reasons["upper"] = (
            f"norms of {linear.size} x {linear.size} powers need {missing} products, which are not"
            " there"
        )
    else:
        rng = np.random.default_rng(seed)
        runs = [
            power_norm(linear, power, start=rng.standard_normal(linear.size)) for power in powers
        ]
        norms = tuple(norm for norm, _ in runs)
        singular = runs[powers.index(1)][1] if 1 in powers else ()
    ends = [(each.raised ** (1 / each.power), each.power) for each in norms]
    upper, power = min(ends, default=(None, None))
    lower, why = lower_end(found)
    if why:
        reasons["lower"] = why
    growth = max((each.norm for each in norms), default=0.0)
    return Bracket(
        lower=lower,
        upper=upper,
        power=power,
        norms=norms,
        singular=singular,
        reasons=reasons,
        failure=0.0 if exact or not norms else DELTA * len(powers),
        warnings=_warnings(found.modes[0], growth),
    )


def lower_end(found: Spectrum) -> tuple[float | None, str]:
    """|mu_1| - error where first order may be believed; or None and why not.

    First order holds while the error is small beside |mu| and beside the distance to the next
    eigenvalue, unless that one is tied with it: then the condition is that of the two together.
    """
    leader = found.modes[0]
    if leader.defective:
        return (
            None,
            (
                f"mu_1 is defective to working precision (condition {leader.condition:.0e}): no"
                " first-order error"
            ),
        )
    if leader.error is None:
        return None, "the condition of mu_1 is not known: only one of its two eigenvectors is"
    others = [abs(mode.value - leader.value) for mode in found.modes[1:]]
    others += [2 * leader.value.imag] if leader.multiplicity == 2 else []
    near = min((each for each in others if each > leader.error), default=leader.modulus)
    if leader.error > SMALL * min(leader.modulus, near):
        return (
            None,
            (
                f"the first-order error of mu_1, {leader.error:.1g}, is not small beside |mu_1| ="
                f" {leader.modulus:.3g} and the distance {near:.1g} to the next eigenvalue"
            ),
        )
    return max(0.0, leader.modulus - leader.error), ""


def power_norm(
    linear: Linear, power: int, *, start: np.ndarray, steps: int = STEPS
) -> tuple[PowerNorm, tuple[float, ...]]:
    """||J^p|| by Lanczos on (J^p)^T J^p, and its two largest singular values.

    Args:
        linear: J, with products in both directions.
        power: p.
        start: random, so that the bound on the shortfall holds with probability 1 - `DELTA`.
        steps: k.

    Raises:
        ValueError: products in one direction only.
    """
    forward, reverse = linear.forward, linear.reverse
    if forward is None or reverse is None:
        raise ValueError("norms need products in both directions")
    steps = min(steps, linear.size)
    basis = [start / np.linalg.norm(start)]
    diagonal, beside = np.zeros(steps), np.zeros(steps)
    done = 0
    for k in range(steps):
        z = basis[k]
        for product in (forward, reverse):
            for _ in range(power):
                z = product(z)
        diagonal[k], done = float(basis[k] @ z), k + 1
        kept = np.array(basis)
        for _ in range(2):
            z = z - (kept @ z) @ kept
        beside[k] = float(np.linalg.norm(z))
        if beside[k] <= 1e-14 * max(diagonal.max(), 1e-300):
            break
        basis.append(z / beside[k])
    between = np.diag(beside[: done - 1], 1)
    squares = np.linalg.eigvalsh(np.diag(diagonal[:done]) + between + between.T)[::-1]
    sizes = np.sqrt(np.maximum(squares, 0))
    short = shortfall(linear.size, done)
    raised = float(sizes[0]) / np.sqrt(1 - short) if short < 1 else np.inf
    return PowerNorm(power=power, norm=float(sizes[0]), raised=raised), tuple(
        float(s) for s in sizes[:2]
    )


def shortfall(size: int, steps: int, *, delta: float = DELTA) -> float:
    """Relative shortfall of Lanczos for the largest eigenvalue of a positive semidefinite matrix,
    but for delta.

    Source: Kuczynski and Wozniakowski, SIAM J. Matrix Anal. Appl. 13 (1992), Thm 4.2.
    """
    if steps >= size:
        return 0.0
    return float((np.log(1.648 * np.sqrt(size) / delta) / (2 * steps - 1)) ** 2)


def _exact_norms(
    linear: Linear, powers: tuple[int, ...]
) -> tuple[tuple[PowerNorm, ...], tuple[float, ...]]:
    """From the matrix: each power's norm, raised by the rounding of the products that made it."""
    matrix = linear.dense()
    one = np.linalg.svd(matrix, compute_uv=False)
    rounding = max(linear.noise, float(np.finfo(float).eps))
    found, product = [], np.eye(linear.size)
    for power in range(1, max(powers) + 1):
        product = product @ matrix
        if power in powers:
            norm = float(np.linalg.norm(product, 2))
            slack = 4 * power * linear.size * rounding * float(one[0]) ** power
            found.append(PowerNorm(power=power, norm=norm, raised=norm + slack))
    return tuple(found), tuple(float(s) for s in one[:2])


def _warnings(leader: Mode, growth: float) -> tuple[str, ...]:
    """What a radius alone would hide."""
    said = []
    if leader.defective:
        said.append(
            "mu_1 is defective (its two eigenvectors fall into one): distances go like k |mu_1|^k"
            f" and more, so there is no rate |mu_1| = {leader.modulus:.4g} for the first loops"
        )
    elif leader.condition is not None and leader.condition > 10 * STRONG:
        said.append(
            f"strongly non-normal: the condition of mu_1 is {leader.condition:.3g}, so changes of 1"
            f" % in J move it by up to {leader.condition / 100:.2g} ||J||"
        )
    if growth > STRONG:
        said.append(
            f"a small deviation can grow {growth:.3g}-fold before it falls (largest ||J^p||"
            " computed)"
        )
    return tuple(said)
