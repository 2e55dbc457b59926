"""Spectra of S = X X^T: eigenvalues with multiplicity, and matrices with a prescribed spectrum
(NumPy, float64).
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eigenloop.system.errors import InputError

Numbers: TypeAlias = ArrayLike | Sequence[float] | Sequence[int]
"""What `numpy.asarray` reads as real numbers; NumPy's `ArrayLike` alone leaves out tuples when
checked at run time.
"""

TIE_TOLERANCE = 1e-9
"""Two eigenvalues are equal when they differ by less than this fraction of the largest one."""

DEFAULT_MULTIPLICITIES = (5, 4, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1)
"""Task 2 at d = 16, n = 32: the only partition that gives both no-LN plateaus read off Fig.

2 of arXiv 2606.00605.
"""


def sorted_eigenvalues(eigenvalues: Numbers) -> Float[np.ndarray, " d"]:
    """Eigenvalues of a positive semidefinite S, checked and in descending order.

    Args:
        eigenvalues: at least two numbers, finite and non-negative, any order.

    Returns:
        float64 array lambda_1 >= ... >= lambda_d >= 0.

    Raises:
        InputError: fewer than two values, a value that is negative or not finite, or all of them
            zero.

    Example:
        >>> sorted_eigenvalues([1, 3, 2])
        array([3., 2., 1.])
    """
    values = np.asarray(eigenvalues, dtype=np.float64).ravel()
    if values.size < 2:
        raise InputError(f"{values.size} eigenvalue(s) given; at least 2 are needed")
    if not np.all(np.isfinite(values)):
        raise InputError(
            f"eigenvalue {values[~np.isfinite(values)][0]} is not a finite number; remove or"
            " replace it"
        )
    if values.min() < 0:
        raise InputError(f"eigenvalue {values.min():g} is negative; S = X X^T has none below 0")
    if values.max() == 0:
        raise InputError("all eigenvalues are 0; at least one must be positive")
    return np.sort(values)[::-1]


def top_multiplicity(eigenvalues: Numbers) -> int:
    """Multiplicity m of the largest eigenvalue, ties within `TIE_TOLERANCE`.

    Args:
        eigenvalues: as for `sorted_eigenvalues`.

    Example:
        >>> top_multiplicity([4, 4, 1])
        2
    """
    values = sorted_eigenvalues(eigenvalues)
    return int(np.sum(values[0] - values < TIE_TOLERANCE * values[0]))


def require_gap(eigenvalues: Numbers) -> int:
    """`top_multiplicity`, refusing a tight frame (all eigenvalues equal), in which no direction is
    principal.

    Raises:
        InputError: m = d.

    Example:
        >>> require_gap([2.0, 2.0])
        Traceback (most recent call last):
            ...
        eigenloop.system.errors.InputError: all 2 eigenvalues equal 2: a tight frame has no
        principal direction to \
