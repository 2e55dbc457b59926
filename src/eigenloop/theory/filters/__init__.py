"""Past gamma = infinity: the end-to-end loss of any polynomial filter, its minima and their safety.

`over_root` has the tied loop's loss over the root of its filter, `layers` that of layers with
gammas and residual weights of their own, `descent` where training goes from any start, `safety` on
which X a shift converges.
"""

from eigenloop.theory.filters.descent import (
    Phases,
    Track,
    descend,
    flow,
    phases,
    residual_end,
    state_of,
)
from eigenloop.theory.filters.layers import (
    Filter,
    distinct_below,
    filter_gradient,
    filter_loss,
    splitting_curvature,
)
from eigenloop.theory.filters.over_root import (
    Optimum,
    best_root,
    log_loss_over_root,
    turn_over_root,
)
from eigenloop.theory.filters.safety import faster_below, no_worse_up_to, safe_root

__all__ = [
    "Filter",
    "Optimum",
    "Phases",
    "Track",
    "best_root",
    "descend",
    "distinct_below",
    "faster_below",
    "filter_gradient",
    "filter_loss",
    "flow",
    "log_loss_over_root",
    "no_worse_up_to",
    "phases",
    "residual_end",
    "safe_root",
    "splitting_curvature",
    "state_of",
    "turn_over_root",
]
