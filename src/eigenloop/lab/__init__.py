"""The looped transformers of arXiv 2606.00605 and their training (JAX)."""

from eigenloop.system.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "blocks": "TwoBlock linear_loops",
        "checkpoints": "Trained load_run",
        "config": "TrainConfig",
        "looping": "loop_matrices looped_sines power_method_sines",
        "metrics": "metric_steps weight_metrics",
        "objectives": "EndToEnd Layerwise Model Objective",
        "problems": (
            "Batch Distribution Observed Rejected Rotated Sphere assumption_breaches draw"
            " haar_rotations"
        ),
        "run_directory": "RunDirectory",
        "training": "Trainer train",
        "transformer": "LoopedTransformer attention_layer",
    },
)
