"""The power method, angles, contraction factors and Theorem 4.6 of arXiv 2606.00605 with its
tightness.
"""

from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenloop.lab.blocks import TwoBlock
from eigenloop.numerics.power import (
    contraction_factor,
    loops_needed,
    normalize,
    power_method,
    predicted_sines,
    sin_angle,
    sine_bounds,
)
from eigenloop.numerics.spectrum import random_orthogonal, symmetric_with_spectrum
from eigenloop.system.errors import InputError

gammas = st.one_of(st.none(), st.just(0.0), st.floats(1e-3, 1e3))


@st.composite
def spectra_and_starts(draw: st.DrawFn) -> tuple[list[float], np.ndarray]:
    """A descending spectrum with top multiplicity 1 to 3, ties and zeros among the rest, and a
    unit start.
    """
    top = draw(st.integers(1, 3))
    ratio = st.one_of(st.just(0.0), st.just(0.5), st.floats(1e-4, 0.999))  # 0.5 twice is a tie
    rest = sorted(draw(st.lists(ratio, min_size=1, max_size=4)), reverse=True)
    scale = draw(st.floats(0.1, 100))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    start = rng.normal(size=top + len(rest))
    return [scale] * top + [scale * r for r in rest], start / np.linalg.norm(start)


def simulated_sines(
    spectrum: list[float], start: np.ndarray, top: int, *, loops: int, gamma: float | None
) -> list[float]:
    """sin(phi_k) of the loop q <- N(q + gamma S q), or N(S q), run in the eigenbasis."""
    values, q, sines = np.array(spectrum), start, []
    for _ in range(loops + 1):
        q = q / np.sqrt(np.sum(q * q))
        sines.append(float(np.sqrt(np.sum(q[top:] ** 2))))
        q = values * q if gamma is None else q + gamma * values * q
    return sines


def test_normalize_and_the_zero_vector() -> None:
    rows = np.array([[3.0, -4.0], [0.0, 0.0], [0.0, -2.0]])
    np.testing.assert_allclose(normalize(rows), [[0.6, -0.8], [0, 0], [0, -1]], atol=1e-16)
    gradient = jax.jacobian(normalize)(jnp.zeros(3))
    assert bool(jnp.all(jnp.isfinite(gradient)))


def test_power_method_is_powers_of_the_matrix() -> None:
    rng = np.random.default_rng(0)
    s = symmetric_with_spectrum(rng, [4.0, 3.0, 1.0, 0.5, 0.0])
    start = rng.normal(size=5)
    states = power_method(s, start, loops=12)
    for k, state in enumerate(states):
        expected = np.linalg.matrix_power(s, k) @ start
        np.testing.assert_allclose(state, expected / np.linalg.norm(expected), atol=1e-14 * (k + 1))
    np.testing.assert_allclose(
        power_method(jnp.asarray(s), jnp.asarray(start), loops=12), states, atol=2e-6
    )


@pytest.mark.parametrize("m", [1, 2, 3])
def test_sine_agrees_with_high_precision(m: int) -> None:
    rng = np.random.default_rng(m)
    basis = random_orthogonal(rng, 5)[:, :m]
    vectors = rng.normal(size=(6, 5))
    with mpmath.workdps(40):
        for y, sine in zip(vectors, sin_angle(vectors, basis), strict=True):
            inside = sum(mpmath.fdot(y.tolist(), u.tolist()) ** 2 for u in basis.T)
            exact = mpmath.sqrt(1 - inside / mpmath.fdot(y.tolist(), y.tolist()))
            assert float(sine) == pytest.approx(float(exact), rel=1e-14)


@given(st.floats(1e-3, np.pi / 2), st.floats(0.1, 10))
def test_sine_is_that_of_the_arccosine(angle: float, length: float) -> None:
    u = np.array([[0.6], [0.8], [0.0]])
    y = length * (np.cos(angle) * u[:, 0] + np.sin(angle) * np.array([-0.8, 0.6, 0.0]))
    # arccos loses eps/angle, 2e-13 at the smallest angle here
    assert float(sin_angle(y, u)) == pytest.approx(
        np.sin(np.arccos(min(1.0, y @ u[:, 0] / length))), abs=1e-12
    )


@given(st.floats(1e-150, 1e-8))
def test_tiny_angles_to_an_axis_keep_their_digits(angle: float) -> None:
    y = np.array([3.0, 0.0, 3.0 * angle])
    # nothing cancels along an axis (below 1e-150 the squares underflow)
    assert float(sin_angle(y, np.eye(3)[:, :2])) == pytest.approx(angle, rel=1e-15)


