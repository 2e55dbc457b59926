"""The left coordinates of a run, loop by loop, and which of two points in turn a loop comes to."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from eigenloop.lens.loops.block import LoopedBlock
from eigenloop.lens.loops.contraction import Attractor, LeftMode
from eigenloop.system.errors import InputError


def mean_coordinates(
    means: Float[np.ndarray, "k d"], found: Attractor, shift: int
) -> Callable[[int, LeftMode], tuple[np.ndarray, np.ndarray]]:
    """l (xbar_k - x*) / ||x*||, at the loops whose turn the first point is."""

    def at(first: int, mode: LeftMode) -> tuple[np.ndarray, np.ndarray]:
        loops = _turns(first, len(means), found.period, shift)
        point = found.points[0]
        return loops, (means[loops] - point) @ mode.vector[:, None] / np.linalg.norm(point)

    return at


def deviation_coordinates(
    block: LoopedBlock,
    kept: tuple[int, np.ndarray],
    found: Attractor,
    shift: int,
    loops: int,
    least: float,
) -> Callable[[int, LeftMode], tuple[np.ndarray, np.ndarray]]:
    """m (x_ki - xbar_k) / (sqrt(n) ||x*||) for all tokens i, by applying the layer again from the
    states kept.

    Args:
        block: the layer on all tokens.
        kept: the loop from which the spread stays small, and the states before it.
        found: the attractor.
        shift: as for `mean_coordinates`.
        loops: K.
        least: coordinates at or below it are not gone on from.
    """

    def at(first: int, mode: LeftMode) -> tuple[np.ndarray, np.ndarray]:
        k, x = kept
        if k != first:
            raise InputError(f"the states of loop {k} were kept, those of loop {first} are needed")
        size, told, rows = np.linalg.norm(found.points[0]) * np.sqrt(len(x)), [], []
        wanted = set(_turns(first, loops + 1, found.period, shift).tolist())
        for k in range(first, loops + 1):
            if k in wanted:
                told.append(k)
                rows.append((x - x.mean(0)) @ mode.vector / size)
                if np.linalg.norm(rows[-1]) <= least:
                    break
            x = block(x) if k < loops else x
        return np.array(told, int), np.stack(rows) if rows else np.zeros((0, len(x)))

    return at


def turn(means: Float[np.ndarray, "k d"], found: Attractor) -> tuple[int, Float[np.ndarray, " k"]]:
    """Which of two points has its turn at loop 0, and the distance of the mean token to the one
    whose turn it is.
    """
    size, turns = np.linalg.norm(found.points[0]), np.arange(len(means))
    series = [
        np.linalg.norm(means - found.points[(turns + shift) % found.period], axis=1) / size
        for shift in range(found.period)
    ]
    shift = int(np.argmin([each[-1] for each in series]))
    return shift, series[shift]


def _turns(first: int, stop: int, period: int, shift: int) -> np.ndarray:
    loops = np.arange(first, stop)
    return loops[(loops + shift) % period == 0]
