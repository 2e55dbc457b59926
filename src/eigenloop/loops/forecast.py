"""How many loops are worth running: forecasts beside what it took, and what an exit by step size
misses (NumPy).

forecast:   ||J^k (x_j - x*)||, from the first state x_j inside the linear region
count:      log(d_0 / eps) / log(1 / rho)
    Theorem 4.6's of arXiv 2606.00605, a bound where J is normal only
exit:       a step s leaves ||(I - J)^{-1} J s||;   |mu| / |1 - mu| times the step for one mode
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.loops.fixed_points import FixedPoint, solve_along
from eigenloop.loops.linear import DENSE, Linear
from eigenloop.loops.modes import Mode
from eigenloop.loops.orbits import Orbit
from eigenloop.loops.region import Region
from eigenloop.system.errors import InputError

AHEAD = (2048, 30_000)
"""Loops that a forecast looks ahead; the second for states small enough for a matrix."""

NORMAL = 1 + 1e-6
"""||J|| / rho up to which ||J^k e|| <= rho^k ||e||, so that the plain count is a bound."""


@dataclass(frozen=True, kw_only=True)
class Needed:
    """Loops to one tolerance.

    Args:
        tolerance: relative distance eps.
        forecast: the linear forecast; None with a reason.
        taken: loops that the run took to stay below eps; None where it did not come there.
        bound: the plain count of Theorem 4.6 from the first linear state on, its distance enlarged
            by what the run exceeded the linear forecast; None where it bounds nothing.
        from_loop: the first loop inside the linear region, where the forecast begins.
        reasons: why something is None, by name.
    """

    tolerance: float
    forecast: int | None
    taken: int | None
    bound: int | None
    from_loop: int | None
    reasons: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(self.__dict__)


def exit_factor(value: complex) -> float:
    """Distance left after a step of one mode, in steps: |mu| / |1 - mu|.

    Infinite at mu = 1. For a step s = x_{k+1} - x_k of a mode, x_{k+1} - x* = mu s / (mu - 1).

    Example:
        >>> round(exit_factor(0.99), 6), round(exit_factor(-0.99), 6)
        (99.0, 0.497487)
    """
    return float(abs(value) / abs(1 - value)) if value != 1 else np.inf


def distance_left(linear: Linear, step: Float[np.ndarray, " n"]) -> float:
    """||(I - J)^{-1} J s||: how far x* still is after a step s, to first order and with all modes.

    x_{k+1} - x* = J (x_k - x*) and s = (J - I)(x_k - x*), so x_{k+1} - x* = -J (I - J)^{-1} s.

    Example:
        >>> round(distance_left(Linear.of(np.array([[0.99]])), np.array([1e-3])), 6)
        0.099
    """
    return float(np.linalg.norm(linear.push(solve_along([linear], step))))


def loops_count(distance: float, radius: float, tolerance: float) -> int | None:
    """log(d / eps) / log(1 / rho), rounded up: loops from a distance to a tolerance at one factor a
    loop.

    Returns:
        0 where the distance is small enough; None where rho >= 1.

    Example:
        >>> loops_count(1.0, 0.5, 0.25)
        2
    """
    if distance <= tolerance:
        return 0
    if radius >= 1:
        return None
    return (
        1
        if radius == 0
        else max(0, int(np.ceil(np.log(distance / tolerance) / -np.log(radius) - 1e-12)))
    )


def linear_distances(
    linear: Linear, deviation: Float[np.ndarray, " n"], *, loops: int, stop: float
) -> np.ndarray:
    """||J^k e||, k = 0, 1, ...: transient growth and rotation included; ends once it is below
    `stop` for good.

    Args:
        linear: J at the fixed point.
        deviation: e = x_j - x*.
        loops: the most.
        stop: length below which nothing is asked; the series goes on to a tenth of it.
    """
    found = [float(np.linalg.norm(deviation))]
    for _ in range(loops):
        if found[-1] < stop / 10 or not np.isfinite(found[-1]):
            break
        deviation = linear.push(deviation)
        found.append(float(np.linalg.norm(deviation)))
    return np.array(found)


def ahead_of(linear: Linear) -> int:
    """Loops that a forecast with J looks ahead."""
    return AHEAD[linear.size <= DENSE]


def first_below(series: Float[np.ndarray, " k"], tolerance: float) -> int | None:
    """First k from which the series stays below the tolerance; None where its end is not below.

    Example:
        >>> first_below(np.array([1.0, 0.05, 0.2, 0.08]), 0.1)
        3
    """
    above = np.flatnonzero(~(series < tolerance))
    k = int(above[-1]) + 1 if above.size else 0
    return k if k < len(series) else None


def loops_needed_to(
    run: Orbit,
    point: FixedPoint,
    linear: Linear,
    leader: Mode,
    tolerances: Sequence[float],
    *,
    region: Region | None,
    norm: float | None,
) -> tuple[Needed, ...]:
    """For each tolerance, the forecast beside what the run took.

    Args:
        run: the orbit.
        point: the fixed point that it goes to.
        linear: J there.
        leader: mu_1.
        tolerances: relative distances, above 0.
        region: where the map is linear; from `linear_region`.
        norm: ||J||, where known: tells whether the plain count is a bound.

    Raises:
        InputError: a tolerance that is not above 0 and below 1.
    """
    check_tolerances(tolerances)
    distances = run.distances(point.point)
    if region is None:
        far = (
            f"none of {len(distances) - 1} loops is inside the linear region of x*, where the"
            " forecast begins"
        )
        return tuple(
            Needed(
                tolerance=tolerance,
                forecast=None,
                taken=taken,
                bound=None,
                from_loop=None,
                reasons={"forecast": far, "bound": far} | _not_taken(distances, taken),
            )
            for tolerance in tolerances
            for taken in [first_below(distances, tolerance)]
        )
    near = region.loop
    e = (run.states[near] - point.point) / run.scale
    series = linear_distances(linear, e, loops=ahead_of(linear), stop=min(tolerances))
    begin = _excess(distances, series, near) * float(distances[near])
    found = []
    for tolerance in tolerances:
        ahead, taken = first_below(series, tolerance), first_below(distances, tolerance)
        count, reasons = _bound(begin, leader.modulus, norm, tolerance)
        if ahead is None:
            reasons["forecast"] = (
                f"the linear forecast stays above {tolerance:g} for {ahead_of(linear):,} loops"
            )
        elif ahead == 0 and taken is not None and taken < near:
            ahead = None
            reasons["forecast"] = (
                f"the run stays within {tolerance:g} from loop {taken}, before the linear region,"
                f" which begins at loop {near}"
            )
        found.append(
            Needed(
                tolerance=tolerance,
                forecast=None if ahead is None else near + ahead,
                taken=taken,
                bound=None if count is None else near + count,
                from_loop=near,
                reasons=reasons | _not_taken(distances, taken),
            )
        )
    return tuple(found)


LEAST = 1e-150
"""Squares of smaller distances underflow."""


def check_tolerances(tolerances: Sequence[float]) -> None:
    """Refuse what is no relative distance.

    Raises:
        InputError: none, or one that is not above `LEAST` and below 1.
    """
    if not len(tolerances):
        raise InputError("there is no tolerance; give at least one")
    for tolerance in tolerances:
        if not LEAST < tolerance < 1:
            raise InputError(
                f"tolerance is {tolerance:g}; it must be above {LEAST:g} and below 1, relative to"
                " the state"
            )


def _not_taken(distances: np.ndarray, taken: int | None) -> dict[str, str]:
    if taken is not None:
        return {}
    count = len(distances) - 1
    return {"taken": f"not reached in {count} loops: the distance is {distances[-1]:.2g}"}


def _bound(
    distance: float, radius: float, norm: float | None, tolerance: float
) -> tuple[int | None, dict[str, str]]:
    """The plain count where J is normal on its leading mode, or None and why not."""
    if norm is None:
        return None, {
            "bound": "log(d/eps)/log(1/rho) is no bound unless ||J|| = rho, and ||J|| is not known"
        }
    if norm > NORMAL * radius:
        return None, {
            "bound": f"log(d/eps)/log(1/rho) bounds nothing: ||J|| = {norm:.3g}, rho = {radius:.3g}"
        }
    count = loops_count(distance, radius, tolerance)
    return count, (
        {} if count is not None else {"bound": f"rho = {radius:.4g}: no number of loops is enough"}
    )


def _excess(distances: np.ndarray, series: np.ndarray, near: int) -> float:
    """Factor by which the run's distances exceed the linear ones at most: what a map that is not
    linear adds.
    """
    count = min(len(series), len(distances) - near)
    clear = series[:count] > 1e-8
    return max(
        1.0,
        float(np.max(distances[near : near + count][clear] / series[:count][clear], initial=1.0)),
    )


@dataclass(frozen=True, kw_only=True)
class Exit:
    """What stopping at the first step below a threshold misses.

    Args:
        threshold: of the relative step.
        loop: the first loop whose step is below it; None where none is.
        step: that step.
        left: true relative distance to x* then, from the run.
        predicted: the same from the step alone, by all modes; None without it.
        one_mode: by |mu_1| / |1 - mu_1| alone.
    """

    threshold: float
    loop: int | None
    step: float | None
    left: float | None
    predicted: float | None
    one_mode: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(self.__dict__)


def step_exit(
    run: Orbit, point: FixedPoint, linear: Linear, leader: Mode, threshold: float
) -> Exit:
    """Stop at the first step below a threshold, and see how far x* still is.

    Args:
        run: the orbit.
        point: where it goes.
        linear: J there.
        leader: mu_1.
        threshold: of ||x_{k+1} - x_k|| / scale.
    """
    small = np.flatnonzero(run.steps < threshold)
    if not small.size:
        return Exit(
            threshold=threshold, loop=None, step=None, left=None, predicted=None, one_mode=None
        )
    k = int(small[0]) + 1
    step = (run.states[k] - run.states[k - 1]) / run.scale
    size = float(np.linalg.norm(step))
    factor = exit_factor(leader.value)
    return Exit(
        threshold=threshold,
        loop=k,
        step=size,
        left=float(run.distances(point.point)[k]),
        predicted=distance_left(linear, step),
        one_mode=factor * size if np.isfinite(factor) else None,
    )
