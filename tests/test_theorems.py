"""The theorems' claims have the recorded verdicts; tools/mutants.toml breaks the formulas under
each.
"""

from typing import Any

import numpy as np
import pytest

from eigenloop.claims import Claim, Effort
from eigenloop.theory.claims import power_method, tested, theorems
from eigenloop.theory.claims.lemmas import oracle
from eigenloop.theory.population import LayerwiseNorm
from eigenloop.theory.regression import of_images, of_spectra
from eigenloop.theory.summary import Spectra

QUICK = Effort(quick=True)
CLAIMS = {claim.id: claim for module in (theorems, power_method) for claim in module.ledger.claims}


def test_what_is_recorded_as_not_holding_is_this() -> None:
    recorded = {
        claim.id: claim.expected_verdict
        for claim in CLAIMS.values()
        if claim.expected_verdict != "holds"
    }
    assert recorded == {"thm4.1.no_minimizer": "holds only"}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_claim_has_its_recorded_verdict(claim: Claim) -> None:
    found = claim.measure(QUICK)
    assert found.kind == claim.expected_verdict, found
    assert found.justification


def test_the_loss_at_negative_gamma_is_that_of_power_iterates_of_a_shifted_matrix() -> None:
    """A plain mean over drawn q of ten products with S - rho I, four standard errors."""
    rng, values = np.random.default_rng(0), np.repeat([5.0, 4, 3, 2, 1], [1, 1, 2, 5, 7])
    for rho in (0.5, 1.5, theorems.looped.ROOT):
        state = rng.standard_normal((200_000, 16))
        for _ in range(10):
            state = state * (values - rho)
            state /= np.linalg.norm(state, axis=1, keepdims=True)
        squares = 1 - state[:, 0] ** 2
        error = squares.std() / np.sqrt(squares.size)
        assert abs(squares.mean() - float(theorems.LOOPED.shifted_loss(rho).value)) < 4 * error


def test_a_diagonal_matrix_of_condition_k_turns_no_vector_further_than_this() -> None:
    rng = np.random.default_rng(1)
    for k in (1.001, 2.0, 50.0):
        x = rng.standard_normal((20_000, 4))
        x[0] = [1, 0, 0, k**0.5]  # attains it
        turned = x * [k, *rng.uniform(1, k, 2), 1]
        cosine = (x * turned).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(turned, axis=1)
        sine = np.sqrt(np.maximum(0, 1 - cosine**2))
        assert sine.max() <= (k - 1) / (k + 1) * (1 + 1e-9) + 1e-12
        assert sine[0] == pytest.approx((k - 1) / (k + 1), rel=1e-6)


def test_the_plateau_of_a_loop_off_multiples_of_the_identity_is_that_of_plain_products() -> None:
    """Random A and B near multiples of I: bounds and first order against products written out."""
    rng, dim, loops = np.random.default_rng(2), 5, 400
    values = np.array([5.0, 3.0, 2.0, 1.5, 0.5])
    a, b = (np.eye(dim) * 1.3 + 0.01 * rng.standard_normal((dim, dim)) for _ in range(2))
    v, w = np.zeros((2, 2 * dim, 2 * dim))
    v[dim:, :dim], w[:dim, dim:] = a, b
    gamma = float(np.trace(a @ b) / dim)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    columns = (turn @ np.diag(values) ** 0.5)[None]
    some = tested.Tested.of(columns, rng)
    parts = tested.Parts.of(tested.Trained(v, w, gamma), some)
    state, sines = some.samples.query[0], []
    for _ in range(loops + 1):
        sines.append(np.sqrt(1 - (turn[:, 0] @ state) ** 2 / (state @ state)))
        state = state + a @ (columns[0] @ (columns[0].T @ (b @ state)))
        state = state / np.sqrt(state @ state)
    tangent = sines[-1] / np.sqrt(1 - sines[-1] ** 2)
    assert abs(tangent / parts.first[0] - 1) <= parts.order(np.array([tangent]))[0] < 0.3
    plain = tested.plain_bound(some, gamma, loops)[:, 0]
    assert plain[0] == pytest.approx(sines[0] / np.sqrt(1 - sines[0] ** 2), rel=1e-12)
    assert np.all(np.array(sines) <= parts.widened(plain[:1], loops)[:, 0] + 1e-12)
    assert sines[-1] > plain[-1]


def test_a_tight_frame_moves_for_the_unnormalised_target_alone() -> None:
    """f(gamma) = (2 gamma - 1)^2 at S = 2I, whatever q is; (2 gamma)^2 for the normalised
    target.
    """
    for target, best, slope in ((2.0, 0.5, -4.0), (1.0, 0.0, 0.0)):
        a, b = 1.0, 0.0
        assert 2 * 2 * (1 - target) == slope
        for _ in range(200):
            gradient = 4 * (1 + 2 * a * b - target) / 3
            a, b = a - 0.1 * b * gradient, b - 0.1 * a * gradient
        assert a * b == pytest.approx(best, abs=1e-12)


def test_the_difference_of_squares_of_a_naive_descent_is_quasi_conserved() -> None:
    """One layer in the plane, S = diag(2, 1): the loss over an even grid of angles, its slope by
    differences.
    """
    angle = np.pi * (np.arange(512) + 0.5) / 512
    q = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    image = q * [2.0, 1.0]

    def loss(gamma: float) -> float:
        output = q + gamma * image
        cosine = (
            (output * image).sum(1) / np.linalg.norm(output, axis=1) / np.linalg.norm(image, axis=1)
        )
        return float(np.mean(2 - 2 * cosine))

    a, b = 1.0, 0.0
    full = oracle.descend(
        oracle.circle((2, 1)), loss="normalized", norm=True, learning_rate=0.5, steps=30
    )
    for step in range(30):
        k = -0.25 * (loss(a * b + 1e-5) - loss(a * b - 1e-5)) / 2e-5
        assert (full.a[step], full.b[step]) == pytest.approx((a, b), abs=1e-8)
        c = a * a - b * b
        a, b = a + k * b, b + k * a
        assert a * a - b * b == pytest.approx(c * (1 - k * k), abs=1e-12)


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


def test_the_fit_of_figure_2b_does_not_depend_on_the_spectra_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from eigenloop.figures.claims import points as claims

    found = []
    for seed in range(12):
        monkeypatch.setattr(claims, "SPECTRA_SEED", seed)
        finding = claims.loss_normalized(QUICK)
        assert finding.kind == "holds"
        found.append(finding.measured)
    assert np.mean(found) + 4 * np.std(found) < claims.READING_ERROR


def test_the_loss_over_gamma_in_figure_2b_is_the_mean_loss_of_the_spectra() -> None:
    """Linear interpolation between points 2.3 % apart of a function that falls no faster than
    gamma^-3.
    """
    from eigenloop.figures.claims import points as claims

    of = Spectra.sphere(dim=16, samples=32, draws=5, seed=1)
    gammas = np.array([0.0, 0.02, 0.5, 1.5, 4.0])
    exact = [np.mean([LayerwiseNorm(row).loss(gamma).value for row in of.rows]) for gamma in gammas]
    assert np.allclose(claims._Curve.with_ln(of)._losses(gammas), exact, rtol=12 * 0.023**2 / 8)


def test_a_fit_at_the_edge_of_its_learning_rates_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from eigenloop.figures.claims import points as claims

    monkeypatch.setattr(claims, "RATES", (0.05, 0.06))
    finding = claims.loss_normalized(QUICK)
    assert isinstance(finding.measured, float)
    assert finding.measured < claims.READING_ERROR
    assert finding.kind == "fails"
    assert "edge" in finding.note
