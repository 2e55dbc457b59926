"""What the cases share: their ledger, how tokens and layers are drawn, how verdicts are reached."""

from collections.abc import Mapping, Sequence

import numpy as np

from eigenloop.claims import Curve, Finding, Ledger, Plot, Value, within
from eigenloop.lens.cases.dynamics import FeedForward, Layer
from eigenloop.lens.cases.generators import growth_spectrum, split, with_spectrum
from eigenloop.lens.weights.circuits import Norm
from eigenloop.numerics.power import normalize

ledger = Ledger("arXiv 2605.25619")

DIM, TOKENS = 16, 8
"""d and n of every case that says nothing else."""

EPS = float(np.finfo(float).eps)

GAPS = (0.8, 0.9, 0.95)
"""Planted |mu_2 / mu_1|."""

RATE = 0.02
"""How near a fitted factor must be to the theory's."""

FITTED = (
    "fitted in the second half of the loops from 1e-4 to 1e-11, where faster modes have faded; 2 %"
    " tells gaps apart"
)


def tokens(rng: np.random.Generator) -> np.ndarray:
    """Gaussian tokens."""
    return rng.standard_normal((TOKENS, DIM))


def together(rng: np.random.Generator) -> np.ndarray:
    """Gaussian tokens around a common Gaussian vector, at 0.3 of its size."""
    return rng.standard_normal(DIM) + 0.3 * tokens(rng)


def general(
    rng: np.random.Generator, *, gap: float, heads: int = 1, leader: float = 1.6, angle: float = 0.0
) -> np.ndarray:
    """Heads that sum to an F with planted growth factors that is not normal."""
    matrix = with_spectrum(
        rng, growth_spectrum(DIM, gap=gap, leader=leader, angle=angle), condition=10.0
    )
    return split(rng, matrix, heads=heads)


def centred(rng: np.random.Generator, *, gap: float) -> np.ndarray:
    """One head whose P (I + F) has the planted gap: F = Q B Q^T + 1 a^T, with Q a basis of the
    complement of 1.
    """
    inner = with_spectrum(rng, growth_spectrum(DIM - 1, gap=gap), condition=3.0)
    q = np.linalg.svd(np.ones((1, DIM)))[2][1:].T
    return (q @ inner @ q.T + np.outer(np.ones(DIM), rng.standard_normal(DIM)) / np.sqrt(DIM))[None]


def full_layer(rng: np.random.Generator, *, causal: bool, leader: float = 1.6) -> Layer:
    """Post-LN with random gains and biases, two heads and a feed-forward sublayer."""

    def norm() -> Norm:
        gain, bias = 1 + 0.2 * rng.standard_normal(DIM), 0.3 * rng.standard_normal(DIM)
        return Norm(gain=gain, bias=bias, eps=1e-12, kind="layer", placement="post")

    wide = 4 * DIM
    feedforward = FeedForward(
        up=rng.standard_normal((wide, DIM)) / np.sqrt(DIM) / 2,
        down=rng.standard_normal((DIM, wide)) / np.sqrt(wide),
        up_bias=0.3 * rng.standard_normal(wide),
        down_bias=0.3 * rng.standard_normal(DIM),
        norm=norm(),
    )
    return Layer(
        heads=split(
            rng,
            with_spectrum(rng, growth_spectrum(DIM, gap=0.5, leader=leader), condition=3.0),
            heads=2,
        ),
        scores=rng.standard_normal((2, DIM, DIM)) / DIM / 4,
        causal=causal,
        bias=0.3 * rng.standard_normal(DIM),
        norm=norm(),
        feedforward=feedforward,
    )


def eigenvector(matrix: np.ndarray, eigenvalue: float) -> np.ndarray:
    """The unit right eigenvector of a real eigenvalue."""
    values, vectors = np.linalg.eig(matrix)
    return normalize(np.real(vectors[:, np.argmin(abs(values - eigenvalue))]))


def loops_for(gap: float) -> int:
    """Enough for a sine of 1e-11."""
    return int(28 / -np.log(gap)) + 20


def shown(name: str, series: np.ndarray) -> Curve:
    """A series by loop, with round-off cut off."""
    return Curve(name, range(len(series)), np.maximum(series, 1e-16))


def worst_of(
    errors: Sequence[float],
    *,
    tolerance: float,
    justification: str,
    numbers: Mapping[str, Value],
    plot: Plot | None = None,
) -> Finding:
    """The largest relative error; NaN, where a rate could not be fitted, fails."""
    return within(
        measured=float(np.max(np.abs(errors))),
        expected=0.0,
        tolerance=tolerance,
        justification=justification,
        relative=False,
        numbers=numbers,
        plot=plot,
    )


def settled(
    good: bool | np.bool_,
    *,
    measured: Value,
    expected: Value,
    tolerance: float | None,
    justification: str,
    numbers: Mapping[str, Value],
    plot: Plot | None = None,
) -> Finding:
    """`holds` where every part of a statement was measured, `fails` where one was not."""
    return Finding(
        "holds" if good else "fails",
        measured,
        expected,
        tolerance,
        justification,
        "",
        numbers,
        plot,
    )
