"""T on the circle of c : gamma, tabulated: descent through gamma = infinity, a microsecond a step.

With c = r cos(phi) and gamma lambda_1 = r sin(phi) the loss is a smooth function of phi of period
pi, so that T r^2 is one too; gamma = infinity is phi = pi/2, a point like any other.
"""

import math

import numpy as np
from numpy.polynomial import chebyshev

from eigenloop.theory.integrals import turn
from eigenloop.theory.population import EndToEnd

DEGREE = 20
NEGLIGIBLE = 1e-13
PIECES = 24
HALVINGS = 12


def turn_at(setting: EndToEnd, residual: float, gamma: float) -> tuple[float, float]:
    """T at c : gamma, the mean over the spectra, and its balance (a sign also where T underflows).

    Example:
        >>> turn_at(EndToEnd([2.0, 1.0], loops=3), 1.0, 0.0)
        (0.75, 1.0)
    """
    found = _turns(setting, np.array([residual]), np.array([gamma]))
    plus, minus = (float(np.exp(part).mean()) for part in found[:2])
    return plus - minus, (plus - minus) / (plus + minus) if plus + minus > 0 else 0.0


class CircleTable:
    """T(c, gamma) by piecewise Chebyshev interpolation in phi, built where it is needed.

    Each piece is halved until its last coefficients fall below 1e-13 of its largest.
    """

    def __init__(self, setting: EndToEnd) -> None:
        """Start empty."""
        self._setting, self._scale = setting, float(setting.rows[:, 0].mean())
        self._low, self._high, self._half, self._coefficients = 1.0, 0.0, 1.0, (0.0,)
        self._known: dict[float, tuple[float, tuple[float, ...]]] = {}

    def __call__(self, residual: float, gamma: float) -> float:
        """T at c : gamma."""
        grown = gamma * self._scale
        phi = math.atan2(grown, residual) % math.pi
        if not self._low <= phi < self._high:
            self._enter(phi)
        x, value = (phi - self._low) / self._half - 1.0, 0.0
        for coefficient in self._coefficients:
            value = value * x + coefficient
        return value / (residual * residual + grown * grown)

    def _enter(self, phi: float) -> None:
        """Make the piece that holds phi the current one."""
        width = math.pi / PIECES
        low, least = math.floor(phi / width) * width, width / 2**HALVINGS
        while True:
            if low not in self._known or self._known[low][0] > width:
                coefficients = self._fit(low, width)
                size = float(np.abs(coefficients).max())
                if np.abs(coefficients[-3:]).max() <= NEGLIGIBLE * size or width <= least:
                    self._known[low] = (
                        width,
                        tuple(map(float, chebyshev.cheb2poly(coefficients)[::-1])),
                    )
            known = self._known.get(low)
            if known is not None and known[0] <= width and phi < low + known[0]:
                self._low, self._high, self._half = low, low + known[0], known[0] / 2
                self._coefficients = known[1]
                return
            width /= 2
            low = low + width if phi >= low + width else low

    def _fit(self, low: float, width: float) -> np.ndarray:
        x = chebyshev.chebpts1(DEGREE + 1)
        phi = low + (x + 1) * width / 2
        found = _turns(self._setting, np.cos(phi), np.sin(phi) / self._scale)
        return chebyshev.chebfit(x, (np.exp(found[0]) - np.exp(found[1])).mean(1), DEGREE)


def _turns(
    setting: EndToEnd, residual: np.ndarray, gamma: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the two parts of T, (R, B) each."""
    rows = setting.rows
    count = len(rows)
    found = turn(
        np.tile(rows, (residual.size, 1)),
        np.repeat(residual, count),
        np.repeat(gamma, count),
        loops=setting.loops,
        multiplicity=setting.multiplicity,
    )
    return found.log_plus.reshape(-1, count), found.log_minus.reshape(-1, count)
