"""The second-order change of the end-to-end loss off A = aI, B = bI, without cancellation (NumPy,
float64).

y = M^L q is Gaussian when q is, so the loss depends on C = M^L (M^L)^T alone. With P_perp = I -
(projection on PS),

    f = E[||P_perp y||^2 / ||y||^2] = int_0^inf det(I + 2tC)^{-1/2} tr(P_perp C (I + 2tC)^{-1}) dt.

At M = diag(mu) C is diagonal with weights w_i = (mu_i / mu_1)^{2L}. Let u_i = 1/(1 + 2 t w_i), x_i
= 1 - u_i, P = prod u_i^{1/2}. A perturbation E, drawn from a sector (`eigenloop.theory.stability`),
changes C in first and second order. Expanded term by term in the moments of q, the change is a
difference of numbers of the order of (mu_1 / mu_i)^L: for the spectrum 10, 1, 1, 1, 1 and L = 20
all digits are lost. Here the factors of t are put together first, 1 - 2 t w_j u_j = u_j, and what
is left is bounded, with (top, low) the larger and the smaller of mu_i, mu_j:

    Gamma_ij = g_ij / mu_top sum_{k<L} (mu_low / mu_top)^k,   g_ij = xi b lambda_j + eta a lambda_i,
    t u_i u_j (T1)_ij^2 = X_ij E_ij^2 Gamma_ij^2 / 2,  X_ij = x_top u_low,  T1 = first order of M^L,

and so on for the second order of M^L (`_Kernels`). Derived here; nothing of it is in arXiv
2606.00605.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from eigenloop.theory.integrals import AGREED, CUT, MOST_HALVINGS, STEP, Estimate

EPSILON = float(np.finfo(float).eps)
NOTHING = -740.0
"""Where log P falls below this, e^{log P} is about to underflow: what lies beyond is 0 in
float64.
"""
LEFT_OUT = 1e-300
"""What that may leave out."""
MOST_ENTRIES = 4_000_000
"""Largest array of nodes x coordinates x forms."""


class Moments(NamedTuple):
    """E[E_ij E_kl] = alpha delta_ik delta_jl + beta delta_il delta_jk + kappa delta_ij delta_kl."""

    alpha: float
    beta: float
    kappa: float


class Direction(NamedTuple):
    """A direction of (dA, dB) = (xi E, eta E), with xi b = scale * left and eta a = scale * right.

    The three numbers stand apart so that left lambda_1 + right lambda_2 is exactly 0 where it
    should be.
    """

    xi: float
    eta: float
    scale: float
    left: float
    right: float


class Frame(NamedTuple):
    """Two orthonormal directions of (dA, dB)."""

    still: Direction
    """dA : dB = a lambda_2 : -b lambda_1, along which u_1 does not turn towards u_2 to first
    order.
    """
    turning: Direction

    @property
    def matrix(self) -> np.ndarray:
        """Rows: the directions; (2, 2)."""
        return np.array([direction[:2] for direction in self])


def frame(a: float, b: float, *, first: float, second: float) -> Frame:
    """The frame in which a small lowest eigenvalue keeps its digits, for lambda_1 = first and
    lambda_2 = second.

    With two distinct eigenvalues the lowest one falls like (lambda_2 / lambda_1)^L under a largest
    one that stays: as an eigenvalue of a matrix in (dA, dB) it would be lost to rounding at L = 15.
    """
    size = float(np.hypot(a * second, b * first))
    if size == 0:
        return Frame(Direction(1.0, 0.0, 1.0, b, 0.0), Direction(0.0, 1.0, 1.0, 0.0, a))
    still = Direction(a * second / size, -b * first / size, a * b / size, second, -first)
    return Frame(
        still,
        Direction(b * first / size, a * second / size, 1 / size, b * b * first, a * a * second),
    )


class Chain(NamedTuple):
    """One loop at A = aI, B = bI: mu_i = one + gamma lambda_i, of descending modulus.

    At gamma < 0 they have either sign, and those of the principal subspace need not be the first.
    """

    values: np.ndarray
    """lambda, (d,), in the order of mu."""
    log_ratios: np.ndarray
    """log |mu_i| over the largest, (d,); -inf where mu_i = 0."""
    gamma: float
    one: float
    """1; 0 for the power method itself, where gamma = 1."""
    loops: int
    outside: np.ndarray
    """Which lie outside the principal subspace, (d,) of bool."""

    @classmethod
    def of(
        cls,
        row: np.ndarray,
        log_ratios: np.ndarray,
        *,
        gamma: float,
        one: float,
        loops: int,
        multiplicity: int,
    ) -> "Chain":
        """Put eigenvalues that descend in the order of |mu|."""
        outside = np.arange(len(row)) >= multiplicity
        order = np.argsort(-log_ratios, kind="stable") if gamma < 0 else np.arange(len(row))
        return cls(row[order], log_ratios[order], gamma, one, loops, outside[order])

    @property
    def first(self) -> float:
        """lambda_1."""
        return float(self.values[~self.outside][0])

    @property
    def second(self) -> float:
        """The eigenvalue of the largest |mu| outside: lambda_{m+1} at gamma >= 0."""
        return float(self.values[self.outside][0])

    @property
    def mu(self) -> np.ndarray:
        """(d,)."""
        return self.one + self.gamma * self.values

    @property
    def log_weights(self) -> np.ndarray:
        """log w_i, (d,)."""
        return 2 * self.loops * self.log_ratios


PAIRS = ((0, 0), (0, 1), (1, 1))
"""Directions of the three entries of a symmetric 2 x 2 matrix: an axis of length 3, called k."""


def second_order(chain: Chain, moments: Moments, frame: Frame) -> Estimate:
    """The second derivative of f along the directions of `frame`, averaged over unit-Frobenius E of
    a sector.

    Args:
        chain: the loop.
        moments: of E; not those of the multiples of I, see `scalar_second_order`.
        frame: two directions.

    Returns:
        Entries (still, still), (still, turning), (turning, turning) and an estimate of the absolute
        error of each, for quadrature and rounding; (3,) both.
    """
    plain = _Kernels.of(chain, moments, frame, size=False)
    sizes = _Kernels.of(chain, moments, frame, size=True)

    def integrand(u: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.stack([kernels.at(u, x, chain.outside) for kernels in (plain, sizes)])

    found = _integral(integrand, chain.log_weights)
    return Estimate(2 * found.value, 2 * found.error)


def scalar_second_order(chain: Chain, frame: Frame) -> Estimate:
    """The same for E = I / d^{1/2}, from f' and f'': (xi b + eta a)^2 f''/d + 2 xi eta f'/d; 0 for
    the power method.

    With K = sum_{i<=m} x_i^2, N' = sum l_i x_i^2 and N'' = sum (l_i' + l_i^2) x_i^2 over i > m, f'
    = E[K N' / D^2] and f'' = E[K N'' / D^2 - 2 K N'^2 / D^3], l_i = 2L d/dgamma log(mu_i / mu_1) <=
    0.
    """
    if chain.one == 0:  # a power of a multiple of S is a multiple of a power of S
        return Estimate(np.zeros(3), np.zeros(3))
    out, loops = chain.outside, chain.loops
    values, mu = chain.values[out], chain.mu[out]
    first, mu_first = chain.first, float(chain.mu[~out][0])
    with np.errstate(divide="ignore"):
        share = np.where(mu != 0, 1 / mu, 0.0)  # an index with mu_i = 0 has weight 0
    fall = (first - values) / mu_first * share
    slope, turned = -2 * loops * fall, (first / mu_first, values * share)
    bend = 2 * loops * fall * (turned[0] + turned[1]) + slope**2
    bound = 2 * loops * abs(fall) * (abs(turned[0]) + abs(turned[1])) + slope**2

    def integrand(u: np.ndarray, x: np.ndarray) -> np.ndarray:
        del u
        top, rest = x[:, ~out].sum(1) / 2, x[:, out] / 2
        once, size = rest @ slope, rest @ abs(slope)
        twice = 2 * rest**2 @ slope**2
        plain = top * np.stack([once, rest @ bend - once**2 - twice])
        return np.stack([plain, top * np.stack([size, rest @ bound + size**2 + twice])])

    found, dim = _integral(integrand, chain.log_weights), len(chain.values)
    grown = np.array([one.scale * (one.left + one.right) for one in frame])
    both = np.array(
        [
            [grown[i] * grown[j], frame[i].xi * frame[j].eta + frame[j].xi * frame[i].eta]
            for i, j in PAIRS
        ]
    )
    by_slope, by_bend = both[:, 1] / dim, both[:, 0] / dim
    value = by_slope * found.value[0] + by_bend * found.value[1]
    error = abs(by_slope) * found.error[0] + abs(by_bend) * found.error[1]
    sizes = abs(by_slope * found.value[0]) + abs(by_bend * found.value[1])
    return Estimate(value, error + 8 * EPSILON * sizes)


class _Kernels(NamedTuple):
    """Matrices between functions of t: the change of the integrand is a sum of bilinear forms in u,
    x and (u x)^{1/2}.

    Each has an axis k of three entries in front. Index order is descending, so j <= i says that
    mu_j is the larger.
    """

    lower: np.ndarray
    """E[E_ij^2] Gamma_ij^2 for j <= i, 0 above the diagonal; (3, d, d)."""
    upper: np.ndarray
    """The same for j > i."""
    lower_turned: np.ndarray
    """E[E_ij^2] Gamma_ji^2 for j <= i."""
    upper_turned: np.ndarray
    """The same for j > i."""
    diagonals: np.ndarray
    """E[E_ii E_jj] Gamma_ii Gamma_jj."""
    lower_product: np.ndarray
    """E[E_ij E_ji] Gamma_ij Gamma_ji for j <= i."""
    upper_product: np.ndarray
    """The same for j > i."""
    second: np.ndarray
    """Second order of (M^L)_ii / mu_i^L, less what `lower_product` takes over; (3, d)."""
    square: np.ndarray
    """E[E_ii E_ii] Gamma_ii^2 of the product E_ij E_ji; (3, d)."""
    sign: float
    """-1; 1 where every term is replaced by its size, which is the measure of rounding."""

    @classmethod
    def of(cls, chain: Chain, moments: Moments, frame: Frame, *, size: bool) -> "_Kernels":
        """The kernels, or (`size`) bounds of the modulus of every term."""
        clean = np.abs if size else np.asarray
        alpha, beta, kappa = (float(clean(moment)) for moment in moments)
        eye = np.eye(len(chain.values))
        same, swapped, apart = (
            alpha + (beta + kappa) * eye,
            beta + (alpha + kappa) * eye,
            kappa + (alpha + beta) * eye,
        )
        g = np.stack([_pulls(chain, direction, size=size) for direction in frame])
        inverse, once, twice = _repeated(chain, size=size)
        gamma = g * inverse * once
        low = np.tri(len(eye))
        squares = np.stack([gamma[p] * gamma[q] for p, q in PAIRS]) * same
        turned = squares.transpose(0, 2, 1)
        product = _product(gamma) * swapped
        # y_i y_j stands for |mu_i mu_j|^L; the diagonal has no sign
        crossed = product if size else product * _signs(chain)
        diagonal = np.diagonal(gamma, axis1=1, axis2=2)
        ends = np.stack([diagonal[p, :, None] * diagonal[q] for p, q in PAIRS])
        second = _second_terms(chain, frame, _product(g), inverse, twice, size=size) * swapped
        return cls(
            squares * low,
            squares * (1 - low),
            turned * low,
            turned * (1 - low),
            ends * apart,
            crossed * low,
            crossed * (1 - low),
            second.sum(2),
            np.diagonal(product, axis1=1, axis2=2),
            1.0 if size else -1.0,
        )

    def at(self, u: np.ndarray, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        """The change of t tr(P_perp C (I + 2tC)^{-1}) det(I + 2tC)^{-1/2} / P at nodes, u and x
        (N, d); -> (3, N).
        """
        y, sign = np.sqrt(u * x), self.sign
        below, below_turned, ends = (
            x @ kernel.transpose(0, 2, 1)
            for kernel in (self.lower, self.lower_turned, self.diagonals)
        )
        above, above_turned = (
            u @ kernel.transpose(0, 2, 1) for kernel in (self.upper, self.upper_turned)
        )
        lower, upper = (
            y @ kernel.transpose(0, 2, 1) for kernel in (self.lower_product, self.upper_product)
        )
        second = self.second[:, None, :]
        # second order of t tr(P_perp C (I + 2tC)^{-1}), with half of its first order times that of
        # log det
        outside = (
            u * u * below / 2
            + u * x * (above / 2 + sign * (below_turned / 2 + ends) + second)
            + sign * x * x * above_turned / 2
            + y * (u * lower + sign * x * upper)
        )
        # second order of det(I + 2tC)^{-1/2}, relative
        measure = (
            x * ends / 2
            + sign * (u * below + x * above) / 2
            + sign * (x * second + y * lower + x * x * self.square[:, None, :] / 2)
        )
        return outside[:, :, out].sum(2) + x[:, out].sum(1) / 2 * measure.sum(2)


def _pulls(chain: Chain, direction: Direction, *, size: bool) -> np.ndarray:
    """g_ij = xi b lambda_j + eta a lambda_i, (d, d), or what its rounding is relative to.

    Where the two terms cancel, from differences to lambda_1 and lambda_2, which are exact where
    they are small.
    """
    _, _, scale, left, right = direction
    values = chain.values
    first, second = chain.first, chain.second
    plain = left * values[None, :], right * values[:, None]
    rest = left * first + right * second
    shifted = left * (values - first)[None, :], right * (values - second)[:, None]
    plain_size = abs(plain[0]) + abs(plain[1])
    shifted_size = abs(shifted[0]) + abs(shifted[1]) + abs(rest)
    if size:
        return abs(scale) * np.minimum(plain_size, shifted_size)
    return scale * np.where(
        shifted_size < plain_size, shifted[0] + shifted[1] + rest, plain[0] + plain[1]
    )


def _signs(chain: Chain) -> np.ndarray:
    """The sign of (mu_i mu_j)^L, (d, d)."""
    sign = np.where(chain.mu < 0, -1.0, 1.0) ** chain.loops
    return sign[:, None] * sign


def _repeated(chain: Chain, *, size: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1 / mu_top, and with rho = mu_low / mu_top: sum_{k<L} rho^k and sum_{q<L-1} (L - 1 - q)
    rho^q; or (`size`) of their moduli; (d, d) each.
    """
    log_ratios, mu = chain.log_ratios, abs(chain.mu) if size else chain.mu
    with np.errstate(invalid="ignore", divide="ignore"):
        turns = np.where(mu < 0, -1.0, 1.0)
        ratio = np.exp(-abs(log_ratios[:, None] - log_ratios)) * turns[:, None] * turns
        inverse = 1 / np.where(np.tri(len(mu), dtype=bool), mu, mu[:, None])
    none = ~np.isfinite(inverse)  # neither is amplified, and nothing couples them
    ratio, inverse = np.where(none, 1.0, ratio), np.where(none, 0.0, inverse)
    once, twice = np.zeros_like(ratio), np.zeros_like(ratio)
    for _ in range(chain.loops):
        twice += once
        once = 1 + ratio * once
    return inverse, once, twice


