"""Known causes of what other libraries raise, and how a person mends them; what is not here is a
fault of ours.
"""

import errno
import os
from collections.abc import Callable
from traceback import extract_tb

from eigenloop.system.errors import reason

FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def known(error: BaseException) -> str | None:
    """What to tell a person about an exception whose cause lies outside the program; None where it
    is not known.

    Example:
        >>> known(OSError(28, "No space left on device", "/tmp/x"))
        'no space is left on the disk of /tmp/x; free some, or choose another directory'
        >>> known(KeyError("x")) is None
        True
    """
    return next((said for cause in CAUSES if (said := cause(error)) is not None), None)


def _memory(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return f"not enough memory ({str(error) or 'no more is given'}); ask for smaller sizes"
    if "RESOURCE_EXHAUSTED" in str(error):  # XLA's word for it
        return "not enough memory (of the machine or its accelerator); ask for smaller sizes"
    if type(error).__name__ == "BrokenProcessPool":
        return (
            "a worker process was killed, most often for lack of memory; ask for smaller sizes, or"
            " try again"
        )
    return None


def _backend(error: BaseException) -> str | None:
    wanted = os.environ.get("JAX_PLATFORMS") or os.environ.get("JAX_PLATFORM_NAME")
    # JAX says it once in words, and after that by a failed assertion of its own.
    said = isinstance(error, RuntimeError) and "backend" in str(error)
    last = extract_tb(error.__traceback__)[-1:]
    asserted = (
        isinstance(error, AssertionError) and last and last[0].filename.endswith("xla_bridge.py")
    )
    if not wanted or not (said or asserted):
        return None
    name = "JAX_PLATFORMS" if os.environ.get("JAX_PLATFORMS") else "JAX_PLATFORM_NAME"
    return f"{name} is {wanted!r}, and JAX has no such backend here; unset it, or set it to cpu"


def _switches(error: BaseException) -> str | None:
    if isinstance(error, FloatingPointError) and os.environ.get("JAX_DEBUG_NANS"):
        return f"JAX_DEBUG_NANS makes every NaN an error ({reason(error)}); unset it"
    if isinstance(error, Warning):
        return (
            f"Python turns warnings into errors here ({reason(error)}); leave out -W error, and"
            " unset PYTHONWARNINGS"
        )
    return None


def _person(error: BaseException) -> str | None:
    nobody = "uid not found" in str(error) or "Could not determine home" in str(error)
    if not (nobody and isinstance(error, KeyError | RuntimeError)):
        return None
    return (
        f"this user (number {os.getuid()}) has no name or home here; set USER, and HOME to a"
        " directory to write in"
    )


def _installation(error: BaseException) -> str | None:
    if (
        not isinstance(error, ImportError)
        or (error.name or "eigenloop").partition(".")[0] == "eigenloop"
    ):
        return None
    return f"{error.name} cannot be imported ({reason(error)}); install eigenloop again"


def _files(error: BaseException) -> str | None:
    if not isinstance(error, OSError):
        return None
    what = "the output" if error.filename is None else str(error.filename)
    if error.errno in FULL:
        return f"no space is left on the disk of {what}; free some, or choose another directory"
    if error.errno in CLOSED:
        return (
            f"{what} is closed to this user ({error.strerror}); change its permissions, or choose"
            " another place"
        )
    if error.errno == errno.EMFILE:
        return "too many files are open; raise the limit (ulimit -n)"
    return None


CAUSES: tuple[Callable[[BaseException], str | None], ...] = (
    _memory,
    _backend,
    _switches,
    _person,
    _installation,
    _files,
)
