"""The theorems' claims have the recorded verdicts, and lose them when a formula that they stand on is broken."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eigenloop.claims import Claim, Effort
from eigenloop.numerics.power import sine_bounds
from eigenloop.theory.claims import power_method as contraction
from eigenloop.theory.claims import theorems
from eigenloop.theory.integrals import Estimate
from eigenloop.theory.population import LayerwiseLinear, LayerwiseNorm
from eigenloop.theory.regression import of_images, of_spectra
from eigenloop.theory.summary import Spectra

QUICK = Effort(quick=True)
CLAIMS = {claim.id: claim for module in (theorems, contraction) for claim in module.ledger.claims}


def scaled(function: Callable[..., Estimate], factor: float) -> Callable[..., Estimate]:
    def wrong(*args: Any) -> Estimate:
        found = function(*args)
        return Estimate(found.value * factor, found.error)

    return wrong


OPTIMUM = (LayerwiseLinear, "optimum", scaled(LayerwiseLinear.optimum, 1.3))
FLOOR = (LayerwiseLinear, "floor", scaled(LayerwiseLinear.floor, 1.3))
NO_FLOOR = (LayerwiseLinear, "floor", scaled(LayerwiseLinear.floor, 1e-9))
MOMENT = (LayerwiseLinear, "second_moment", scaled(LayerwiseLinear.second_moment, 1.3))


def bounds_times(lower: float, upper: float) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    def wrong(*args: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        low, high = sine_bounds(*args, **options)
        return lower * low, upper * high

    return wrong


BOUNDS = [(contraction, "sine_bounds", bounds_times(2.0, 1.0)), (contraction, "sine_bounds", bounds_times(1.0, 0.5))]

BREAKS: dict[str, list[tuple[Any, str, Any]]] = {
    "thm4.2.parabola.normalized": [OPTIMUM, FLOOR, MOMENT],
    "thm4.2.parabola.unnormalized": [OPTIMUM, FLOOR, MOMENT],
    "thm4.2.limit.normalized": [OPTIMUM, FLOOR],
    "thm4.2.limit.unnormalized": [OPTIMUM, FLOOR],
    "thm4.2.rate.normalized": [OPTIMUM, MOMENT],
    "thm4.2.rate.unnormalized": [OPTIMUM, MOMENT],
    "thm4.2.floor": [OPTIMUM, FLOOR, NO_FLOOR],
    "thm4.6.bounds.in_distribution": BOUNDS,
    "thm4.6.bounds.out_of_distribution": BOUNDS,
    "thm4.7.bounds": BOUNDS,
}
"""Identifier -> formulas to replace, one at a time: where, name, the wrong one."""


@pytest.mark.parametrize("claim", [CLAIMS[id] for id in BREAKS], ids=list(BREAKS))
def test_a_claim_has_its_known_verdict_and_loses_it_when_a_formula_is_broken(
    claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = claim.measure(QUICK)
    assert found.kind == claim.expected_verdict, found
    assert found.justification
    for place, name, wrong in BREAKS[claim.id]:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, wrong)
            assert claim.measure(QUICK).kind != claim.expected_verdict, f"{name} broken, and nobody noticed"


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
