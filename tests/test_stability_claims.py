"""The claims on stability have the recorded verdicts; tools/mutants.toml breaks the formulas
under each.
"""

import numpy as np
import pytest

from eigenloop.claims import Claim, Effort
from eigenloop.theory.claims import hessians, stability

CLAIMS = {
    claim.id: claim for claim in stability.ledger.claims if claim.id.startswith("beyond.stability.")
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_the_verdict_is_the_recorded_one_and_rests_on_a_sign(claim: Claim) -> None:
    found = claim.measure(Effort(quick=True))
    assert found.kind == claim.expected_verdict, found
    signs = np.atleast_1d(np.array(found.numbers["sign"], dtype=np.float64))
    assert np.all(abs(signs) == 1)  # None would be NaN
    assert np.all(abs(np.array(found.measured)) > np.array(found.numbers["error"]))


def test_a_sign_within_its_error_gives_no_verdict() -> None:
    assert hessians._kind(hessians.Lowest(1e-15, 1e-14, "antisymmetric")) == "holds only"
    assert hessians._kind(hessians.Lowest(-1e-13, 1e-14, "antisymmetric")) == "fails"
