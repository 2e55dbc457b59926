"""Is the scalar manifold A = aI, B = bI stable? The population Hessian there, exactly, in its three sectors.

The Hessian commutes with O(d) acting on (dA, dB) by conjugation, so it splits into the multiples of I, the
antisymmetric and the symmetric traceless matrices (dimensions 1, d(d-1)/2, d(d+1)/2 - 1), each with one symmetric 2 x 2
matrix for (dA, dB): nine numbers. To average over rotations of S is to average over E, uniform in its sector:

    E[E_ij E_kl] = alpha delta_ik delta_jl + beta delta_il delta_jk + kappa delta_ij delta_kl,    E||E||_F^2 = 1.

With A = aI + xi E, B = bI + eta E and S = diag(lambda), one loop is M = I + ASB = diag(mu) + M1 + M2 with
M1_ij = E_ij g_ij, g_ij = xi b lambda_j + eta a lambda_i, M2 = xi eta E S E. The second-order change of a loss is then
a sum of Gaussian moments in q over powers of quadratic forms: one-dimensional integrals, two-dimensional for the
layerwise loss with LN. Nothing of this is in arXiv 2606.00605.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import gamma as gamma_function

from eigenloop.theory.integrals import Estimate, Integrand, Nodes, expectation, log_norm_mean, log_sum, safe_log
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm, Rule, Setting, log_ratios, refined


class Sector(NamedTuple):
    """One irreducible part of the d x d matrices under conjugation by O(d)."""

    name: str
    dimension: int
    alpha: float
    beta: float
    kappa: float


class Mode(NamedTuple):
    """What the Hessian does in one sector, in the basis (dA, dB) of unit-Frobenius perturbations."""

    sector: Sector
    hessian: np.ndarray
    """(2, 2), symmetric: the mean over spectra."""
    standard_error: np.ndarray
    """(2, 2): of that mean; 0 for one spectrum."""

    @property
    def eigenvalues(self) -> np.ndarray:
        """Two, ascending; below 0 a perturbation grows by 1 - eta times it per step."""
        return np.linalg.eigvalsh(self.hessian)


def sectors(dim: int) -> tuple[Sector, Sector, Sector]:
    """Scalar, antisymmetric, symmetric traceless.

    Example:
        >>> [sector.dimension for sector in sectors(3)]
        [1, 3, 5]
    """
    anti, sym = dim * (dim - 1) // 2, dim * (dim + 1) // 2 - 1
    return (
        Sector("scalar", 1, 0.0, 0.0, 1 / dim),
        Sector("antisymmetric", anti, 1 / (2 * anti), -1 / (2 * anti), 0.0),
        Sector("symmetric traceless", sym, 1 / (2 * sym), 1 / (2 * sym), -1 / (dim * sym)),
    )


def hessian(setting: Setting, *, a: float, b: float) -> dict[str, Mode]:
    """The population Hessian of the loss at A = aI, B = bI, sector by sector.

    Args:
        setting: `EndToEnd`, `LayerwiseNorm` or `LayerwiseLinear`; with many spectra their mean is taken.
        a: of A = aI.
        b: of B = bI; a b >= 0.

    Returns:
        Sector name -> mode.

    Example:
        >>> modes = hessian(EndToEnd([2.0, 1.0], loops=1), a=1.0, b=0.0)
        >>> modes["scalar"].hessian.shape
        (2, 2)
    """
    second_order = {EndToEnd: _end_to_end, LayerwiseNorm: _layerwise_norm, LayerwiseLinear: _layerwise_linear}
    return _modes(setting, lambda row, sector: _polarised(second_order[type(setting)], setting, row, sector, a, b))


def limit_hessian(setting: EndToEnd) -> dict[str, Mode]:
    """lim gamma H at a = b = gamma^{1/2}, gamma -> infinity: its signs decide whether late training is stable.

    A perturbation then enters through E/a and F/b only: the loop is (I + E/a) S (I + F/b), the power method on it.
    """
    return _modes(
        setting, lambda row, sector: _polarised(_end_to_end, setting, row, sector, 1.0, 1.0, power_method=True)
    )


def sharpness(modes: Mapping[str, Mode]) -> float:
    """The largest eigenvalue of the whole Hessian; plain gradient descent is locally stable below 2 / learning rate."""
    return max(float(mode.eigenvalues[-1]) for mode in modes.values())


def _modes(setting: Setting, matrix) -> dict[str, Mode]:
    found = {}
    for sector in sectors(setting.dim):
        if sector.dimension == 0:
            continue
        each = np.stack([matrix(row, sector) for row in setting.rows])
        error = each.std(0, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.zeros((2, 2))
        found[sector.name] = Mode(sector, each.mean(0), error)
    return found


def _polarised(second_order, setting: Setting, row: np.ndarray, sector: Sector, a: float, b: float, **options):
    """H from the quadratic form at (xi, eta) = (1, 0), (0, 1), (1, 1): three values in one call."""
    first, second, both = 2 * second_order(setting, row, sector, a, b, **options)
    cross = (both - first - second) / 2
    return np.array([[first, cross], [cross, second]])


DIRECTIONS = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
"""(xi, eta) at which quadratic forms are evaluated: an axis of length 3, called k below."""


class _Quadratic(NamedTuple):
    """Second-order coefficients of sum_j w_j |y_j|^2 and its like; everything that is contracted with moments of q."""

    g: np.ndarray
    """g_ij, (3, d, d)."""
    exchange: np.ndarray
    """xi eta ((alpha + kappa) lambda_i + beta sum lambda), (3, d): what M2 leaves on the diagonal."""


def _coefficients(values: np.ndarray, sector: Sector, a: float, b: float) -> _Quadratic:
    xi, eta = DIRECTIONS[:, 0, None, None], DIRECTIONS[:, 1, None, None]
    g = xi * b * values[None, None, :] + eta * a * values[None, :, None]
    diagonal = (sector.alpha + sector.kappa) * values + sector.beta * values.sum()
    return _Quadratic(g, DIRECTIONS.prod(1)[:, None] * diagonal)


def _square_rows(g: np.ndarray, sector: Sector) -> np.ndarray:
    """phi_i[j]: E[(sum_j E_ij G_ij c_j)^2] = sum_j phi_i[j] c_j^2, (3, d, d)."""
    phi = sector.alpha * g**2
    index = np.arange(g.shape[-1])
    phi[:, index, index] += (sector.beta + sector.kappa) * g[:, index, index] ** 2
    return phi


def _pair(left: np.ndarray, right: np.ndarray, sector: Sector) -> np.ndarray:
    """Theta_ij: E[(sum E_ij L_ij c_i c_j)(sum E_kl R_kl c_k c_l)] = sum_ij Theta_ij c_i^2 c_j^2, (3, d, d)."""
    diagonals = np.diagonal(left, axis1=1, axis2=2)[:, :, None] * np.diagonal(right, axis1=1, axis2=2)[:, None, :]
    return sector.alpha * left * right + sector.beta * left * right.transpose(0, 2, 1) + sector.kappa * diagonals


def _fourth(theta: np.ndarray, nu: np.ndarray) -> np.ndarray:
    """E[sum Theta_ij c_i^2 c_j^2] for independent c_i ~ N(0, nu_i); nu (N, d) -> (N, 3)."""
    diagonal = np.diagonal(theta, axis1=1, axis2=2)
    return np.einsum("ni,kij,nj->nk", nu, theta, nu, optimize=True) + 2 * nu**2 @ diagonal.T


def _sixth(theta: np.ndarray, nu: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """E[(sum_k w_k c_k^2) sum Theta_ij c_i^2 c_j^2]; nu (N, d), w (d,) -> (N, 3)."""
    diagonal = np.diagonal(theta, axis1=1, axis2=2)
    part = weight * nu**2
    both = theta + theta.transpose(0, 2, 1)
    crossed = 2 * np.einsum("ni,kij,nj->nk", part, both, nu, optimize=True)
    return (nu @ weight)[:, None] * _fourth(theta, nu) + crossed + 8 * (part * nu) @ diagonal.T


def _second(vector: np.ndarray, nu: np.ndarray) -> np.ndarray:
    """E[sum_j n_j c_j^2]; (3, d), (N, d) -> (N, 3)."""
    return nu @ vector.T


def _second_times(vector: np.ndarray, nu: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """E[(sum_k w_k c_k^2) sum_j n_j c_j^2]; -> (N, 3)."""
    return (nu @ weight)[:, None] * (nu @ vector.T) + 2 * (weight * nu**2) @ vector.T


def _divided(ratios: np.ndarray, loops: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the places where a perturbation enters M^L, once and (back at i) twice.

    h_ij = sum_k r_i^k r_j^{L-1-k},    h_iki = sum_q (L - 1 - q) r_i^{L-2-q} r_k^q.
    """
    once = np.zeros((ratios.size, ratios.size))
    twice = np.zeros_like(once)
    for k in range(loops):
        once += np.outer(ratios**k, ratios ** (loops - 1 - k))
    for q in range(loops - 1):
        twice += (loops - 1 - q) * np.outer(ratios ** (loops - 2 - q), ratios**q)
    return once, twice


