"""The statistics of alignment from circuits and streamed states (NumPy): bases, one pass over a
text, numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from eigenloop.lens.text.gain import (
    Modes,
    energies,
    gains,
    log_growth,
    modes_of,
    relation,
    rotated_gains,
)
from eigenloop.lens.text.projections import LayerSums, Subspaces, centred, random_planes, spanned
from eigenloop.lens.text.tokens import States
from eigenloop.lens.weights.circuits import Circuit, Norm
from eigenloop.lens.weights.modes import DENSE_LIMIT, Flag
from eigenloop.lens.weights.operators import Growth
from eigenloop.lens.weights.rules import operator
from eigenloop.lens.weights.subject import LayerModes
from eigenloop.system.progress import Progress, silent

Run: TypeAlias = Callable[[Callable[[States], None]], Any]
"""Streams the states of a text to a visitor, from its beginning."""

PROJECTED = ("cosine_before", "cosine_after", "enrichment_before", "enrichment_after", "ratio")
"""Statistics of any subspace."""

CENTRED = ("centred_before", "centred_after")
"""The same enrichments with the tokens' mean direction taken out."""

RANKED = {
    "percentile": "ratio",
    "share_percentile_before": "enrichment_before",
    "share_percentile_after": "enrichment_after",
    "centred_percentile": "centred_after",
}
"""Percentiles among a layer's own eigen-subspaces, and the statistics that they rank."""

GAINS = ("gain_rho", "gain_slope")
"""Statistics of a whole eigenbasis."""


@dataclass(frozen=True, kw_only=True)
class Leader:
    """A leading mode: its eigenvalue and flag."""

    eigenvalue: complex
    flag: Flag


@dataclass(frozen=True, eq=False, kw_only=True)
class Basis:
    """What the weights of a layer give, before any token is seen.

    Args:
        leaders: of the layer, then of each head.
        subspaces: theirs, in that order.
        own: all eigen-subspaces of the leader's operator; None where there are too many dimensions.
        modes: the modes whose gain is measured; None where there are too many dimensions.
    """

    leaders: tuple[Leader, ...]
    subspaces: Subspaces
    own: Subspaces | None
    modes: Modes | None


@dataclass(eq=False, kw_only=True)
class Measured:
    """The statistics of one layer.

    Args:
        layer: in the order of the model.
        block: which block it applies.
        sigma: the tokens' scale, or 1.
        leaders: of the layer and its heads.
        subspace: the layer's leading line or plane.
        values: by name, the statistic and then its bootstrap values, (1 + B,).
        random: by name, its draws under random directions.
        others: by name, its values for the modes of the other blocks.
        heads: (values, random) of each head.
    """

    layer: int
    block: int
    sigma: float
    leaders: tuple[Leader, ...]
    subspace: Subspaces
    values: dict[str, np.ndarray] = field(default_factory=dict)
    random: dict[str, np.ndarray] = field(default_factory=dict)
    others: dict[str, np.ndarray] = field(default_factory=dict)
    heads: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = field(default_factory=list)


def basis(
    layer: LayerModes, *, rule: str, sigma: float = 1.0, heads: bool = True, own: bool = True
) -> Basis:
    """The leading modes of a layer and its heads, its eigen-subspaces, and the modes whose gain is
    measured.

    Gains belong to what multiplies the stream: F where the normalisation comes after the attention,
    F diag(gain) P where it comes before. The leader is that of the rule.

    Args:
        layer: its modes.
        rule: "modulus", "consensus" or "layernorm".
        sigma: the tokens' scale, for "layernorm" before the attention.
        heads: look at single heads too.
        own: all eigen-subspaces of the leader's operator.
    """
    circuit = layer.circuit
    source = circuit.folded() if rule == "layernorm" else circuit
    acting = circuit.folded() if circuit.norm.placement == "pre" else circuit
    wanted = [None, *range(circuit.heads)] if heads else [None]
    with threadpool_limits(1):
        found = [layer.mode(rule, head=head, sigma=sigma) for head in wanted]
        affordable = operator(source).size <= DENSE_LIMIT
        same = source.operator == acting.operator
        modes = modes_of(operator(acting)) if affordable else None
        wide = modes if same or not (own and affordable) else modes_of(operator(source))
    return Basis(
        leaders=tuple(Leader(eigenvalue=mode.eigenvalue, flag=mode.flag) for mode in found),
        subspaces=spanned(np.stack([mode.right.astype(np.complex128) for mode in found], axis=1)),
        own=spanned(wide.right) if own and wide is not None else None,
        modes=modes,
    )


