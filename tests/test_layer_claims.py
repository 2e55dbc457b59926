"""Claims on untied layers and on the price of a move have their recorded verdicts."""

import pytest

from eigenloop.claims import Claim, Effort
from eigenloop.theory.claims.layers import ledger


@pytest.mark.parametrize("claim", ledger.claims, ids=[claim.id for claim in ledger.claims])
def test_a_claim_has_its_recorded_verdict(claim: Claim) -> None:
    finding = claim.measure(Effort(quick=True))
    assert finding.kind == claim.expected_verdict, finding
    assert finding.justification
