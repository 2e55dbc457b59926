"""Does longer training bring a model closer to the power method? Claims on Figs. 5 and 8 of arXiv 2606.00605.

The paper's text says so of the single layer only (Fig. 5, Appendix G.1); of the looped model (Fig. 8, G.3) it says that
the error curve is nearly linear. Each claim here is one cell of the grid in docs/plateau.md.
"""

from typing import Any

import numpy as np

from eigenloop.claims import Effort, Finding, Ledger, every
from eigenloop.figures.plateau import curve_distances, limit_sines, scalar_part
from eigenloop.figures.points import held_out
from eigenloop.figures.running import models
from eigenloop.figures.settings import TASKS
from eigenloop.lab.training import TrainConfig, train
from eigenloop.theory.claims.theorems import LOOPED
from eigenloop.theory.dynamics import recursion

ledger = Ledger("arXiv 2606.00605")

LOOPS = 25
"""Loops over which error curves are compared: those of Fig. 2."""
SEEDS = 2


@ledger.claim(
    "fig5.closer",
    "A single layer with LN that is trained for more iterations has an error curve closer to the power method's.",
    place="Fig. 5, Appendix G.1",
    provenance="stated",
    quote='"models trained for more iterations [...] exhibit an error curve closer to that of the power method" '
    "(Appendix G.1, on Fig. 5)",
)
def single_layer(effort: Effort) -> Finding:
    """From snapshot to snapshot, in both tasks and every seed."""
    steps = (10, 100, 1_000) if effort.quick else (10, 100, 1_000, 10_000)
    falls, numbers = [], {}
    for task, name in TASKS.items():
        found = _trained(effort, steps, task=task, objective="layerwise")
        distance = np.array([found[step]["distance"] for step in steps])
        falls += list(np.diff(distance, axis=0).ravel() < 0)
        numbers[f"{name}: mean distance at these steps"] = distance.mean(axis=1).tolist()
        numbers[f"{name}: median sine where the loops end"] = [float(np.mean(found[s]["plateau"])) for s in steps]
    return every(
        int(np.sum(falls)), len(falls),
        justification=f"both tasks, {SEEDS} seeds, from each snapshot to the next: the mean vertical distance of the "
        f"curves over {LOOPS} loops in decades, median over 2,000 held-out points, falls or does not",
        numbers={"steps": list(steps), **numbers},
    )  # fmt: skip


@ledger.claim(
    "fig8.plateau",
    "What keeps the looped model, trained by SGD on 10,000 samples, from the power method is how far A and B are from "
    "multiples of I and not gamma: their multiples of I are at least as close as population gradient descent's.",
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
        int(np.sum(checks)), len(checks),
        justification=f"two inequalities for each of {SEEDS} seeds, between mean vertical distances to the power "
        f"method's error curve over {LOOPS} loops in decades, median over 2,000 held-out points",
        numbers={
            "steps": steps, "gamma": found["gamma"].tolist(), "gamma of the population": gamma,
            "distance": found["distance"].tolist(), "with A and B replaced by their multiples of I":
            found["scalar_distance"].tolist(), "of the population": theory,
            "median sine where the loops end": found["plateau"].tolist(),
        },
    )  # fmt: skip


def _trained(effort: Effort, steps: tuple[int, ...], **differences: Any) -> dict[int, dict[str, Any]]:
    """Step -> one number for each seed, of the paper's run with some settings changed."""
    config = TrainConfig.create(
        steps=steps[-1], snapshots=steps[:-1], seeds=SEEDS, seed=effort.seed, **differences
    )  # fmt: skip
    run, points, found = train(config), held_out(config), {}
    for step, pairs in models(run).items():
        rows = []
        for a, b in zip(*pairs, strict=True):
            plain = scalar_part(a), scalar_part(b)
            rows.append({
                "distance": np.median(_distance(a, b, points)), "scalar_distance": np.median(_distance(*plain, points)),
                "plateau": np.nanmedian(limit_sines(a, b, points)), "gamma": np.trace(a @ b) / len(a),
            })  # fmt: skip
        found[step] = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]} | {"points": points}
    return found


def _distance(a: np.ndarray, b: np.ndarray, points: Any) -> np.ndarray:
    return curve_distances(points.sines(a, b, loops=LOOPS), points.power_sines(loops=LOOPS), loops=LOOPS)
