"""How much memory this process may take, and refusing what would take more (standard library
only).
"""

import os
import resource
from pathlib import Path

from eigenloop.system.errors import InputError

GIB = 2**30
CONTROL_GROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_limit() -> int:
    """Bytes of the machine's memory, or of a smaller limit set on this process or its control
    group.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in CONTROL_GROUPS:
        try:
            limits.append(int(Path(file).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min(limits) if soft == resource.RLIM_INFINITY else min(*limits, soft)


def require_memory(needed: int, what: str, remedy: str, *, limit: int | None = None) -> None:
    """Refuse what needs more memory than there is.

    Args:
        needed: bytes, at the least.
        what: that needs them.
        remedy: what to change.
        limit: bytes that there are; None for `memory_limit()`.

    Raises:
        InputError: with the estimate and the remedy.

    Example:
        >>> require_memory(2**40, "this training", "lower --dim", limit=2**33)
        Traceback (most recent call last):
            ...
        eigenloop.system.errors.InputError: this training needs at least 1,024 GiB of memory, and
        there are 8 GiB; \
lower --dim
    """
    there = memory_limit() if limit is None else limit
    if needed > there:
        raise InputError(
            f"{what} needs at least {_gib(needed)} GiB of memory, and there are {_gib(there)} GiB;"
            f" {remedy}"
        )


def _gib(size: int) -> str:
    return f"{size / GIB:,.1f}".removesuffix(".0")