def test_tiny_angles_to_any_subspace_are_seen() -> None:
    rng = np.random.default_rng(3)
    q = random_orthogonal(rng, 6)
    y = q[:, 0] - 2 * q[:, 1] + 1e-12 * np.sqrt(5) * q[:, 5]
    # the subspace itself is known to a few eps = 2e-16; 1 - cos^2 would return 0 or 1.5e-8
    assert float(sin_angle(y, q[:, :2])) == pytest.approx(1e-12, abs=1e-15)


@given(spectra_and_starts(), gammas, st.integers(0, 25))
def test_prediction_is_the_simulated_loop(case: tuple, gamma: float | None, loops: int) -> None:
    spectrum, start = case
    top = spectrum.count(spectrum[0])
    predicted = predicted_sines(spectrum, start, loops=loops, gamma=gamma)
    np.testing.assert_allclose(
        predicted,
        simulated_sines(spectrum, start, top, loops=loops, gamma=gamma),
        rtol=1e-13,
        atol=1e-150,
    )


def test_prediction_for_many_starts_and_any_length() -> None:
    starts = np.random.default_rng(0).normal(size=(4, 3, 5))
    spectrum = [2.0, 2.0, 1.5, 0.5, 0.0]
    together = predicted_sines(spectrum, starts, loops=6, gamma=0.7)
    assert together.shape == (7, 4, 3)
    for i, j in np.ndindex(4, 3):
        alone = simulated_sines(spectrum, 17 * starts[i, j], 2, loops=6, gamma=0.7)
        np.testing.assert_allclose(together[:, i, j], alone, rtol=1e-13)


@given(spectra_and_starts(), gammas, st.integers(0, 25))
def test_both_bounds_of_theorem_4_6_hold(case: tuple, gamma: float | None, loops: int) -> None:
    spectrum, start = case
    top = spectrum.count(spectrum[0])
    sines = np.array(simulated_sines(spectrum, start, top, loops=loops, gamma=gamma))
    lower, upper = sine_bounds(spectrum, start, loops=loops, gamma=gamma)
    slack = 1 + 1e-12  # rounding of 25 loops
    assert np.all(lower <= sines * slack + 1e-150)
    assert np.all(sines <= upper * slack + 1e-150)
    assert np.all(
        abs(start[top]) * contraction_factor(spectrum, gamma=gamma) ** np.arange(loops + 1)
        <= lower * slack
    )


@pytest.mark.parametrize("gamma", [None, 0.3, 5.0])
@pytest.mark.parametrize("top", [1, 2])
def test_both_bounds_are_tight(gamma: float | None, top: int) -> None:
    # One direction besides PS: sin(phi_k) = tan(phi_0) r^k / (1 + tan^2(phi_0) r^{2k})^{1/2}
    # exactly: the upper bound is attained as k grows, and lower / upper = cos(phi_0) for every k.
    spectrum = [3.0] * top + [2.0]
    start = np.array([0.6] + [0.0] * (top - 1) + [0.8])
    sines = predicted_sines(spectrum, start, loops=60, gamma=gamma)
    lower, upper = sine_bounds(spectrum, start, loops=60, gamma=gamma)
    np.testing.assert_allclose(lower / upper, 0.6, rtol=1e-14)
    np.testing.assert_allclose(sines / upper, 1 / np.sqrt(1 + upper**2), rtol=1e-13)
    assert sines[0] == pytest.approx(lower[0], rel=1e-15)  # attained at k = 0


def test_upper_bound_is_attained_where_the_later_coordinates_vanish() -> None:
    sines = predicted_sines([4, 3, 2, 0], [0.6, 0.8, 0.0, 0.0], loops=60)
    upper = sine_bounds([4, 3, 2, 0], [0.6, 0.8, 0.0, 0.0], loops=60)[1]
    np.testing.assert_allclose(sines / upper, 1 / np.sqrt(1 + upper**2), rtol=1e-13)
    assert sines[-1] / upper[-1] > 1 - 1e-14
    off = sine_bounds([4, 3, 2, 0], [0.6, 0.64, 0.48, 0.0], loops=60)[1]
    assert predicted_sines([4, 3, 2, 0], [0.6, 0.64, 0.48, 0.0], loops=60)[-1] / off[
        -1
    ] == pytest.approx(0.8)


