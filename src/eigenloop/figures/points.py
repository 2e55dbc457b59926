"""Test points in float64: a run's own test set, other spectra, and real tables."""

from dataclasses import dataclass, replace

import jax
import numpy as np
from sklearn import datasets

from eigenloop.lab import problems
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.looping import looped_sines, power_method_sines
from eigenloop.numerics.power import normalize
from eigenloop.numerics.spectrum import Numbers, top_multiplicity, unit_columns_with_spectrum

START_COSINES = (0.08, 0.12)
"""Range of |c_1| of the fixed test point of Figures 2 and 5: 83 to 85 degrees from the principal
direction.
"""


@dataclass(frozen=True)
class Points:
    """Pairs (S, q), whose largest eigenvalue has one multiplicity; one S may serve every q."""

    gram: np.ndarray
    """S, (b, d, d) or (1, d, d)."""
    query: np.ndarray
    """q, (b, d)."""
    eigenvalues: np.ndarray
    """Descending, (b, d) or (1, d)."""
    eigenvectors: np.ndarray
    """Columns in that order, (b, d, d) or (1, d, d)."""
    multiplicity: int = 1
    """m of the largest eigenvalue."""

    @property
    def coordinates(self) -> np.ndarray:
        """c_i = u_i . q, (b, d)."""
        return (np.swapaxes(self.eigenvectors, -1, -2) @ self.query[..., None])[..., 0]

    def one(self, index: int) -> "Points":
        """A single point."""
        if len(self.gram) == 1:
            return replace(self, query=self.query[[index]])
        names = ("gram", "query", "eigenvalues", "eigenvectors")
        return replace(self, **{name: getattr(self, name)[[index]] for name in names})

    @property
    def ratios(self) -> np.ndarray:
        """lambda_{m+1} / lambda_1, (b,) or (1,): what a loop of the power method leaves."""
        return self.eigenvalues[:, self.multiplicity] / self.eigenvalues[:, 0]

    def fixed(self) -> "Points":
        """One point that starts nearly orthogonal, as in the paper's Fig. 2(c), with a typical gap.

        Of the points with |c_1| in START_COSINES (of all, where there is none), the one whose
        lambda_2 / lambda_1 is closest to the median over all points. Where m eigenvalues are
        largest, it is the cosine to their subspace, and lambda_{m+1}.
        """
        cosine = np.linalg.norm(self.coordinates[:, : self.multiplicity], axis=1)
        ratio = np.broadcast_to(self.ratios, cosine.shape)
        low, high = START_COSINES
        near = (cosine >= low) & (cosine <= high)
        off = abs(ratio - np.median(ratio))
        return self.one(int(np.argmin(np.where(near, off, np.inf) if near.any() else off)))

    def sines(self, a: np.ndarray, b: np.ndarray, *, loops: int) -> np.ndarray:
        """sin(phi_k) of the model (A, B), (K + 1, b)."""
        basis = self.eigenvectors[..., : self.multiplicity]
        return looped_sines(a, b, gram=self.gram, query=self.query, basis=basis, loops=loops)

    def power_sines(self, *, loops: int) -> np.ndarray:
        """sin(phi_k) of the power method, (K + 1, b)."""
        basis = self.eigenvectors[..., : self.multiplicity]
        return power_method_sines(gram=self.gram, query=self.query, basis=basis, loops=loops)


def held_out(config: TrainConfig) -> Points:
    """The test set of a run's first seed."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), 0), 1)
    distribution = config.distribution()
    batch = problems.draw(distribution, key, config.test_size, principal=False)
    found = _points(np.asarray(batch.columns, np.float64), np.asarray(batch.query, np.float64))
    spectrum = getattr(distribution, "eigenvalues", None)
    known = (
        getattr(distribution, "multiplicity", None)
        if spectrum is None
        else top_multiplicity(spectrum)
    )
    multiplicity, values = known or 1, found.eigenvalues.copy()
    # X was drawn in float32, which leaves equal eigenvalues 1e-7 apart
    values[:, :multiplicity] = values[:, :multiplicity].mean(axis=1, keepdims=True)
    return replace(found, eigenvalues=values, multiplicity=multiplicity)


def spectrum_points(eigenvalues: Numbers, *, samples: int, queries: int, seed: int) -> Points:
    """Random queries to one X with a given spectrum."""
    rng = np.random.default_rng([seed, 8])
    columns = unit_columns_with_spectrum(rng, eigenvalues, samples=samples)
    return _points(columns[None], rng.standard_normal((queries, len(columns))))


def table_points(name: str, *, queries: int, seed: int) -> Points:
    """Random queries to a bundled table of scikit-learn, each row scaled to length 1 and taken
    as a column of X.
    """
    rows = getattr(datasets, f"load_{name}")().data
    columns = np.asarray(problems.Observed(rows.T).columns, np.float64)
    return _points(
        columns[None], np.random.default_rng([seed, 9]).standard_normal((queries, len(columns)))
    )


def _points(columns: np.ndarray, query: np.ndarray) -> Points:
    gram = columns @ np.swapaxes(columns, -1, -2)
    values, vectors = np.linalg.eigh(gram)
    return Points(gram, normalize(query), values[:, ::-1], vectors[:, :, ::-1])
