"""When metrics of training are taken, and those that are read off the weights (JAX)."""

import jax
import jax.numpy as jnp
import numpy as np

from eigenloop.lab.transformer import LoopedTransformer


def metric_steps(total: int, *, per_decade: int = 20) -> list[int]:
    """Steps at which metrics are taken: 0, log-spaced whole numbers, and the last step.

    The grid does not depend on `total`, so a longer run holds a shorter one's.

    Example:
        >>> metric_steps(12, per_decade=3)
        [0, 1, 2, 5, 10, 12]
    """
    decades = np.log10(max(total, 1))
    grid = np.unique(
        np.round(10 ** (np.arange(0, int(decades * per_decade) + 2) / per_decade)).astype(int)
    )
    return [0, *(int(s) for s in grid if s < total), total]


def weight_metrics(model: LoopedTransformer) -> dict[str, jax.Array]:
    """Means a = tr(A)/d, b = tr(B)/d, gamma = tr(AB)/d, largest entries, distance of A and B from
    multiples of I; of untied layers the mean of the first three, and of the rest the largest.

    Args:
        model: V, W of shape (..., 2d, 2d), or (..., L, 2d, 2d) where layers are untied.

    Returns:
        The entries of `METRICS` after the losses, (...,) each. `off_diagonal_ratio` is the larger
        of max|off-diagonal| / mean|diagonal| over A and B (over A alone while B is zero);
        `inactive_max` is the largest absolute entry of the six blocks that training leaves at zero
        (NaN for a lifted reduced model is set by the caller). A learned residual weight adds "c".
    """
    dim = model.v.shape[-1] // 2
    a, b = model.v[..., dim:, :dim], model.w[..., :dim, dim:]

    def trace(matrix: jax.Array) -> jax.Array:
        return jnp.trace(matrix, axis1=-2, axis2=-1) / dim

    def off_diagonal(matrix: jax.Array) -> jax.Array:
        diagonal = jnp.abs(jnp.diagonal(matrix, axis1=-2, axis2=-1)).mean(-1)
        outside = jnp.broadcast_to(1 - jnp.eye(dim, dtype=matrix.dtype), matrix.shape)
        rest = jnp.abs(matrix * outside).max((-2, -1))
        return jnp.where(diagonal > 0, rest / jnp.where(diagonal > 0, diagonal, 1), 0)

    inactive_v = jnp.abs(model.v.at[..., dim:, :dim].set(0)).max((-2, -1))
    inactive_w = jnp.abs(model.w.at[..., :dim, dim:].set(0)).max((-2, -1))
    found = {
        "a": trace(a),
        "b": trace(b),
        "gamma": trace(a @ b),
        "v_max": jnp.abs(model.v).max((-2, -1)),
        "w_max": jnp.abs(model.w).max((-2, -1)),
        "off_diagonal_ratio": jnp.maximum(off_diagonal(a), off_diagonal(b)),
        "inactive_max": jnp.maximum(inactive_v, inactive_w),
    }
    if model.c is not None:
        found["c"] = model.c
    if model.untied:
        means = ("a", "b", "gamma", "c")
        found = {name: v.mean(-1) if name in means else v.max(-1) for name, v in found.items()}
    return found
