"""Is A_l = aI, B_l = bI stable where every layer has its own matrices? In NumPy, float64.

The loss of L untied layers at a tied point: its Hessian commutes with O(d), so it splits into the
three sectors of `modes`, each with one symmetric 2L x 2L matrix for (dA_1..dA_L, dB_1..dB_L). With
A_l = aI + xi_l E and B_l = bI + eta_l E the product M = M_L ... M_1 changes by

    T1 = sum_l mu^{L-l} X_l mu^{l-1},   (X_l)_ij = E_ij (xi_l b lambda_j + eta_l a lambda_i),
    T2 = sum_l xi_l eta_l mu^{L-l} E S E mu^{l-1} + sum_{l>k} mu^{L-l} X_l mu^{l-k-1} X_k mu^{k-1},

mu = diag(1 + gamma lambda_i), and f = int_0^inf det(I + 2tC)^{-1/2} tr(P_perp C (I + 2tC)^{-1}) dt,
C = M M^T, to second order, averaged over E in its sector, is a one-dimensional integral. Summed
over layers it is the Hessian of the tied model. Terms are expanded one by one, so digits are lost
like (mu_1/mu_i)^{2L}: `error` says how many, and `hessian` keeps them for tied layers. gamma may
have either sign. Derived here; nothing of it is in arXiv 2606.00605.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from eigenloop.system.errors import InputError
from eigenloop.theory.integrals import Nodes, expectation, log_sum, safe_log
from eigenloop.theory.population import EPSILON, EndToEnd
from eigenloop.theory.stability.end_to_end import Moments
from eigenloop.theory.stability.modes import Sector, sectors

TERMS = 64
"""Roundings of a sum that its error allows for."""


class UntiedMode(NamedTuple):
    """What the Hessian does in one sector, in the basis (dA_1..dA_L, dB_1..dB_L)."""

    sector: Sector
    hessian: np.ndarray
    """(2L, 2L), symmetric, float64: the mean over spectra."""
    error: float
    """How far quadrature and rounding may move an entry."""
    eigenvalues: np.ndarray
    """(2L,), ascending."""
    vectors: np.ndarray
    """(2L, 2L): their eigenvectors, one to a column."""

    @property
    def lowest_sign(self) -> int | None:
        """1, -1, or None where the lowest eigenvalue is within what errors of entries can do."""
        low, bound = float(self.eigenvalues[0]), len(self.eigenvalues) * self.error
        return None if abs(low) <= bound else 1 if low > 0 else -1

    @property
    def tied(self) -> np.ndarray:
        """(2, 2): the sum over layers, which is the Hessian of layers that share their weights."""
        half = len(self.hessian) // 2
        return self.hessian.reshape(2, half, 2, half).sum((1, 3))


def untied_hessian(setting: EndToEnd, *, a: float, b: float) -> dict[str, UntiedMode]:
    """The population Hessian of L untied layers at A_l = aI, B_l = bI, sector by sector.

    Args:
        setting: spectra and L.
        a: of A_l = aI.
        b: of B_l = bI; a b of either sign.

    Returns:
        Sector name -> mode.

    Raises:
        InputError: a or b is not finite; 1 + a b lambda_i = 0 for the largest eigenvalue.

    Example:
        >>> modes = untied_hessian(EndToEnd([2.0, 1.0], loops=2), a=1.0, b=0.5)
        >>> modes["scalar"].hessian.shape
        (4, 4)
    """
    if not (np.isfinite(a) and np.isfinite(b)):
        raise InputError(f"a is {a:g} and b is {b:g}; both must be finite numbers")
    if 1 + a * b * setting.rows[0, 0] == 0:
        raise InputError(f"gamma is {a * b:g} = -1/lambda_1, where the loss is 1 for every query")
    found = {}
    for sector in sectors(setting.dim):
        if sector.dimension == 0:
            continue
        each = [_of_spectrum(row, sector.moments, setting, a, b) for row in setting.rows]
        matrix = np.mean([value for value, _ in each], axis=0)
        values, vectors = np.linalg.eigh(matrix)
        error = float(np.mean([size for _, size in each]))
        found[sector.name] = UntiedMode(sector, matrix, error, values, vectors)
    return found


def _of_spectrum(
    row: np.ndarray, moments: Moments, setting: EndToEnd, a: float, b: float
) -> tuple[np.ndarray, float]:
    """The Hessian (2L, 2L), and what its entries may be off by."""
    kernels = [
        _Kernels.of(row, moments, setting.loops, a, b, clean) for clean in (np.asarray, np.abs)
    ]
    ends, m = kernels[0].ends, setting.multiplicity

    log_weights = 2 * safe_log(abs(ends))[None]

    def log_u(nodes: Nodes) -> np.ndarray:
        return -np.logaddexp(0.0, nodes.s[..., None] + np.log(2) + log_weights[:, None, :])

    def integrand(of: _Kernels) -> Callable[[Nodes], np.ndarray]:
        return lambda nodes: of.at(np.exp(nodes.s[0]), np.exp(log_u(nodes)[0]), m)[None]

    def bound(nodes: Nodes) -> np.ndarray:
        return nodes.s + log_sum(log_u(nodes)[..., m:])

    value, size = (expectation(integrand(of), log_weights, bound=bound) for of in kernels)
    matrix = 2 * value.value[0]
    error = (
        2 * abs(size.value[0]).max() * EPSILON * TERMS + float(value.error[0]) * abs(matrix).max()
    )
    return (matrix + matrix.T) / 2, float(error)


class _Kernels(NamedTuple):
    """Second-order terms, P = 2L directions by P directions by what is summed over."""

    ends: np.ndarray
    """(mu_i / mu_max)^L, (d,)."""
    second: np.ndarray
    """E[C2_ii], (P, P, d)."""
    mixed: np.ndarray
    """E[C1_ij^2], (P, P, d, d)."""
    diagonal: np.ndarray
    """E[C1_ii C1_jj], (P, P, d, d)."""
    sign: float
    """-1; 1 where every term counts by its size."""

    @classmethod
    def of(
        cls, row: np.ndarray, moments: Moments, loops: int, a: float, b: float, clean: Callable
    ) -> "_Kernels":
        """The terms, or (clean = abs) bounds of their sizes."""
        alpha, beta, kappa = (float(clean(moment)) for moment in moments)
        dim, eye = row.size, np.eye(row.size)
        same, swapped = alpha + (beta + kappa) * eye, beta + (alpha + kappa) * eye
        apart = kappa + (alpha + beta) * eye
        mu = 1 + a * b * row
        scale = abs(mu).max()
        mu = clean(mu / scale)
        pulls = np.stack([np.broadcast_to(b * row, (dim, dim)), np.tile(a * row[:, None], dim)])
        pulls = clean(pulls / scale)  # of dA and of dB, E_ij's factor
        before = mu ** np.arange(loops)[:, None]  # mu_j^{l-1}
        after = before[::-1]  # mu_i^{L-l}
        first = np.einsum("kij,li,lj->klij", pulls, after, before).reshape(-1, dim, dim)
        ends = mu**loops
        twice = _second_order(row / scale, pulls, swapped, mu, loops)
        straight = np.einsum("pij,qij->pqij", first, first) * same
        turned = first.transpose(0, 2, 1)
        crossed = np.einsum("pij,qij->pqij", first, turned)
        crossed = (crossed + crossed.transpose(1, 0, 2, 3)) * swapped * np.outer(ends, ends)
        own = straight * ends**2
        corner = np.einsum("pii->pi", first) * ends
        return cls(
            ends,
            2 * ends * twice + straight.sum(3),
            own + own.transpose(0, 1, 3, 2) + crossed,
            4 * np.einsum("pi,qj->pqij", corner, corner) * apart,
            1.0 if clean is np.abs else -1.0,
        )

    def at(self, t: np.ndarray, u: np.ndarray, m: int) -> np.ndarray:
        """t times the second-order term of the integrand over P(t), at nodes (N,), (N, d).

        tr(P_perp (U C2 U - 2t U C1 U C1 U)) - t tr(P_perp U C1 U) tr(U C1)
        + tr(P_perp U C) (-t tr(U C2) + t^2 tr(U C1 U C1) + t^2/2 tr(U C1)^2), U = (I + 2tC)^{-1}.
        """
        rest, sign = u.copy(), self.sign
        rest[:, :m] = 0
        outside = (t * (rest @ self.ends**2))[:, None, None]
        t1, t2 = t[:, None, None], (t * t)[:, None, None]
        pairs, cut = u[:, :, None] * u[:, None, :], (rest**2)[:, :, None] * u[:, None, :]
        squares = _contract(pairs, self.mixed + self.diagonal / 2)
        measure = sign * t1 * _contract(u, self.second) + t2 * squares
        inner = _contract(rest**2, self.second)
        inner = inner + 2 * sign * t1 * _contract(cut, self.mixed)
        ahead = _contract(cut, self.diagonal)
        return t1 * (inner + sign * t1 * ahead) + outside * measure


def _contract(at_nodes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Sums of (N, ...) against (P, P, ...) over the dots; (N, P, P)."""
    sizes = kernel.shape[:2]
    flat = kernel.reshape(sizes[0] * sizes[1], -1)
    return (at_nodes.reshape(len(at_nodes), -1) @ flat.T).reshape(-1, *sizes)


def _second_order(
    row: np.ndarray, pulls: np.ndarray, swapped: np.ndarray, mu: np.ndarray, loops: int
) -> np.ndarray:
    """E[(T2)_ii] as a symmetric form of two directions, (2L, 2L, d)."""
    dim, count = row.size, 2 * loops
    found = np.zeros((2, loops, 2, loops, dim))
    powers = mu ** np.arange(loops)[:, None]
    for late in range(loops):
        own = powers[loops - 1] * (swapped @ row) / 2
        found[0, late, 1, late] += own
        found[1, late, 0, late] += own
        for early in range(late):
            edge = powers[loops - 1 - late] * powers[early]  # of mu_i
            between = powers[late - early - 1]  # of mu_j
            term = np.einsum("kij,mji,ij,j->kmi", pulls, pulls, swapped, between) * edge / 2
            found[:, late, :, early] += term
            found[:, early, :, late] += term.transpose(1, 0, 2)
    return found.reshape(count, count, dim)
