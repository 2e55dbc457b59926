"""The whole population landscape without LN: the loss of any A and B, in closed form, and its
minimisers.

    F(A, B) = E||q + A S B q - v||^2,   S = Q diag(lambda) Q^T with Q Haar, q uniform on the sphere.

Averages of products of S, q and v over rotations are isotropic tensors, so F is a polynomial in
traces:

    F = E||q - v||^2 + 2 (c1 (tr A tr B + tr A B^T) + c3 tr A B) + (p ||A||^2 ||B||^2 + r tr(A^T A B
    B^T)) / d,

with p I tr X + r X = E[S X S] for symmetric X. Theorem 4.2 of arXiv 2606.00605 follows gradient
descent to the best multiples of I; this is what surrounds that point.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from eigenloop.theory.population import LayerwiseLinear
from eigenloop.theory.stability.layerwise import image_shares


class Landscape(NamedTuple):
    """The constants of F."""

    dim: int
    start: float
    """F(0, .) = E||q - v||^2."""
    c1: float
    c3: float
    p: float
    r: float

    @classmethod
    def of(cls, setting: LayerwiseLinear) -> "Landscape":
        """The constants for one spectrum and target."""
        row = setting.rows[0]
        d, trace, square = row.size, float(row.sum()), float((row**2).sum())
        # E[v_i q_i]
        pull = row / d if setting.target == "unnormalized" else image_shares(row).value
        # E[(q-v).Sq], E[(q-v).q tr S]
        along, alone = (
            float(row @ (1 / d - pull)),
            float(trace * (1 - pull.sum())),
        )
        contractions = np.array([along, along, alone])
        system = d * np.ones((3, 3)) + (d * d - d) * np.eye(3)
        c1, _, c3 = np.linalg.solve(system, contractions)
        quartic = (2 * square + trace**2) / (d * (d + 2))  # E[(u.Su)^2] = p + r
        p = (square / d - quartic) / (d - 1)
        length = square / d if setting.target == "unnormalized" else 1.0
        return cls(d, 1 + length - 2 * float(pull.sum()), float(c1), float(c3), p, quartic - p)

    def loss(self, a: np.ndarray, b: np.ndarray) -> float:
        """F(A, B)."""
        linear = self.c1 * (np.trace(a) * np.trace(b) + np.sum(a * b)) + self.c3 * np.trace(a @ b)
        quadratic = self.p * np.sum(a * a) * np.sum(b * b) + self.r * np.sum((a.T @ a) * (b @ b.T))
        return float(self.start + 2 * linear + quadratic / self.dim)

    def gradient(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(dF/dA, dF/dB)."""
        eye = np.eye(self.dim)
        of_a = 2 * (self.c1 * (np.trace(b) * eye + b) + self.c3 * b.T)
        of_a += 2 / self.dim * (self.p * np.sum(b * b) * a + self.r * a @ (b @ b.T))
        of_b = 2 * (self.c1 * (np.trace(a) * eye + a) + self.c3 * a.T)
        of_b += 2 / self.dim * (self.p * np.sum(a * a) * b + self.r * (a.T @ a) @ b)
        return of_a, of_b


class Minimum(NamedTuple):
    """A minimiser A, B of the whole landscape."""

    loss: float
    a: np.ndarray
    b: np.ndarray


def minimum(landscape: Landscape, *, starts: int = 8, seed: int = 0) -> Minimum:
    """The lowest minimum that L-BFGS finds from random starts.

    Args:
        landscape: from `Landscape.of`.
        starts: how many.
        seed: of the starts.

    Returns:
        The best of them; its gradient vanishes to about 1e-7.
    """
    d, rng, best = landscape.dim, np.random.default_rng(seed), None

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        a, b = flat.reshape(2, d, d)
        return landscape.loss(a, b), np.concatenate(
            [part.ravel() for part in landscape.gradient(a, b)]
        )

    for _ in range(starts):
        begin = rng.standard_normal(2 * d * d) * 0.3
        found = minimize(
            objective,
            begin,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 20_000, "ftol": 1e-16, "gtol": 1e-10},
        )
        if best is None or found.fun < best.fun:
            best = found
    assert best is not None
    a, b = best.x.reshape(2, d, d)
    return Minimum(float(best.fun), a, b)


def split_minimum(landscape: Landscape, rank: int) -> Minimum:
    """The best A = a1 P + a2 (I - P), B = b1 P + b2 (I - P) with a projection P of this rank.

    Gradient descent on the whole landscape ends in such pairs: for the normalised target A lives on
    one part and B on the other.
    """
    part = np.diag((np.arange(landscape.dim) < rank).astype(np.float64))
    parts = (part, np.eye(landscape.dim) - part)

    def pair(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return flat[0] * parts[0] + flat[1] * parts[1], flat[2] * parts[0] + flat[3] * parts[1]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        a, b = pair(flat)
        of_a, of_b = landscape.gradient(a, b)
        slopes = [np.sum(gradient * part) for gradient in (of_a, of_b) for part in parts]
        return landscape.loss(a, b), np.array(slopes)

    found = minimize(
        objective, np.array([0.5, 0.1, 0.1, 0.5]), jac=True, method="BFGS", options={"gtol": 1e-11}
    )
    return Minimum(float(found.fun), *pair(found.x))
