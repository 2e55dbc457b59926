"""Looped transformers that learn the power method.

The public names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Batch": "lab.problems", "Distribution": "lab.problems", "Observed": "lab.problems", "Rejected": "lab.problems",
    "Rotated": "lab.problems", "Sphere": "lab.problems", "draw": "lab.problems",
    "EndToEnd": "lab.objectives", "Layerwise": "lab.objectives",
    "InputError": "system.errors",
    "LoopedPCA": "predict.estimator",
    "LoopedTransformer": "lab.transformer",
    "TrainConfig": "lab.config", "Trained": "lab.checkpoints", "load_run": "lab.checkpoints", "train": "lab.training",
    "TwoBlock": "lab.blocks",
    "contraction_factor": "numerics.power", "loops_needed": "numerics.power", "power_method": "numerics.power",
    "sin_angle": "numerics.power", "sine_bounds": "numerics.power",
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
