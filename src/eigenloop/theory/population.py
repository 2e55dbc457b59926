"""Population objectives at A = aI, B = bI, gamma = ab, for a spectrum of S: f, f', limits and
constants.

Every expectation is over q uniform on the unit sphere of R^d. Eigenvalues are those of one S, (d,),
or of many, (B, d), with one multiplicity of the largest; results are `Estimate`s, scalar or (B,).
Source: arXiv 2606.00605, Thms 4.1 to 4.3, Lemma A.4, Remark F.3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from scipy.special import expit, roots_jacobi

from eigenloop.numerics.spectrum import Numbers, require_gap, sorted_eigenvalues
from eigenloop.system.errors import InputError
from eigenloop.theory.integrals import (
    AGREED,
    Estimate,
    Nodes,
    expectation,
    log_expectation,
    log_norm_mean,
    log_power_weights,
    log_pull,
    log_share,
    log_sum,
    safe_log,
    spread_expectation,
    turn,
)

Target = Literal["normalized", "unnormalized"]
EPSILON = float(np.finfo(float).eps)
LOWEST_GAMMA = -1e150
"""Squares of what is farther past the wall overflow; the loss is that of gamma = infinity there."""


@runtime_checkable
class Setting(Protocol):
    """One of the paper's three objectives on the scalar manifold."""

    @property
    def rows(self) -> np.ndarray:
        """The spectra, (B, d)."""
        ...

    @property
    def dim(self) -> int:
        """d."""
        ...

    def loss(self, gamma: float) -> Estimate:
        """f(gamma)."""
        ...

    def slope(self, gamma: float) -> Estimate:
        """f'(gamma)."""
        ...


def spectra(eigenvalues: Numbers) -> np.ndarray:
    """(B, d) float64, each row in descending order and none a tight frame.

    Raises:
        InputError: as for `eigenloop.numerics.require_gap`; rows whose largest eigenvalues differ
            in multiplicity.
    """
    values = np.asarray(eigenvalues, dtype=np.float64)
    if values.ndim == 1:
        values = values[None]
    rows = np.stack([sorted_eigenvalues(row) for row in values])
    found = {require_gap(row) for row in rows}
    if len(found) > 1:
        raise InputError(
            f"the largest eigenvalue has multiplicity {sorted(found)} in different rows; split them"
        )
    return rows


def check_gamma(gamma: float) -> float:
    """gamma = ab, of either sign; below 0 a loop is a multiple of S - rho I, rho = -1/gamma.

    Raises:
        InputError: not finite.
    """
    if not np.isfinite(gamma):
        raise InputError(f"gamma is {gamma:g}; it must be a finite number")
    if gamma < LOWEST_GAMMA:
        raise InputError(f"gamma is {gamma:g}; below 0 it must be at least {LOWEST_GAMMA:g}")
    return float(gamma)


def loop_factors(rows: np.ndarray, gamma: float) -> tuple[np.ndarray, float]:
    """mu_i = 1 + gamma lambda_i as (factors, scale): mu = factors * scale, scale = max(1, |gamma|).

    Example:
        >>> loop_factors(np.array([[2.0, 0.5]]), -2.0)
        (array([[-1.5,  0. ]]), 2.0)
    """
    scale = max(1.0, abs(gamma))
    return 1 / scale + gamma / scale * rows, scale


def check_loops(loops: int) -> int:
    """L >= 1.

    Raises:
        InputError: below 1.
    """
    if loops < 1:
        raise InputError(f"--loops is {loops}; it must be at least 1")
    return int(loops)


def log_grown(rows: np.ndarray, gamma: float) -> np.ndarray:
    """log(1 + gamma lambda_i), without overflow at any gamma."""
    huge = rows > LARGEST / max(gamma, 1.0)
    return np.where(
        huge, np.log(max(gamma, 1.0)) + safe_log(rows), np.log1p(gamma * np.where(huge, 0.0, rows))
    )


