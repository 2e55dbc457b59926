"""The naive route to what the lemmas state: the full 2d x 2d model in float64, differentiated by
JAX.

In d = 2 the population is exact as well. With q = (cos theta, sin theta) and X = R(phi) X0 the
expectation is an average over two angles, which equidistant nodes take to rounding: in theta
because the integrand is periodic and analytic, in phi because every gradient turns like R G R^T,
whose entries are trigonometric polynomials of degree 2. (Averaging over rotations only is enough:
the law of (S, q) is the same after a reflection in an eigenvector of S.)

JAX is imported inside the functions, so that the claims can be listed without it.
"""

from functools import cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np

ROTATIONS, QUERIES = 3, 64
BLOCKS = {"11": (0, 0), "12": (0, 1), "21": (1, 0), "22": (1, 1)}

Loss = Literal["end to end", "normalized", "unnormalized"]
"""Theorem 4.1's objective, or the layerwise one with either target."""


class Blocks(NamedTuple):
    """Gradients of V and W by d x d block, "21" is V_21 or W_21; leading axes over samples."""

    v: dict[str, np.ndarray]
    w: dict[str, np.ndarray]

    @property
    def active(self) -> tuple[np.ndarray, np.ndarray]:
        """Those of V_21 = A and W_12 = B."""
        return self.v["21"], self.w["12"]

    @property
    def inactive(self) -> np.ndarray:
        """The other six, (6, ..., d, d)."""
        return np.stack(
            [self.v["11"], self.v["12"], self.v["22"], self.w["11"], self.w["21"], self.w["22"]]
        )


class Sampled(NamedTuple):
    """Samples side by side: X (b, d, n) and q (b, d)."""

    columns: np.ndarray
    query: np.ndarray


def circle(
    multiplicities: tuple[int, int], *, rotations: int = ROTATIONS, queries: int = QUERIES
) -> Sampled:
    """The exact population in d = 2 of X = R(phi) X0, X0 = [e_1, ..., e_1, e_2, ..., e_2].

    phi takes `rotations` >= 3 equidistant values in [0, pi), theta `queries` (losses are even in
    q).
    """
    base = np.repeat(np.eye(2), multiplicities, axis=1)
    phi = np.pi * np.arange(rotations) / rotations
    turn = np.stack(
        [np.stack([np.cos(phi), -np.sin(phi)], -1), np.stack([np.sin(phi), np.cos(phi)], -1)], -2
    )
    theta = np.pi * (np.arange(queries) + 0.5) / queries
    query = np.stack([np.cos(theta), np.sin(theta)], -1)
    return Sampled(np.repeat(turn @ base, queries, axis=0), np.tile(query, (rotations, 1)))


