"""What a looped map does from a start: states, distances, steps, period, growth, and the rate on
the left coordinate.

    c_k = w^H (x_k - x*) / scale,    c_{k+1} = mu c_k near x*

A coordinate along a left eigenvector is multiplied by mu whatever the other modes do; a distance is
not (NumPy).
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eigenloop.loops.fixed_points import FixedPoint
from eigenloop.loops.maps import LoopedMap
from eigenloop.loops.modes import Mode
from eigenloop.numerics.rates import ModeRate, fit_mode
from eigenloop.numerics.statistics import MIN_POINTS

BEYOND = 1e100
"""A state longer than this blows up."""

LINEAR = 0.05
"""Relative distance below which a map counts as linear where its rate is measured."""

LONGEST = 64
"""Longest period that is looked for."""

KEPT = 5
"""States are kept for this many times the loops asked for: how long it takes may lie beyond
them.
"""

DOUBLED = 1.3
"""Growth of the norm over each doubling of the loops that counts as growth without end: sqrt(k)
grows by 1.41.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Orbit:
    """States x_0, x_1, ... of a map, and where a longer run went.

    Args:
        states: (k + 1, n), of up to `KEPT` K loops with K as asked for; fewer where it blew up.
        tail: the last states of the longer run, (t, n).
        norms: ||x_k|| of the longer run, from 0.
        loops: K as asked for.
        blew_up: a state that is not finite, or longer than `BEYOND`.
    """

    states: Float[np.ndarray, "k n"]
    tail: Float[np.ndarray, "t n"]
    norms: Float[np.ndarray, " m"]
    loops: int
    blew_up: bool

    @property
    def total(self) -> int:
        """Loops of the longer run."""
        return len(self.norms) - 1

    @property
    def scale(self) -> float:
        """The length of every relative number: the larger of x_K and of the way it has come, x_K -
        x_0.

        A state that shrinks to 0 is measured by where it began; one that grows by no more than 1000
        times that.
        """
        start, end = self.states[0], self.asked[-1]
        first, last, way = (float(np.linalg.norm(each)) for each in (start, end, end - start))
        return min(max(last, way), 1e3 * first if first else np.inf) or 1.0

    @property
    def asked(self) -> Float[np.ndarray, "k n"]:
        """x_0, ..., x_K of the loops asked for."""
        return self.states[: self.loops + 1]

    @property
    def steps(self) -> Float[np.ndarray, " k"]:
        """||x_{k+1} - x_k|| / scale of the states kept."""
        return np.linalg.norm(np.diff(self.states, axis=0), axis=1) / self.scale

    def distances(self, point: Float[np.ndarray, " n"]) -> Float[np.ndarray, " k"]:
        """||x_k - point|| / scale of the states kept."""
        return np.linalg.norm(self.states - point, axis=1) / self.scale


def orbit(looped: LoopedMap, x: Float[np.ndarray, " n"], *, loops: int, more: int = 0) -> Orbit:
    """Apply a map K times, and `more` times after that; `KEPT` K states are kept.

    Args:
        looped: f.
        x: x_0, flat.
        loops: K >= 1.
        more: loops after them.

    Example:
        >>> halve = LoopedMap.numpy(lambda x: 0.5 * x, np.ones(1))
        >>> orbit(halve, halve.start, loops=3).states.ravel()
        array([1.   , 0.5  , 0.25 , 0.125])
    """
    states, norms = [x], [float(np.linalg.norm(x))]
    tail: list[np.ndarray] = [x]
    length = 2 * LONGEST + 2
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(loops + more):
            y = looped.step(tail[-1])
            size = float(np.linalg.norm(y))
            if not size <= BEYOND:
                return Orbit(
                    states=np.stack(states),
                    tail=np.stack(tail),
                    norms=np.array(norms),
                    loops=loops,
                    blew_up=True,
                )
            norms.append(size)
            tail.append(y)
            del tail[:-length]
            if k < KEPT * loops:
                states.append(y)
    return Orbit(
        states=np.stack(states),
        tail=np.stack(tail),
        norms=np.array(norms),
        loops=loops,
        blew_up=False,
    )


