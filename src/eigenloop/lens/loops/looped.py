"""A layer of a pretrained model applied to a text again and again: consensus, alignment, and the
rate of either.

    spread     sqrt(mean ||x_i - xbar||^2 / mean ||x_i||^2)     0 in consensus
    distance   ||xbar - x*|| / ||x*||                   x* the fixed point of the layer on ONE token
    alignment  ||Q^T xbar||^2 / ||xbar||^2      Q spans the principal mode of the attention sublayer

In consensus the attention patterns drop out, so that the tokens go where one token goes. Close to
it the leading mode of either series is multiplied by one factor in a loop: an eigenvalue of the
derivative on deviations between tokens, or of that of the one-token map. It is measured on the
mode's left coordinate (`rates`), because a distance holds all modes and is biased where the leader
turns slowly or is nearly tied. For the attention sublayer alone with post-LN and without biases, x*
is the principal mode and the second factor its gap |mu_2 / mu_1|. With pre-LN the stream grows
without end and no factor is constant (claim case.prenorm.rate). A rate is given only where a series
went far enough to fit it. Source: arXiv 2605.25619 for shared weights; the rates are worked out
here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from eigenloop.lens.loops.block import PARTS, LoopedBlock
from eigenloop.lens.loops.contraction import Attractor, attractor
from eigenloop.lens.loops.rates import (
    Prediction,
    Timescale,
    deviation_coordinates,
    mean_coordinates,
    predictions,
    timescale,
    turn,
)
from eigenloop.lens.model.layouts import Placement
from eigenloop.lens.model.loaded import Model, quiet
from eigenloop.lens.model.results import TabularResult, called, pair
from eigenloop.lens.weights.modes import Mode
from eigenloop.lens.weights.subject import Subject
from eigenloop.numerics.rates import WINDOWS
from eigenloop.numerics.statistics import WINDOW
from eigenloop.system.errors import InputError


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


def looped(
    model: Any,
    text: "Path | str | Sequence[int]",
    *,
    layer: int = 0,
    loops: int = 48,
    part: str = "layer",
    start: Float[np.ndarray, "n d"] | None = None,
    tokenizer: Any = None,
    device: str = "auto",
    report: Callable[[int, int], None] | None = None,
) -> Loops:
    """Apply one layer of a text model K times to a text, and measure and predict its two rates.

    Args:
        model: as for `Subject.of`.
        text: a file (a Path), a text, or token ids; what does not fit into the context is left out.
        layer: index of the block; 0 is ALBERT's shared layer.
        loops: K.
        part: "layer", or "attention" for the sublayer with its residual and normalisation alone.
        start: X_0, one row for each token, in place of the states that enter the layer in the
            model's own run.
        tokenizer: for a model that the caller holds.
        device: as for `load`.
        report: called with the loops done and their number.

    Raises:
        InputError: the model cannot be run or reads no text, the layer or the part does not exist,
            loops is below 1, or there are fewer than two tokens.
    """
    subject = Subject.of(model, tokenizer=tokenizer, device=device)
    loaded = subject.model
    if loops < 1:
        raise InputError(f"loops is {loops}; at least 1 is needed")
    if part not in PARTS:
        raise InputError(f"part {part!r} does not exist; choose {' or '.join(PARTS)}")
    circuit = subject.circuit(layer)
    ids, remarks = tokens_of(loaded, text)
    block = LoopedBlock(loaded, layer, part, ids)
    x = block.start if start is None else np.asarray(start, np.float64)
    if x.shape != block.start.shape:
        raise InputError(
            f"start has shape {x.shape}; {block.start.shape} was expected, one row for each token"
        )
    mode = subject.layer(layer).mode("layernorm")
    basis = mode.plane()
    noise = max(block.rounding(x), np.finfo(float).eps)
    window = WINDOW if noise < 1e-12 else (max(WINDOW[0], 1e4 * noise), 100 * noise)
    run = _run(block, x, loops, window[0], report)
    if not np.isfinite(run.means).all():
        broken = int(np.flatnonzero(~np.isfinite(run.means).all(1))[0])
        raise InputError(
            f"the states are not finite after {broken} loops of {loaded.source}; give fewer loops"
        )
    alone, two = (LoopedBlock(loaded, layer, part, ids[:count]) for count in (1, 2))
    post = circuit.norm.placement == "post"

    def one(y: np.ndarray, v: np.ndarray) -> np.ndarray:
        return alone.derivative(np.broadcast_to(y, v[:, None].shape), v[:, None])[:, 0]

    found = attractor(
        lambda y: alone(y[None])[0],
        one,
        run.means[-1],
        tolerance=max(1e-12, 30 * noise),
        newton=post,
    )
    modes = predictions((alone, two, block), found, len(ids), post=post)
    shift, distance = turn(run.means, found)
    scales = {
        "consensus": timescale(
            "consensus",
            "spread",
            run.spread,
            deviation_coordinates(block, run.kept, found, shift, loops, window[1]),
            modes["consensus"],
            window,
            period=found.period,
            post=post,
        ),
        "approach": timescale(
            "attractor",
            "distance",
            None if modes["attractor"].mode is None else distance,
            mean_coordinates(run.means, found, shift),
            modes["attractor"],
            _above_the_point(window, found, modes["attractor"]),
            period=found.period,
            post=post,
        ),
    }
    return Loops(
        source=loaded.source,
        model_type=loaded.model_type,
        layer=layer,
        part=part,
        placement=circuit.norm.placement,
        tokens=len(ids),
        width=loaded.stack.width,
        spread=run.spread,
        cosine=run.cosine,
        alignment=np.linalg.norm(run.means @ basis, axis=1) ** 2
        / np.linalg.norm(run.means, axis=1) ** 2,
        distance=None if modes["attractor"].mode is None else distance,
        mode=mode,
        attractor=found,
        rounding=noise,
        remarks=(*loaded.notes, *remarks),
        unit=loaded.stack.unit,
        **scales,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Run:
    """Series of a run, and the first states from which on the spread is small."""

    means: np.ndarray
    spread: np.ndarray
    cosine: np.ndarray
    kept: tuple[int, np.ndarray]


def _run(
    block: LoopedBlock,
    x: np.ndarray,
    loops: int,
    small: float,
    report: Callable[[int, int], None] | None,
) -> _Run:
    """Apply a block K times; stops where the states are not finite."""
    means, spreads, cosines, kept = [], [], [], (0, x)
    for k in range(loops + 1):
        mean = x.mean(0)
        means.append(mean)
        if not np.isfinite(x).all():
            break
        spreads.append(float(np.linalg.norm(x - mean) / np.linalg.norm(x)))
        cosines.append(_mean_cosine(x))
        if spreads[-1] >= small:
            kept = (k + 1, x)
        elif kept[0] == k:
            kept = (k, x)
        if report:
            report(k, loops)
        x = block(x) if k < loops else x
    return _Run(
        means=np.stack(means), spread=np.array(spreads), cosine=np.array(cosines), kept=kept
    )


def _above_the_point(
    window: tuple[float, float], found: Attractor, mode: Prediction
) -> tuple[float, float]:
    """The window above what x* may be off by: its residual over 1 - |mu|."""
    factor = mode.root(found.period)[0]
    if factor is None:
        return window
    return window[0], max(window[1], 10 * found.residual / (1 - factor**found.period))


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


def tokens_of(
    model: Model, text: "Path | str | Sequence[int]"
) -> tuple[Int[np.ndarray, " n"], list[str]]:
    """Ids of one sequence, no longer than the context."""
    from eigenloop.lens.text.texts import passages

    if not model.takes_text:
        raise InputError(
            f"{model.source} ({model.model_type}) reads images; only a text model's layers can be"
            " looped"
        )
    if isinstance(text, Path | str):
        if model.tokenizer is None:
            raise InputError(
                f"{model.source} has no tokenizer; pass tokenizer=, or token ids as the text"
            )
        with quiet():
            ids = np.asarray(model.tokenizer(" ".join(passages(text).texts))["input_ids"])
    else:
        ids = np.asarray(text)
        size = int(model.module.config.vocab_size)
        if (
            ids.ndim != 1
            or not np.issubdtype(ids.dtype, np.integer)
            or (ids < 0).any()
            or (ids >= size).any()
        ):
            raise InputError(f"token ids must be whole numbers from 0 to {size - 1}, in one row")
    remarks = []
    if model.context and len(ids) > model.context:
        remarks.append(
            f"the first {model.context} of {len(ids)} tokens are looped, the context of the model"
        )
        ids = ids[: model.context]
    if len(ids) < 2:
        raise InputError(f"the text has {len(ids)} token; consensus needs at least 2")
    return ids, remarks


def _mean_cosine(x: np.ndarray) -> float:
    """Mean of cos(x_i, x_j) over i != j."""
    units = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(float).tiny)
    count = len(x)
    return float((np.sum(units.sum(0) ** 2) - np.sum(units**2)) / (count * (count - 1)))
