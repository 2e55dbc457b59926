"""The loss of any filter, past gamma = infinity: 30 digits, finite differences, the loop itself."""

from collections.abc import Sequence
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES as TASK_2
from eigenloop.system.errors import InputError
from eigenloop.theory.filters import (
    Filter,
    best_root,
    descend,
    distinct_below,
    faster_below,
    filter_gradient,
    filter_loss,
    flow,
    log_loss_over_root,
    no_worse_up_to,
    phases,
    residual_end,
    safe_root,
    splitting_curvature,
    state_of,
    turn_over_root,
)
from eigenloop.theory.filters.circle import CircleTable, turn_at
from eigenloop.theory.integrals import log_pull, log_share, pulls
from eigenloop.theory.population import EndToEnd
from eigenloop.theory.summary import Spectra

FIVE: tuple[tuple[Sequence[float], int, tuple[float, ...]], ...] = (
    (TASK_2, 10, (-1.0, 0.5, 2.3, 4.5, 7.0)),
    ((2.0, 1.0), 3, (-2.0, 0.7, 1.4)),
    ((5.0, 5.0, 2.0, 0.5, 0.0), 4, (0.1, 1.2, 3.9)),
    ((3.0, 2.9, 1.0), 1, (0.3, 2.0, 3.5)),
    ((8.0, 4.0, 2.0, 1.0, 0.5, 0.25), 25, (0.0, 2.1, 5.0)),
)
"""Spectra, loops and roots: on either side of gamma = infinity, on the plateau, past lambda_1."""


def many_digits(values: Sequence[float], loops: int, root: float) -> tuple[Any, Any]:
    """f and f' over the root with 30 digits: the trapezoidal rule in log t, f' term by term.

    f = int P sum_{i>m} w_i u_i dt and f' = int P t sum_{i>m,j<=m} w_i w_j u_i u_j (l_i - l_j) dt
    with l = d log w / d rho = -2L/(lambda - rho): both from E[e^{-tD}], no code of the package.
    """
    with mp.workdps(30):
        lam = [mp.mpf(v) for v in values]
        m = sum(v == lam[0] for v in lam)
        top = max(abs(v - mp.mpf(root)) for v in lam)
        w = [(abs(v - mp.mpf(root)) / top) ** (2 * loops) for v in lam]
        bent = [-2 * loops / (v - mp.mpf(root)) if v != root else mp.mpf(0) for v in lam]
        least = min(x for x in w if x > 0)
        s, step = mp.mpf(-75), mp.mpf(1) / 4
        high = -mp.log(least) + 150
        loss = slope = mp.mpf(0)
        while s < high:
            t = mp.exp(s)
            v = [t * x / (1 + 2 * t * x) for x in w]
            p = 1 / mp.sqrt(mp.fprod(1 + 2 * t * x for x in w))
            loss += p * mp.fsum(v[m:])
            slope += (
                p
                * mp.fsum(v[:m])
                * mp.fsum(x * (b - bent[0]) for x, b in zip(v[m:], bent[m:], strict=True))
            )
            s += step
        return step * loss, step * slope


@pytest.mark.parametrize(("values", "loops", "roots"), FIVE)
def test_loss_and_slope_over_the_root_have_ten_digits_at_five_spectra(
    values: Sequence[float], loops: int, roots: tuple[float, ...]
) -> None:
    setting = EndToEnd(values, loops)
    losses = log_loss_over_root(setting, np.array(roots))
    slopes = -turn_over_root(setting, np.array(roots)).value
    for i, root in enumerate(roots):
        loss, slope = many_digits(values, loops, root)
        assert abs(losses.value[i] - float(mp.log(loss))) < 1e-10 * (1 + abs(float(mp.log(loss))))
        assert abs(slopes[i] / float(slope) - 1) < 1e-10
        if root > 0:
            gamma = -1 / root
            assert float(setting.loss(gamma).value) == pytest.approx(float(loss), rel=1e-10)
            in_gamma = float(slope) * root**2
            assert float(setting.slope(gamma).value) == pytest.approx(in_gamma, rel=1e-10)


