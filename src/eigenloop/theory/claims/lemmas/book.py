"""The ledger that the lemmas are written in, and the spectra that they are tried on (NumPy)."""

import numpy as np

from eigenloop.claims import Ledger
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES

ledger = Ledger("arXiv 2606.00605")
"""Filled by the modules of `eigenloop.theory.claims.lemmas`."""

TASK2 = tuple(float(m) for m in DEFAULT_MULTIPLICITIES)
"""Eigenvalues of Task 2 at d = 16, n = 32."""
LOOPS = 10
"""L of the paper's looped experiments."""


def unit_columns(
    rng: np.random.Generator, *, dim: int, samples: int, skew: float = 0.0
) -> np.ndarray:
    """X with unit columns, (d, n); skew > 0 stretches the axes by up to e^skew first, so that
    spectra differ widely.
    """
    x = rng.standard_normal((dim, samples)) * np.exp(skew * rng.random((dim, 1)))
    return x / np.linalg.norm(x, axis=0)


def random_spectra(
    rng: np.random.Generator, *, dim: int, count: int, full_rank: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of S = X X^T, (count, d) descending, of random X with unit columns, and n,
    (count,).

    n runs from 2 (d + 2 where S must have full rank) to 4d, and the skew of the columns from 0 to
    3.
    """
    rows, columns = [], []
    for _ in range(count):
        n = int(rng.integers(dim + 2 if full_rank else 2, 4 * dim + 1))
        x = unit_columns(rng, dim=dim, samples=n, skew=3 * rng.random())
        values = np.zeros(dim)
        found = np.linalg.svd(x, compute_uv=False) ** 2
        values[: found.size] = found
        rows.append(values)
        columns.append(n)
    return np.array(rows), np.array(columns)


def unit_vectors(rng: np.random.Generator, *, dim: int, count: int) -> np.ndarray:
    """Queries q, uniform on the unit sphere, (count, d)."""
    z = rng.standard_normal((count, dim))
    return z / np.linalg.norm(z, axis=1, keepdims=True)
