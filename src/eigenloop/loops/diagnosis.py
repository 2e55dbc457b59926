"""Everything that is measured on one looped map from one start, as one result: `diagnose`.

run the loop  ->  find the fixed point  ->  modes, bracket  ->  rate, loops worth running, exits  ->
    verdict
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.loops import orbits
from eigenloop.loops.brackets import Bracket, bracket
from eigenloop.loops.fixed_points import FixedPoint, fixed_point
from eigenloop.loops.forecast import Exit, Needed, loops_needed_to, step_exit, usefulness
from eigenloop.loops.linear import Linear, flat_start
from eigenloop.loops.lyapunov import BLOCKS, Exponents, exponents
from eigenloop.loops.maps import LoopedMap
from eigenloop.loops.modes import Mode, Spectrum, spectrum
from eigenloop.loops.orbits import Orbit, left_rate, orbit
from eigenloop.loops.starts import Ends, ends
from eigenloop.loops.verdicts import Evidence, Verdict, stability, verdict
from eigenloop.numerics.rates import ModeRate
from eigenloop.system.errors import InputError

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Relative distances that loops are counted to."""

LONGER = 4
"""A loop that has not settled is run this many times longer, and then, while small, up to `WORK`
numbers.
"""

WORK, MOST = 2_000_000, 4096
EXPONENT_WORK, EXPONENT_LOOPS = 400_000, (200, 2000)
"""Numbers of the states that exponents are computed from, and the fewest and most loops."""

CLOSE = 1e-2
"""Part of an orbit's size within which a cycle that a solver finds is the orbit's own."""

