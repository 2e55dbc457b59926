"""The one exception that means "your input cannot be used", with a line a person can act on."""


class InputError(ValueError):
    """Input that cannot be used: the message says what, its value, the bound and the remedy, in one line.

    The command line prints the message and exits with status 2; nothing has been written by then.

    Example:
        >>> raise InputError("--dim is 0; it must be at least 2")
        Traceback (most recent call last):
            ...
        eigenloop.system.errors.InputError: --dim is 0; it must be at least 2
    """
