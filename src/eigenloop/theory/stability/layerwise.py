"""The second-order change of the two layerwise losses off A = aI, B = bI (NumPy, float64).

p = q + ASBq with A = aI + xi E, B = bI + eta E is p0 + M1 q + M2 q, M1_ij = E_ij g_ij, g_ij = xi b
lambda_j + eta a lambda_i, M2 = xi eta E S E. What is averaged over E (`eigenloop.theory.stability`)
and q is a polynomial in q: moments of a Gaussian of order two, four and six, over powers of two
norms with LN, closed but for one integral without. Every sum is taken twice, of the terms and of
their moduli: the second is the measure of what rounding leaves. Derived here; nothing of it is in
arXiv 2606.00605.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gamma as gamma_function

from eigenloop.theory.integrals import (
    CUT,
    Estimate,
    Nodes,
    expectation,
    log_norm_mean,
    log_sum,
    safe_log,
)
from eigenloop.theory.population import EPSILON, Rule, Target, refined
from eigenloop.theory.stability.end_to_end import Moments

TINY = float(np.finfo(float).tiny)
DIRECTIONS = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
"""(xi, eta) at which quadratic forms are evaluated: an axis of length 3, called k below."""


class _Quadratic(NamedTuple):
    """Second-order coefficients of sum_j w_j |y_j|^2 and its like; everything that is contracted
    with moments of q.
    """

    g: np.ndarray
    """g_ij, (3, d, d)."""
    exchange: np.ndarray
    """xi eta ((alpha + kappa) lambda_i + beta sum lambda), (3, d): what M2 leaves on the
    diagonal.
    """


def _sized(moments: Moments, *, size: bool) -> Moments:
    return Moments(*map(abs, moments)) if size else moments


def _coefficients(
    values: np.ndarray, moments: Moments, a: float, b: float, *, size: bool
) -> _Quadratic:
    """Of M1 and M2, or (`size`) of the moduli of their terms."""
    moments = _sized(moments, size=size)
    if size:
        a, b = abs(a), abs(b)
    xi, eta = DIRECTIONS[:, 0, None, None], DIRECTIONS[:, 1, None, None]
    g = xi * b * values[None, None, :] + eta * a * values[None, :, None]
    diagonal = (moments.alpha + moments.kappa) * values + moments.beta * values.sum()
    return _Quadratic(g, DIRECTIONS.prod(1)[:, None] * diagonal)


def _square_rows(g: np.ndarray, moments: Moments) -> np.ndarray:
    """phi_i[j]: E[(sum_j E_ij G_ij c_j)^2] = sum_j phi_i[j] c_j^2, (3, d, d)."""
    phi = moments.alpha * g**2
    index = np.arange(g.shape[-1])
    phi[:, index, index] += (moments.beta + moments.kappa) * g[:, index, index] ** 2
    return phi


def _pair(left: np.ndarray, right: np.ndarray, moments: Moments) -> np.ndarray:
    """Theta_ij: E[(sum E_ij L_ij c_i c_j)(sum E_kl R_kl c_k c_l)] = sum_ij Theta_ij c_i^2 c_j^2,
    (3, d, d).
    """
    diagonals = (
        np.diagonal(left, axis1=1, axis2=2)[:, :, None]
        * np.diagonal(right, axis1=1, axis2=2)[:, None, :]
    )
    return (
        moments.alpha * left * right
        + moments.beta * left * right.transpose(0, 2, 1)
        + moments.kappa * diagonals
    )


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


class _Terms(NamedTuple):
    """Coefficients of the moments of the layerwise loss with LN; the norms in units of their
    largest factor.
    """

    straight: np.ndarray
    cross: np.ndarray
    second_b: np.ndarray
    square: np.ndarray
    weight: np.ndarray
    sign: float

    @classmethod
    def of(cls, row: np.ndarray, moments: Moments, a: float, b: float, *, size: bool) -> "_Terms":
        """The terms, or (`size`) bounds of their moduli."""
        mu = 1 + a * b * row
        largest = abs(mu).max()
        rho, r = row / row[0], (abs(mu) if size else mu) / largest
        found, moments = _coefficients(row, moments, a, b, size=size), _sized(moments, size=size)
        g, turned = found.g / largest, found.exchange / largest
        first_b = 2 * r[:, None] * g
        second_b = _square_rows(g, moments).sum(1) + 2 * r * turned
        cross, square = _pair(rho[:, None] * g, first_b, moments), _pair(first_b, first_b, moments)
        return cls(rho * turned, cross, second_b, square, rho * r, 1.0 if size else -1.0)

    def at(self, kind: str, nu: np.ndarray) -> np.ndarray:
        """Of one power of ||p||, (N, 3)."""
        if kind == "second":
            return _second(self.straight, nu)
        if kind == "fourth":
            return (
                self.sign
                * (_fourth(self.cross, nu) + _second_times(self.second_b, nu, self.weight))
                / 2
            )
        return 3 / 8 * _sixth(self.square, nu, self.weight)


def norm_second_order(row: np.ndarray, moments: Moments, a: float, b: float) -> Estimate:
    """The Hessian of the layerwise loss with LN, 2 - 2 E[W / (D1 D2)^{1/2}].

    W = v.p, D1 = ||v||^2, D2 = ||p||^2, v = Sq: -2 E[D1^{-1/2} (W2 D2^{-1/2} - W1 B1 D2^{-3/2}/2 -
    W0 B2 D2^{-3/2}/2 + 3 W0 B1^2 D2^{-5/2}/8)], B the change of D2, is its second-order change.
    Feynman's parameter joins the two norms, as in `LayerwiseNorm`.

    Returns:
        Entries (dA, dA), (dA, dB), (dB, dB) and absolute errors, (3,) both.
    """
    mu = 1 + a * b * row
    rho, r = row / row[0], mu / abs(mu).max()
    terms = [_Terms.of(row, moments, a, b, size=size) for size in (False, True)]

    def value(rule: Rule) -> Estimate:
        total, error = np.zeros(6), 0.0
        # y = 1 - x of Feynman's x: the weight of an eigenvalue of 0 is y r_i^2, and y must not
        # round to 0. The powers of y beyond -1/2 stay in the integrand: it may rise like their
        # inverse, and the rule cuts the ends by its own
        y, y_weights = rule(-0.5, -0.5)
        log_weights = safe_log((1 - y)[:, None] * rho**2 + y[:, None] * r**2)

        def log_nu(nodes: Nodes) -> np.ndarray:
            return _log_nu(nodes, log_weights[:, None, :])

        for power, kind in enumerate(("second", "fourth", "sixth")):

            def moment(nodes: Nodes, kind: str = kind) -> np.ndarray:
                nu = np.exp(log_nu(nodes))
                flat = nu.reshape(-1, row.size)
                return np.concatenate([part.at(kind, flat) for part in terms], axis=1).reshape(
                    *nu.shape[:2], 6
                )

            inner = expectation(moment, log_weights, bound=lambda nodes: log_sum(log_nu(nodes)))
            total += (
                np.repeat([-2, 2], 3)
                * (y_weights * y**power @ inner.value)
                / (np.sqrt(np.pi) * gamma_function(power + 0.5))
            )
            error = max(error, float(inner.error.max()))
        return Estimate(total, np.full(6, error + EPSILON * (CUT + row.size)))

    found = refined(value, scale=lambda total: np.maximum(np.tile(total[3:], 2), TINY))
    return _polarised(Estimate(found.value[:3], found.error[:3] * found.value[3:]))


def linear_second_order(
    row: np.ndarray, moments: Moments, a: float, b: float, target: Target
) -> Estimate:
    """The Hessian of the layerwise loss without LN: twice E[||M1 q||^2 + 2 r.M2 q], r = q + gamma
    Sq - v.

    Returns:
        Entries (dA, dA), (dA, dB), (dB, dB) and absolute errors, (3,) both.
    """
    plain = Estimate(row / row.size, np.array(EPSILON))
    pull = plain if target == "unnormalized" else image_shares(row)
    ahead = (1 + a * b * row) / row.size
    found, sizes = (_coefficients(row, moments, a, b, size=size) for size in (False, True))
    value = _square_rows(found.g, moments).sum((1, 2)) / row.size + 2 * found.exchange @ (
        ahead - pull.value
    )
    spread = _square_rows(sizes.g, _sized(moments, size=True)).sum((1, 2)) / row.size
    spread = 4 * EPSILON * (spread + 2 * sizes.exchange @ (abs(ahead) + pull.value))
    return _polarised(Estimate(value, spread + 2 * sizes.exchange @ pull.value * float(pull.error)))


def _polarised(found: Estimate) -> Estimate:
    """Entries of H from the quadratic form at (xi, eta) = (1, 0), (0, 1), (1, 1): second-order
    changes, (3,).
    """
    (first, second, both), errors = 2 * found.value, 2 * found.error
    return Estimate(
        np.array([first, (both - first - second) / 2, second]),
        np.array([errors[0], errors.sum() / 2, errors[1]]),
    )


def image_shares(row: np.ndarray) -> Estimate:
    """E[lambda_i c_i^2 / ||Sq||], (d,), and its error relative to the largest, ()."""
    rho = row / row[0]
    log_weights = 2 * safe_log(rho)[None]

    def moment(nodes: Nodes) -> np.ndarray:
        nu = np.exp(_log_nu(nodes, log_weights[0]))
        return rho * nu * np.exp(-nodes.s / 2)[..., None]

    def bound(nodes: Nodes) -> np.ndarray:
        return log_sum(_log_nu(nodes, log_weights[0]) + safe_log(rho)) - nodes.s / 2

    found = expectation(moment, log_weights, bound=bound, rise=0.5)
    return Estimate(
        found.value[0] / np.sqrt(np.pi) / np.exp(log_norm_mean(row.size)), found.error[0]
    )


def _log_nu(nodes: Nodes, log_weights: np.ndarray) -> np.ndarray:
    """log of t / (1 + 2 t w_i), the variance of c_i = x_i / w_i^{1/2} under the tilt, in units
    of 1/t.
    """
    return nodes.s[..., None] - np.logaddexp(0.0, nodes.s[..., None] + np.log(2) + log_weights)
