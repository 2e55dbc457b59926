"""Where a map is linear about its fixed point, measured: the first state of an orbit that a
forecast may begin from (NumPy).

    R(h) = f(x* + h) - f(x*) - J h,    delta = ||R(h)|| / ||J h||,    h = x_j - x*

Along an orbit f(x* + h) is the next state, so that delta costs one product with J. A forecast J^k
h leaves out every remainder from loop j on. Near a fixed point R is of second order: delta falls
with ||h||, by |mu_1| a loop, so that the remainders of all loops to come add up to

    delta (1 + |mu_1| + |mu_1|^2 + ...) = delta / (1 - |mu_1|)

of the distance, and to kappa times that along mu_1, whose coordinate they reach through w^H. One
loop changes the distance by |mu_1|. The forecast is right to one loop where both together are less
than that:

    kappa delta / (1 - |mu_1|)  <=  log(1 / |mu_1|)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from eigenloop.loops.linear import DENSE, Linear
from eigenloop.loops.modes import Mode

FEW = 8
"""States after the first one, at growing distances from it, that are looked at where products are
dear.
"""

ROUNDINGS = 32
"""Roundings of a step that a remainder of zero may be."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """The first state inside the linear region.

    Args:
        loop: j, from which on every state that was looked at is inside.
        remainder: delta there.
        allowed: (1 - |mu_1|) log(1/|mu_1|) / kappa.
        distance: ||x_j - x*||, relative.
    """

    loop: int
    remainder: float
    allowed: float
    distance: float


def allowance(leader: Mode) -> float:
    """Largest remainder, relative to ||J h||, with which a forecast is right to one loop.

    kappa is that of mu_1; 1 where it is not known or mu_1 is defective, where first order says
    nothing of it.

    Example:
        >>> from eigenloop.loops.modes import spectrum
        >>> half = spectrum(Linear.of(np.diag([0.5, 0.1]))).modes[0]
        >>> round(allowance(half), 6)  # log(2)/2
        0.346574
    """
    rho = leader.modulus
    if rho >= 1:
        return 0.0
    kappa = leader.condition
    known = kappa is not None and np.isfinite(kappa) and not leader.defective
    lost = -np.log(max(rho, np.finfo(float).tiny))
    return float((1 - rho) * lost / (kappa if known and kappa else 1.0))


def remainders(
    linear: Linear, deviations: Float[np.ndarray, "k n"], indices: Int[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """||R(h_j)|| and ||J h_j|| at some states of an orbit, R(h_j) = h_{j+1} - J h_j.

    Args:
        linear: J at x*.
        deviations: h_j = x_j - x*.
        indices: j, each with a next state.

    Example:
        >>> h = np.array([[0.2], [0.2**2 + 0.5 * 0.2]])  # f(h) = h/2 + h^2
        >>> left, kept = remainders(Linear.of(np.array([[0.5]])), h, np.array([0]))
        >>> left.round(12), kept
        (array([0.04]), array([0.1]))
    """
    before, after = deviations[indices], deviations[indices + 1]
    if linear.size <= DENSE:
        pushed = before @ linear.dense().T
    else:
        pushed = np.stack([linear.push(h) for h in before])
    return np.linalg.norm(after - pushed, axis=1), np.linalg.norm(pushed, axis=1)


def linear_region(
    linear: Linear,
    deviations: Float[np.ndarray, "k n"],
    leader: Mode,
    *,
    scale: float,
    noise: float,
) -> Region | None:
    """The first state from which on the map counts as linear.

    Remainders that are rounding count as none, whatever they are relative to J h. Small states are
    all looked at; for large ones, where a product is dear, the border is found by halving, and
    states after it are tried at growing distances.

    Args:
        linear: J at x*.
        deviations: x_j - x*, of an orbit that goes there.
        leader: mu_1.
        scale: the length that distances are relative to.
        noise: of a step and of x*, relative to `scale`.

    Returns:
        None where no state is inside.
    """
    allowed, count = allowance(leader), len(deviations) - 1
    seen: dict[int, float] = {}

    def inside(indices: Int[np.ndarray, " m"]) -> Bool[np.ndarray, " m"]:
        left, kept = remainders(linear, deviations, indices)
        found = np.where(
            left <= ROUNDINGS * noise * scale, 0.0, left / np.where(kept > 0, kept, 1e-300)
        )
        seen.update(zip(indices.tolist(), found.tolist(), strict=True))
        return found <= allowed

    if count < 1:
        return None
    every = np.arange(count)
    first = _after_the_last(~inside(every)) if linear.size <= DENSE else _border(inside, count)
    if first >= count:
        return None
    distance = float(np.linalg.norm(deviations[first])) / scale
    return Region(loop=first, remainder=seen[first], allowed=allowed, distance=distance)


def _after_the_last(outside: Bool[np.ndarray, " m"]) -> int:
    found = np.flatnonzero(outside)
    return int(found[-1]) + 1 if found.size else 0


def _border(inside: Callable[[np.ndarray], np.ndarray], count: int) -> int:
    """The first state inside, by halving; moved on where a later one that is tried is outside."""
    low = -1
    while True:
        high = count
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if inside(np.array([middle]))[0] else (middle, high)
        later = high + np.unique(np.geomspace(1, max(1, count - 1 - high), FEW).astype(int))
        later = later[later < count]
        outside = later[~inside(later)] if later.size else later
        if not outside.size:
            return high
        low = int(outside[-1])
