"""Spectral gain: how much each left coordinate of the mean token grows across a sublayer (NumPy).

    gain_i = 1/2 log( mean_s |w_i^H xbar'_s|^2 / mean_s |w_i^H xbar_s|^2 )

with xbar_s the mean token of passage s before the attention sublayer, xbar'_s the same after x + o,
and w_i the left eigenvectors. A step of the power method with I + F gives gain_i = log|1 +
lambda_i| for every i, because coordinates on LEFT eigenvectors grow independently although F is not
normal; so the gains against log|1 + lambda_i| have slope 1 and rank correlation 1. Biases, other
than uniform attention, and what couples tokens take them away from it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Inexact

from eigenloop.lens.weights.modes import eigenbasis
from eigenloop.lens.weights.operators import Growth, Operator

MIN_MODES = 4
"""Fewest modes that a correlation is computed from."""


@dataclass(frozen=True, eq=False)
class Modes:
    """The eigenvalues of an operator with their vectors, one of each complex pair.

    Args:
        values: lambda_i with Im >= 0.
        right: v_i, unit.
        left: w_i with w_i^H v_i = 1.
    """

    values: Inexact[np.ndarray, " m"]
    right: Inexact[np.ndarray, "d m"]
    left: Inexact[np.ndarray, "d m"]


def modes_of(operator: Operator) -> Modes:
    """All modes of an operator: of one of low rank, those of its r x r product, without zeros.

    Example:
        >>> modes_of(Operator(left=np.array([[0.0, -1.0], [1.0, 0.0]]), right=np.eye(2))).values
        array([0.+1.j])
    """
    values, right, left = eigenbasis(operator)
    kept = (np.imag(values) >= 0) & np.isfinite(left).all(0)
    return Modes(values[kept], right[:, kept], left[:, kept])


def log_growth(values: Inexact[np.ndarray, " m"], growth: Growth) -> Float[np.ndarray, " m"]:
    """log|mu(lambda_i)|; -inf where a mode is extinguished."""
    with np.errstate(divide="ignore"):
        return np.log(np.abs(growth(values)))


def energies(
    vectors: Inexact[np.ndarray, "d m"], means: Float[np.ndarray, "2 S d"]
) -> Float[np.ndarray, "2 S m"]:
    """|w_i^H xbar_s|^2 of every passage, before and after."""
    real, imaginary = means @ np.real(vectors), means @ np.imag(vectors)
    return real**2 + imaginary**2


def rotated_gains(
    vectors: Inexact[np.ndarray, "d m"],
    means: Float[np.ndarray, "2 S d"],
    rng: np.random.Generator,
    draws: int,
) -> Float[np.ndarray, "draws m"]:
    """gain_i along R w_i for random rotations R: the vectors keep their angles with each other, and
    lose the tokens.

    Vectors drawn one by one would be independent where the left vectors of one F are not, and the
    null of a rank correlation over them too narrow by half. R = H_1 P H_2 with two rotations H of
    Haar measure, drawn once, and signed permutations P of the coordinates, drawn each time: R costs
    no decomposition.

    Args:
        vectors: w_i; a conjugate pair may stand in two columns.
        means: mean tokens of the passages, before and after.
        rng: random numbers.
        draws: how many rotations.
    """
    from scipy.stats import ortho_group

    dim, weights = len(vectors), np.ones((1, means.shape[1]))
    imaginary = np.flatnonzero(np.imag(vectors).any(0))
    parts = np.concatenate([np.real(vectors), np.imag(vectors)[:, imaginary]], axis=1)
    if dim > 1:
        turned, parts = (
            means @ ortho_group.rvs(dim, random_state=rng),
            ortho_group.rvs(dim, random_state=rng) @ parts,
        )
    else:
        turned = means
    turned, parts = turned.astype(np.float32), parts.astype(np.float32)
    found = np.empty((draws, vectors.shape[1]))
    for row in found:
        signs = rng.choice(np.array([-1, 1], np.float32), dim)
        squares = ((turned[..., rng.permutation(dim)] * signs) @ parts) ** 2
        energy = squares[..., : len(row)].astype(np.float64)
        energy[..., imaginary] += squares[..., len(row) :]
        row[:] = gains(energy, weights)[0]
    return found


def gains(
    energy: Float[np.ndarray, "2 S m"], weights: Float[np.ndarray, "b S"]
) -> Float[np.ndarray, "b m"]:
    """gain_i, for each row of passage weights; NaN where a coordinate is zero.

    Example:
        >>> gains(np.array([[[1.0]], [[4.0]]]), np.ones((1, 1))).round(4)
        array([[0.6931]])
    """
    before, after = weights @ energy[0], weights @ energy[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        result = 0.5 * np.log(after / before)
    return np.where(np.isfinite(result), result, np.nan)


def relation(
    gain: Float[np.ndarray, "b m"], expected: Float[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Spearman's rho and the least-squares slope of gains against log growth, for each row.

    Args:
        gain: gain_i.
        expected: log|mu_i|.

    Returns:
        (rho, slope), NaN where fewer than `MIN_MODES` modes have both, or all of them one growth.

    Example:
        >>> x = np.array([0.0, 1.0, 2.0, 3.0])
        >>> relation(0.5 * x[None], x)
        (array([1.]), array([0.5]))
    """
    from scipy.stats import rankdata

    usable = np.isfinite(expected) & np.isfinite(gain).all(0)
    x, y = expected[usable], gain[:, usable]
    if usable.sum() < MIN_MODES or np.ptp(x) <= 1e-12:
        return np.full(len(gain), np.nan), np.full(len(gain), np.nan)
    ranks = rankdata(x)
    return _correlation(rankdata(y, axis=1), ranks), _slope(y, x)


def _slope(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean()
    return y @ centred / (centred @ centred)


def _correlation(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    spread = y - y.mean(1, keepdims=True)
    norms = np.linalg.norm(spread, axis=1) * np.linalg.norm(x - x.mean())
    with np.errstate(invalid="ignore"):
        return spread @ (x - x.mean()) / norms