@pytest.mark.parametrize(
    ("loops", "rho", "loss"),
    [
        (1, 1.4757778507974, 0.6364645000592445),
        (2, 1.73544432790458, 0.40328350332920987),
        (4, 2.05581674748973, 0.17268510420782193),
        (10, 2.34046269513378, 0.00990316137171085),
        (50, 2.46966911274024, 1.3708546769642e-11),
    ],
)
def test_the_best_roots_of_task_2(loops: int, rho: float, loss: float) -> None:
    found = best_root(EndToEnd(TASK_2, loops))
    assert found.rho == pytest.approx(rho, rel=1e-12)
    assert found.loss == pytest.approx(loss, rel=1e-11)
    assert found.minima == 1
    assert found.rho_error < 1e-12
    assert found.gamma == -1 / found.rho


def test_far_below_float64_the_best_root_is_still_found() -> None:
    """f = 10^-324: by log f alone; rho* tends to (lambda_{m+1} + lambda_d)/2."""
    found = best_root(EndToEnd([5.0, 1.0, 0.9], 170))
    assert found.loss == 0
    assert -1000 < found.log_loss < -745
    assert found.rho == pytest.approx(0.95, abs=1e-4)


def test_many_spectra_share_one_root() -> None:
    rows = np.array([[5.0, 3.0, 1.0], [6.0, 2.0, 1.5]])
    found = best_root(EndToEnd(rows, 3))
    grid = np.linspace(1.0, 2.9, 20)
    each = [EndToEnd(row, 3) for row in rows]
    losses = [np.mean([one.loss(-1 / r).value for one in each]) for r in grid]
    assert found.loss <= min(losses)
    assert 1.0 < found.rho < 3.0


def test_the_pull_is_the_derivative_of_the_share() -> None:
    logs, step = np.array([[-1.0, 0.0, -3.0, -np.inf, -2.0]]), 1e-6
    found = pulls(logs, 2).value[0]
    for j in range(2, 5):
        up, down = logs.copy(), logs.copy()
        up[0, j], down[0, j] = logs[0, j] + step, logs[0, j] - step
        rise = (np.exp(log_share(up, 2).value) - np.exp(log_share(down, 2).value)) / (2 * step)
        assert found[j - 2] == pytest.approx(float(rise[0]), abs=1e-9)
    total = log_pull(logs, np.zeros_like(logs), 2).value[0]
    assert float(np.exp(total)) == pytest.approx(found.sum(), rel=1e-12)


def test_the_gradient_by_layer_is_the_derivative_of_the_loss() -> None:
    rng, step = np.random.default_rng(0), 1e-6
    gammas, residuals = rng.normal(-0.5, 1.0, 4), rng.normal(0.0, 1.0, 4)
    found = filter_gradient(TASK_2, Filter.of(gammas, residuals))
    for l, e in enumerate(step * np.eye(4)):
        for got, up, down in (
            (found.gammas[l], Filter.of(gammas + e, residuals), Filter.of(gammas - e, residuals)),
            (
                found.residuals[l],
                Filter.of(gammas, residuals + e),
                Filter.of(gammas, residuals - e),
            ),
        ):
            rise = float(filter_loss(TASK_2, up).value - filter_loss(TASK_2, down).value)
            assert got == pytest.approx(rise / (2 * step), rel=1e-6)


def test_a_filter_is_what_its_loops_do() -> None:
    """Four layers with weights of their own, q by q, against the exact mean: 5 standard errors."""
    values, rng = np.array([4.0, 3.0, 1.0, 0.5]), np.random.default_rng(1)
    some = Filter.of([0.7, -0.4, -1.5, 2.0], [1.0, 0.3, -1.0, 0.0])
    q = rng.standard_normal((40_000, 4))
    for gamma, c in zip(some.gammas, some.residuals, strict=True):
        q = c * q + gamma * values * q
        q /= np.linalg.norm(q, axis=1, keepdims=True)
    losses = 1 - q[:, 0] ** 2
    exact = float(filter_loss(values, some).value)
    assert abs(losses.mean() - exact) < 5 * losses.std() / 200
    np.testing.assert_allclose(some.roots, [-1 / 0.7, 0.75, -1 / 1.5, 0.0], atol=1e-15)


