"""Is the scalar manifold A = aI, B = bI stable? The population Hessian there, exactly, in its three
sectors.

The Hessian commutes with O(d) acting on (dA, dB) by conjugation, so it splits into the multiples of
I, the antisymmetric and the symmetric traceless matrices (dimensions 1, d(d-1)/2, d(d+1)/2 - 1),
each with one symmetric 2 x 2 matrix for (dA, dB): nine numbers. To average over rotations of S is
to average over E, uniform in its sector:

    E[E_ij E_kl] = alpha delta_ik delta_jl + beta delta_il delta_jk + kappa delta_ij delta_kl,
        E||E||_F^2 = 1.

With A = aI + xi E, B = bI + eta E and S = diag(lambda), one loop is M = I + ASB = diag(mu) + M1 +
M2 with M1_ij = E_ij g_ij, g_ij = xi b lambda_j + eta a lambda_i, M2 = xi eta E S E. The
second-order change of a loss is then a one-dimensional integral (`end_to_end`; `layerwise` without
LN), or a two-dimensional one (layerwise with LN). Nothing of this is in arXiv 2606.00605.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from eigenloop.system.errors import InputError
from eigenloop.theory.integrals import Estimate, safe_log
from eigenloop.theory.population import (
    EPSILON,
    EndToEnd,
    LayerwiseLinear,
    LayerwiseNorm,
    Setting,
    check_gamma,
    log_ratios,
)
from eigenloop.theory.stability.end_to_end import (
    Chain,
    Moments,
    frame,
    scalar_second_order,
    second_order,
)
from eigenloop.theory.stability.layerwise import linear_second_order, norm_second_order


class Sector(NamedTuple):
    """One irreducible part of the d x d matrices under conjugation by O(d)."""

    name: str
    dimension: int
    moments: Moments


class Mode(NamedTuple):
    """What the Hessian does in one sector, in the basis (dA, dB) of unit-Frobenius
    perturbations.
    """

    sector: Sector
    hessian: np.ndarray
    """(2, 2), symmetric, float64, always finite: the mean over spectra."""
    standard_error: np.ndarray
    """(2, 2): the sampling error of that mean; 0 for one spectrum."""
    error: np.ndarray
    """(2, 2): an estimate of what quadrature and rounding leave in `hessian`."""
    eigenvalues: np.ndarray
    """(2,), ascending; below 0 a perturbation grows by 1 - eta times it per step. They may have
    digits that `hessian` has not: a small one under a large one is computed in a frame of its
    own."""
    eigenvalue_errors: np.ndarray
    """(2,): what quadrature and rounding leave in each."""

    @property
    def signs(self) -> tuple[int | None, int | None]:
        """1 or -1 for each eigenvalue; None where its modulus is not above its error."""
        low, high = (
            None if abs(value) <= error else 1 if value > 0 else -1
            for value, error in zip(self.eigenvalues, self.eigenvalue_errors, strict=True)
        )
        return low, high


class Lowest(NamedTuple):
    """The lowest eigenvalue off the scalar manifold, of two sectors."""

    value: float
    error: float
    sector: str

    @property
    def sign(self) -> int | None:
        """1: no direction off the manifold falls. -1: one does.

        None: not decided, the modulus is within the error.
        """
        return None if abs(self.value) <= self.error else 1 if self.value > 0 else -1


def sectors(dim: int) -> tuple[Sector, Sector, Sector]:
    """Scalar, antisymmetric, symmetric traceless.

    Example:
        >>> [sector.dimension for sector in sectors(3)]
        [1, 3, 5]
    """
    anti, sym = dim * (dim - 1) // 2, dim * (dim + 1) // 2 - 1
    return (
        Sector("scalar", 1, Moments(0.0, 0.0, 1 / dim)),
        Sector("antisymmetric", anti, Moments(1 / (2 * anti), -1 / (2 * anti), 0.0)),
        Sector("symmetric traceless", sym, Moments(1 / (2 * sym), 1 / (2 * sym), -1 / (dim * sym))),
    )


def hessian(setting: Setting, *, a: float, b: float) -> dict[str, Mode]:
    """The population Hessian of the loss at A = aI, B = bI, sector by sector: nine numbers.

    Args:
        setting: `EndToEnd`, `LayerwiseNorm` or `LayerwiseLinear`; with many spectra their mean is
            taken.
        a: of A = aI.
        b: of B = bI.

    Returns:
        Sector name -> mode. Derived here; arXiv 2606.00605 has its entries in the scalar sector
        only (Lemma A.3).

    Raises:
        InputError: a b is not finite, or end to end -1/lambda_1.

    Example:
        >>> modes = hessian(EndToEnd([2.0, 1.0], loops=1), a=1.0, b=0.0)
        >>> modes["scalar"].hessian.shape
        (2, 2)
    """
    check_gamma(a * b)
    if isinstance(setting, EndToEnd):
        if np.any(1 + a * b * setting.rows[:, 0] == 0):
            raise InputError(
                f"gamma = a b is {a * b:g}, which is -1/lambda_1: a loop maps the principal "
                "subspace to 0, and the loss is 1 for every query; move a or b"
            )
        return _end_to_end(setting, a, b, power_method=False)
    if isinstance(setting, LayerwiseNorm):
        return _modes(
            setting, lambda row, sector: norm_second_order(row, sector.moments, a, b), np.eye(2)
        )
    assert isinstance(setting, LayerwiseLinear)
    target = setting.target
    return _modes(
        setting,
        lambda row, sector: linear_second_order(row, sector.moments, a, b, target),
        np.eye(2),
    )


def limit_hessian(setting: EndToEnd) -> dict[str, Mode]:
    """lim gamma H at a = b = gamma^{1/2}, gamma -> infinity: its signs decide whether late training
    is stable.

    A perturbation then enters through E/a and F/b only: the loop is (I + E/a) S (I + F/b), the
    power method on it. In the scalar sector the limit is exactly 0.

    Example:
        >>> lowest_eigenvalue(limit_hessian(EndToEnd([2.0, 1.0], loops=3))).sign
        -1
    """
    return _end_to_end(setting, 1.0, 1.0, power_method=True)


def lowest_eigenvalue(modes: Mapping[str, Mode]) -> Lowest:
    """The lowest eigenvalue off the scalar manifold, in the antisymmetric and the symmetric
    traceless sector.

    The error is the larger of the two sectors' where they cannot be told apart.
    """
    found = [
        Lowest(float(mode.eigenvalues[0]), float(mode.eigenvalue_errors[0]), name)
        for name, mode in modes.items()
        if name != "scalar"
    ]
    best = min(found, key=lambda one: one.value)
    close = [one.error for one in found if one.value - one.error <= best.value + best.error]
    return best._replace(error=max(close))


def sharpness(modes: Mapping[str, Mode]) -> float:
    """The largest eigenvalue of the whole Hessian; plain gradient descent is locally stable
    below 2 / learning rate.
    """
    return max(float(mode.eigenvalues[-1]) for mode in modes.values())


def _end_to_end(setting: EndToEnd, a: float, b: float, *, power_method: bool) -> dict[str, Mode]:
    m, rows = setting.multiplicity, setting.rows
    gamma, one = (1.0, 0.0) if power_method else (a * b, 1.0)

    def chain_of(row: np.ndarray) -> Chain:
        logs = log_ratios_of_power_method(row) if power_method else log_ratios(row[None], gamma)[0]
        return Chain.of(row, logs, gamma=gamma, one=one, loops=setting.loops, multiplicity=m)

    first = chain_of(rows[0])
    axes = frame(a, b, first=first.first, second=first.second)

    def entries(row: np.ndarray, sector: Sector) -> Estimate:
        if sector.name == "scalar":
            return scalar_second_order(chain_of(row), axes)
        return second_order(chain_of(row), sector.moments, axes)

    return _modes(setting, entries, axes.matrix)


def _modes(
    setting: Setting, entries: Callable[[np.ndarray, Sector], Estimate], axes: np.ndarray
) -> dict[str, Mode]:
    """H in every sector from `entries`: (row, sector) -> (H_11, H_12, H_22) along the rows of
    `axes`.
    """
    found = {}
    for sector in sectors(setting.dim):
        if sector.dimension == 0:
            continue
        each = [entries(row, sector) for row in setting.rows]
        values, errors = (np.mean([one[part] for one in each], axis=0) for part in (0, 1))
        turned = np.stack([_turned(one.value, axes) for one in each])
        standard_error = (
            turned.std(0, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.zeros((2, 2))
        )
        matrix = turned.mean(0)
        error = _turned(errors, abs(axes)) + 4 * EPSILON * _turned(abs(values), abs(axes))
        found[sector.name] = Mode(
            sector, matrix, standard_error, error, *symmetric_eigenvalues(values, errors)
        )
    return found


def _turned(entries: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The matrix with these entries along `axes`, in the basis (dA, dB); (2, 2), symmetric to
    the bit.
    """
    ((c, s), (p, q)), (first, cross, second) = axes, entries
    mixed = c * s * first + (c * q + s * p) * cross + p * q * second
    return np.array(
        [
            [c * c * first + 2 * c * p * cross + p * p * second, mixed],
            [mixed, s * s * first + 2 * s * q * cross + q * q * second],
        ]
    )


