"""Every lemma's claim has the recorded verdict, and loses it when a formula that it stands on is broken."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from eigenloop.claims import Claim, Effort
from eigenloop.lab import problems, transformer
from eigenloop.numerics.power import normalize
from eigenloop.theory import dynamics
from eigenloop.theory.claims.lemmas import auxiliary, data, layerwise, ledger, linear, looped, oracle
from eigenloop.theory.integrals import Estimate
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm

QUICK = Effort(quick=True)
CLAIMS = {claim.id: claim for claim in ledger.claims}


def scaled(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    """The same function with its result, or the value of its estimate, multiplied."""

    def wrong(*args: Any, **options: Any) -> Any:
        found = function(*args, **options)
        if isinstance(found, Estimate):
            return Estimate(found.value * factor, found.error)
        return tuple(part * factor for part in found) if isinstance(found, tuple) else found * factor

    return wrong


def shifted(function: Callable[..., Estimate], by: float) -> Callable[..., Estimate]:
    return lambda *args: Estimate(function(*args).value + by, function(*args).error)


def wrong_layer(*, transposed: bool = False, sign: float = 1.0) -> Callable[..., Any]:
    """TF(Z) with W^T in place of W, or with the update subtracted."""

    def layer(v: Any, w: Any, state: Any, *, norm: bool) -> Any:
        out = state + sign * (v @ state @ (state.T @ (w.T if transposed else w) @ state))
        return normalize(out.T).T if norm else out

    return layer


def turned_in_a_plane(key: Any, size: int, dim: int, dtype: Any = None) -> Any:
    """Rotations of the first two axes only."""
    import jax
    import jax.numpy as jnp

    angle = jax.random.uniform(key, (size,), dtype=dtype or jnp.result_type(float)) * (2 * np.pi)
    turn = jnp.broadcast_to(jnp.eye(dim, dtype=angle.dtype), (size, dim, dim))
    turn = turn.at[:, 0, 0].set(jnp.cos(angle)).at[:, 1, 1].set(jnp.cos(angle))
    return turn.at[:, 0, 1].set(-jnp.sin(angle)).at[:, 1, 0].set(jnp.sin(angle))


def turned_about_an_axis(rng: np.random.Generator, dim: int) -> np.ndarray:
    """Proper rotations that leave the last axis alone."""
    found = np.eye(dim)
    found[:-1, :-1] = np.linalg.qr(rng.standard_normal((dim - 1, dim - 1)))[0]
    return found


def rising(setting: Any) -> Callable[[float], float]:
    return lambda gamma: 0.1


def half_step(kappa: float, optimum: float, steps: int) -> linear.Run:
    return DESCEND(kappa / 2, optimum, steps)


DESCEND = linear.descend
AXES = np.array([np.diag(signs) for signs in ((1.0, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))])

BREAKS: dict[str, list[tuple[Any, str, Any]]] = {
    "ass3.2.task1": [(data, "tail_exponent", lambda dim, samples: (samples - dim + 2) / 2)],
    "ass3.2.task2": [(problems, "haar_rotations", turned_in_a_plane)],
    "ass3.2.tightframe": [
        (data, "tight_frame", lambda rng, *, dim, copies: looped.unit_columns(rng, dim=dim, samples=copies * dim))
    ],
    "ex3.3": [(problems, "haar_rotations", turned_in_a_plane)],
    "ex3.3.rejection": [(problems.Rejected, "sample", lambda self, key, size: self.inner.sample(key, size))],
    "lemA.1": [
        (looped, "scalar_loops", lambda s, *, gamma, loops: SCALAR_LOOPS(s, gamma=gamma, loops=loops + 1)),
        (looped, "predicted_sines", lambda v, c, *, loops, gamma: SINES(v, c, loops=loops, gamma=None)),
    ],
    "lemA.2": [(transformer, "attention_layer", wrong_layer(transposed=True))],
    "lemA.3": [(EndToEnd, "slope", scaled(EndToEnd.slope, 1 + 1e-8))],
    "lemA.4.sign": [(EndToEnd, "slope", scaled(EndToEnd.slope, -1.0))],
    "lemA.4.bound": [
        (looped, "slope_bound", scaled(looped.slope_bound, 0.5)),
        (looped, "slope_bound", scaled(looped.slope_bound, 1.01)),
    ],
    "lemA.4.limit": [(EndToEnd, "upsilon1", scaled(EndToEnd.upsilon1, 1 + 1e-5))],
    "lemA.4.constant": [(EndToEnd, "upsilon1", scaled(EndToEnd.upsilon1, 1.1))],
    "lemA.5.increase": [(dynamics, "slope_function", rising)],
    "lemA.5.growth": [(EndToEnd, "upsilon1", scaled(EndToEnd.upsilon1, 1.02))],
    "lemB.1": [(LayerwiseLinear, "second_moment", scaled(LayerwiseLinear.second_moment, 1 + 1e-6))],
    "rem.B.2": [(LayerwiseLinear, "optimum", shifted(LayerwiseLinear.optimum, -0.05))],
    "lemB.3.levelset": [(linear, "safe_kappa", scaled(linear.safe_kappa, 8.0))],
    "lemB.3.rate": [(linear, "descend", half_step)],
    "lemB.3.overshoot": [(linear, "overshoot_kappa", lambda optimum, c: 1 / (c + 2 * optimum))],
    "lemB.3.diverge": [(linear, "divergence_kappa", lambda optimum: 4.0)],
    "lemB.4": [(linear, "optimum_bounds", scaled(linear.optimum_bounds, 0.0))],
    "lemC.1": [(layerwise, "one_layer", lambda v, w, samples: ONE_LAYER(v, w.T, samples))],
    "lemC.2": [(layerwise, "cube_rotations", lambda: AXES)],
    "lemC.3": [(LayerwiseNorm, "slope", scaled(LayerwiseNorm.slope, 1 + 1e-6))],
    "lemC.4.sign": [(transformer, "attention_layer", wrong_layer(sign=-1.0))],
    "lemC.4": [(dynamics, "slope_function", rising)],
    "lemC.5": [(LayerwiseNorm, "upsilon2", scaled(LayerwiseNorm.upsilon2, 1.01))],
    "lemC.6.bound": [
        (layerwise, "loss_bound", scaled(layerwise.loss_bound, 0.25)),
        (LayerwiseNorm, "loss", scaled(LayerwiseNorm.loss, 2.0)),
    ],
    "lemC.6.time": [(LayerwiseNorm, "upsilon2", scaled(LayerwiseNorm.upsilon2, 1.05))],
    "lemF.1": [(auxiliary, "rotation", turned_about_an_axis)],
    "lemF.2": [(auxiliary, "mean_power_norm", scaled(auxiliary.mean_power_norm, 0.9))],
    "lemF.2.mean": [(auxiliary, "mean_power_norm", scaled(auxiliary.mean_power_norm, 1.02))],
    "rem.F.3.norm": [(LayerwiseLinear, "optimum", scaled(LayerwiseLinear.optimum, 4.0))],
    "rem.F.3.unnorm": [(LayerwiseLinear, "optimum", scaled(LayerwiseLinear.optimum, 0.8))],
    "lemF.4": [
        (auxiliary, "inverse_square_constant", scaled(auxiliary.inverse_square_constant, 0.9)),
        (auxiliary, "inverse_square_constant", scaled(auxiliary.inverse_square_constant, 1.1)),
    ],
    "lemF.4.mean": [(auxiliary, "inverse_square", scaled(auxiliary.inverse_square, 1.03))],
}
"""Identifier -> formulas to replace, one at a time: where, name, the wrong one."""

SCALAR_LOOPS, SINES, ONE_LAYER = looped.scalar_loops, looped.predicted_sines, layerwise.one_layer


@pytest.fixture
def fresh_programs() -> Iterator[None]:
    """Compiled models hold the layer that they were compiled with."""
    oracle._compiled.cache_clear()
    yield
    oracle._compiled.cache_clear()


def test_every_claim_can_be_broken_here() -> None:
    assert list(CLAIMS) == [claim.id for claim in ledger.claims]
    assert set(BREAKS) == set(CLAIMS)
    assert [claim.id for claim in ledger.claims if claim.expected_verdict != "holds"] == ["ass3.2.tightframe"]


@pytest.mark.parametrize("claim", ledger.claims, ids=list(CLAIMS))
def test_a_claim_has_its_known_verdict_and_loses_it_when_a_formula_is_broken(
    claim: Claim, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    found = claim.run(QUICK)
    assert found.finding.kind == claim.expected_verdict, found.finding
    assert claim.source.removeprefix("eigenloop, on ").startswith("arXiv 2606.00605, ")
    json.dumps([found.finding.measured, found.finding.expected, dict(found.finding.numbers)], allow_nan=False)
    assert found.finding.justification
    for place, name, wrong in BREAKS[claim.id]:
        if place is transformer:
            request.getfixturevalue("fresh_programs")
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