def test_splitting_is_the_second_difference() -> None:
    for gamma, e in ((0.7, 1e-3), (-0.42, 1e-4)):
        base = float(filter_loss(TASK_2, Filter.tied(gamma, loops=4)).value)
        apart = Filter.of([gamma + e, gamma - e, gamma, gamma])
        rise = (float(filter_loss(TASK_2, apart).value) - base) / e**2
        found = splitting_curvature(TASK_2, gamma=gamma, loops=4)
        assert found == pytest.approx(rise, rel=1e-4)


def test_distinct_eigenvalues_and_the_zero_that_they_allow() -> None:
    assert distinct_below([5.0, 5.0, 2.0, 2.0, 2.0 - 1e-12, 0.0]).tolist() == [2.0, 0.0]
    assert float(filter_loss(TASK_2, Filter.with_roots(distinct_below(TASK_2))).value) == 0
    assert float(filter_loss(TASK_2, Filter.with_roots([4.0, 3.0, 2.0])).value) > 0


def test_the_table_on_the_circle_is_as_exact_as_the_integral() -> None:
    setting = EndToEnd(TASK_2, 10)
    table, scale = CircleTable(setting), 5.0
    for phi in np.random.default_rng(2).uniform(0, 2 * np.pi, 40):
        c, gamma = float(np.cos(phi)), float(np.sin(phi)) / scale
        assert table(c, gamma) == pytest.approx(turn_at(setting, c, gamma)[0], abs=1e-11)
        # homogeneous of degree -2
        assert table(3 * c, 3 * gamma) == pytest.approx(table(c, gamma) / 9, rel=1e-12)
    assert -table(1.0, 1.0) == pytest.approx(-0.0455274444015348, rel=1e-12)
    assert table(0.0, 1.0) == pytest.approx(0.0459631049811908, rel=1e-12)


def test_descent_past_the_wall_by_a_naive_recursion() -> None:
    """(a, b, c) with c learned: the update written out, with differences of the loss itself."""
    values, rate, kappa, step = [3.0, 2.0, 1.0], 0.2, 2.0, 1e-6

    def loss(c: float, gamma: float) -> float:
        return float(filter_loss(values, Filter.tied(gamma, loops=2, residual=c)).value)

    a, b, c = 1.0, 0.1, 0.5
    for _ in range(30):
        gamma = a * b
        of_gamma = (loss(c, gamma + step) - loss(c, gamma - step)) / (2 * step)
        of_c = (loss(c + step, gamma) - loss(c - step, gamma)) / (2 * step)
        a, b, c = (
            a - rate / 3 * b * of_gamma,
            b - rate / 3 * a * of_gamma,
            c - kappa * rate / 3 * of_c,
        )
    track = descend(
        EndToEnd(values, 2),
        learning_rate=rate,
        steps=30,
        start=(1.0, 0.1, 0.5),
        residual_rate=kappa,
    )
    np.testing.assert_allclose([track.a[-1], track.b[-1], track.c[-1]], [a, b, c], rtol=1e-7)


def test_the_flow_is_the_limit_of_small_steps_and_keeps_its_invariants() -> None:
    setting = EndToEnd([3.0, 2.0, 1.0], 2)
    track = flow(setting, time=20.0, start=(1.0, 0.0, 1.0), residual_rate=3.0)
    np.testing.assert_allclose(track.a**2 - track.b**2, 1.0, atol=1e-8)
    np.testing.assert_allclose(track.c**2 + 3.0 * track.b**2, 1.0, atol=1e-8)
    ends = [
        descend(
            setting,
            learning_rate=eta,
            steps=int(20 / eta),
            start=(1.0, 0.0, 1.0),
            residual_rate=3.0,
        ).b[-1]
        for eta in (0.1, 0.05)
    ]
    assert 2 * ends[1] - ends[0] == pytest.approx(track.b[-1], rel=1e-3)  # first order in eta
    late = flow(setting, time=1e4, start=(1.0, 0.0, 1.0), residual_rate=3.0)
    best = best_root(setting)
    assert late.end == "minimum"
    end = residual_end(best.rho, rate=3.0)
    np.testing.assert_allclose([late.a[-1], late.b[-1], late.c[-1]], end, rtol=1e-7)