def _end_to_end(
    setting: EndToEnd, row: np.ndarray, sector: Sector, a: float, b: float, *, power_method: bool = False
) -> np.ndarray:
    """Second-order change of E[N/D], N = ||P_perp y||^2, D = ||y||^2, y = M^L q, at the three directions.

    N2/D - N1 D1/D^2 - N0 D2/D^2 + N0 D1^2/D^3, everything divided by the L-th power of the largest mu.
    """
    m, loops = setting.multiplicity, setting.loops
    if power_method:
        largest, log_r = row[0], safe_log(row / row[0])
    else:
        largest, log_r = 1 + a * b * row[0], log_ratios(row[None], a * b)[0]
    ratios, x_scale = np.exp(log_r), np.exp(loops * log_r)
    once, twice = _divided(ratios, loops)
    found = _coefficients(row, sector, a, b)
    g = found.g / largest
    rows = _square_rows(g * once, sector)
    back = sector.beta * np.einsum("kij,kji,ij->ki", g, g, twice)
    back += (sector.alpha + sector.kappa) * np.einsum("kii,ii->ki", g**2, twice)
    turned = 2 * x_scale * (found.exchange / largest * np.diagonal(once) + back)
    outside = np.arange(row.size) >= m
    first_d = 2 * x_scale[:, None] * g * once
    first_n = np.where(outside[:, None], first_d, 0.0)
    second_d = rows.sum(1) + turned
    second_n = rows[:, outside].sum(1) + np.where(outside, turned, 0.0)
    cross, square = _pair(first_n, first_d, sector), _pair(first_d, first_d, sector)
    weight = np.where(outside, x_scale**2, 0.0)

    def moment(nodes: Nodes) -> np.ndarray:
        nu = np.exp(_log_nu(nodes, 2 * loops * log_r))[0]
        value = _second(second_n, nu) - _fourth(cross, nu) - _second_times(second_d, nu, weight)
        return (value + _sixth(square, nu, weight) / 2)[None]

    log_weights = 2 * loops * log_r[None]
    return expectation(moment, log_weights, bound=lambda nodes: log_sum(_log_nu(nodes, log_weights[0]))).value[0]


