"""The ledger of what is past gamma = infinity, and the spectra that it is measured on."""

import numpy as np

from eigenloop.claims import Ledger
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES, top_multiplicity

ledger = Ledger("arXiv 2606.00605")

TASK_2 = np.array(DEFAULT_MULTIPLICITIES, np.float64)
LOOPS = 10
PLACE = "beside Thm 4.1"
FIXED = (
    tuple(DEFAULT_MULTIPLICITIES),
    (5.0, 4.0, 2.0, 0.0),
    (3.0, 3.0, 1.0, 0.5),
    (3.0, 2.9, 1.0),
    (8.0, 4.0, 2.0, 1.0, 0.5, 0.25),
    (1.3, 1.2, 0.5),
    (6.0, 6.0, 6.0, 1.0, 0.0, 0.0),
)
"""Task 2; with lambda_d = 0; with m > 1; with a small gap; geometric; nearly tight; singular."""


def drawn(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Spectra of 3 to 9 eigenvalues, every other of whole numbers; some with m > 1 or a 0."""
    found = []
    while len(found) < count:
        values = np.sort(rng.uniform(0, 6, rng.integers(3, 10)))[::-1]
        values = np.round(values) if len(found) % 2 else values
        if values[0] > 0 and len(set(values)) >= 3:
            found.append(values)
    return found


def multiplicity_of(values: np.ndarray | tuple[float, ...]) -> int:
    """m."""
    return top_multiplicity(values)
