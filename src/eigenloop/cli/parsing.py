"""What several commands take, and the words that repeat one: numbers separated by commas, a
command quoted.
"""

import shlex
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

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
        raise InputError(
            f"--{name} is {text!r}; give {kind} separated by commas, e.g. {example}"
        ) from None


def repeated(*words: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The command that repeats a run, quoted for a shell; options at their defaults are left out.

    Args:
        words: the command and its arguments.
        options: parameter -> value; None and False are not given, True is a flag, a tuple is
            several words.
        defaults: of those that have another default.

    Example:
        >>> repeated(
        ...     "lens",
        ...     "my model",
        ...     options={"layers": "all", "loop": 0, "weights_only": True},
        ...     defaults={},
        ... )
        "eigenloop lens 'my model' --layers all --loop 0 --weights-only"
    """
    said = ["eigenloop", *words]
    for name, value in options.items():
        if value is None or value is False or value == defaults.get(name):
            continue
        values = [] if value is True else value if isinstance(value, tuple) else [value]
        said += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(said)
