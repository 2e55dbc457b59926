"""What a statistic of alignment is compared with: random directions, other layers, a copy with
random weights (NumPy).

    random        directions (planes, for a complex pair) uniform on the sphere, at the same layer
                  and tokens
    other_layers  the leading modes, or eigenbases, of the model's other layers, at this layer's
                  tokens
    random_init   the same statistic in a copy of the model with random weights, on the same text

The first says how unusual v1 is among directions, given how uneven the tokens are; the second
whether it is this layer's own; the third whether training made it so. Only the first has as many
draws as a p-value needs.

Many layers and heads are looked at, so p-values are adjusted by the maximum over them (Westfall and
Young, single step): for each draw the largest standardised statistic over all tests, against which
every test is held. It keeps the probability of one false finding or more below the level for any
dependence that the draws reproduce, and unlike Holm or Benjamini-Hochberg it does not divide the
resolution 1/(draws + 1) of a p-value by the number of tests, which for 144 heads would leave
nothing below 0.05. Draws are independent between tests, as the null has it: each test has a
direction of its own.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

Kind: TypeAlias = Literal["random", "other_layers", "random_init"]

KINDS: tuple[Kind, ...] = ("random", "other_layers", "random_init")
"""The three nulls, in the order in which they are shown."""

LOGARITHMIC = (
    "enrichment_before",
    "enrichment_after",
    "ratio",
    "cosine_before",
    "cosine_after",
    "centred_before",
    "centred_after",
)
"""Positive statistics whose distance to a null is measured on a logarithmic scale."""

FEWEST_FOR_P = 99
"""Draws from which a p-value is computed."""


@dataclass(frozen=True)
class Null:
    """One null of one statistic.

    Args:
        kind: which.
        mean: of the draws; for random_init the copy's value.
        low: 2.5 % quantile of the draws, of few (below 40) the smallest; for random_init, of the
            copy's bootstrap.
        high: the same at the upper end.
        count: draws.
        sigmas: the statistic minus the mean, in standard deviations of the draws; for random_init,
            of the difference between model and copy over resampled passages (both on the same
            ones). None where there are too few.
        p: (1 + draws at least as large) / (1 + draws), one-sided; None for fewer than 99 draws.
        p_adjusted: for all layers (or all heads) looked at.
    """

    kind: Kind
    mean: float
    low: float
    high: float
    count: int
    sigmas: float | None
    p: float | None = None
    p_adjusted: float | None = None


def scaled(name: str, values: np.ndarray) -> np.ndarray:
    """The logarithm of a logarithmic statistic, any other as it is; NaN where that is not
    finite.
    """
    if name not in LOGARITHMIC:
        return np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.log(values)
    return np.where(np.isfinite(result), result, np.nan)


def from_draws(
    name: str,
    value: float,
    draws: Float[np.ndarray, " k"],
    *,
    kind: Kind,
    p_adjusted: float | None = None,
) -> Null | None:
    """A null from its draws; None where there are none.

    Example:
        >>> null = from_draws("gain_rho", 0.9, np.linspace(-0.5, 0.5, 99), kind="random")
        >>> null.p, round(null.sigmas, 1)
        (0.01, 3.1)
    """
    draws = draws[np.isfinite(draws)]
    if not len(draws) or not np.isfinite(value):
        return None
    low, high = (
        np.quantile(draws, [0.025, 0.975]) if len(draws) >= 40 else (draws.min(), draws.max())
    )
    spread = scaled(name, draws).std(ddof=1) if len(draws) > 2 else np.nan
    distance = scaled(name, np.array(value)) - scaled(name, draws).mean()
    return Null(
        kind=kind,
        mean=float(draws.mean()),
        low=float(low),
        high=float(high),
        count=len(draws),
        sigmas=_ratio(distance, spread),
        p=p_value(value, draws) if len(draws) >= FEWEST_FOR_P else None,
        p_adjusted=p_adjusted,
    )


def from_copy(
    name: str, model: Float[np.ndarray, " b"], copy: Float[np.ndarray, " b"]
) -> Null | None:
    """The null of one random copy, from the bootstrap of both over the same passages.

    Args:
        name: of the statistic.
        model: its value, then its bootstrap values, in the model.
        copy: the same in the copy.
    """
    if not (np.isfinite(model[0]) and np.isfinite(copy[0])):
        return None
    difference = scaled(name, model) - scaled(name, copy)
    low, high = np.quantile(copy[1:], [0.025, 0.975])
    sigmas = _ratio(difference[0], difference[1:].std(ddof=1))
    return Null("random_init", float(copy[0]), float(low), float(high), 1, sigmas)


def p_value(value: float, draws: Float[np.ndarray, " k"]) -> float:
    """(1 + #{draws >= value}) / (1 + #draws)."""
    return float((1 + np.count_nonzero(draws >= value)) / (1 + len(draws)))


def max_statistic(
    name: str, values: Float[np.ndarray, " t"], draws: Float[np.ndarray, "t k"]
) -> Float[np.ndarray, " t"]:
    """p-values of t tests, adjusted for looking at all of them: see the module.

    Args:
        name: of the statistic.
        values: observed.
        draws: k draws of each test under its null, independent between tests.

    Returns:
        Adjusted p-values; NaN where a test has no value or its draws do not differ.

    Example:
        >>> draws = np.random.default_rng(0).standard_normal((10, 999))
        >>> max_statistic("gain_rho", np.r_[6.0, 2.5, np.zeros(8)], draws)[:2].round(2)
        array([0.  , 0.06])
    """
    scale, observed = scaled(name, draws), scaled(name, values)
    spread = scale.std(1, ddof=1)
    usable = np.isfinite(observed) & np.isfinite(scale).all(1) & (spread > 0)
    result = np.full(len(values), np.nan)
    if usable.any():
        center, spread = scale[usable].mean(1), spread[usable]
        largest = ((scale[usable] - center[:, None]) / spread[:, None]).max(0)
        result[usable] = [p_value(z, largest) for z in (observed[usable] - center) / spread]
    return result


def _ratio(distance: float, spread: float) -> float | None:
    return (
        float(distance / spread)
        if np.isfinite(distance) and np.isfinite(spread) and spread > 0
        else None
    )
