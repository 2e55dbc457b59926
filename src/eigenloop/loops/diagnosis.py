"""Everything that is measured on one looped map from one start, as one result: `diagnose`.

run the loop  ->  find the fixed point  ->  modes, bracket  ->  rate, loops worth running, exits  ->
    verdict
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.loops.brackets import Bracket, bracket
from eigenloop.loops.evidence import COUNT, along, evidence, unsettled, usual_loops
from eigenloop.loops.fixed_points import FixedPoint
from eigenloop.loops.forecast import (
    Exit,
    Needed,
    check_tolerances,
    loops_needed_to,
    step_exit,
)
from eigenloop.loops.linear import Linear, flat_start
from eigenloop.loops.lyapunov import BLOCKS, Exponents, exponents
from eigenloop.loops.maps import LoopedMap
from eigenloop.loops.modes import Mode, Spectrum
from eigenloop.loops.orbits import Orbit, left_rate, orbit
from eigenloop.loops.readouts import usefulness
from eigenloop.loops.region import Region, linear_region
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
        region: where the map is linear about it; None where the loop goes to no attracting point,
            or no state is inside.
        needed: loops to each tolerance; None where the loop goes to no attracting point.
        exits: what stopping at a step below each tolerance misses.
        ends: of several starts, where they were given.
        readout: what the user reads out, at every loop.
        reads: what its numbers are: "The readout", or a divergence of logits.
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
    region: Region | None
    needed: tuple[Needed, ...] | None
    exits: tuple[Exit, ...] | None
    ends: Ends | None
    readout: Float[np.ndarray, " k"] | None
    reads: str | None
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
            self.orbit,
            self.point,
            self.linear,
            self.modes[0],
            (tolerance,),
            region=self.region,
            norm=norm,
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
            "linear_region": None if self.region is None else dict(self.region.__dict__),
            "loops_to": None if self.needed is None else [each.as_dict() for each in self.needed],
            "exits": None if self.exits is None else [each.as_dict() for each in self.exits],
            "ends": None if self.ends is None else self.ends.as_dict(),
            "readout": None if self.readout is None else self.readout.tolist(),
            "reads": self.reads,
            "reasons": self.reasons,
        }


def diagnose(
    looped: LoopedMap,
    x0: Any = None,
    *,
    loops: int = 64,
    tolerances: Sequence[float] = TOLERANCES,
    starts: Float[np.ndarray, "s n"] | None = None,
    readout: Callable[[Any], Any] | None = None,
    lyapunov: tuple[int, int | None] | None = None,
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
        readout: state -> a number by which loops are judged, such as a loss; or logits, which are
            compared with those of the last loop.
        lyapunov: (how many exponents, over how many loops or None): computed wherever the loop
            goes; by default, four where it does not settle.
        norms: compute ||J^p||, the bracket's upper end: most of the cost of large maps.
        seed: of every random vector.

    Raises:
        InputError: loops below 1, a start, a tolerance or a number of exponents that does not fit.

    Example:
        >>> spiral = LoopedMap.numpy(lambda x: 0.5 * np.array([-x[1], x[0]]) + 1.0, np.zeros(2))
        >>> found = diagnose(spiral)
        >>> str(found.verdict), found.modes[0].value, found.loops_to(1e-3).taken
        ('contracts, rotating', 0.5j, 10)
    """
    if loops < 1:
        raise InputError(f"loops is {loops}; at least 1 is needed")
    check_tolerances(tolerances)
    count, over = _asked(lyapunov)
    x = looped.start if x0 is None else _start(looped, x0)
    run = orbit(looped, x, loops=loops, more=LONGER * loops)
    seen = evidence(looped, run, seed=seed)
    more = min(WORK // looped.size, MOST)
    if unsettled(seen) and more > run.total and run.total >= loops:
        run = orbit(looped, x, loops=loops, more=more)
        seen = evidence(looped, run, seed=seed)
    for share in (1, LONGER):
        if unsettled(seen):
            seen = evidence(looped, run, seed=seed, wandering=share, count=count, loops=over)
    if lyapunov is not None and seen.exponents is None and not run.blew_up:
        wander = exponents(
            looped, run.tail[-1], count=count, loops=over or usual_loops(looped), seed=seed
        )
    else:
        wander = seen.exponents
    return _diagnosis(
        looped, run, seen, wander, tolerances, starts, readout, norms=norms, seed=seed
    )


def _asked(lyapunov: tuple[int, int | None] | None) -> tuple[int, int | None]:
    """How many exponents, over how many loops.

    Raises:
        InputError: fewer than one, or too few loops for their errors.
    """
    count, over = (COUNT, None) if lyapunov is None else lyapunov
    if count < 1:
        raise InputError(f"exponents is {count}; at least 1 is needed")
    if over is not None and over < 2 * BLOCKS:
        raise InputError(
            f"exponents are to be counted over {over} loops; their errors need at least"
            f" {2 * BLOCKS}"
        )
    return count, over


def _start(looped: LoopedMap, x0: Any) -> np.ndarray:
    if looped.tree is not None:
        return looped.flat(x0)
    x0 = x0.detach().cpu().numpy() if hasattr(x0, "detach") else x0
    return looped.flat(flat_start(x0)[0].reshape(np.shape(x0)))


def _diagnosis(
    looped: LoopedMap,
    run: Orbit,
    seen: Evidence,
    wander: Exponents | None,
    tolerances: Sequence[float],
    starts: np.ndarray | None,
    readout: Callable[[Any], Any] | None,
    *,
    norms: bool,
    seed: int,
) -> Diagnosis:
    """What is found at the fixed point, beside the verdict; and why the rest is None."""
    said, point, reasons = verdict(seen), seen.point, dict[str, str]()
    linear = along(looped, point.point, seen.period or 1) if seen.spectrum is not None else None
    reached = (
        said.word in ("contracts", "marginal") and point.found and (seen.end_distance or 0.0) < 1
    )
    at = _AtPoint()
    if seen.spectrum is None or linear is None:
        names = ("modes", "bracket", "rate", "linear_region", "loops_to", "exits")
        reasons |= dict.fromkeys(names, f"no fixed point: {point.reason}")
    else:
        bounds = bracket(linear, seen.spectrum, seed=seed) if norms else None
        if bounds is None:
            reasons["bracket"] = "norms of J^p were left out"
        at = _at_point(looped, run, seen, linear, bounds, tolerances, reasons, reached=reached)
        if at.needed is None:
            away = f"the loop goes to no attracting fixed point ({said})"
            reasons |= dict.fromkeys(("linear_region", "loops_to", "exits"), away)
    if wander is None:
        settles = "the loop does not wander: the exponents at its end are log |mu_i|"
        reasons["lyapunov"] = (
            settles if said.word not in ("grows", "blows up", "undecided") else said.sentence
        )
    if starts is None:
        reasons["ends"] = "no other starts were given"
    if readout is None:
        reasons["readout"] = "no readout was given"
    read, about = (None, None) if readout is None else usefulness(run, readout, looped.state)
    return Diagnosis(
        looped=looped,
        orbit=run,
        verdict=said,
        point=point,
        reached=reached,
        linear=linear,
        spectrum=seen.spectrum,
        bracket=at.bracket,
        period=seen.period,
        rate=at.rate,
        lyapunov=wander,
        region=at.region,
        needed=at.needed,
        exits=at.exits,
        ends=None if starts is None else ends(looped, starts, loops=run.total, scale=run.scale),
        readout=read,
        reads=about,
        reasons=reasons,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _AtPoint:
    """What is found at a fixed point."""

    bracket: Bracket | None = None
    rate: ModeRate | None = None
    region: Region | None = None
    needed: tuple[Needed, ...] | None = None
    exits: tuple[Exit, ...] | None = None


def _at_point(
    looped: LoopedMap,
    run: Orbit,
    seen: Evidence,
    linear: Linear,
    bounds: Bracket | None,
    tolerances: Sequence[float],
    reasons: dict[str, str],
    *,
    reached: bool,
) -> _AtPoint:
    """Rate, linear region, loops and exits; what is None is told in `reasons`."""
    assert seen.spectrum is not None
    point, leader = seen.point, seen.spectrum.modes[0]
    if (seen.period or 1) > 1:
        reasons["rate"] = "the states repeat in turn; the modes are those of as many loops"
        return _AtPoint(bracket=bounds)
    rate, why = left_rate(run, point, leader, noise=looped.noise)
    reasons |= {"rate": why} if rate is None else {}
    if not reached or stability(seen.spectrum)[0] != "attracts":
        return _AtPoint(bracket=bounds, rate=rate)
    region = linear_region(
        linear,
        run.states - point.point,
        leader,
        scale=run.scale,
        noise=max(looped.noise, point.residual),
    )
    if region is None:
        reasons["linear_region"] = f"no state of {len(run.states) - 1} loops is inside it"
    norm = bounds.singular[0] if bounds is not None and bounds.singular else None
    return _AtPoint(
        bracket=bounds,
        rate=rate,
        region=region,
        needed=loops_needed_to(run, point, linear, leader, tolerances, region=region, norm=norm),
        exits=tuple(step_exit(run, point, linear, leader, each) for each in tolerances),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
