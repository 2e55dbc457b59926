"""Where different starts end: path independence, shares of ends, alignment up to sign, and maps of
a slice (NumPy).

    alignment = mean cos(x_i, x_j) over pairs of ends
        (1: path independent, Anil et al., arXiv 2211.09961)

An odd map, such as N(M x), has ends +-u, which are one line and two ends: |cos| stands beside cos.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eigenloop.loops.maps import LoopedMap
from eigenloop.system.errors import InputError

APART = 1e-3
"""Ends closer than this, relative to their scale, are one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Ends:
    """The ends of several starts.

    Args:
        states: the last states, (starts, n).
        labels: which end each start came to, 0 the most frequent; -1 where the state was still
            moving or not finite.
        shares: starts at each end, falling.
        settled: starts whose last step is below `APART`.
        cosines: of all pairs of finite ends, (s, s).
        loops: that were run.
    """

    states: Float[np.ndarray, "s n"]
    labels: Int[np.ndarray, " s"]
    shares: tuple[int, ...]
    settled: int
    cosines: Float[np.ndarray, "f f"]
    loops: int

    @property
    def alignment(self) -> float | None:
        """Mean cosine between different ends; None with fewer than two finite ones."""
        return self._mean(self.cosines)

    @property
    def alignment_up_to_sign(self) -> float | None:
        """Mean |cosine|: 1 where all ends lie on one line."""
        return self._mean(np.abs(self.cosines))

    @property
    def worst(self) -> float | None:
        """Smallest cosine."""
        return float(self.cosines.min()) if len(self.cosines) > 1 else None

    @staticmethod
    def _mean(cosines: np.ndarray) -> float | None:
        off = cosines[~np.eye(len(cosines), dtype=bool)]
        return float(off.mean()) if off.size else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "starts": len(self.labels),
            "settled": self.settled,
            "ends": len(self.shares),
            "shares": list(self.shares),
            "alignment": self.alignment,
            "alignment_up_to_sign": self.alignment_up_to_sign,
            "worst": self.worst,
            "loops": self.loops,
        }


def ends(looped: LoopedMap, starts: Float[np.ndarray, "s n"], *, loops: int, scale: float) -> Ends:
    """Run every start and group where they end.

    Args:
        looped: f.
        starts: (s, n), flat states.
        loops: K.
        scale: the length that distances are relative to.

    Raises:
        InputError: starts of another size.

    Example:
        >>> odd = LoopedMap.numpy(lambda x: x / np.linalg.norm(x), np.ones(1))
        >>> found = ends(odd, np.array([[2.0], [3.0], [-1.0]]), loops=2, scale=1.0)
        >>> found.shares, found.alignment_up_to_sign
        ((2, 1), 1.0)
    """
    if starts.ndim != 2 or starts.shape[1] != looped.size:
        raise InputError(
            f"starts have shape {starts.shape}; one row of {looped.size} numbers for each was"
            " expected"
        )
    final, moving = [], []
    with np.errstate(over="ignore", invalid="ignore"):
        for x in starts:
            for _ in range(loops):
                x = looped.step(x)
            final.append(x)
            moving.append(float(np.linalg.norm(looped.step(x) - x)) / scale)
    states = np.stack(final)
    finite = np.isfinite(states).all(axis=1) & np.isfinite(moving)
    still = finite & (np.nan_to_num(moving, nan=np.inf) < APART)
    labels = _grouped(states, still, scale)
    sizes = np.linalg.norm(states[finite], axis=1, keepdims=True)
    units = states[finite] / np.where(sizes > 0, sizes, 1)
    counts = np.bincount(labels[labels >= 0]) if (labels >= 0).any() else np.zeros(0, int)
    return Ends(
        states=states,
        labels=labels,
        shares=tuple(int(count) for count in counts),
        settled=int(still.sum()),
        cosines=np.clip(units @ units.T, -1, 1),
        loops=loops,
    )


def random_starts(looped: LoopedMap, count: int, *, seed: int = 0) -> Float[np.ndarray, "s n"]:
    """The map's own start, then random ones of its length: Gaussian directions, scaled to ||x_0||.

    Raises:
        InputError: fewer than one.
    """
    if count < 1:
        raise InputError(f"starts is {count}; at least 1 is needed")
    rng, x = np.random.default_rng(seed), looped.start
    length = float(np.linalg.norm(x)) or 1.0
    others = rng.standard_normal((count - 1, looped.size))
    return np.vstack([x, others * length / np.linalg.norm(others, axis=1, keepdims=True)])


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice:
    """Ends of the starts on a plane.

    Args:
        labels: end of each grid point, (rows, columns): row for the second direction; -1 where it
            was still moving.
        first: coordinates along the first direction, in lengths of the start.
        second: along the second.
        ends: of all grid points together.
    """

    labels: Int[np.ndarray, "r c"]
    first: Float[np.ndarray, " c"]
    second: Float[np.ndarray, " r"]
    ends: Ends


def slice_ends(
    looped: LoopedMap, *, loops: int, scale: float, points: int = 16, seed: int = 0
) -> Slice:
    """Which end each start of a two-dimensional slice comes to.

    x(s, t) = s x_0 + t ||x_0|| e, with e a random unit vector orthogonal to x_0; s and t from -1.5
    to 1.5.

    Args:
        looped: f.
        loops: K.
        scale: as for `ends`.
        points: of the grid, in each direction.
        seed: of e.
    """
    rng, x = np.random.default_rng(seed), looped.start
    length = float(np.linalg.norm(x)) or 1.0
    one = x if np.any(x) else rng.standard_normal(looped.size)
    one = one / np.linalg.norm(one) * length
    other = rng.standard_normal(looped.size)
    other -= (other @ one) * one / (one @ one)
    other *= length / (float(np.linalg.norm(other)) or 1.0)
    grid = np.linspace(-1.5, 1.5, points)
    starts = (grid[None, :, None] * one + grid[:, None, None] * other).reshape(-1, looped.size)
    found = ends(looped, starts, loops=loops, scale=scale)
    return Slice(labels=found.labels.reshape(points, points), first=grid, second=grid, ends=found)


def _grouped(states: np.ndarray, still: np.ndarray, scale: float) -> np.ndarray:
    """Labels by single linkage at `APART`, the largest group first; -1 for states that were
    still moving.
    """
    labels = np.full(len(states), -1)
    groups: list[list[int]] = []
    for i in np.flatnonzero(still):
        close = [
            g for g in groups if np.linalg.norm(states[g] - states[i], axis=1).min() < APART * scale
        ]
        merged = [i, *(j for group in close for j in group)]
        groups = [group for group in groups if group not in close] + [merged]
    for label, group in enumerate(sorted(groups, key=lambda each: (-len(each), min(each)))):
        labels[group] = label
    return labels
