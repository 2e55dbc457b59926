"""Linear maps kept as the factors they come in, M = U V + B, and the growth of a mode in one step (NumPy, float64)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Inexact

BLOCK = 256
"""Rows that are made float64 at a time."""


@dataclass(frozen=True)
class Growth:
    """mu(lambda) = shift + lambda / scale, the factor by which one step multiplies a mode's coordinate.

    Args:
        shift: 0 without the residual connection, 1 with it.
        scale: sigma of the tokens, where a normalisation divides by it.

    Example:
        >>> Growth(shift=1.0)(-0.5)
        0.5
    """

    shift: float = 0.0
    scale: float = 1.0

    def __call__(self, eigenvalue: Any) -> Any:
        """The factor mu of one eigenvalue, or those of an array of them."""
        return self.shift + eigenvalue / self.scale


@dataclass(frozen=True, eq=False, kw_only=True)
class Operator:
    """M = U V + B, of which only the parts are kept.

    Args:
        left: U, (d, r), any real dtype; it is made float64 piece by piece.
        right: V, (r, d).
        base: B, (d, d), or None for 0.
        formula: what M is, for the result: "F", "F diag(gain) P", ...
    """

    left: Float[np.ndarray, "d r"]
    right: Float[np.ndarray, "r d"]
    base: Float[np.ndarray, "d d"] | None = None
    formula: str = "F"

    @property
    def is_low_rank(self) -> bool:
        """Whether the r x r product has all eigenvalues but zeros."""
        return self.base is None and self.left.shape[1] < self.left.shape[0]

    @property
    def size(self) -> int:
        """Size of the matrix whose eigenvalues are needed: r, or d."""
        return self.left.shape[1] if self.is_low_rank else self.left.shape[0]

    def matrix(self) -> Float[np.ndarray, "d d"]:
        """M, float64."""
        return product(self.left, self.right) if self.base is None else product(self.left, self.right) + self.base

    def core(self) -> Float[np.ndarray, "k k"]:
        """V U where that is smaller, M otherwise."""
        return product(self.right, self.left) if self.is_low_rank else self.matrix()

    def __matmul__(self, x: Inexact[np.ndarray, " d"]) -> Inexact[np.ndarray, " d"]:
        """M x."""
        columns = parts(x)
        result = product(self.left, product(self.right, columns))
        result = result if self.base is None else result + self.base @ columns
        return joined(result, like=x)

    def transposed(self) -> "Operator":
        """M^T."""
        base = None if self.base is None else self.base.T
        return Operator(left=self.right.T, right=self.left.T, base=base, formula=f"({self.formula})^T")


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """U V in float64; what is stored in float32 is converted a block at a time.

    Example:
        >>> product(np.eye(2, dtype=np.float32), np.array([[1.0], [2.0]])).dtype
        dtype('float64')
    """
    if left.dtype == right.dtype == np.float64:
        return left @ right
    result = np.zeros((left.shape[0], right.shape[1]))
    for i in range(0, left.shape[0], BLOCK):
        rows = left[i : i + BLOCK].astype(np.float64)
        for k in range(0, right.shape[0], BLOCK):
            result[i : i + BLOCK] += rows[:, k : k + BLOCK] @ right[k : k + BLOCK].astype(np.float64)
    return result


def parts(x: np.ndarray) -> np.ndarray:
    """(d, 2), real and imaginary part, so that a real matrix is not made complex for a product."""
    return np.stack([np.real(x), np.imag(x)], axis=1)


def joined(columns: np.ndarray, *, like: np.ndarray) -> np.ndarray:
    """The inverse of `parts`: complex where `like` is."""
    return columns[:, 0] + 1j * columns[:, 1] if np.iscomplexobj(like) else columns[:, 0]
