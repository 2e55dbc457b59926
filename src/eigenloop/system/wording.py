"""Numbers and lists as sentences write them (standard library only)."""

import math
from collections.abc import Iterable, Sequence


def joined(parts: Iterable[str]) -> str:
    """Words with commas and an "and".

    Example:
        >>> joined(["a", "b", "c"]), joined(["a"])
        ('a, b and c', 'a')
    """
    *rest, last = parts
    return f"{', '.join(rest)} and {last}" if rest else last


def listed(numbers: Sequence[int], *, most: int = 12) -> str:
    """Numbers in a sentence, the rest of a long list counted; "none" of an empty one.

    Example:
        >>> listed([0, 1, 2, 5], most=3), listed([])
        ('0, 1, 2 and 1 more', 'none')
    """
    shown = ", ".join(str(number) for number in numbers[:most]) or "none"
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"


def number(value: complex | None, *, digits: int = 4, missing: str = "") -> str:
    """A real number, or a complex one that stands for a conjugate pair, with so many significant
    digits.

    Example:
        >>> number(-1.5 + 0.25j), number(2 / 3), number(None, missing="not measured")
        ('-1.5 ± 0.25i', '0.6667', 'not measured')
    """
    if value is None:
        return missing
    pair = f" ± {abs(value.imag):.{digits}g}i" if value.imag else ""
    return f"{value.real:.{digits}g}{pair}"


def finite(value: float) -> float | None:
    """The number, or None for what JSON cannot hold.

    Example:
        >>> finite(0.5), finite(float("nan"))
        (0.5, None)
    """
    return value if math.isfinite(value) else None
