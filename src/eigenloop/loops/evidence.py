"""What one orbit shows, before a verdict: where it went, the fixed point or cycle, its modes,
exponents (NumPy).
"""

import numpy as np
from jaxtyping import Float

from eigenloop.loops import orbits
from eigenloop.loops.fixed_points import FixedPoint, fixed_point
from eigenloop.loops.linear import Linear
from eigenloop.loops.lyapunov import BLOCKS, exponents
from eigenloop.loops.maps import LoopedMap
from eigenloop.loops.modes import Spectrum, spectrum
from eigenloop.loops.orbits import Orbit
from eigenloop.loops.verdicts import Evidence, stability, verdict

COUNT = 4
"""Lyapunov exponents computed where a loop does not settle."""

EXPONENT_WORK, EXPONENT_LOOPS = 400_000, (200, 2000)
"""Numbers of the states that exponents are computed from, and the fewest and most loops."""

CLOSE = 1e-2
"""Part of an orbit's size within which a cycle that a solver finds is the orbit's own."""

REPEATS = 1e-9
"""Relative difference below which states repeat."""


def unsettled(seen: Evidence) -> bool:
    """Whether more loops, or exponents, may tell more."""
    return verdict(seen).word == "undecided" and seen.period != 1


def evidence(
    looped: LoopedMap,
    run: Orbit,
    *,
    seed: int,
    wandering: int = 0,
    count: int = COUNT,
    loops: int | None = None,
) -> Evidence:
    """What the run shows, the fixed point and its modes.

    Args:
        looped: f.
        run: its orbit.
        seed: of random vectors.
        wandering: Lyapunov exponents are computed too, over so many times the usual loops.
        count: how many of them.
        loops: that they are counted over, in place of the usual ones.
    """
    scale, tail = run.scale, run.tail
    repeats = (
        None
        if run.blew_up
        else orbits.period(tail, scale=scale, tolerance=max(REPEATS, 100 * looped.noise))
    )
    growing = orbits.grows(run.norms)
    point, found, cycle = _point(looped, run, repeats, seed, fixed_only=run.blew_up or growing)
    last = float(np.linalg.norm(tail[-1] - point.point)) / scale
    wander = None
    if wandering:
        wander = exponents(
            looped, tail[-1], count=count, loops=loops or usual_loops(looped, wandering), seed=seed
        )
    return Evidence(
        loops=run.loops,
        total=run.total,
        blew_up=run.total + 1 if run.blew_up else None,
        grows=growing,
        lengthened=float(run.norms[-1] / (run.norms[0] or 1.0)),
        period=cycle,
        repeated=repeats is not None,
        point=point,
        spectrum=found,
        distance=float(run.distances(point.point)[len(run.asked) - 1]) if point.found else None,
        end_distance=last if point.found else None,
        exponents=wander,
        approach=_approach(tail, point) if point.found else None,
        returns=_returns(tail),
    )


def _approach(tail: np.ndarray, point: FixedPoint) -> float | None:
    """Factor per loop by which the last states come closer, from the largest distance in each
    half of them.
    """
    distances, half = np.linalg.norm(tail - point.point, axis=1), len(tail) // 2
    if half < 4:
        return None
    early, late = float(distances[:half].max()), float(distances[-half:].max())
    settled = max(point.error or 0.0, point.residual, 1e-12) * 10 * point.scale
    return 0.0 if late <= settled else (late / early) ** (1 / half)


def _point(
    looped: LoopedMap, run: Orbit, repeats: int | None, seed: int, *, fixed_only: bool
) -> tuple[FixedPoint, Spectrum | None, int | None]:
    """The fixed point, or the point of a cycle, that belongs to the orbit; its modes; and the
    period.

    Where nothing repeats and no attracting fixed point is found, a cycle is looked for close to the
    last states: one that attracts slowly is not yet repeated.
    """
    scale, tail = run.scale, run.tail
    # a repelling point is passed by
    quiet = run.states[int(np.argmin(run.steps)) if len(run.states) > 1 else 0]
    with np.errstate(over="ignore", invalid="ignore"):
        point = fixed_point(looped, tail[-1], scale=scale, period=repeats or 1)
        if not point.found and repeats is None:
            other = fixed_point(looped, quiet, scale=scale)
            point = other if other.found else point
        found = (
            spectrum(along(looped, point.point, repeats or 1), seed=seed) if point.found else None
        )
        attracted = found is not None and stability(found)[0] == "attracts"
        if repeats is not None or fixed_only or attracted:
            return point, found, repeats
        cycle = _cycle(looped, tail, scale, seed)
    return cycle if cycle is not None else (point, found, None)


def _cycle(
    looped: LoopedMap, tail: np.ndarray, scale: float, seed: int
) -> tuple[FixedPoint, Spectrum, int] | None:
    """An attracting cycle within a hundredth of the last state, of the period that it nearly
    repeats with.
    """
    apart = np.linalg.norm(tail[-2::-1][: orbits.LONGEST] - tail[-1], axis=1)
    if len(apart) < 2:
        return None
    p = int(np.argmin(apart)) + 1
    spread = float(np.linalg.norm(tail - tail.mean(0), axis=1).max())
    if p == 1 or apart[p - 1] > CLOSE * spread:
        return None
    point = fixed_point(looped, tail[-1], scale=scale, period=p)
    away = float(np.linalg.norm(looped.step(point.point) - point.point))
    if (
        not point.found
        or away < CLOSE * spread
        or np.linalg.norm(point.point - tail[-1]) > CLOSE * spread
    ):
        return None
    found = spectrum(along(looped, point.point, p), seed=seed)
    return (point, found, p) if stability(found)[0] == "attracts" else None


def along(looped: LoopedMap, point: Float[np.ndarray, " n"], period: int) -> Linear:
    """The derivative of f^p at a point: the product of those along its orbit."""
    turns, x = [], point
    for _ in range(period):
        turns.append(looped.at(x))
        x = looped.step(x)
    if period == 1:
        return turns[0]

    def forward(v: np.ndarray) -> np.ndarray:
        for linear in turns:
            v = linear.push(v)
        return v

    def reverse(u: np.ndarray) -> np.ndarray:
        for linear in reversed(turns):
            assert linear.reverse is not None
            u = linear.reverse(u)
        return u

    pulls = all(linear.reverse is not None for linear in turns)
    return Linear(
        turns[0].size, forward, reverse if pulls else None, max(linear.noise for linear in turns)
    )


def _returns(tail: np.ndarray) -> float | None:
    """Closest of the earlier states to the last one, relative to the size of the orbit."""
    if len(tail) < 8:
        return None
    size = float(np.linalg.norm(tail - tail.mean(0), axis=1).max())
    return float(np.linalg.norm(tail[:-3] - tail[-1], axis=1).min()) / size if size > 0 else None


def usual_loops(looped: LoopedMap, share: int = 1) -> int:
    """Loops that exponents are counted over, fewer for large states; a multiple of the blocks."""
    least, most = EXPONENT_LOOPS
    counted = int(np.clip(share * EXPONENT_WORK // looped.size, least, share * most))
    return counted - counted % BLOCKS
