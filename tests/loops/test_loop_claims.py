"""The claims on loops have the verdict that is recorded, at the quick effort."""

import pytest

from eigenloop.claims import Effort
from eigenloop.loops.claims import ledger

SLOW = {"loops.verdict", "loops.bracket"}


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(each, marks=[pytest.mark.slow] * (each.id in SLOW), id=each.id)
        for each in ledger.claims
    ],
)
def test_a_claim_has_its_recorded_verdict(claim):
    result = claim.run(Effort(quick=True))
    assert result.as_expected, result.verdict


def test_every_claim_is_eigenloops_own():
    assert {claim.provenance for claim in ledger.claims} == {"ours"}
    assert len(ledger.claims) == 11
