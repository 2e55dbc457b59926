"""Eigenvectors of a known eigenvalue, by inverse iteration, and of the null space (float64)."""

from functools import cache

import numpy as np
from scipy.linalg import lapack, lu_solve

from eigenloop.lens.weights.operators import Operator


@cache
def start_vector(size: int) -> np.ndarray:
    """A fixed vector without any pattern; not to be written to."""
    return np.random.default_rng(0).standard_normal(size)


def inverse_iteration(matrix: np.ndarray, eigenvalue: complex) -> tuple[np.ndarray, np.ndarray]:
    """Right and left eigenvectors of an eigenvalue known to machine precision, real for a
    real one.
    """
    near = np.finfo(float).eps * (np.linalg.norm(matrix) or 1.0)
    shift = eigenvalue if eigenvalue.imag else eigenvalue.real
    shifted = matrix.astype(type(shift), order="F")
    np.einsum("ii->i", shifted)[:] -= shift + near
    # scipy.linalg.lu_factor warns of what is wanted here
    (factorise,) = lapack.get_lapack_funcs(("getrf",), (shifted,))
    factors, pivots, _ = factorise(shifted, overwrite_a=True)
    diagonal = np.einsum("ii->i", factors)
    diagonal[np.abs(diagonal) < near * np.finfo(float).eps] = near
    right = left = start_vector(len(matrix))
    for _ in range(2):
        right = lu_solve((factors, pivots), right, check_finite=False)
        left = lu_solve((factors, pivots), left, trans=2, check_finite=False)
        right, left = right / np.linalg.norm(right), left / np.linalg.norm(left)
    return right, left


def null_vectors(operator: Operator) -> tuple[np.ndarray, np.ndarray]:
    """The fixed start without what V reads of it (so M v = 0), and of that l what U does not
    write (M^T l = 0).
    """
    right = _without(
        operator.inner_transposed(operator.right.T), start_vector(operator.left.shape[0])
    )
    left = _without(operator.left, right)
    return right, left if np.linalg.norm(left) > 0 else right


def _without(columns: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What is left of x without its projection on the column space."""
    basis = np.linalg.svd(columns.astype(np.float64), full_matrices=False)
    rounding = basis.S.max(initial=0) * len(x) * np.finfo(float).eps
    kept = basis.U[:, rounding < basis.S]
    for _ in range(2):  # the second time removes what rounding left
        x = x - kept @ (kept.T @ x)
    return x
