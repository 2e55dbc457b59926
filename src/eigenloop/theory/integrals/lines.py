"""Expectations of ratios of quadratic forms in a Gaussian vector, as one-dimensional integrals
(NumPy, float64).

With z standard normal in R^d, x_i = w_i^{1/2} z_i, D = sum_i x_i^2 and h homogeneous of degree 2 q,

    E[h(x) / D^p] = (1 / Gamma(p)) int_{-inf}^{inf} t^{p-q} P(t) E[h(y)] ds,    t = e^s,
    P(t) = E[e^{-tD}] = prod_i (1 + 2 t w_i)^{-1/2},    y_i ~ N(0, v_i) independent,
        v_i = t w_i / (1 + 2 t w_i),

because 1/D^p = (1/Gamma(p)) int t^{p-1} e^{-tD} dt and e^{-tD} tilts each Gaussian into a narrower
one. Every v_i is below 1/2 and log v_i is exact at any scale, so weights that span thousands of
decades are no difficulty. The integrand is analytic in the strip |Im s| < pi and falls
exponentially on both sides: the trapezoidal rule in s converges exponentially in 1/step. Where h
has degree 2p the expectation over a unit vector q = z/||z|| is the same.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, logsumexp

CUT = 46.0
"""The integrand is left out where it is below e^-46 = 1e-20 of its largest value."""
STEP = 0.25
"""First step in s; the sum over every other node is the check."""
AGREED = 1e-7
"""The step is halved until it agrees this well with the doubled one: its own error is about the
square of that.
"""
MOST_HALVINGS = 6
CHUNK = 2_000_000
"""Most entries of an array of nodes x coordinates."""


class Estimate(NamedTuple):
    """A number, or an array of them, with an estimate of its relative error."""

    value: np.ndarray
    error: np.ndarray


class Nodes(NamedTuple):
    """Where the integrand is evaluated: B rows, one for each weight vector, of N points."""

    s: np.ndarray
    """log t, (B, N)."""
    log_laplace: np.ndarray
    """log P(t), (B, N)."""
    log_v: np.ndarray
    """log v_i, (B, N, d); -inf where w_i = 0."""

    @property
    def v(self) -> np.ndarray:
        """v_i = Var(y_i), (B, N, d), each from 0 to 1/2."""
        return np.exp(self.log_v)


Integrand = Callable[[Nodes], np.ndarray]


def log_expectation(
    log_moment: Integrand, log_weights: np.ndarray, *, p: float, q: float | None = None
) -> Estimate:
    """The logarithm of E[h(x) / D^p] for h >= 0, in logarithms throughout: nothing underflows.

    Args:
        log_moment: nodes -> log E[h(y)], (B, N); every term of h is a product of factors that grow
            at most like v_i, or like t where w_i = 0 (then the caller must know that the
            expectation is finite).
        log_weights: log w_i, (B, d), at least one finite in every row.
        p: power of D.
        q: half the degree of h; p by default.

    Returns:
        Estimate(log value, (B,); relative error of the value, (B,)).
    """
    degree = p if q is None else q

    def evaluate(s: np.ndarray) -> np.ndarray:
        def part(nodes: Nodes) -> np.ndarray:
            return nodes.log_laplace + log_moment(nodes) + (p - degree) * nodes.s

        return _in_chunks(part, log_weights, s)

    start, width = _window(evaluate, log_weights, power=p)
    step, known, errors = STEP, None, np.inf
    for _ in range(MOST_HALVINGS):
        count = int(np.ceil(width.max() / step)) + 1
        values = evaluate(start[:, None] + step * np.arange(count))
        fine = logsumexp(values, axis=1) + np.log(step)
        coarse = logsumexp(values[:, ::2], axis=1) + np.log(2 * step)
        known, errors = fine, abs(np.expm1(coarse - fine))
        if np.all(errors < AGREED):
            break
        step /= 2
    scale = np.maximum(1.0, abs(log_weights[np.isfinite(log_weights)]).max(initial=0.0))
    rounding = np.finfo(float).eps * (CUT + scale)
    assert known is not None
    return Estimate(known - gammaln(p), np.minimum(errors, 100 * errors**2) + rounding)


def expectation(
    moment: Integrand, log_weights: np.ndarray, *, bound: Integrand, rise: float = 1.0
) -> Estimate:
    """int P(t) E[h(y)] ds for an h of either sign: Gamma(p) E[h(x) / D^p] where h has degree 2p.

    Args:
        moment: nodes -> E[h(y)], (R, N) or with trailing axes, (R, N, ...).
        log_weights: log w_i, (R, d).
        bound: nodes -> logarithm, up to a constant, of a bound on |E[h(y)]|, (R, N): it chooses the
            window.
        rise: the integrand rises like e^{rise s} on the far left.

    Returns:
        Estimate, (R, ...); the error is relative to the largest entry of a row.
    """
    start, width = _window(
        lambda s: _in_chunks(lambda nodes: nodes.log_laplace + bound(nodes), log_weights, s),
        log_weights,
        power=rise,
    )

    def part(nodes: Nodes) -> np.ndarray:
        found = moment(nodes)
        return found * np.exp(nodes.log_laplace).reshape(nodes.s.shape + (1,) * (found.ndim - 2))

    step, value, errors = STEP, np.empty(0), np.empty(0)
    for _ in range(MOST_HALVINGS):
        s = start[:, None] + step * np.arange(int(np.ceil(width.max() / step)) + 1)
        values = _in_chunks(part, log_weights, s)
        value, coarse = step * values.sum(1), 2 * step * values[:, ::2].sum(1)
        rest = tuple(range(1, value.ndim))
        errors = abs(value - coarse).max(rest) / np.maximum(
            abs(value).max(rest), np.finfo(float).tiny
        )
        if np.all(errors < AGREED):
            break
        step /= 2
    return Estimate(value, np.minimum(errors, 100 * errors**2) + np.finfo(float).eps * CUT)


def spread_expectation(weights: np.ndarray, values: np.ndarray, *, p: float = 2.0) -> Estimate:
    """E[sum_{i<j} (l_i - l_j)^2 z_i^2 z_j^2 / (sum_i w_i z_i^2)^p], every term positive.

    sum_{i<j} (l_i - l_j)^2 u_i u_j = U sum_i u_i (l_i - mean)^2 with U = sum_i u_i: a variance, no
    cancellation.

    Args:
        weights: w, (R, d), from 0 to about 1. Finite only if three are positive wherever one is 0.
        values: l, (R, d), or (1, d) for all rows.
        p: the power; 2, or 3/2.

    Returns:
        Estimate, (R,).
    """
    log_weights = safe_log(weights)

    def moments(s: np.ndarray) -> np.ndarray:
        """log of t^p P U sum_i u_i (l_i - mean)^2 at nodes (R, N)."""
        most = max(1, CHUNK // weights.size)
        pieces = []
        for i in range(0, s.shape[1], most):
            t = np.exp(s[:, i : i + most])
            doubled = 2 * t[:, :, None] * weights[:, None, :]
            u = 1 / (1 + doubled)
            total = u.sum(-1)
            mean = np.einsum("rnd,rd->rn", u, np.broadcast_to(values, weights.shape)) / total
            spread = np.einsum("rnd,rnd->rn", u, (values[:, None, :] - mean[..., None]) ** 2)
            pieces.append(
                p * s[:, i : i + most] - 0.5 * np.log1p(doubled).sum(-1) + safe_log(total * spread)
            )
        return np.concatenate(pieces, axis=1)

    start, width = _window(moments, log_weights, power=p)
    low, high = start.min(), (start + width).max()
    step, value, errors = STEP, np.empty(0), np.empty(0)
    for _ in range(MOST_HALVINGS):
        nodes = np.arange(low, high + step, step)
        terms = moments(np.broadcast_to(nodes, (len(weights), nodes.size)))
        top = terms.max(1, keepdims=True)
        terms = np.exp(terms - top)
        value = step * terms.sum(1) * np.exp(top[:, 0]) / math.gamma(p)
        errors = abs(2 * terms[:, ::2].sum(1) / terms.sum(1) - 1)
        if np.all(errors < AGREED):
            break
        step /= 2
    return Estimate(value, np.minimum(errors, 100 * errors**2) + np.finfo(float).eps * CUT)


def log_sum(log_terms: np.ndarray) -> np.ndarray:
    """log sum_i e^{terms_i} over the last axis; -inf where every term is."""
    top = log_terms.max(-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(log_terms - top).sum(-1)) + top[..., 0]


def safe_log(values: np.ndarray) -> np.ndarray:
    """log of non-negative numbers; -inf at 0, without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(values)


