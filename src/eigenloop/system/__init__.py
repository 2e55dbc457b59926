"""The ground: errors, files, versions, interrupts, worker processes, memory, progress (standard library, NumPy)."""

from eigenloop.system.errors import InputError

__all__ = ["InputError"]
