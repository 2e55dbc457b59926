"""The exact reduction of the looped transformer to two d x d blocks, A = V_21 and B = W_12 (JAX,
equinox).

    q_l = N(c q_{l-1} + A S B q_{l-1}),   y_L = q_L      (without N: the same, unnormalised)

From the paper's start the other six blocks have zero gradient on every single sample, for any A and
B, any residual weight c and layers with weights of their own, so training the full model and
training (A, B) are the same thing (arXiv 2606.00605, Lemma A.2 shows it for the population,
multiples of I, c = 1 and shared weights; docs/reduction.md has the argument for every sample).
One loop costs O(d^2) in place of O(d n^2 + d^2 n).
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from eigenloop.lab.problems import Batch
from eigenloop.lab.transformer import LoopedTransformer, each_layer, initial_residual
from eigenloop.numerics.power import normalize

RESCALE_EVERY = 4
"""Loops between rescalings: growth per loop, 1 + ||A|| ||B|| lambda_1, may reach 1e9 before
float32 overflows.
"""


class TwoBlock(eqx.Module):
    """The reduced model: A and B, the only blocks that training moves, and c where it is learned.

    Example:
        >>> model = TwoBlock.initial(dim=2, norm=True)
        >>> model(jnp.diag(jnp.array([2.0, 1.0])), jnp.array([0.6, 0.8]), loops=3)
        Array([0.6, 0.8], dtype=float32)
    """

    a: Float[Array, "*K d d"]
    """A; (..., L, d, d) where layers are untied."""
    b: Float[Array, "*K d d"]
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
    ) -> "TwoBlock":
        """A = I and B = b_0 I; the paper's start has b_0 = 0.

        Args:
            dim: d.
            norm: with layer normalisation.
            b0: b_0.
            residual: c, or where it starts.
            learn_residual: whether c is learned.
            layers: L layers with weights of their own; None for one that is looped.
        """
        shape = (dim, dim) if layers is None else (layers, dim, dim)
        b = jnp.zeros((dim, dim)) if b0 == 0 else b0 * jnp.eye(dim)
        return cls(
            a=jnp.broadcast_to(jnp.eye(dim), shape),
            b=jnp.broadcast_to(b, shape),
            norm=norm,
            c=initial_residual(residual, learned=learn_residual, layers=layers),
            residual=1.0 if learn_residual else residual,
            untied=layers is not None,
        )

    @classmethod
    def from_full(cls, model: LoopedTransformer) -> "TwoBlock":
        """The active blocks of a full model (whatever stands in the other six is dropped)."""
        dim = model.v.shape[-1] // 2
        a, b = model.v[..., dim:, :dim], model.w[..., :dim, dim:]
        return cls(a, b, model.norm, model.c, model.residual, model.untied)

    def lift(self) -> LoopedTransformer:
        """The full model with V_21 = A, W_12 = B and zeros elsewhere."""
        dim = self.a.shape[-1]
        zeros = jnp.zeros((*self.a.shape[:-2], 2 * dim, 2 * dim), dtype=self.a.dtype)
        v, w = zeros.at[..., dim:, :dim].set(self.a), zeros.at[..., :dim, dim:].set(self.b)
        return LoopedTransformer(v, w, self.norm, self.c, self.residual, self.untied)

    def layer(self, gram: Float[Array, "d d"], query: Float[Array, " d"]) -> Float[Array, " d"]:
        """The first loop of one example: N(c q + A S B q)."""
        return self(gram, query, loops=1)

    def __call__(
        self, gram: Float[Array, "d d"], query: Float[Array, " d"], *, loops: int
    ) -> Float[Array, " d"]:
        """y_L for one example (S, q); untied layers are run round again beyond the last."""
        return self._run(lambda vector: gram @ vector, query, loops)

    def _run(self, product: Callable[[Array], Array], query: Array, loops: int) -> Array:
        """The layers one after the other, S being the map `product`; q may have leading axes."""
        shrunk = 1.0
        for a, b, c in each_layer(
            (self.a, self.b), self.c, residual=self.residual, untied=self.untied, loops=loops
        ):
            moved = product(query @ b.T) @ a.T
            if c is None:
                query = query + moved
            else:
                query = c * query + (moved if self.norm else shrunk**2 * moved)
                shrunk = shrunk * c  # without N the data vectors shrink as well, and S with them
            query = normalize(query) if self.norm else query
        return query

    def outputs(self, batch: Batch, *, loops: int) -> Float[Array, "b d"]:
        """y_L for every example of a batch.

        A looped model with c = 1 goes through `linear_loops`: normalising once at the end is the
        same map.
        """
        if self.untied or self.c is not None or self.residual != 1:
            return self._run(partial(_products, batch.gram), batch.query, loops)
        scaled = linear_loops(loops, self.a, self.b, batch.gram, batch.query)
        state, scale = scaled  # pyright: ignore[reportGeneralTypeIssues]  # partial hides custom_vjp's type
        if not self.norm:
            return state / scale
        # the square of the largest entry must not overflow
        peak = lax.stop_gradient(jnp.max(jnp.abs(state), axis=1, keepdims=True))
        return normalize(state / jnp.where(peak > 0, peak, 1))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def linear_loops(
    loops: int,
    a: Float[Array, "d d"],
    b: Float[Array, "d d"],
    gram: Float[Array, "n d d"],
    query: Float[Array, "n d"],
) -> tuple[Float[Array, "n d"], Float[Array, "n 1"]]:
    """R (I + A S B)^L q for a batch, and R, a positive scale per example that keeps floats in
    range.

    The same as L plain loops, at 60 % of the arithmetic, and its reverse pass too. With p = B x and
    C = B A one loop is p <- p + C z, z = S p: one product fewer, because x is read only at the end,
    x_L = q + A sum_l z_l. Backwards, with h = A^T g, h <- h + C^T w, w = S h: both gradients come
    from one matrix Q = sum_{k>l} w_k z_l^T,

        dA = g_L (sum_l z_l)^T + B^T Q,        dB = (sum_l w_l) q^T + Q A^T.

    R is treated as a constant: a later normalisation removes it, or the caller divides by it. Where
    loops shrink the state (eigenvalues of A S B near -1), x_L is a small difference: its error is
    rounding of ||q||, not of ||x_L||.

    Args:
        loops: L >= 0.
        a: A.
        b: B.
        gram: S, one for each example.
        query: q.

    Returns:
        The scaled state, and R (ones for L < 4; it underflows only where the plain state would
        overflow).
    """
    return _forward(loops, a, b, gram, query)[0]


def _forward(
    loops: int, a: Array, b: Array, gram: Array, query: Array
) -> tuple[tuple[Array, Array], tuple]:
    mix = b @ a  # C
    p, total, scale = query @ b.T, jnp.zeros_like(query), jnp.ones_like(query[:, :1])
    limit = jnp.max(jnp.abs(p), axis=1, keepdims=True)
    before = []  # per loop: p, sum of z so far, R so far; and the factor that ends the loop
    for loop in range(loops):
        z = _products(gram, p)
        grown = p + z @ mix.T
        shrink = _shrink(limit, grown) if loop % RESCALE_EVERY == RESCALE_EVERY - 1 else None
        before.append((p, total, scale, shrink))
        p, total = grown, total + z
        if shrink is not None:
            p, total, scale = p * shrink, total * shrink, scale * shrink
    return (scale * query + total @ a.T, scale), (a, b, mix, gram, query, total, scale, before)


def _backward(
    loops: int, saved: tuple, cotangents: tuple[Array, Array]
) -> tuple[Array, Array, Array, Array]:
    a, b, mix, gram, query, total, scale, before = saved
    g = cotangents[0]  # R counts as a constant, so its own cotangent is dropped
    h, later = g @ a, []  # h = A^T g and the w = S h, last loop first
    start, d_gram = jnp.zeros_like(query), jnp.zeros_like(gram)
    for p, _, scale_before, shrink in reversed(before):
        h = h if shrink is None else h * shrink
        w = _products(gram, h)
        later.append(w)
        start = start + w * scale_before
        d_gram = d_gram + h[:, :, None] * p[:, None, :]
        h = h + w @ mix
    q_matrix = jnp.zeros_like(a)
    if loops > 1:  # the first loop has no earlier z
        q_matrix = jnp.concatenate(later[-2::-1]).T @ jnp.concatenate(
            [sums for _, sums, _, _ in before[1:]]
        )
    d_a = g.T @ total + b.T @ q_matrix
    d_b = start.T @ query + q_matrix @ a.T
    return d_a, d_b, d_gram, g * scale + start @ b


linear_loops.defvjp(_forward, _backward)


def _products(gram: Float[Array, "n d d"], vectors: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """S v for each example; S is symmetric, and contracting its first index is the faster of the
    two on CPUs.
    """
    return jnp.einsum("nji,nj->ni", gram, vectors)


def _shrink(limit: Float[Array, "n 1"], vectors: Float[Array, "n d"]) -> Float[Array, "n 1"]:
    """Factor that brings the largest entry of each vector down to `limit`; 1 where it is not above,
    or the limit is 0.

    Never above 1: p may fall to 0 while the state goes to a limit, and R would overflow.
    """
    peak = jnp.max(jnp.abs(vectors), axis=1, keepdims=True)
    above = (limit > 0) & (peak > limit)
    return jnp.where(above, limit / jnp.where(above, peak, 1), 1)
