"""Every lemma's claim has the recorded verdict; tools/mutants.toml breaks the formulas under
each.
"""

import json

import numpy as np
import pytest

from eigenloop.claims import Claim, Effort
from eigenloop.theory import step_sizes
from eigenloop.theory.bounds import inverse_square, inverse_square_constant
from eigenloop.theory.claims.lemmas import ledger

QUICK = Effort(quick=True)
CLAIMS = {claim.id: claim for claim in ledger.claims}


def test_what_is_recorded_as_not_holding_is_this() -> None:
    assert list(CLAIMS) == [claim.id for claim in ledger.claims]
    recorded = {
        claim.id: claim.expected_verdict
        for claim in ledger.claims
        if claim.expected_verdict != "holds"
    }
    assert recorded == {"rem.B.2.suboptimal": "holds only", "lemC.4.degenerate": "holds only"}


@pytest.mark.parametrize("claim", ledger.claims, ids=list(CLAIMS))
def test_a_claim_has_its_recorded_verdict(claim: Claim) -> None:
    found = claim.run(QUICK)
    assert found.finding.kind == claim.expected_verdict, found.finding
    assert claim.source.removeprefix("eigenloop, on ").startswith("arXiv 2606.00605, ")
    json.dumps(
        [found.finding.measured, found.finding.expected, dict(found.finding.numbers)],
        allow_nan=False,
    )
    assert found.finding.justification


def test_the_divergence_threshold_separates_bounded_from_unbounded_iterates() -> None:
    # F' - 1 = (F - 1)(1 + k^2 - k g), at random states and steps
    rng = np.random.default_rng(0)
    kappa, optimum = rng.uniform(0.1, 4, 200), rng.uniform(0.01, 0.4, 200)
    a, b = rng.standard_normal((2, 200))
    g = kappa * optimum

    def form(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return kappa * (a + b) ** 2 / 4 / (2 + g) + kappa * (a - b) ** 2 / 4 / (2 - g)

    k = kappa * (optimum - a * b)
    assert np.allclose(
        form(a + k * b, b + k * a) - 1,
        (form(a, b) - 1) * (1 + k * k - k * g),
        rtol=1e-10,
        atol=1e-12,
    )
    for value in (1e-3, 0.0512, 0.628, 2.0):
        kappa_c = step_sizes.divergence_kappa(value)
        assert kappa_c + kappa_c**2 * value**2 == pytest.approx(4, rel=1e-14)
        assert step_sizes.descend(0.999 * kappa_c, value, 3000).bounded
        assert not step_sizes.descend(1.001 * kappa_c, value, 3000).bounded


def test_the_inverse_square_constant_is_that_of_a_beta_integral() -> None:
    from scipy.integrate import quad

    ratio, dim = 1e-3, 5
    # c_1 = cos theta has density sin^{d-2} theta; 1/||Sq||^2 at (1, e, ..., e)
    weight = quad(lambda x: np.sin(x) ** (dim - 2), 0, np.pi)[0]
    mean = quad(
        lambda x: np.sin(x) ** (dim - 2) / (np.cos(x) ** 2 + ratio**2 * np.sin(x) ** 2) / weight,
        0,
        np.pi,
        points=[np.pi / 2],
        epsabs=0,
        epsrel=1e-10,
    )[0]
    row = np.array([[1.0] + [ratio] * (dim - 1)])
    assert inverse_square(row).value[0] == pytest.approx(mean, rel=1e-8)
    assert ratio * mean == pytest.approx(inverse_square_constant(dim), rel=5e-3)
