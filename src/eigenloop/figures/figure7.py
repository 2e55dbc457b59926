"""Figure 7 of arXiv 2606.00605: one layer without LN, both targets, Task 2 (Thm 4.2).

Expected: gamma* = 0.0512 and 0.6279, f* = 0.2262 and 0.2558 (normalised, unnormalised target).
After 1,000 steps gamma is at gamma*. With the normalised target it later leaves, because that limit
is a saddle of the full loss.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from eigenloop.figures.fixed_points import compute_fixed_points, draw_fixed_points, runs_of
from eigenloop.figures.settings import Budget
from eigenloop.figures.values import FigureData
from eigenloop.lab.config import TrainConfig
from eigenloop.system.progress import Progress, silent


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    return runs_of("planted", budget)


def compute(budget: Budget, directory: Path, progress: Progress = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    return compute_fixed_points(7, "planted", budget, directory, progress)


draw: Callable[[FigureData], Any] = draw_fixed_points
