"""Shares of a Gaussian vector outside the principal subspace, as integrals over a line (NumPy).

A loop that commutes with S turns c_i = u_i . q into x_i with x_i^2 = w_i c_i^2. With K = sum_{i<=m}
x_i^2 the part in the principal subspace and D = sum_i x_i^2 the whole,

    f = E[sum_{i>m} x_i^2 / D],    df / d log w_j = G_j = E[K x_j^2 / D^2] > 0 for j > m

(for i <= m the weights are equal, and they fall by what the others rise by). Everything here is
homogeneous in the weights: they may be given up to a common factor, and stand in logarithms.

L loops q <- N(c q + gamma S q) have w_i = p_i^{2L}, p_i = c + gamma lambda_i. Only c : gamma
matters, so that f is a function on a circle, and its slope there is one number, T:

    df = T (gamma dc - c dgamma),    T = 2L sum_{j>m} G_j (lambda_1 - lambda_j) / (p_j p_1).

With c = 1 df/dgamma = -T; with gamma = 1 and c = -rho, past gamma = infinity, df/drho = -T as well.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from eigenloop.theory.integrals.lines import (
    Estimate,
    Nodes,
    expectation,
    log_expectation,
    log_sum,
    safe_log,
)


class Turn(NamedTuple):
    """T as a difference of two positive numbers, in logarithms; (R,) each."""

    log_plus: np.ndarray
    """Of the terms in which p_j and p_1 have one sign."""
    log_minus: np.ndarray
    """Of the others, subtracted."""
    error: np.ndarray
    """Relative to the larger of the two."""

    @property
    def value(self) -> np.ndarray:
        """T."""
        return np.exp(self.log_plus) - np.exp(self.log_minus)

    @property
    def balance(self) -> np.ndarray:
        """(plus - minus) / (plus + minus), in [-1, 1]: a sign also where T underflows; 0 at 0."""
        top = np.maximum(self.log_plus, self.log_minus)
        top = np.where(np.isfinite(top), top, 0.0)
        plus, minus = np.exp(self.log_plus - top), np.exp(self.log_minus - top)
        return (plus - minus) / np.where(plus + minus > 0, plus + minus, 1.0)


def log_share(log_weights: np.ndarray, multiplicity: int) -> Estimate:
    """log f; -inf where every weight outside is 0, 0 where only those inside are.

    Args:
        log_weights: log w_i, the m of the principal subspace first; (R, d), float64.
        multiplicity: m.

    Returns:
        Estimate(log f, relative error of f), (R,) each.

    Example:
        >>> bool(abs(log_share(np.zeros((1, 4)), 1).value[0] - np.log(3 / 4)) < 1e-14)
        True
    """

    def of(some: np.ndarray) -> Estimate:
        return log_expectation(lambda nodes: log_sum(nodes.log_v[..., multiplicity:]), some, p=1.0)

    found = _where(_positive(log_weights[:, multiplicity:]), of, log_weights)
    return Estimate(np.minimum(found.value, 0.0), found.error)


def log_pull(log_weights: np.ndarray, log_factor: np.ndarray, multiplicity: int) -> Estimate:
    """log of sum_{j>m} e^{factor_j} G_j, G_j = df / d log w_j; -inf where one side of the product
    is 0.

    Args:
        log_weights: as for `log_share`, (R, d).
        log_factor: logarithms of the positive numbers that weigh the G_j, -inf for 0; (R, d), the
            first m unused.
        multiplicity: m.

    Returns:
        Estimate(log value, relative error of the value), (R,) each.
    """
    m = multiplicity
    both = np.concatenate([log_weights, log_factor], axis=1)
    dim = log_weights.shape[1]

    def of(some: np.ndarray) -> Estimate:
        weights, factor = some[:, :dim], some[:, dim:]

        def log_moment(nodes: Nodes) -> np.ndarray:
            rest = log_sum(nodes.log_v[..., m:] + factor[:, None, m:])
            return log_sum(nodes.log_v[..., :m]) + rest

        return log_expectation(log_moment, weights, p=2.0)

    chosen = _positive(log_weights[:, :m]) & _positive(log_weights[:, m:] + log_factor[:, m:])
    return _where(chosen, of, both)


def pulls(log_weights: np.ndarray, multiplicity: int) -> Estimate:
    """G_j = df / d log w_j for every j > m.

    Args:
        log_weights: as for `log_share`, (R, d).
        multiplicity: m.

    Returns:
        Estimate(G, (R, d - m); errors relative to the largest G of a row, (R,)).

    Example:
        >>> found = pulls(np.zeros((1, 3)), 1).value  # E[z_1^2 z_2^2 / |z|^4] = 1 / (d (d + 2))
        >>> bool(abs(found - 1 / 15).max() < 1e-14)
        True
    """
    m = multiplicity

    def moment(nodes: Nodes) -> np.ndarray:
        v = nodes.v
        return v[..., :m].sum(-1, keepdims=True) * v[..., m:]

    def bound(nodes: Nodes) -> np.ndarray:
        return log_sum(nodes.log_v[..., :m]) + log_sum(nodes.log_v[..., m:])

    rows, dim = log_weights.shape
    value, error = np.zeros((rows, dim - m)), np.zeros(rows)
    some = _positive(log_weights[:, :m]) & _positive(log_weights[:, m:])
    if some.any():
        found = expectation(moment, log_weights[some], bound=bound, rise=2.0)
        value[some], error[some] = found.value, found.error
    return Estimate(value, error)


def log_power_weights(factors: np.ndarray, loops: int) -> np.ndarray:
    """log w_i, w_i = p_i^{2L}, relative to the largest of a row.

    Relative to lambda_1's the others would leave every window as p_1 nears 0, and a loss of 1 would
    be found 0.

    Args:
        factors: p_i of one loop, of any sign, not all 0; (R, d).
        loops: L.
    """
    logs = 2 * loops * safe_log(abs(factors))
    return logs - logs.max(-1, keepdims=True)


def turn(
    rows: np.ndarray, residual: np.ndarray, gamma: np.ndarray, *, loops: int, multiplicity: int
) -> Turn:
    """T at each c : gamma, f the loss of the spectrum in the same row.

    Args:
        rows: lambda_i, descending; (R, d).
        residual: c, (R,).
        gamma: (R,), of any sign; not both 0.
        loops: L.
        multiplicity: m.

    Example:
        >>> found = turn(np.array([[2.0, 1.0]]), np.ones(1), np.zeros(1), loops=3, multiplicity=1)
        >>> bool(abs(found.value[0] - 6 / 8) < 1e-14)
        True
    """
    factors = residual[:, None] + gamma[:, None] * rows
    both = factors * factors[:, :1]
    with np.errstate(divide="ignore", invalid="ignore"):
        # where a weight is 0 so is the pull, and faster than the factor grows
        size = np.where(both == 0, -np.inf, safe_log(rows[:, :1] - rows) - np.log(abs(both)))
    weights = log_power_weights(factors, loops)
    plus, minus = (
        log_pull(weights, np.where(sign * both > 0, size, -np.inf), multiplicity)
        for sign in (1, -1)
    )
    grown = np.log(2 * loops)
    return Turn(plus.value + grown, minus.value + grown, np.maximum(plus.error, minus.error))


def _positive(logs: np.ndarray) -> np.ndarray:
    """Rows of which not every number is the logarithm of 0."""
    return np.asarray(np.isfinite(logs).any(1))


def _where(chosen: np.ndarray, of: Callable[[np.ndarray], Estimate], rows: np.ndarray) -> Estimate:
    """`of` the chosen rows; log 0 for the others."""
    value, error = np.full(len(rows), -np.inf), np.zeros(len(rows))
    if chosen.any():
        found = of(rows[chosen])
        value[chosen], error[chosen] = found.value, found.error
    return Estimate(value, error)
