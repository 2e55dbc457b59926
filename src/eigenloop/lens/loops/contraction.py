"""Where a looped map ends and how fast it gets there, from the map and its derivative alone (NumPy
and SciPy).

    x_{k+1} = f(x_k),    f(x*) = x*  or  f(f(x*)) = x*,
        ||x_k - x*|| ~ r^k with r the spectral radius of f'(x*)

Plain iteration first; where that is slow, Newton's method with GMRES from where it stopped, which
needs products with f'(x) only. Worked out here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Complex, Float

from eigenloop.lens.weights.modes import ARPACK_BASIS, ARPACK_COUNT

Map: TypeAlias = Callable[[np.ndarray], np.ndarray]
Derivative: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]

DENSE = 1024
"""Largest derivative whose eigenvalues are all computed."""

LEFT_TOLERANCE = 1e-10
"""Of the eigenvalues of larger ones: what a left vector lacks here, its coordinate shows as a
bias.
"""

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
    step: Map,
    derivative: Derivative,
    start: Float[np.ndarray, " d"],
    *,
    tolerance: float = 1e-12,
    newton: bool = True,
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
    # it came to one point in turns
    if period == 2 and np.linalg.norm(points[1] - x) < 1e-6 * np.linalg.norm(x):
        points, residual = [x], float(np.linalg.norm(points[1] - x) / np.linalg.norm(x))
        if residual >= tolerance and newton:
            points[0], residual, more = _newton(step, derivative, x, 1, tolerance)
            steps += more
    return Attractor(
        points=np.stack(points), residual=residual, converged=residual < tolerance, steps=steps
    )


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
            change = np.linalg.lstsq(
                np.eye(x.size) - _pushed(derivative, points, np.eye(x.size)).T, gap
            )[0]
        else:
            system = sparse.LinearOperator(
                (x.size, x.size),
                lambda v, points=points: v - _pushed(derivative, points, v[None])[0],
                dtype=float,
            )
            change, _ = sparse.gmres(system, gap, rtol=1e-6, restart=80, maxiter=4)
        new = x + change
        for _ in range(period):
            # back to where the map's values lie: a normalised map leaves its sphere otherwise
            new = step(new)
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


@dataclass(frozen=True, eq=False, kw_only=True)
class LeftMode:
    """The leading eigenvalue of a linear map and its left vector: l A = mu l, without a conjugate;
    c = l x.

    Args:
        value: mu, of a pair the one with a positive imaginary part.
        vector: l, (d,), of length 1; real where mu is.
        residual: ||l A - mu l||.
        converged: the iteration that found it did.
    """

    value: complex
    vector: Complex[np.ndarray, " d"] | Float[np.ndarray, " d"]
    residual: float
    converged: bool


def leading_mode(pull: Map, size: int) -> LeftMode:
    """The eigenvalue of largest modulus and its left vector, from products with the transposed map
    alone.

    Args:
        pull: rows u -> u A, (m, d) to (m, d).
        size: d.

    Example:
        >>> found = leading_mode(lambda u: u @ np.array([[2.0, 1.0], [0.0, -3.0]]), 2)
        >>> found.value, found.vector.round(12) + 0.0
        ((-3+0j), array([0., 1.]))
    """
    converged = True
    if size <= DENSE:
        values, vectors = np.linalg.eig(pull(np.eye(size)).T)
    else:
        from scipy.sparse import linalg

        sparse: Any = linalg
        operator = sparse.LinearOperator(
            (size, size), lambda u: pull(np.ravel(u)[None])[0], dtype=float
        )
        start = np.random.default_rng(0).standard_normal(size)
        try:
            values, vectors = sparse.eigs(
                operator, k=ARPACK_COUNT, ncv=ARPACK_BASIS, v0=start, tol=LEFT_TOLERANCE
            )
        except sparse.ArpackNoConvergence as error:
            values, vectors, converged = error.eigenvalues, error.eigenvectors, False
    if not len(values):
        return LeftMode(
            value=complex(np.nan), vector=np.full(size, np.nan), residual=np.inf, converged=False
        )
    first = int(np.argmax(np.abs(values)))
    value, vector = complex(values[first]), vectors[:, first]
    if value.imag == 0:
        vector = np.real(vector * np.exp(-1j * np.angle(vector[np.argmax(np.abs(vector))])))
    elif value.imag < 0:
        value, vector = value.conjugate(), vector.conj()
    vector = vector / np.linalg.norm(vector)
    residual = float(np.linalg.norm(pulled(pull, vector) - value * vector))
    return LeftMode(value=value, vector=vector, residual=residual, converged=converged)


def pulled(pull: Map, rows: np.ndarray) -> np.ndarray:
    """A real map of rows applied to one row, (...,), that may be complex."""
    parts = pull(np.stack([np.real(rows), np.imag(rows)]))
    return parts[0] + 1j * parts[1]
