"""Looped transformers that learn the power method.

The public names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Batch": "problems", "Distribution": "problems", "Observed": "problems", "Rejected": "problems",
    "Rotated": "problems", "Sphere": "problems", "draw": "problems",
    "EndToEnd": "objectives", "Layerwise": "objectives",
    "InputError": "errors",
    "LoopedPCA": "estimator",
    "LoopedTransformer": "transformer",
    "TrainConfig": "config", "Trained": "checkpoints", "load_run": "checkpoints", "train": "training",
    "TwoBlock": "blocks",
    "contraction_factor": "power", "loops_needed": "power", "power_method": "power", "sin_angle": "power",
    "sine_bounds": "power",
}  # fmt: skip

__all__ = ["__version__", *sorted(_HOMES)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"eigenloop.{_HOMES[name]}"), name)
    if name == "__version__":
        return import_module("importlib.metadata").version("eigenloop")
    raise AttributeError(f"module 'eigenloop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
