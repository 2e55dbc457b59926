"""The full model against a naive one, finite differences and its symmetry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigenloop.lab.problems import Sphere, draw
from eigenloop.lab.transformer import LoopedTransformer, attention_layer
from eigenloop.numerics.spectrum import random_orthogonal, unit_columns_with_spectrum

pytestmark = pytest.mark.usefixtures("x64")


def naive_forward(
    v: np.ndarray, w: np.ndarray, x: np.ndarray, q: np.ndarray, *, loops: int, norm: bool
) -> np.ndarray:
    """arXiv 2606.00605, Section 3.2, with one explicit sum per token.

    Z_0 = [[X, 0], [0, q]] in R^{2d x (n+1)}; TF(Z) = N(Z + V Z Z^T W Z), N(z) = z/||z||_2 for every
    column; the same V, W in every loop; the output is the last d entries of the last column.
    """
    d, n = x.shape
    tokens = [np.concatenate([x[:, j], np.zeros(d)]) for j in range(n)] + [
        np.concatenate([np.zeros(d), q])
    ]
    for _ in range(loops):
        moved = []
        for z in tokens:
            update = np.zeros(2 * d)
            for other in tokens:  # V z_i weighted by the attention score z_i . W z
                score = sum(other[r] * w[r, c] * z[c] for r in range(2 * d) for c in range(2 * d))
                update = update + score * (v @ other)
            moved.append(z + update)
        tokens = [z / np.sqrt(sum(entry**2 for entry in z)) for z in moved] if norm else moved
    return tokens[-1][d:]


def random_model(seed: int, dim: int, *, norm: bool, scale: float = 0.4) -> LoopedTransformer:
    rng = np.random.default_rng(seed)
    v, w = scale * rng.normal(size=(2, 2 * dim, 2 * dim))
    return LoopedTransformer(v=jnp.asarray(v), w=jnp.asarray(w), norm=norm)


def random_example(seed: int, dim: int, samples: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(seed)
    values = np.arange(1, dim + 1) * samples / np.sum(np.arange(1, dim + 1))
    x, q = unit_columns_with_spectrum(rng, values, samples=samples), rng.normal(size=dim)
    return jnp.asarray(x), jnp.asarray(q / np.linalg.norm(q))


@pytest.mark.parametrize(
    ("norm", "loops"), [(True, 1), (True, 3), (True, 10), (False, 1), (False, 2)]
)
def test_forward_is_the_naive_model(norm: bool, loops: int) -> None:
    # all eight blocks of V and W are filled: nothing here relies on the reduction
    model = random_model(0, 3, norm=norm)
    x, q = random_example(1, 3, 5)
    expected = naive_forward(*map(np.asarray, (model.v, model.w, x, q)), loops=loops, norm=norm)
    np.testing.assert_allclose(model(x, q, loops=loops), expected, rtol=1e-12)


def test_outputs_are_the_examples_one_by_one() -> None:
    model = random_model(2, 3, norm=True)
    batch = draw(Sphere(dim=3, samples=5), jax.random.key(0), 4)
    together = model.outputs(batch, loops=3)
    for i in range(4):
        np.testing.assert_allclose(
            together[i], model(batch.columns[i], batch.query[i], loops=3), rtol=1e-13
        )


@pytest.mark.parametrize(("norm", "loops"), [(True, 3), (False, 1)])
def test_gradient_is_the_finite_difference(norm: bool, loops: int) -> None:
    model = random_model(3, 2, norm=norm)
    x, q = map(np.asarray, random_example(4, 2, 3))
    weights = np.array([0.3, -1.1])

    def loss(v: jax.Array, w: jax.Array) -> jax.Array:
        return LoopedTransformer(v=v, w=w, norm=norm)(
            jnp.asarray(x), jnp.asarray(q), loops=loops
        ) @ jnp.asarray(weights)

    gradients = jax.grad(loss, argnums=(0, 1))(model.v, model.w)
    step = 1e-5  # central differences: step^2 = 1e-10 of truncation, eps/step = 2e-11 of rounding
    for which, gradient in enumerate(gradients):
        for entry in np.ndindex(4, 4):
            ends = []
            for sign in (1, -1):
                matrices = [np.array(model.v), np.array(model.w)]
                matrices[which][entry] += sign * step
                ends.append(
                    naive_forward(matrices[0], matrices[1], x, q, loops=loops, norm=norm) @ weights
                )
            assert float(gradient[entry]) == pytest.approx(
                (ends[0] - ends[1]) / (2 * step), abs=2e-8, rel=1e-8
            )


def test_initial_model_returns_the_query() -> None:
    for norm in (True, False):
        model = LoopedTransformer.initial(dim=3, norm=norm)
        np.testing.assert_array_equal(model.w, np.zeros((6, 6)))
        np.testing.assert_array_equal(
            model.v, np.block([[np.zeros((3, 6))], [np.eye(3), np.zeros((3, 3))]])
        )
        x, q = random_example(5, 3, 4)
        np.testing.assert_allclose(model(x, q, loops=4), q, atol=1e-15)


def test_layer_normalises_columns_and_leaves_a_zero_column_alone() -> None:
    model = random_model(6, 2, norm=True)
    state = jnp.asarray(np.random.default_rng(7).normal(size=(4, 5))).at[:, 2].set(0)
    out = np.asarray(attention_layer(model.v, model.w, state, norm=True))
    np.testing.assert_allclose(np.linalg.norm(out, axis=0), [1, 1, 0, 1, 1], atol=1e-15)
    plain = np.asarray(attention_layer(model.v, model.w, state, norm=False))
    np.testing.assert_allclose(out * np.linalg.norm(plain, axis=0), plain, atol=1e-13)


@pytest.mark.parametrize("norm", [True, False])
def test_scalar_blocks_commute_with_rotations(norm: bool) -> None:
    # V = V' (x) I_d and W = W' (x) I_d with any 2 x 2 matrices V', W': y(RX, Rq) = R y(X, q)
    rng = np.random.default_rng(8)
    v, w = (jnp.asarray(np.kron(0.4 * rng.normal(size=(2, 2)), np.eye(3))) for _ in range(2))
    model = LoopedTransformer(v=v, w=w, norm=norm)
    x, q = random_example(9, 3, 5)
    r = jnp.asarray(random_orthogonal(rng, 3))
    np.testing.assert_allclose(
        model(r @ x, r @ q, loops=2), r @ model(x, q, loops=2), rtol=1e-12, atol=1e-13
    )
    other = random_model(10, 3, norm=norm)  # and full matrices do not
    assert float(jnp.max(jnp.abs(other(r @ x, r @ q, loops=2) - r @ other(x, q, loops=2)))) > 1e-2
