"""Loops as filters, in and out of distribution: their loss, and whether they converge (NumPy).

L layers q <- N((S - rho_l I) q) make N(p(S) q), p(lambda) = prod_l (lambda - rho_l): a layer
N(c q + gamma S q) has the root rho = -c/gamma, the power method has L roots at 0. Exactly,

    f = E[sum_{i>m} c_i^2 p(lambda_i)^2 / sum_i c_i^2 p(lambda_i)^2],   c_i = u_i . q,

and repeating the L layers converges to PS(X), from every q not orthogonal to it, if and only if
|p(lambda_i)| < |p(lambda_1)| for every i > m. Beside them stands what no loop of fixed layers can
do: the method of Lanczos and the best vector of the Krylov space, which both look at X.
Nothing of this is in arXiv 2606.00605; Chebyshev iteration and Lanczos are textbook matter.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from eigenloop.numerics.spectrum import Numbers, require_gap
from eigenloop.system.errors import InputError
from eigenloop.theory.filters.layers import Filter, distinct_below, filter_gradient, filter_loss
from eigenloop.theory.integrals import Estimate, log_share
from eigenloop.theory.population import check_loops, spectra

BREAKDOWN = 1e-10
"""A Krylov space ends where what S adds to it is shorter than this fraction of S's last image."""
MOST_STEPS = 400
"""Of the search for the best roots."""


