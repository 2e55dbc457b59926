"""The exact reduction to two blocks, its loops with their hand-written reverse pass, and the
power method in them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigenloop.lab.blocks import TwoBlock, linear_loops
from eigenloop.lab.objectives import EndToEnd, Layerwise, Model, Objective
from eigenloop.lab.problems import Batch, Rotated, Sphere, draw
from eigenloop.lab.transformer import LoopedTransformer
from eigenloop.numerics.power import normalize, power_method
from eigenloop.numerics.spectrum import (
    DEFAULT_MULTIPLICITIES,
    random_orthogonal,
    symmetric_with_spectrum,
)

x64 = pytest.mark.usefixtures("x64")


class Squares:
    """||y_L - r||^2 with a fixed r: a loss that every model and number of loops has."""

    needs_principal = False

    def __init__(self, loops: int) -> None:
        self.loops = loops

    def __call__(self, model: Model, batch: Batch) -> jax.Array:
        residual = (
            model.outputs(batch, loops=self.loops) - jnp.linspace(-1, 1, batch.query.shape[1])[None]
        )
        return jnp.sum(residual * residual, axis=1)


def random_blocks(seed: int, dim: int, *, norm: bool, scale: float = 0.5) -> TwoBlock:
    a, b = scale * np.random.default_rng(seed).normal(size=(2, dim, dim))
    return TwoBlock(a=jnp.asarray(a), b=jnp.asarray(b), norm=norm)


def plain_loops(model: TwoBlock, batch: Batch, loops: int) -> jax.Array:
    return jax.vmap(lambda s, q: model(s, q, loops=loops))(batch.gram, batch.query)


def close(found: Any, expected: Any, rtol: float) -> None:
    """Equal to `rtol` of the largest entry of each example."""
    found, expected = np.asarray(found), np.asarray(expected)
    size = np.max(abs(expected), axis=tuple(range(1, expected.ndim)), keepdims=True)
    assert np.max(abs(found - expected) / size) < rtol


# --- the reduction


@x64
@pytest.mark.parametrize(
    ("objective", "norm"),
    [(EndToEnd(loops), True) for loops in (1, 3, 10)]
    + [
        (Layerwise(target), norm)
        for target in ("normalized", "unnormalized")
        for norm in (True, False)
    ]
    + [(Squares(loops), norm) for loops in (1, 3, 10) for norm in (True, False)],
    ids=lambda value: (
        f"{type(value).__name__}{vars(value)}" if callable(value) else f"norm={value}"
    ),
)
def test_full_and_reduced_model_have_the_same_gradients_sample_by_sample(
    objective: Objective, norm: bool
) -> None:
    d = 4
    # without N the state grows by a factor of about 3 a loop: smaller blocks keep ten loops in
    # range
    reduced = random_blocks(0, d, norm=norm, scale=0.5 if norm else 0.2)
    batch = draw(Sphere(dim=d, samples=6), jax.random.key(1), 3)

    def full_losses(v: jax.Array, w: jax.Array) -> jax.Array:
        return objective(LoopedTransformer(v=v, w=w, norm=norm), batch)

    def reduced_losses(a: jax.Array, b: jax.Array) -> jax.Array:
        return objective(TwoBlock(a=a, b=b, norm=norm), batch)

    full = reduced.lift()
    np.testing.assert_allclose(
        full_losses(full.v, full.w), reduced_losses(reduced.a, reduced.b), rtol=1e-12
    )
    grad_v, grad_w = map(np.array, jax.jacrev(full_losses, argnums=(0, 1))(full.v, full.w))
    grad_a, grad_b = jax.jacrev(reduced_losses, argnums=(0, 1))(reduced.a, reduced.b)
    # there is something to compare in every sample
    assert np.min(np.max(abs(grad_v), axis=(1, 2))) > 1e-3
    close(grad_v[:, d:, :d], grad_a, 1e-12)
    close(grad_w[:, :d, d:], grad_b, 1e-12)
    grad_v[:, d:, :d] = 0
    grad_w[:, :d, d:] = 0
    assert np.all(grad_v == 0.0)  # the six other blocks: exactly, in every sample
    assert np.all(grad_w == 0.0)


@x64
def test_blocks_that_are_not_zero_do_get_a_gradient() -> None:
    # the zeros above are a property of the reduced manifold, not of a model that never reads those
    # blocks
    rng = np.random.default_rng(2)
    v, w = (jnp.asarray(0.4 * rng.normal(size=(8, 8))) for _ in range(2))
    batch = draw(Sphere(dim=4, samples=6), jax.random.key(1), 2)
    gradients = jax.jacrev(
        lambda v, w: Squares(3)(LoopedTransformer(v=v, w=w, norm=True), batch), argnums=(0, 1)
    )(v, w)
    for gradient in gradients:
        blocks = np.asarray(gradient).reshape(2, 2, 4, 2, 4)
        assert np.min(np.max(abs(blocks), axis=(2, 4))) > 1e-4


@x64
def test_lift_and_from_full_are_inverse() -> None:
    stacked = TwoBlock(
        a=jnp.arange(8.0).reshape(2, 2, 2), b=-jnp.arange(8.0).reshape(2, 2, 2), norm=True
    )
    for model in (random_blocks(3, 3, norm=False), stacked):
        full = model.lift()
        back = TwoBlock.from_full(full)
        np.testing.assert_array_equal(back.a, model.a)
        np.testing.assert_array_equal(back.b, model.b)
        assert back.norm == full.norm == model.norm
    d = 3
    start, full = (
        TwoBlock.initial(dim=d, norm=True).lift(),
        LoopedTransformer.initial(dim=d, norm=True),
    )
    np.testing.assert_array_equal(start.v, full.v)
    np.testing.assert_array_equal(start.w, full.w)
    entries = np.arange(36.0).reshape(6, 6)
    blocks = TwoBlock.from_full(
        LoopedTransformer(v=jnp.asarray(entries), w=-jnp.asarray(entries), norm=True)
    )
    np.testing.assert_array_equal(blocks.a, entries[3:, :3])  # V_21
    np.testing.assert_array_equal(blocks.b, -entries[:3, 3:])  # W_12


# --- the loops


def state_lengths(model: TwoBlock, batch: Batch, loops: int) -> np.ndarray:
    """||x_k|| of the linear map, k = 0..L, one column for each example (NumPy)."""
    gram, x = np.asarray(batch.gram), np.asarray(batch.query)
    lengths = [np.linalg.norm(x, axis=1)]
    for _ in range(loops):
        x = x + np.einsum("ij,njk,kl,nl->ni", np.asarray(model.a), gram, np.asarray(model.b), x)
        lengths.append(np.linalg.norm(x, axis=1))
    return np.array(lengths)


@x64
@settings(max_examples=25)
@given(
    loops=st.sampled_from([0, 1, 2, 3, 4, 5, 8, 9, 30, 60]),
    seed=st.integers(0, 10**6),
    norm=st.booleans(),
)
def test_linear_loops_are_plain_loops(loops: int, seed: int, norm: bool) -> None:
    model = random_blocks(seed, 3, norm=norm, scale=0.3)
    batch = draw(Sphere(dim=3, samples=5), jax.random.key(seed), 2, principal=False)
    found, expected = model.outputs(batch, loops=loops), plain_loops(model, batch, loops)
    # a few roundings in each loop, relative to the longest state on the way
    lengths = state_lengths(model, batch, loops)
    longest = lengths.max(axis=0) / (lengths[-1] if norm else 1)
    assert np.all(
        np.max(abs(np.asarray(found - expected)), axis=1) <= 1e-14 * (loops + 1) * longest
    )


def both_losses(norm: bool, loops: int, target: jax.Array) -> tuple[Any, Any]:
    """sum_i target_i . y_i as functions of (A, B, S, q): through `linear_loops` and through
    plain loops.
    """

    def fast(a: jax.Array, b: jax.Array, gram: jax.Array, query: jax.Array) -> jax.Array:
        scaled: Any = linear_loops(loops, a, b, gram, query)
        return jnp.sum(target * (normalize(scaled[0]) if norm else scaled[0] / scaled[1]))

    def plain(a: jax.Array, b: jax.Array, gram: jax.Array, query: jax.Array) -> jax.Array:
        model = TwoBlock(a=a, b=b, norm=norm)
        y = jax.vmap(lambda s, q: model(s, q, loops=loops))(gram, query)
        return jnp.sum(target * (normalize(y) if norm and loops == 0 else y))

    return fast, plain


@x64
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("loops", [0, 1, 2, 4, 5, 11, 40])
def test_reverse_pass_is_autodiff_of_plain_loops(loops: int, norm: bool) -> None:
    model = random_blocks(4, 4, norm=norm, scale=0.4)
    batch = draw(Sphere(dim=4, samples=7), jax.random.key(5), 3, principal=False)
    target = jax.random.normal(jax.random.key(6), (3, 4))
    arguments = (model.a, model.b, batch.gram, batch.query)
    fast, plain = both_losses(norm, loops, target)
    found, expected = (jax.grad(f, argnums=(0, 1, 2, 3))(*arguments) for f in (fast, plain))
    for ours, reference in zip(found, expected, strict=True):
        # S enters through its first index here and its second there: equal for symmetric S, entry
        # by entry too (with N, 40 loops leave 1e-12 of dy/dq: what remains there is rounding of
        # cotangents of size 1)
        scale = float(jnp.max(jnp.abs(reference)))
        np.testing.assert_allclose(ours, reference, atol=1e-12 * scale + 1e-16 * loops, rtol=0)
    # and the slope along a direction that keeps S symmetric is the central difference
    direction = 0.5 * (batch.gram @ batch.gram) / 7
    step = 1e-6
    ends = [
        fast(model.a, model.b, batch.gram + sign * step * direction, batch.query)
        for sign in (1, -1)
    ]
    slope = float(jnp.sum(found[2] * direction))
    assert slope == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("loops", [3, 7, 60])
def test_huge_blocks_neither_overflow_nor_lose_digits_in_float32(loops: int) -> None:
    # gamma = 1e6: the plain state grows 5e6-fold a loop and passes 1e38 in the sixth
    batch = draw(Rotated.planted(DEFAULT_MULTIPLICITIES, dim=16, samples=32), jax.random.key(0), 4)
    model = TwoBlock(a=1e3 * jnp.eye(16), b=1e3 * jnp.eye(16), norm=True)
    assert model.a.dtype == jnp.float32
    found, expected = model.outputs(batch, loops=loops), plain_loops(model, batch, loops)
    # eps = 1.2e-7, a few per loop
    np.testing.assert_allclose(found, expected, atol=2e-7 * (loops + 5))
    fast, plain = both_losses(True, loops, jnp.ones((4, 16)))
    gradients = jax.grad(fast, argnums=(0, 1, 2, 3))(model.a, model.b, batch.gram, batch.query)
    assert all(bool(jnp.all(jnp.isfinite(gradient))) for gradient in gradients)
    with jax.enable_x64(True):
        exact = tuple(
            jnp.asarray(np.asarray(x, dtype=np.float64))
            for x in (model.a, model.b, batch.gram, batch.query)
        )
        fast, plain = both_losses(True, loops, jnp.ones((4, 16)))
        for ours, reference in zip(
            (jax.grad(fast, argnums=(0, 1))(*exact)),
            jax.grad(plain, argnums=(0, 1))(*exact),
            strict=True,
        ):
            size = float(jnp.max(jnp.abs(reference)))
            # they are 1e-6 of what cancels in them
            np.testing.assert_allclose(ours, reference, atol=1e-9 * size, rtol=0)


def test_a_state_that_comes_to_rest_does_not_overflow() -> None:
    # A S B = -0.999 on e_1 and 0 on e_2: p = B x falls a thousandfold each loop while x goes to (0,
    # 0.8)
    batch = Batch(
        jnp.zeros((1, 2, 1)), jnp.array([[0.6, 0.8]]), jnp.diag(jnp.array([1.5, 0.5]))[None], None
    )
    for norm, end in ((True, 1.0), (False, 0.8)):
        model = TwoBlock(a=-jnp.eye(2), b=jnp.diag(jnp.array([0.666, 0.0])), norm=norm)
        np.testing.assert_allclose(model.outputs(batch, loops=60), [[0.0, end]], atol=1e-6)


@x64
@pytest.mark.parametrize("norm", [True, False])
def test_queries_that_the_loops_do_not_move(norm: bool) -> None:
    batch = draw(Sphere(dim=3, samples=5), jax.random.key(7), 2, principal=False)
    start = TwoBlock.initial(dim=3, norm=norm)  # B = 0
    np.testing.assert_allclose(start.outputs(batch, loops=9), batch.query, rtol=1e-15)
    # B q = 0 for the first example only
    b = jnp.eye(3) - jnp.outer(batch.query[0], batch.query[0])
    model = TwoBlock(a=random_blocks(8, 3, norm=norm).a, b=b, norm=norm)
    np.testing.assert_allclose(model.outputs(batch, loops=9)[0], batch.query[0], atol=1e-13)
    fast, plain = both_losses(norm, 9, jnp.ones((2, 3)))
    for blocks in (start, model):
        arguments = (blocks.a, blocks.b, batch.gram, batch.query)
        found, expected = (jax.grad(f, argnums=(0, 1, 2, 3))(*arguments) for f in (fast, plain))
        for ours, reference in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, reference, rtol=1e-11, atol=1e-11)


# --- the power method behind them


@x64
@settings(max_examples=15)
@given(
    st.lists(st.floats(0, 5), min_size=3, max_size=3),
    st.floats(0, 50),
    st.sampled_from([1, 4, 10]),
    st.booleans(),
)
def test_scalar_blocks_are_powers_of_one_plus_gamma_s(
    spectrum: list[float], gamma: float, loops: int, norm: bool
) -> None:
    rng = np.random.default_rng(9)
    s = symmetric_with_spectrum(rng, [*spectrum, 1.0])
    q = rng.normal(size=4)
    a = 0.7  # the product counts, not the factors
    model = TwoBlock(a=a * jnp.eye(4), b=gamma / a * jnp.eye(4), norm=norm)
    expected = np.linalg.matrix_power(np.eye(4) + gamma * s, loops) @ q
    expected = expected / np.linalg.norm(expected) if norm else expected
    size = float(np.linalg.norm(expected))
    np.testing.assert_allclose(
        model(jnp.asarray(s), jnp.asarray(q), loops=loops), expected, atol=1e-13 * size, rtol=0
    )


@x64
def test_scalar_blocks_commute_with_rotations_and_others_do_not() -> None:
    rng = np.random.default_rng(10)
    s, r = (
        jnp.asarray(m)
        for m in (symmetric_with_spectrum(rng, [4, 2, 1, 0.5]), random_orthogonal(rng, 4))
    )
    q = jnp.asarray(rng.normal(size=4))
    for norm in (True, False):
        model = TwoBlock(a=1.3 * jnp.eye(4), b=0.4 * jnp.eye(4), norm=norm)
        turned, straight = model(r @ s @ r.T, r @ q, loops=6), model(s, q, loops=6)
        assert float(jnp.linalg.norm(turned - r @ straight)) < 1e-13 * float(
            jnp.linalg.norm(straight)
        )
        other = random_blocks(11, 4, norm=norm)
        assert (
            float(jnp.linalg.norm(other(r @ s @ r.T, r @ q, loops=2) - r @ other(s, q, loops=2)))
            > 1e-2
        )


@x64
@pytest.mark.parametrize("loops", [1, 3, 10])
def test_large_gamma_is_the_power_method_with_an_error_of_order_one_over_gamma(loops: int) -> None:
    rng = np.random.default_rng(12)
    s, q = symmetric_with_spectrum(rng, [4.0, 3.0, 1.0, 0.5]), rng.normal(size=4)
    limit = power_method(s, q, loops=loops)[-1]
    gammas = np.geomspace(1e3, 1e6, 7)  # errors of 1e-3 to 1e-7: far above rounding
    errors = []
    for gamma in gammas:
        model = TwoBlock(a=jnp.eye(4), b=gamma * jnp.eye(4), norm=True)
        errors.append(np.linalg.norm(model(jnp.asarray(s), jnp.asarray(q), loops=loops) - limit))
    slope, intercept = np.polyfit(np.log(gammas), np.log(errors), 1)
    # the next order bends it by about loops/(lambda_d gamma)
    assert slope == pytest.approx(-1, abs=5e-3)
    # the constant: d/d(eps) of N((S + eps I)^L q) at 0 is the part of L S^{L-1} q across the limit,
    # over ||S^L q||
    first = (
        loops
        * np.linalg.matrix_power(s, loops - 1)
        @ q
        / np.linalg.norm(np.linalg.matrix_power(s, loops) @ q)
    )
    constant = np.linalg.norm(first - limit * (limit @ first))
    assert errors[-1] * gammas[-1] == pytest.approx(constant, rel=1e-4)
    assert np.exp(intercept) == pytest.approx(constant, rel=0.1)