def scalar_weights(dim: int, a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """V and W with V_21 = aI, W_12 = bI and zeros elsewhere."""
    v, w = np.zeros((2 * dim, 2 * dim)), np.zeros((2 * dim, 2 * dim))
    v[dim:, :dim], w[:dim, dim:] = a * np.eye(dim), b * np.eye(dim)
    return v, w


def outputs(
    v: np.ndarray, w: np.ndarray, samples: Sampled, *, loops: int, norm: bool
) -> np.ndarray:
    """y_L of the full model, (b, d)."""
    return _run("outputs", v, w, samples, loss="normalized", loops=loops, norm=norm)


def states(v: np.ndarray, w: np.ndarray, samples: Sampled, *, loops: int) -> np.ndarray:
    """The last column's lower half after 0, 1, ..., `loops` loops of the full model with LN,
    (loops + 1, b, d).
    """
    return _run("states", v, w, samples, loss="normalized", loops=loops, norm=True)


def losses(
    v: np.ndarray, w: np.ndarray, samples: Sampled, *, loss: Loss, loops: int = 1, norm: bool
) -> np.ndarray:
    """One loss for each sample."""
    return _run("losses", v, w, samples, loss=loss, loops=loops, norm=norm)


def gradients(
    v: np.ndarray,
    w: np.ndarray,
    samples: Sampled,
    *,
    loss: Loss,
    loops: int = 1,
    norm: bool,
    each: bool = False,
) -> Blocks:
    """The gradient of the mean loss by block, or (`each`) that of every sample."""
    found = _run(
        "each gradient" if each else "gradient", v, w, samples, loss=loss, loops=loops, norm=norm
    )
    return _blocks(*found)


def gamma_slopes(samples: Sampled, gammas: np.ndarray, *, loss: Loss, loops: int = 1) -> np.ndarray:
    """d/d gamma of each sample's loss at V_21 = gamma I, W_12 = I with LN, (len(gammas), b)."""
    v, w = scalar_weights(samples.query.shape[1], 1.0, 1.0)
    stretched = v * np.asarray(gammas, dtype=np.float64)[:, None, None]
    return _run("gamma slopes", stretched, w, samples, loss=loss, loops=loops, norm=True)


class Descent(NamedTuple):
    """Gradient descent of the full model from the paper's start, one entry for each step."""

    gamma: np.ndarray
    """tr(AB)/d."""
    a: np.ndarray
    """tr(A)/d."""
    b: np.ndarray
    """tr(B)/d."""
    off_structure: float
    """The largest entry, over all steps, of what the structure says is zero: inactive blocks, A
    - aI, B - bI.
    """


def descend(
    samples: Sampled, *, loss: Loss, loops: int = 1, norm: bool, learning_rate: float, steps: int
) -> Descent:
    """Plain gradient descent on (V, W), every entry free."""
    dim = samples.query.shape[1]
    v, w = scalar_weights(dim, 1.0, 0.0)
    vs, ws = _run(
        "descent",
        v,
        w,
        samples,
        loss=loss,
        loops=loops,
        norm=norm,
        extra=(np.full(steps, learning_rate),),
    )
    found = _blocks(np.concatenate([v[None], vs]), np.concatenate([w[None], ws]))
    big_a, big_b = found.active
    a, b = np.trace(big_a, axis1=1, axis2=2) / dim, np.trace(big_b, axis1=1, axis2=2) / dim
    eye = np.eye(dim)
    with np.errstate(over="ignore", invalid="ignore"):  # a step too large makes it diverge
        gamma = np.trace(big_a @ big_b, axis1=1, axis2=2) / dim
        rest = [abs(found.inactive).max(), abs(big_a - a[:, None, None] * eye).max()]
        off_structure = float(max(*rest, abs(big_b - b[:, None, None] * eye).max()))
    return Descent(gamma, a, b, off_structure)


def off_scalar(matrix: np.ndarray) -> float:
    """The largest entry of M - (tr M / d) I, relative to that of M."""
    dim = matrix.shape[-1]
    return float(
        abs(matrix - np.trace(matrix) / dim * np.eye(dim)).max() / max(abs(matrix).max(), 1e-300)
    )


def _run(
    kind: str,
    v: np.ndarray,
    w: np.ndarray,
    samples: Sampled,
    *,
    loss: Loss,
    loops: int,
    norm: bool,
    extra: tuple[np.ndarray, ...] = (),
) -> Any:
    import jax

    with jax.enable_x64(True):
        found = _compiled(kind, loss, loops, norm)(v, w, samples.columns, samples.query, *extra)
        return jax.tree.map(np.asarray, found)


@cache
def _compiled(kind: str, loss: Loss, loops: int, norm: bool) -> Any:
    """A function of (V, W, X, q), compiled once for each set of shapes."""
    import jax
    import jax.numpy as jnp

    from eigenloop.lab.objectives import EndToEnd, Layerwise
    from eigenloop.lab.problems import assemble
    from eigenloop.lab.transformer import LoopedTransformer

    objective = EndToEnd(loops=loops) if loss == "end to end" else Layerwise(target=loss)
    width = 1 if loss == "end to end" else 0

    def each(v: Any, w: Any, x: Any, q: Any) -> Any:
        return objective(LoopedTransformer(v=v, w=w, norm=norm), assemble(x, q, width))

    def one(v: Any, w: Any, x: Any, q: Any) -> Any:
        return each(v, w, x[None], q[None])[0]

    def mean(v: Any, w: Any, x: Any, q: Any) -> Any:
        return each(v, w, x, q).mean()

    def gamma_slope(v: Any, w: Any, x: Any, q: Any) -> Any:
        # V_21 = gamma I: the derivative along I is the trace of that block's gradient
        dim = q.shape[0]
        return jnp.trace(jax.grad(one)(v, w, x, q)[dim:, :dim])

    def descent(v: Any, w: Any, x: Any, q: Any, rates: Any) -> Any:
        def step(state: Any, rate: Any) -> tuple[Any, Any]:
            gradient = jax.grad(mean, argnums=(0, 1))(*state, x, q)
            state = jax.tree.map(lambda p, g: p - rate * g, state, gradient)
            return state, state

        return jax.lax.scan(step, (v, w), rates)[1]

    def outputs(v: Any, w: Any, x: Any, q: Any) -> Any:
        return LoopedTransformer(v=v, w=w, norm=norm).outputs(assemble(x, q, 0), loops=loops)

    over_samples = jax.vmap(gamma_slope, in_axes=(None, None, 0, 0))
    return jax.jit(
        {
            "outputs": outputs,
            "states": partial(_states, loops=loops, norm=norm),
            "losses": each,
            "gradient": jax.grad(mean, argnums=(0, 1)),
            "each gradient": jax.vmap(jax.grad(one, argnums=(0, 1)), in_axes=(None, None, 0, 0)),
            "gamma slopes": jax.vmap(over_samples, in_axes=(0, None, None, None)),
            "descent": descent,
        }[kind]
    )


def _states(v: Any, w: Any, x: Any, q: Any, *, loops: int, norm: bool) -> Any:
    """y_0..y_L of every sample, by the layers as they stand."""
    import jax
    import jax.numpy as jnp

    from eigenloop.lab import transformer

    def one(columns: Any, query: Any) -> Any:
        dim, count = columns.shape
        start = (
            jnp.zeros((2 * dim, count + 1)).at[:dim, :count].set(columns).at[dim:, count].set(query)
        )

        def layer(state: Any, _: None) -> tuple[Any, Any]:
            state = transformer.attention_layer(v, w, state, norm=norm)
            return state, state[dim:, count]

        return jnp.concatenate([query[None], jax.lax.scan(layer, start, None, length=loops)[1]])

    return jax.lax.map(lambda pair: one(*pair), (x, q)).swapaxes(0, 1)


def _blocks(v: np.ndarray, w: np.ndarray) -> Blocks:
    dim = v.shape[-1] // 2

    def split(matrix: np.ndarray) -> dict[str, np.ndarray]:
        return {
            name: matrix[..., i * dim : (i + 1) * dim, j * dim : (j + 1) * dim]
            for name, (i, j) in BLOCKS.items()
        }

    return Blocks(split(v), split(w))