def test_lower_bound_does_not_depend_on_the_basis_of_a_tied_second_eigenvalue() -> None:
    lower = sine_bounds([4, 3, 3, 1], [0.5, 0.5, 0.5, 0.5], loops=3)[0]
    turned = sine_bounds([4, 3, 3, 1], [0.5, 0.0, np.sqrt(0.5), 0.5], loops=3)[0]
    np.testing.assert_allclose(lower, np.sqrt(0.5) * 0.75 ** np.arange(4), rtol=1e-14)
    np.testing.assert_allclose(turned, lower, rtol=1e-14)


def test_contraction_factor_by_hand_and_in_the_limit() -> None:
    assert contraction_factor([1.0, 4.0, 5.0, 5.0], gamma=0.5) == pytest.approx(3 / 3.5, rel=1e-15)
    assert contraction_factor([5, 4, 1], gamma=0.0) == 1.0
    assert contraction_factor([5, 0.0]) == 0.0
    assert contraction_factor([2.0, 2.0], gamma=1.0) == 1.0
    gaps = [contraction_factor([5, 4, 1], gamma=g) - 0.8 for g in (1e2, 1e3, 1e4)]
    # (1 + 4g)/(1 + 5g) - 4/5 = 1/(5(1 + 5g))
    np.testing.assert_allclose(gaps, [1 / (5 * (1 + 5 * g)) for g in (1e2, 1e3, 1e4)], rtol=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("gamma", [0.0, 0.5, 40.0])
@pytest.mark.parametrize("spectrum", [[3.0, 2.5, 1.0, 0.2], [3.0, 3.0, 1.0, 0.0]])
def test_contraction_factor_is_the_spectral_radius_at_the_fixed_point(
    gamma: float, spectrum: list[float]
) -> None:
    d, top = len(spectrum), spectrum.count(spectrum[0])
    s = symmetric_with_spectrum(np.random.default_rng(1), spectrum)
    u = np.linalg.eigh(s)[1][:, -1]
    model = TwoBlock(a=2 * jnp.eye(d), b=gamma / 2 * jnp.eye(d), norm=True)
    jacobian = jax.jacobian(lambda q: model.layer(jnp.asarray(s), q))(jnp.asarray(u))
    found = np.sort(np.linalg.eigvals(np.asarray(jacobian)).real)[::-1]
    # mu_i / mu_1 for i >= 2, and 0 along u; with a tied top, m - 1 of them are 1
    expected = [(1 + gamma * v) / (1 + gamma * spectrum[0]) for v in spectrum[1:]] + [0.0]
    np.testing.assert_allclose(found, expected, atol=1e-13)
    assert found[top - 1] == pytest.approx(contraction_factor(spectrum, gamma=gamma), abs=1e-13)


@given(spectra_and_starts(), gammas, st.floats(1e-9, 0.5))
def test_loops_needed_suffice_and_bound_the_exact_count(
    case: tuple, gamma: float | None, tolerance: float
) -> None:
    spectrum, start = case
    top = spectrum.count(spectrum[0])
    tangent = float(np.linalg.norm(start[top:]) / np.linalg.norm(start[:top]))
    loops = loops_needed(spectrum, tan_start=tangent, tolerance=tolerance, gamma=gamma)
    factor = contraction_factor(spectrum, gamma=gamma)
    if loops is None:
        assert factor == 1.0
        return
    # the bound itself falls to the tolerance at this count, and not one loop earlier
    assert tangent * factor**loops <= tolerance * (1 + 1e-11)
    assert loops == 0 or tangent * factor ** (loops - 1) > tolerance * (1 - 1e-11)
    if loops <= 3000:
        sines = predicted_sines(spectrum, start, loops=loops, gamma=gamma)
        assert sines[-1] <= tolerance * (1 + 1e-11)
        assert np.argmax(sines <= tolerance * (1 + 1e-11)) <= loops


def test_loops_needed_at_the_edges() -> None:
    assert loops_needed([2, 1], tan_start=0.01, tolerance=0.01) == 0
    assert loops_needed([2, 1], tan_start=0.0, tolerance=1e-12) == 0
    assert loops_needed([2, 1], tan_start=8.0, tolerance=1.0) == 3
    # any order: (3/4)^3 < 1/2 < (3/4)^2
    assert loops_needed([1, 2, 1.5], tan_start=1.0, tolerance=0.5) == 3
    assert loops_needed([2, 0], tan_start=5.0, tolerance=1e-9) == 1
    assert loops_needed([2, 2], tan_start=5.0, tolerance=1e-9) is None
    assert loops_needed([2, 1], tan_start=float("inf"), tolerance=1e-9) is None
    assert loops_needed([2, 1], tan_start=1.0, tolerance=0.1, gamma=0.0) is None


@pytest.mark.parametrize("tolerance", [0.0, -0.5, float("nan")])
def test_tolerance_must_be_positive(tolerance: float) -> None:
    with pytest.raises(InputError, match=rf"tolerance is {tolerance:g}; it must be above 0"):
        loops_needed([2, 1], tan_start=1.0, tolerance=tolerance)


def test_gamma_must_be_finite() -> None:
    with pytest.raises(InputError, match=r"gamma is nan; it must be a finite number"):
        contraction_factor([2, 1], gamma=float("nan"))


@pytest.mark.parametrize("gamma", [-0.1, -0.27, -0.4273, -0.5, -1.0, -30.0])
def test_at_negative_gamma_the_factor_and_the_sines_are_those_of_the_loop(gamma: float) -> None:
    """(I + gamma S)^k q written out, over the two bounds and the factor at late loops."""
    values, loops = np.array([5.0, 4.0, 2.0, 2.0, 1.0, 0.0]), 40
    c = normalize(np.random.default_rng(0).standard_normal(6))
    states = [c]
    for _ in range(loops):
        states.append(normalize((1 + gamma * values) * states[-1]))
    sines = np.linalg.norm(np.array(states)[:, 1:], axis=1)
    np.testing.assert_allclose(
        predicted_sines(values, c, loops=loops, gamma=gamma), sines, rtol=1e-12, atol=1e-15
    )
    lower, upper = sine_bounds(values, c, loops=loops, gamma=gamma)
    assert np.all(lower <= sines * (1 + 1e-12))
    assert np.all(sines <= upper * (1 + 1e-12))
    tangents = sines / abs(np.array(states)[:, 0])
    factor = contraction_factor(values, gamma=gamma)
    assert factor == abs(1 + gamma * values[1:]).max() / abs(1 + gamma * values[0])
    if factor < 1:
        late = tangents[-1] / tangents[-2]
        assert abs(late / factor - 1) < 1e-2


def test_where_the_loop_kills_the_principal_subspace_its_factor_is_infinite() -> None:
    assert contraction_factor([4, 2, 1], gamma=-0.25) == np.inf
    assert loops_needed([4, 2, 1], tan_start=1.0, tolerance=0.1, gamma=-0.25) is None


def test_normalize_keeps_its_range_in_numpy() -> None:
    for dtype, size in (
        (np.float32, 1e30),
        (np.float32, 1e-30),
        (np.float64, 1e300),
        (np.float64, 1e-300),
    ):
        vectors = np.array([[3, 4], [0, 0], [-4, 3]], dtype) * dtype(size)
        found = normalize(vectors)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0], [-0.8, 0.6]], rtol=1e-6)
    with np.errstate(all="ignore"):
        assert not np.isfinite(normalize(np.array([np.inf, 1.0]))).all()


