"""The factor of one mode in a loop, from its left coordinate (NumPy).

    x_{k+1} - x* = J (x_k - x*),  w^H J = mu w^H  gives    c_k = w^H (x_k - x*),    c_{k+1} = mu c_k

A distance ||x_k - x*|| holds all modes and turns with a rotating one, so that its slope is biased
for hundreds of loops where the leader turns slowly or is nearly tied; c_k is multiplied by mu in
every loop, whatever the other modes do and whether J is normal or not. Worked out here.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from eigenloop.numerics.statistics import MIN_POINTS
from eigenloop.system.errors import InputError

WINDOWS = 4
"""Parts of a series whose own factors tell how far to trust the one of the whole."""


@dataclass(frozen=True, kw_only=True)
class ModeRate:
    """mu = modulus e^{i angle}, with what the windows of the series say of its error.

    Args:
        modulus: |mu|.
        error: of it, from the largest difference between the modulus of a window and that of the
            whole.
        angle: arg mu, in (-pi, pi].
        angle_error: the same of the angle.
        first: first loop of the fit.
        points: loops in the fit.
    """

    modulus: float
    error: float
    angle: float
    angle_error: float
    first: int
    points: int


def fit_mode(
    coordinates: Complex[np.ndarray, "k *m"] | Float[np.ndarray, "k *m"], *, first: int = 0
) -> ModeRate:
    """The factor mu of c_{k+1} = mu c_k, its modulus from the slope of log |c_k|, its angle from
    the steps' mean turn.

    Least squares' own error takes what is left for noise, which it is not where a nonlinear term or
    another mode fades: there all points are off together. So the series is cut into `WINDOWS`
    parts, and the error is the largest difference between the factor of one and that of the whole;
    where these factors drift to one side by ever smaller steps, it reaches to where they go as a
    geometric series. It is some times too wide for noise.

    Args:
        coordinates: c_0, c_1, ..., one complex number for each loop, or m that share their mu; none
            of them all zero.
        first: the loop of the first one, for the result.

    Raises:
        InputError: fewer than `MIN_POINTS` loops, or a coordinate that is zero or not finite.

    Example:
        >>> found = fit_mode((0.9 * np.exp(0.7j)) ** np.arange(40))
        >>> round(found.modulus, 12), round(found.angle, 12), found.error < 1e-12
        (0.9, 0.7, True)
    """
    c = np.asarray(coordinates).reshape(len(coordinates), -1)
    count = len(c)
    if count < MIN_POINTS:
        raise InputError(f"a factor is fitted to at least {MIN_POINTS} loops; {count} given")
    sizes = np.linalg.norm(c, axis=1)
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise InputError("a factor is fitted to coordinates that are finite and not zero")
    logs, units = np.log(sizes), c / sizes[:, None]
    turns = np.sum(units[:-1].conj() * units[1:], axis=1)
    ends = np.linspace(0, count - 1, WINDOWS + 1).round().astype(int)
    windows = [slice(a, b + 1) for a, b in itertools.pairwise(ends)]
    slope, angle = _slope(logs), _angle(turns)
    slopes = np.array([_slope(logs[window]) for window in windows]) - slope
    angles = np.array(
        [_angle(turns[each.start : each.stop - 1] * np.exp(-1j * angle)) for each in windows]
    )
    modulus = float(np.exp(slope))
    return ModeRate(
        modulus=modulus,
        error=modulus * _error(slopes),
        angle=angle,
        angle_error=_error(angles),
        first=first,
        points=count,
    )


def _error(apart: np.ndarray) -> float:
    """The largest difference to the whole, of the windows and of the limit of their drift; never
    below rounding.
    """
    steps, limit = np.diff(apart), 0.0
    if (np.all(steps > 0) or np.all(steps < 0)) and np.all(np.diff(np.abs(steps)) < 0):
        shrinking = (steps[-1] / steps[0]) ** (1 / (len(steps) - 1))
        limit = apart[-1] + steps[-1] * shrinking / (1 - shrinking)
    return float(max(np.abs(apart).max(), abs(limit), np.finfo(np.float64).eps))


def _slope(logs: np.ndarray) -> float:
    loops = np.arange(len(logs)) - (len(logs) - 1) / 2
    return float(loops @ logs / (loops @ loops))


def _angle(turns: np.ndarray) -> float:
    """arg of the mean turn; pi and not -pi for a factor that is negative."""
    mean = complex(np.mean(turns))
    return float(np.pi if mean.imag == 0 and mean.real < 0 else np.angle(mean))