def resampled(passages: int, *, seed: int, resamples: int) -> Float[np.ndarray, "b S"]:
    """How often each passage is drawn: once in the first row (the text itself), multinomially in
    the others.

    Example:
        >>> resampled(3, seed=0, resamples=2).sum(1)
        array([3., 3., 3.])
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(passages, np.full(passages, 1 / passages), size=resamples)
    return np.vstack([np.ones(passages), drawn]).astype(np.float64)


def measure(
    circuits: Mapping[int, Circuit | LayerModes],
    schedule: Sequence[int],
    run: Run,
    weights: Float[np.ndarray, "b S"],
    *,
    rule: str = "consensus",
    draws: int = 0,
    seed: int = 0,
    heads: bool = True,
    own: bool = True,
    progress: Progress = silent,
) -> list[Measured]:
    """All statistics of the layers whose blocks have a circuit, in one pass over the text (two for
    rule "layernorm").

    Args:
        circuits: raw circuits by block, or their `LayerModes`.
        schedule: the block of every layer.
        run: streams the states; each passage has a number below S.
        weights: from `resampled`.
        rule: which mode leads.
        draws: random directions; 0 for none.
        seed: of these directions.
        heads: look at single heads too.
        own: look at all eigen-subspaces of a layer (for the percentile).
        progress: told how many eigenbases are done.
    """
    layers = [t for t, block in enumerate(schedule) if block in circuits]
    passages = weights.shape[1]
    modes = {block: LayerModes.of(circuit) for block, circuit in circuits.items()}
    norms, scales = {}, {}
    if rule == "layernorm":  # what leads depends on the tokens' scale
        norms = {block: layer.circuit.norm for block, layer in modes.items()}
        scales = _scales(norms, schedule, run)
    bases: dict[int, Basis] = {}
    for done, (block, layer) in enumerate(modes.items()):
        progress("eigenbases", done, len(circuits))
        first, norms[block] = next(t for t in layers if schedule[t] == block), layer.circuit.norm
        bases[block] = basis(layer, rule=rule, sigma=scales.get(first, 1.0), heads=heads, own=own)
    progress("eigenbases", len(circuits), len(circuits))
    sums: dict[int, LayerSums] = {}
    for t in layers:
        rng = np.random.default_rng([seed, t])
        mine, width = bases[schedule[t]], len(norms[schedule[t]].gain)
        leaders = [bases[block].subspaces for block in bases if block != schedule[t]]
        others = [Subspaces(found.first[:, :1], found.second[:, :1]) for found in leaders]
        named = mine.subspaces.joined(*others)
        sums[t] = LayerSums(
            passages, named, mine.own, random_planes(rng, width, draws) if draws else None
        )

    def visit(state: States) -> None:
        if state.layer in sums:
            sigma = _sigma(norms[state.block], state.before)
            sums[state.layer].add(state.before, state.after, state.passage, sigma)

    run(visit)
    with threadpool_limits(1):
        return [_measured(t, schedule[t], bases, sums[t], weights, seed) for t in layers]


def controlled(
    measured: Sequence[Measured], run: Run, weights: Float[np.ndarray, "b S"]
) -> list[dict[str, Float[np.ndarray, " b"]]]:
    """`enrichment_after` and `centred_after` of directions that are known, in another run of the
    same text.

    Args:
        measured: the layers, whose leading directions are looked at.
        run: streams the states of the model with something taken out.
        weights: those that the layers were measured with.

    Returns:
        One for each layer, by name, (1 + B,).
    """
    sums = {
        layer.layer: LayerSums(weights.shape[1], layer.subspace, None, None) for layer in measured
    }

    def visit(state: States) -> None:
        if state.layer in sums:
            sums[state.layer].add(
                state.before, state.after, state.passage, np.ones(len(state.before))
            )

    run(visit)
    found = [_projected(sums[layer.layer], weights) for layer in measured]
    return [
        {name: each[name][:, 0] for name in ("enrichment_after", "centred_after")} for each in found
    ]


def _scales(norms: Mapping[int, Norm], schedule: Sequence[int], run: Run) -> dict[int, float]:
    """sigma of each layer's tokens, the harmonic mean."""
    totals = {t: np.zeros(2) for t, block in enumerate(schedule) if block in norms}

    def visit(state: States) -> None:
        if state.layer in totals:
            sigma = _sigma(norms[state.block], state.before).astype(np.float64)
            totals[state.layer] += [len(sigma), np.sum(1 / sigma)]

    run(visit)
    return {t: float(count / inverse) for t, (count, inverse) in totals.items()}


def _sigma(norm: Norm, x: np.ndarray) -> np.ndarray:
    return norm.sigma(x) if norm.placement == "pre" else np.ones(len(x), x.dtype)