def test_predicted_sines_of_starts_without_a_principal_part_and_of_many_loops() -> None:
    """Weights that all underflow were 0/0: the start orthogonal to u_1 stays so."""
    found = predicted_sines(
        [5, 2, 1], [[0, 0.6, 0.8], [0, 0, 1], [1e-200, 0.1, 0.1], [0.5, 0.5, 0.5]], loops=5000
    )
    np.testing.assert_array_equal(found[:, :3], 1.0)
    assert found[-1, 3] == 0
    np.testing.assert_array_equal(predicted_sines([5, 2, 0], [0, 0, 1], loops=2), 1.0)
    np.testing.assert_array_equal(predicted_sines([5, 2, 0], [1, 0, 0], loops=2), 0.0)
    tiny = predicted_sines([2, 1], [1e-170, 1e-170], loops=1)
    np.testing.assert_allclose(tiny, predicted_sines([2, 1], [1.0, 1.0], loops=1), rtol=1e-14)


@pytest.mark.parametrize("function", [predicted_sines, sine_bounds])
def test_eigenvalues_that_do_not_descend_are_refused(function: Any) -> None:
    with pytest.raises(
        InputError, match="eigenvalue 3 is 2, above 1 before it; give them in descending order"
    ):
        function([5, 1, 2], [0.6, 0.8, 0.0], loops=1)
