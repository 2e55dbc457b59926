"""The theorems' claims have the recorded verdicts, and lose them when a formula that they stand on is broken."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import theory_breaks
from eigenloop.claims import Claim, Effort
from eigenloop.theory.claims import power_method, theorems
from eigenloop.theory.claims.lemmas import oracle
from eigenloop.theory.population import LayerwiseNorm
from eigenloop.theory.regression import of_images, of_spectra
from eigenloop.theory.summary import Spectra

QUICK = Effort(quick=True)
CLAIMS = {claim.id: claim for module in (theorems, power_method) for claim in module.ledger.claims}


@pytest.fixture
def fresh_programs() -> Iterator[Callable[[], None]]:
    """Compiled models hold the layer that they were compiled with; trained ones are kept."""
    oracle._compiled.cache_clear()
    yield oracle._compiled.cache_clear
    oracle._compiled.cache_clear()


def test_what_is_recorded_as_not_holding_is_this() -> None:
    recorded = {claim.id: claim.expected_verdict for claim in CLAIMS.values() if claim.expected_verdict != "holds"}
    assert recorded == {"thm4.1.no_minimizer": "holds only"}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_claim_has_its_recorded_verdict(claim: Claim) -> None:
    found = claim.measure(QUICK)
    assert found.kind == claim.expected_verdict, found
    assert found.justification


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_claim_loses_its_verdict_when_a_formula_is_broken(
    claim: Claim, monkeypatch: pytest.MonkeyPatch, fresh_programs: Callable[[], None]
) -> None:
    for name in theory_breaks.BROKEN_BY[claim.id]:
        fresh_programs()
        place, attribute, wrong, _ = theory_breaks.BREAKS[name]
        with monkeypatch.context() as patch:
            patch.setattr(place, attribute, wrong)
            assert claim.measure(QUICK).kind != claim.expected_verdict, f"{name}: nobody noticed"


def test_every_claim_is_broken_in_the_code_under_it_and_no_break_stands_for_many() -> None:
    assert list(theory_breaks.BROKEN_BY) == list(theory_breaks.CLAIMS)
    uses = Counter(name for names in theory_breaks.BROKEN_BY.values() for name in names)
    assert set(uses) == set(theory_breaks.BREAKS)
    assert {name: count for name, count in uses.items() if count > theory_breaks.MOST_CLAIMS} == {}
    inside = {name: b.broken for name, b in theory_breaks.BREAKS.items() if ".claims" in b.broken}
    assert inside == {}
    assert set(theory_breaks.listed_mutants()) & set(theory_breaks.CLAIMS)


def test_the_table_of_breaks_is_that_of_the_docs() -> None:
    assert theory_breaks.PAGE.read_text() == theory_breaks.page(), "run python tests/theory_breaks.py"


@pytest.mark.parametrize("target", theorems.TARGETS)
def test_the_regressions_standard_errors_are_the_scatter_of_its_estimates(target: Any) -> None:
    rng, values = np.random.default_rng(0), np.array([3.0, 1.0, 0.5])
    found = []
    for _ in range(400):
        q = rng.standard_normal((500, 3))
        q /= np.linalg.norm(q, axis=1, keepdims=True)
        one, many = of_images(q, q * values, target), of_spectra(values[None], q, target)
        assert np.allclose(one.values, many.values[:, 0], rtol=1e-12)
        assert np.allclose(one.errors, many.errors[:, 0], rtol=1e-12)
        found.append(one)
    scatter = np.std([one.values for one in found], axis=0)
    mean = np.mean([one.errors for one in found], axis=0)
    assert np.allclose(scatter / mean, 1, atol=5 / np.sqrt(2 * 400))


def test_the_fit_of_figure_2b_does_not_depend_on_the_spectra_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from eigenloop.figures import claims

    found = []
    for seed in range(12):
        monkeypatch.setattr(claims, "SPECTRA_SEED", seed)
        finding = claims.loss_normalized(QUICK)
        assert finding.kind == "holds"
        found.append(finding.measured)
    assert np.mean(found) + 4 * np.std(found) < claims.READING_ERROR


def test_the_loss_over_gamma_in_figure_2b_is_the_mean_loss_of_the_spectra() -> None:
    """Linear interpolation between points 2.3 % apart of a function that falls no faster than gamma^-3."""
    from eigenloop.figures import claims

    of = Spectra.sphere(dim=16, samples=32, draws=5, seed=1)
    gammas = np.array([0.0, 0.02, 0.5, 1.5, 4.0])
    exact = [np.mean([LayerwiseNorm(row).loss(gamma).value for row in of.rows]) for gamma in gammas]
    assert np.allclose(claims._Curve.with_ln(of)._losses(gammas), exact, rtol=12 * 0.023**2 / 8)


def test_a_fit_at_the_edge_of_its_learning_rates_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    from eigenloop.figures import claims

    monkeypatch.setattr(claims, "RATES", (0.05, 0.06))
    finding = claims.loss_normalized(QUICK)
    assert isinstance(finding.measured, float)
    assert finding.measured < claims.READING_ERROR
    assert finding.kind == "fails"
    assert "edge" in finding.note
