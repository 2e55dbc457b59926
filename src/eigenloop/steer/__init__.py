"""Steering: turn what a layer amplifies towards a direction by an edit of its weights, and measure what it costs.

Stands on `eigenloop.lens`. Nothing here loads torch until something is run.
"""

from importlib import import_module
from typing import Any

from eigenloop.steer.edits import Edit, Reading, Site
from eigenloop.steer.methods import METHODS, Room, bias, brauer, room, signed, swap, swap_heads, symmetric

_HOMES = {
    "Bench": "measuring", "Direction": "directions", "Prompts": "prompts", "Session": "session",
    "activation_addition": "running", "applied": "writing", "changed_tensors": "writing", "check_disjoint": "prompts",
    "contrast": "directions", "cut": "prompts", "from_file": "directions", "save_adapter": "adapter",
    "save_checkpoint": "checkpoint", "search": "strength", "shipped": "prompts", "toward_token": "directions",
    "vocabulary": "measuring",
}  # fmt: skip

__all__ = [
    "METHODS", "Edit", "Reading", "Room", "Site", "bias", "brauer", "room", "signed", "swap", "swap_heads", "symmetric",
    *sorted(_HOMES),
]  # fmt: skip  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"eigenloop.steer.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'eigenloop.steer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
