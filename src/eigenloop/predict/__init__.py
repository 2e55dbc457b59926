"""A trained transformer applied to a table, and `LoopedPCA` (scikit-learn)."""
