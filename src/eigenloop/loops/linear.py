"""The derivative of a map at one state, J = f'(x), as products with vectors; and flat states
(NumPy).

forward v -> J v,    reverse u -> J^T u
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from eigenloop.system.errors import InputError

Product: TypeAlias = Callable[[np.ndarray], np.ndarray]

DENSE = 400
"""Largest size whose derivative is written out as a matrix."""

ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Linear:
    """The derivative J of a map at one state, by its products with one vector.

    Args:
        size: n.
        forward: v -> J v; None where there is none.
        reverse: u -> J^T u; None where there is none.
        noise: relative rounding of a product.

    Example:
        >>> Linear(2, forward=lambda v: np.array([2.0, 3.0]) * v).dense()
        array([[2., 0.],
               [0., 3.]])
    """

    size: int
    forward: Product | None = None
    reverse: Product | None = None
    noise: float = ROUNDING
    _kept: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, matrix: Float[np.ndarray, "n n"]) -> "Linear":
        """A matrix as its products."""
        return cls(len(matrix), forward=lambda v: matrix @ v, reverse=lambda u: matrix.T @ u)

    def dense(self) -> Float[np.ndarray, "n n"]:
        """J as a matrix, from n products; kept."""
        if "J" not in self._kept:
            rows = np.eye(self.size)
            if self.reverse is not None:
                self._kept["J"] = np.stack([self.reverse(row) for row in rows])
            else:
                self._kept["J"] = np.stack([self._forward(row) for row in rows], axis=1)
        return self._kept["J"]

    def push(self, v: np.ndarray) -> np.ndarray:
        """J v: the product itself, or with the matrix where only the reverse products are there.

        Raises:
            InputError: no forward products, and the state is too large for a matrix.
        """
        if self.size <= DENSE and "J" in self._kept:
            return self._kept["J"] @ v
        if self.forward is not None:
            return self.forward(v)
        if self.size > DENSE:
            raise InputError(
                f"the state has {self.size} numbers and only reverse products; above {DENSE},"
                " forward products are needed too (jvp=)"
            )
        return self.dense() @ v

    def _forward(self, v: np.ndarray) -> np.ndarray:
        if self.forward is None:
            raise InputError("a linear map needs forward or reverse products; it has neither")
        return self.forward(v)


def difference(run: Product, x: np.ndarray, length: float) -> Product:
    """v -> J v by the five-point formula, for a map without a derivative; exact for polynomials of
    degree 4.

    Args:
        run: f.
        x: where.
        length: of the step h v.
    """

    def forward(v: np.ndarray) -> np.ndarray:
        size = float(np.linalg.norm(v))
        if size == 0:
            return np.zeros_like(v)
        h = length / size
        near, far = (run(x + k * h * v) - run(x - k * h * v) for k in (1, 2))
        return (8 * near - far) / (12 * h)

    return forward


def flat_start(x0: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    """x_0 as a flat float64 vector, and its shape.

    Raises:
        InputError: no numbers, or one that is not finite.
    """
    array = np.asarray(x0)
    if not (
        np.issubdtype(array.dtype, np.number) and not np.issubdtype(array.dtype, np.complexfloating)
    ):
        raise InputError(f"x0 has dtype {array.dtype}; a state is an array of real numbers")
    if array.size == 0:
        raise InputError(
            f"x0 has shape {array.shape} and holds no number; a state needs at least one"
        )
    return flat_state(array, array.shape, "x0"), array.shape


def flat_state(x: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """An array of a given shape as a flat float64 vector of its own.

    Raises:
        InputError: another shape, or a number that is not finite.
    """
    array = np.array(x, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{what} has shape {array.shape}; the map's states have {shape}")
    if not np.isfinite(array).all():
        raise InputError(
            f"{what} holds {int((~np.isfinite(array)).sum())} number(s) that are not finite;"
            " replace them"
        )
    return array.ravel()
