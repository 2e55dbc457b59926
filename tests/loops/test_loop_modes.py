"""Eigenvalues with certificates, the bracket of the radius, and the search for a missed mode."""

import numpy as np
import pytest

from eigenloop.loops import (
    Linear,
    LoopedMap,
    bracket,
    lower_end,
    power_norm,
    search_missed,
    shortfall,
    spectrum,
)
from eigenloop.loops.cases import block_diagonal, normalized_map, planted, whole_state_map
from eigenloop.loops.linear import DENSE
from eigenloop.loops.modes import Mode
from eigenloop.numerics.spectrum import random_orthogonal, unit_columns_with_spectrum
from eigenloop.system.errors import InputError

LARGE = DENSE + 50
PAIR = 1.2 * np.exp(1.4j)


def rayleigh(matrix: np.ndarray, *, steps: int = 200, seed: int = 0) -> float:
    """|v^T J v| after power steps, as public codes print it for a spectral radius."""
    v = np.random.default_rng(seed).standard_normal(len(matrix))
    for _ in range(steps):
        v = matrix @ v / np.linalg.norm(matrix @ v)
    return float(abs(v @ matrix @ v))


@pytest.mark.parametrize("gamma", [0.5, 5.0, 50.0])
def test_the_papers_query_has_the_gaps_of_the_papers_spectrum(gamma):
    """mu_i / mu_1 for i >= 2, and 0 along u_1 itself."""
    rng = np.random.default_rng(3)
    values = np.array([5.0, 4, 3.5, 3, 2, 2.5, 1, 0.5])
    q = random_orthogonal(rng, 8)
    looped = normalized_map(np.eye(8) + gamma * (q * values) @ q.T, q[:, 0])
    mu = np.sort(1 + gamma * values)[::-1]
    found = spectrum(looped.at(q[:, 0]))
    moduli = [mode.modulus for mode in found.modes]
    np.testing.assert_allclose(moduli, [*(mu[1:] / mu[0]), 0], atol=1e-12)
    assert all(mode.kind == "real" for mode in found.modes)
    assert found.gap == pytest.approx(mu[2] / mu[1], abs=1e-12)
    assert found.modes[0].condition == pytest.approx(1, abs=1e-10)


def test_trained_weights_that_are_no_multiples_of_the_identity():
    """Against dense eigenvalues of the projected I + A S B at its leading eigenvector."""
    rng = np.random.default_rng(4)
    s = unit_columns_with_spectrum(rng, [9.0, 5, 4, 3, 2, 1], samples=24)
    a, b = (np.eye(6) + 0.1 * rng.standard_normal((6, 6)) for _ in range(2))
    matrix = np.eye(6) + a @ (s @ s.T) @ b
    values, vectors = np.linalg.eig(matrix)
    order = np.argsort(-np.abs(values))
    point = np.real(vectors[:, order[0]])
    looped = normalized_map(matrix, point)
    start = point / np.linalg.norm(point)
    projected = (np.eye(6) - np.outer(start, start)) @ matrix / abs(values[order[0]])
    expected = np.sort(np.abs(np.linalg.eigvals(projected)))[::-1]
    found = spectrum(looped.at(start))
    np.testing.assert_allclose(found.radius, expected[0], atol=1e-12)
    np.testing.assert_allclose(
        found.radius, abs(values[order[1]]) / abs(values[order[0]]), atol=1e-12
    )


def test_the_whole_state_has_the_data_tokens_own_radius():
    """1 + gamma lambda_1, n-fold: the wrong answer for the loop of the query."""
    rng, gamma = np.random.default_rng(5), 5.0
    x = unit_columns_with_spectrum(rng, [4.0, 2, 1, 1], samples=8)
    leader = np.linalg.eigh(x @ x.T)[1][:, -1]
    whole = whole_state_map(np.eye(4), gamma * np.eye(4), x, leader)
    found = spectrum(whole.at(whole.start))
    # products are differences of jvp: exact here
    assert found.radius == pytest.approx(1 + gamma * 4, abs=1e-8)
    np.testing.assert_allclose(whole.step(whole.start), whole.start, atol=1e-12)


@pytest.mark.parametrize("size", [40, LARGE])
def test_a_rotating_pair_where_rayleigh_quotients_are_wrong(size):
    matrix = planted(np.random.default_rng(0), [PAIR], size=size)
    assert rayleigh(matrix) == pytest.approx(abs(PAIR.real), rel=1e-3)  # 0.204: "stable"
    found = spectrum(Linear.of(matrix))
    mode = found.modes[0]
    assert mode.value == pytest.approx(PAIR, abs=1e-10)
    assert (mode.kind, mode.multiplicity) == ("rotating", 2)
    assert mode.error < 1e-11
    assert found.gap < 0.6 / 1.2 + 1e-9  # past the conjugate
    assert len({mode.value for mode in found.modes}) == len(found.modes)