def _layerwise_norm(setting: LayerwiseNorm, row: np.ndarray, sector: Sector, a: float, b: float) -> np.ndarray:
    """Second-order change of 2 - 2 E[W / (D1 D2)^{1/2}], W = v.p, D1 = ||v||^2, D2 = ||p||^2, v = Sq, p = q + ASBq.

    -2 E[D1^{-1/2} (W2 D2^{-1/2} - W1 B1 D2^{-3/2}/2 - W0 B2 D2^{-3/2}/2 + 3 W0 B1^2 D2^{-5/2}/8)], B the change of D2.
    """
    del setting
    largest = 1 + a * b * row[0]
    rho, r = row / row[0], (1 + a * b * row) / largest
    found = _coefficients(row, sector, a, b)
    g, turned = found.g / largest, found.exchange / largest
    first_b = 2 * r[:, None] * g
    second_b = _square_rows(g, sector).sum(1) + 2 * r * turned
    cross, square = _pair(rho[:, None] * g, first_b, sector), _pair(first_b, first_b, sector)
    straight, weight = rho * turned, rho * r

    def value(rule: Rule) -> Estimate:
        total, error = np.zeros(3), 0.0
        for beta, kind in ((0.5, "second"), (1.5, "fourth"), (2.5, "sixth")):
            x, x_weights = rule(-0.5, beta - 1)
            log_weights = safe_log(x[:, None] * rho**2 + (1 - x)[:, None] * r**2)

            def log_nu(nodes: Nodes, log_weights: np.ndarray = log_weights) -> np.ndarray:
                return _log_nu(nodes, log_weights[:, None, :])

            def moment(nodes: Nodes, kind: str = kind, log_nu: Integrand = log_nu) -> np.ndarray:
                nu = np.exp(log_nu(nodes))
                flat = nu.reshape(-1, row.size)
                if kind == "second":
                    result = _second(straight, flat)
                elif kind == "fourth":
                    result = -(_fourth(cross, flat) + _second_times(second_b, flat, weight)) / 2
                else:
                    result = 3 / 8 * _sixth(square, flat, weight)
                return result.reshape(*nu.shape[:2], 3)

            inner = expectation(moment, log_weights, bound=lambda nodes, log_nu=log_nu: log_sum(log_nu(nodes)))
            total -= 2 * x_weights @ inner.value / (np.sqrt(np.pi) * gamma_function(beta))
            error = max(error, float(inner.error.max()))
        return Estimate(total, np.array(error))

    return refined(value, together=True).value


