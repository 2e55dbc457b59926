"""Where a page comes from: versions, machine, time."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from eigenloop.system.versions import LAB, software
from eigenloop.system.workers import cores


@dataclass(frozen=True)
class Origin:
    """What made a page.

    Args:
        versions: of the package and of what decides its bits.
        machine: its system, its kind, its cores.
        seconds: how long it took; None where it was not measured.
        finished: when.

    Example:
        >>> Origin("eigenloop 1.0", "Linux x86_64", 2.5, "2026-01-31 12:00 UTC").took
        '2.5 s, finished 2026-01-31 12:00 UTC'
    """

    versions: str
    machine: str
    seconds: float | None
    finished: str

    @classmethod
    def here(cls, seconds: float | None, packages: Sequence[str] = LAB) -> "Origin":
        """This process, on this machine, now.

        Args:
            seconds: how long it took; None where it was not measured.
            packages: whose versions decide the bits of the result.
        """
        machine = f"{platform.system()} {platform.machine()}, {cores()} of {os.cpu_count()} cores"
        return cls(software(packages), machine, seconds, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")

    @property
    def took(self) -> str:
        """How long and when, in words."""
        if self.seconds is None:
            return f"finished {self.finished}"
        return f"{self.seconds:.{0 if self.seconds >= 10 else 1}f} s, finished {self.finished}"