def chebyshev_roots(low: float, high: float, *, loops: int) -> np.ndarray:
    """The roots of the Chebyshev polynomial on [low, high]: there it is smallest, beyond largest.

    rho_l = (low + high)/2 + (high - low)/2 cos((2l - 1) pi/(2L)).

    Args:
        low: lower end of the interval that the rest of the spectrum is thought to lie in.
        high: its upper end, above `low`.
        loops: L >= 1.

    Returns:
        (L,) float64, descending.

    Raises:
        InputError: an empty interval; fewer than one loop.

    Example:
        >>> chebyshev_roots(0.0, 2.0, loops=2).round(4)
        array([1.7071, 0.2929])
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError(f"the interval is [{low:g}, {high:g}]; its ends must ascend")
    angle = (2 * np.arange(1, check_loops(loops) + 1) - 1) * np.pi / (2 * loops)
    return (low + high) / 2 + (high - low) / 2 * np.cos(angle)


def layer_losses(roots: Numbers, eigenvalues: Numbers) -> Estimate:
    """f of the layers with these roots on each spectrum, an exact integral over q; it may be 0.

    Args:
        roots: rho_l, (L,); infinite for a layer that does nothing.
        eigenvalues: of S; (d,) or (B, d), any order, not all equal.

    Returns:
        The loss and its relative error, a number or (B,). `filter_loss` has their mean.

    Raises:
        InputError: roots that are no numbers, or on every eigenvalue of a spectrum.

    Example:
        >>> float(layer_losses([1.0, 2.0], [3.0, 2.0, 1.0]).value)
        0.0
    """
    rows, m = _spectra(eigenvalues)
    found = log_share(_log_weights(roots, rows), m)
    value = np.exp(found.value)
    one = np.ndim(np.asarray(eigenvalues, np.float64)) == 1
    return Estimate(value[0], found.error[0]) if one else Estimate(value, found.error)


def pass_factor(roots: Numbers, eigenvalues: Numbers) -> np.ndarray:
    """max_{i>m} |p(lambda_i)| / |p(lambda_1)|: what tan(phi) is at most multiplied by in a pass.

    Repeating the pass of L layers converges on a spectrum if and only if this is below 1; then
    |c_j| r^k <= sin(phi_k) <= (||q_perp|| / ||q_par||) r^k after k passes, r the factor and j where
    the maximum is: Theorem 4.6 of arXiv 2606.00605 with p in the place of 1 + gamma lambda.

    Args:
        roots: rho_l, (L,); infinite for a layer that does nothing.
        eigenvalues: of S; (d,) or (B, d), any order, not all equal.

    Returns:
        A number or (B,); infinite where p(lambda_1) = 0.

    Raises:
        InputError: as for `layer_losses`.

    Example:
        >>> [round(float(pass_factor([rho], [5, 4, 1])), 12) for rho in (0.0, 2.5, 3.5)]
        [0.8, 0.6, 1.666666666667]
    """
    rows, m = _spectra(eigenvalues)
    log_values = _log_weights(roots, rows) / 2
    with np.errstate(over="ignore", divide="ignore"):
        factor = np.exp(log_values[:, m:].max(1)) / np.exp(log_values[:, 0])
    return np.asarray(factor[0]) if np.ndim(np.asarray(eigenvalues)) == 1 else factor


def best_roots(eigenvalues: Numbers, *, loops: int, starts: int = 3) -> np.ndarray:
    """Roots of L layers of their own with a mean loss that no start tried falls below.

    For one spectrum with k <= L distinct eigenvalues under lambda_1 these are roots: the loss is 0.
    Otherwise L-BFGS on the logarithm of the mean loss, from Chebyshev roots on intervals that reach
    from 0 to quantiles of lambda_{m+1}: a local minimum, and no proof that it is the lowest.

    Args:
        eigenvalues: of S; (d,) or (B, d).
        loops: L >= 1.
        starts: intervals to start from.

    Returns:
        (L,) float64, ascending.

    Example:
        >>> best_roots([4.0, 2.0, 1.0, 1.0], loops=3)
        array([0., 1., 2.])
    """
    rows, m = _spectra(eigenvalues)
    distinct = distinct_below(rows[0])
    if len(rows) == 1 and len(distinct) <= check_loops(loops):
        return np.sort(np.concatenate([distinct, np.zeros(loops - len(distinct))]))
    ends = np.quantile(rows[:, m], np.linspace(0.2, 0.9, starts))
    found = [
        minimize(
            _log_loss,
            chebyshev_roots(0.0, float(end), loops=loops),
            args=(rows,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MOST_STEPS, "ftol": 1e-11, "gtol": 1e-7},
        )
        for end in ends
    ]
    return np.sort(min(found, key=lambda each: each.fun).x)


class Krylov(NamedTuple):
    """What can be had of span(q, Sq, ..., S^L q), for each spectrum and query."""

    lanczos: np.ndarray
    """dist^2 of the Ritz vector of the largest Ritz value, (B, K)."""
    best: np.ndarray
    """The least dist^2 in the space, (B, K): no method of L products with S has less."""


def krylov_losses(eigenvalues: Numbers, query: np.ndarray, *, loops: int) -> Krylov:
    """Lanczos, and the best vector, in the Krylov space of L products with S.

    With an orthonormal basis V of the space: the leading eigenvector of V^T S V, lifted; and
    1 - sigma_1(U^T V)^2, U a basis of PS(X).

    Args:
        eigenvalues: of S = diag(lambda); (d,) or (B, d), any order, not all equal.
        query: q in the basis of the eigenvectors, descending, not zero; (K, d) for all spectra, or
            (B, K, d).
        loops: L >= 1.

    Returns:
        Both losses, (B, K).

    Example:
        >>> found = krylov_losses([3.0, 1.0], np.array([[0.6, 0.8]]), loops=1)
        >>> bool(found.lanczos[0, 0] < 1e-15), bool(found.best[0, 0] < 1e-15)
        (True, True)
    """
    rows, m = _spectra(eigenvalues)
    basis = _krylov_basis(rows[:, None, :], np.asarray(query, np.float64), check_loops(loops))
    ritz = np.linalg.eigh(np.einsum("bkld,bd,bknd->bkln", basis, rows, basis))[1][..., -1]
    vector = np.einsum("bkld,bkl->bkd", basis, ritz)
    inside = np.linalg.svd(basis[..., :m], compute_uv=False)[..., 0]
    lanczos = (vector[..., m:] ** 2).sum(-1) / (vector**2).sum(-1)
    return Krylov(lanczos, np.maximum(1 - inside**2, 0.0))


def _krylov_basis(rows: np.ndarray, query: np.ndarray, loops: int) -> np.ndarray:
    """Orthonormal vectors, (B, K, L + 1, d); zero ones once the space is complete."""
    first = np.broadcast_to(query, (len(rows), *query.shape[-2:]))
    basis = [first / np.linalg.norm(first, axis=-1, keepdims=True)]
    for _ in range(loops):
        image = rows * basis[-1]
        length, new = np.linalg.norm(image, axis=-1, keepdims=True), image
        for _ in range(2):  # once more: one pass leaves what rounding made of the first
            for each in basis:
                new = new - (new * each).sum(-1, keepdims=True) * each
        size = np.linalg.norm(new, axis=-1, keepdims=True)
        done = size <= BREAKDOWN * length
        basis.append(np.where(done, 0.0, new / np.where(done, 1.0, size)))
    return np.stack(basis, axis=2)


def _log_loss(roots: np.ndarray, rows: np.ndarray) -> tuple[float, np.ndarray]:
    """log of the mean loss, and its gradient: rho_l = -c_l where gamma_l = 1."""
    of = Filter.with_roots(roots)
    mean = float(filter_loss(rows, of).value)
    return float(np.log(mean)), -filter_gradient(rows, of).residuals / mean


def _log_weights(roots: Numbers, rows: np.ndarray) -> np.ndarray:
    """log p(lambda_i)^2, relative to the largest of a row; (B, d)."""
    rho = np.atleast_1d(np.asarray(roots, np.float64))
    if rho.ndim != 1 or np.isnan(rho).any():
        raise InputError("roots must be a list of numbers, one for each layer")
    rho = rho[np.isfinite(rho)]
    if (rows[..., None] == rho).any(-1).all(-1).any():
        raise InputError("every eigenvalue is a root, which maps each query to 0; move a root")
    return Filter.with_roots(rho).log_weights(rows)


def _spectra(eigenvalues: Numbers) -> tuple[np.ndarray, int]:
    rows = spectra(eigenvalues)
    return rows, require_gap(rows[0])
