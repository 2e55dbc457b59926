"""The rule of the headline: do the tokens of a text align with the direction that a layer leads by?

A layer says yes where, after its attention sublayer, all of these hold:

    random       the adjusted p of the share against random directions is below 0.05
    own          the share's percentile among the layer's own eigen-subspaces is at least 95
    values       the share's interval lies above that of the same text with W_V = 0
    coordinate   the participation ratio is at least 2: below, more than half of one coordinate lies
                 in the direction
    centred      the first three hold for the share without the tokens' mean direction too

docs/lens-alignment.md has the reasons; it stood there before any model was judged by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from eigenloop.lens.text.estimates import ALIKE, LEVEL, Estimate, LayerAlignment
from eigenloop.system.wording import joined

Says: TypeAlias = Literal["yes", "no", "undecided"]

FEWEST_PERCENT = 95.0
"""Of the layer's other eigen-subspaces, how many must hold less: the level 0.05 as a rank."""

FEWEST_COORDINATES = 2.0
"""Participation ratio: since sum_i P_ii^2 <= k max_i P_ii, below 2 some P_ii is above 1/2."""

FAILED = {
    "random": "is not clearly beyond random directions",
    "own": "is not among the top 5 % of the layer's own eigen-directions",
    "values": "is not clearly above that of the same text run with W_V = 0",
    "coordinate": "is that in one outlier coordinate",
    "centred": "does not stand out so without the tokens' mean direction",
}
"""What is said of the share in the leading direction where a condition fails."""

CONDITIONS = tuple(FAILED)
"""By name, in the order in which they are told."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the rule says of one layer.

    Args:
        layer: in the order in which the model applies them.
        conditions: by the names of `CONDITIONS`, whether each holds; None where it could not be
            measured.
        reasons: why, for those.
    """

    layer: int
    conditions: Mapping[str, bool | None]
    reasons: Mapping[str, str]

    @property
    def says(self) -> Says:
        """Yes where all hold; no where one fails; undecided where none fails and one is not
        known.
        """
        known = self.conditions.values()
        return "no" if False in known else "undecided" if None in known else "yes"

    @property
    def failed(self) -> tuple[str, ...]:
        """The conditions that do not hold."""
        return tuple(name for name, holds in self.conditions.items() if holds is False)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What the rule says of a model and a text.

    Args:
        source: the model.
        text: the text.
        layers: of each layer looked at.
        unit: what they are called: "layer", or "loop" where one block is applied again and again.
    """

    source: str
    text: str
    layers: Sequence[Verdict]
    unit: str = "layer"

    def saying(self, says: Says) -> tuple[int, ...]:
        """The layers that say it."""
        return tuple(each.layer for each in self.layers if each.says == says)

    @property
    def says(self) -> Literal["yes", "some", "no", "undecided"]:
        """Yes where all layers do, "some" where some do, no where none does and one says no."""
        agree, unknown = self.saying("yes"), self.saying("undecided")
        if agree:
            return "yes" if len(agree) == len(self.layers) else "some"
        return "undecided" if len(unknown) == len(self.layers) else "no"

    def failed(self) -> dict[str, tuple[int, ...]]:
        """The layers in which each condition fails, by its name; those that fail nowhere are
        left out.
        """
        found = {
            name: tuple(each.layer for each in self.layers if name in each.failed)
            for name in CONDITIONS
        }
        return {name: layers for name, layers in found.items() if layers}

    def answer(self) -> str:
        """The answer in words: how many layers say yes, and in how many of the others each
        condition fails.
        """
        count, agree, unknown = len(self.layers), self.saying("yes"), self.saying("undecided")
        if self.says == "yes":
            lead = (
                f"Yes, in the one {self.unit}"
                if count == 1
                else f"Yes, in all {count} {self.unit}s"
            )
            return (
                f"{lead}: the tokens' share in it is beyond random directions, among the top 5 % of"
                " the layer's own eigen-directions and above that of the same text run with W_V ="
                " 0, and all this without the tokens' mean direction too."
            )
        failed = sorted(self.failed().items(), key=lambda item: -len(item[1]))
        said = []
        if agree:
            said.append(
                f"In some {self.unit}s, {len(agree)} of {count} ({_named(agree, self.unit)})."
            )
        if failed:
            lead = (
                "In the others the"
                if agree
                else "No: the"
                if count == 1
                else f"No, in none of {count} {self.unit}s. The"
            )
            told = [
                FAILED[name] + (f" (in {len(layers)})" if count > 1 else "")
                for name, layers in failed
            ]
            said.append(f"{lead} tokens' share in it {joined(told)}.")
        if unknown:
            reasons = dict.fromkeys(why for each in self.layers for why in each.reasons.values())
            said.append(f"Not decided in {_named(unknown, self.unit)}: {'; '.join(reasons)}.")
        return " ".join(said)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "says": self.says,
            "answer": self.answer(),
            "layers": {says: list(self.saying(says)) for says in ("yes", "no", "undecided")},
            "failed": {name: list(layers) for name, layers in self.failed().items()},
        }


def judged(layer: LayerAlignment) -> Verdict:
    """The rule applied to one layer."""
    found = {
        "random": _below(layer["enrichment_after"]),
        "own": _least(layer["share_percentile_after"], FEWEST_PERCENT),
        "values": _above(layer["enrichment_after"], layer["no_values_after"]),
        "coordinate": _least(layer["participation"], FEWEST_COORDINATES),
    }
    bare = [
        _below(layer["centred_after"]),
        _least(layer["centred_percentile"], FEWEST_PERCENT),
        _above(layer["centred_after"], layer["no_values_centred"]),
    ]
    gone = layer["centred_after"].reason == ALIKE or False in bare
    found["centred"] = False if gone else next((each for each in bare if each is not True), True)
    return Verdict(
        layer=layer.layer,
        conditions={
            name: holds if isinstance(holds, bool) else None for name, holds in found.items()
        },
        reasons={name: holds for name, holds in found.items() if isinstance(holds, str)},
    )


def _below(found: Estimate) -> bool | str:
    """Is it beyond random directions? Or why nobody knows."""
    null = found.nulls.get("random")
    if found.value is None or null is None or null.p_adjusted is None:
        return found.reason or "too few random directions for a p-value"
    return null.p_adjusted < LEVEL


def _least(found: Estimate, level: float) -> bool | str:
    return found.reason or "not measured" if found.value is None else found.value >= level


def _above(found: Estimate, control: Estimate) -> bool | str:
    if found.low is None or control.high is None:
        return found.reason or control.reason or "not measured"
    return found.low > control.high


def _named(layers: Sequence[int], unit: str, most: int = 12) -> str:
    listed = ", ".join(map(str, layers[:most])) + (", ..." if len(layers) > most else "")
    return f"{unit}{'' if len(layers) == 1 else 's'} {listed}"
