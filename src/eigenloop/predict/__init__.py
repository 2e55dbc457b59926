"""A trained transformer applied to a table, and `LoopedPCA` (scikit-learn)."""

from eigenloop.system.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "estimator": "LoopedPCA",
        "prediction": "Blocks Prediction predict",
        "recipes": "blocks_of_run cached_blocks train_blocks",
        "targets": "Target",
        "tables": "Reading Table read_table",
    },
)
