"""The full looped linear transformer on 2d x (n + 1) states (JAX, equinox).

    Z_0 = [[X, 0], [0, q]],   Z_l = N(c Z_{l-1} + V Z_{l-1} Z_{l-1}^T W Z_{l-1}),
    y_L = last d entries of the last column,

with N dividing every column by its norm, or without N. arXiv 2606.00605, Section 3.2, has c = 1 and
one V and W for all layers; here c may be another number or learned, and layers may have weights of
their own. `eigenloop.lab.blocks` has the exact reduction to two d x d blocks.
"""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from eigenloop.lab.problems import Batch
from eigenloop.numerics.power import normalize


def attention_layer(
    v: Float[Array, "D D"],
    w: Float[Array, "D D"],
    state: Float[Array, "D N"],
    *,
    norm: bool,
    residual: Float[Array, ""] | float | None = None,
) -> Float[Array, "D N"]:
    """TF(Z) = N(c Z + V Z Z^T W Z), column by column; without N when `norm` is false.

    Args:
        v: value matrix V, D = 2d.
        w: key-query matrix W.
        state: Z, N = n + 1 columns.
        norm: with layer normalisation (RMSNorm without gain).
        residual: c; None stands for 1.
    """
    kept = state if residual is None else residual * state
    out = kept + v @ state @ (state.T @ w @ state)
    return normalize(out.T).T if norm else out


def each_layer(
    weights: tuple[Array, Array],
    c: Array | None,
    *,
    residual: float,
    untied: bool,
    loops: int,
) -> Iterator[tuple[Array, Array, Any]]:
    """Weights and residual weight of layers 1, ..., L; None for a residual weight of 1.

    Args:
        weights: of every layer, or (untied) one to a row.
        c: learned residual weight, alike; None where it is fixed.
        residual: the fixed one.
        untied: whether layers have weights of their own; beyond the last the first comes again.
        loops: L.
    """
    fixed = None if residual == 1 else residual
    for loop in range(loops):
        if untied:
            place = loop % weights[0].shape[0]
            first, second = (each[place] for each in weights)
            yield first, second, fixed if c is None else c[place]
        else:
            yield *weights, fixed if c is None else c


def initial_residual(residual: float, *, learned: bool, layers: int | None) -> Array | None:
    """The learned residual weights at the start, one for each layer where layers are untied."""
    shape = () if layers is None else (layers,)
    return jnp.full(shape, residual, jnp.result_type(float)) if learned else None


class LoopedTransformer(eqx.Module):
    """The full model: V, W in R^{2d x 2d}, the same in every loop unless `untied`.

    Example:
        >>> model = LoopedTransformer.initial(dim=3, norm=True)
        >>> model(jnp.eye(3), jnp.array([1.0, 0.0, 0.0]), loops=2)
        Array([1., 0., 0.], dtype=float32)
    """

    v: Float[Array, "*K D D"]
    """V; (..., L, D, D) where layers are untied."""
    w: Float[Array, "*K D D"]
    norm: bool = eqx.field(static=True)
    c: Float[Array, "*K"] | None = None
    """A learned residual weight; None where it is fixed at `residual`."""
    residual: float = eqx.field(static=True, default=1.0)
    untied: bool = eqx.field(static=True, default=False)

    @classmethod
    def initial(
        cls,
        *,
        dim: int,
        norm: bool,
        b0: float = 0.0,
        residual: float = 1.0,
        learn_residual: bool = False,
        layers: int | None = None,
    ) -> "LoopedTransformer":
        """V = 0 but for V_21 = I, and W = 0 but for W_12 = b_0 I; the paper's start has b_0 = 0.

        Args:
            dim: d.
            norm: with layer normalisation.
            b0: b_0.
            residual: c, or where it starts.
            learn_residual: whether c is learned.
            layers: L layers with weights of their own; None for one that is looped.
        """
        shape = () if layers is None else (layers,)
        v = jnp.zeros((2 * dim, 2 * dim)).at[dim:, :dim].set(jnp.eye(dim))
        w = (
            jnp.zeros_like(v)
            if b0 == 0
            else jnp.zeros_like(v).at[:dim, dim:].set(b0 * jnp.eye(dim))
        )
        return cls(
            v=jnp.broadcast_to(v, (*shape, *v.shape)),
            w=jnp.broadcast_to(w, (*shape, *w.shape)),
            norm=norm,
            c=initial_residual(residual, learned=learn_residual, layers=layers),
            residual=1.0 if learn_residual else residual,
            untied=layers is not None,
        )

    def __call__(
        self, columns: Float[Array, "d n"], query: Float[Array, " d"], *, loops: int
    ) -> Float[Array, " d"]:
        """y_L for one example (X, q); untied layers are run round again beyond the last."""
        dim, samples = columns.shape
        state = jnp.zeros((2 * dim, samples + 1), dtype=columns.dtype)
        state = state.at[:dim, :samples].set(columns).at[dim:, samples].set(query)
        layers = each_layer(
            (self.v, self.w), self.c, residual=self.residual, untied=self.untied, loops=loops
        )
        for v, w, c in layers:
            state = attention_layer(v, w, state, norm=self.norm, residual=c)
        return state[dim:, samples]

    def outputs(self, batch: Batch, *, loops: int) -> Float[Array, "b d"]:
        """y_L for every example of a batch."""
        return jax.vmap(lambda x, q: self(x, q, loops=loops))(batch.columns, batch.query)