def log_norm_mean(dim: int) -> float:
    """log E||z|| of a standard normal vector in R^d: sqrt(2) Gamma((d+1)/2) / Gamma(d/2), to
    rounding.

    Stirling's series of the quotient, (1/2) log d - 1/(4d) + 1/(24 d^3) - ..., where d is above 32.

    Example:
        >>> round(float(np.exp(log_norm_mean(1))), 12)
        0.797884560803
    """
    if dim <= 32:
        return math.log(math.sqrt(2) * math.gamma((dim + 1) / 2) / math.gamma(dim / 2))
    # two logarithms of Gamma would lose as many digits as they have before the point
    series = (-1 / 4, 1 / 24, -1 / 20, 17 / 112, -31 / 36)
    return 0.5 * math.log(dim) + sum(term / dim ** (2 * i + 1) for i, term in enumerate(series))


def _nodes(log_weights: np.ndarray, s: np.ndarray) -> Nodes:
    doubled = s[:, :, None] + (log_weights + np.log(2))[:, None, :]
    softplus = np.logaddexp(0.0, doubled)
    return Nodes(s, -0.5 * softplus.sum(-1), doubled - softplus - np.log(2))


def _in_chunks(part: Integrand, log_weights: np.ndarray, s: np.ndarray) -> np.ndarray:
    """`part` at every node, a bounded number of nodes at a time."""
    most = max(1, CHUNK // log_weights.size)
    pieces = [part(_nodes(log_weights, s[:, i : i + most])) for i in range(0, s.shape[1], most)]
    return np.concatenate(pieces, axis=1)


def _window(
    evaluate: Callable[[np.ndarray], np.ndarray], log_weights: np.ndarray, *, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """First node and length of the stretch of s that matters, for each row.

    To the left the integrand falls like e^{power s}. To the right it may fall slowly, or first rise
    for thousands of units where the weights are far apart, so the stretch grows until the last of
    it is below every cut.
    """
    rows, dim = log_weights.shape
    first = -np.log(2 * dim) - log_weights.max(1)
    last = -np.log(2) - np.where(np.isfinite(log_weights), log_weights, np.inf).min(1)
    low = first - CUT / power - 2
    reach, ends = np.full(rows, 16.0), None
    for _ in range(60):
        s = low[:, None] + np.arange(int(np.ceil((first + reach - low).max())) + 1)
        values = evaluate(s)
        top = values.max(1, keepdims=True)
        settled = (values[:, -1] < top[:, 0] - CUT) & (values[:, -1] < values[:, -2])
        # between breakpoints a term that is still rising may lie ahead: only past the last one is a
        # fall final, unless P alone is already below the cut
        laplace = _in_chunks(lambda nodes: nodes.log_laplace, log_weights, s[:, -1:])[:, 0]
        most = laplace + np.maximum(s[:, -1] - first, 0) + power * np.log(dim + 1.0)
        final = (s[:, -1] > last + 2) | (most < top[:, 0] - CUT)
        matters = values > top - CUT
        ends = matters.argmax(1), s.shape[1] - 1 - matters[:, ::-1].argmax(1)
        if np.all(settled & final):
            break
        reach = reach * 1.6 + 16
    assert ends is not None
    begin = low + np.maximum(ends[0] - 1, 0)
    return begin, (low + ends[1] + 1) - begin
