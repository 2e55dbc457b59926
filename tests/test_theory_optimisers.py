"""Momentum and Adam on the population: optax, recursions written out, and paths of a program
that shares no code.
"""

import csv
import math
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES as TASK_2
from eigenloop.system.errors import InputError
from eigenloop.theory.dynamics import Path as Descent
from eigenloop.theory.dynamics import long_run, recursion
from eigenloop.theory.optimisers import (
    Rule,
    adam,
    adam_run,
    clock_shift,
    descent,
    heavy_ball,
    heavy_ball_run,
)
from eigenloop.theory.population import EndToEnd, LayerwiseNorm
from eigenloop.theory.slopes import slope_function

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {"looped": EndToEnd(TASK_2, 10), "single": LayerwiseNorm(TASK_2)}
MODELS = list(SETTINGS)


def measured_once() -> dict[tuple[str, str], dict[int, tuple[float, float]]]:
    """docs/theory/optimisers.csv by tools/optimiser_paths.py: (model, rule) -> step -> (a, b)."""
    found: dict[tuple[str, str], dict[int, tuple[float, float]]] = {}
    with (ROOT / "docs" / "theory" / "optimisers.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path = found.setdefault((row["model"], row["rule"]), {})
            path[int(row["step"])] = float(row["a"]), float(row["b"])
    return found


TABLE = measured_once()


def exponent(model: str, rule: str, first: int, last: int) -> float:
    """Slope of log gamma^(1/2) over log t in the table."""
    rows = [(step, a * b) for step, (a, b) in TABLE[model, rule].items() if first <= step <= last]
    logs = np.log(rows)
    return float(np.polyfit(logs[:, 0], logs[:, 1] / 2, 1)[0])


def shift_in_table(model: str, step: int) -> float:
    """Signed steps by which momentum is ahead; plain gradient descent's speed from its
    recursion.
    """
    (a, b), (plain_a, plain_b) = TABLE[model, "momentum"][step], TABLE[model, "plain"][step]
    k = -float(SETTINGS[model].slope(plain_a * plain_b).value) / 16
    speed = math.log1p(k * (plain_a**2 + plain_b**2) / (plain_a * plain_b) + k * k)
    return math.log(a * b / (plain_a * plain_b)) / speed


@pytest.mark.parametrize(
    ("rule", "oracle"),
    [
        (heavy_ball(learning_rate=0.1, momentum=0.9), optax.sgd(0.1, momentum=0.9)),
        (heavy_ball(learning_rate=0.1, momentum=0.0), optax.sgd(0.1)),
        (adam(learning_rate=0.02, epsilon=1e-3), optax.adam(0.02, eps=1e-3)),
    ],
    ids=["momentum", "plain", "adam"],
)
def test_the_rules_are_those_of_optax(
    rule: Rule, oracle: optax.GradientTransformation, standard_promotion: None
) -> None:
    gradients = (
        np.random.default_rng(0).standard_normal((300, 2)) * np.geomspace(1, 1e-3, 300)[:, None]
    )
    state = oracle.init(jnp.zeros(2))
    for g in gradients:
        updates, state = oracle.update(jnp.asarray(g, jnp.float32), state)
        # optax in float32
        np.testing.assert_allclose(rule(*map(float, g)), np.asarray(updates), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("model", MODELS)
def test_descent_is_the_recursion_written_out(model: str) -> None:
    """Without momentum it is `recursion`; with it, every step with f' from the integrals
    themselves.
    """
    setting, rate, beta = SETTINGS[model], 0.1, 0.9
    plain = descent(setting, heavy_ball(learning_rate=rate, momentum=0.0), steps=500)
    np.testing.assert_allclose(
        plain.a, recursion(setting, learning_rate=rate, steps=500).a, rtol=1e-13
    )
    x, before = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    for _ in range(100):
        g = float(setting.slope(float(x.prod())).value) / 16 * x[::-1]
        x, before = x - rate * g + beta * (x - before), x
    found = descent(setting, heavy_ball(learning_rate=rate, momentum=beta), steps=100)
    np.testing.assert_allclose([found.a[-1], found.b[-1]], x, rtol=1e-11)


@pytest.mark.parametrize("model", MODELS)
def test_the_table_begins_as_the_recursions_written_out(model: str) -> None:
    """By the slopes of tools/optimiser_paths.py, which are the package's to 1e-11."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from optimiser_paths import SLOPES  # pyright: ignore[reportMissingImports]
    finally:
        sys.path.pop(0)
    slope, package = SLOPES[model], slope_function(SETTINGS[model])
    for gamma in (0.0, 0.3, 20.0, 3e4):
        assert slope(gamma) == pytest.approx(package(gamma), rel=1e-11)
    a, b, m, v = 1.0, 0.0, np.zeros(2), np.zeros(2)
    for t in range(1, 11):
        g = package(a * b) / 16 * np.array([b, a])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        a, b = np.array([a, b]) - 1e-3 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert TABLE[model, "adam"][10] == pytest.approx((a, b), rel=1e-10)
    for rule, rate, beta in (("momentum", 0.1, 0.9), ("plain", 1.0, 0.0)):
        x, before = np.array([1.0, 0.0]), np.array([1.0, 0.0])
        for _ in range(100):
            x, before = x - rate * package(float(x.prod())) / 16 * x[::-1] + beta * (x - before), x
        assert TABLE[model, rule][100] == pytest.approx(tuple(x), rel=1e-11)


@pytest.mark.parametrize("model", MODELS)
def test_the_flow_of_momentum_is_its_recursion_where_both_run(model: str) -> None:
    setting, steps = SETTINGS[model], 30_000
    every = descent(setting, heavy_ball(learning_rate=0.1, momentum=0.9), steps=steps)
    flow = heavy_ball_run(setting, learning_rate=0.1, momentum=0.9, steps=steps)
    np.testing.assert_array_equal(flow.steps, every.steps)
    np.testing.assert_allclose(flow.gamma, every.gamma, rtol=3e-7)
    assert abs(flow.gamma[-1] / every.gamma[-1] - 1) < 2 * flow.error


@pytest.mark.parametrize("model", MODELS)
def test_without_momentum_the_flow_is_that_of_gradient_descent(model: str) -> None:
    """But for the third difference, of the order of t^-2 where the flow begins."""
    found = heavy_ball_run(SETTINGS[model], learning_rate=1.0, momentum=0.0, steps=1e6)
    plain = long_run(SETTINGS[model], learning_rate=1.0, steps=1e6)
    np.testing.assert_allclose(found.gamma[1:], plain.gamma[1:], rtol=2e-8)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("steps", [200_000, 20_000_000])
def test_momentums_signed_shift_of_the_clock(model: str, steps: int) -> None:
    """The flow against the recursion step by step; they differ by two hundredths of a step of
    2e7.
    """
    path = heavy_ball_run(SETTINGS[model], learning_rate=0.1, momentum=0.9, steps=steps)
    plain = long_run(SETTINGS[model], learning_rate=1.0, steps=steps)
    assert clock_shift(path, plain)[-1] == pytest.approx(shift_in_table(model, steps), abs=0.1)


@pytest.mark.parametrize("model", MODELS)
def test_adam_with_its_epsilon_is_its_recursion(model: str) -> None:
    path = adam_run(SETTINGS[model], learning_rate=1e-3, steps=10_000_000)
    a, b = TABLE[model, "adam"][10_000_000]
    assert path.gamma[-1] == pytest.approx(a * b, rel=3e-5)
    assert abs(path.gamma[-1] / (a * b) - 1) < 2 * path.error


def test_a_clock_that_is_seven_steps_ahead() -> None:
    steps = np.round(np.geomspace(1e4, 1e6, 41))
    ones = np.ones_like(steps)
    plain, ahead = (Descent(steps, np.sqrt(steps + late), ones, 0.0) for late in (0, 7))
    np.testing.assert_allclose(clock_shift(ahead, plain)[1:], 7.0, rtol=5e-3)
    np.testing.assert_allclose(clock_shift(plain, ahead)[1:], -7.0, rtol=5e-3)
    with pytest.raises(InputError, match="record different steps"):
        clock_shift(ahead, Descent(steps + 1, ones, ones, 0.0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: heavy_ball(learning_rate=0.1, momentum=1.0),
            "momentum is 1; it must be at least 0 and below 1",
        ),
        (lambda: adam(learning_rate=0.1, epsilon=0.0), "epsilon is 0; it must be positive"),
        (lambda: adam(learning_rate=0.1, second=1.0), "beta2 is 1"),
        (lambda: adam_run(SETTINGS["looped"], learning_rate=0.0, steps=10), "--learning-rate is 0"),
        (
            lambda: heavy_ball_run(SETTINGS["looped"], learning_rate=1.0, momentum=0.5, steps=0),
            "--steps is 0",
        ),
    ],
)
def test_settings_without_meaning_are_refused(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