def period(tail: Float[np.ndarray, "t n"], *, scale: float, tolerance: float) -> int | None:
    """Smallest p with ||x_{k+p} - x_k|| < tolerance scale for the last p states; None where there
    is none.

    A state that alternates on its way to a fixed point nearly repeats in two before it does in one:
    a period counts only where the states differ by a thousand tolerances for each of its divisors.

    Example:
        >>> period(np.array([[1.0], [2.0], [1.0], [2.0], [1.0]]), scale=1.0, tolerance=1e-9)
        2
    """

    def apart(p: int) -> float:
        return float(np.linalg.norm(tail[-p:] - tail[-2 * p : -p], axis=1).max())

    for p in range(1, min(LONGEST, (len(tail) - 1) // 2) + 1):
        if apart(p) < tolerance * scale:
            divisors = [q for q in range(1, p) if p % q == 0]
            return p if all(apart(q) > 1e3 * tolerance * scale for q in divisors) else None
    return None


def grows(norms: Float[np.ndarray, " m"]) -> bool:
    """Whether a norm goes on growing: each of the last three octaves of loops exceeds the one
    before by `DOUBLED`.

    The smallest of the last must be above the largest of the last but two, so that returns are no
    growth.

    Example:
        >>> grows(np.arange(1.0, 200.0)), grows(1 + 0.5 * np.sin(np.arange(200.0)))
        (True, False)
    """
    count = len(norms)
    if count < 16:
        return False
    cuts = [count // 8, count // 4, count // 2, count]
    octaves = [norms[a:b] for a, b in itertools.pairwise(cuts)]
    tops = [float(octave.max()) for octave in octaves]
    rising = all(b > DOUBLED * a for a, b in itertools.pairwise(tops))
    return rising and float(octaves[-1].min()) > tops[0]


def left_rate(
    run: Orbit, point: FixedPoint, mode: Mode, *, noise: float
) -> tuple[ModeRate | None, str]:
    """The factor per loop of c_k = w^H (x_k - x*), where the states are near x*; or None and why
    not.

    Only the second half of the loops near x* is used: what is not linear fades in the first. They
    end where |c_k| is the root of the rounding e: there a quadratic term, |c_k|, and rounding, e /
    |c_k|, disturb a factor alike.

    Args:
        run: the orbit.
        point: x*.
        mode: with its left vector.
        noise: of the map; coordinates near it are rounding.

    Returns:
        (rate, "") or (None, reason).
    """
    if mode.left is None:
        return None, "the left vector of mu_1 is not known: pass reverse products (vjp)"
    distances = run.distances(point.point)
    c = (run.states - point.point) @ mode.left.conj() / run.scale
    floor = max(noise, point.error or 0.0, float(np.finfo(float).eps)) ** 0.5
    near = np.flatnonzero(distances >= LINEAR)
    first = int(near[-1]) + 1 if mode.modulus < 1 and near.size else 0
    stop = len(c)
    if mode.modulus >= 1:  # it leaves x*: the loops before it is far
        stop = int(near[0]) if near.size else stop
    rounding = np.flatnonzero(np.abs(c[first:stop]) <= floor)
    stop = first + int(rounding[0]) if rounding.size else stop
    if first >= len(c):
        return (
            None,
            (
                f"the states are still {distances[-1]:.2g} from x* after {len(c) - 1} loops, above"
                f" {LINEAR:g}"
            ),
        )
    start = first + (stop - first) // 2 if mode.modulus < 1 else first
    if stop - start < MIN_POINTS:
        return (
            None,
            (
                f"{max(stop - first, 0)} loops lie between a distance of {LINEAR:g} and rounding;"
                f" {2 * MIN_POINTS} are needed, so give more loops or another start"
            ),
        )
    return fit_mode(c[start:stop], first=start), ""
