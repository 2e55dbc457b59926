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

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eigenloop.lens.loops.block import PARTS, LoopedBlock
from eigenloop.lens.loops.contraction import Attractor, attractor
from eigenloop.lens.loops.coordinates import deviation_coordinates, mean_coordinates, turn
from eigenloop.lens.loops.rates import Prediction, Timescale, predictions, timescale
from eigenloop.lens.loops.result import Loops
from eigenloop.lens.model.loaded import Model
from eigenloop.lens.model.pretrained import quiet
from eigenloop.lens.model.whole import Whole
from eigenloop.lens.weights.subject import Subject
from eigenloop.numerics.statistics import WINDOW
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent


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
    progress: Progress = silent,
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
        progress: told how many loops are done.

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
    x = _start(block, start)
    mode = subject.layer(layer).mode("layernorm")
    basis = mode.plane()
    noise = max(block.rounding(x), np.finfo(float).eps)
    window = WINDOW if noise < 1e-12 else (max(WINDOW[0], 1e4 * noise), 100 * noise)
    run = _run(block, x, loops, window[0], progress)
    if not np.isfinite(run.means).all():
        broken = int(np.flatnonzero(~np.isfinite(run.means).all(1))[0])
        raise InputError(
            f"the states are not finite after {broken} loops of {loaded.source}; give fewer loops"
        )
    alone, two = (LoopedBlock(loaded, layer, part, ids[:count]) for count in (1, 2))
    rates = _rates(
        (alone, two, block),
        run,
        window,
        noise=noise,
        loops=loops,
        post=circuit.norm.placement == "post",
    )
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
        mode=mode,
        rounding=noise,
        remarks=(*loaded.notes, *remarks),
        unit=loaded.stack.unit,
        **vars(rates),
    )


def _start(block: LoopedBlock, given: np.ndarray | None) -> np.ndarray:
    """X_0: the states that enter the layer in the model's own run, or those that are given."""
    x = block.start if given is None else np.asarray(given, np.float64)
    if x.shape != block.start.shape:
        raise InputError(
            f"start has shape {x.shape}; {block.start.shape} was expected, one row for each token"
        )
    return x


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
    progress: Progress,
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
        progress("loops", k, loops)
        x = block(x) if k < loops else x
    return _Run(
        means=np.stack(means), spread=np.array(spreads), cosine=np.array(cosines), kept=kept
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Rates:
    """Where one token goes, the distance to it by loop, and both rates."""

    attractor: Attractor
    distance: np.ndarray | None
    consensus: Timescale
    approach: Timescale


def _rates(
    blocks: tuple[LoopedBlock, LoopedBlock, LoopedBlock],
    run: _Run,
    window: tuple[float, float],
    *,
    noise: float,
    loops: int,
    post: bool,
) -> _Rates:
    """Measure and predict both rates of a run.

    Args:
        blocks: the layer on one token, on two, and on all.
        run: its series.
        window: the series' upper end and the coordinates' lower one.
        noise: of the layer's arithmetic, relative.
        loops: K.
        post: the normalisation comes after the sublayer.
    """
    alone, _, block = blocks

    def one(y: np.ndarray, v: np.ndarray) -> np.ndarray:
        return alone.derivative(np.broadcast_to(y, v[:, None].shape), v[:, None])[:, 0]

    found = attractor(
        lambda y: alone(y[None])[0],
        one,
        run.means[-1],
        tolerance=max(1e-12, 30 * noise),
        newton=post,
    )
    modes = predictions(blocks, found, len(block.start), post=post)
    shift, distance = turn(run.means, found)
    if modes["attractor"].mode is None:
        distance = None
    return _Rates(
        attractor=found,
        distance=distance,
        consensus=timescale(
            "consensus",
            "spread",
            run.spread,
            deviation_coordinates(block, run.kept, found, shift, loops, window[1]),
            modes["consensus"],
            window,
            period=found.period,
            post=post,
        ),
        approach=timescale(
            "attractor",
            "distance",
            distance,
            mean_coordinates(run.means, found, shift),
            modes["attractor"],
            _above_the_point(window, found, modes["attractor"]),
            period=found.period,
            post=post,
        ),
    )


def _above_the_point(
    window: tuple[float, float], found: Attractor, mode: Prediction
) -> tuple[float, float]:
    """The window above what x* may be off by: its residual over 1 - |mu|."""
    factor = mode.root(found.period)[0]
    if factor is None:
        return window
    return window[0], max(window[1], 10 * found.residual / (1 - factor**found.period))


def tokens_of(
    model: Model | Whole, text: "Path | str | Sequence[int]"
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
