"""The claims about the paper's figures: each has its recorded verdict, which a broken formula
under it changes.
"""

import pytest

from eigenloop.claims import Effort
from eigenloop.figures import claims

CLAIMS = {
    claim.id: claim
    for ledger in (claims.points_ledger, claims.text_ledger)
    for claim in ledger.claims
}


@pytest.mark.parametrize("id", CLAIMS)
def test_the_verdict_is_the_recorded_one(id: str) -> None:
    """Under a mutant of tools/mutants.toml it is of another kind."""
    found = CLAIMS[id].run(Effort(quick=True)).finding
    assert found.kind == CLAIMS[id].expected_verdict, found.note


def test_a_statement_about_our_runs_says_their_settings_in_its_evidence() -> None:
    found = CLAIMS["fig5.longer"].run(Effort(quick=True)).finding
    assert {"learning rate", "batch", "seed", "steps", "training samples"} <= set(found.numbers)
