"""The power method, angles to a principal subspace, contraction factors and loop counts (NumPy or
JAX arrays).

With S = sum_i lambda_i u_i u_i^T, a start q = sum_i c_i u_i and mu_i = 1 + gamma lambda_i (one loop
of a scalar model; mu_i = lambda_i for the power method itself), the state after k loops has
coordinates mu_i^k c_i up to its norm. Source: arXiv 2606.00605, Thms 4.6 and 4.7 and Eq. (D.1).
"""

from typing import Any

import numpy as np

from eigenloop.numerics.spectrum import TIE_TOLERANCE, Numbers, sorted_eigenvalues, top_multiplicity
from eigenloop.system.errors import InputError

Array = Any
"""A NumPy or JAX array: these functions use whichever library made their argument."""


def normalize(vector: Array) -> Array:
    """N(z) = z / ||z||_2 along the last axis; the zero vector stays zero.

    Squares must stay in the range of the dtype: for JAX arrays in float32, lengths between 1e-19
    and 1e19. NumPy arrays are rescaled where they leave it.

    Example:
        >>> normalize(np.array([3.0, 4.0]))
        array([0.6, 0.8])
    """
    xp = vector.__array_namespace__()
    if isinstance(vector, np.ndarray):
        vector = _in_range(vector)
    square = xp.sum(vector * vector, axis=-1, keepdims=True)
    return vector / xp.sqrt(xp.where(square > 0, square, xp.ones_like(square)))


def power_method(matrix: Array, start: Array, *, loops: int) -> Array:
    """Iterates q_0..q_K of q_k = N(S q_{k-1}) with q_0 = N(start).

    Args:
        matrix: (d, d), symmetric positive semidefinite.
        start: (d,), not zero.
        loops: K >= 0.

    Returns:
        (K + 1, d), unit rows.

    Example:
        >>> power_method(np.diag([2.0, 1.0]), np.array([1.0, 1.0]), loops=60)[-1].round(12)
        array([1., 0.])
    """
    xp = matrix.__array_namespace__()
    states = [normalize(start)]
    for _ in range(loops):
        states.append(normalize(matrix @ states[-1]))
    return xp.stack(states)


def sin_angle(vectors: Array, basis: Array) -> Array:
    """Sine of the angle between vectors and a subspace, from the perpendicular part (no
    cancellation near 0).

    sin(phi) = ||y - U U^T y|| / ||y||.

    Args:
        vectors: (..., d), not zero.
        basis: (d, m) with orthonormal columns.

    Returns:
        (...,) in [0, 1].

    Example:
        >>> sin_angle(np.array([1.0, 1e-12]), np.array([[1.0], [0.0]]))
        np.float64(1e-12)
    """
    xp = vectors.__array_namespace__()
    perpendicular = vectors - (vectors @ basis) @ basis.T
    return xp.linalg.vector_norm(perpendicular, axis=-1) / xp.linalg.vector_norm(vectors, axis=-1)


def contraction_factor(eigenvalues: Numbers, *, gamma: float | None = None) -> float:
    """Factor by which tan(phi) to the principal subspace falls per loop, asymptotically.

    max_{i>m} |mu_i| / |mu_1|: (1 + gamma lambda_{m+1}) / (1 + gamma lambda_1) at gamma >= 0 and
    lambda_{m+1} / lambda_1 for the power method (gamma = None). At gamma < 0 the loop is the power
    method of S - rho I, rho = -1/gamma, and the factor may be 1 or more: the angle does not fall.
    Source: arXiv 2606.00605, Thms 4.6 and 4.7, for gamma >= 0.

    Args:
        eigenvalues: spectrum of S, any order.
        gamma: a b of the scalar model, or None for gamma -> infinity.

    Returns:
        A number in [0, 1) at gamma >= 0; 1.0 for a tight frame, whose angle never falls; infinite
        at gamma = -1/lambda_1.

    Example:
        >>> contraction_factor([5, 4, 1]), contraction_factor([5, 4, 1], gamma=1.0)
        (0.8, 0.8333333333333334)
        >>> contraction_factor([5, 4, 1], gamma=-0.4), contraction_factor([5, 4, 1], gamma=-0.25)
        (0.6, 3.0)
    """
    values = sorted_eigenvalues(eigenvalues)
    m = top_multiplicity(values)
    if m == values.size:
        return 1.0
    mu = _loop_eigenvalues(values, gamma)
    if gamma is not None and gamma < 0:
        return float(abs(mu[m:]).max() / abs(mu[0])) if mu[0] else np.inf
    return float(mu[m] / mu[0])


def predicted_sines(
    eigenvalues: Numbers, coordinates: Numbers, *, loops: int, gamma: float | None = None
) -> np.ndarray:
    """Exact sin(phi_k), k = 0..K, of the scalar model or the power method (arXiv 2606.00605, Eq.

    D.1).

    sin^2(phi_k) = sum_{i>m} mu_i^{2k} c_i^2 / sum_i mu_i^{2k} c_i^2.

    Args:
        eigenvalues: (d,), descending.
        coordinates: c_i = u_i . q, (..., d), in the same order.
        loops: K >= 0.
        gamma: as for `contraction_factor`.

    Returns:
        float64 (K + 1, ...).

    Raises:
        InputError: eigenvalues that do not descend.

    Example:
        >>> predicted_sines([2, 1], [1.0, 1.0], loops=1).round(4)
        array([0.7071, 0.4472])
    """
    values = _descending(eigenvalues)
    m = top_multiplicity(values)
    mu = abs(_loop_eigenvalues(values, gamma))
    squares = _in_range(np.asarray(coordinates, dtype=np.float64)) ** 2
    # relative to the largest |mu_i| that the start has a part in: the largest weight is never 0
    first = np.max(np.where(squares > 0, mu, 0.0), axis=-1, keepdims=True)
    ratios = np.where(squares > 0, np.where(first > 0, mu / np.where(first > 0, first, 1), 1), 0)
    weights = squares * ratios ** (2 * np.arange(loops + 1).reshape((-1,) + (1,) * squares.ndim))
    rest, whole = weights[..., m:].sum(-1), weights.sum(-1)
    return np.sqrt(rest / whole)


