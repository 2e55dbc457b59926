"""Samples that trained models are looped on, in and out of distribution, and models that SGD
trained (NumPy).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from eigenloop.numerics.power import power_method, sin_angle
from eigenloop.numerics.spectrum import (
    DEFAULT_MULTIPLICITIES,
    random_orthogonal,
    top_multiplicity,
    unit_columns_with_spectrum,
)
from eigenloop.theory.claims.lemmas import oracle
from eigenloop.theory.claims.lemmas.book import unit_columns, unit_vectors
from eigenloop.theory.claims.theorems.book import LOOPS, RATE


@dataclass(frozen=True)
class Tested:
    """Samples of one shape with the spectra, coordinates and principal bases that the bounds are
    made of.

    Args:
        samples: X (b, d, n) and q (b, d).
        values: lambda_i, descending, (b, d).
        vectors: u_i as columns, (b, d, d).
    """

    samples: oracle.Sampled
    values: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, columns: np.ndarray, rng: np.random.Generator) -> "Tested":
        """Queries drawn for X."""
        values, vectors = np.linalg.eigh(columns @ columns.mT)
        query = unit_vectors(rng, dim=columns.shape[1], count=len(columns))
        return cls(oracle.Sampled(columns, query), values[:, ::-1].clip(0), vectors[:, :, ::-1])

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """lambda, c = u . q and the principal basis, sample by sample."""
        for values, vectors, query in zip(
            self.values, self.vectors, self.samples.query, strict=True
        ):
            yield values, vectors.T @ query, vectors[:, : top_multiplicity(values)]


def in_distribution(rng: np.random.Generator, half: int) -> Tested:
    """X of Task 1, d = 16, n = 32, and as many of Task 2."""
    spheres = np.stack([unit_columns(rng, dim=16, samples=32) for _ in range(half)])
    return Tested.of(np.concatenate([spheres, _planted(rng, half)]), rng)


def planted(rng: np.random.Generator, count: int) -> Tested:
    """X of Task 2."""
    return Tested.of(_planted(rng, count), rng)


def _planted(rng: np.random.Generator, count: int) -> np.ndarray:
    base = np.repeat(np.eye(16), DEFAULT_MULTIPLICITIES, axis=1)
    return np.stack([random_orthogonal(rng, 16) @ base for _ in range(count)])


def full_rank(rng: np.random.Generator, each: int) -> Iterator[Tested]:
    """X of other spectra with unit columns: spiked, geometric, halved."""
    shapes = [
        np.r_[24.0, np.full(15, 40 / 15)],
        32 * 0.3 * 0.7 ** np.arange(16) / (1 - 0.7**16),
        np.r_[np.full(8, 3.0), np.full(8, 1.0)],
    ]
    yield from (_drawn(rng, shape, each) for shape in shapes)


def out_of_distribution(rng: np.random.Generator, each: int) -> Iterator[Tested]:
    """The same, and repeated and singular spectra."""
    yield from full_rank(rng, each)
    shapes = np.r_[10.0, 10.0, np.full(14, 12 / 14)], np.r_[20.0, 12.0, np.zeros(14)]
    yield from (_drawn(rng, shape, each) for shape in shapes)


def _drawn(rng: np.random.Generator, shape: np.ndarray, count: int) -> Tested:
    samples = round(shape.sum())
    some = [
        unit_columns_with_spectrum(rng, shape * samples / shape.sum(), samples=samples)
        for _ in range(count)
    ]
    return Tested.of(np.stack(some), rng)


def weights(some: Tested, a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """V and W with V_21 = aI, W_12 = bI."""
    return oracle.scalar_weights(some.values.shape[1], float(a), float(b))


def sines(some: Tested, states: np.ndarray) -> np.ndarray:
    """Sines to PS(X) of (..., b, d)."""
    bases = [basis for _, _, basis in some]
    return np.stack([sin_angle(states[..., i, :], basis) for i, basis in enumerate(bases)], axis=-1)


def limit_sines(some: Tested) -> np.ndarray:
    """Sines of L steps of the power method, by products, (b,)."""
    grams = some.samples.columns @ some.samples.columns.mT
    ends = [
        power_method(s, q, loops=LOOPS)[-1] for s, q in zip(grams, some.samples.query, strict=True)
    ]
    return sines(some, np.stack(ends))


class Trained(NamedTuple):
    """A model that SGD trained on Task 2, and its loop in the eigenbases of some X: I + gamma S
    + E.
    """

    v: np.ndarray
    w: np.ndarray
    gamma: float
    """tr(AB)/d."""

    def loop(self, some: Tested) -> np.ndarray:
        """U^T (I + A S B) U, (b, d, d)."""
        dim = some.values.shape[1]
        gram = some.samples.columns @ some.samples.columns.mT
        product = self.v[dim:, :dim] @ gram @ self.w[:dim, dim:]
        return np.eye(dim) + some.vectors.mT @ product @ some.vectors

    def rest(self, some: Tested) -> np.ndarray:
        """E = A S B - gamma S in the eigenbases, (b, d, d)."""
        dim = some.values.shape[1]
        return self.loop(some) - np.eye(dim) * (1 + self.gamma * some.values[:, :, None])


@cache
def by_sgd(objective: Literal["layerwise", "end-to-end"], steps: int) -> Trained:
    """SGD of the lab on Task 2: fresh batches of 128, rate 0.1, seed 0, float32."""
    from eigenloop.lab.config import TrainConfig
    from eigenloop.lab.training import train

    run = train(
        TrainConfig.create(
            task="planted",
            objective=objective,
            fresh=True,
            steps=steps,
            learning_rate=RATE,
            test_size=128,
            seed=0,
        )
    )
    v, w = (np.asarray(part[0], dtype=np.float64) for part in (run.model.v, run.model.w))
    return Trained(v, w, float(np.trace(v[16:, :16] @ w[:16, 16:]) / 16))


def plain_bound(some: Tested, gamma: float, loops: int) -> np.ndarray:
    """tan(phi_0) r^k of m = 1, (loops + 1, b)."""
    mu = 1 + gamma * some.values
    c = np.stack([c for _, c, _ in some])
    return (
        np.linalg.norm(c[:, 1:], axis=1)
        / abs(c[:, 0])
        * (mu[:, 1] / mu[:, 0]) ** np.arange(loops + 1)[:, None]
    )


class Parts(NamedTuple):
    """Norms of the blocks of E for m = 1, with (1 + gamma lambda_i), a sample each: what the
    widened bound is made of.

    With t = tan(phi) one loop obeys

        t' <= ((mu_2 + ||e_22||) t + ||e_21||)/(mu_1 - |e_11| - ||e_12|| t),

    and a fixed point is ||(mu_1 - diag(mu_2, ..., mu_d))^{-1} e_21|| up to
    (|e_11| + ||e_22|| + ||e_12|| t)/(mu_1 - mu_2) of itself.
    """

    e11: np.ndarray
    e12: np.ndarray
    e21: np.ndarray
    e22: np.ndarray
    mu: np.ndarray
    first: np.ndarray
    """The fixed point to first order."""

    @classmethod
    def of(cls, model: Trained, some: Tested) -> "Parts":
        """Of a trained model at some X."""
        rest, mu, norm = model.rest(some), 1 + model.gamma * some.values, np.linalg.norm
        return cls(
            abs(rest[:, 0, 0]),
            norm(rest[:, 0, 1:], axis=1),
            norm(rest[:, 1:, 0], axis=1),
            norm(rest[:, 1:, 1:], ord=2, axis=(1, 2)),
            mu,
            norm(rest[:, 1:, 0] / (mu[:, :1] - mu[:, 1:]), axis=1),
        )

    def order(self, tangent: np.ndarray) -> np.ndarray:
        """The next order, relative to the first."""
        return (self.e11 + self.e22 + self.e12 * tangent) / (self.mu[:, 0] - self.mu[:, 1])

    def widened(self, tangent: np.ndarray, loops: int) -> np.ndarray:
        """The bound as sines, (loops + 1, b), from tan(phi_0); 1 where it bounds nothing."""
        found = [tangent]
        for _ in range(loops):
            room = self.mu[:, 0] - self.e11 - self.e12 * found[-1]
            with np.errstate(over="ignore", invalid="ignore"):
                step = ((self.mu[:, 1] + self.e22) * found[-1] + self.e21) / np.where(
                    room > 0, room, 1
                )
            found.append(np.where((room > 0) & np.isfinite(step), step, np.inf))
        bounds = np.array(found)
        return np.where(
            np.isfinite(bounds), bounds / np.sqrt(1 + np.minimum(bounds, 1e150) ** 2), 1.0
        )
