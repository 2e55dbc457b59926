"""Looped transformers that learn the power method.

The public names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

from eigenloop.system.lazy import lazy_names

_find, __dir__, __all__ = lazy_names(
    __name__,
    {
        "lab.blocks": "TwoBlock",
        "lab.checkpoints": "Trained load_run",
        "lab.config": "TrainConfig",
        "lab.objectives": "EndToEnd Layerwise",
        "lab.problems": "Batch Distribution Observed Rejected Rotated Sphere draw",
        "lab.training": "train",
        "lab.transformer": "LoopedTransformer",
        "numerics.power": "contraction_factor loops_needed power_method sin_angle sine_bounds",
        "predict.estimator": "LoopedPCA",
        "system.errors": "InputError",
    },
    others=("__version__",),
)


def __getattr__(name: str) -> Any:
    return (
        import_module("importlib.metadata").version("eigenloop")
        if name == "__version__"
        else _find(name)
    )