def sine_bounds(
    eigenvalues: Numbers, coordinates: Numbers, *, loops: int, gamma: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The two bounds of Theorem 4.6 on sin(phi_k), k = 0..K, for a unit start.

    |c_{m+1}| r^k <= sin(phi_k) <= (||q_perp|| / ||q_par||) r^k with r = mu_{m+1} / mu_1;
    |c_{m+1}| is taken as the norm of the coordinates that share lambda_{m+1}, which is the largest
    value that a choice of basis can give it. At gamma < 0 they are those of the largest |mu_i|
    outside, r is `contraction_factor`, and the lower bound has min(r, 1).

    Args:
        eigenvalues: (d,), descending, not all equal.
        coordinates: c_i = u_i . q, (..., d), of unit vectors q that are not orthogonal to the
            principal subspace.
        loops: K >= 0.
        gamma: as for `contraction_factor`.

    Returns:
        (lower, upper), float64 (K + 1, ...) each.

    Raises:
        InputError: eigenvalues that do not descend.

    Example:
        >>> lower, upper = sine_bounds([2, 1], [0.6, 0.8], loops=2)
        >>> lower.round(3).tolist(), upper.round(3).tolist()
        ([0.8, 0.4, 0.2], [1.333, 0.667, 0.333])
    """
    values = _descending(eigenvalues)
    m = top_multiplicity(values)
    c = np.asarray(coordinates, dtype=np.float64)
    if gamma is not None and gamma < 0:
        mu = abs(_loop_eigenvalues(values, gamma)[m:])
        slowest = m + np.flatnonzero(mu >= (1 - TIE_TOLERANCE) * mu.max())
    else:
        full = values[m:].size > 1 and values[m] > 0
        slowest = np.arange(m, m + top_multiplicity(values[m:]) if full else values.size)
    ratio = contraction_factor(values, gamma=gamma)
    steps = np.arange(loops + 1).reshape((-1,) + (1,) * (c.ndim - 1))
    factor, norm = ratio**steps, np.linalg.norm
    lower = norm(c[..., slowest], axis=-1) * min(ratio, 1.0) ** steps
    upper = norm(c[..., m:], axis=-1) / norm(c[..., :m], axis=-1) * factor
    return lower, upper


def loops_needed(
    eigenvalues: Numbers, *, tan_start: float, tolerance: float, gamma: float | None = None
) -> int | None:
    """Loops that suffice for an angle of at most `tolerance` by the upper bound of Theorem 4.6.

    k = max(0, ceil(log(tan(phi_0) / eps) / log(mu_1 / mu_{m+1}))).

    Args:
        eigenvalues: spectrum of S, any order.
        tan_start: tan(phi_0), >= 0.
        tolerance: eps > 0, the sine (or angle in radians, when small) to reach.
        gamma: as for `contraction_factor`.

    Returns:
        The number of loops; None when the factor is 1 (a tight frame) or the start is orthogonal to
        the subspace.

    Raises:
        InputError: tolerance <= 0.

    Example:
        >>> loops_needed([2, 1], tan_start=1.0, tolerance=1e-2)
        7
    """
    if not tolerance > 0:
        raise InputError(f"tolerance is {tolerance:g}; it must be above 0")
    if tan_start <= tolerance:
        return 0
    factor = contraction_factor(eigenvalues, gamma=gamma)
    if factor >= 1 or not np.isfinite(tan_start):
        return None
    if factor == 0:
        return 1
    return int(np.ceil(np.log(tan_start / tolerance) / -np.log(factor)))


def _descending(eigenvalues: Numbers) -> np.ndarray:
    """The eigenvalues as they are, for coordinates in the same order."""
    values = np.asarray(eigenvalues, dtype=np.float64)
    rises = np.flatnonzero(np.diff(values) > 0)
    if rises.size:
        i = int(rises[0])
        raise InputError(
            f"eigenvalue {i + 2} is {values[i + 1]:g}, above {values[i]:g} before it; give them in"
            " descending order, and the coordinates with them"
        )
    return values


def _in_range(vectors: np.ndarray) -> np.ndarray:
    """Rows whose squares leave the range of the dtype, divided by their largest entry; the
    others as they are.
    """
    if not np.issubdtype(vectors.dtype, np.floating):
        return vectors
    peak = np.max(np.abs(vectors), axis=-1, keepdims=True, initial=0)
    info = np.finfo(vectors.dtype)
    low, high = np.sqrt(info.tiny), np.sqrt(info.max) / (1 + vectors.shape[-1])
    away = (peak > 0) & ((peak < low) | (peak > high)) & np.isfinite(peak)
    return vectors / np.where(away, peak, 1).astype(vectors.dtype) if away.any() else vectors


def _loop_eigenvalues(values: np.ndarray, gamma: float | None) -> np.ndarray:
    """mu_i of one loop: 1 + gamma lambda_i, or lambda_i for the power method."""
    if gamma is None:
        return values
    if not np.isfinite(gamma):
        raise InputError(f"gamma is {gamma:g}; it must be a finite number")
    return 1 + gamma * values
