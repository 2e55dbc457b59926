"""Rotations: drawn, those of a cube, what commutes with them, and nodes on the sphere (NumPy,
float64).
"""

from itertools import permutations, product

import numpy as np

from eigenloop.numerics.spectrum import random_orthogonal


def rotation(rng: np.random.Generator, dim: int) -> np.ndarray:
    """A proper rotation, det = 1."""
    q = random_orthogonal(rng, dim)
    q[:, 0] *= np.sign(np.linalg.det(q))
    return q


def commutant_dimension(matrices: np.ndarray) -> int:
    """Dimension of the space of A with R A = A R for each R of some, (N, d, d), from singular
    values.

    Row by row vec(R A - A R) = (R x I - I x R^T) vec(A).

    Example:
        >>> commutant_dimension(np.array([np.diag([1.0, 2.0])]))
        2
    """
    eye = np.eye(matrices.shape[-1])
    singular = np.linalg.svd(
        np.concatenate([np.kron(r, eye) - np.kron(eye, r.T) for r in matrices]), compute_uv=False
    )
    return int((singular <= 1e-10 * singular[0]).sum())


def cube_rotations() -> np.ndarray:
    """The 24 proper rotations of a cube, (24, 3, 3).

    They act irreducibly on R^3 and on no symmetric traceless matrix trivially, so the mean of R G
    R^T over them is that over all rotations.
    """
    found = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        matrix = np.zeros((3, 3))
        matrix[range(3), order] = signs
        if np.linalg.det(matrix) > 0:
            found.append(matrix)
    return np.array(found)


def sphere_nodes(polar: int, around: int) -> tuple[np.ndarray, np.ndarray]:
    """q and weights on S^2: Gauss-Legendre in the height, equidistant in the angle; (N, 3) and
    (N,), sum 1.
    """
    height, weight = np.polynomial.legendre.leggauss(polar)
    angle = 2 * np.pi * (np.arange(around) + 0.5) / around
    flat = np.sqrt(1 - height**2)
    q = np.stack(
        [
            np.outer(flat, np.cos(angle)),
            np.outer(flat, np.sin(angle)),
            np.outer(height, np.ones(around)),
        ],
        axis=-1,
    )
    return q.reshape(-1, 3), np.repeat(weight / 2 / around, around)