def log_ratios(rows: np.ndarray, gamma: float) -> np.ndarray:
    """log |mu_i| over the largest of a row, mu_i = 1 + gamma lambda_i; (B, d).

    At gamma >= 0 the largest is mu_1, and nothing cancels near 0 and near 1. At gamma < 0 it need
    not be: relative to mu_1 the others would leave every window as -1/gamma nears lambda_1.
    """
    if gamma < 0:
        return log_power_weights(loop_factors(rows, gamma)[0], 1) / 2
    top = rows[:, :1]
    fall = (
        (top - rows) / (1 / gamma + top) if gamma > 1 else gamma * (top - rows) / (1 + gamma * top)
    )
    near = np.log1p(-np.minimum(fall, 0.5))
    return np.where(fall < 0.5, near, log_grown(rows, gamma) - log_grown(top, gamma))


LARGEST = 1e300


@dataclass(frozen=True)
class _OfSpectra:
    """What the three settings share."""

    eigenvalues: Numbers

    def __post_init__(self) -> None:
        """Check, and keep the sorted rows."""
        object.__setattr__(self, "_rows", spectra(self.eigenvalues))

    @property
    def rows(self) -> np.ndarray:
        """The spectra, (B, d)."""
        return self._rows  # type: ignore[attr-defined]  # set in __post_init__

    @property
    def dim(self) -> int:
        """d."""
        return self.rows.shape[1]

    @property
    def is_one(self) -> bool:
        """Whether one spectrum was given: results are then scalars."""
        return np.ndim(np.asarray(self.eigenvalues, dtype=np.float64)) == 1


