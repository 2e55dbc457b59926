"""Principal modes: defining identities, the r x r product, zeros that count, and ARPACK on 400
matrices.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import ArpackNoConvergence, eigs

from eigenloop.lens.weights.modes import Arnoldi, Mode, Spectrum, principal
from eigenloop.lens.weights.operators import Growth, Operator, product

RULES = {
    "modulus": Growth(),
    "consensus": Growth(shift=1.0),
    "scaled": Growth(shift=1.0, scale=4.5),
}


def random_operator(rng: np.random.Generator, dim: int, rank: int) -> Operator:
    scale = (dim * rank) ** -0.25
    return Operator(
        left=scale * rng.standard_normal((dim, rank)),
        right=scale * rng.standard_normal((rank, dim)),
    )


def with_eigenvalues(rng: np.random.Generator, *blocks: complex, dim: int) -> np.ndarray:
    """T D T^-1 with random T: each complex number planted with its conjugate, the rest of the
    spectrum below 0.5.
    """
    diagonal = np.diag(rng.uniform(-0.5, 0.5, dim))
    place = 0
    for value in blocks:
        if complex(value).imag:
            a, b = complex(value).real, complex(value).imag
            diagonal[place : place + 2, place : place + 2] = [[a, b], [-b, a]]
            place += 2
        else:
            diagonal[place, place] = complex(value).real
            place += 1
    change = np.eye(dim) + rng.standard_normal((dim, dim)) / (2 * np.sqrt(dim))
    return change @ diagonal @ np.linalg.inv(change)


def explicit(matrix: np.ndarray) -> Operator:
    return Operator(left=matrix, right=np.eye(len(matrix)))


def leading(matrix: np.ndarray, growth: Growth) -> tuple[complex, float]:
    """Independent and naive: all eigenvalues, the one of largest |mu| with Im >= 0, and |mu_2 /
    mu_1|.
    """
    values = np.linalg.eigvals(matrix)
    factors = growth(values)
    best = max((v for v in values if v.imag >= 0), key=lambda v: abs(growth(v)))
    rest = [
        abs(f)
        for v, f in zip(values, factors, strict=True)
        if not np.isclose(v, best) | np.isclose(v, best.conj())
    ]
    return complex(best), max(rest) / abs(growth(best))


def check_identities(mode: Mode, matrix: np.ndarray) -> None:
    """F v - lambda v = 0, l^H F - lambda l^H = 0, l^H v = 1, and that the certificate says as
    much.
    """
    norm = np.linalg.norm(matrix)
    right = np.linalg.norm(matrix @ mode.right - mode.eigenvalue * mode.right)
    left = np.linalg.norm(
        mode.left.conj() @ matrix - mode.eigenvalue * mode.left.conj()
    ) / np.linalg.norm(mode.left)
    assert max(right, left) < 1e-12 * norm
    assert abs(right - mode.residual) < 1e-14 * norm
    assert abs(left - mode.left_residual) < 1e-14 * norm
    assert np.vdot(mode.left, mode.right) == pytest.approx(1, abs=1e-12)
    assert np.linalg.norm(mode.right) == pytest.approx(1, abs=1e-14)
    largest = mode.right[np.argmax(np.abs(mode.right))]
    assert largest.real > 0
    assert abs(largest.imag) < 1e-15
    assert mode.condition == pytest.approx(np.linalg.norm(mode.left), rel=1e-9)
    assert mode.converged
    assert np.iscomplexobj(mode.right) == np.iscomplexobj(mode.left) == (mode.flag == "complex")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("dim", "rank"), [(40, 40), (40, 60), (40, 8), (40, 39), (8, 1)])
def test_identities_hold_and_the_leader_is_the_naive_one(rule, dim, rank):
    rng = np.random.default_rng(0)
    for _ in range(10):
        operator = random_operator(rng, dim, rank)
        matrix = operator.left @ operator.right
        mode = principal(operator, RULES[rule])
        check_identities(mode, matrix)
        value, gap = leading(matrix, RULES[rule])
        if mode.flag != "zero":
            assert mode.eigenvalue == pytest.approx(value, rel=1e-9)
        assert mode.growth == pytest.approx(abs(RULES[rule](value)), rel=1e-9)
        assert gap <= 1 + 1e-9
        assert mode.method == {True: "product", False: "dense"}[rank < dim] or mode.flag == "zero"


@pytest.mark.parametrize("rank", [30, 6])
def test_identities_hold_with_a_normalisation_folded_in(rank):
    """M = U V diag(gain) P and M = U V diag(gain) P + B, against the same written out."""
    rng = np.random.default_rng(11)
    plain = random_operator(rng, 30, rank)
    gain, base = rng.uniform(0.5, 2, 30), rng.standard_normal((30, 30)) / 10
    centring = np.eye(30) - 1 / 30
    for added in (None, base):
        operator = Operator(left=plain.left, right=plain.right, gain=gain, center=True, base=added)
        matrix = plain.left @ plain.right @ np.diag(gain) @ centring + (
            0 if added is None else added
        )
        np.testing.assert_allclose(operator.matrix(), matrix, atol=1e-14)
        for growth in RULES.values():
            check_identities(principal(operator, growth), matrix)
            check_identities(Arnoldi(operator).principal(growth), matrix)


@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 12))
def test_identities_hold_for_any_shape(seed, dim, rank):
    operator = random_operator(np.random.default_rng(seed), dim, rank)
    mode = principal(operator, RULES["consensus"])
    matrix = operator.left @ operator.right
    assert np.linalg.norm(matrix @ mode.right - mode.eigenvalue * mode.right) < 1e-10 * max(
        1, np.linalg.norm(matrix)
    )
    assert mode.growth >= np.abs(1 + np.linalg.eigvals(matrix)).max() * (1 - 1e-6)


def test_flags_gaps_and_vectors_of_planted_spectra():
    rng = np.random.default_rng(1)
    for values, rule, leader, flag, gap in (
        ((2.0, -1.5), "modulus", 2.0, "positive", 0.75),
        ((1.5, -2.0), "modulus", -2.0, "negative", 0.75),
        ((1.5, -2.0), "consensus", 1.5, "positive", 1.5 / 2.5),
        ((1.0, 2j), "modulus", 2j, "complex", 0.5),
        ((1.0, 0.8 + 0.9j), "consensus", 0.8 + 0.9j, "complex", 2 / abs(1.8 + 0.9j)),
        ((1.0, -4.0), "scaled", 1.0, "positive", (1 + 0.5 / 4.5) / (1 + 1 / 4.5)),
    ):
        matrix = with_eigenvalues(rng, *values, dim=12)
        mode = principal(explicit(matrix), RULES[rule])
        check_identities(mode, matrix)
        assert mode.eigenvalue == pytest.approx(leader, abs=1e-10)
        assert mode.flag == flag
        # otherwise the random rest, below 0.5, comes second
        tolerance = 1e-10 if rule == "modulus" else 0.35
        assert mode.gap == pytest.approx(gap, abs=tolerance)
        assert mode.gap == pytest.approx(leading(matrix, RULES[rule])[1], rel=1e-9)


def test_a_complex_pair_has_a_plane_that_the_matrix_maps_to_itself():
    rng = np.random.default_rng(2)
    matrix = with_eigenvalues(rng, 0.6 + 1.1j, dim=10)
    plane = principal(explicit(matrix), Growth()).plane()
    assert plane.shape == (10, 2)
    np.testing.assert_allclose(plane.T @ plane, np.eye(2), atol=1e-14)
    np.testing.assert_allclose(matrix @ plane, plane @ (plane.T @ matrix @ plane), atol=1e-12)


def test_the_zeros_of_a_head_count_for_consensus():
    """Every nonzero eigenvalue has |1 + lambda| < 1, so what the head leaves alone grows
    fastest.
    """
    rng = np.random.default_rng(3)
    left = rng.standard_normal((30, 4))
    right = -np.diag([0.5, 0.7, 0.9, 1.1]) @ np.linalg.pinv(left)
    mode = principal(Operator(left=left, right=right), Growth(shift=1.0))
    assert (mode.eigenvalue, mode.flag, mode.growth, mode.gap, mode.method) == (
        0,
        "zero",
        1.0,
        1.0,
        "null space",
    )
    check_identities(mode, left @ right)
    # by modulus they do not
    assert principal(Operator(left=left, right=right), Growth()).eigenvalue == pytest.approx(-1.1)
    # one zero alone is followed by the next mode
    nearly = Operator(left=np.eye(3)[:, :2], right=np.diag([-0.5, -0.7, 0.0])[:2])
    assert principal(nearly, Growth(shift=1.0)).gap == pytest.approx(0.5)


def test_a_head_that_does_nothing_and_a_nilpotent_one():
    for left, right in ((np.zeros((6, 2)), np.ones((2, 6))), (np.eye(6)[:, :1], np.eye(6)[1:2])):
        for growth in RULES.values():
            mode = principal(Operator(left=left, right=right), growth)
            assert (mode.eigenvalue, mode.flag, mode.converged) == (0, "zero", True)
            assert mode.residual < 1e-15
    nothing = principal(explicit(np.zeros((4, 4))), Growth())
    assert (nothing.flag, nothing.residual, nothing.gap) == ("zero", 0, 1)


def test_a_defective_eigenvalue_is_said_to_be_ill_conditioned():
    jordan = np.array([[1.0, 1, 0], [0, 1, 0], [0, 0, 0.2]])
    mode = principal(explicit(jordan), Growth())
    assert mode.condition > 1e7
    assert mode.residual < 1e-7


def test_multiple_eigenvalues_have_a_gap_of_one():
    mode = principal(explicit(np.diag([2.0, 2.0, 1.0])), Growth())
    assert mode.gap == 1
    assert mode.residual < 1e-14


def test_signs_do_not_depend_on_the_scale_of_what_comes_in():
    operator = random_operator(np.random.default_rng(4), 20, 20)
    flipped = Operator(left=-operator.left, right=-operator.right)
    a, b = (principal(o, Growth()) for o in (operator, flipped))
    np.testing.assert_allclose(a.right, b.right, atol=1e-12)
    np.testing.assert_allclose(a.left, b.left, atol=1e-10)


def test_float32_factors_are_converted_and_not_rounded():
    operator = random_operator(np.random.default_rng(5), 300, 290)
    small = Operator(left=operator.left.astype(np.float32), right=operator.right.astype(np.float32))
    exact = small.left.astype(np.float64) @ small.right.astype(np.float64)
    np.testing.assert_allclose(product(small.left, small.right), exact, atol=1e-14)
    check_identities(principal(small, Growth()), exact)


@pytest.mark.parametrize("rank", [9, 4])
def test_the_eigenbasis_gives_coordinates_that_grow_exactly(rank):
    operator = random_operator(np.random.default_rng(6), 9, rank)
    values, right, left = Spectrum(operator).eigenbasis()
    matrix = operator.left @ operator.right
    np.testing.assert_allclose(left.conj().T @ right, np.eye(rank), atol=1e-10)
    x = np.random.default_rng(7).standard_normal(9)
    np.testing.assert_allclose(
        left.conj().T @ (x + matrix @ x), (1 + values) * (left.conj().T @ x), atol=1e-10
    )
    np.testing.assert_allclose(np.linalg.norm(right, axis=0), 1)


# --- ARPACK: asking for too little misses the leader; as it is asked here, it does not


DIM = 100


def matrices(kind: str, rng: np.random.Generator) -> np.ndarray:
    if kind == "random":
        return rng.standard_normal((DIM, DIM)) / np.sqrt(DIM)
    sign, close = rng.choice([-1, 1]), 1 - 10 ** rng.uniform(-3, -1)
    angle = rng.uniform(0.1, 3.0)
    pair = complex(np.cos(angle), np.sin(angle))
    blocks = [
        (sign, -sign * close),
        (pair, sign * close),
        (sign, close * pair),
        (pair, close * pair.conjugate() * 1j),
    ]
    return with_eigenvalues(rng, *blocks[rng.integers(4)], dim=DIM)


@pytest.mark.parametrize("kind", ["random", "planted"])
def test_arpack_finds_the_leader_of_200_matrices(kind):
    """By modulus, and for every fifth matrix by consensus too."""
    rng = np.random.default_rng(8)
    for i in range(200):
        matrix = matrices(kind, rng)
        for rule in ("modulus", "consensus")[: 1 + (i % 5 == 0)]:
            agrees_with_all_eigenvalues(matrix, rule, i)


def agrees_with_all_eigenvalues(matrix: np.ndarray, rule: str, i: int) -> None:
    mode = Arnoldi(explicit(matrix)).principal(RULES[rule])
    value, gap = leading(matrix, RULES[rule])
    assert mode.eigenvalue == pytest.approx(value, rel=1e-8), i
    assert mode.gap == pytest.approx(gap, rel=1e-6), i
    assert mode.converged, i
    assert max(mode.residual, mode.left_residual) < 1e-10, i


def test_arpack_asked_for_one_eigenvalue_can_give_a_wrong_one():
    """Why `Arnoldi` asks for six: among the same random matrices there is one with a wrong
    answer and no error.
    """
    rng, start = np.random.default_rng(8), np.random.default_rng(0).standard_normal(DIM)
    for _ in range(200):
        matrix = matrices("random", rng)
        try:
            found = abs(eigs(matrix, k=1, v0=start, return_eigenvectors=False)[0])
        except ArpackNoConvergence:  # at least it says so
            continue
        if found < np.abs(np.linalg.eigvals(matrix)).max() * (1 - 1e-8):
            return
    pytest.fail("ARPACK with k = 1 was right 200 times: the reason for asking for six is gone")


def test_arpack_on_factors_and_above_the_limit(monkeypatch):
    operator = random_operator(np.random.default_rng(9), 120, 20)
    monkeypatch.setattr("eigenloop.lens.weights.modes.DENSE_LIMIT", 10)
    for growth in RULES.values():
        found, exact = principal(operator, growth), Spectrum(operator).principal(growth)
        assert found.method == "arpack"
        assert found.eigenvalue == pytest.approx(exact.eigenvalue, rel=1e-9)
        np.testing.assert_allclose(found.right, exact.right, atol=1e-8)
        np.testing.assert_allclose(found.left, exact.left, atol=1e-7)
        check_identities(found, operator.left @ operator.right)


def test_what_arpack_cannot_settle_is_not_called_converged(monkeypatch):
    """With no iterations allowed, only the residual speaks."""
    from scipy.sparse import linalg

    def stopped(step, **options):
        raise linalg.ArpackNoConvergence("stopped", np.empty(0), np.empty((60, 0)))

    monkeypatch.setattr(linalg, "eigs", stopped)
    mode = Arnoldi(random_operator(np.random.default_rng(10), 60, 60)).principal(Growth())
    assert not mode.converged
    assert mode.residual > 0.1


def test_an_operator_of_zeros_has_the_null_mode_whatever_finds_it(monkeypatch):
    """ARPACK cannot begin where M takes the start to 0."""
    monkeypatch.setattr("eigenloop.lens.weights.modes.DENSE_LIMIT", 10)
    zero = explicit(np.zeros((60, 60)))
    for growth in RULES.values():
        found = principal(zero, growth)
        assert (found.eigenvalue, found.flag, found.residual, found.converged) == (
            0,
            "zero",
            0,
            True,
        )
        assert found.gap == 1


def test_eigenvalues_of_defective_matrices_are_not_called_converged():
    """All are 0 (a shift) or 2 (a Jordan block); rounding moves each by eps^(1/n), so that none
    is found.
    """
    shift = np.eye(100, k=1)
    assert not Arnoldi(explicit(shift)).principal(Growth()).converged
    turn = np.linalg.qr(np.random.default_rng(11).standard_normal((5, 5)))[0]
    jordan = turn @ (2 * np.eye(5) + np.eye(5, k=1)) @ turn.T
    found = principal(explicit(jordan), Growth())
    assert abs(found.eigenvalue - 2) > 1e-4
    assert not found.converged
    plain = turn @ np.diag([3.0, 2, 1, 1, 0.5]) @ turn.T
    assert principal(explicit(plain), Growth()).converged