find; at least one eigenvalue must be smaller than the largest
    """
    values = sorted_eigenvalues(eigenvalues)
    multiplicity = top_multiplicity(values)
    if multiplicity == values.size:
        raise InputError(
            f"all {values.size} eigenvalues equal {values[0]:g}: a tight frame has no principal"
            " direction to find; at least one eigenvalue must be smaller than the largest"
        )
    return multiplicity


def check_multiplicities(
    multiplicities: Sequence[float] | Sequence[int], *, dim: int, samples: int
) -> tuple[int, ...]:
    """The multiplicities m_1..m_d of Task 2, checked: d positive integers whose sum is n and that
    are not all equal.

    Raises:
        InputError: names the count or the sum that does not fit, and what to change.

    Example:
        >>> check_multiplicities([2, 1], dim=2, samples=3)
        (2, 1)
    """
    fraction = next((m for m in multiplicities if m != int(m)), None)
    if fraction is not None:
        raise InputError(
            f"multiplicity {fraction:g} is not an integer; it counts equal columns, so give a whole"
            " number"
        )
    values = tuple(int(m) for m in multiplicities)
    if samples < dim:
        raise InputError(
            f"--samples is {samples}, but a planted full-rank spectrum needs at least --dim = {dim}"
            " columns; raise --samples or lower --dim"
        )
    if len(values) != dim:
        raise InputError(
            f"{len(values)} multiplicities given, but --dim is {dim}; give one for each dimension"
        )
    if min(values) < 1:
        raise InputError(
            f"multiplicity {min(values)} is below 1; X0 must have full rank, so each is at least 1"
        )
    if sum(values) != samples:
        raise InputError(
            f"multiplicities sum to {sum(values)}, but --samples is {samples}; change one of them"
        )
    require_gap(values)
    return values


def random_orthogonal(rng: np.random.Generator, dim: int) -> Float[np.ndarray, "d d"]:
    """An orthogonal matrix from the Haar measure on O(d): QR of a Gaussian matrix with the signs of
    R's diagonal.

    Example:
        >>> q = random_orthogonal(np.random.default_rng(0), 3)
        >>> bool(np.allclose(q @ q.T, np.eye(3)))
        True
    """
    q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
    return q * np.sign(np.diagonal(r))


def symmetric_with_spectrum(
    rng: np.random.Generator, eigenvalues: Numbers
) -> Float[np.ndarray, "d d"]:
    """S = Q diag(eigenvalues) Q^T with Q Haar-distributed.

    Example:
        >>> s = symmetric_with_spectrum(np.random.default_rng(0), [3, 1])
        >>> np.linalg.eigvalsh(s).round(12)
        array([1., 3.])
    """
    values = sorted_eigenvalues(eigenvalues)
    q = random_orthogonal(rng, values.size)
    return (q * values) @ q.T


def unit_columns_with_spectrum(
    rng: np.random.Generator, eigenvalues: Numbers, *, samples: int
) -> np.ndarray:
    """X in R^{d x n} with unit columns and X X^T of the given eigenvalues (Example 3.3 with any
    spectrum).

    Starts from Q diag(sqrt(lambda)) R^T, whose squared column norms sum to n, and repairs one
    column norm per step by a rotation in the plane of a column that is too long and one that is too
    short (Bendel and Mickey 1978), which leaves X X^T as it is.

    Args:
        rng: source of the two random rotations.
        eigenvalues: d non-negative numbers that sum to n.
        samples: n >= the number of positive eigenvalues.

    Returns:
        float64 (d, n).

    Raises:
        InputError: the eigenvalues do not sum to n, or n is below their rank.

    Example:
        >>> x = unit_columns_with_spectrum(np.random.default_rng(0), [2.5, 1.0, 0.5], samples=4)
        >>> (
        ...     bool(np.allclose(np.linalg.norm(x, axis=0), 1)),
        ...     np.linalg.eigvalsh(x @ x.T).round(12).tolist(),
        ... )
        (True, [0.5, 1.0, 2.5])
    """
    values = sorted_eigenvalues(eigenvalues)
    if abs(values.sum() - samples) > 1e-9 * samples:
        raise InputError(
            f"eigenvalues sum to {values.sum():g}, but n unit columns need a sum of n = {samples}"
        )
    rank = int(np.sum(values > 0))
    if samples < rank:
        raise InputError(
            f"{rank} positive eigenvalues need at least {rank} columns, but n is {samples}"
        )
    dim = values.size
    rotation = random_orthogonal(rng, samples)[:, :rank]
    x = random_orthogonal(rng, dim)[:, :rank] * np.sqrt(values[:rank]) @ rotation.T
    for _ in range(samples):
        norms = np.sum(x * x, axis=0)
        low, high = int(np.argmin(norms)), int(np.argmax(norms))
        if norms[high] - norms[low] < 1e-14:
            break
        inner = x[:, low] @ x[:, high]
        # t = tan(angle) solves ||x_low + t x_high||^2 = 1 + t^2; the two roots have opposite signs.
        a, c = norms[high] - 1, norms[low] - 1
        t = (-inner + np.copysign(np.sqrt(inner * inner - a * c), -inner)) / a if a > 0 else 0.0
        cos, sin = 1 / np.hypot(1, t), t / np.hypot(1, t)
        x[:, low], x[:, high] = (
            cos * x[:, low] + sin * x[:, high],
            cos * x[:, high] - sin * x[:, low],
        )
    return x / np.linalg.norm(x, axis=0)
