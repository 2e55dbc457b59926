"""What the loops of a layer did to a text: its series, rates and words."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from eigenloop.lens.loops.contraction import Attractor
from eigenloop.lens.loops.rates import Timescale
from eigenloop.lens.model.layouts import Placement
from eigenloop.lens.model.results import TabularResult, called, pair
from eigenloop.lens.weights.modes import Mode
from eigenloop.numerics.rates import WINDOWS


@dataclass(frozen=True, eq=False, kw_only=True)
class Loops(TabularResult):
    """What K loops of a layer did to a text.

    Args:
        source: the model, as it was named.
        model_type: its architecture.
        layer: index of the block.
        part: "layer" or "attention".
        placement: of the normalisation.
        tokens: how many.
        width: d.
        spread: by loop, (K + 1,).
        cosine: mean cosine between two different tokens.
        alignment: cos^2 of the mean token and the principal mode; chance is k/d.
        distance: of the mean token to x*; None where there is no x*.
        mode: the principal mode of the attention sublayer by the rule "layernorm".
        attractor: x*, as far as it was found.
        consensus: the first rate.
        approach: the second.
        rounding: of the layer's arithmetic, relative.
        remarks: of the model and the text.
        unit: what a block is called (`called`).
    """

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "loop",
        "spread",
        "cosine",
        "alignment",
        "enrichment",
        "distance",
    )
    """Columns of the table and of loops.csv."""
    FILE: ClassVar[str] = "loops.csv"

    source: str
    model_type: str
    layer: int
    part: str
    placement: Placement
    tokens: int
    width: int
    spread: Float[np.ndarray, " k"]
    cosine: Float[np.ndarray, " k"]
    alignment: Float[np.ndarray, " k"]
    distance: Float[np.ndarray, " k"] | None
    mode: Mode
    attractor: Attractor
    consensus: Timescale
    approach: Timescale
    rounding: float
    remarks: tuple[str, ...] = ()
    unit: str = "layer"

    @property
    def loops(self) -> int:
        """K."""
        return len(self.spread) - 1

    @property
    def chance(self) -> float:
        """The mean alignment of a random direction, k/d."""
        return self.mode.plane().shape[1] / self.width

    def notes(self) -> list[str]:
        """What a reader has to know beside the numbers, in sentences."""
        what = (
            "the whole layer"
            if self.part == "layer"
            else "the attention sublayer with its residual"
        )
        what += f" ({self.placement}-LN) of {called(self.unit, self.layer)}"
        notes = [*self.remarks, f"looped is {what}, in float64"]
        if self.rounding > 1e-12:
            notes.append(
                f"the model computes in less than float64 inside (noise {self.rounding:.1g}); fits"
                " stop above"
            )
        notes.append(
            f"alignment is with the principal mode of {self.mode.operator}, {self.mode.flag}, gap"
            f" {self.mode.gap:.4f}; its chance level is {self.chance:.2g}"
        )
        if self.part == "layer" and self.placement == "post":
            notes.append(
                "the whole layer goes to its fixed point on one token, which need not be the"
                " principal mode"
            )
        if self.consensus.fitted or self.approach.fitted:
            notes.append(
                "factors are those of the coordinate on the leading mode's left vector, which a"
                " loop multiplies by its eigenvalue; errors are the largest difference between one"
                f" of {WINDOWS} windows and the whole"
            )
        return notes

    def sentences(self) -> list[str]:
        """What happened, no more than the numbers say."""
        said = [
            (
                f"Over {self.loops} loops the spread of {self.tokens} tokens went from"
                f" {self.spread[0]:.2g} to {self.spread[-1]:.2g}, the mean cosine between them from"
                f" {self.cosine[0]:.2f} to {self.cosine[-1]:.2f}."
            ),
            (
                "The mean token's alignment with the principal mode went from"
                f" {self.alignment[0] / self.chance:.2g} to {self.alignment[-1] / self.chance:.2g}"
                f" times chance (of at most {1 / self.chance:.0f})."
            ),
        ]
        scales = (
            (self.consensus, "the tokens' differences"),
            (self.approach, "the distance to the fixed point"),
        )
        said += [f"{_told(scale, what)}." for scale, what in scales]
        times = self.consensus.loops, self.approach.loops
        if (
            self.consensus.fitted
            and self.approach.fitted
            and times[0] is not None
            and times[1] is not None
        ):
            first = (
                "consensus comes first" if times[0] < times[1] else "consensus does not come first"
            )
            said.append(
                f"By these factors {first}: {times[0]:.2g} and {times[1]:.2g} loops for a fall"
                " by e."
            )
        return said

    def rows(self) -> list[tuple]:
        """One row for each loop, from 0, in the order of `COLUMNS`."""
        return [
            (
                k,
                float(self.spread[k]),
                float(self.cosine[k]),
                float(self.alignment[k]),
                float(self.alignment[k] / self.chance),
                None if self.distance is None else float(self.distance[k]),
            )
            for k in range(self.loops + 1)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what cannot be said is null, with its reason."""
        return {
            "model": self.source,
            "model_type": self.model_type,
            "layer": self.layer,
            "part": self.part,
            "norm": self.placement,
            "tokens": self.tokens,
            "loops": self.loops,
            "chance": self.chance,
            "mode": {
                "eigenvalue": pair(self.mode.eigenvalue),
                "flag": self.mode.flag,
                "gap": self.mode.gap,
                "operator": self.mode.operator,
            },
            "attractor": {
                "found": self.attractor.converged,
                "period": self.attractor.period,
                "residual": (
                    self.attractor.residual if np.isfinite(self.attractor.residual) else None
                ),
            },
            "consensus": self.consensus.as_dict(),
            "approach": self.approach.as_dict(),
            "rounding": self.rounding,
            "notes": self.notes(),
            "sentences": self.sentences(),
            "by_loop": [dict(zip(self.COLUMNS, row, strict=True)) for row in self.rows()],
        }


def _told(scale: Timescale, what: str) -> str:
    """A rate in words, measured beside predicted, or why there is none."""
    foretold = ""
    if scale.predicted is not None and scale.angle is not None:
        foretold = f"{scale.predicted:.4f}{_turning(scale.angle)}"
    if scale.fitted is None:
        predicted = f" (predicted factor {foretold})" if foretold else ""
        return f"No rate of {what} is given: {scale.reasons['fitted']}{predicted}"
    rate = scale.fitted
    text = (
        f"The leading mode of {what} is multiplied by {rate.modulus:.4f} \N{PLUS-MINUS SIGN}"
        f" {rate.error:.1g}"
    )
    text += f" in a loop{_turning(rate.angle, rate.angle_error)}; predicted {foretold}"
    if scale.differs():
        text += f", which is {scale.errors_apart:.0f} errors away"
    return text


def _turning(angle: float, error: float | None = None) -> str:
    """The turn of a factor that is not positive."""
    if angle == 0:
        return ""
    if abs(angle) == np.pi:
        return " with its sign changed"
    within = "" if error is None else f" \N{PLUS-MINUS SIGN} {np.degrees(error):.1g}"
    return f" and turned by {np.degrees(angle):.2f}{within} degrees"
