"""Where a looped map ends and how fast it gets there, from the map and its derivative alone (NumPy and SciPy).

    x_{k+1} = f(x_k),    f(x*) = x*  or  f(f(x*)) = x*,    ||x_k - x*|| ~ r^k with r the spectral radius of f'(x*)

Plain iteration first; where that is slow, Newton's method with GMRES from where it stopped, which needs products with
f'(x) only. Worked out here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from eigenloop.lens.weights.modes import ARPACK_BASIS, ARPACK_COUNT

Map: TypeAlias = Callable[[np.ndarray], np.ndarray]
Derivative: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]

DENSE = 1024
"""Largest derivative whose eigenvalues are all computed."""

PLAIN, NEWTON = 400, 12
"""Plain iterations, and steps of Newton's method after them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Attractor:
    """Where an iteration ends: a fixed point, or two points in turn.

    Args:
        points: x*, f(x*), ..., (period, d).
        residual: ||f^p(x*) - x*|| / ||x*||.
        converged: the residual is no more than rounding leaves.
        steps: iterations, Newton's steps among them.
    """

    points: Float[np.ndarray, "p d"]
    residual: float
    converged: bool
    steps: int

    @property
    def period(self) -> int:
        """1 for a fixed point, 2 for two points in turn."""
        return len(self.points)


def attractor(
    step: Map, derivative: Derivative, start: Float[np.ndarray, " d"], *, tolerance: float = 1e-12, newton: bool = True
) -> Attractor:
    """The fixed point, or the pair of points, that the iteration from a start comes to.

    Args:
        step: f.
        derivative: (x, v) -> f'(x) v for rows v, (m, d).
        start: x_0.
        tolerance: of the residual, above what rounding leaves.
        newton: go on with Newton's method; not for a map whose iterates grow without end.

    Example:
        >>> found = attractor(lambda x: np.cos(x), lambda x, v: -np.sin(x) * v, np.array([1.0]))
        >>> found.points.round(9), found.converged
        (array([[0.73908513]]), True)
    """
    x, once, twice, steps = start, np.inf, np.inf, 0
    previous = np.full_like(start, np.inf)
    for steps in range(1, PLAIN + 1):  # noqa: B007 - counted for the result
        after = step(x)
        size = float(np.linalg.norm(after)) or 1.0
        once, twice = (float(np.linalg.norm(after - other)) / size for other in (x, previous))
        previous, x = x, after
        if once < tolerance or (twice < tolerance and once > 1e-3):
            break
    period = 2 if twice < 0.1 * once else 1
    residual = twice if period == 2 else once
    if residual >= tolerance and newton and np.isfinite(x).all():
        x, residual, more = _newton(step, derivative, x, period, tolerance)
        steps += more
    points = [x] if period == 1 else [x, step(x)]
    if period == 2 and np.linalg.norm(points[1] - x) < 1e-6 * np.linalg.norm(x):  # it came to one point in turns
        points, residual = [x], float(np.linalg.norm(points[1] - x) / np.linalg.norm(x))
        if residual >= tolerance and newton:
            points[0], residual, more = _newton(step, derivative, x, 1, tolerance)
            steps += more
    return Attractor(points=np.stack(points), residual=residual, converged=residual < tolerance, steps=steps)


def _newton(
    step: Map, derivative: Derivative, x: np.ndarray, period: int, tolerance: float
) -> tuple[np.ndarray, float, int]:
    """x <- x + (I - g')^{-1} (g(x) - x) for g = f^period, kept while the residual falls."""
    from scipy.sparse import linalg

    sparse: Any = linalg

    def defect(x: np.ndarray) -> tuple[np.ndarray, float]:
        y = x
        for _ in range(period):
            y = step(y)
        return y - x, float(np.linalg.norm(y - x) / (np.linalg.norm(y) or 1.0))

    gap, residual = defect(x)
    for k in range(NEWTON):
        if residual < tolerance:
            return x, residual, k
        points = [x] if period == 1 else [x, step(x)]

        if x.size <= DENSE:
            change = np.linalg.lstsq(np.eye(x.size) - _pushed(derivative, points, np.eye(x.size)).T, gap)[0]
        else:
            system = sparse.LinearOperator(
                (x.size, x.size), lambda v, points=points: v - _pushed(derivative, points, v[None])[0], dtype=float
            )
            change, _ = sparse.gmres(system, gap, rtol=1e-6, restart=80, maxiter=4)
        new = x + change
        for _ in range(period):
            new = step(new)  # back to where the map's values lie: a normalised map leaves its sphere otherwise
        after_gap, after = defect(new)
        if not after < residual:
            return x, residual, k
        x, gap, residual = new, after_gap, after
    return x, residual, NEWTON


def _pushed(derivative: Derivative, points: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The derivative of one turn after another."""
    for point in points:
        rows = derivative(point, rows)
    return rows


def leading_eigenvalue(apply: Map, size: int, *, batched: bool = False) -> tuple[complex, bool]:
    """The eigenvalue of largest modulus of a linear map, and whether it has converged.

    Args:
        apply: v -> A v.
        size: length of v.
        batched: apply takes many vectors at once, as rows.

    Example:
        >>> leading_eigenvalue(lambda v: np.array([2.0, -3.0]) * v, 2)
        ((-3+0j), True)
    """
    if size <= DENSE:
        rows = apply(np.eye(size)) if batched else np.stack([apply(row) for row in np.eye(size)])
        values = np.linalg.eigvals(rows.T)
        return complex(values[np.argmax(np.abs(values))]), True
    from scipy.sparse import linalg

    sparse: Any = linalg
    one: Map = (lambda v: apply(v[None])[0]) if batched else apply
    operator = sparse.LinearOperator((size, size), lambda v: one(np.ravel(v)), dtype=float)
    start = np.random.default_rng(0).standard_normal(size)
    try:
        values = sparse.eigs(operator, k=ARPACK_COUNT, ncv=ARPACK_BASIS, v0=start, tol=1e-6, return_eigenvectors=False)
        done = True
    except sparse.ArpackNoConvergence as error:
        values, done = error.eigenvalues, False
    if not len(values):
        return complex(np.nan), False
    return complex(values[np.argmax(np.abs(values))]), done
