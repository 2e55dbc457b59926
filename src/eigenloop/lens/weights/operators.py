"""Linear maps kept as the factors they come in, and the growth of a mode in one step (NumPy,
float64).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Inexact

BLOCK = 256
"""Rows that are made float64 at a time."""


@dataclass(frozen=True)
class Growth:
    """mu(lambda) = shift + lambda / scale, the factor by which one step multiplies a mode's
    coordinate.

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
    """M = U V diag(gain) P + B, of which only the parts are kept.

    Args:
        left: U, (d, r), any real dtype; it is made float64 piece by piece.
        right: V, (r, d).
        gain: (d,), or None for 1.
        center: whether P = I - 11^T/d is there.
        base: B, (d, d), or None for 0.
        formula: what M is, for the result: "F", "F diag(gain) P", ...
    """

    left: Float[np.ndarray, "d r"]
    right: Float[np.ndarray, "r d"]
    gain: Float[np.ndarray, " d"] | None = None
    center: bool = False
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

    def inner(self, x: np.ndarray) -> np.ndarray:
        """diag(gain) P x, float64, for columns x."""
        x = x.astype(np.float64)
        x = x - x.mean(0) if self.center else x
        return x if self.gain is None else self.gain[:, None] * x

    def inner_transposed(self, x: np.ndarray) -> np.ndarray:
        """P diag(gain) x, float64, for columns x."""
        x = x.astype(np.float64) if self.gain is None else self.gain[:, None] * x
        return x - x.mean(0) if self.center else x

    def matrix(self) -> Float[np.ndarray, "d d"]:
        """M, float64."""
        result = product(self.left, self.right)
        if self.gain is not None:
            result *= self.gain
        if self.center:
            result -= result.mean(1, keepdims=True)
        if self.base is not None:
            result += self.base
        return result

    def core(self) -> Float[np.ndarray, "k k"]:
        """V diag(gain) P U where that is smaller, M otherwise."""
        if not self.is_low_rank:
            return self.matrix()
        result = np.empty((self.size, self.size))
        for k in range(0, self.size, BLOCK):
            result[:, k : k + BLOCK] = product(self.right, self.inner(self.left[:, k : k + BLOCK]))
        return result

    def __matmul__(self, x: Inexact[np.ndarray, " d"]) -> Inexact[np.ndarray, " d"]:
        """M x."""
        columns = parts(x)
        result = product(self.left, product(self.right, self.inner(columns)))
        return joined(result if self.base is None else result + self.base @ columns, like=x)

    def __rmatmul__(self, x: Inexact[np.ndarray, " d"]) -> Inexact[np.ndarray, " d"]:
        """M^T x, written x @ M."""
        columns = parts(x)
        result = self.inner_transposed(product(self.right.T, product(self.left.T, columns)))
        return joined(result if self.base is None else result + self.base.T @ columns, like=x)

    __array_ufunc__ = None  # so that NumPy leaves `x @ operator` to the method above

    def lift(self, y: np.ndarray) -> np.ndarray:
        """Take v = U y: from right eigenvectors of the core to those of M."""
        return joined(product(self.left, parts(y)), like=y)

    def lift_left(self, z: np.ndarray) -> np.ndarray:
        """Take l = (V diag(gain) P)^T z: from left eigenvectors of the core to those of M."""
        return joined(self.inner_transposed(product(self.right.T, parts(z))), like=z)


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
            result[i : i + BLOCK] += rows[:, k : k + BLOCK] @ right[k : k + BLOCK].astype(
                np.float64
            )
    return result


def parts(x: np.ndarray) -> np.ndarray:
    """(d, 2), real and imaginary part, so that a real matrix is not made complex for a product."""
    return np.stack([np.real(x), np.imag(x)], axis=1)


def joined(columns: np.ndarray, *, like: np.ndarray) -> np.ndarray:
    """The inverse of `parts`: complex where `like` is."""
    return columns[:, 0] + 1j * columns[:, 1] if np.iscomplexobj(like) else columns[:, 0]
