"""The Hessian of the scalar manifold: against automatic differentiation, exact in the plane,
sampled in space.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian_oracle
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES as TASK_2
from eigenloop.system.errors import InputError
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm, Setting
from eigenloop.theory.stability import (
    hessian,
    limit_hessian,
    lowest_eigenvalue,
    sectors,
    sharpness,
    symmetric_eigenvalues,
)

PLANE = (3.0, 1.0)


def sample_loss(setting: Setting) -> Callable:
    """(A, B, S, q, principal direction first in S's eigenbasis u) -> the loss of one example,
    written out.
    """

    def loss(ab: jax.Array, s: jax.Array, q: jax.Array, u: jax.Array) -> jax.Array:
        a, b = ab
        image = s @ q
        if isinstance(setting, EndToEnd):
            y = q
            for _ in range(setting.loops):
                y = y + a @ s @ b @ y
                y = y / jnp.linalg.norm(y)
            return 1 - jnp.sum((u.T @ y) ** 2)
        p = q + a @ s @ b @ q
        target = image / jnp.linalg.norm(image)
        if isinstance(setting, LayerwiseNorm):
            return jnp.sum((p / jnp.linalg.norm(p) - target) ** 2)
        assert isinstance(setting, LayerwiseLinear)
        return jnp.sum((p - (target if setting.target == "normalized" else image)) ** 2)

    return loss


def projected(full: np.ndarray, dim: int) -> dict[str, np.ndarray]:
    """A Hessian over (A, B), (2, d, d, 2, d, d), as its mean 2 x 2 matrix in each sector."""
    eye = np.eye(dim * dim)
    transpose = (
        np.eye(dim * dim).reshape(dim, dim, dim, dim).transpose(0, 1, 3, 2).reshape(dim * dim, -1)
    )
    identity = np.outer(np.eye(dim).ravel(), np.eye(dim).ravel()) / dim
    projectors = {
        "scalar": identity,
        "antisymmetric": (eye - transpose) / 2,
        "symmetric traceless": (eye + transpose) / 2 - identity,
    }
    flat = full.reshape(2, dim * dim, 2, dim * dim)
    return {name: np.einsum("aibj,ij->ab", flat, p) / np.trace(p) for name, p in projectors.items()}


SETTINGS = [
    EndToEnd(PLANE, 1),
    EndToEnd(PLANE, 4),
    LayerwiseNorm(PLANE),
    LayerwiseLinear(PLANE),
    LayerwiseLinear(PLANE, "unnormalized"),
]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("a", "b"), [(1.1, 0.4), (0.7, 1.9), (0.8, -0.7), (1.0, -0.55)])
def test_in_the_plane_it_is_the_derivative_of_an_exact_average(
    setting: Setting, a: float, b: float, x64: None
) -> None:
    """The average over the circle by the trapezoidal rule; that over rotations of S is the mean
    over a sector.
    """
    angles = np.arange(2000) * 2 * np.pi / 2000
    queries = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], 1))
    gram, principal = jnp.diag(jnp.array(PLANE)), jnp.eye(2)[:, :1]
    loss, point = sample_loss(setting), jnp.stack([a * jnp.eye(2), b * jnp.eye(2)])
    over_q = jax.vmap(lambda q: jax.hessian(loss)(point, gram, q, principal))
    full = np.asarray(jnp.mean(over_q(queries), axis=0))
    for name, expected in projected(full, 2).items():
        found = hessian(setting, a=a, b=b)[name].hessian
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "setting", [EndToEnd((4.0, 4.0, 2.0, 0.0), 3), LayerwiseNorm((4.0, 2.0, 1.0, 0.5))]
)
def test_in_space_it_is_a_sampled_average(setting: Setting, x64: None) -> None:
    """Multiplicity 2 and a zero eigenvalue; 40,000 samples, 5 standard errors in each of nine
    numbers.
    """
    a, b, size, dim = 1.2, 0.8, 40_000, 4
    rng = np.random.default_rng(11)
    values = setting.rows[0]
    frames = np.linalg.qr(rng.standard_normal((size, dim, dim)))[0]
    q = rng.standard_normal((size, dim))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    grams = np.einsum("kij,j,klj->kil", frames, values, frames)
    principal = frames[:, :, : int(np.sum(values == values[0]))]
    loss, point = sample_loss(setting), jnp.stack([a * jnp.eye(dim), b * jnp.eye(dim)])
    one = jax.jit(jax.vmap(lambda s, q, u: jax.hessian(loss)(point, s, q, u)))
    blocks = [
        projected(np.asarray(h), dim)
        for start in range(0, size, 2000)
        for h in np.asarray(
            one(*(jnp.asarray(x[start : start + 2000]) for x in (grams, q, principal)))
        )
    ]
    modes = hessian(setting, a=a, b=b)
    for name, mode in modes.items():
        sample = np.stack([block[name] for block in blocks])
        standard_error = sample.std(0) / np.sqrt(size)
        assert np.all(abs(sample.mean(0) - mode.hessian) < 5 * standard_error), name


@pytest.mark.parametrize("setting", [EndToEnd(TASK_2, 10), LayerwiseNorm(TASK_2)])
def test_the_scalar_sector_is_the_scalar_objectives(setting: EndToEnd | LayerwiseNorm) -> None:
    """(1/d) [[b^2 f'', f' + gamma f''], [f' + gamma f'', a^2 f'']]."""
    a, b = 1.5, 1.2
    gamma, h = a * b, 1e-4
    first = float(setting.slope(gamma).value)
    second = (float(setting.slope(gamma + h).value) - float(setting.slope(gamma - h).value)) / (
        2 * h
    )
    cross = first + gamma * second
    expected = np.array([[b * b * second, cross], [cross, a * a * second]]) / 16
    np.testing.assert_allclose(hessian(setting, a=a, b=b)["scalar"].hessian, expected, rtol=1e-6)


def as_floats(matrix: list[list]) -> np.ndarray:
    return np.array([[float(entry) for entry in row] for row in matrix])


def drawn_case(seed: int, *, loops: int, log_gamma: float) -> tuple[list[float], int, float, float]:
    """Spectrum, L, a, b: eigenvalues over two decades, some equal or 0, a : b from 1 : 8 to 8
    : 1.
    """
    rng = np.random.default_rng([seed, 7])
    dim = int(rng.integers(2, 6))
    values = np.exp(rng.uniform(-2, 2.3, dim))
    if seed % 4 == 1:
        values = np.round(values) + 1
        values[0] = values.max() + 1
    elif seed % 4 == 2:
        values[1:] = values[1]
        values[0] = 1.5 * values[1]
    elif seed % 4 == 3 and dim > 2:
        values[-1] = 0
    count, gamma = int(np.exp(rng.uniform(0, np.log(loops)))), np.exp(rng.uniform(-3, log_gamma))
    a = np.sqrt(gamma) * np.exp(rng.uniform(-1, 1))
    return sorted(values.tolist(), reverse=True), count, float(a), float(gamma / a)


def check_against_the_oracle(
    values: list[float], loops: int, a: float, b: float, *, power_method: bool
) -> None:
    """Every entry and eigenvalue within its error, which is small, and no sign wrong."""
    expected = hessian_oracle.hessian(values, loops, a, b, power_method=power_method)
    setting = EndToEnd(values, loops)
    modes = limit_hessian(setting) if power_method else hessian(setting, a=a, b=b)
    for name, (matrix, exact) in expected.items():
        mode, eigenvalues = modes[name], np.array([float(value) for value in exact])
        assert np.all(abs(mode.hessian - as_floats(matrix)) <= mode.error), name
        assert np.all(abs(mode.eigenvalues - eigenvalues) <= mode.eigenvalue_errors), name
        assert mode.error.max() < 1e-10 * abs(mode.hessian).max()
        for sign, value in zip(mode.signs, eigenvalues, strict=True):
            assert sign is None or sign == np.sign(value)


@pytest.mark.parametrize("power_method", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_end_to_end_it_is_30_digit_arithmetic(seed: int, power_method: bool) -> None:
    """Random spectra, L to 20, gamma from 0.05 to 10^6; 100 loops in the slow test."""
    case = drawn_case(seed, loops=20, log_gamma=np.log(1e6))
    check_against_the_oracle(*case, power_method=power_method)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 40))
def test_end_to_end_it_is_30_digit_arithmetic_to_100_loops(seed: int) -> None:
    check_against_the_oracle(
        *drawn_case(seed, loops=100, log_gamma=np.log(1e6)), power_method=seed % 3 == 0
    )


def test_the_start_of_training_is_30_digit_arithmetic() -> None:
    check_against_the_oracle([3.0, 2.9, 1.0], 40, 1.0, 0.0, power_method=False)


@pytest.mark.parametrize("loops", [10, 15, 20, 60])
def test_two_eigenvalues_leave_a_lowest_one_far_under_rounding_of_the_largest(loops: int) -> None:
    """10, 1, 1: it falls like 10^-L under a top of about 0.5, and keeps ten digits and its sign."""
    expected = hessian_oracle.hessian([10.0, 1.0, 1.0], loops, 1.0, 1.0, power_method=True)
    modes = limit_hessian(EndToEnd([10.0, 1.0, 1.0], loops))
    for name, (_, exact) in expected.items():
        low, mode = float(exact[0]), modes[name]
        assert 0 < low < 100 * loops**2 * 10.0**-loops
        assert mode.eigenvalues[0] == pytest.approx(low, rel=1e-10)
        assert mode.eigenvalue_errors[0] < 1e-9 * low
        assert mode.signs == (1, 1)
    assert lowest_eigenvalue(modes).sign == 1


@pytest.mark.parametrize("loss", ["norm", "normalized", "unnormalized"])
@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (1.1, 0.4), (30.0, 40.0)])
def test_layerwise_in_the_plane_it_is_30_digit_arithmetic(loss: str, a: float, b: float) -> None:
    values = (3.0, 1.0)
    expected = hessian_oracle.layerwise_in_the_plane(values, loss, a, b, nodes=120)
    setting = LayerwiseNorm(values) if loss == "norm" else LayerwiseLinear(values, loss)  # pyright: ignore[reportArgumentType]
    modes = hessian(setting, a=a, b=b)
    for name, matrix in expected.items():
        mode, exact = modes[name], as_floats(matrix)
        assert np.all(abs(mode.hessian - exact) <= mode.error), name
        assert np.all(mode.error <= 1e-10 * max(abs(exact).max(), 1e-3))
        for sign, value in zip(mode.signs, np.linalg.eigvalsh(exact), strict=True):
            assert sign is None or sign == np.sign(value)


def test_a_sign_inside_its_error_is_no_sign() -> None:
    """Exact zeros: multiples of I under the power method; a rank of one, whose limit does not
    know the rest.
    """
    modes = limit_hessian(EndToEnd([2.0, 1.0, 0.5], 3))
    assert modes["scalar"].signs == (None, None)
    assert lowest_eigenvalue(limit_hessian(EndToEnd([1.0, 0.0], 16))).sign is None
    assert lowest_eigenvalue(limit_hessian(EndToEnd([4.0, 1.0, 0.0], 1))).sign == -1
    flat = limit_hessian(EndToEnd([4.0, 1.0, 0.0], 1))["antisymmetric"]
    assert flat.signs == (None, 1)
    # at b = 0 the layerwise loss with LN has an eigenvalue of exactly 0 in the plane
    assert hessian(LayerwiseNorm(PLANE), a=1.0, b=0.0)["symmetric traceless"].signs == (None, 1)


@pytest.mark.parametrize(
    "setting",
    [
        EndToEnd([10.0, 1.0], 400),
        EndToEnd([1.0, 0.0, 0.0], 7),
        EndToEnd([1e5, 1e-5, 0.0], 100),
        EndToEnd([2.0, 1.0], 1),
        LayerwiseNorm([10.0, 0.0, 0.0]),
        LayerwiseNorm([1.0, 1e-6]),
        LayerwiseLinear([10.0, 0.0, 0.0]),
    ],
)
@pytest.mark.parametrize(
    ("a", "b"), [(1.0, 0.0), (0.0, 0.0), (0.0, 2.0), (1e3, 1e3), (1e6, 1.0), (1e-3, 1e9)]
)
def test_it_is_always_finite(setting: Setting, a: float, b: float) -> None:
    for modes in (
        hessian(setting, a=a, b=b),
        limit_hessian(setting) if isinstance(setting, EndToEnd) else {},
    ):
        for mode in modes.values():
            for part in (
                mode.hessian,
                mode.error,
                mode.standard_error,
                mode.eigenvalues,
                mode.eigenvalue_errors,
            ):
                assert np.isfinite(part).all()
            assert mode.hessian[0, 1] == mode.hessian[1, 0]
            assert np.all(mode.error >= 0)


def test_errors_of_eigenvalues_are_the_extremes_over_the_box() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        entries, errors = (
            rng.standard_normal(3) * 10.0 ** rng.uniform(-3, 0, 3),
            10.0 ** rng.uniform(-4, -1, 3),
        )
        values, spread = symmetric_eigenvalues(entries, errors)
        moved = entries + errors * rng.uniform(-1, 1, (300, 3))
        found = np.linalg.eigvalsh(moved[:, [0, 1, 1, 2]].reshape(-1, 2, 2))
        np.testing.assert_allclose(
            values, np.linalg.eigvalsh([entries[:2], entries[1:]]), rtol=1e-12, atol=1e-15
        )
        assert np.all(abs(found - values) <= spread * (1 + 1e-12))
        assert np.all(spread <= 3 * errors.sum())


def test_the_wall_is_refused() -> None:
    with pytest.raises(InputError, match="which is -1/lambda_1"):
        hessian(EndToEnd((4.0, 1.0), 2), a=1.0, b=-0.25)


NEGATIVE = [(1.0, -0.7), (1.3, -0.5), (0.9, -0.36), (1.0, -0.2), (0.4, -2.0)]
"""(a, b) past infinity for 3, 2, 1: between the eigenvalues, on the plateau, and far out."""


@pytest.mark.parametrize("loops", [1, 2, 5])
@pytest.mark.parametrize(("a", "b"), NEGATIVE)
def test_at_negative_gamma_every_entry_agrees_with_many_digits(
    a: float, b: float, loops: int
) -> None:
    """Odd and even L, for the sign of (mu_i mu_j)^L; eigenvalues of one sign and of both."""
    found = hessian(EndToEnd((3.0, 2.0, 1.0), loops), a=a, b=b)
    for name, known in hessian_oracle.hessian([3.0, 2.0, 1.0], loops, a, b).items():
        expected = np.array([[float(x) for x in row] for row in known.matrix])
        np.testing.assert_allclose(
            found[name].hessian, expected, rtol=1e-11, atol=1e-12 * abs(expected).max()
        )


@pytest.mark.parametrize("loops", [1, 3, 10])
@pytest.mark.parametrize(("a", "b"), NEGATIVE)
def test_at_negative_gamma_the_scalar_sector_is_f_and_its_derivatives(
    a: float, b: float, loops: int
) -> None:
    """(xi b + eta a)^2 f''/d + 2 xi eta f'/d, f'' as the derivative of the exact slope."""
    setting, gamma, step = EndToEnd((3.0, 2.0, 1.0), loops), a * b, 1e-7
    first = float(setting.slope(gamma).value)
    second = float(setting.slope(gamma + step).value - setting.slope(gamma - step).value)
    second /= 2 * step
    expected = np.array([[b * b * second, a * b * second + first], [0.0, a * a * second]]) / 3
    expected[1, 0] = expected[0, 1]
    found = hessian(setting, a=a, b=b)["scalar"].hessian
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * abs(expected).max())


