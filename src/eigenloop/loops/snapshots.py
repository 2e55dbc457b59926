"""A trained loop at every snapshot of its training: rate, gap and loops worth running (NumPy).

q -> N((I + A S B) q),   rate |mu_1| at the fixed point, beside the loops L that it was trained with
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.loops.cases import linear_map, normalized_map
from eigenloop.loops.diagnosis import TOLERANCES, Diagnosis, diagnose
from eigenloop.system.errors import InputError

REACHED = 1e-2
"""Relative distance that the loops of a snapshot are counted to."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Snapshots:
    """Diagnoses by training step.

    Args:
        found: step -> diagnosis, ascending.
        trained_loops: L.
        layers: how many layers with weights of their own one loop passes.
    """

    found: dict[int, Diagnosis]
    trained_loops: int
    layers: int = 1

    @property
    def last(self) -> Diagnosis:
        """That of the trained model."""
        return self.found[max(self.found)]

    def rows(self) -> list[dict[str, Any]]:
        """For each snapshot: training step, verdict, rate, gap, and loops to `REACHED` by
        forecast and as taken.
        """
        rows = []
        for step, each in self.found.items():
            needed = each.loops_to(REACHED) if each.needed is not None else None
            rows.append(
                {
                    "step": step,
                    "verdict": str(each.verdict),
                    "rate": each.modes[0].modulus if each.modes else None,
                    "gap": each.spectrum.gap if each.spectrum is not None else None,
                    "forecast": needed.forecast if needed is not None else None,
                    "taken": needed.taken if needed is not None else None,
                }
            )
        return rows

    def sentences(self) -> list[str]:
        """How many loops the trained model needs, beside those that it was trained with; then
        every snapshot.
        """
        loops = "1 loop" if self.trained_loops == 1 else f"{self.trained_loops} loops"
        said = [f"Trained with {loops}."]
        if self.layers > 1:
            said = [f"One loop is a pass of all {self.layers} layers, as it was trained."]
        for row in self.rows():
            rate = "no rate" if row["rate"] is None else f"rate {row['rate']:.4f}"
            loops = row["taken"] if row["taken"] is not None else row["forecast"]
            needs = "no count of loops" if loops is None else f"{loops} loops to {REACHED:g}"
            said.append(f"After {row['step']:,} steps: {row['verdict']}, {rate}, {needs}.")
        return said

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "trained_loops": self.trained_loops,
            "layers": self.layers,
            "snapshots": self.rows(),
            "sentences": self.sentences(),
        }


def snapshots(
    matrices: Mapping[int, Float[np.ndarray, "d d"]],
    query: Float[np.ndarray, " d"],
    *,
    loops: int,
    norm: bool,
    trained_loops: int,
    layers: int = 1,
    tolerances: Sequence[float] = TOLERANCES,
    lyapunov: tuple[int, int | None] | None = None,
    seed: int = 0,
) -> Snapshots:
    """Diagnose the loop at every snapshot, from the same query on the same data.

    Args:
        matrices: I + A S B by training step.
        query: q.
        loops: K.
        norm: with the normalisation; without it the map is linear.
        trained_loops: L.
        layers: how many layers with weights of their own one loop passes.
        tolerances: as for `diagnose`.
        lyapunov: as for `diagnose`.
        seed: of random vectors.

    Raises:
        InputError: no snapshot.

    Example:
        >>> seen = snapshots(
        ...     {0: np.diag([2.0, 1.5]), 9: np.diag([4.0, 1.0])},
        ...     np.ones(2),
        ...     loops=64,
        ...     norm=True,
        ...     trained_loops=3,
        ... )
        >>> [round(row["rate"], 6) for row in seen.rows()]
        [0.75, 0.25]
    """
    if not matrices:
        raise InputError("there is no snapshot to diagnose")
    make = normalized_map if norm else linear_map
    found = {
        step: diagnose(
            make(matrices[step], query),
            loops=loops,
            tolerances=tolerances,
            lyapunov=lyapunov,
            seed=seed,
        )
        for step in sorted(matrices)
    }
    return Snapshots(found=found, trained_loops=trained_loops, layers=layers)
