"""Fixed points of a looped map, each with what certifies it (NumPy and SciPy).

    f(x*) = x*,    residual = ||f(x) - x|| / scale,
        error ~ ||(I - f'(x))^{-1} (f(x) - x)|| / scale  (first order)

Anderson's acceleration first, then Newton's method with GMRES on products with f'(x). One length,
`scale`, measures every relative number: a state that shrinks to 0, or a solver that runs away, must
not look settled. That a solver finds a point says nothing about whether the loop goes there.
Sources: Anderson 1965; Walker and Ni 2011.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from eigenloop.loops.linear import DENSE, Linear
from eigenloop.loops.maps import LoopedMap

MEMORY, STEPS = 8, 200
"""Differences that Anderson's acceleration keeps, and its steps."""

NEWTON = 12
RUNAWAY = 1e4
"""A step of Newton's method above this many scales leaves: no fixed point is near."""

CERTIFIED = 1e-6
"""A point is a fixed point where its estimated error is below this."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedPoint:
    """A point with f(x) = x to some accuracy.

    Args:
        point: x, flat.
        residual: ||f(x) - x|| / scale.
        error: estimated ||x - x*|| / scale; None where I - f'(x) could not be solved with.
        found: the error is below `CERTIFIED`.
        steps: evaluations of f that it took.
        scale: the length that the numbers are relative to.
        reason: why it is not found; empty where it is.
    """

    point: np.ndarray
    residual: float
    error: float | None
    found: bool
    steps: int
    scale: float
    reason: str = ""


def anderson(
    looped: LoopedMap, x: np.ndarray, *, scale: float, tolerance: float
) -> tuple[np.ndarray, float, int]:
    """Anderson's acceleration, restarted where the residual grows tenfold; the best point seen.

    x_{k+1} = f(x_k) - (dX + dG) c,    c = argmin ||g_k - dG c||,    g = f(x) - x

    Returns:
        (point, residual / scale, evaluations).
    """
    points: list[np.ndarray] = []
    gaps: list[np.ndarray] = []
    best, least, count = x, np.inf, 0
    for count in range(1, STEPS + 1):  # noqa: B007 - counted for the result
        gap = looped.step(x) - x
        residual = float(np.linalg.norm(gap)) / scale
        if not np.isfinite(residual):
            break
        if residual < least:
            best, least = x, residual
        if residual < tolerance:
            break
        if residual > 10 * least:
            points, gaps = [], []
            x = looped.step(best)
            continue
        points, gaps = [*points[1 - MEMORY :], x], [*gaps[1 - MEMORY :], gap]
        change = gap
        if len(gaps) > 1:
            moved, turned = np.diff(points, axis=0), np.diff(gaps, axis=0)
            weights = np.linalg.lstsq(turned.T, gap, rcond=1e-12)[0]
            change = gap - weights @ (moved + turned)
        x = x + change
    return best, least, count


def solve_along(turns: list[Linear], gap: np.ndarray) -> np.ndarray:
    """(I - J_p ... J_1)^{-1} gap for the derivatives along an orbit."""
    size = turns[0].size
    if size <= DENSE:
        product = np.eye(size)
        for linear in turns:
            product = linear.dense() @ product
        if not np.isfinite(product).all():
            return np.full(size, np.nan)  # the caller stops where its point is no number
        return np.linalg.lstsq(np.eye(size) - product, gap, rcond=1e-13)[0]
    from scipy.sparse import linalg

    sparse: Any = linalg

    def apply(v: np.ndarray) -> np.ndarray:
        moved = np.ravel(v)
        for linear in turns:
            moved = linear.push(moved)
        return np.ravel(v) - moved

    operator = sparse.LinearOperator((size, size), matvec=apply, dtype=float)
    return sparse.gmres(operator, gap, rtol=1e-4, restart=60, maxiter=2)[0]


def fixed_point(looped: LoopedMap, x: np.ndarray, *, scale: float, period: int = 1) -> FixedPoint:
    """A fixed point of f^p near x: Anderson (p = 1 only), then Newton; each step is kept only where
    the residual falls.

    Args:
        looped: f.
        x: where to begin.
        scale: one length for all relative numbers, from the trajectory.
        period: p.

    Example:
        >>> halve = LoopedMap.numpy(lambda x: 0.5 * x + 1.0, np.zeros(2))
        >>> found = fixed_point(halve, halve.start, scale=2.0)
        >>> found.point.round(12), found.found
        (array([2., 2.]), True)
    """
    floor = max(1e-14, 4 * looped.noise)
    evaluations, error = 0, None
    if period == 1:
        x, _, evaluations = anderson(looped, x, scale=scale, tolerance=floor)
    reason = ""
    gap, turns, residual = _gap(looped, x, period, scale)
    for _ in range(NEWTON):
        change = solve_along(turns, gap)
        error = float(np.linalg.norm(change)) / scale
        if not error < RUNAWAY:
            reason = (
                f"the next step of Newton's method is {error:.1g} times the state: no fixed point"
                " is near"
            )
            break
        after = _gap(looped, x + change, period, scale)
        evaluations += 2 * period
        if not after[2] < residual:
            break
        x, (gap, turns, residual) = x + change, after
        if residual < floor and error < 1e-10:
            break
    if error is not None:  # of the point that is kept
        error = float(np.linalg.norm(solve_along(turns, gap))) / scale
    found = error is not None and error < CERTIFIED and residual < CERTIFIED
    if not found and not reason:
        reason = (
            f"the residual stays at {residual:.1g}, the estimated error at {error:.1g}, after"
            f" {evaluations} steps"
        )
    return FixedPoint(
        point=x,
        residual=residual,
        error=error,
        found=bool(found),
        steps=evaluations,
        scale=scale,
        reason="" if found else reason,
    )


def _gap(
    looped: LoopedMap, x: np.ndarray, period: int, scale: float
) -> tuple[np.ndarray, list[Linear], float]:
    """f^p(x) - x, the derivatives along the way, and the residual."""
    turns, y = [], x
    for _ in range(period):
        turns.append(looped.at(y))
        y = looped.step(y)
    gap = y - x
    size = float(np.linalg.norm(gap)) / scale
    return gap, turns, size if np.isfinite(size) else np.inf
