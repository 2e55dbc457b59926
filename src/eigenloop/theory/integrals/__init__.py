"""Expectations over q as integrals over a line: ratios of quadratic forms, and shares of a loop.

`lines` has the expectations and the trapezoidal rule, `shares` what a loop that commutes with S
leaves outside the principal subspace, and its derivatives.
"""

from eigenloop.theory.integrals.lines import (
    AGREED,
    CUT,
    MOST_HALVINGS,
    STEP,
    Estimate,
    Nodes,
    expectation,
    log_expectation,
    log_norm_mean,
    log_sum,
    safe_log,
    spread_expectation,
)
from eigenloop.theory.integrals.shares import (
    Turn,
    log_power_weights,
    log_pull,
    log_share,
    pulls,
    turn,
)

__all__ = [
    "AGREED",
    "CUT",
    "MOST_HALVINGS",
    "STEP",
    "Estimate",
    "Nodes",
    "Turn",
    "expectation",
    "log_expectation",
    "log_norm_mean",
    "log_power_weights",
    "log_pull",
    "log_share",
    "log_sum",
    "pulls",
    "safe_log",
    "spread_expectation",
    "turn",
]
