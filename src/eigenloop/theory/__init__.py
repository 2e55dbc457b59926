"""The theory of arXiv 2606.00605 in numbers: expectations, limits, dynamics, stability (NumPy/SciPy, float64)."""
