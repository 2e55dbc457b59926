"""Every lemma's claim has the recorded verdict, and loses it when a formula that it stands on is broken."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import theory_breaks
from eigenloop.claims import Claim, Effort
from eigenloop.theory.claims.lemmas import auxiliary, data, layerwise, ledger, linear, looped, oracle
from theory_breaks import scaled

QUICK = Effort(quick=True)
CLAIMS = {claim.id: claim for claim in ledger.claims}


SCALAR_LOOPS, ONE_LAYER = looped.scalar_loops, layerwise.one_layer
AXES = np.array([np.diag(signs) for signs in ((1.0, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))])

OWN: dict[str, list[tuple[Any, str, Any]]] = {
    "ass3.2.task1": [(data, "tail_exponent", lambda dim, samples: (samples - dim + 2) / 2)],
    "ass3.2.tightframe": [
        (data, "tight_frame", lambda rng, *, dim, copies: looped.unit_columns(rng, dim=dim, samples=copies * dim))
    ],
    "lemA.1": [(looped, "scalar_loops", lambda s, *, gamma, loops: SCALAR_LOOPS(s, gamma=gamma, loops=loops + 1))],
    "lemA.4.bound.constant": [
        (looped, "slope_bound", scaled(looped.slope_bound, 0.5)),
        (looped, "slope_bound", scaled(looped.slope_bound, 1.01)),
    ],
    "lemB.3.levelset": [(linear, "safe_kappa", scaled(linear.safe_kappa, 8.0))],
    "lemB.3.overshoot": [(linear, "overshoot_kappa", lambda optimum, c: 1 / (c + 2 * optimum))],
    "lemB.3.diverge": [(linear, "divergence_kappa", lambda optimum: 4.0)],
    "lemB.4": [(linear, "optimum_bounds", scaled(linear.optimum_bounds, 0.99))],
    "lemC.1": [(layerwise, "one_layer", lambda v, w, samples: ONE_LAYER(v, w.T, samples))],
    "lemC.2": [(layerwise, "cube_rotations", lambda: AXES)],
    "lemC.6.bound": [(layerwise, "loss_bound", scaled(layerwise.loss_bound, 0.25))],
    "lemF.4.constant": [
        (auxiliary, "inverse_square_constant", scaled(auxiliary.inverse_square_constant, 0.9)),
        (auxiliary, "inverse_square_constant", scaled(auxiliary.inverse_square_constant, 1.1)),
    ],
}
"""Identifier -> formulas of the claims themselves to replace besides, one at a time: where, name, the wrong one."""


@pytest.fixture
def fresh_programs() -> Iterator[Callable[[], None]]:
    """Compiled models hold the layer that they were compiled with."""
    oracle._compiled.cache_clear()
    yield oracle._compiled.cache_clear
    oracle._compiled.cache_clear()


def test_what_is_recorded_as_not_holding_is_this() -> None:
    assert list(CLAIMS) == [claim.id for claim in ledger.claims]
    recorded = {claim.id: claim.expected_verdict for claim in ledger.claims if claim.expected_verdict != "holds"}
    assert recorded == {"rem.B.2.suboptimal": "holds only", "lemC.4.degenerate": "holds only"}


@pytest.mark.parametrize("claim", ledger.claims, ids=list(CLAIMS))
def test_a_claim_has_its_recorded_verdict(claim: Claim) -> None:
    found = claim.run(QUICK)
    assert found.finding.kind == claim.expected_verdict, found.finding
    assert claim.source.removeprefix("eigenloop, on ").startswith("arXiv 2606.00605, ")
    json.dumps([found.finding.measured, found.finding.expected, dict(found.finding.numbers)], allow_nan=False)
    assert found.finding.justification


@pytest.mark.parametrize("claim", ledger.claims, ids=list(CLAIMS))
def test_a_claim_loses_its_verdict_when_a_formula_is_broken(
    claim: Claim, monkeypatch: pytest.MonkeyPatch, fresh_programs: Callable[[], None]
) -> None:
    broken = [theory_breaks.BREAKS[name][:3] for name in theory_breaks.BROKEN_BY[claim.id]]
    for place, name, wrong in [*broken, *OWN.get(claim.id, [])]:
        fresh_programs()
        with monkeypatch.context() as patch:
            patch.setattr(place, name, wrong)
            assert claim.measure(QUICK).kind != claim.expected_verdict, f"{name} broken, and nobody noticed"


def test_the_divergence_threshold_separates_bounded_from_unbounded_iterates() -> None:
    # F' - 1 = (F - 1)(1 + k^2 - k g), at random states and steps
    rng = np.random.default_rng(0)
    kappa, optimum = rng.uniform(0.1, 4, 200), rng.uniform(0.01, 0.4, 200)
    a, b = rng.standard_normal((2, 200))
    g = kappa * optimum

    def form(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return kappa * (a + b) ** 2 / 4 / (2 + g) + kappa * (a - b) ** 2 / 4 / (2 - g)

    k = kappa * (optimum - a * b)
    assert np.allclose(form(a + k * b, b + k * a) - 1, (form(a, b) - 1) * (1 + k * k - k * g), rtol=1e-10, atol=1e-12)
    for value in (1e-3, 0.0512, 0.628, 2.0):
        kappa_c = linear.divergence_kappa(value)
        assert kappa_c + kappa_c**2 * value**2 == pytest.approx(4, rel=1e-14)
        assert linear.descend(0.999 * kappa_c, value, 3000).bounded
        assert not linear.descend(1.001 * kappa_c, value, 3000).bounded


def test_the_inverse_square_constant_is_that_of_a_beta_integral() -> None:
    from scipy.integrate import quad

    ratio, dim = 1e-3, 5
    # c_1 = cos theta has density sin^{d-2} theta; 1/||Sq||^2 at (1, e, ..., e)
    weight = quad(lambda x: np.sin(x) ** (dim - 2), 0, np.pi)[0]
    mean = quad(
        lambda x: np.sin(x) ** (dim - 2) / (np.cos(x) ** 2 + ratio**2 * np.sin(x) ** 2) / weight,
        0, np.pi, points=[np.pi / 2], epsabs=0, epsrel=1e-10,
    )[0]  # fmt: skip
    row = np.array([[1.0] + [ratio] * (dim - 1)])
    assert auxiliary.inverse_square(row).value[0] == pytest.approx(mean, rel=1e-8)
    assert ratio * mean == pytest.approx(auxiliary.inverse_square_constant(dim), rel=5e-3)
