"""What the readers are fed by tools/fuzz.py: one module for each kind of file."""

from fuzzing.checkpoints import Configs, Headers
from fuzzing.tables import Tables
from fuzzing.texts import Directions, Texts

TARGETS = {
    "tables": Tables,
    "headers": Headers,
    "configs": Configs,
    "texts": Texts,
    "directions": Directions,
}
"""Each is made with an empty directory for its seeds; `make(rng)` gives files by name,
`read(folder, rng)` reads them.

`read` raises `InputError` for what it refuses, and `AssertionError` where an answer or a reason is
not true.
"""