def _product(g: np.ndarray) -> np.ndarray:
    """g_ij g_ji as a symmetric form of two directions, (2, d, d) -> (3, d, d)."""
    return np.stack([(g[p] * g[q].T + g[q] * g[p].T) / 2 for p, q in PAIRS])


def _second_terms(
    chain: Chain,
    frame: Frame,
    product: np.ndarray,
    inverse: np.ndarray,
    twice: np.ndarray,
    *,
    size: bool,
) -> np.ndarray:
    """The coefficient of E_ij E_ji in the second order of (M^L)_ii / mu_i^L, (3, d, d).

    j > i:  L xi eta lambda_j / mu_i + g_ij g_ji / mu_i^2 sum_q (L - 1 - q) (mu_j / mu_i)^q.
    j <= i: the same less what goes with u_j,
            (g_ij g_ji / mu_i mu_j) (mu_j / mu_i)^{L-1} (sum_k (mu_i / mu_j)^k)^2;
            L (xi eta lambda_j one - lambda_i taken) / (mu_i mu_j)
            - g_ij g_ji / mu_j^2 sum_q (L-1-q) (mu_i / mu_j)^q,
            taken = ((xi b)^2 + (eta a)^2) lambda_j + xi b eta a lambda_i.
    """
    clean = np.abs if size else np.asarray
    values, mu, loops = chain.values, clean(chain.mu), chain.loops
    with np.errstate(divide="ignore"):
        # an index with mu_i = 0 has weight 0
        share = np.where(mu != 0, 1 / mu, 0.0)
    minus = 1.0 if size else -1.0
    low, found = np.tri(len(values), dtype=bool), []
    for (p, q), both in zip(PAIRS, product, strict=True):
        one, two = frame[p], frame[q]
        exchange = float(clean(one.xi * two.eta) + clean(one.eta * two.xi)) / 2
        scale = one.scale * two.scale
        crossed = scale * float(clean(one.left * two.right) + clean(one.right * two.left)) / 2
        straight = scale * float(clean(one.left * two.left) + clean(one.right * two.right))
        above = exchange * loops * values * share[:, None] + both * inverse**2 * twice
        taken = straight * values + crossed * values[:, None]
        below = (
            loops
            * (chain.one * exchange * values + minus * values[:, None] * taken)
            * share
            * share[:, None]
        )
        found.append(np.where(low, below + minus * both * inverse**2 * twice, above))
    return np.stack(found)


