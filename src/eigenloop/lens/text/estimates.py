"""One statistic, one head, one layer of what `alignment` found (plain values)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eigenloop.lens.text.nulls import Kind, Null
from eigenloop.lens.weights.modes import Flag

STATISTICS = (
    "cosine_before", "cosine_after", "enrichment_before", "enrichment_after", "ratio", "percentile",
    "share_percentile_before", "share_percentile_after", "centred_before", "centred_after",
    "centred_percentile", "no_values_after", "no_values_centred", "no_feed_forward_after",
    "no_feed_forward_centred", "participation", "gain_rho", "gain_slope",
)  # fmt: skip
"""Of a layer; a head has the first five."""

LEVEL = 0.05
"""Below which a p-value is called significant in the sentences."""

ALIKE = "the tokens are all alike, and nothing is left without their mean direction"
"""Why there is no centred share."""

NULL_FIELDS = ("mean", "low", "high", "count", "sigmas", "p", "p_adjusted")
"""What is told of a null."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic with its 95 % bootstrap interval over passages, and its nulls.

    Args:
        value: None where there is none, with the reason.
        low: end of the interval; None where there is none because nothing of a text enters.
        high: end of the interval.
        nulls: by kind; a kind that does not apply is missing.
        reason: why there is no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    nulls: Mapping[Kind, Null]
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = {"value": self.value, "interval": None, "nulls": {}}
        if self.low is not None:
            plain["interval"] = [self.low, self.high]
        for kind, null in self.nulls.items():
            plain["nulls"][kind] = {name: getattr(null, name) for name in NULL_FIELDS}
        return {**plain, "reason": self.reason} if self.reason else plain


@dataclass(frozen=True, kw_only=True)
class HeadAlignment:
    """How the tokens of a layer lie to the leading mode of one head's F_h.

    Args:
        head: h.
        eigenvalue: of the mode.
        flag: "positive", "negative", "complex" or "zero".
        statistics: by the first five names of `STATISTICS`.
    """

    head: int
    eigenvalue: complex
    flag: Flag
    statistics: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class LayerAlignment:
    """How the tokens of a layer lie to the leading mode of its F, and how its modes grow.

    Args:
        layer: in the order in which the model applies them.
        block: the block that it applies.
        eigenvalue: of the leading mode.
        flag: "positive", "negative", "complex" or "zero".
        sigma: the tokens' scale, 1 where nothing is divided by it.
        coordinate: the coordinate of which most lies in the leading subspace.
        coordinate_share: how much of it, (QQ^T)_ii.
        statistics: by the names of `STATISTICS`.
        heads: the same for single heads.
    """

    layer: int
    block: int
    eigenvalue: complex
    flag: Flag
    sigma: float
    coordinate: int
    coordinate_share: float
    statistics: Mapping[str, Estimate]
    heads: Sequence[HeadAlignment]

    def __getitem__(self, name: str) -> Estimate:
        """A statistic by its name."""
        return self.statistics[name]