def test_the_shifted_minimum_of_task_2_is_a_minimum_off_the_scalars_too() -> None:
    """At a^2 = b^2, gamma = -1/rho*, rho* = 2.3404626951337772: numbers of the mpmath oracle."""
    root = (1 / 2.3404626951337772) ** 0.5
    modes = hessian(EndToEnd(TASK_2, 10), a=root, b=-root)
    assert lowest_eigenvalue(modes).sign == 1
    assert lowest_eigenvalue(modes).value == pytest.approx(0.045817831035933, rel=1e-10)
    assert abs(modes["scalar"].eigenvalues[0]) < 1e-12  # along a/b
    assert modes["scalar"].eigenvalues[1] > 0.6


def test_known_values_of_task_2() -> None:
    """Without LN the normalised target's limit is a saddle, the unnormalised one's a minimum."""
    found = {}
    for target in ("normalized", "unnormalized"):
        setting = LayerwiseLinear(TASK_2, target)
        gamma = float(setting.optimum().value)
        a = np.sqrt((np.hypot(1, 2 * gamma) + 1) / 2)
        found[target] = hessian(setting, a=a, b=gamma / a)
        # moving along a/b costs nothing
        assert found[target]["scalar"].eigenvalues[0] == pytest.approx(0, abs=1e-12)
    assert found["normalized"]["symmetric traceless"].eigenvalues[0] == pytest.approx(
        -0.007370, abs=1e-6
    )
    assert found["normalized"]["antisymmetric"].eigenvalues[0] == pytest.approx(0.00001, abs=1e-6)
    assert found["unnormalized"]["antisymmetric"].eigenvalues[0] == pytest.approx(0.127, abs=1e-3)
    assert found["unnormalized"]["symmetric traceless"].eigenvalues[0] == pytest.approx(
        0.032, abs=1e-3
    )


