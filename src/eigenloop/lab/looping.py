"""Looping a trained model at test time, as far as wanted, in float64 (NumPy).

    q_k = N(c q_{k-1} + A S B q_{k-1}),   sin(phi_k) = distance of q_k to the principal subspace

float32 would floor the sine near 1e-7. Without LN the loop is the same linear map of q, so its
angle is the same and one function serves both. Source: arXiv 2606.00605, Thms 4.6 and 4.7, Figs. 2,
5 and 8.
"""

from functools import reduce

import numpy as np
from jaxtyping import Float

from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.checkpoints import Trained
from eigenloop.lab.problems import draw


def looped_sines(
    a: Float[np.ndarray, "*L d d"],
    b: Float[np.ndarray, "*L d d"],
    *,
    gram: Float[np.ndarray, "*b d d"],
    query: Float[np.ndarray, "b d"],
    basis: Float[np.ndarray, "*b d m"],
    loops: int,
    residual: Float[np.ndarray, "*L"] | float = 1.0,
) -> Float[np.ndarray, "K b"]:
    """Sin of the angle to the principal subspace after 0, 1, ..., `loops` loops, for many starts
    side by side.

    Args:
        a: A = V_21 of the trained model; (L, d, d) for layers with weights of their own, which
            are run one after the other, and round again beyond the last.
        b: B = W_12.
        gram: S, one for each start or one for all.
        query: starts q, not zero.
        basis: orthonormal basis of the principal subspace, one for each start or one for all.
        loops: K >= 0, counted in layers.
        residual: c; (L,) where the layers have their own.

    Returns:
        float64 (K + 1, b).

    Example:
        >>> one = np.eye(2)
        >>> s, q, u = np.diag([2.0, 1.0]), np.array([[0.6, 0.8]]), np.array([[1.0], [0.0]])
        >>> looped_sines(one, one, gram=s, query=q, basis=u, loops=2)[:, 0].round(4)
        array([0.8   , 0.6644, 0.5098])
    """
    a, b, gram, query, basis = (
        np.asarray(value, np.float64) for value in (a, b, gram, query, basis)
    )
    return _sines(_layer_matrices(a, b, residual, gram), query, basis, loops)


def power_method_sines(
    *,
    gram: Float[np.ndarray, "*b d d"],
    query: Float[np.ndarray, "b d"],
    basis: Float[np.ndarray, "*b d m"],
    loops: int,
) -> Float[np.ndarray, "K b"]:
    """The same for the power method q_k = N(S q_{k-1}), the limit of large A and B.

    Example:
        >>> s, q, u = np.diag([2.0, 1.0]), np.array([[0.6, 0.8]]), np.array([[1.0], [0.0]])
        >>> power_method_sines(gram=s, query=q, basis=u, loops=1)[:, 0].round(4)
        array([0.8   , 0.5547])
    """
    gram, query, basis = (np.asarray(value, np.float64) for value in (gram, query, basis))
    return _sines([gram], query, basis, loops)


def loop_matrices(run: Trained, *, seed: int = 0) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """c I + A S B of a run's first model at every snapshot and at its end, on one fresh problem,
    and its query; the product of all layers where they have weights of their own.

    Args:
        run: from `load_run`.
        seed: of the problem: X from the run's distribution, q uniform on the sphere.

    Returns:
        (matrices by training step, (d,) unit query), float64.
    """
    import jax

    with jax.enable_x64(run.config.dtype == "float64"):
        batch = draw(run.config.distribution(), jax.random.key(seed), 1)
    gram, query = (np.asarray(value[0], np.float64) for value in (batch.gram, batch.query))
    models = {**run.snapshots, run.done: run.model}
    found = {}
    for step in sorted(models):
        blocks = TwoBlock.from_full(models[step])
        a, b = (np.asarray(block, np.float64)[0] for block in (blocks.a, blocks.b))
        c = blocks.residual if blocks.c is None else np.asarray(blocks.c, np.float64)[0]
        found[step] = reduce(lambda done, layer: layer @ done, _layer_matrices(a, b, c, gram))
    return found, query


def _layer_matrices(
    a: np.ndarray, b: np.ndarray, residual: np.ndarray | float, gram: np.ndarray
) -> list[np.ndarray]:
    """c I + A S B of each layer; one where they share their weights."""
    layers = (a[None], b[None]) if a.ndim == 2 else (a, b)
    weights = np.broadcast_to(residual, len(layers[0]))
    eye = np.eye(a.shape[-1])
    return [c * eye + first @ gram @ last for first, last, c in zip(*layers, weights, strict=True)]


def _sines(
    layers: list[np.ndarray], query: np.ndarray, basis: np.ndarray, loops: int
) -> np.ndarray:
    state = query[..., None] / np.linalg.norm(query, axis=-1)[..., None, None]  # (b, d, 1)
    sines = []
    for k in range(loops + 1):
        if k:
            state = layers[(k - 1) % len(layers)] @ state
            state = state / np.linalg.norm(state, axis=-2, keepdims=True)
        outside = state - basis @ (np.swapaxes(basis, -1, -2) @ state)
        sines.append(np.linalg.norm(outside[..., 0], axis=-1))
    return np.stack(sines)
