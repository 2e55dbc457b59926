"""Spectra with multiplicity, the power method and its bounds, statistics (NumPy, SciPy)."""
