"""The full looped linear transformer on 2d x (n + 1) states (JAX, equinox).

Source: arXiv 2606.00605, Section 3.2.

    Z_0 = [[X, 0], [0, q]],   Z_l = N(Z_{l-1} + V Z_{l-1} Z_{l-1}^T W Z_{l-1}), y_L = last d entries
                              of the last column,

with N dividing every column by its norm, or without N. `eigenloop.lab.blocks` has its exact
reduction to two d x d blocks.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from eigenloop.lab.problems import Batch
from eigenloop.numerics.power import normalize


def attention_layer(
    v: Float[Array, "D D"], w: Float[Array, "D D"], state: Float[Array, "D N"], *, norm: bool
) -> Float[Array, "D N"]:
    """TF(Z) = N(Z + V Z Z^T W Z), column by column; without N when `norm` is false.

    Args:
        v: value matrix V, D = 2d.
        w: key-query matrix W.
        state: Z, N = n + 1 columns.
        norm: with layer normalisation (RMSNorm without gain).
    """
    out = state + v @ state @ (state.T @ w @ state)
    return normalize(out.T).T if norm else out


class LoopedTransformer(eqx.Module):
    """The full model: V, W in R^{2d x 2d}, the same in every loop.

    Example:
        >>> model = LoopedTransformer.initial(dim=3, norm=True)
        >>> model(jnp.eye(3), jnp.array([1.0, 0.0, 0.0]), loops=2)
        Array([1., 0., 0.], dtype=float32)
    """

    v: Float[Array, "*K D D"]
    w: Float[Array, "*K D D"]
    norm: bool = eqx.field(static=True)

    @classmethod
    def initial(cls, *, dim: int, norm: bool) -> "LoopedTransformer":
        """The paper's start: W = 0 and V = 0 but for its bottom-left block, V_21 = I."""
        v = jnp.zeros((2 * dim, 2 * dim)).at[dim:, :dim].set(jnp.eye(dim))
        return cls(v=v, w=jnp.zeros_like(v), norm=norm)

    def __call__(
        self, columns: Float[Array, "d n"], query: Float[Array, " d"], *, loops: int
    ) -> Float[Array, " d"]:
        """y_L for one example (X, q)."""
        dim, samples = columns.shape
        state = jnp.zeros((2 * dim, samples + 1), dtype=columns.dtype)
        # [[X, 0], [0, q]]
        state = state.at[:dim, :samples].set(columns).at[dim:, samples].set(query)
        for _ in range(loops):
            state = attention_layer(self.v, self.w, state, norm=self.norm)
        return state[dim:, samples]

    def outputs(self, batch: Batch, *, loops: int) -> Float[Array, "b d"]:
        """y_L for every example of a batch."""
        return jax.vmap(lambda x, q: self(x, q, loops=loops))(batch.columns, batch.query)