@dataclass(frozen=True)
class EndToEnd(_OfSpectra):
    """Theorem 4.1: L loops with LN, E[dist(y_L, PS)^2].

    With c_i = u_i . q and r_i = (1 + gamma lambda_i) / (1 + gamma lambda_1),

        f(gamma) = E[sum_{i>m} c_i^2 r_i^{2L} / sum_i c_i^2 r_i^{2L}]

    at gamma of either sign; `theory.filters` has what is at gamma < 0.

    Args:
        eigenvalues: of S; (d,) or (B, d), any order, not all equal.
        loops: L >= 1.

    Example:
        >>> setting = EndToEnd([2.0, 1.0], loops=1)
        >>> bool(abs(setting.loss(0.0).value - 0.5) < 1e-14)
        True
    """

    loops: int

    def __post_init__(self) -> None:
        """Check both."""
        super().__post_init__()
        check_loops(self.loops)

    @property
    def multiplicity(self) -> int:
        """m."""
        return require_gap(self.rows[0])

    def loss(self, gamma: float) -> Estimate:
        """f(gamma); at gamma >= 0 positive and decreasing."""
        return _exponential(self, self._log_loss(gamma))

    def log_loss(self, gamma: float) -> Estimate:
        """log f(gamma), where f itself may underflow."""
        return _single(self, self._log_loss(gamma))

    def limit_loss(self) -> Estimate:
        """f_inf > 0, the loss of the L-step power method: r_i = lambda_i / lambda_1."""
        return _exponential(self, self._log_limit_loss())

    def log_limit_loss(self) -> Estimate:
        """log f_inf; -inf where every eigenvalue but the largest is 0."""
        return _single(self, self._log_limit_loss())

    def shifted_loss(self, rho: float) -> Estimate:
        """The loss at gamma = -1/rho < 0, where the loop is the power method of S - rho I.

        E[sum_{i>m} c_i^2 w_i / sum_i c_i^2 w_i], w_i = (lambda_i - rho)^{2L}; rho > 0 is no
        eigenvalue.
        """
        log_weights = 2 * self.loops * np.log(abs(self.rows - rho))
        return _exponential(self, self._log_rest(log_weights - log_weights.max(1, keepdims=True)))

    def slope(self, gamma: float) -> Estimate:
        """f'(gamma), below 0 at gamma >= 0.

        f' = -E[2L (sum_{i<=m} c_i^2)(sum_{i>m} c_i^2 r_i^{2L} (lambda_1 - lambda_i)
                 / ((1 + gamma lambda_1)(1 + gamma lambda_i))) / (sum_i c_i^2 r_i^{2L})^2].
        """
        if gamma < 0:
            return _single(self, self._slope_behind(check_gamma(gamma)))
        return _exponential(self, self._log_slope(gamma), sign=-1.0)

    def log_slope(self, gamma: float) -> Estimate:
        """log |f'(gamma)|, where f' itself may underflow; f' < 0 at gamma >= 0."""
        if gamma < 0:
            value, error = self._slope_behind(check_gamma(gamma))
            return _single(self, Estimate(safe_log(abs(value)), error))
        return _single(self, self._log_slope(gamma))

    def _slope_behind(self, gamma: float) -> Estimate:
        """f' at gamma < 0, where its terms have either sign; the error is relative to f' itself."""
        scale, ones = max(1.0, -gamma), np.ones(len(self.rows))
        found = turn(
            self.rows,
            ones / scale,
            gamma / scale * ones,
            loops=self.loops,
            multiplicity=self.multiplicity,
        )
        size = np.exp(np.maximum(found.log_plus, found.log_minus))
        return Estimate(-found.value / scale**2, _ratio(found.error * size, abs(found.value)))

    def _log_slope(self, gamma: float) -> Estimate:
        gamma = check_gamma(gamma)
        rows, top = self.rows, self.rows[:, :1]
        factor = safe_log(top - rows) - log_grown(rows, gamma) - log_grown(top, gamma)
        return self._log_product(2 * self.loops * log_ratios(rows, gamma), factor)

    def upsilon1(self) -> Estimate:
        """Y1 = -lim gamma^2 f'(gamma) > 0 (Lemma A.4).

        Y1 = E[2L (sum_{i<=m} c_i^2)(sum_{i>m} c_i^2 rho_i^{2L-1} (1 - rho_i) / lambda_1) / (sum_i
        c_i^2 rho_i^{2L})^2], rho_i = lambda_i / lambda_1.
        """
        return _exponential(self, self._log_upsilon1())

    def log_upsilon1(self) -> Estimate:
        """log Y1; -inf where every eigenvalue but the largest is 0."""
        return _single(self, self._log_upsilon1())

    def _log_upsilon1(self) -> Estimate:
        rows, log_rho = self.rows, self._log_rho()
        factor = (
            safe_log(rows[:, :1] - rows)
            - 2 * np.log(rows[:, :1])
            - np.where(rows > 0, log_rho, 0.0)
        )
        return self._log_product(2 * self.loops * log_rho, factor)

    def _log_loss(self, gamma: float) -> Estimate:
        return self._log_rest(2 * self.loops * log_ratios(self.rows, check_gamma(gamma)))

    def _log_limit_loss(self) -> Estimate:
        return self._log_rest(2 * self.loops * self._log_rho())

    def _log_rho(self) -> np.ndarray:
        top = self.rows[:, :1]
        fall = (top - self.rows) / top
        near = np.log1p(-np.minimum(fall, 0.5))
        return np.where(fall < 0.5, near, safe_log(self.rows / top))

    def _log_rest(self, log_weights: np.ndarray) -> Estimate:
        """log E[sum_{i>m} x_i^2 / D]."""
        return log_share(log_weights, self.multiplicity)

    def _log_product(self, log_weights: np.ndarray, log_factor: np.ndarray) -> Estimate:
        """log of 2L E[(sum_{i<=m} x_i^2)(sum_{i>m} e^{factor_i} x_i^2) / D^2]."""
        found = log_pull(log_weights, log_factor, self.multiplicity)
        return Estimate(found.value + np.log(2 * self.loops), found.error)