REPEATS = 1e-9
"""Relative difference below which states repeat."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Diagnosis:
    """What one looped map does from one start.

    Args:
        looped: the map.
        orbit: states and norms.
        verdict: in words, with its sentence.
        point: the fixed point (of f^p for a period), found by a solver.
        reached: whether the loop comes to it.
        linear: the derivative there; None without a point.
        spectrum: its leading modes; None without a point.
        bracket: of its radius; None without a point, or left out.
        period: of the last states; None where they do not repeat.
        rate: on the left coordinate of mu_1.
        lyapunov: exponents; None where the loop settles.
        needed: loops to each tolerance; None where the loop goes to no attracting point.
        exits: what stopping at a step below each tolerance misses.
        ends: of several starts, where they were given.
        readout: what the user reads out, at every loop.
        reasons: why something is None, by name.
    """

    looped: LoopedMap
    orbit: Orbit
    verdict: Verdict
    point: FixedPoint
    reached: bool
    linear: Linear | None
    spectrum: Spectrum | None
    bracket: Bracket | None
    period: int | None
    rate: ModeRate | None
    lyapunov: Exponents | None
    needed: tuple[Needed, ...] | None
    exits: tuple[Exit, ...] | None
    ends: Ends | None
    readout: Float[np.ndarray, " k"] | None
    reasons: dict[str, str]

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The leading modes, by falling modulus; empty without a fixed point."""
        return self.spectrum.modes if self.spectrum is not None else ()

    @property
    def states(self) -> Float[np.ndarray, "k *shape"]:
        """x_0, ..., x_K in the user's shape."""
        return self.orbit.asked.reshape(-1, *self.looped.shape)

    def loops_to(self, tolerance: float) -> Needed:
        """Loops to a relative distance: the forecast beside what it took.

        Raises:
            InputError: the loop goes to no attracting fixed point, or the tolerance is not in (0,
                1).
        """
        if self.needed is None or self.linear is None:
            raise InputError(f"no loops lead to a tolerance: {self.reasons['loops_to']}")
        norm = self.bracket.singular[0] if self.bracket and self.bracket.singular else None
        return loops_needed_to(
            self.orbit, self.point, self.linear, self.modes[0], (tolerance,), norm=norm
        )[0]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what cannot be said is null, with its reason under `reasons`."""
        point, rate = self.point, self.rate
        return {
            "map": self.looped.name,
            "size": self.looped.size,
            "loops": self.orbit.loops,
            "total": self.orbit.total,
            "verdict": str(self.verdict),
            "sentence": self.verdict.sentence,
            "notes": list(self.looped.notes),
            "fixed_point": {
                "found": point.found,
                "reached": self.reached,
                "residual": _finite(point.residual),
                "error": _finite(point.error),
                "steps": point.steps,
                "reason": point.reason or None,
                "stability": stability(self.spectrum)[0] if self.spectrum is not None else None,
            },
            "modes": [mode.as_dict() for mode in self.modes] or None,
            "gap": self.spectrum.gap if self.spectrum is not None else None,
            "missed": self.spectrum.missed if self.spectrum is not None else None,
            "bracket": self.bracket.as_dict() if self.bracket is not None else None,
            "rate": None if rate is None else dict(rate.__dict__),
            "lyapunov": self.lyapunov.as_dict() if self.lyapunov is not None else None,
            "loops_to": None if self.needed is None else [each.as_dict() for each in self.needed],
            "exits": None if self.exits is None else [each.as_dict() for each in self.exits],
            "ends": None if self.ends is None else self.ends.as_dict(),
            "readout": None if self.readout is None else self.readout.tolist(),
            "reasons": self.reasons,
        }


def diagnose(
    looped: LoopedMap,
    x0: Any = None,
    *,
    loops: int = 64,
    tolerances: Sequence[float] = TOLERANCES,
    starts: Float[np.ndarray, "s n"] | None = None,
    readout: Callable[[np.ndarray], float] | None = None,
    norms: bool = True,
    seed: int = 0,
) -> Diagnosis:
    """What a looped map does: where it goes, how fast, and how many loops are worth running.

    Args:
        looped: from `LoopedMap.numpy`, `.jax` or `.torch`.
        x0: where to begin, in the map's shape; its own start by default.
        loops: K that the user runs or means to run.
        tolerances: relative distances that loops are counted to.
        starts: further starts, flat, (s, n), whose ends are compared.
        readout: state -> a number by which loops are judged, such as a loss.
        norms: compute ||J^p||, the bracket's upper end: most of the cost of large maps.
        seed: of every random vector.

    Raises:
        InputError: loops below 1, a start or a tolerance that does not fit.

    Example:
        >>> spiral = LoopedMap.numpy(lambda x: 0.5 * np.array([-x[1], x[0]]) + 1.0, np.zeros(2))
        >>> found = diagnose(spiral)
        >>> str(found.verdict), found.modes[0].value, found.loops_to(1e-3).taken
        ('contracts, rotating', 0.5j, 10)
    """
    if loops < 1:
        raise InputError(f"loops is {loops}; at least 1 is needed")
    x = looped.start if x0 is None else _start(looped, x0)
    run = orbit(looped, x, loops=loops, more=LONGER * loops)
    seen = _evidence(looped, run, seed)
    more = min(WORK // looped.size, MOST)
    if _unsettled(seen) and more > run.total and run.total >= loops:
        run = orbit(looped, x, loops=loops, more=more)
        seen = _evidence(looped, run, seed)
    for share in (1, LONGER):
        if _unsettled(seen):
            seen = _evidence(looped, run, seed, wandering=share)
    return _diagnosis(looped, run, seen, tolerances, starts, readout, norms=norms, seed=seed)


def _start(looped: LoopedMap, x0: Any) -> np.ndarray:
    x0 = x0.detach().cpu().numpy() if hasattr(x0, "detach") else x0
    return looped.flat(flat_start(x0)[0].reshape(np.shape(x0)))


def _unsettled(seen: Evidence) -> bool:
    """Whether more loops, or exponents, may tell more."""
    return verdict(seen).word == "undecided" and seen.period != 1


def _evidence(looped: LoopedMap, run: Orbit, seed: int, *, wandering: int = 0) -> Evidence:
    """What the run shows, the fixed point and its modes."""
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
        least, most = EXPONENT_LOOPS
        counted = int(np.clip(wandering * EXPONENT_WORK // looped.size, least, wandering * most))
        wander = exponents(looped, tail[-1], loops=counted - counted % BLOCKS, seed=seed)
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


def _diagnosis(
    looped: LoopedMap,
    run: Orbit,
    seen: Evidence,
    tolerances: Sequence[float],
    starts: np.ndarray | None,
    readout: Callable[[np.ndarray], float] | None,
    *,
    norms: bool,
    seed: int,
) -> Diagnosis:
    """Rate, loops and exits at the fixed point, beside the verdict."""
    said, point, reasons = verdict(seen), seen.point, dict[str, str]()
    linear = along(looped, point.point, seen.period or 1) if seen.spectrum is not None else None
    reached = (
        said.word in ("contracts", "marginal") and point.found and (seen.end_distance or 0.0) < 1
    )
    bounds, rate, needed, exits = None, None, None, None
    if seen.spectrum is None or linear is None:
        reasons |= dict.fromkeys(
            ("modes", "bracket", "rate", "loops_to", "exits"), f"no fixed point: {point.reason}"
        )
    else:
        bounds = bracket(linear, seen.spectrum, seed=seed) if norms else None
        if bounds is None:
            reasons["bracket"] = "norms of J^p were left out"
        if (seen.period or 1) > 1:
            reasons["rate"] = "the states repeat in turn; the modes are those of as many loops"
        else:
            rate, why = left_rate(run, point, seen.spectrum.modes[0], noise=looped.noise)
            reasons |= {"rate": why} if rate is None else {}
        if reached and (seen.period or 1) == 1 and stability(seen.spectrum)[0] == "attracts":
            norm = bounds.singular[0] if bounds is not None and bounds.singular else None
            leader = seen.spectrum.modes[0]
            needed = loops_needed_to(run, point, linear, leader, tolerances, norm=norm)
            exits = tuple(
                step_exit(run, point, linear, leader, tolerance) for tolerance in tolerances
            )
        else:
            reasons |= dict.fromkeys(
                ("loops_to", "exits"), f"the loop goes to no attracting fixed point ({said})"
            )
    if seen.exponents is None:
        settles = "the loop does not wander: the exponents at its end are log |mu_i|"
        reasons["lyapunov"] = (
            settles if said.word not in ("grows", "blows up", "undecided") else said.sentence
        )
    if starts is None:
        reasons["ends"] = "no other starts were given"
    if readout is None:
        reasons["readout"] = "no readout was given"
    return Diagnosis(
        looped=looped,
        orbit=run,
        verdict=said,
        point=point,
        reached=reached,
        linear=linear,
        spectrum=seen.spectrum,
        bracket=bounds,
        period=seen.period,
        rate=rate,
        lyapunov=seen.exponents,
        needed=needed,
        exits=exits,
        ends=None if starts is None else ends(looped, starts, loops=run.total, scale=run.scale),
        readout=None if readout is None else usefulness(run, readout, looped.shape),
        reasons=reasons,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
