"""The theory of arXiv 2606.00605 in numbers: expectations, limits, dynamics, stability
(NumPy/SciPy, float64).
"""

from eigenloop.system.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "dynamics": "Path asymptotic long_run recursion",
        "filters.price": (
            "Krylov best_roots chebyshev_roots krylov_losses layer_losses pass_factor"
        ),
        "filters": (
            "Filter Optimum Phases Track best_root descend distinct_below faster_below "
            "filter_gradient filter_loss flow log_loss_over_root no_worse_up_to phases "
            "residual_end safe_root splitting_curvature state_of turn_over_root"
        ),
        "integrals": "Estimate expectation log_expectation log_norm_mean spread_expectation",
        "landscape": "Landscape Minimum minimum split_minimum",
        "optimisers": "adam adam_run clock_shift descent heavy_ball heavy_ball_run",
        "population": "EndToEnd LayerwiseLinear LayerwiseNorm Setting mean_power_norm spectra",
        "regression": "Regression",
        "stability": "Lowest Mode Sector hessian limit_hessian lowest_eigenvalue sectors sharpness",
        "stability.untied": "UntiedMode untied_hessian",
        "summary": "Moments Spectra Summary summarize",
    },
)
