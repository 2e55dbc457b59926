"""Finding the strength for a signed cosine or a divergence, in a bounded number of runs (NumPy)."""

from collections.abc import Callable
from dataclasses import dataclass

from eigenloop.system.errors import InputError

EVALUATIONS = 12
"""Most runs of a search."""

LARGEST = 2.0
"""Largest strength that is tried."""

ACCURACY = 0.01
"""How near the goal a search stops, relative to the goal."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        strength: c.
        value: what was measured there.
        curve: every (c, value) that was measured, by c.
    """

    strength: float
    value: float
    curve: tuple[tuple[float, float], ...]


def search(
    measure: Callable[[float], float],
    goal: float,
    *,
    start: float = 0.05,
    largest: float = LARGEST,
    most: int = EVALUATIONS,
    name: str = "--target",
    not_above: bool = False,
) -> Found:
    """The smallest strength at which a measure that rises from strength 0 reaches a goal.

    The strength is doubled until the goal is passed, then the bracket is narrowed by regula falsi (Illinois).

    Args:
        measure: strength -> value.
        goal: the value wanted.
        start: first strength that is tried.
        largest: last one.
        most: most calls of `measure`.
        name: what asked for it, for an error.
        not_above: the goal is a budget: the largest strength tried that stays within it.

    Raises:
        InputError: the goal is below the value at strength 0, not reached at the largest strength tried, or (a budget)
            passed at every strength tried.

    Example:
        >>> round(search(lambda c: c * c, 0.09).strength, 2)
        0.3
    """
    seen = {0.0: measure(0.0)}
    if goal <= seen[0.0]:
        raise InputError(
            f"{name} is {goal:g}, and without any edit the model has {seen[0.0]:.4g}; ask for more than that"
        )
    low, high = 0.0, start
    seen[high] = measure(high)
    while seen[high] < goal and len(seen) < most:
        if high >= largest:
            break
        low, high = high, min(2 * high, largest)
        seen[high] = measure(high)
    if seen[high] < goal:
        best = max(seen, key=lambda c: seen[c])
        raise InputError(
            f"{name} is {goal:g}, but strength {best:g} reaches {seen[best]:.4g} and no strength up to {high:g} more; "
            "ask for less, or edit more --layers"
        )
    below, above = seen[low] - goal, seen[high] - goal
    while len(seen) < most and abs(seen[high] - goal) > ACCURACY * abs(goal):
        middle = (low * above - high * below) / (above - below)
        value = seen[middle] = measure(middle)
        if value >= goal:
            high, above, below = middle, value - goal, below / 2
        else:
            low, below, above = middle, value - goal, above / 2
            if abs(value - goal) <= ACCURACY * abs(goal):
                high = middle
    curve = tuple(sorted(seen.items()))
    if not_above:
        high = max(strength for strength, value in curve if value <= goal)
        if high == 0.0:
            least = min(strength for strength in seen if strength > 0)
            raise InputError(
                f"{name} is {goal:g}, and strength {least:.3g} has {seen[least]:.4g} already; ask for more"
            )
    return Found(high, seen[high], curve)
