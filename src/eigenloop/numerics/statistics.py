"""Standard errors, bootstrap intervals and straight-line fits on log-log axes (NumPy)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eigenloop.numerics.spectrum import Numbers
from eigenloop.system.errors import InputError

WINDOW = (1e-4, 1e-11)
"""A rate is fitted where its series is below the first and above the second, which is above
round-off.
"""

MIN_POINTS = 8
"""Fewest loops that a rate is fitted to."""


def standard_error(values: Numbers, *, axis: int = 0) -> np.ndarray:
    """Standard error of the mean, std(ddof=1) / sqrt(N), along an axis.

    Example:
        >>> float(standard_error([1.0, 2.0, 3.0]).round(4))
        0.5774
    """
    array = np.asarray(values, dtype=np.float64)
    count = array.shape[axis]
    if count < 2:
        raise InputError(f"a standard error needs at least 2 values, {count} given")
    return np.asarray(array.std(axis=axis, ddof=1) / np.sqrt(count))


def jackknife(values: np.ndarray, statistic: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """A function of independent rows, and its standard error from leaving out one row at a time.

        stderr^2 = (N - 1)/N sum_i (t_i - mean t)^2,    t_i = statistic without row i

    Args:
        values: (N,) or (N, k), one row for each sample.
        statistic: smooth function of the rows' means, such as a ratio of two.

    Returns:
        (statistic of all rows, standard error).

    Raises:
        InputError: fewer than two rows.

    Example:
        >>> value, stderr = jackknife(np.array([1.0, 2.0, 3.0]), np.mean)
        >>> round(float(value), 4), round(stderr, 4)  # for the mean itself, `standard_error`
        (2.0, 0.5774)
    """
    count = len(values)
    if count < 2:
        raise InputError(f"a standard error needs at least 2 values, {count} given")
    kept = ~np.eye(count, dtype=bool)
    without = np.array([statistic(values[rows]) for rows in kept])
    stderr = np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2))
    return statistic(values), float(stderr)


def bootstrap_interval(
    values: Numbers, *, seed: int, level: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of independent values.

    Args:
        values: (N,).
        seed: of the resampling.
        level: coverage, in (0, 1).
        resamples: number of bootstrap samples.

    Returns:
        (lower, upper).

    Raises:
        InputError: fewer than two values, or a level outside (0, 1).

    Example:
        >>> low, high = bootstrap_interval(np.arange(100.0), seed=0)
        >>> bool(low < 49.5 < high)
        True
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size < 2:
        raise InputError(f"a bootstrap interval needs at least 2 values, {array.size} given")
    if not 0 < level < 1:
        raise InputError(f"level is {level:g}; it must be above 0 and below 1")
    rng = np.random.default_rng(seed)
    means = np.array(
        [array[rng.integers(0, array.size, array.size)].mean() for _ in range(resamples)]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class PowerLawFit:
    """y = prefactor * x^exponent, fitted by least squares on log y against log x."""

    exponent: float
    prefactor: float
    stderr: float
    """Standard error of the exponent (residual scatter; it says nothing about curvature)."""


def fit_power_law(x: Numbers, y: Numbers) -> PowerLawFit:
    """Fit y = c x^p through points with x > 0 and y > 0.

    Raises:
        InputError: fewer than three points, a value that has no logarithm, or all x equal.

    Example:
        >>> fit = fit_power_law([1, 10, 100], [2, 20, 200])
        >>> round(fit.exponent, 12), round(fit.prefactor, 12)
        (1.0, 2.0)
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.size < 3:
        raise InputError(f"a power-law fit needs at least 3 points, {x.size} given")
    if not (np.all(x > 0) and np.all(y > 0) and np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        raise InputError("a power-law fit needs positive finite values only")
    if np.all(x == x[0]):
        raise InputError(f"a power-law fit needs different x, but all {x.size} are {x[0]:g}")
    u, v = np.log(x), np.log(y)
    centred = u - u.mean()
    exponent = float(centred @ v / (centred @ centred))
    residual = v - v.mean() - exponent * centred
    stderr = float(np.sqrt(residual @ residual / (x.size - 2) / (centred @ centred)))
    return PowerLawFit(
        exponent=exponent, prefactor=float(np.exp(v.mean() - exponent * u.mean())), stderr=stderr
    )


@dataclass(frozen=True)
class Rate:
    """A factor per loop, fitted to the logarithm of a series by least squares.

    Args:
        value: the factor; NaN where there was too little to fit.
        stderr: standard error of its logarithm (residual scatter).
        first: first loop of the fit.
        points: loops in the fit.
    """

    value: float
    stderr: float
    first: int
    points: int

    @property
    def converged(self) -> bool:
        """Whether there is a fit."""
        return self.points >= MIN_POINTS


def fit_rate(series: Float[np.ndarray, " k"], *, window: tuple[float, float] = WINDOW) -> Rate:
    """The factor r of s_k ~ C r^k, between where s_k stays below the window's upper end and falls
    below the lower.

    Only the second half of these loops is fitted, because faster modes fade in the first.

    Args:
        series: s_0, s_1, ..., positive.
        window: upper and lower end.

    Example:
        >>> round(fit_rate(0.5 ** np.arange(60.0)).value, 12)
        0.5
    """
    first = int(np.flatnonzero(np.r_[True, series >= window[0]])[-1])
    outside = np.flatnonzero(series[first:] <= window[1])
    points = int(outside[0]) if outside.size else len(series) - first
    first, points = first + points // 2, points - points // 2
    if points < MIN_POINTS:
        return Rate(float("nan"), float("nan"), first, points)
    loops = np.arange(points) - (points - 1) / 2
    logs = np.log(series[first : first + points])
    slope = float(loops @ logs / (loops @ loops))
    residual = logs - logs.mean() - slope * loops
    stderr = float(np.sqrt(residual @ residual / (points - 2) / (loops @ loops)))
    return Rate(float(np.exp(slope)), stderr, first, points)
