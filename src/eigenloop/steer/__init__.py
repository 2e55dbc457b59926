"""Steering: turn what a layer amplifies towards a direction by an edit of its weights, and measure
what it costs.

Stands on `eigenloop.lens`. Nothing here loads torch until something is run.
"""

from eigenloop.system.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "adapter": "save_adapter",
        "checkpoint": "save_checkpoint",
        "directions": "Direction contrast from_file toward_token",
        "edits": "Edit Reading Site",
        "measuring": "Bench vocabulary",
        "methods": "METHODS Room bias brauer room signed swap swap_heads symmetric",
        "prompts": "Prompts check_disjoint cut shipped",
        "running": "activation_addition",
        "session": "Session",
        "strength": "search",
        "writing": "applied changed_tensors",
    },
)
