"""The whole landscape without LN: sampled averages, its gradient, the scalar slice, and minima
below f*.
"""

import numpy as np
import pytest

from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES as TASK_2
from eigenloop.theory.landscape import Landscape, minimum, split_minimum
from eigenloop.theory.population import LayerwiseLinear, Target
from eigenloop.theory.stability import hessian

TARGETS: tuple[Target, ...] = ("normalized", "unnormalized")


def sampled(
    target: Target, values: np.ndarray, a: np.ndarray, b: np.ndarray, size: int
) -> tuple[float, float]:
    """Mean and standard error of ||q + ASBq - v||^2 over rotations of S and directions q."""
    rng, d = np.random.default_rng(2), values.size
    frames = np.linalg.qr(rng.standard_normal((size, d, d)))[0]
    q = rng.standard_normal((size, d))
    q /= np.linalg.norm(q, axis=1, keepdims=True)

    def apply_s(x: np.ndarray) -> np.ndarray:
        return np.einsum("kij,kj->ki", frames, values * np.einsum("kji,kj->ki", frames, x))

    v = apply_s(q)
    if target == "normalized":
        v /= np.linalg.norm(v, axis=1, keepdims=True)
    losses = np.sum((q + apply_s(q @ b.T) @ a.T - v) ** 2, axis=1)
    return float(losses.mean()), float(losses.std() / np.sqrt(size))


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_is_a_sampled_average(target: Target) -> None:
    values, rng = np.array([4.0, 2.0, 1.0, 0.5, 0.0]), np.random.default_rng(1)
    a, b = rng.standard_normal((2, 5, 5)) / 2
    mean, standard_error = sampled(target, values, a, b, 200_000)
    assert abs(Landscape.of(LayerwiseLinear(values, target)).loss(a, b) - mean) < 5 * standard_error


@pytest.mark.parametrize("target", TARGETS)
def test_multiples_of_the_identity_have_the_scalar_loss(target: Target) -> None:
    setting, eye = LayerwiseLinear(TASK_2, target), np.eye(16)
    field = Landscape.of(setting)
    for a, b in ((1.0, 0.0), (0.7, 0.4), (1.3, float(setting.optimum().value) / 1.3)):
        assert field.loss(a * eye, b * eye) == pytest.approx(
            float(setting.loss(a * b).value), rel=1e-12
        )


@pytest.mark.parametrize("target", TARGETS)
def test_its_gradient_and_its_curvature(target: Target) -> None:
    """Central differences; the Hessian at multiples of I is that of `stability.hessian`, by
    another route.
    """
    setting, rng, h = LayerwiseLinear(TASK_2, target), np.random.default_rng(3), 1e-5
    field, (a, b, e, f) = Landscape.of(setting), rng.standard_normal((4, 16, 16)) / 4
    of_a, of_b = field.gradient(a, b)
    measured = (field.loss(a + h * e, b + h * f) - field.loss(a - h * e, b - h * f)) / (2 * h)
    assert measured == pytest.approx(float(np.sum(of_a * e) + np.sum(of_b * f)), rel=1e-7)
    eye = np.eye(16)
    for name, direction in (
        ("antisymmetric", e - e.T),
        ("symmetric traceless", e + e.T - np.trace(e + e.T) / 16 * eye),
    ):
        unit = direction / np.linalg.norm(direction)
        start = field.gradient(1.1 * eye, 0.3 * eye)
        pushed = [
            field.gradient(1.1 * eye + h * unit, 0.3 * eye),
            field.gradient(1.1 * eye, 0.3 * eye + h * unit),
        ]
        found = [
            [np.sum((after - before) * unit) / h for after, before in zip(one, start, strict=True)]
            for one in pushed
        ]
        np.testing.assert_allclose(found, hessian(setting, a=1.1, b=0.3)[name].hessian, atol=2e-4)


def test_the_normalised_target_has_minima_below_f_star_and_the_other_has_none() -> None:
    floors = {target: float(LayerwiseLinear(TASK_2, target).floor().value) for target in TARGETS}
    fields = {target: Landscape.of(LayerwiseLinear(TASK_2, target)) for target in TARGETS}
    best = minimum(fields["normalized"], starts=8)
    half = split_minimum(fields["normalized"], 8)
    assert best.loss == pytest.approx(half.loss, rel=1e-6)
    assert best.loss < 0.87 * floors["normalized"]
    assert max(abs(part).max() for part in fields["normalized"].gradient(best.a, best.b)) < 1e-6
    assert minimum(fields["unnormalized"], starts=2).loss == pytest.approx(
        floors["unnormalized"], rel=1e-9
    )


def test_splits_of_rank_0_and_16_are_the_scalar_minimum() -> None:
    setting = LayerwiseLinear(TASK_2)
    field, floor = Landscape.of(setting), float(setting.floor().value)
    losses = [split_minimum(field, rank).loss for rank in range(17)]
    assert losses[0] == pytest.approx(floor, rel=1e-9)
    np.testing.assert_allclose(losses, losses[::-1], rtol=1e-7)
    # where SGD from the paper's start ends (docs/theory/beyond.md)
    assert losses[5] == pytest.approx(0.1987, abs=1e-4)
