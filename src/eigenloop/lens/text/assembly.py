"""Numbers of layers and heads to estimates: intervals, nulls, p-values adjusted over families."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigenloop.lens.text.aligned import Alignment
from eigenloop.lens.text.estimates import ALIKE, STATISTICS, Estimate, HeadAlignment, LayerAlignment
from eigenloop.lens.text.measure import (
    GAINS,
    PROJECTED,
    Measured,
)
from eigenloop.lens.text.nulls import Kind, Null, from_copy, from_draws, max_statistic

WIDE = "the eigenbasis of so wide a layer is not computed, so percentiles and gains are missing"
FEW = "too few modes of a layer differ in their growth for a correlation"
NO_SHARE = "no token has a share before"
NO_RUN = "states from elsewhere came without runs that leave something out"


def assembled(
    real: Sequence[Measured],
    baseline: Sequence[Measured] | None,
    *,
    trained: int | None = None,
    **about: Any,
) -> Alignment:
    """Numbers to estimates: intervals, nulls, and p-values adjusted over layers, and over all
    heads.

    Args:
        real: the model's layers.
        baseline: those of the random copy.
        trained: how many of the layers the model was trained with; p-values of the others are
            adjusted over themselves.
        about: the other fields of `Alignment`.
    """
    end = len(real) if trained is None else trained
    kept, rest = (
        (real[part], baseline and baseline[part]) for part in (slice(end), slice(end, None))
    )
    return Alignment(layers=_estimated(*kept), beyond=_estimated(*rest), **about)


def _estimated(
    real: Sequence[Measured], baseline: Sequence[Measured] | None
) -> tuple[LayerAlignment, ...]:
    """The layers of one family of tests."""
    adjusted = [_adjusted([(layer.values, layer.random) for layer in real])]
    heads = _adjusted([head for layer in real for head in layer.heads])
    found, start = [], 0
    for number, layer in enumerate(real):
        copies = baseline[number].values if baseline else {}
        statistics = {
            name: _estimate(
                name,
                layer.values,
                layer.random,
                layer.others,
                copies,
                adjusted[0].get(name),
                number,
            )
            for name in STATISTICS
        }
        inner = []
        for head, (values, random) in enumerate(layer.heads):
            estimates = {
                name: _estimate(name, values, random, {}, {}, heads.get(name), start)
                for name in PROJECTED
            }
            mode, start = layer.leaders[1 + head], start + 1
            inner.append(
                HeadAlignment(
                    head=head, eigenvalue=mode.eigenvalue, flag=mode.flag, statistics=estimates
                )
            )
        mode = layer.leaders[0]
        parts = layer.subspace.coordinates()[:, 0]
        found.append(
            LayerAlignment(
                layer=layer.layer,
                block=layer.block,
                eigenvalue=mode.eigenvalue,
                flag=mode.flag,
                sigma=layer.sigma,
                coordinate=int(parts.argmax()),
                coordinate_share=float(parts.max()),
                statistics=statistics,
                heads=inner,
            )
        )
    return tuple(found)


def _adjusted(
    tests: Sequence[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]],
) -> dict[str, np.ndarray]:
    """Adjusted p-values of each statistic over a family of tests (values, draws)."""
    result = {}
    for name in STATISTICS:
        drawn = [random.get(name) for _, random in tests]
        size = max((len(each) for each in drawn if each is not None), default=0)
        if size:
            table = np.stack([np.full(size, np.nan) if each is None else each for each in drawn])
            observed = np.array(
                [values[name][0] if name in values else np.nan for values, _ in tests]
            )
            result[name] = max_statistic(name, observed, table)
    return result


def _estimate(
    name: str,
    values: Mapping[str, np.ndarray],
    random: Mapping[str, np.ndarray],
    others: Mapping[str, np.ndarray],
    copies: Mapping[str, np.ndarray],
    adjusted: np.ndarray | None,
    number: int,
) -> Estimate:
    if name not in values or not np.isfinite(values[name][0]):
        return Estimate(value=None, nulls={}, reason=_missing(name, measured=name in values))
    value, bootstrap = float(values[name][0]), values[name][1:]
    if not len(bootstrap):
        return Estimate(value=value, nulls={})
    low, high = np.nanquantile(bootstrap, [0.025, 0.975])
    p_adjusted = (
        None if adjusted is None or not np.isfinite(adjusted[number]) else float(adjusted[number])
    )
    nulls: dict[Kind, Null | None] = {}
    if name in random:
        nulls["random"] = from_draws(
            name, value, random[name], kind="random", p_adjusted=p_adjusted
        )
    if name in others:
        nulls["other_layers"] = from_draws(name, value, others[name], kind="other_layers")
    if name in copies:
        nulls["random_init"] = from_copy(name, values[name], copies[name])
    kept: dict[Kind, Null] = {kind: null for kind, null in nulls.items() if null is not None}
    return Estimate(value=value, low=float(low), high=float(high), nulls=kept)


def _missing(name: str, *, measured: bool) -> str:
    """Why a statistic has no value."""
    if not measured:
        return NO_RUN if name.startswith("no_") else WIDE
    if name in GAINS:
        return FEW
    return ALIKE if "centred" in name else NO_SHARE