@pytest.mark.parametrize("size", [30, LARGE])
@pytest.mark.parametrize("condition", [1.0, 20.0])
def test_vectors_certificates_and_convention(size, condition):
    """J v = mu v, w^H J = mu w^H, and mu within its error of the planted eigenvalue."""
    leaders = [0.95, -0.9, 0.85 * np.exp(0.7j)]
    matrix = planted(np.random.default_rng(1), leaders, size=size, condition=condition)
    found = spectrum(Linear.of(matrix))
    for mode, expected in zip(found.modes, leaders, strict=False):
        assert abs(mode.value - expected) <= mode.error
        assert mode.error < 1e-9
        assert mode.kind == (
            "rotating" if np.imag(expected) else "real" if np.real(expected) > 0 else "alternating"
        )
        np.testing.assert_allclose(matrix @ mode.right, mode.value * mode.right, atol=1e-9)
        np.testing.assert_allclose(
            mode.left.conj() @ matrix, mode.value * mode.left.conj(), atol=1e-9
        )
        assert mode.condition == pytest.approx(1 / abs(np.vdot(mode.left, mode.right)), rel=1e-6)
    assert [mode.modulus for mode in found.modes] == sorted(
        (mode.modulus for mode in found.modes), reverse=True
    )


@pytest.mark.parametrize("size", [30, LARGE])
def test_a_defective_leader_is_said_to_be(size):
    rng = np.random.default_rng(2)
    blocks = np.diag(np.linspace(0.1, 0.5, size))
    blocks[:2, :2] = [[0.9, 0.5], [0, 0.9]]
    q = random_orthogonal(rng, size)
    linear = Linear.of(q @ blocks @ q.T)
    found = spectrum(linear)
    assert found.modes[0].defective
    assert found.radius == pytest.approx(0.9, abs=1e-6)
    assert found.modes[0].kind == "real"
    bounds = bracket(linear, found)
    assert bounds.lower is None
    assert "defective" in bounds.reasons["lower"]
    assert any("defective" in warning for warning in bounds.warnings)
    assert bounds.growth > 1.5  # about k 0.5 0.9^(k - 1), at k = 4


def test_a_multiple_eigenvalue_is_not_defective():
    """m - 1 eigenvalues exactly 1 for the paper's map with multiplicity m."""
    rng = np.random.default_rng(6)
    values, q = np.array([4.0, 4, 4, 2, 1]), random_orthogonal(rng, 5)
    looped = normalized_map(np.eye(5) + 2 * (q * values) @ q.T, q[:, 0])
    found = spectrum(looped.at(q[:, 0]))
    moduli = [mode.modulus for mode in found.modes]
    np.testing.assert_allclose(moduli, [1, 1, 5 / 9, 3 / 9, 0], atol=1e-12)
    assert not any(mode.defective for mode in found.modes[:4])


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_near_defective_errors_cover(gap):
    rng = np.random.default_rng(7)
    blocks = np.diag([0.9, 0.9 - gap, 0.3, -0.2, 0.1])
    blocks[0, 1] = 0.5
    q = random_orthogonal(rng, 5)
    found = spectrum(Linear.of(q @ blocks @ q.T)).modes[0]
    assert found.condition == pytest.approx(np.hypot(1, 0.5 / gap), rel=1e-3)
    assert found.defective or abs(found.value - 0.9) <= found.error


