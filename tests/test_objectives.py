"""Objectives against NumPy, and their population values at scalar blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.objectives import EndToEnd, Layerwise, Model, Objective
from eigenloop.lab.problems import Batch, Rotated, Sphere, draw
from eigenloop.numerics.power import power_method
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.system.errors import InputError

x64 = pytest.mark.usefixtures("x64")


def scalar_model(gamma: float, *, dim: int, norm: bool = True) -> TwoBlock:
    return TwoBlock(a=jnp.eye(dim), b=gamma * jnp.eye(dim), norm=norm)


@x64
@pytest.mark.parametrize("tied", [False, True])
def test_end_to_end_is_the_squared_distance_to_the_top_eigenspace(tied: bool) -> None:
    distribution = (
        Rotated.planted([2, 2, 1, 1], dim=4, samples=6) if tied else Sphere(dim=4, samples=6)
    )
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4, 4))
    batch = draw(distribution, jax.random.key(1), 8)
    losses = EndToEnd(loops=3)(TwoBlock(a=jnp.asarray(a), b=jnp.asarray(b), norm=True), batch)
    for loss, gram, q in zip(losses, np.asarray(batch.gram), np.asarray(batch.query), strict=True):
        y = np.linalg.matrix_power(np.eye(4) + a @ gram @ b, 3) @ q
        y = y / np.linalg.norm(y)
        values, vectors = np.linalg.eigh(gram)
        distance = sum(
            (vectors[:, i] @ y) ** 2 for i in range(4) if values[i] < values[-1] - 1e-9 * values[-1]
        )
        assert float(loss) == pytest.approx(distance, abs=1e-13)  # rounding of ||y||^2 = 1


@x64
def test_end_to_end_is_zero_in_the_subspace_and_one_across_it() -> None:
    batch = draw(Rotated.planted([2, 2, 1, 1], dim=4, samples=6), jax.random.key(2), 4)
    vectors = jnp.linalg.eigh(batch.gram)[1]
    inside = 0.6 * vectors[:, :, 3] - 0.8 * vectors[:, :, 2]
    model = scalar_model(3.0, dim=4)
    np.testing.assert_allclose(EndToEnd(5)(model, batch._replace(query=inside)), 0, atol=1e-14)
    np.testing.assert_allclose(
        EndToEnd(5)(model, batch._replace(query=vectors[:, :, 0])), 1, atol=1e-14
    )


def test_end_to_end_refuses_what_has_no_meaning() -> None:
    batch = draw(Sphere(dim=3, samples=5), jax.random.key(0), 2)
    with pytest.raises(InputError, match=r"without normalisation is degenerate.*layerwise"):
        EndToEnd(loops=2)(scalar_model(1.0, dim=3, norm=False), batch)
    with pytest.raises(InputError, match=r"principal=True"):
        EndToEnd(loops=2)(scalar_model(1.0, dim=3), batch._replace(principal=None))
    assert EndToEnd.needs_principal
    assert not Layerwise.needs_principal


@x64
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("target", ["normalized", "unnormalized"])
def test_layerwise_is_its_formula(target: str, norm: bool) -> None:
    a, b = np.random.default_rng(3).normal(size=(2, 4, 4))
    batch = draw(Sphere(dim=4, samples=6), jax.random.key(4), 5, principal=False)
    losses = Layerwise(target)(TwoBlock(a=jnp.asarray(a), b=jnp.asarray(b), norm=norm), batch)  # pyright: ignore[reportArgumentType]
    for loss, gram, q in zip(losses, np.asarray(batch.gram), np.asarray(batch.query), strict=True):
        y = q + a @ gram @ b @ q
        y = y / np.sqrt(y @ y) if norm else y
        v = power_method(gram, q, loops=1)[-1] if target == "normalized" else gram @ q
        assert float(loss) == pytest.approx(sum((y - v) ** 2), rel=1e-12)


@x64
@pytest.mark.parametrize("gamma", [0.0, 0.7, 20.0])
def test_layerwise_at_scalar_blocks(gamma: float) -> None:
    batch = draw(Sphere(dim=4, samples=6), jax.random.key(5), 5, principal=False)
    gram, q = np.asarray(batch.gram), np.asarray(batch.query)
    sq = np.einsum("bij,bj->bi", gram, q)
    y, norm = q + gamma * sq, lambda v: np.linalg.norm(v, axis=1)
    cosine = np.sum(y * sq, axis=1) / norm(y) / norm(sq)
    np.testing.assert_allclose(
        Layerwise()(scalar_model(gamma, dim=4), batch), 2 - 2 * cosine, atol=1e-14
    )
    quadratic = gamma**2 * norm(sq) ** 2 + 2 * gamma * np.sum(q * sq, axis=1) + 1
    plain = scalar_model(gamma, dim=4, norm=False)
    to_unit = quadratic - 2 * np.sum(y * sq, axis=1) / norm(sq) + 1
    to_sq = (gamma - 1) ** 2 * norm(sq) ** 2 + 2 * (gamma - 1) * np.sum(q * sq, axis=1) + 1
    np.testing.assert_allclose(Layerwise("normalized")(plain, batch), to_unit, rtol=1e-11)
    np.testing.assert_allclose(Layerwise("unnormalized")(plain, batch), to_sq, rtol=1e-11)


@pytest.fixture(scope="module")
def task_2() -> Batch:
    """20,000 examples of Task 2 in float32."""
    return draw(
        Rotated.planted(DEFAULT_MULTIPLICITIES, dim=16, samples=32), jax.random.key(6), 20_000
    )


GAMMA_NORM, GAMMA_UNNORM = 0.0512454695385202, 0.627906976744186


@pytest.mark.parametrize(
    ("objective", "gamma", "norm", "population"),
    [
        # exact integrals over q in 30-digit arithmetic, independent of this package
        (Layerwise("normalized"), GAMMA_NORM, False, 0.226171883379953),
        (Layerwise("unnormalized"), GAMMA_UNNORM, False, 0.255813953488372),
        (EndToEnd(10), 0.0, True, 0.9375),
        (EndToEnd(10), 1.0, True, 0.144023888073007),
        (EndToEnd(10), 10.0, True, 0.102713027159870),
    ],
)
def test_population_values_of_task_2(
    objective: Objective, gamma: float, norm: bool, population: float, task_2: Batch
) -> None:
    losses = np.asarray(objective(scalar_model(gamma, dim=16, norm=norm), task_2), dtype=np.float64)
    error = losses.std(ddof=1) / np.sqrt(losses.size)
    assert error < 0.02 * population + 1e-4  # sharp enough to tell a wrong formula
    assert abs(losses.mean() - population) < 4 * error


@pytest.mark.parametrize(
    ("target", "best"), [("normalized", GAMMA_NORM), ("unnormalized", GAMMA_UNNORM)]
)
def test_gamma_star_is_where_the_slope_vanishes(target: str, best: float, task_2: Batch) -> None:
    def losses(gamma: float) -> np.ndarray:
        objective = Layerwise(target)  # pyright: ignore[reportArgumentType]
        return np.asarray(
            objective(scalar_model(gamma, dim=16, norm=False), task_2), dtype=np.float64
        )

    slope = (
        losses(best + 0.25) - losses(best - 0.25)
    ) / 0.5  # exact: the loss is quadratic in gamma
    assert abs(slope.mean()) < 4 * slope.std(ddof=1) / np.sqrt(slope.size)


def test_unknown_target_is_refused() -> None:
    # the type checker of the tests may be the one that speaks
    with pytest.raises(Exception, match=r"normali[sz]ed"):
        Layerwise("normalised")  # pyright: ignore[reportArgumentType]


def test_protocols_tell_models_and_objectives_apart() -> None:
    assert isinstance(scalar_model(1.0, dim=2), Model)
    assert isinstance(EndToEnd(2), Objective)
    assert isinstance(Layerwise(), Objective)
    assert not isinstance(EndToEnd(2), Model)