@dataclass(frozen=True)
class LayerwiseNorm(_OfSpectra):
    """Theorem 4.3: one layer with LN, E||N(q + gamma Sq) - Sq/||Sq|| ||^2 = 2 E[1 - cos angle(q +
    gamma Sq, Sq)].

    Its slope has a positive form, with G = ||q||^2 ||Sq||^2 - (q.Sq)^2 = sum_{i<j} (lambda_i -
    lambda_j)^2 q_i^2 q_j^2,

        f'(gamma) = -2 E[G / (||Sq|| ||q + gamma Sq||^3)] = -(4/pi) int_0^1 x^{-1/2} (1 - x)^{1/2}
                  E[G / (x ||Sq||^2 + (1 - x) ||q + gamma Sq||^2)^2] dx

    (Feynman's parameter x leaves one positive quadratic form). The loss integrates such forms along
    a line, because 2 - 2 E[cos] would lose every digit at large gamma.

    Example:
        >>> setting = LayerwiseNorm([2.0, 1.0])
        >>> bool(abs(1e12 * setting.loss(1e6).value - setting.upsilon2().value) < 1e-5)
        True
    """

    def slope(self, gamma: float) -> Estimate:
        """f'(gamma) < 0; minus infinity where q + gamma Sq is left with one coordinate."""
        found = refined(
            lambda rule: self._along_line(check_gamma(gamma), ends_only=True, rule=rule)
        )
        top = self.rows[:, 0]
        # in units: G of lambda_1^2, ||Sq|| of lambda_1, ||q + gamma Sq|| of the largest |mu_i|
        grown = _grown(self.rows, gamma)
        found = Estimate(-found.value * top / grown / grown / grown, found.error)
        if gamma < 0:
            one = (loop_factors(self.rows, gamma)[0] != 0).sum(1) == 1  # E[1/|z_1|] diverges
            value, error = np.where(one, -np.inf, found.value), np.where(one, 0.0, found.error)
            found = Estimate(value, error)
        return _single(self, found)

    def loss(self, gamma: float) -> Estimate:
        """f(gamma) > 0; at gamma >= 0 as a sum of positive terms.

        With v = Sq, p = q + gamma Sq (both in units of their largest factor), p_s = v + s (p - v)
        and G' = |v|^2 |p|^2 - (v.p)^2, the angle's sine grows along the line: 1 - cos = int_0^1 s
        G' / (|v| |p_s|^3) ds.
        """
        gamma = check_gamma(gamma)
        if gamma < 0:
            return _single(self, self._loss_behind(gamma))
        found = refined(lambda rule: self._along_line(gamma, ends_only=False, rule=rule))
        grown = _grown(self.rows, gamma)
        return _single(self, Estimate(found.value / grown / grown, found.error))

    def _loss_behind(self, gamma: float) -> Estimate:
        """2 - 2 E[cos] at gamma < 0, where the angle is large.

        E[v.p / (|v| |p|)] = (1/pi) int_0^1 (x y)^{-1/2} E[v.p / (x |v|^2 + y |p|^2)] dx, y = 1 - x.
        """
        rho = self.rows / self.rows[:, :1]
        factors = loop_factors(self.rows, gamma)[0]
        output = factors / abs(factors).max(1, keepdims=True)

        def along(rule: "Rule") -> Estimate:
            x, weights = rule(-0.5, -0.5)
            form = x[:, None] * (rho**2)[:, None] + (1 - x)[:, None] * (output**2)[:, None]
            log_form, count = safe_log(form.reshape(-1, self.dim)), len(x)
            product = np.repeat(rho * output, count, axis=0)[:, None]

            def log_nu(nodes: Nodes) -> np.ndarray:
                grown = nodes.s[..., None]
                return grown - np.logaddexp(0.0, grown + np.log(2) + log_form[:, None])

            inner = expectation(
                lambda nodes: (product * np.exp(log_nu(nodes))).sum(-1),
                log_form,
                bound=lambda nodes: log_sum(log_nu(nodes) + safe_log(abs(product))),
            )
            value = inner.value.reshape(-1, count) @ weights / np.pi
            return Estimate(value, inner.error.max(keepdims=True))

        cosine = refined(along, scale=np.ones_like)
        value = 2 - 2 * cosine.value
        return Estimate(value, (2 * cosine.error + 4 * EPSILON) / value)

    def upsilon2(self) -> Estimate:
        """Y2 = lim gamma^2 f(gamma) = E[G / ||Sq||^4].

        Raises:
            InputError: it diverges: rank 1, or rank 2 in dimension 3 and more.
        """
        reason = upsilon2_diverges(self.rows)
        if reason:
            raise InputError(reason)
        rho = self.rows / self.rows[:, :1]
        found = spread_expectation(rho**2, -(self.rows[:, :1] - self.rows) / self.rows[:, :1])
        return _single(self, Estimate(found.value / self.rows[:, 0] ** 2, found.error))

    def _along_line(self, gamma: float, *, ends_only: bool, rule: "Rule") -> Estimate:
        """2 E[G / (|v| |p|^3)], or 2 E[int_0^1 s G / (|v| |p_s|^3) ds], in units of the largest
        eigenvalue.
        """
        top = self.rows[:, :1]
        rho, output = self.rows / top, np.exp(log_ratios(self.rows, gamma))
        fall = (
            top - self.rows
        ) / top  # G knows differences only, and these are exact where eigenvalues nearly agree
        x, x_weights = rule(-0.5, 0.5)
        s, s_weights = (np.ones(1), np.ones(1)) if ends_only else rule(1.0, 0.0)
        point = rho[:, None, :] + s[:, None] * (output - rho)[:, None, :]
        form = (
            x[:, None] * rho[:, None, None, :] ** 2 + (1 - x)[:, None] * point[:, :, None, :] ** 2
        )
        count = len(s) * len(x)
        inner = spread_expectation(form.reshape(-1, self.dim), np.repeat(-fall, count, axis=0))
        value = inner.value.reshape(len(rho), len(s), len(x))
        return Estimate(
            4 / np.pi * np.einsum("bsx,s,x->b", value, s_weights, x_weights),
            inner.error.max(keepdims=True),
        )


