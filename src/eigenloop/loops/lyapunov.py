"""Lyapunov exponents of a looped map, with standard errors from blocks (NumPy).

    lambda_i = lim (1/K) sum_k log R_ii(k),    J(x_k) Q_{k-1} = Q_k R_k

Positive lambda_1: starts that differ by e are e exp(lambda_1 k) apart after k loops. Sources:
Benettin et al. 1980; Eckmann and Ruelle, Rev. Mod. Phys. 57 (1985).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.loops.maps import LoopedMap
from eigenloop.numerics.statistics import standard_error

BLOCKS = 10
"""Blocks of loops whose means give the standard error: long ones are nearly independent."""

SETTLING = 20
"""Loops in which the directions turn to their places, before any is counted."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Exponents:
    """The largest Lyapunov exponents, per loop.

    Args:
        values: lambda_1 >= lambda_2 >= ..., as the directions are ordered.
        errors: standard errors.
        running: mean of log R_ii up to each loop, (loops, k).
        loops: counted.
    """

    values: Float[np.ndarray, " k"]
    errors: Float[np.ndarray, " k"]
    running: Float[np.ndarray, "m k"]
    loops: int

    @property
    def largest(self) -> tuple[float, float]:
        """lambda_1 and its standard error: of a short run the largest may stand in another
        place.
        """
        i = int(np.argmax(self.values))
        return float(self.values[i]), float(self.errors[i])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"values": self.values.tolist(), "errors": self.errors.tolist(), "loops": self.loops}


def exponents(
    looped: LoopedMap,
    x: Float[np.ndarray, " n"],
    *,
    count: int = 4,
    loops: int = 200,
    seed: int = 0,
) -> Exponents | None:
    """The `count` largest exponents along the orbit of x, after `SETTLING` loops.

    Needs products J v; a map with reverse products alone is taken to a matrix (small states only).

    Args:
        looped: f.
        x: on the attractor, flat.
        count: how many.
        loops: counted, at least 2 for each of `BLOCKS` blocks.
        seed: of the directions.

    Returns:
        The exponents; None where the orbit leaves the finite numbers, or J has no forward products.

    Example:
        >>> squeeze = LoopedMap.numpy(lambda x: np.array([0.5, 0.25]) * x, np.ones(2))
        >>> exponents(squeeze, squeeze.start, count=2).values.round(6) / np.log(2)
        array([-1., -2.])
    """
    rng, count = np.random.default_rng(seed), min(count, looped.size)
    loops -= loops % BLOCKS
    q = np.linalg.qr(rng.standard_normal((looped.size, count)))[0]
    logs = np.empty((loops, count))
    for k in range(-SETTLING, loops):
        linear = looped.at(x)
        if linear.forward is None and linear.size > 1 and linear.reverse is None:
            return None
        moved = np.stack([linear.push(v) for v in q.T], axis=1)
        x = looped.step(x)
        if not (np.isfinite(moved).all() and np.isfinite(x).all()):
            return None
        q, r = np.linalg.qr(moved)
        if k >= 0:
            logs[k] = np.log(np.maximum(np.abs(np.diagonal(r)), np.finfo(float).tiny))
    blocks = logs.reshape(BLOCKS, -1, count).mean(1)
    running = np.cumsum(logs, axis=0) / np.arange(1, loops + 1)[:, None]
    return Exponents(
        values=logs.mean(0), errors=standard_error(blocks), running=running, loops=loops
    )