def random_case(kind: int, size: int, seed: int) -> tuple[np.ndarray, float]:
    """A matrix (random, symmetric, normal, near-defective) and its radius."""
    rng = np.random.default_rng(seed)
    if kind == 0:
        matrix = rng.standard_normal((size, size)) / np.sqrt(size)
        return matrix, abs(np.linalg.eigvals(matrix)).max()
    q = random_orthogonal(rng, size)
    if kind == 1:
        values = rng.uniform(-1, 1, size)
        return (q * values) @ q.T, abs(values).max()
    if kind == 2:
        values = rng.uniform(0, 1, size // 2) * np.exp(1j * rng.uniform(0.1, 3, size // 2))
        return q @ block_diagonal(list(values)) @ q.T, abs(values).max()
    blocks = np.diag(rng.uniform(-0.6, 0.6, size))
    blocks[:2, :2] = [[0.9, 0.5], [0, 0.9 - 10 ** rng.uniform(-9, -1)]]
    return q @ blocks @ q.T, 0.9


@pytest.mark.parametrize("size", [60, pytest.param(LARGE, marks=pytest.mark.slow)])
def test_the_bracket_contains_the_radius_of_200_matrices(size):
    """With no false alarm of a missed mode, near-defective ones included."""
    alarms, nulls = 0, 0
    for seed in range(200):
        matrix, radius = random_case(seed % 4, size, seed)
        linear = Linear.of(matrix)
        found = spectrum(linear)
        bounds = bracket(linear, found)
        slack = 1e-12 if seed % 4 == 0 else 1e-14  # the oracle's own rounding
        assert radius <= bounds.upper + slack, seed
        assert bounds.lower is None or bounds.lower <= radius + slack, seed
        alarms, nulls = alarms + bool(found.missed), nulls + (bounds.lower is None)
    assert alarms == 0
    assert nulls <= 25  # half of the near-defective ones


@pytest.mark.parametrize("seed", range(6))
def test_a_planted_miss_is_found(seed):
    """The leader is left out of the modes: the search outside their span must see it."""
    matrix = planted(np.random.default_rng(seed), [0.97, 0.93, -0.9], size=LARGE, condition=5.0)
    linear = Linear.of(matrix)
    found = spectrum(linear)
    assert found.missed is False
    outside, missed = search_missed(linear, found.modes[1:], seed=seed)
    assert missed is True
    assert outside == pytest.approx(0.97, abs=1e-3)


def test_norms_of_powers_are_those_of_dense_powers():
    rng = np.random.default_rng(8)
    matrix = planted(rng, [0.9, -0.8], size=LARGE, condition=30.0)
    linear = Linear.of(matrix)
    for power in (1, 2, 4, 16):
        norm, singular = power_norm(linear, power, start=rng.standard_normal(LARGE))
        exact = np.linalg.svd(np.linalg.matrix_power(matrix, power), compute_uv=False)
        assert norm.norm == pytest.approx(exact[0], rel=1e-6)
        assert norm.norm <= exact[0] * (1 + 1e-12) <= norm.raised * (1 + 1e-12)
        assert singular[0] == norm.norm
    small = bracket(Linear.of(matrix[:50, :50]), spectrum(Linear.of(matrix[:50, :50])))
    np.testing.assert_allclose(
        small.singular, np.linalg.svd(matrix[:50, :50], compute_uv=False)[:2], rtol=1e-12
    )


def test_the_shortfall_covers_the_worst_of_many_starts():
    """One eigenvalue 1 over a plateau just below it, the hardest spectrum; and steps that are
    few.
    """
    size, steps = 900, 8
    values = np.sqrt(np.r_[1.0, np.full(size - 1, 0.97)])
    linear = Linear(size, forward=lambda v: values * v, reverse=lambda u: values * u)
    rng = np.random.default_rng(9)
    worst = min(
        power_norm(linear, 1, start=rng.standard_normal(size), steps=steps)[0].norm
        for _ in range(40)
    )
    assert worst**2 >= 1 - shortfall(size, steps)
    assert shortfall(size, 2 * steps) < shortfall(size, steps) / 3
    assert shortfall(10, 10) == 0


def test_a_map_without_reverse_products_has_no_upper_end_and_says_why():
    matrix = np.diag(np.linspace(-0.4, 0.8, LARGE))
    linear = Linear(LARGE, forward=lambda v: matrix @ v)
    bounds = bracket(linear, spectrum(linear))
    assert bounds.upper is None
    assert "vjp" in bounds.reasons["upper"]
    assert bounds.growth is None
    with pytest.raises(ValueError, match="both directions"):
        power_norm(linear, 1, start=np.ones(LARGE))


def test_strong_non_normality_is_warned_of():
    shear = Linear.of(np.array([[0.5, 200.0], [0.0, 0.4]]))
    bounds = bracket(shear, spectrum(shear))
    assert bounds.growth > 100
    assert len(bounds.warnings) == 2
    plain = Linear.of(np.diag([0.5, 0.4]))
    assert bracket(plain, spectrum(plain)).warnings == ()


def test_a_lower_end_needs_an_error_that_is_small_beside_the_next_eigenvalue():
    def mode(value: complex, error: float) -> Mode:
        return Mode(
            value=value,
            multiplicity=1,
            residual=error,
            condition=1.0,
            error=error,
            kind="real",
            defective=False,
            right=None,
            left=None,
        )

    base = spectrum(Linear.of(np.diag([0.9, 0.5])))
    for error, known in ((1e-3, True), (0.2, False)):
        found = type(base)(
            modes=(mode(0.9, error), mode(0.5, error)),
            converged=True,
            method="",
            outside=None,
            missed=None,
            noise=0.0,
        )
        lower, why = lower_end(found)
        assert (
            (lower == pytest.approx(0.9 - error))
            if known
            else (lower is None and "not small" in why)
        )


def test_zero_and_size_one():
    assert spectrum(Linear.of(np.zeros((3, 3)))).radius == 0
    assert spectrum(Linear.of(np.array([[-0.4]]))).modes[0].kind == "alternating"
    zero = Linear(LARGE, forward=lambda v: 0 * v, reverse=lambda u: 0 * u)
    assert spectrum(zero).radius == 0


def test_planted_leaders_must_fit():
    with pytest.raises(InputError, match="take 2"):
        planted(np.random.default_rng(0), [1j], size=1)


def test_differences_widen_the_error_of_a_mode():
    matrix = planted(np.random.default_rng(3), [0.9], size=6)
    plain = LoopedMap.numpy(lambda x: np.tanh(matrix @ x), np.full(6, 0.1))
    mode = spectrum(plain.at(np.zeros(6))).modes[0]
    assert abs(mode.value - 0.9) <= mode.error < 1e-6
