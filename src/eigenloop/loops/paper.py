"""The exact case: the loop of arXiv 2606.00605 in its trained form, the right answer beside the
wrong one (NumPy).

    q -> N((I + gamma S) q):      eigenvalues mu_i / mu_1 at u_1, mu_i = 1 + gamma lambda_i
        (the state read out)
    Z -> TF(Z), data and query:   spectral radius 1 + gamma lambda_1          (data tokens move too)

The trained model computes the first; who differentiates the second finds that a loop that converges
"diverges".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.loops.cases import normalized_map, whole_state_map
from eigenloop.loops.diagnosis import TOLERANCES, Diagnosis, diagnose
from eigenloop.loops.modes import spectrum
from eigenloop.numerics.power import loops_needed, normalize
from eigenloop.numerics.spectrum import (
    DEFAULT_MULTIPLICITIES,
    require_gap,
    unit_columns_with_spectrum,
)
from eigenloop.system.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class PaperCase:
    """What was found, beside what is exact.

    Args:
        gamma: of the trained form.
        eigenvalues: of S, descending.
        found: the diagnosis of the query's map.
        exact: mu_i / mu_1, i >= 2, and 0: all eigenvalues.
        whole_radius: spectral radius of the map of all columns at the same point.
        whole_exact: 1 + gamma lambda_1.
        counts: Theorem 4.6's loops to each tolerance, from this start.
    """

    gamma: float
    eigenvalues: Float[np.ndarray, " d"]
    found: Diagnosis
    exact: Float[np.ndarray, " d"]
    whole_radius: float
    whole_exact: float
    counts: dict[float, int | None]

    @property
    def error(self) -> float:
        """Largest difference between the moduli found and the exact ones."""
        moduli = np.array([mode.modulus for mode in self.found.modes])
        return float(np.max(np.abs(moduli - self.exact[: len(moduli)])))

    def sentences(self) -> list[str]:
        """The right answer and the wrong one."""
        return [
            (
                "The state that is read out, the query: |mu_1| ="
                f" {self.found.modes[0].modulus:.12f}, exactly {self.exact[0]:.12f} = (1 + gamma"
                f" lambda_2)/(1 + gamma lambda_1); all modes within {self.error:.1e}."
            ),
            (
                f"All columns, data tokens too: radius {self.whole_radius:.9g}, exactly"
                f" {self.whole_exact:.9g} = 1 + gamma lambda_1, as if the loop diverged. It is the"
                " wrong question: the data are context, held fixed."
            ),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.found.as_dict(),
            "gamma": self.gamma,
            "eigenvalues": self.eigenvalues.tolist(),
            "exact": self.exact.tolist(),
            "error": self.error,
            "whole_state_radius": self.whole_radius,
            "whole_state_exact": self.whole_exact,
            "sentences": self.sentences(),
            "theorem_counts": [
                {"tolerance": eps, "loops": count} for eps, count in self.counts.items()
            ],
        }


def paper_case(
    gamma: float,
    *,
    loops: int = 64,
    tolerances: Sequence[float] = TOLERANCES,
    lyapunov: tuple[int, int | None] | None = None,
    seed: int = 0,
) -> PaperCase:
    """Diagnose the paper's loop with A B = gamma I, d = 16, n = 32 and its Task 2 spectrum.

    Args:
        gamma: above 0.
        loops: K.
        tolerances: as for `diagnose`.
        lyapunov: as for `diagnose`.
        seed: of the data's rotation and of the start.

    Raises:
        InputError: a gamma that is not a number above 0.

    Example:
        >>> case = paper_case(5.0)
        >>> round(case.exact[0], 12), case.error < 1e-12, round(case.whole_radius, 9)
        (np.float64(0.807692307692), True, 26.0)
    """
    if not (gamma > 0 and np.isfinite(gamma)):
        raise InputError(f"gamma is {gamma:g}; it must be a number above 0")
    rng = np.random.default_rng(seed)
    eigenvalues = np.array(DEFAULT_MULTIPLICITIES, float)
    require_gap(eigenvalues)
    columns = unit_columns_with_spectrum(rng, eigenvalues, samples=int(eigenvalues.sum()))
    gram = columns @ columns.T
    leader = np.linalg.eigh(gram)[1][:, -1]
    q = normalize(rng.standard_normal(eigenvalues.size))
    found = diagnose(
        normalized_map(np.eye(q.size) + gamma * gram, q),
        loops=loops,
        tolerances=tolerances,
        lyapunov=lyapunov,
        seed=seed,
    )
    whole = whole_state_map(np.eye(q.size), gamma * np.eye(q.size), columns, leader)
    radius = spectrum(whole.at(whole.start), seed=seed).radius
    mu = 1 + gamma * eigenvalues
    tangent = float(np.sqrt(1 - (leader @ q) ** 2) / abs(leader @ q))
    counts = {
        each.tolerance: loops_needed(
            eigenvalues, tan_start=tangent, tolerance=each.tolerance, gamma=gamma
        )
        for each in found.needed or ()
    }
    return PaperCase(
        gamma=gamma,
        eigenvalues=eigenvalues,
        found=found,
        exact=np.append(mu[1:] / mu[0], 0.0),
        whole_radius=radius,
        whole_exact=float(mu[0]),
        counts=counts,
    )
