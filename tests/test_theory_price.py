"""Loops as filters: losses against sampling and one-root integrals, optima, Krylov spaces."""

import numpy as np
import pytest

from eigenloop.numerics.power import predicted_sines, sine_bounds
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES, random_orthogonal
from eigenloop.system.errors import InputError
from eigenloop.theory.filters import price
from eigenloop.theory.population import EndToEnd

TASK2 = np.array(DEFAULT_MULTIPLICITIES, float)


def sphere_spectra(count: int, *, samples: int = 32, dim: int = 16, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((count, dim, samples))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.linalg.eigvalsh(x @ x.transpose(0, 2, 1))[:, ::-1]


def queries(count: int, dim: int = 16, seed: int = 1) -> np.ndarray:
    q = np.random.default_rng(seed).standard_normal((count, dim))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


# --- the loss


@pytest.mark.parametrize("loops", [1, 3, 10])
@pytest.mark.parametrize("rho", [0.0, 1.5, 2.4, 4.5, -3.0])
def test_equal_roots_are_the_scalar_model(loops: int, rho: float) -> None:
    setting, found = EndToEnd(TASK2, loops), price.layer_losses([rho] * loops, TASK2)
    if rho == 0:
        expected = setting.limit_loss()
    else:
        expected = setting.shifted_loss(rho) if rho > 0 else setting.loss(-1 / rho)
    assert found.value == pytest.approx(float(expected.value), rel=1e-12)
    assert found.error < 1e-10


def test_the_loss_is_that_of_the_layers_run() -> None:
    roots = [3.6, 0.4, -2.0, 2.2, np.inf]
    turn = random_orthogonal(np.random.default_rng(2), 16)
    s, state = turn * TASK2 @ turn.T, queries(40_000)
    for rho in roots[:-1]:
        state = state @ s - rho * state
        state /= np.linalg.norm(state, axis=1, keepdims=True)
    losses = 1 - (state @ turn[:, 0]) ** 2
    exact = price.layer_losses(roots, TASK2)
    assert abs(losses.mean() - exact.value) < 5 * losses.std() / 200
    both = price.layer_losses(roots, np.stack([TASK2, TASK2[::-1] * 2]))
    assert both.value.shape == (2,)
    assert both.value[0] == exact.value
    assert both.value[1] != exact.value


def test_roots_on_eigenvalues_take_them_out_and_on_the_largest_take_the_answer_out() -> None:
    assert price.layer_losses([1, 2, 3, 4], TASK2).value == 0.0
    some = price.layer_losses([1.0, 4.0, 0.0], TASK2).value
    near = price.layer_losses([1.0 + 1e-9, 4.0 - 1e-9, 0.0], TASK2).value
    assert some == pytest.approx(near, rel=1e-6)
    assert price.layer_losses([5.0], TASK2).value == pytest.approx(1.0, abs=1e-12)
    assert price.pass_factor([5.0], TASK2) == np.inf
    with pytest.raises(InputError, match="every eigenvalue is a root"):
        price.layer_losses([2.0, 1.0], [2.0, 1.0])
    with pytest.raises(InputError, match="a list of numbers"):
        price.layer_losses([np.nan], TASK2)


# --- convergence


def test_a_pass_contracts_by_the_factor_and_its_bounds_hold() -> None:
    roots, c = [3.1, 0.5, 1.2], queries(50)
    factor = float(price.pass_factor(roots, TASK2))
    values = np.prod(TASK2[:, None] - np.array(roots), axis=1)
    weights = c**2 * np.exp(2 * np.arange(9)[:, None, None] * np.log(abs(values / values[0])))
    sines = np.sqrt(weights[..., 1:].sum(-1) / weights.sum(-1))
    top = 1 + int(np.argmax(abs(values[1:])))
    passes = factor ** np.arange(9)[:, None]
    assert factor == pytest.approx(abs(values[1:]).max() / values[0])
    assert np.all(abs(c[:, top]) * passes <= sines * (1 + 1e-12))
    over = np.linalg.norm(c[:, 1:], axis=1) / abs(c[:, 0]) * passes
    assert np.all(sines <= over * (1 + 1e-12))
    assert np.median((sines / over)[-1]) > 0.1  # 1/4 where q is spread over 15 coordinates
    # the power method is the case of one root at 0
    np.testing.assert_allclose(price.pass_factor([0.0], TASK2), 0.8, rtol=1e-15)
    lower, upper = sine_bounds(TASK2, c, loops=3)
    assert np.all((lower <= predicted_sines(TASK2, c, loops=3)) & (lower <= upper))


# --- the best roots


def test_the_gradient_of_the_search_is_that_of_the_loss() -> None:
    rows, roots = sphere_spectra(3), np.array([0.4, 1.7, 2.6])
    value, gradient = price._log_loss(roots, rows)
    mean = [price.layer_losses(roots, rows).value.mean()]
    assert value == pytest.approx(np.log(mean[0]), rel=1e-12)
    for i in range(3):
        step = 1e-5 * np.eye(3)[i]
        ends = [price.layer_losses(roots + side * step, rows).value.mean() for side in (1, -1)]
        assert gradient[i] == pytest.approx(np.log(ends[0] / ends[1]) / 2e-5, rel=1e-6)


def test_untied_roots_beat_one_root_and_reach_zero_with_a_layer_for_each_eigenvalue() -> None:
    np.testing.assert_array_equal(price.best_roots(TASK2, loops=6), [0, 0, 1, 2, 3, 4])
    two, three = (price.best_roots(TASK2, loops=loops, starts=2) for loops in (2, 3))
    np.testing.assert_allclose(two, [1.1038, 2.6911], atol=1e-3)
    np.testing.assert_allclose(three, [1.0126, 2.1345, 3.6444], atol=1e-3)
    assert price.layer_losses(two, TASK2).value == pytest.approx(0.35592, abs=1e-5)


def test_chebyshev_roots_are_those_of_the_polynomial() -> None:
    roots = price.chebyshev_roots(0.5, 3.5, loops=5)
    polynomial = np.polynomial.Chebyshev.basis(5, domain=[0.5, 3.5])
    assert np.max(abs(polynomial(roots))) < 1e-13
    assert np.all(np.diff(roots) < 0)
    with pytest.raises(InputError, match=r"the interval is \[2, 2\]"):
        price.chebyshev_roots(2.0, 2.0, loops=1)


# --- Krylov spaces


def test_krylov_losses_against_dense_linear_algebra() -> None:
    rows, q, loops = np.stack([TASK2 + np.linspace(0.3, 0, 16), TASK2]), queries(3), 3
    found = price.krylov_losses(rows, q, loops=loops)
    for i, row in enumerate(rows):
        for k, start in enumerate(q):
            space = np.linalg.qr(np.stack([row**p * start for p in range(loops + 1)], axis=1))[0]
            inside = np.linalg.norm(space[0])
            assert found.best[i, k] == pytest.approx(1 - inside**2, abs=1e-10)
            alone = price.krylov_losses(row, q[None, [k]], loops=loops).best[0, 0]
            assert alone == pytest.approx(found.best[i, k], abs=1e-14)
            y = space @ np.linalg.eigh(space.T * row @ space)[1][:, -1]
            assert found.lanczos[i, k] == pytest.approx(1 - y[0] ** 2, abs=1e-9)
    assert np.all(found.best <= found.lanczos + 1e-12)


def test_a_krylov_space_is_complete_after_as_many_steps_as_there_are_eigenvalues() -> None:
    found = price.krylov_losses(TASK2, queries(5), loops=9)  # five distinct eigenvalues
    assert np.max(found.lanczos) < 1e-12
    assert np.max(found.best) < 1e-12


def test_no_filter_has_less_than_the_krylov_space() -> None:
    q, roots = queries(200), price.best_roots(TASK2, loops=2, starts=1)
    c = q * (TASK2 - roots[0]) * (TASK2 - roots[1])
    losses = (c[:, 1:] ** 2).sum(1) / (c**2).sum(1)
    assert np.all(price.krylov_losses(TASK2, q, loops=2).best[0] <= losses + 1e-12)