def symmetric_eigenvalues(entries: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of [[x, z], [z, y]], entries x, z, y, and how far the errors of the entries can
    move them.

    Both rise with x and y; |z| pushes them apart. So their extremes over the box of errors lie at
    its corners.

    Returns:
        Two eigenvalues, ascending, and their errors; (2,) both.

    Example:
        >>> symmetric_eigenvalues(np.array([1e-30, 0.0, 1.0]), np.zeros(3))[0]
        array([1.e-30, 1.e+00])
    """

    def pair(x: float, z: float, y: float) -> tuple[float, float]:
        # the smaller diagonal entry keeps its digits: the push is z^2 over a sum of positive
        # numbers
        half = abs(y - x) / 2
        push = 0.0 if z == 0 else z * (z / (half + np.hypot(half, z)))
        return min(x, y) - push, max(x, y) + push

    (x, z, y), (dx, dz, dy) = entries, errors
    near, far = max(abs(z) - dz, 0.0), abs(z) + dz
    value = pair(x, z, y)
    low = pair(x - dx, far, y - dy)[0], pair(x - dx, near, y - dy)[1]
    high = pair(x + dx, near, y + dy)[0], pair(x + dx, far, y + dy)[1]
    found = np.array(value)
    spread = np.maximum(np.array(high) - found, found - np.array(low))
    return found, spread + 8 * EPSILON * abs(found)


def log_ratios_of_power_method(row: np.ndarray) -> np.ndarray:
    """log(lambda_i / lambda_1), (d,), without cancellation near 0; -inf for an eigenvalue of 0."""
    fall = (row[0] - row) / row[0]
    return np.where(fall < 0.5, np.log1p(-np.minimum(fall, 0.5)), safe_log(row / row[0]))
