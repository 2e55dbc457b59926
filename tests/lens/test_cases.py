"""Every case has the recorded verdict, and loses it when a formula that it stands on is broken."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eigenloop.claims import Claim, Effort
from eigenloop.claims.sources import Source, collect, select
from eigenloop.lens.cases import complex_pairs
from eigenloop.lens.cases import layers as cases_layers
from eigenloop.lens.cases import uniform as cases
from eigenloop.lens.cases.dynamics import Layer, Unit
from eigenloop.lens.cases.generators import plain_norm, with_spectrum

QUICK = Effort(quick=True)
CLAIMS = {claim.id: claim for claim in cases.ledger.claims}


def transposed(layer: Layer, x: np.ndarray) -> np.ndarray:
    return (layer.patterns(x) @ x @ layer.heads).sum(0)


def doubled(layer: Layer, x: np.ndarray) -> np.ndarray:
    return 2 * ATTEND(layer, x)


def opposite(layer: Layer, x: np.ndarray) -> np.ndarray:
    return -ATTEND(layer, x)


def one_basis(rng: np.random.Generator, values: Any, *, condition: float = 1.0) -> np.ndarray:
    return np.diag(values)


def unnormalised(layer: Layer, x: np.ndarray) -> np.ndarray:
    return PATTERNS(layer, x) / len(x)


def blind(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Every token attends to itself alone."""
    return np.repeat(np.eye(len(x))[None], len(layer.heads), axis=0)


def closed(layer: Unit, x: np.ndarray) -> np.ndarray:
    return x


def after(dim: int, **options: Any) -> Any:
    return plain_norm(dim, **{**options, "placement": "post"})


def symmetric(rng: np.random.Generator, values: Any, *, condition: float = 1.0) -> np.ndarray:
    return with_spectrum(rng, values)


def uncentred(rng: np.random.Generator, *, gap: float) -> np.ndarray:
    return cases.general(rng, gap=gap) * 2


def swapped_bounds(values: Any, coordinates: Any, *, loops: int) -> Any:
    return BOUNDS(values, coordinates, loops=loops)[::-1]


BOUNDS = cases.sine_bounds
ATTEND, PATTERNS = Layer.attend, Layer.patterns

BREAKS: dict[str, list[tuple[Any, str, Callable[..., Any]]]] = {
    "case.uniform.exact": [(Layer, "attend", transposed), (Layer, "patterns", blind)],
    "case.uniform.rate": [(Layer, "attend", transposed), (Layer, "attend", doubled)],
    "case.uniform.normalized": [(Unit, "__call__", closed)],
    "case.left.exact": [(Layer, "attend", transposed), (Layer, "attend", doubled)],
    "case.residual.leader": [(Layer, "attend", transposed)],
    "case.consensus.first": [
        (Layer, "patterns", blind),
        (Layer, "consensus_factor", lambda layer, tokens: 0.7),
    ],
    "case.symmetric.bounds": [(Layer, "attend", doubled), (cases, "sine_bounds", swapped_bounds)],
    "case.shared.alignment": [(Layer, "attend", transposed)],
    "case.shared.gap": [(Layer, "attend", transposed), (Layer, "attend", doubled)],
    "case.complex.plane": [(Layer, "attend", transposed), (Layer, "attend", doubled)],
    "case.complex.angle": [(Layer, "attend", doubled), (complex_pairs, "with_spectrum", symmetric)],
    "case.layernorm.leader": [(Layer, "attend", transposed), (cases_layers, "centred", uncentred)],
    "case.prenorm.rate": [(cases_layers, "plain_norm", after)],
    "case.fixed_point": [(Layer, "patterns", unnormalised)],
    "case.patterns.growth": [(Layer, "attend", doubled), (Layer, "patterns", unnormalised)],
    "case.causal.first": [
        (Layer, "attend", doubled),
        (Layer, "consensus_factor", lambda layer, tokens: 0.9),
    ],
    "case.unshared.tilt": [(Layer, "attend", opposite)],
    "case.unshared.imperfect": [(cases_layers, "with_spectrum", one_basis)],
    "case.unshared.amount": [(Layer, "attend", doubled)],
    "case.unshared.depth": [(cases_layers, "with_spectrum", one_basis)],
}
NAMES = [(id, place) for id, breaks in BREAKS.items() for place in range(len(breaks))]


def test_verify_finds_every_case_by_its_beginning() -> None:
    found = select(collect([Source("eigenloop.lens.cases.uniform")]), "case")
    assert [entry.claim.id for entry in found] == list(CLAIMS)
    assert set(BREAKS) == set(CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_the_verdict_is_the_recorded_one(claim: Claim) -> None:
    found = claim.run(QUICK)
    assert found.finding.kind == claim.expected_verdict, found.finding
    assert found.finding.justification
    assert found.finding.plot is not None
    for curve in found.finding.plot.curves:
        assert len(curve.x) == len(curve.y) > 1
        assert np.all(np.isfinite(curve.y))
    assert bool(found.finding.note) == (claim.expected_verdict != "holds")


@pytest.mark.parametrize(("id", "place"), NAMES, ids=[f"{id}-{place}" for id, place in NAMES])
def test_a_broken_formula_changes_the_verdict(
    id: str, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, name, wrong = BREAKS[id][place]
    monkeypatch.setattr(target, name, wrong)
    with np.errstate(all="ignore"):
        assert CLAIMS[id].run(QUICK).finding.kind != CLAIMS[id].expected_verdict


def test_the_papers_words_stand_alone_and_ours_do_not_stand_under_its_name() -> None:
    """Two follow the abstract, with conditions that it lacks; a summary by somebody else is not
    the paper.
    """
    theirs = [claim.id for claim in CLAIMS.values() if claim.provenance == "reconstructed"]
    assert sorted(theirs) == ["case.shared.alignment", "case.unshared.tilt"]
    assert not any(claim.quote for claim in CLAIMS.values())
    ours = [claim for claim in CLAIMS.values() if claim.provenance == "ours"]
    assert len(ours) + len(theirs) == len(CLAIMS)
    # a finding of ours is its own statement
    assert all(claim.expected_verdict == "holds" for claim in ours)