def _integral(
    integrand: Callable[[np.ndarray, np.ndarray], np.ndarray], log_weights: np.ndarray
) -> Estimate:
    """int P h ds, s = log t, by the trapezoidal rule over every breakpoint of P: entries of h may
    differ by any factor.

    Args:
        integrand: u, x, both (N, d) -> h and the sum of the moduli of its terms, (2, K, N); at most
            e^s on the left.
        log_weights: log w_i, (d,), the largest 0.

    Returns:
        Values and absolute errors, (K,): each relative to its own integrand.
    """
    finite = log_weights[np.isfinite(log_weights)]
    low = -np.log(2 * len(log_weights)) - CUT - 2
    high = -np.log(2) - finite.min() + 2 * CUT / len(finite) + 4
    coarse = np.arange(low, high, 1.0)
    alive = -0.5 * np.logaddexp(0.0, coarse[:, None] + np.log(2) + log_weights).sum(1) > NOTHING
    high = float(coarse[np.flatnonzero(alive)[-1]]) + 1.0
    rounding = EPSILON * (CUT + len(log_weights) + abs(finite).max())
    step, value, error = STEP, np.empty(0), np.empty(0)
    for _ in range(MOST_HALVINGS):
        s = low + step * np.arange(int(np.ceil((high - low) / step)) + 1)
        most = max(1, MOST_ENTRIES // (3 * len(log_weights)))
        pieces = []
        for i in range(0, len(s), most):
            doubled = s[i : i + most, None] + np.log(2) + log_weights
            laplace = np.exp(-0.5 * np.logaddexp(0.0, doubled).sum(1))
            pieces.append(integrand(expit(-doubled), expit(doubled)) * laplace)
        terms = np.concatenate(pieces, axis=2)
        value, size = step * terms.sum(2)
        apart = abs(2 * step * terms[0, :, ::2].sum(1) - value)
        scale = np.maximum(size, np.finfo(float).tiny)
        error = np.minimum(apart, 100 * apart**2 / scale) + rounding * size + LEFT_OUT
        if np.all(apart <= AGREED * scale):
            break
        step /= 2
    return Estimate(value, error)
