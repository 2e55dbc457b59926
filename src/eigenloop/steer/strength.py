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
    away: bool = False,
) -> Found:
    """The smallest strength at which a measure that rises from strength 0 reaches a goal.

    The strength is doubled until the goal is passed, then the bracket is narrowed by regula falsi
    (Illinois). A goal below the value at strength 0 is met by strengths below 0: the same search
    for -measure(-c) and -goal.

    Args:
        measure: strength -> value.
        goal: the value wanted.
        start: first strength that is tried.
        largest: last one.
        most: most calls of `measure`.
        name: what asked for it, for an error.
        not_above: the goal is a budget: the largest strength tried that stays within it.
        away: strengths below 0 may be tried.

    Raises:
        InputError: the goal is below the value at strength 0 and `away` is not given, not reached
            at the largest strength tried, or (a budget) passed at every strength tried.

    Example:
        >>> round(search(lambda c: c * c, 0.09).strength, 2)
        0.3
        >>> round(search(lambda c: c, -0.5, away=True).strength, 2)
        -0.5
    """
    before = measure(0.0)
    sign = -1.0 if away and goal < before else 1.0
    if sign * goal <= sign * before:
        raise InputError(
            f"{name} is {goal:g}, and without any edit the model has {before:.4g}; ask for more"
            " than that"
        )
    wanted, seen = sign * goal, {0.0: sign * before}

    def value_at(strength: float) -> float:
        return sign * measure(sign * strength)

    low, high = 0.0, start
    seen[high] = value_at(high)
    while seen[high] < wanted and len(seen) < most:
        if high >= largest:
            break
        low, high = high, min(2 * high, largest)
        seen[high] = value_at(high)
    if seen[high] < wanted:
        best = max(seen, key=lambda c: seen[c])
        further = "up to" if sign > 0 else "down to"
        raise InputError(
            f"{name} is {goal:g}, but strength {sign * best + 0.0:g} reaches"
            f" {sign * seen[best]:.4g} and no strength {further} {sign * high:g} more; ask for"
            " less, or edit more --layers"
        )
    below, above = seen[low] - wanted, seen[high] - wanted
    while len(seen) < most and abs(seen[high] - wanted) > ACCURACY * abs(wanted):
        middle = (low * above - high * below) / (above - below)
        value = seen[middle] = value_at(middle)
        if value >= wanted:
            high, above, below = middle, value - wanted, below / 2
        else:
            low, below, above = middle, value - wanted, above / 2
            if abs(value - wanted) <= ACCURACY * abs(wanted):
                high = middle
    if not_above:
        high = max(strength for strength, value in seen.items() if value <= wanted)
        if high == 0.0:
            least = min(strength for strength in seen if strength > 0)
            raise InputError(
                f"{name} is {goal:g}, and strength {least:.3g} has {seen[least]:.4g} already; ask"
                " for more"
            )
    curve = tuple(sorted((sign * strength + 0.0, sign * value) for strength, value in seen.items()))
    return Found(sign * high, sign * seen[high], curve)
