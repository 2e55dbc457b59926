"""Numbers separated by commas, as several commands take them."""

from collections.abc import Callable
from typing import TypeVar

from eigenloop.system.errors import InputError

N = TypeVar("N", int, float)


def numbers(name: str, text: str, of: Callable[[str], N], *, example: str) -> tuple[N, ...]:
    """Those of an option.

    Args:
        name: the option's, without its dashes.
        text: "5,4,3".
        of: `int` or `float`.
        example: for the message.

    Raises:
        InputError: a part that is no such number.

    Example:
        >>> numbers("eigenvalues", "5, 4.5", float, example="5,4,3")
        (5.0, 4.5)
    """
    try:
        return tuple(of(part) for part in text.split(","))
    except ValueError:
        kind = "integers" if of is int else "numbers"
        raise InputError(f"--{name} is {text!r}; give {kind} separated by commas, e.g. {example}") from None
