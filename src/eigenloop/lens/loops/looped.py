"""A layer of a pretrained model applied to a text again and again: consensus, alignment, and the rate of either.

    spread     sqrt(mean ||x_i - xbar||^2 / mean ||x_i||^2)     0 in consensus
    distance   ||xbar - x*|| / ||x*||                           x* the fixed point of the layer on ONE token
    alignment  ||Q^T xbar||^2 / ||xbar||^2                      Q spans the principal mode of the attention sublayer

In consensus the attention patterns drop out, so that the tokens go where one token goes. Close to it both series fall
by constant factors: the spread by the spectral radius of the derivative on deviations between tokens, the distance by
that of the one-token map. For the attention sublayer alone with post-LN and without biases, x* is the principal mode
and the second factor its gap |mu_2 / mu_1|. With pre-LN the stream grows without end and no factor is constant (claim
case.prenorm.rate). A rate is given only where a series went far enough to fit it. Source: arXiv 2605.25619 for shared
weights; the rates are worked out here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eigenloop.lens.loops.block import PARTS, LoopedBlock
from eigenloop.lens.loops.contraction import Attractor, attractor, leading_eigenvalue
from eigenloop.lens.model.layouts import Placement
from eigenloop.lens.model.loaded import Model, quiet
from eigenloop.lens.model.results import frame, pair, saved
from eigenloop.lens.weights.modes import Mode
from eigenloop.lens.weights.subject import Subject
from eigenloop.numerics.statistics import MIN_POINTS, WINDOW, Rate, fit_rate
from eigenloop.system.errors import InputError

COLUMNS = ("loop", "spread", "cosine", "alignment", "enrichment", "distance")
"""Columns of the table and of loops.csv."""

PREDICTED_TOKENS = 3
"""Tokens whose deviations from consensus are linearised: under full attention any two give the factor of all."""

STEADY, SCATTER = 0.02, 0.005
"""A rate is given where its two halves differ by less than 2 % and its standard error is below 0.5 %."""


FORECAST = 2.0
"""How many loops are missing is said where the last ones fell by the predicted factor, to this factor in its log."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Timescale:
    """One of the two rates: what a series falls by in a loop.

    Args:
        name: "consensus" or "attractor".
        fitted: from the run; None where it cannot be said.
        predicted: from the derivative of the map; None where it cannot be said.
        reasons: why something is None, by "fitted" or "predicted".
    """

    name: str
    fitted: Rate | None
    predicted: float | None
    reasons: dict[str, str]

    @property
    def loops(self) -> float | None:
        """Loops in which the series falls by e, -1/log of the fitted factor, of the predicted one without a fit."""
        factor = self.fitted.value if self.fitted else self.predicted
        return float(-1 / np.log(factor)) if factor and 0 < factor < 1 else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        fitted = self.fitted
        return {
            "fitted": fitted.value if fitted else None, "stderr": fitted.stderr if fitted else None,
            "first_loop": fitted.first if fitted else None, "points": fitted.points if fitted else None,
            "predicted": self.predicted, "loops": self.loops, "reasons": self.reasons,
        }  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Loops:
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
    """

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
        what = "the whole layer" if self.part == "layer" else "the attention sublayer with its residual"
        notes = [*self.remarks, f"looped is {what} ({self.placement}-LN) of block {self.layer}, in float64"]
        if self.rounding > 1e-12:
            notes.append(f"the model computes in less than float64 inside (noise {self.rounding:.1g}); fits stop above")
        notes.append(
            f"alignment is with the principal mode of {self.mode.operator}, {self.mode.flag}, gap {self.mode.gap:.4f}; "
            f"its chance level is {self.chance:.2g}"
        )
        if self.part == "layer" and self.placement == "post":
            notes.append("the whole layer goes to its fixed point on one token, which need not be the principal mode")
        if self.tokens > PREDICTED_TOKENS:
            notes.append(f"the predicted factor of consensus is that of the first {PREDICTED_TOKENS} tokens")
        return notes

    def sentences(self) -> list[str]:
        """What happened, no more than the numbers say."""
        said = [
            f"Over {self.loops} loops the spread of {self.tokens} tokens went from {self.spread[0]:.2g} to "
            f"{self.spread[-1]:.2g}, the mean cosine between them from {self.cosine[0]:.2f} to {self.cosine[-1]:.2f}.",
            f"The mean token's alignment with the principal mode went from {self.alignment[0] / self.chance:.2g} to "
            f"{self.alignment[-1] / self.chance:.2g} times chance (of at most {1 / self.chance:.0f}).",
        ]
        for scale, what in ((self.consensus, "spread"), (self.approach, "distance to the fixed point")):
            if scale.fitted is not None:
                text = f"The {what} falls by {scale.fitted.value:.4f} in a loop"
                text += f"; predicted {scale.predicted:.4f}" if scale.predicted is not None else ""
            else:
                text = f"No rate of the {what} is given: {scale.reasons['fitted']}"
                text += f" (predicted factor {scale.predicted:.4f})" if scale.predicted is not None else ""
            said.append(f"{text}.")
        times = self.consensus.loops, self.approach.loops
        if self.consensus.fitted and self.approach.fitted and times[0] is not None and times[1] is not None:
            first = "consensus comes first" if times[0] < times[1] else "consensus does not come first"
            said.append(f"By these factors {first}: {times[0]:.2g} and {times[1]:.2g} loops for a fall by e.")
        return said

    def rows(self) -> list[tuple]:
        """One row for each loop, from 0, in the order of `COLUMNS`."""
        return [
            (
                k, float(self.spread[k]), float(self.cosine[k]), float(self.alignment[k]),
                float(self.alignment[k] / self.chance), None if self.distance is None else float(self.distance[k]),
            )
            for k in range(self.loops + 1)
        ]  # fmt: skip

    def table(self) -> Any:
        """The rows as a pandas DataFrame, or as a list of dictionaries where pandas is missing."""
        return frame(COLUMNS, self.rows())

    def save(self, directory: Path) -> Path:
        """Write loops.csv and give its path.

        Raises:
            InputError: the directory cannot be written to.
        """
        return saved(directory, "loops.csv", COLUMNS, self.rows())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what cannot be said is null, with its reason."""
        return {
            "model": self.source, "model_type": self.model_type, "layer": self.layer, "part": self.part,
            "norm": self.placement, "tokens": self.tokens, "loops": self.loops, "chance": self.chance,
            "mode": {
                "eigenvalue": pair(self.mode.eigenvalue), "flag": self.mode.flag, "gap": self.mode.gap,
                "operator": self.mode.operator,
            },
            "attractor": {
                "found": self.attractor.converged, "period": self.attractor.period,
                "residual": self.attractor.residual if np.isfinite(self.attractor.residual) else None,
            },
            "consensus": self.consensus.as_dict(), "approach": self.approach.as_dict(),
            "rounding": self.rounding, "notes": self.notes(), "sentences": self.sentences(),
            "by_loop": [dict(zip(COLUMNS, row, strict=True)) for row in self.rows()],
        }  # fmt: skip


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
        start: X_0, one row for each token, in place of the states that enter the layer in the model's own run.
        tokenizer: for a model that the caller holds.
        device: as for `load`.
        report: called with the loops done and their number.

    Raises:
        InputError: the model cannot be run or reads no text, the layer or the part does not exist, loops is below 1, or
            there are fewer than two tokens.
    """
    subject = Subject.of(model, tokenizer=tokenizer, device=device)
    loaded = subject.model
    if loops < 1:
        raise InputError(f"loops is {loops}; at least 1 is needed")
    if part not in PARTS:
        raise InputError(f"part {part!r} does not exist; choose {' or '.join(PARTS)}")
    circuit = subject.circuit(layer)
    ids, remarks = _tokens(loaded, text)
    block = LoopedBlock(loaded, layer, part, ids)
    x = block.start if start is None else np.asarray(start, np.float64)
    if x.shape != block.start.shape:
        raise InputError(f"start has shape {x.shape}; {block.start.shape} was expected, one row for each token")
    mode = subject.layer(layer).mode("layernorm")
    basis = mode.plane()
    means, spreads, cosines = [], [], []
    for k in range(loops + 1):
        mean, size = x.mean(0), np.linalg.norm(x)
        means.append(mean)
        spreads.append(float(np.linalg.norm(x - mean) / size))
        cosines.append(_mean_cosine(x))
        if report:
            report(k, loops)
        if k < loops:
            x = block(x)
        if not np.isfinite(x).all():
            raise InputError(f"the states are not finite after {k + 1} loops of {loaded.source}; give fewer loops")
    means, spread = np.stack(means), np.array(spreads)
    alone = LoopedBlock(loaded, layer, part, ids[:1])
    noise = max(block.rounding(x), np.finfo(float).eps)
    window = WINDOW if noise < 1e-12 else (max(WINDOW[0], 1e4 * noise), 100 * noise)
    post = circuit.norm.placement == "post"

    def one(y: np.ndarray, v: np.ndarray) -> np.ndarray:
        return alone.derivative(np.broadcast_to(y, v[:, None].shape), v[:, None])[:, 0]

    found = attractor(
        lambda y: alone(y[None])[0], one, means[-1],
        tolerance=max(1e-12, 30 * noise), newton=post,
    )  # fmt: skip
    predictions = _predicted(loaded, layer, part, ids, alone, found, post=post)
    distance = None if predictions["attractor"][0] is None else _distance(means, found)
    return Loops(
        source=loaded.source, model_type=loaded.model_type, layer=layer, part=part, placement=circuit.norm.placement,
        tokens=len(ids), width=loaded.stack.width, spread=spread, cosine=np.array(cosines),
        alignment=np.linalg.norm(means @ basis, axis=1) ** 2 / np.linalg.norm(means, axis=1) ** 2, distance=distance,
        mode=mode, attractor=found, rounding=noise, remarks=(*loaded.notes, *remarks),
        consensus=_timescale("consensus", "spread", spread, predictions["consensus"], window, post=post),
        approach=_timescale("attractor", "distance", distance, predictions["attractor"], window, post=post),
    )  # fmt: skip


def _tokens(model: Model, text: "Path | str | Sequence[int]") -> tuple[Int[np.ndarray, " n"], list[str]]:
    """Ids of one sequence, no longer than the context."""
    from eigenloop.lens.text.texts import passages

    if not model.takes_text:
        raise InputError(f"{model.source} ({model.model_type}) reads images; only a text model's layers can be looped")
    if isinstance(text, Path | str):
        if model.tokenizer is None:
            raise InputError(f"{model.source} has no tokenizer; pass tokenizer=, or token ids as the text")
        with quiet():
            ids = np.asarray(model.tokenizer(" ".join(passages(text).texts))["input_ids"])
    else:
        ids = np.asarray(text)
        size = int(model.module.config.vocab_size)
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer) or (ids < 0).any() or (ids >= size).any():
            raise InputError(f"token ids must be whole numbers from 0 to {size - 1}, in one row")
    remarks = []
    if model.context and len(ids) > model.context:
        remarks.append(f"the first {model.context} of {len(ids)} tokens are looped, the context of the model")
        ids = ids[: model.context]
    if len(ids) < 2:
        raise InputError(f"the text has {len(ids)} token; consensus needs at least 2")
    return ids, remarks


def _mean_cosine(x: np.ndarray) -> float:
    """Mean of cos(x_i, x_j) over i != j."""
    units = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(float).tiny)
    count = len(x)
    return float((np.sum(units.sum(0) ** 2) - np.sum(units**2)) / (count * (count - 1)))


def _distance(means: np.ndarray, found: Attractor) -> np.ndarray:
    """Of the mean token to x*; of two points in turn, to the one whose turn it is."""
    size, turns = np.linalg.norm(found.points[0]), np.arange(len(means))
    series = [
        np.linalg.norm(means - found.points[(turns + shift) % found.period], axis=1) / size
        for shift in range(found.period)
    ]
    return min(series, key=lambda each: each[-1])


def _predicted(
    model: Model, layer: int, part: str, ids: np.ndarray, alone: LoopedBlock, found: Attractor, *, post: bool
) -> dict[str, tuple[float | None, str]]:
    """The factors of both series at the attractor, from the derivative of the map; or None and why."""
    if not found.converged:
        if post:
            why = f"no fixed point on one token was found (residual {found.residual:.2g} after {found.steps} steps)"
        else:
            why = "with pre-LN one token comes to no fixed point, and while the stream grows no factor is constant"
        return {"consensus": (None, why), "attractor": (None, why)}
    dim, count = found.points.shape[1], min(len(ids), PREDICTED_TOKENS)
    several = LoopedBlock(model, layer, part, ids[:count])

    def one(v: np.ndarray) -> np.ndarray:
        w = v[:, None]
        for point in found.points:
            w = alone.derivative(np.broadcast_to(point, w.shape), w)
        return w[:, 0]

    def deviations(v: np.ndarray) -> np.ndarray:
        w = v.reshape(len(v), count, dim)
        for point in found.points:
            w = several.derivative(np.broadcast_to(point, w.shape), w)
        return (w - w.mean(1, keepdims=True)).reshape(v.shape)  # equal changes stay equal: once at the end is enough

    result: dict[str, tuple[float | None, str]] = {}
    for name, apply, size in (("attractor", one, dim), ("consensus", deviations, count * dim)):
        value, converged = leading_eigenvalue(apply, size, batched=True)
        factor = float(abs(value) ** (1 / found.period))
        if name == "attractor" and factor >= 1:
            why = f"the fixed point on one token that was found repels (factor {factor:.4f})"
            return {"consensus": (None, why), "attractor": (None, why)}
        result[name] = (factor, "") if converged else (None, "the eigenvalues of the derivative did not converge")
    return result


def _timescale(
    name: str, what: str, series: np.ndarray | None, predicted: tuple[float | None, str],
    window: tuple[float, float], *, post: bool
) -> Timescale:  # fmt: skip
    """Fit what can be fitted; say why not otherwise."""
    factor, missing = predicted
    reasons = {} if factor is not None else {"predicted": missing}
    if series is None:
        return Timescale(name=name, fitted=None, predicted=factor, reasons={"fitted": missing, **reasons})
    rate, why = _fitted(what, series, factor, window)
    if rate is None and factor is None and not post:
        why += f"; {missing}"
    return Timescale(name=name, fitted=rate, predicted=factor, reasons=reasons if rate else {"fitted": why, **reasons})


def _fitted(
    what: str, series: np.ndarray, predicted: float | None, window: tuple[float, float]
) -> tuple[Rate | None, str]:
    """A rate, or None and why there is none."""
    upper, lower = window
    loops, last = len(series) - 1, float(series[-1])
    rate = fit_rate(np.maximum(series, 1e-300), window=window)
    if last >= upper:
        why = (
            f"not reached in {loops} loops: the {what} is {last:.2g} after them, and a rate is fitted below {upper:.0e}"
        )
        steps = max(1, loops // 8)
        lately = (last / float(series[-1 - steps])) ** (1 / steps)
        if predicted is not None and 0 < predicted < 1:
            if lately < 1 and 1 / FORECAST < np.log(lately) / np.log(predicted) < FORECAST:
                why += f"; at the predicted factor {_loops_to(last, upper, predicted)} more loops go there"
            else:
                why += f"; each of the last {steps} loops changed it by {lately:.4f}: it is not on the way there"
        return None, why
    if not rate.converged:
        if last > lower:
            return None, f"not reached in {loops} loops: too few of them bring the {what} below {upper:.0e}; give more"
        return None, f"the {what} falls from {upper:.0e} to {lower:.0e} in fewer than {2 * MIN_POINTS} loops, too fast"
    halves = np.array_split(np.log(series[rate.first : rate.first + rate.points]), 2)
    early, late = (np.polyfit(np.arange(len(half)), half, 1)[0] for half in halves)
    if abs(early - late) > STEADY or rate.stderr > SCATTER:
        return None, (
            f"the {what} does not fall by one factor: by {np.exp(early):.4f} and {np.exp(late):.4f} in the two halves "
            f"of the {rate.points} loops fitted, standard error {rate.stderr:.1%}"
        )
    return rate, ""


def _loops_to(value: float, target: float, factor: float) -> int:
    return int(np.ceil(np.log(value / target) / -np.log(factor))) + 2 * MIN_POINTS
