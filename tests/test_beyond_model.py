"""Starts b_0, residual weights c and untied layers: reduction, runs, looping, and what stays."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.checkpoints import load_run, load_weights
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.looping import loop_matrices, looped_sines
from eigenloop.lab.objectives import EndToEnd, Layerwise, Model, Objective
from eigenloop.lab.problems import Batch, Sphere, draw
from eigenloop.lab.run_directory import RunDirectory
from eigenloop.lab.training import train
from eigenloop.lab.transformer import LoopedTransformer
from eigenloop.predict.recipes import blocks_of_run
from eigenloop.system.errors import InputError
from eigenloop.system.files import load_arrays
from eigenloop.theory.filters.price import pass_factor

x64 = pytest.mark.usefixtures("x64")

D, LAYERS = 4, 3
FORMS: dict[str, dict[str, Any]] = {
    "fixed c": {"residual": 0.7},
    "negative c": {"residual": -0.4},
    "learned c": {"learn_residual": True, "residual": -0.6},
    "untied": {"layers": LAYERS},
    "untied, learned c": {"layers": LAYERS, "learn_residual": True, "residual": 0.8},
}
TINY: dict[str, Any] = {"dim": 3, "samples": 5, "batch": 8, "train_size": 40, "test_size": 16}


class Squares:
    """||y_L - r||^2 with a fixed r: a loss with or without N."""

    needs_principal = False

    def __call__(self, model: Model, batch: Batch) -> jax.Array:
        target = jnp.linspace(-1, 1, batch.query.shape[1])[None]
        return jnp.sum((model.outputs(batch, loops=LAYERS) - target) ** 2, axis=1)


def random_model(form: dict[str, Any], *, norm: bool, scale: float = 0.4) -> TwoBlock:
    start = TwoBlock.initial(dim=D, norm=norm, **form)
    a, b = scale * np.random.default_rng(3).normal(size=(2, *start.a.shape))
    c = start.c if start.c is None else start.c + 0.1 * jnp.arange(1.0, start.c.size + 1)[0]
    return TwoBlock(jnp.asarray(a), jnp.asarray(b), norm, c, start.residual, start.untied)


def batch(count: int = 3) -> Batch:
    return draw(Sphere(dim=D, samples=6), jax.random.key(1), count)


# --- the reduction


@x64
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    ("objective", "norm"),
    [(EndToEnd(LAYERS), True), (Layerwise(), False), (Squares(), False)],
    ids=["end-to-end", "layerwise", "without N"],
)
def test_the_other_blocks_have_no_gradient_sample_by_sample(
    form: dict[str, Any], objective: Objective, norm: bool
) -> None:
    """Exactly zero: c scales every column alike, and untied layers flip signs together."""
    reduced, data = random_model(form, norm=norm), batch()
    full = reduced.lift()
    np.testing.assert_allclose(objective(full, data), objective(reduced, data), rtol=1e-12)
    of_full = jax.jacrev(lambda model: objective(model, data))(full)
    of_reduced = jax.jacrev(lambda model: objective(model, data))(reduced)
    grad_v, grad_w = np.array(of_full.v), np.array(of_full.w)
    for found, expected in (
        (grad_v[..., D:, :D], of_reduced.a),
        (grad_w[..., :D, D:], of_reduced.b),
    ):
        scale = float(np.max(abs(np.asarray(expected))))
        assert scale > 1e-3
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * scale)
    grad_v[..., D:, :D] = 0
    grad_w[..., :D, D:] = 0
    assert np.all(grad_v == 0.0)
    assert np.all(grad_w == 0.0)
    if reduced.c is not None:
        # N takes a data vector's length out, and c's pull on it with it: to rounding
        np.testing.assert_allclose(of_full.c, of_reduced.c, rtol=1e-10, atol=1e-13)
        assert np.max(abs(np.asarray(of_full.c))) > 1e-3


@x64
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("b0", [0.0, -0.5])
def test_both_engines_start_alike_and_lift_is_undone(form: dict[str, Any], b0: float) -> None:
    reduced = TwoBlock.initial(dim=D, norm=True, b0=b0, **form)
    full = LoopedTransformer.initial(dim=D, norm=True, b0=b0, **form)
    for one, other in ((reduced.lift(), full), (TwoBlock.from_full(full), reduced)):
        assert jax.tree.structure(one) == jax.tree.structure(other)
        for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(x, y)
            assert x.dtype == jnp.float64
    blocks = np.asarray(reduced.b).reshape(-1, D, D)
    np.testing.assert_array_equal(blocks, np.broadcast_to(b0 * np.eye(D), blocks.shape))


@x64
def test_a_layer_is_what_it_says() -> None:
    """N(c q + A S B q) layer by layer in NumPy, round again at the end; S shrinks without N."""
    data, form = batch(1), FORMS["untied, learned c"]
    for norm in (True, False):
        model = random_model(form, norm=norm)
        s, q = np.asarray(data.gram[0]), np.asarray(data.query[0])
        a, b, c = (np.asarray(leaf) for leaf in (model.a, model.b, model.c))
        for k in range(5):
            q = c[k % 3] * q + a[k % 3] @ s @ b[k % 3] @ q
            q, s = (q / np.linalg.norm(q), s) if norm else (q, c[k % 3] ** 2 * s)
        np.testing.assert_allclose(model(data.gram[0], data.query[0], loops=5), q, rtol=1e-12)
        np.testing.assert_allclose(model.outputs(data, loops=5)[0], q, rtol=1e-12)


@x64
def test_layers_that_are_equal_share_the_gradient_of_the_tied_model() -> None:
    data, objective = batch(), EndToEnd(LAYERS)
    tied = random_model({}, norm=True)
    stack = (LAYERS, D, D)
    untied = TwoBlock(
        jnp.broadcast_to(tied.a, stack), jnp.broadcast_to(tied.b, stack), True, untied=True
    )

    def gradient(model: TwoBlock) -> TwoBlock:
        return jax.grad(lambda m: jnp.mean(objective(m, data)))(model)

    whole, parts = gradient(tied), gradient(untied)
    np.testing.assert_allclose(parts.a.sum(0), whole.a, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(parts.b.sum(0), whole.b, rtol=1e-10, atol=1e-13)
    # with multiples of I layers commute, and each has the same share of the mean over rotations
    eye = jnp.eye(D)
    scalar = TwoBlock(
        jnp.broadcast_to(1.2 * eye, stack), jnp.broadcast_to(0.5 * eye, stack), True, untied=True
    )
    traces = jnp.trace(gradient(scalar).a, axis1=1, axis2=2)
    np.testing.assert_allclose(traces, traces[0] * jnp.ones(LAYERS), rtol=1e-12)


# --- runs


RUN: dict[str, Any] = {**TINY, "loops": 2, "steps": 6, "learning_rate": 0.02, "dtype": "float64"}


@pytest.mark.parametrize(
    "values",
    [
        {"b0": -0.5, "untied": True, "learn_residual": True, "residual": 0.9, "seeds": 2},
        {"residual": -0.8, "b0": 0.3},
    ],
    ids=["untied, learned c", "fixed c"],
)
def test_a_run_is_the_same_resumed_and_read_back(tmp_path: Path, values: dict[str, Any]) -> None:
    config = TrainConfig.create(**RUN, **values, snapshots=(3,))
    whole = train(config, tmp_path / "whole")
    train(TrainConfig.create(**{**RUN, "steps": 2}, **values, snapshots=(3,)), tmp_path / "parts")
    resumed = train(config, tmp_path / "parts")
    again = load_run(tmp_path / "whole")
    weights = load_weights(tmp_path / "whole", config)
    for other in (resumed.model, again.model, weights):
        assert jax.tree.structure(other) == jax.tree.structure(whole.model)
        for x, y in zip(jax.tree.leaves(other), jax.tree.leaves(whole.model), strict=True):
            np.testing.assert_array_equal(x, y)
    for x, y in zip(*map(jax.tree.leaves, (again.snapshots, whole.snapshots)), strict=True):
        np.testing.assert_array_equal(x, y)
    assert np.ptp(whole.metrics["test_loss"]) > 1e-4
    held = load_arrays(tmp_path / "whole" / RunDirectory.WEIGHTS)
    if config.learn_residual:
        c = np.asarray(whole.model.c)
        np.testing.assert_array_equal(held["c"], c)
        np.testing.assert_allclose(whole.metrics["c"][-1], c.mean(-1), rtol=1e-15)
        assert whole.summary()["c"] == pytest.approx(whole.metrics["c"][-1].tolist())
        v, w = np.asarray(whole.model.v), np.asarray(whole.model.w)
        gamma = np.einsum("klij,klji->kl", v[..., 3:, :3], w[..., :3, 3:]) / 3
        np.testing.assert_allclose(whole.metrics["gamma"][-1], gamma.mean(1), rtol=1e-12)
    else:
        assert set(held) == {"V", "W"}
        assert "c" not in whole.metrics


@pytest.mark.slow
@pytest.mark.parametrize(
    "values", [{"b0": -0.5, "untied": True, "learn_residual": True}, {"residual": -0.8}]
)
def test_both_engines_follow_one_trajectory(values: dict[str, Any]) -> None:
    settings: dict[str, Any] = {**RUN, **values, "snapshots": (3,)}
    reduced, full = (
        train(TrainConfig.create(**settings, engine=engine)) for engine in ("reduced", "full")
    )
    for step in (3, 6):
        models = [run.model if step == 6 else run.snapshots[step] for run in (reduced, full)]
        for x, y in zip(*map(jax.tree.leaves, models), strict=True):
            np.testing.assert_allclose(x, y, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(full.metrics["inactive_max"], 0.0)


def test_settings_of_the_paper_are_not_named_in_a_run(tmp_path: Path) -> None:
    """So that a run of a version without them goes on, and one with them is another run."""
    plain = TrainConfig.create(**RUN)
    assert not {"b0", "residual", "learn_residual", "untied"} & plain.plain().keys()
    train(plain, tmp_path)
    for other in ({"b0": -0.5}, {"untied": True}, {"residual": 0.5}, {"learn_residual": True}):
        (name,) = other
        with pytest.raises(InputError, match=f"{name} is not set there"):
            train(TrainConfig.create(**RUN, **other), tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"residual": 0.0}, "--residual is 0"),
        ({"b0": float("inf")}, "--b0 is inf; it must be finite"),
        ({"untied": True, "objective": "layerwise"}, "--untied is for --objective end-to-end"),
    ],
)
def test_what_makes_no_model_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig.create(**TINY, **values)


def test_predict_takes_no_model_that_it_would_run_wrongly(tmp_path: Path) -> None:
    train(TrainConfig.create(**RUN, untied=True), tmp_path)
    with pytest.raises(InputError, match="was trained with --untied"):
        blocks_of_run(tmp_path, dim=3)


# --- looping


@x64
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_looped_sines_are_those_of_the_model(form: dict[str, Any]) -> None:
    data, model = batch(2), random_model(form, norm=True)
    assert data.principal is not None
    basis = np.asarray(data.principal)
    c = model.residual if model.c is None else np.asarray(model.c)
    found = looped_sines(
        np.asarray(model.a),
        np.asarray(model.b),
        gram=np.asarray(data.gram),
        query=np.asarray(data.query),
        basis=basis,
        loops=5,
        residual=c,
    )
    for k in (1, 3, 5):
        y = np.asarray(model.outputs(data, loops=k))
        outside = y - np.einsum("bdm,bem,be->bd", basis, basis, y)
        np.testing.assert_allclose(found[k], np.linalg.norm(outside, axis=1), rtol=1e-10)


def test_past_the_wall_a_loop_contracts_by_the_filters_factor() -> None:
    """gamma = -0.4, the root at 2.5: factor 0.6 where the power method's is 0.8."""
    values = np.array([5.0, 4.0, 2.0, 1.0])
    sines = looped_sines(
        np.eye(4),
        -0.4 * np.eye(4),
        gram=np.diag(values),
        query=np.array([[0.5, -0.5, 0.5, 0.5]]),
        basis=np.eye(4)[:, :1],
        loops=60,
    )[:, 0]
    factor = float(pass_factor([2.5], values))
    assert factor == pytest.approx(0.6)
    assert sines[60] / sines[59] == pytest.approx(factor, rel=1e-9)


def test_a_loop_of_untied_layers_is_a_pass_of_them_all(tmp_path: Path) -> None:
    run = train(TrainConfig.create(**RUN, untied=True, b0=-0.4, learn_residual=True))
    matrices, _ = loop_matrices(run, seed=2)
    with jax.enable_x64(True):
        gram = np.asarray(draw(run.config.distribution(), jax.random.key(2), 1).gram[0])
    model = TwoBlock.from_full(run.model)
    a, b, c = (np.asarray(leaf)[0] for leaf in (model.a, model.b, model.c))
    first, second = (c[k] * np.eye(3) + a[k] @ gram @ b[k] for k in range(2))
    np.testing.assert_allclose(matrices[run.done], second @ first, rtol=1e-12)


@pytest.mark.parametrize("size", [1e-19, -1e20])
def test_a_residual_whose_squares_leave_float32_is_refused(size: float) -> None:
    with pytest.raises(InputError, match="1e-15 to 1e15"):
        TrainConfig.create(dim=4, samples=8, steps=20, residual=size)
