"""Every claim of steering has its recorded verdict, and loses it when a formula that it stands on is broken."""

import numpy as np
import pytest

from eigenloop.claims import Effort
from eigenloop.claims.measuring import collect, select
from eigenloop.lens.cases.dynamics import Layer
from eigenloop.steer import claims

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
    "steer.unshared.threshold": (claims, "threshold", lambda matrix, u: 0.05),
    "steer.attention.odd": (Layer, "attend", shifted),
}


def test_verify_finds_them():
    assert {entry.claim.id for entry in select(collect(), "steer")} == CLAIMS.keys() == BREAKS.keys()


@pytest.mark.parametrize("name", CLAIMS)
def test_the_verdict_is_the_recorded_one(name):
    result = CLAIMS[name].run(QUICK)
    assert result.as_expected, result.finding


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_formula_is_noticed(name, monkeypatch):
    monkeypatch.setattr(*BREAKS[name])
    assert not CLAIMS[name].run(QUICK).as_expected
