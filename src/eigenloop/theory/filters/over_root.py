"""The end-to-end loss over the root rho = -1/gamma of the filter, past gamma = infinity (rho = 0).

L loops q <- N((I + gamma S) q) apply p(lambda) = (1 + gamma lambda)^L, a multiple of (lambda -
rho)^L: the power method of S - rho I. The loss depends on the weights w_i = (lambda_i - rho)^{2L}
up to a common factor,

    f(rho) = E[sum_{i>m} c_i^2 w_i / sum_i c_i^2 w_i],
    f'(rho) = 2L sum_{j>m} G_j (lambda_1 - lambda_j) / ((rho - lambda_j) (lambda_1 - rho)), G_j > 0

(`theory.integrals`). rho runs over a circle: gamma = 0 is rho = infinity, gamma > 0 is rho < 0,
gamma = infinity is rho = 0, and gamma < 0 is rho > 0. From rho = lambda_1, where f = 1, f falls all
the way round, through gamma = 0 and through gamma = infinity, to rho = lambda_d; and it rises from
lambda_{m+1} to lambda_1. So its minimum is between lambda_d and lambda_{m+1}. Nothing of this is in
arXiv 2606.00605.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from eigenloop.system.errors import InputError
from eigenloop.theory.integrals import Estimate, Turn, log_power_weights, log_share, turn
from eigenloop.theory.population import EPSILON, EndToEnd

GRID = 65
"""Roots at which a minimum is looked for, before it is refined."""


class Optimum(NamedTuple):
    """The lowest minimum of f over the root."""

    rho: float
    rho_error: float
    """How far the error of f' can move it; 0 where f is 0."""
    log_loss: float
    """log f; -inf where f is 0."""
    error: float
    """Relative, of f."""
    minima: int
    """Local minima: changes of the sign of f' from - to + on a grid of `GRID` roots."""

    @property
    def gamma(self) -> float:
        """-1/rho; -infinity for the power method itself."""
        return -1 / self.rho if self.rho else -np.inf

    @property
    def loss(self) -> float:
        """f; 0 where it underflows."""
        return float(np.exp(self.log_loss))


def log_loss_over_root(setting: EndToEnd, rhos: np.ndarray) -> Estimate:
    """log f at each root, f the mean over the spectra.

    Args:
        setting: the end-to-end model.
        rhos: (R,), any real numbers.

    Returns:
        Estimate(log f, relative error of f), (R,) each.

    Example:
        >>> found = log_loss_over_root(EndToEnd([2.0, 1.0, 0.0], loops=3), np.array([0.0, 0.5]))
        >>> bool(found.value[1] < found.value[0])
        True
    """
    rhos = np.asarray(rhos, np.float64)
    apart = (setting.rows - rhos[:, None, None]).reshape(-1, setting.dim)
    found = log_share(log_power_weights(apart, setting.loops), setting.multiplicity)
    value, error = (part.reshape(rhos.size, -1) for part in found)
    return Estimate(logsumexp(value, axis=1) - np.log(value.shape[1]), error.max(1))


def turn_over_root(setting: EndToEnd, rhos: np.ndarray) -> Turn:
    """-f'(rho) at each root, the T of `theory.integrals`; f is the mean over the spectra.

    Args:
        setting: the end-to-end model.
        rhos: (R,), any real numbers.

    Example:
        >>> setting = EndToEnd([2.0, 1.0, 0.0], loops=3)
        >>> bool(
        ...     abs(turn_over_root(setting, np.zeros(1)).value[0] - setting.upsilon1().value)
        ...     < 1e-14
        ... )
        True
    """
    rhos, rows = np.asarray(rhos, np.float64), setting.rows
    count = len(rows)
    found = turn(
        np.tile(rows, (rhos.size, 1)),
        -np.repeat(rhos, count),
        np.ones(rhos.size * count),
        loops=setting.loops,
        multiplicity=setting.multiplicity,
    )
    plus, minus, error = (part.reshape(rhos.size, count) for part in found)
    log_plus, log_minus = (logsumexp(part, axis=1) - np.log(count) for part in (plus, minus))
    return Turn(log_plus, log_minus, error.max(1))


def best_root(setting: EndToEnd) -> Optimum:
    """rho*(L): where f is least. By log f, for f itself may be far below the smallest float64.

    For one spectrum the minimum lies between lambda_d and lambda_{m+1}: below, f falls, and from
    there to lambda_1 it rises. For many, between the smallest of all and the largest below every
    lambda_1. The sign of f' on a grid brackets each local minimum, and refines it; the lowest
    counts.

    Raises:
        InputError: spectra so far apart that f has no minimum between them.

    Example:
        >>> found = best_root(EndToEnd([3.0, 2.0, 0.0], loops=40))
        >>> bool(0.9 < found.rho < 1.0)
        True
    """
    rest, top = setting.rows[:, setting.multiplicity :], setting.rows[:, 0]
    low, high = float(rest.min()), min(float(rest.max()), float(top.min()))
    if low == high:  # one eigenvalue besides the largest, and its weight is 0
        return Optimum(low, 0.0, -np.inf, 0.0, 1)
    grid = np.linspace(low, high, GRID)
    falls = turn_over_root(setting, grid).balance
    ends = np.flatnonzero((falls[:-1] > 0) & (falls[1:] <= 0))
    if not ends.size:
        raise InputError(
            f"the loss has no minimum between {low:g} and {high:g}: these spectra have no root in "
            "common that helps them; give one spectrum, or closer ones"
        )

    def balance(rho: float) -> float:
        return float(turn_over_root(setting, np.array([rho])).balance[0])

    found = np.array(
        [
            brentq(
                balance, grid[i], grid[i + 1], xtol=4 * EPSILON * high, rtol=np.float64(4 * EPSILON)
            )
            for i in ends
        ]
    )
    losses = log_loss_over_root(setting, found)
    at = int(np.argmin(losses.value))
    rho = float(found[at])
    moved = _moved(setting, rho, high - low)
    return Optimum(rho, moved, float(losses.value[at]), float(losses.error[at]), len(found))


def _moved(setting: EndToEnd, rho: float, width: float) -> float:
    """The error of the balance over its derivative in rho, and the rounding of rho."""
    step = 1e-4 * width
    near = turn_over_root(setting, np.array([rho - step, rho, rho + step]))
    rise = (near.balance[0] - near.balance[2]) / (2 * step)
    return float(near.error[1] / rise + 4 * EPSILON * rho) if rise > 0 else width / (GRID - 1)
