"""The slope f'(gamma) of a population objective as a quick function of floats."""

import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev

from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm, Setting

DEGREE = 14
NEGLIGIBLE = 1e-13
WIDEST, NARROWEST = 0.5, 1e-4


class SlopeTable:
    """f'(gamma) by piecewise Chebyshev interpolation of log(-f') in log(1 + gamma lambda_1), built
    where it is needed.

    Each piece is halved until its last coefficients fall below 1e-13, so the table is as exact as
    f' itself. For many spectra it holds the mean of their slopes.
    """

    def __init__(self, setting: EndToEnd | LayerwiseNorm) -> None:
        """Start empty."""
        self._setting, self._scale = setting, float(setting.rows[:, 0].mean())
        self._low, self._high, self._half, self._coefficients = 1.0, 0.0, 1.0, (0.0,)
        self._known: dict[float, tuple[float, tuple[float, ...]]] = {}

    def __call__(self, gamma: float) -> float:
        """f'(gamma)."""
        if gamma < 0:  # of either sign there, and not tabulated; see `theory.filters.CircleTable`
            return float(np.mean(self._setting.slope(gamma).value))
        y = math.log1p(gamma * self._scale)
        if not self._low <= y < self._high:
            self._enter(y)
        x = (y - self._low) / self._half - 1.0
        value = 0.0
        for coefficient in self._coefficients:
            value = value * x + coefficient
        return -math.exp(value)

    def _enter(self, y: float) -> None:
        """Make the piece that holds y the current one."""
        low, width = math.floor(y / WIDEST) * WIDEST, WIDEST
        while True:
            if low not in self._known or self._known[low][0] > width:
                coefficients = self._fit(low, width)
                small = np.abs(coefficients[-3:]).max() < NEGLIGIBLE * max(
                    1.0, float(np.abs(coefficients).max())
                )
                if small or width < NARROWEST:
                    self._known[low] = (
                        width,
                        tuple(map(float, chebyshev.cheb2poly(coefficients)[::-1])),
                    )
            known = self._known.get(low)
            if known is not None and known[0] <= width and y < low + known[0]:
                self._low, self._high, self._half = low, low + known[0], known[0] / 2
                self._coefficients = known[1]
                return
            width /= 2
            low = low + width if y >= low + width else low

    def _fit(self, low: float, width: float) -> np.ndarray:
        x = chebyshev.chebpts1(DEGREE + 1)
        gammas = np.maximum(np.expm1(low + (x + 1) * width / 2) / self._scale, 0.0)
        slopes = [-np.mean(self._setting.slope(float(gamma)).value) for gamma in gammas]
        return chebyshev.chebfit(x, np.log(slopes), DEGREE)


def slope_function(setting: Setting) -> Callable[[float], float]:
    """gamma -> f'(gamma) as a quick function of floats."""
    if isinstance(setting, LayerwiseLinear):
        curvature, mean_optimum = linear_law(setting)
        return lambda gamma: 2 * curvature * (gamma - mean_optimum)
    assert isinstance(setting, EndToEnd | LayerwiseNorm)
    return SlopeTable(setting)


def linear_law(setting: LayerwiseLinear) -> tuple[float, float]:
    """(mu2, gamma*) of the population, means over spectra taken before the quotient."""
    mu2 = np.atleast_1d(setting.second_moment().value)
    optimum = np.atleast_1d(setting.optimum().value)
    return float(mu2.mean()), float((mu2 * optimum).mean() / mu2.mean())
