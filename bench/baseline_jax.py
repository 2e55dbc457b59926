"""Frozen baseline, do not optimise: the full looped transformer in JAX, one compiled step called from Python.

Z <- N(Z + V Z Z^T W Z) for one example, mapped over the batch (arXiv 2606.00605, Section 3.2 and Theorem 4.1).
A checksum in tests/test_bench.py keeps this file as it is.
"""

from functools import partial

import jax
import jax.numpy as jnp


def initial(d, dtype=jnp.float32):
    V = jnp.zeros((2 * d, 2 * d), dtype).at[d:, :d].set(jnp.eye(d, dtype=dtype))
    return {"V": V, "W": jnp.zeros((2 * d, 2 * d), dtype)}


def forward(model, X, q, loops):
    d, n = X.shape
    Z = jnp.zeros((2 * d, n + 1), X.dtype)
    Z = Z.at[:d, :n].set(X).at[d:, n].set(q)
    for _ in range(loops):
        Z = Z + model["V"] @ Z @ Z.T @ model["W"] @ Z
        Z = Z / jnp.linalg.norm(Z, axis=0, keepdims=True)
    return Z[d:, n]


def end_to_end_loss(model, X, q, U, loops):
    """Mean of ||y||^2 - ||U^T y||^2."""
    y = jax.vmap(lambda x, q: forward(model, x, q, loops))(X, q)
    inside = jnp.einsum("bdm,bd->bm", U, y)
    return jnp.mean(jnp.sum(y**2, axis=1) - jnp.sum(inside**2, axis=1))


@partial(jax.jit, static_argnames="loops")
def step(model, X, q, U, learning_rate, loops):
    gradient = jax.grad(end_to_end_loss)(model, X, q, U, loops)
    return jax.tree.map(lambda weight, slope: weight - learning_rate * slope, model, gradient)


class Training:
    def __init__(self, X, q, U, loops, batch, learning_rate):
        self.X, self.q, self.U = X, q, U
        self.loops, self.batch, self.learning_rate = loops, batch, learning_rate
        self.model = initial(X.shape[1], X.dtype)
        self.key = jax.random.key(0)
        self.batches = []

    def run(self, steps):
        for _ in range(steps):
            if not self.batches:
                self.key, key = jax.random.split(self.key)
                whole = len(self.X) // self.batch
                order = jax.random.permutation(key, len(self.X))[: whole * self.batch]
                self.batches = list(order.reshape(whole, self.batch))
            rows = self.batches.pop()
            self.model = step(
                self.model, self.X[rows], self.q[rows], self.U[rows], self.learning_rate, loops=self.loops
            )
        jax.block_until_ready(self.model)