Rule = Callable[[float, float], tuple[np.ndarray, np.ndarray]]
"""(alpha, beta) -> nodes x and weights of int_0^1 x^alpha (1 - x)^beta g(x) dx."""


def _gauss(count: int) -> Rule:
    """Gauss-Jacobi: geometric convergence where g has no singularity near [0, 1]."""

    def rule(alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
        nodes, weights = roots_jacobi(count, beta, alpha)
        return (1 + nodes) / 2, weights / 2 ** (alpha + beta + 1)

    return rule


def _double_exponential(step: float) -> Rule:
    """The trapezoidal rule in v, x = 1 / (1 + e^{-pi sinh v}): singularities near the ends do no
    harm.
    """

    def rule(alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
        reach = [np.arcsinh(OUTER_CUT / (np.pi * (power + 1))) for power in (alpha, beta)]
        v = step * np.arange(-np.floor(reach[0] / step), reach[1] / step)
        x, rest = expit(np.pi * np.sinh(v)), expit(-np.pi * np.sinh(v))
        return x, step * np.pi * np.cosh(v) * x ** (alpha + 1) * rest ** (beta + 1)

    return rule


OUTER_CUT = 34.0
GAUSS = (6, 12, 24, 48)
DOUBLE_EXPONENTIAL = (0.2, 0.1, 0.05, 0.025)


def refined(
    value: Callable[[Rule], Estimate], *, scale: Callable[[np.ndarray], np.ndarray] = np.abs
) -> Estimate:
    """Finer and finer rules until two agree to `AGREED`; the error of the finer one is then about
    its square.

    They agree entry by entry, relative to `scale` of the value, which is its modulus by default; so
    is the error.
    """
    for rules in (
        [_gauss(n) for n in GAUSS],
        [_double_exponential(step) for step in DOUBLE_EXPONENTIAL],
    ):
        last = value(rules[0])
        for rule in rules[1:]:
            found = value(rule)
            apart = abs(last.value - found.value) / scale(found.value)
            last = Estimate(found.value, np.minimum(apart, 100 * apart**2) + found.error)
            if np.all(apart < AGREED):
                return last
    return last


@dataclass(frozen=True)
class LayerwiseLinear(_OfSpectra):
    """Theorem 4.2: one layer without LN, E||q + gamma Sq - v||^2 = mu2 (gamma - gamma*)^2 + f*.

    v = Sq/||Sq|| (normalised target) or Sq; mu2 = E||Sq||^2 = tr(S^2)/d, E[q.Sq] = tr(S)/d.

    Example:
        >>> setting = LayerwiseLinear([2.0, 1.0], target="unnormalized")
        >>> round(float(setting.optimum().value), 12), round(float(setting.floor().value), 12)
        (0.4, 0.1)
    """

    target: Target = "normalized"

    def second_moment(self) -> Estimate:
        """mu2 = E||Sq||^2."""
        return _exact(self, (self.rows**2).mean(1))

    def optimum(self) -> Estimate:
        """gamma*: (E||Sq|| - tr S/d)/mu2 for the normalised target, 1 - (tr S/d)/mu2 for the
        unnormalised.
        """
        mu2 = (self.rows**2).mean(1)
        if self.target == "unnormalized":
            terms = self.rows * (self.rows - 1)
            value = terms.mean(1) / mu2
            return _single(
                self, Estimate(value, 4 * EPSILON * _ratio(abs(terms).mean(1), abs(value * mu2)))
            )
        excess = norm_excess(self.rows)
        return _single(self, Estimate(excess.value / mu2, excess.error + 4 * EPSILON))

    def floor(self) -> Estimate:
        """f* > 0: what no gamma can go below."""
        mu2 = (self.rows**2).mean(1)
        if self.target == "unnormalized":
            # E||q + (gamma - 1) Sq||^2 at its minimum: 1 - (tr S/d)^2/mu2
            spread = ((self.rows - self.rows.mean(1, keepdims=True)) ** 2).mean(1)
            return _exact(self, spread / mu2)
        start, excess = misalignment(self.rows), norm_excess(self.rows)
        gain = excess.value**2 / mu2
        value = start.value - gain
        absolute = start.error * start.value + (2 * excess.error + 4 * EPSILON) * gain
        return _single(self, Estimate(value, _ratio(absolute, value)))

    def loss(self, gamma: float) -> Estimate:
        """f(gamma)."""
        floor, best = (_rows_of(found) for found in (self.floor(), self.optimum()))
        mu2, apart = (self.rows**2).mean(1), gamma - best.value
        value = mu2 * apart**2 + floor.value
        absolute = floor.error * floor.value + 2 * mu2 * abs(apart * best.value) * best.error
        return _single(self, Estimate(value, absolute / value + 4 * EPSILON))

    def slope(self, gamma: float) -> Estimate:
        """f'(gamma) = 2 mu2 (gamma - gamma*)."""
        best = _rows_of(self.optimum())
        apart = gamma - best.value
        error = best.error * _ratio(abs(best.value), abs(apart)) + 4 * EPSILON
        return _single(self, Estimate(2 * (self.rows**2).mean(1) * apart, error))


LOST = 1e-12
"""Where a difference has a larger relative error than this, an integral of positive terms takes
its place.
"""


def norm_excess(rows: np.ndarray) -> Estimate:
    """E||Sq|| - tr(S)/d = E[||Sq|| (1 - cos angle(q, Sq))] > 0 of spectra (B, d) in descending
    order.

    Where the difference cancels, nearly tight frames: with v = Sq, p_s = v + s (q - v) and G as in
    `LayerwiseNorm`, ||v|| (1 - cos) = int_0^1 s G/||p_s||^3 ds, positive terms.
    """
    norm = _mean_power_norm(rows)
    value = norm.value - rows.mean(1)
    error = _ratio(norm.error * norm.value + EPSILON * norm.value, abs(value))
    lost = error > LOST
    if lost.any():
        top, fall = rows[lost, :1], (rows[lost, :1] - rows[lost]) / rows[lost, :1]
        # in units of lambda_1: p_s = (1 - s) v/lambda_1 + s q, for the angle does not know the
        # length of v

        def along(rule: "Rule") -> Estimate:
            s, weights = rule(1.0, 0.0)
            point = 1 - (1 - s)[:, None] * fall[:, None, :]
            count, dim = len(s), rows.shape[1]
            inner = spread_expectation(
                point.reshape(-1, dim) ** 2, -np.repeat(fall, count, axis=0), p=1.5
            )
            found = np.einsum("bs,s->b", inner.value.reshape(len(fall), count), weights)
            return Estimate(found, inner.error.max(keepdims=True))

        found = refined(along)
        value[lost] = top[:, 0] * found.value / np.exp(log_norm_mean(rows.shape[1]))
        error[lost] = found.error + 4 * EPSILON
    return Estimate(value, error)


def misalignment(rows: np.ndarray) -> Estimate:
    """2 - 2 E[cos angle(q, Sq)] > 0 of spectra (B, d) in descending order; where it cancels as
    `LayerwiseNorm` at 0.
    """
    cosine = _log_cosine(rows)
    value = -2 * np.expm1(cosine.value)
    error = _ratio(2 * cosine.error, abs(value))
    lost = error > LOST
    if lost.any():
        found = LayerwiseNorm(rows[lost]).loss(0.0)
        value[lost], error[lost] = found.value, found.error
    return Estimate(value, error)


def _ratio(error: np.ndarray, value: np.ndarray) -> np.ndarray:
    """error/value; 0 where the error is 0, infinite where only the value is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error > 0, error / value, 0.0)


def _rows_of(found: Estimate) -> Estimate:
    return Estimate(np.atleast_1d(found.value), np.atleast_1d(found.error))


def mean_power_norm(eigenvalues: Numbers) -> Estimate:
    """E||Sq||, between tr(S)/d and (tr(S^2)/d)^{1/2} (Lemma F.2)."""
    rows = spectra(eigenvalues)
    found = _mean_power_norm(rows)
    return _first(found) if np.ndim(np.asarray(eigenvalues, dtype=np.float64)) == 1 else found


def upsilon2_diverges(rows: np.ndarray) -> str | None:
    """Why Y2 is infinite, or None: E[1/||Sq||^2] needs rank 3, unless d = 2 and S has full rank."""
    rank = int((rows > 0).sum(1).min())
    dim = rows.shape[1]
    if rank == 1 or (rank == 2 and dim > 2):
        return (
            f"Upsilon_2 diverges: S has rank {rank} in dimension {dim}, so ||Sq|| is too often"
            " near 0"
        )
    return None


def _mean_power_norm(rows: np.ndarray) -> Estimate:
    """E||Sq|| = E[D / D^{1/2}] / E||z|| with D = sum_i lambda_i^2 z_i^2."""
    top = rows[:, :1]
    found = log_expectation(
        lambda nodes: log_sum(nodes.log_v), 2 * safe_log(rows / top), p=0.5, q=1.0
    )
    return Estimate(top[:, 0] * np.exp(found.value - log_norm_mean(rows.shape[1])), found.error)


def _log_cosine(rows: np.ndarray) -> Estimate:
    """log E[q.Sq / ||Sq||] = log E[sum_i lambda_i z_i^2 / D^{1/2}] - log E||z||."""
    log_values = safe_log(rows / rows[:, :1])
    divided = np.where(np.isfinite(log_values), log_values, 0.0)

    def log_moment(nodes: Nodes) -> np.ndarray:
        return log_sum(nodes.log_v - divided[:, None, :])

    found = log_expectation(log_moment, 2 * log_values, p=0.5, q=1.0)
    return Estimate(found.value - log_norm_mean(rows.shape[1]), found.error)


def _exponential(setting: _OfSpectra, log: Estimate, *, sign: float = 1.0) -> Estimate:
    return _single(setting, Estimate(sign * np.exp(log.value), log.error))


def _exact(setting: _OfSpectra, value: np.ndarray) -> Estimate:
    return _single(setting, Estimate(value, np.full_like(value, 4 * EPSILON)))


def _single(setting: _OfSpectra, found: Estimate) -> Estimate:
    """Without the row axis where one spectrum was given."""
    return _first(found) if setting.is_one else found


def _grown(rows: np.ndarray, gamma: float) -> np.ndarray:
    """The largest |mu_i| of a row, 1 + gamma lambda_1 at gamma >= 0; infinite beyond float64."""
    if gamma < 0:
        factors, scale = loop_factors(rows, gamma)
        return scale * abs(factors).max(1)
    with np.errstate(over="ignore"):
        return 1 + gamma * rows[:, 0]


def _first(found: Estimate) -> Estimate:
    return Estimate(found.value[0], found.error[0])
