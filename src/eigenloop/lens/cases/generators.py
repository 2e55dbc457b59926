"""Weights with planted spectra for simulated tokens: F with given eigenvalues, and heads that
sum to it (NumPy).
"""

import numpy as np
from jaxtyping import Float, Inexact
from numpy.typing import ArrayLike

from eigenloop.lens.model.layouts import NormKind, Placement
from eigenloop.lens.weights.circuits import Norm
from eigenloop.numerics.spectrum import random_orthogonal
from eigenloop.system.errors import InputError


def plain_norm(dim: int, *, kind: NormKind = "layer", placement: Placement = "post") -> Norm:
    """LN or RMSNorm with gain 1, bias 0 and epsilon 0.

    Example:
        >>> plain_norm(2)(np.array([[1.0, 3.0]]))
        array([[-1.,  1.]])
    """
    return Norm(gain=np.ones(dim), bias=np.zeros(dim), eps=0.0, kind=kind, placement=placement)


def growth_spectrum(
    dim: int, *, gap: float, leader: float = 1.6, angle: float = 0.0, rest: float = 0.7
) -> Inexact[np.ndarray, " d"]:
    """Eigenvalues of F with planted growth factors mu = 1 + lambda.

    mu_1 = leader e^{i angle} (with its conjugate, where it is not real), |mu_2 / mu_1| = gap with
    mu_2 > 0, and the others evenly from rest mu_2 down to rest mu_2 / dim.

    Args:
        dim: d, at least 3.
        gap: in (0, 1).
        leader: |mu_1|.
        angle: of mu_1, in radians; pi for a leader that changes its sign in every loop.
        rest: |mu_3 / mu_2|.

    Example:
        >>> growth_spectrum(4, gap=0.5, leader=2.0, rest=0.5).round(3)
        array([ 1.   ,  0.   , -0.5  , -0.875])
    """
    if dim < 3 or not 0 < gap < 1:
        raise InputError(
            f"dim is {dim} and gap {gap:g}; dim must be at least 3, and the gap between 0 and 1"
        )
    paired = np.sin(angle) ** 2 > 1e-24
    first = (
        leader * np.exp(1j * angle * np.array([1.0, -1.0]))
        if paired
        else np.array([leader * np.cos(angle)])
    )
    second = gap * leader
    others = np.linspace(rest * second, rest * second / dim, dim - first.size - 1)
    return np.concatenate([first, [second], others]) - 1


def with_spectrum(
    rng: np.random.Generator, eigenvalues: ArrayLike, *, condition: float = 1.0
) -> Float[np.ndarray, "d d"]:
    """A real F = V B V^{-1} with the given eigenvalues; B has a 2 x 2 block for each complex pair.

    Args:
        rng: source of V.
        eigenvalues: d numbers, complex ones in conjugate pairs.
        condition: of V = Q_1 D Q_2. At 1, V is orthogonal and F normal: symmetric for a real
            spectrum.

    Raises:
        InputError: a complex eigenvalue without its conjugate, or a condition below 1.

    Example:
        >>> f = with_spectrum(np.random.default_rng(0), [2.0, 1j, -1j], condition=10.0)
        >>> np.sort_complex(np.linalg.eigvals(f)).round(6)
        array([-0.-1.j, -0.+1.j,  2.+0.j])
    """
    values = np.asarray(eigenvalues, dtype=np.complex128)
    upper = values[values.imag > 0]
    lower = values[values.imag < 0]
    if upper.size != lower.size or not np.allclose(
        np.sort_complex(upper.conj()), np.sort_complex(lower)
    ):
        raise InputError(
            "complex eigenvalues of a real matrix come in conjugate pairs; one has no partner"
        )
    if not condition >= 1:
        raise InputError(f"condition is {condition:g}; it must be at least 1")
    dim = values.size
    blocks = np.zeros((dim, dim))
    for k, value in enumerate(upper):
        blocks[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [
            [value.real, -value.imag],
            [value.imag, value.real],
        ]
    real = np.arange(2 * upper.size, dim)
    blocks[real, real] = values[values.imag == 0].real
    scales = np.geomspace(1.0, condition, dim)
    basis = random_orthogonal(rng, dim) * scales @ random_orthogonal(rng, dim)
    return basis @ blocks @ np.linalg.inv(basis)


def split(
    rng: np.random.Generator, matrix: Float[np.ndarray, "d d"], *, heads: int
) -> Float[np.ndarray, "H d d"]:
    """Random F_h of F's size that sum to F.

    Example:
        >>> split(np.random.default_rng(0), np.eye(2), heads=3).sum(0).round(12)
        array([[1., 0.],
               [0., 1.]])
    """
    parts = rng.standard_normal((heads, *matrix.shape)) * np.linalg.norm(matrix) / matrix.shape[0]
    return parts - parts.mean(0) + matrix / heads