def _measured(
    layer: int,
    block: int,
    bases: Mapping[int, Basis],
    sums: LayerSums,
    weights: np.ndarray,
    seed: int,
) -> Measured:
    mine = bases[block]
    count, rng = len(mine.leaders), np.random.default_rng([seed, layer, 1])
    leader = Subspaces(sums.named.first[:, :1], sums.named.second[:, :1])
    result = Measured(
        layer=layer, block=block, sigma=sums.sigma, leaders=mine.leaders, subspace=leader
    )
    projected = _projected(sums, weights)
    result.values = {name: column[:, 0] for name, column in projected.items()}
    result.values["participation"] = leader.participation()
    result.others = {name: column[0, count:] for name, column in projected.items()}
    pool = _random_projected(sums)
    dims = sums.named.dims
    result.random = {name: column[dims[0] - 1] for name, column in pool.items()}
    for head in range(1, count):
        # draws of its own for every test
        shuffled = rng.permutation(len(next(iter(pool.values()))[0]))
        drawn = {name: column[dims[head] - 1][shuffled] for name, column in pool.items()}
        values = {name: projected[name][:, head] for name in PROJECTED}
        result.heads.append((values, {name: drawn[name] for name in PROJECTED if name in drawn}))
    _percentiles(result, sums, weights)
    _gains(result, bases, sums, weights, rng)
    return result


def _projected(sums: LayerSums, weights: np.ndarray) -> dict[str, np.ndarray]:
    """`PROJECTED` and `CENTRED` of every named subspace, (1 + B, count)."""
    tokens = (weights @ sums.tokens)[:, None]
    chance = sums.named.dims / sums.named.first.shape[0]
    cosines, shares = (weights @ part / tokens for part in (sums.named_cosines, sums.named_shares))
    bare = [
        centred(shares[side], sums.named, sums.mean_unit(side, weights)) / chance for side in (0, 1)
    ]
    return {**_ratio(*cosines, *(shares / chance)), **dict(zip(CENTRED, bare, strict=True))}


def _random_projected(sums: LayerSums) -> dict[str, np.ndarray]:
    """Enrichment, centred or not, and ratio along random subspaces: (lines and planes, draws)."""
    chance = np.array([[1.0], [2.0]]) / sums.named.first.shape[0]
    shares = sums.random_shares / sums.tokens.sum()
    found = _ratio(*np.full((2, *shares.shape[1:]), np.nan), *(shares / chance))
    whole = np.ones((1, sums.passages))
    spaces = () if sums.random is None else (sums.random.lines(), sums.random)
    for side, name in enumerate(CENTRED if spaces else ()):
        mean, kinds = sums.mean_unit(side, whole), zip(shares[side], spaces, strict=True)
        found[name] = (
            np.concatenate([centred(share[None], space, mean) for share, space in kinds]) / chance
        )
    return {name: column for name, column in found.items() if not name.startswith("cosine")}


def _ratio(
    cosine: np.ndarray, cosine_after: np.ndarray, before: np.ndarray, after: np.ndarray
) -> dict[str, np.ndarray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = after / before
    values = (cosine, cosine_after, before, after, np.where(np.isfinite(ratio), ratio, np.nan))
    return dict(zip(PROJECTED, values, strict=True))


def _percentiles(result: Measured, sums: LayerSums, weights: np.ndarray) -> None:
    """The share of the layer's other eigen-subspaces whose ratio, or share per dimension, is
    smaller, in per cent.
    """
    if sums.own is None:
        return
    shares = [weights @ part / (weights @ sums.tokens)[:, None] for part in sums.own_shares]
    chance = sums.own.dims / sums.named.first.shape[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = shares[1] / shares[0]
    bare = centred(shares[1], sums.own, sums.mean_unit(1, weights))
    leader = sums.named.first[:, 0]
    nearest = int(np.argmax((leader @ sums.own.first) ** 2 + (leader @ sums.own.second) ** 2))
    for name, own in zip(
        RANKED, (ratio, shares[0] / chance, shares[1] / chance, bare / chance), strict=True
    ):
        rest = np.delete(own, nearest, axis=1) if own.shape[1] > 1 else own
        value = result.values[RANKED[name]]
        result.values[name] = np.where(
            np.isfinite(value), 100 * np.mean(rest < value[:, None], axis=1), np.nan
        )
        for drawn in (result.random, result.others):
            if RANKED[name] in drawn:
                drawn[name] = (
                    100 * np.searchsorted(np.sort(own[0]), drawn[RANKED[name]]) / own.shape[1]
                )


def _gains(
    result: Measured,
    bases: Mapping[int, Basis],
    sums: LayerSums,
    weights: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Rank correlation and slope of the gains: in its own basis, in the others', and in its own
    turned at random.
    """
    modes = bases[result.block].modes
    if modes is None:
        return
    factor = Growth(shift=1.0, scale=sums.sigma)
    means, first = sums.passage_means(), weights[:1]
    expected = log_growth(modes.values, factor)
    own = gains(energies(modes.left, means), weights)
    result.values.update(zip(GAINS, relation(own, expected), strict=True))
    swapped = [
        other.modes
        for block, other in bases.items()
        if block != result.block and other.modes is not None
    ]
    found = [
        relation(gains(energies(m.left, means), first), log_growth(m.values, factor))
        for m in swapped
    ]
    result.others.update(
        {name: np.array([each[i][0] for each in found]) for i, name in enumerate(GAINS)}
    )
    if sums.random is not None:
        drawn = rotated_gains(modes.left, means, rng, sums.random.first.shape[1])
        result.random.update(zip(GAINS, relation(drawn, expected), strict=True))