def test_late_training_scales_as_one_over_gamma() -> None:
    """gamma H at a = b = gamma^{1/2} tends to `limit_hessian` with an error of the order of
    1/gamma.
    """
    setting = EndToEnd(TASK_2, 3)
    limit = limit_hessian(setting)
    for name in ("antisymmetric", "symmetric traceless"):
        errors = []
        for gamma in (1e3, 1e4):
            scaled = gamma * hessian(setting, a=gamma**0.5, b=gamma**0.5)[name].hessian
            errors.append(abs(scaled - limit[name].hessian).max())
        assert np.log10(errors[0] / errors[1]) == pytest.approx(1, abs=0.02)


def test_one_loop_end_to_end_ends_in_a_saddle_and_three_do_not() -> None:
    assert limit_hessian(EndToEnd(TASK_2, 1))["symmetric traceless"].eigenvalues[0] < -0.009
    for loops in (3, 10):
        for name in ("antisymmetric", "symmetric traceless"):
            assert limit_hessian(EndToEnd(TASK_2, loops))[name].eigenvalues[0] > 0.002


def test_sharpness_is_the_largest_eigenvalue_and_averages_keep_their_error() -> None:
    modes = hessian(EndToEnd([[5.0, 2.0, 1.0], [3.0, 2.5, 0.5]], 2), a=1.0, b=0.5)
    alone = [hessian(EndToEnd(row, 2), a=1.0, b=0.5) for row in ([5.0, 2.0, 1.0], [3.0, 2.5, 0.5])]
    for name, mode in modes.items():
        pair = [one[name].hessian for one in alone]
        np.testing.assert_allclose(mode.hessian, np.mean(pair, 0), rtol=1e-12)
        np.testing.assert_allclose(
            mode.standard_error, np.std(pair, 0, ddof=1) / np.sqrt(2), rtol=1e-9
        )
    assert sharpness(modes) == max(mode.eigenvalues.max() for mode in modes.values())
    assert sum(sector.dimension for sector in sectors(5)) == 25
