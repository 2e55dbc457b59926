"""What a signed edit reads with: the vector mu with mu . x > 0 for every token, chosen on a text
and tested beside it.

    mu  ~  (C + rho tr(C)/d I)^(-1) xbar    xbar and C the mean and covariance of the layer's inputs

rho -> infinity gives the normalised mean itself; a smaller rho gives a steadier mu . x: where the
normalisation before the attention has a bias, P diag(1/gain) (x - bias) sums to zero, so mu ~
1/gain reads sum_i bias_i/gain_i from every token, without any spread. rho is chosen on tokens that
C does not know, and a third part, kept aside, says for how many tokens mu . x > 0. Source: worked
out here.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eigenloop.steer.edits import Reading
from eigenloop.system.errors import InputError

RIDGES = (np.inf, 10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-6)
"""The rho that are tried, relative to the mean variance of a coordinate."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A vector to read with.

    Args:
        mu: (d,), unit.
        ridge: its rho.
        spread: standard deviation of mu . x over its mean, on the tokens it was chosen by.
        positive: share of the tokens kept aside with mu . x > 0.
    """

    mu: Float[np.ndarray, " d"]
    ridge: float
    spread: float
    positive: float


def choose_mu(x: Float[np.ndarray, "n d"]) -> Choice:
    """Choose mu on the first half of the tokens, rho on the next quarter, and test on the last.

    Args:
        x: inputs of one layer, rows in the order of the text, float64.

    Raises:
        InputError: fewer than eight tokens.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> choose_mu(rng.standard_normal((400, 8)) + 5.0).positive
        1.0
    """
    if len(x) < 8:
        raise InputError(f"{len(x)} calibration tokens; at least 8 are needed: give a longer text")
    fit, choose, aside = np.split(x, [len(x) // 2, 3 * len(x) // 4])
    mean = fit.mean(0)
    values, vectors = np.linalg.eigh(np.cov(fit.T))
    coordinates, scale = vectors.T @ mean, values.mean() or 1.0
    best: Choice | None = None
    for ridge in RIDGES:
        raw = (
            mean if np.isinf(ridge) else vectors @ (coordinates / (values.clip(0) + ridge * scale))
        )
        mu = raw / np.linalg.norm(raw) if np.any(raw) else np.eye(len(raw))[0]
        seen = choose @ mu
        spread = float(seen.std() / seen.mean()) if seen.mean() > 0 else float("inf")
        if best is None or spread < best.spread:
            best = Choice(mu, ridge, spread, float(np.mean(aside @ mu > 0)))
    assert best is not None
    return best


def reading(x: Float[np.ndarray, "n d"], lengths: Float[np.ndarray, " n"]) -> Reading:
    """The statistics of a layer's inputs that the methods need.

    Args:
        x: inputs of the layer, (n, d), float64.
        lengths: |stream| for each token.
    """
    choice = choose_mu(x)
    return Reading(
        mean=x.mean(0),
        covariance=np.cov(x.T),
        size=float(lengths.mean()),
        mu=choice.mu,
        push=float((x @ choice.mu).mean()),
        positive=choice.positive,
        spread=choice.spread,
        ridge=choice.ridge,
    )
