"""The end-to-end loss of any filter: each loop has a residual weight c_l and a gamma_l of its own.

    q <- N(c_l q + gamma_l S q), l = 1..L:  p(lambda) = prod_l (c_l + gamma_l lambda),
    w_i = p(lambda_i)^2.

One object with two fields: the paper's loop is c_l = 1 and all gamma_l equal; a learned residual
weight is c_l = c; untied layers have c_l = 1. Only the ratios c_l : gamma_l matter, so that c df/dc
+ gamma df/dgamma = 0 in each layer:

    df/dgamma_l =  2 sum_{j>m} G_j c_l     (lambda_j - lambda_1) / (p_l(lambda_j) p_l(lambda_1)),
    df/dc_l     = -2 sum_{j>m} G_j gamma_l (lambda_j - lambda_1) / (p_l(lambda_j) p_l(lambda_1)),

with p_l(lambda) = c_l + gamma_l lambda and G_j = df / d log w_j > 0 (`theory.integrals`).
Nothing of this is in arXiv 2606.00605, whose model is the first of the three.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from eigenloop.numerics.spectrum import TIE_TOLERANCE, Numbers, require_gap, sorted_eigenvalues
from eigenloop.theory.integrals import Estimate, log_share, pulls, safe_log
from eigenloop.theory.population import spectra


@dataclass(frozen=True)
class Filter:
    """p(lambda) = prod_l (c_l + gamma_l lambda).

    Args:
        gammas: gamma_1..gamma_L, float64, any sign.
        residuals: c_1..c_L, or one c for all.

    Example:
        >>> Filter.tied(2.0, loops=3).roots
        array([-0.5, -0.5, -0.5])
    """

    gammas: np.ndarray
    residuals: np.ndarray

    @classmethod
    def of(cls, gammas: Numbers, residuals: Numbers = 1.0) -> "Filter":
        """From numbers, broadcast to one c_l for each gamma_l."""
        of_s = np.atleast_1d(np.asarray(gammas, np.float64))
        return cls(of_s, np.broadcast_to(np.asarray(residuals, np.float64), of_s.shape))

    @classmethod
    def tied(cls, gamma: float, *, loops: int, residual: float = 1.0) -> "Filter":
        """L times the same layer."""
        return cls(np.full(loops, float(gamma)), np.full(loops, float(residual)))

    @classmethod
    def with_roots(cls, roots: Numbers) -> "Filter":
        """prod_l (lambda - rho_l): gamma_l = 1 and c_l = -rho_l."""
        return cls.of(
            np.ones_like(np.atleast_1d(np.asarray(roots, np.float64))),
            -np.asarray(roots, np.float64),
        )

    @property
    def roots(self) -> np.ndarray:
        """-c_l / gamma_l, (L,); infinite where gamma_l = 0."""
        with np.errstate(divide="ignore"):
            return -self.residuals / self.gammas

    def log_weights(self, rows: np.ndarray) -> np.ndarray:
        """log w_i of each spectrum, relative to the largest; (B, d)."""
        logs = 2 * safe_log(
            abs(self.residuals[:, None, None] + self.gammas[:, None, None] * rows)
        ).sum(0)
        return logs - logs.max(1, keepdims=True)


@dataclass(frozen=True)
class Gradient:
    """Of the mean loss over spectra, by layer.

    Args:
        gammas: df/dgamma_l, (L,).
        residuals: df/dc_l, (L,).
    """

    gammas: np.ndarray
    residuals: np.ndarray


def filter_loss(eigenvalues: Numbers, of: Filter) -> Estimate:
    """E[dist(y_L, PS)^2] of a filter, the mean over the spectra.

    Args:
        eigenvalues: of S, (d,) or (B, d), none tight, one multiplicity of the largest.
        of: the filter; its roots may be anywhere, but it must not vanish on the whole spectrum.

    Returns:
        Estimate(f, relative error), scalars; 0 exactly where p is 0 at every eigenvalue below
        lambda_1.

    Example:
        >>> float(filter_loss([3.0, 2.0, 1.0], Filter.with_roots([2.0, 1.0])).value)
        0.0
    """
    rows = spectra(eigenvalues)
    found = log_share(of.log_weights(rows), require_gap(rows[0]))
    return Estimate(np.exp(logsumexp(found.value) - np.log(len(rows))), found.error.max())


def filter_gradient(eigenvalues: Numbers, of: Filter) -> Gradient:
    """Its gradient in every gamma_l and c_l.

    Args:
        eigenvalues: as for `filter_loss`.
        of: the filter; where p(lambda_j) = 0 layer l's share of that eigenvalue is taken as 0, its
            limit for a factor that occurs at least twice.

    Example:
        >>> found = filter_gradient([2.0, 1.0], Filter.tied(0.0, loops=4))
        >>> bool(abs(found.gammas + 2 / 8).max() < 1e-14), found.residuals.tolist() == [0.0] * 4
        (True, True)
    """
    rows = spectra(eigenvalues)
    m = require_gap(rows[0])
    pull = pulls(of.log_weights(rows), m).value  # (B, d - m)
    c, gamma = of.residuals[:, None, None], of.gammas[:, None, None]
    both = (c + gamma * rows[:, m:]) * (c + gamma * rows[:, :1])
    with np.errstate(divide="ignore"):
        share = np.where(
            both == 0, 0.0, (rows[:, m:] - rows[:, :1]) / np.where(both == 0, 1.0, both)
        )
    total = 2 * (pull * share).sum(2).mean(1)
    return Gradient(of.residuals * total, -of.gammas * total)


def splitting_curvature(eigenvalues: Numbers, *, gamma: float, loops: int) -> float:
    """d^2 f along (gamma_1, gamma_2) = (gamma + e, gamma - e) at e = 0, halved: f_11 - f_12.

        f_11 - f_12 = 2 sum_{j>m} G_j ((lambda_1/mu_1)^2 - (lambda_j/mu_j)^2), mu = 1 + gamma lambda

    Above 0 for every gamma >= 0, where lambda/mu rises with lambda: splitting tied layers raises
    the loss. Below 0 once a root stands among the eigenvalues.

    Args:
        eigenvalues: as for `filter_loss`.
        gamma: of every layer; -1/gamma is no eigenvalue.
        loops: L.

    Example:
        >>> splitting_curvature([3, 2, 1], gamma=0.7, loops=3) > 0 > splitting_curvature(
        ...     [3, 2, 1], gamma=-0.7, loops=3
        ... )
        True
    """
    rows = spectra(eigenvalues)
    m = require_gap(rows[0])
    pull = pulls(Filter.tied(gamma, loops=loops).log_weights(rows), m).value
    bent = (rows / (1 + gamma * rows)) ** 2
    return float(2 * (pull * (bent[:, :1] - bent[:, m:])).sum(1).mean())


def distinct_below(eigenvalues: Numbers) -> np.ndarray:
    """The distinct eigenvalues below lambda_1, descending; ties within `TIE_TOLERANCE`.

    With one gamma_l for each of them the loss is 0; with fewer layers its infimum is above 0.

    Example:
        >>> distinct_below([5, 4, 3, 3, 1])
        array([4., 3., 1.])
    """
    values = sorted_eigenvalues(eigenvalues)
    rest = values[require_gap(values) :]
    new = np.concatenate([[True], -np.diff(rest) > TIE_TOLERANCE * values[0]])
    return rest[new]