def test_ends_of_descent_from_either_side_of_the_wall() -> None:
    setting = EndToEnd(TASK_2, 10)
    found = phases(
        setting,
        starts=np.array([0.0, -0.1, -0.2, -0.35, -0.5, -1.0]),
        rates=np.array([0.1, 1.0, 1000.0]),
        steps=2_000,
    )
    # -0.2 is -1/lambda_1 itself, where the gradient is 0
    assert found.ends[:, 0].tolist() == [
        "power method",
        "plateau",
        "no gradient",
        "minimum",
        "minimum",
        "minimum",
    ]
    assert found.ends[:, 1].tolist()[3:] == ["minimum"] * 3
    assert found.ends[4, 2] == "power method"  # a step so large that it jumps the wall
    assert found.ends[5, 2] != "power method"  # a = -b for ever: gamma = -a^2 stays below 0
    np.testing.assert_allclose(-1 / found.gammas[3:, 0], 2.3404626951337772, rtol=1e-5)


def test_the_plateau_is_never_called_converged() -> None:
    """At L = 50 f is 1 to rounding from rho = (lambda_1 + lambda_d)/2 to past lambda_1."""
    setting = EndToEnd(TASK_2, 50)
    for rho in (3.9, 4.5, 5.0, 5.2):
        assert state_of(setting, residual=1.0, gamma=-1 / rho) == "no gradient"
    assert state_of(setting, residual=1.0, gamma=-1 / best_root(setting).rho) == "minimum"
    assert state_of(setting, residual=1.0, gamma=-1 / 2.0) == "moving"


def test_the_borders_of_safety() -> None:
    assert safe_root(16, 32) == 32 / 30
    assert faster_below([3.0, 0.0, 0.0]) == 0.0
    for values in ([5.0, 4.0, 1.0], [5.0, 1.0, 1.0], [2.0, 1.9, 0.3, 0.1]):
        top, second, least = values[0], values[1], values[-1]
        border = faster_below(values)
        assert (border - least) / (top - border) == pytest.approx(second / top)
        border = no_worse_up_to(values)
        assert (border - least) / (top - border) == pytest.approx(least / top)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: descend(s, learning_rate=0.0, steps=5), "--learning-rate is 0"),
        (lambda s: descend(s, learning_rate=1.0, steps=5, residual_rate=-1.0), "rate of c is -1"),
        (lambda s: descend(s, learning_rate=1.0, steps=5, start=(1.0, 0.0, 0.0)), "both 0"),
        (lambda s: flow(s, time=0.0), "time of a flow is 0"),
        (lambda s: flow(s, time=1.0, start=(1.0, np.nan)), "not finite"),
        (lambda s: safe_root(1, 5), "--dim is 1"),
        (lambda s: safe_root(2, 0), "--samples is 0"),
    ],
)
def test_bad_input_is_one_line(call: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        call(EndToEnd([2.0, 1.0], 2))
    assert "\n" not in str(error.value)


def test_the_mean_over_x_is_the_mean_of_each() -> None:
    rows = Spectra.sphere(dim=4, samples=9, draws=3, seed=0).rows
    setting, roots = EndToEnd(rows, 3), np.array([-1.0, 0.4])
    each = [np.exp(log_loss_over_root(EndToEnd(row, 3), roots).value) for row in rows]
    np.testing.assert_allclose(
        np.exp(log_loss_over_root(setting, roots).value), np.mean(each, axis=0), rtol=1e-13
    )
    turns = [turn_over_root(EndToEnd(row, 3), roots).value for row in rows]
    np.testing.assert_allclose(
        turn_over_root(setting, roots).value, np.mean(turns, axis=0), rtol=1e-12
    )
