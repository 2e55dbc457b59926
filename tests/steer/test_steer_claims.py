"""Every claim of steering has its recorded verdict, and loses it when a formula that it stands
on is broken.
"""

import numpy as np
import pytest

from eigenloop.claims import Effort
from eigenloop.claims.sources import collect, select
from eigenloop.lens.cases.dynamics import Layer
from eigenloop.steer import claims, retrieval_claims

QUICK = Effort(quick=True)
CLAIMS = {claim.id: claim for claim in claims.ledger.claims}
ATTEND, PATTERNS = Layer.attend, Layer.patterns


def transposed(layer: Layer, x: np.ndarray) -> np.ndarray:
    return (layer.patterns(x) @ x @ layer.heads).sum(0)


def shifted(layer: Layer, x: np.ndarray) -> np.ndarray:
    return ATTEND(layer, x) + 0.01


def higher(matrix: np.ndarray, u: np.ndarray) -> float:
    return 0.8 * THRESHOLD(matrix, u)


def doubled(layer: Layer, x: np.ndarray) -> np.ndarray:
    return 2 * ATTEND(layer, x)


THRESHOLD = claims.threshold
BREAKS = {
    "steer.symmetric.threshold": (claims, "threshold", higher),
    "steer.symmetric.steps": (Layer, "attend", doubled),
    "steer.symmetric.sign": (Layer, "attend", lambda layer, x: -4 * ATTEND(layer, x)),
    "steer.signed.threshold": (claims, "threshold", higher),
    "steer.signed.tilt": (Layer, "attend", transposed),
    "steer.unshared.threshold": (Layer, "attend", doubled),
    "steer.attention.odd": (Layer, "attend", shifted),
}


def test_verify_finds_them():
    found = {entry.claim.id for entry in select(collect(), "steer")}
    assert found - {claim.id for claim in retrieval_claims.ledger.claims} == CLAIMS.keys()
    assert CLAIMS.keys() == BREAKS.keys()


@pytest.mark.parametrize("name", CLAIMS)
def test_the_verdict_is_the_recorded_one(name):
    result = CLAIMS[name].run(QUICK)
    assert result.as_expected, result.finding


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_formula_is_noticed(name, monkeypatch):
    monkeypatch.setattr(*BREAKS[name])
    assert not CLAIMS[name].run(QUICK).as_expected


def test_layers_of_their_own_grow_on_the_complement_by_the_mean_logarithm():
    """The growth rate of a product of 4000 random matrices, by a naive recursion, against the
    claim's threshold.
    """
    rng = np.random.default_rng(7)
    u = np.eye(claims.DIM)[0]
    y, logs = rng.standard_normal(claims.DIM) * (1 - u), []
    for _ in range(4000):
        y = y / np.sqrt(sum(y**2))
        y = y + claims.complement(rng, u, leader=2.0, rest=0.99) @ y
        logs.append(np.log(np.sqrt(sum(y**2))))
    found = CLAIMS["steer.unshared.threshold"].run(QUICK).finding
    error = np.hypot(np.std(logs) / np.sqrt(len(logs)), np.std(logs) / np.sqrt(1000))
    assert abs(np.mean(logs) - found.expected) < 4 * error
    assert found.numbers["threshold of kappa"] < 0.3 * found.numbers["kappa* with shared weights"]


def test_all_are_eigenloops_own():
    assert {(claim.provenance, claim.expected_verdict) for claim in CLAIMS.values()} == {
        ("ours", "holds")
    }
