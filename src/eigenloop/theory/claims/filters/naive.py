"""The naive route past gamma = infinity: no logarithms, no windows, nothing of `theory`.

    f = int_0^inf P(t) sum_{i>m} w_i / (1 + 2 t w_i) dt,    P(t) = prod_i (1 + 2 t w_i)^{-1/2}

by the trapezoidal rule in log t on one wide grid, with w_i = p(lambda_i)^2 multiplied out; its
derivatives by a complex step, f'(x) = Im f(x + i h)/h, which has no cancellation (Squire and Trapp
1998). Any A and B, by the eigenvalues of C = M^L (M^L)^T; and the loop itself, query by query.
"""

from collections.abc import Callable, Sequence

import numpy as np

S = np.arange(-45.0, 160.0, 0.1)
"""log t: the integrand of every loss here is below 1e-20 of its largest value outside."""
STEP = 1e-30
"""Of the complex step."""

Numbers = Sequence[float] | np.ndarray


def loss(values: Numbers, filtered: np.ndarray, multiplicity: int) -> complex:
    """E[dist(y, PS)^2] where y = p(S) q.

    Args:
        values: lambda_i; only their number counts.
        filtered: p(lambda_i), real, or complex for derivatives.
        multiplicity: m, of the first of them.
    """
    assert len(values) == len(filtered)
    w = (filtered / abs(filtered).max()) ** 2
    t = np.exp(S)[:, None]
    grown = 1 + 2 * t * w
    laplace = np.exp(-0.5 * np.log(grown).sum(1))
    return complex(0.1 * np.sum(laplace * (t * w / grown)[:, multiplicity:].sum(1)))


def at_root(values: Numbers, rho: float, loops: int, multiplicity: int) -> float:
    """f of the power method of S - rho I."""
    return loss(values, (np.asarray(values) - rho) ** loops, multiplicity).real


def slope_at_root(values: Numbers, rho: float, loops: int, multiplicity: int) -> float:
    """f'(rho)."""
    moved = (np.asarray(values) - (rho + 1j * STEP)) ** loops
    return loss(values, moved, multiplicity).imag / STEP


def gradient(of: Callable[[np.ndarray], complex], at: np.ndarray) -> np.ndarray:
    """The gradient of a real function of several numbers that takes complex ones."""
    return np.array([of(at + 1j * STEP * e).imag / STEP for e in np.eye(len(at))])


def of_layers(values: Numbers, layers: np.ndarray, multiplicity: int) -> complex:
    """f of q <- N(c_l q + gamma_l S q); layers has rows (c_l, gamma_l), (L, 2)."""
    filtered = np.prod(layers[:, :1] + layers[:, 1:] * np.asarray(values), axis=0)
    return loss(values, filtered, multiplicity)


def of_tied(values: Numbers, state: np.ndarray, loops: int, multiplicity: int) -> complex:
    """f at (a, b, c) of q <- N(c q + a b S q)."""
    a, b, c = state
    return loss(values, (c + a * b * np.asarray(values)) ** loops, multiplicity)


def descended(
    values: Numbers, start: Numbers, *, rates: Numbers, loops: int, multiplicity: int, steps: int
) -> np.ndarray:
    """(a, b, c) after plain gradient descent with one rate for each of the three."""
    state = np.array(start, np.float64)
    for _ in range(steps):
        slopes = gradient(lambda x: of_tied(values, x, loops, multiplicity), state)
        state = state - np.asarray(rates) * slopes
    return state


def of_matrices(
    values: np.ndarray, a: np.ndarray, b: np.ndarray, loops: int, multiplicity: int
) -> float:
    """f of q <- N(q + A S B q) for any A and B, S = diag(values): y has covariance M^L (M^L)^T."""
    loop = np.eye(len(values)) + a @ (values[:, None] * b)
    power = np.linalg.matrix_power(loop, loops)
    size, vectors = np.linalg.eigh(power @ power.T)
    size = np.maximum(size, 0.0) / size.max()
    outside = (vectors[multiplicity:] ** 2).sum(0)
    t = np.exp(S)[:, None]
    grown = 1 + 2 * t * size
    laplace = np.exp(-0.5 * np.log(grown).sum(1))
    return float(0.1 * np.sum(laplace * ((t * size / grown) @ outside)))


def sector_curvatures(
    values: np.ndarray, a: float, b: float, loops: int, multiplicity: int, *, step: float
) -> dict[str, np.ndarray]:
    """Mean second differences over a basis of each sector, (dA, dB) entries of 2 x 2 matrices.

    A mean over an orthonormal basis is the mean over the sector: the trace of the quadratic form.
    """
    dim, found = len(values), {}
    base = of_matrices(values, a * np.eye(dim), b * np.eye(dim), loops, multiplicity)
    for name, basis in _bases(values).items():
        total, count = np.zeros(3), 0
        for direction, times in basis:
            for k, (xi, eta) in enumerate(((1, 0), (0, 1), (1, 1))):
                both = sum(
                    of_matrices(
                        values,
                        a * np.eye(dim) + sign * step * xi * direction,
                        b * np.eye(dim) + sign * step * eta * direction,
                        loops,
                        multiplicity,
                    )
                    for sign in (1, -1)
                )
                total[k] += times * (both - 2 * base) / step**2
            count += times
        first, second, sum_of_both = total / count
        mixed = (sum_of_both - first - second) / 2
        found[name] = np.array([[first, mixed], [mixed, second]])
    return found


def _bases(values: np.ndarray) -> dict[str, list[tuple[np.ndarray, int]]]:
    """Unit-Frobenius matrices, each with the number of those that equal values make its like."""
    dim, pairs = len(values), {}
    for i in range(dim):
        for j in range(i + 1, dim):
            pairs.setdefault((values[i], values[j]), []).append((i, j))
    skew, symmetric = [], []
    for places in pairs.values():
        i, j = places[0]
        for kept, sign in ((skew, -1.0), (symmetric, 1.0)):
            matrix = np.zeros((dim, dim))
            matrix[i, j], matrix[j, i] = np.sqrt(0.5), sign * np.sqrt(0.5)
            kept.append((matrix, len(places)))
    for k in range(1, dim):  # Helmert's diagonal matrices without trace
        diagonal = np.concatenate([np.ones(k), [-k], np.zeros(dim - k - 1)]) / np.sqrt(k * (k + 1))
        symmetric.append((np.diag(diagonal), 1))
    return {"antisymmetric": skew, "symmetric traceless": symmetric}


def looped(values: Numbers, q: np.ndarray, gammas: Numbers, residual: float = 1.0) -> np.ndarray:
    """dist(y_L, PS)^2 of each query, by the loop itself; q (N, d), PS of the largest value."""
    some = np.asarray(values, np.float64)
    for gamma in np.asarray(gammas):
        q = residual * q + gamma * some * q
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
    return (q[:, some < some.max()] ** 2).sum(1)