def _layerwise_linear(setting: LayerwiseLinear, row: np.ndarray, sector: Sector, a: float, b: float) -> np.ndarray:
    """E[||M1 q||^2 + 2 r.M2 q], r = q + gamma Sq - v: moments of order two, closed but for E[c_i^2 / ||Sq||]."""
    found = _coefficients(row, sector, a, b)
    pull = row / row.size if setting.target == "unnormalized" else image_shares(row)
    residual = (1 + a * b * row) / row.size - pull
    return _square_rows(found.g, sector).sum((1, 2)) / row.size + 2 * found.exchange @ residual


def image_shares(row: np.ndarray) -> np.ndarray:
    """E[lambda_i c_i^2 / ||Sq||], (d,)."""
    rho = row / row[0]
    log_weights = 2 * safe_log(rho)[None]

    def moment(nodes: Nodes) -> np.ndarray:
        nu = np.exp(_log_nu(nodes, log_weights[0]))
        return rho * nu * np.exp(-nodes.s / 2)[..., None]

    def bound(nodes: Nodes) -> np.ndarray:
        return log_sum(_log_nu(nodes, log_weights[0]) + safe_log(rho)) - nodes.s / 2

    found = expectation(moment, log_weights, bound=bound, rise=0.5)
    return found.value[0] / np.sqrt(np.pi) / np.exp(log_norm_mean(row.size))


def _log_nu(nodes: Nodes, log_weights: np.ndarray) -> np.ndarray:
    """log of t / (1 + 2 t w_i), the variance of c_i = x_i / w_i^{1/2} under the tilt, in units of 1/t."""
    return nodes.s[..., None] - np.logaddexp(0.0, nodes.s[..., None] + np.log(2) + log_weights)
