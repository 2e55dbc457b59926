"""Step sizes of one layer without LN: when descent is monotone, when it overshoots, when it
diverges (Theorem B.3).

Gradient descent from (a, b) = (1, 0) on mu2 (gamma - gamma*)^2 + f* depends on the learning rate
through one number,

    kappa = 2 eta mu2 / d,    k = kappa (gamma* - gamma),    a' = a + k b,    b' = b + k a.

With s = a^2 + b^2, e = gamma* - gamma and s* = (c_inf^2 + 4 gamma*^2)^{1/2}, c_inf = lim (a^2 -
b^2),

    kappa <= 1/s*                                 gamma_t rises to gamma* and never passes it;
    kappa <= 8 / (1 + (1 + 16 gamma*^2)^{1/2})    iterates stay bounded; above, they diverge.

The second is exact. With P = kappa (a + b)^2/4, M = kappa (a - b)^2/4, g = kappa gamma* < 2 and F =
P/(2 + g) + M/(2 - g) one step obeys F' - 1 = (F - 1)(1 + k^2 - k g), whose last factor is positive:
the sign of F - 1 never changes. At the start F = kappa/(4 - g^2), and F <= 1 says kappa + kappa^2
gamma*^2 <= 4. (On F = 1 itself the step is x -> x (3 - 4x)^2 with x = P/(2 + g), the map of sin^2
under tripling of the angle: chaotic, and bounded.)

Source: arXiv 2606.00605, Theorem B.3 and Corollary B.4; the two thresholds are derived here.
"""

import math
from typing import NamedTuple

import numpy as np

from eigenloop.theory.bounds import optimum_bounds
from eigenloop.theory.population import Target

BLOWN_UP = 1e12


class Run(NamedTuple):
    """Iterates of one descent: gamma* - gamma_t, and the factor between one and the next."""

    errors: np.ndarray
    factors: np.ndarray
    c: float
    """a^2 - b^2 at the end."""
    bounded: bool


def descend(kappa: float, optimum: float, steps: int) -> Run:
    """The recursion in (e, c), e = gamma* - gamma: e' = e (1 - kappa s - kappa^2 e gamma), c' = c
    (1 - kappa^2 e^2).

    Its factors keep their signs however small e becomes.
    """
    error, c, errors, factors = optimum, 1.0, [optimum], []
    for _ in range(steps):
        gamma = optimum - error
        factor = 1 - kappa * math.hypot(c, 2 * gamma) - kappa**2 * error * gamma
        c, error = c * (1 - (kappa * error) ** 2), error * factor
        factors.append(factor)
        errors.append(error)
        if abs(error) > BLOWN_UP or error == 0:
            break
    return Run(np.array(errors), np.array(factors), c, abs(error) <= BLOWN_UP)


def safe_kappa(optimum: float | np.ndarray) -> float | np.ndarray:
    """1/(4 s_max), s_max = (1 + 16 gamma*^2)^{1/2}: what the proof of Theorem B.3 needs, with our
    constant.

    On the initial level set gamma lies in [0, 2 gamma*] and s <= s_max. To first order a step
    changes the loss by -2 kappa s (f - f*); the higher orders then take away at most half of that.
    """
    return 1 / (4 * np.sqrt(1 + 16 * np.square(optimum)))


def overshoot_kappa(optimum: float, c_limit: float) -> float:
    """1/s* = 1/(c_inf^2 + 4 gamma*^2)^{1/2}."""
    return 1 / math.hypot(c_limit, 2 * optimum)


def divergence_kappa(optimum: float) -> float:
    """8 / (1 + (1 + 16 gamma*^2)^{1/2}), the root of kappa + kappa^2 gamma*^2 = 4."""
    return 8 / (1 + math.sqrt(1 + 16 * optimum**2))


def safe_rate(n: np.ndarray, dim: int, *, target: Target) -> np.ndarray:
    """Corollary B.4: the rate d^2/(8 n^2 (1 + 16 G^2)^{1/2}), with G the bound on gamma* of
    Remark F.3.
    """
    return dim**2 / (2 * n**2) * safe_kappa(optimum_bounds(n, dim, target=target)[1])
