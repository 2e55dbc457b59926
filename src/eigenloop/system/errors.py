"""The one exception that means "your input cannot be used", with a line a person can act on."""

LONGEST = 800
"""Characters of a message; the middle of a longer one is left out: what was wrong and the remedy
are at its ends.
"""


class InputError(ValueError):
    """Input that cannot be used: the message says what, its value, the bound and the remedy, in one
    line.

    The command line prints the message and exits with status 2; nothing has been written by then.
    Names and values in it are the input's own: line ends and other signs that cannot be shown are
    written as escapes, and the middle of what is longer than `LONGEST` is left out.

    Example:
        >>> raise InputError("--dim is 0; it must be at least 2")
        Traceback (most recent call last):
            ...
        eigenloop.system.errors.InputError: --dim is 0; it must be at least 2
    """

    def __init__(self, message: str) -> None:
        """Make one line of the message."""
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    r"""A text that can be shown in one line: escapes for what cannot be printed, no more than
    `LONGEST` characters.

    Example:
        >>> print(one_line("columns a\nb"))
        columns a\nb
    """
    shown = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
    return (
        shown
        if len(shown) <= LONGEST
        else f"{shown[: LONGEST // 2]} [...] {shown[7 - LONGEST // 2 :]}"
    )


def reason(error: BaseException) -> str:
    r"""What another library's exception says, in one line: its first line, and the next where that
    ends in a colon.

    Example:
        >>> (
        ...     reason(ValueError("field 'size':\n    expected int\nsee the manual")),
        ...     reason(EOFError()),
        ... )
        ("field 'size': expected int", 'EOFError')
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [
        type(error).__name__
    ]
    return " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])
