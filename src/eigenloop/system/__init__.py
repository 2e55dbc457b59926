"""The ground: errors, files, versions, interrupts, worker processes, memory, progress (standard library, NumPy)."""
