"""Where the loops of a trained looped model end, as claims of our own on what Fig.

8 of arXiv 2606.00605 shows.

The paper says of the single layer only (Fig. 5, Appendix G.1) that more iterations of training
bring it closer to the power method. Each claim here is one cell of the grid in docs/plateau.md.
"""

from typing import Any

import numpy as np

from eigenloop.claims import Effort, Finding, Ledger, every
from eigenloop.figures.figure8 import SPIKED
from eigenloop.figures.plateau import (
    curve_distances,
    deviation,
    limit_sines,
    scalar_part,
    turned_points,
)
from eigenloop.figures.points import Points, held_out
from eigenloop.figures.running import models
from eigenloop.figures.settings import TASKS
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.training import train
from eigenloop.theory.claims.theorems import LOOPED
from eigenloop.theory.dynamics import recursion

ledger = Ledger("arXiv 2606.00605")

LOOPS = 25
"""Loops over which error curves are compared: those of Fig. 2."""
SEEDS = 2


@ledger.claim(
    "plateau.cause",
    "What keeps the looped model from the power method (Task 2, L = 10, SGD at learning rate 0.1,"
    " batch 128, 10,000 samples) is how far A and B are from multiples of I, not gamma: with A and"
    " B replaced by their multiples of I the error curve is at least as close as that of gradient"
    " descent on the population.",
    place="cf. Fig. 8, Appendix G.3",
    provenance="ours",
)
def looped(effort: Effort) -> Finding:
    """The trained model, its multiples of I and the population's, at one step."""
    steps = effort.pick(300, 4_000)
    found = _trained(effort, (steps,), task="planted")[steps]
    gamma = float(recursion(LOOPED, learning_rate=0.1, steps=steps).gamma[-1])
    theory = float(np.median(_distance(gamma * np.eye(16), np.eye(16), found["points"])))
    checks = [*(found["scalar_distance"] <= theory), *(found["distance"] > theory)]
    return every(
        int(np.sum(checks)),
        len(checks),
        justification=(
            f"two inequalities for each of {SEEDS} seeds, between mean vertical distances to the"
            f" power method's error curve over {LOOPS} loops in decades, median over 2,000 held-out"
            " points"
        ),
        numbers={
            "steps": steps,
            "gamma": found["gamma"].tolist(),
            "gamma of the population": gamma,
            "distance": found["distance"].tolist(),
            "with A and B replaced by their multiples of I": found["scalar_distance"].tolist(),
            "of the population": theory,
            "median sine where the loops end": found["plateau"].tolist(),
        },
    )


@ledger.claim(
    "plateau.spiked",
    "Out of distribution, on a spectrum with one large eigenvalue, the loops of the looped model (L"
    " = 10, SGD at learning rate 0.1, batch 128, 10,000 samples) end farther from the principal"
    " direction after 1,000 steps of training than after 30.",
    place="cf. Fig. 8, Appendix G.3",
    provenance="ours",
)
def spiked(effort: Effort) -> Finding:
    """In both tasks and every seed, at learning rate 0.1; the spectrum is Figure 8's."""
    points, rises, numbers = (
        turned_points(SPIKED, count=effort.pick(200, 1_000), seed=effort.seed),
        [],
        {},
    )
    for task, name in list(TASKS.items())[effort.quick :]:
        found = _trained(effort, (30, 1_000), points, task=task)
        ends = np.array([found[step]["plateau"] for step in (30, 1_000)])
        rises += list(ends[1] > ends[0])
        numbers[f"{name}: median sine where the loops end"] = ends.mean(axis=1).tolist()
        numbers[f"{name}: deviation of A from multiples of I"] = [
            float(np.mean(found[s]["off"])) for s in (30, 1_000)
        ]
    return every(
        int(np.sum(rises)),
        len(rises),
        justification=(
            f"the median over rotations of the spectrum rises or not, in each of {SEEDS} seeds of a"
            " task"
        ),
        numbers={"steps": [30, 1_000], **numbers},
    )


def _trained(
    effort: Effort, steps: tuple[int, ...], points: Points | None = None, **differences: Any
) -> dict[int, dict[str, Any]]:
    """Step -> one number for each seed, of the paper's run with some settings changed; at its
    test set by default.
    """
    config = TrainConfig.create(
        steps=steps[-1], snapshots=steps[:-1], seeds=SEEDS, seed=effort.seed, **differences
    )
    run, points, found = train(config), points or held_out(config), {}
    for step, pairs in models(run).items():
        rows = []
        for a, b in zip(*pairs, strict=True):
            plain = scalar_part(a), scalar_part(b)
            rows.append(
                {
                    "distance": np.median(_distance(a, b, points)),
                    "scalar_distance": np.median(_distance(*plain, points)),
                    "plateau": np.nanmedian(limit_sines(a, b, points)),
                    "gamma": np.trace(a @ b) / len(a),
                    "off": deviation(a),
                }
            )
        found[step] = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]} | {
            "points": points
        }
    return found


def _distance(a: np.ndarray, b: np.ndarray, points: Points) -> np.ndarray:
    return curve_distances(
        points.sines(a, b, loops=LOOPS), points.power_sines(loops=LOOPS), loops=LOOPS
    )
