"""The ground: errors, files, versions, interrupts, workers, forks, memory, progress (standard
library, NumPy).
"""

import eigenloop.system.forks  # noqa: F401  # looks at the process before other libraries start threads
from eigenloop.system.errors import InputError

__all__ = ["InputError"]
