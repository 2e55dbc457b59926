"""Spectra with multiplicity, the power method and its bounds, statistics (NumPy, SciPy)."""

from eigenloop.numerics.power import (
    contraction_factor,
    loops_needed,
    normalize,
    power_method,
    predicted_sines,
    sin_angle,
    sine_bounds,
)
from eigenloop.numerics.rates import ModeRate, fit_mode
from eigenloop.numerics.spectrum import (
    DEFAULT_MULTIPLICITIES,
    TIE_TOLERANCE,
    check_multiplicities,
    random_orthogonal,
    require_gap,
    sorted_eigenvalues,
    symmetric_with_spectrum,
    top_multiplicity,
    unit_columns_with_spectrum,
)
from eigenloop.numerics.statistics import (
    PowerLawFit,
    Rate,
    bootstrap_interval,
    fit_power_law,
    fit_rate,
    jackknife,
    standard_error,
)

__all__ = [
    "DEFAULT_MULTIPLICITIES", "TIE_TOLERANCE", "ModeRate", "PowerLawFit", "Rate",
    "bootstrap_interval", "check_multiplicities", "contraction_factor", "fit_mode",
    "fit_power_law", "fit_rate", "jackknife", "loops_needed", "normalize", "power_method",
    "predicted_sines", "random_orthogonal", "require_gap", "sin_angle", "sine_bounds",
    "sorted_eigenvalues", "standard_error", "symmetric_with_spectrum", "top_multiplicity",
    "unit_columns_with_spectrum",
]  # fmt: skip
