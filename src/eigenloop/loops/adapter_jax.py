"""A step function of JAX arrays as a map of flat NumPy vectors, with exact products (JAX)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from eigenloop.loops.linear import Linear, Product
from eigenloop.loops.trees import Taken, Tree
from eigenloop.system.errors import InputError

_TRACING = (
    jax.errors.TracerArrayConversionError,
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerBoolConversionError,
)


def jax_tree(x0: Any) -> Tree:
    """How a state lies in one vector: an array, or any pytree, registered classes included.

    Args:
        x0: a state; a list of numbers is one array.
    """
    return Tree.of(x0, take=_taken, rebuild=_rebuilt)


def _taken(x: Any) -> Taken:
    leaves, structure = jax.tree_util.tree_flatten(x)
    plain = jax.tree_util.treedef_is_leaf(structure) or _is_numbers(x)
    return ([x], None) if plain else (leaves, structure)


def _is_numbers(x: Any) -> bool:
    """Whether something is a list of numbers, which NumPy makes one array of."""
    if isinstance(x, list):
        return all(_is_numbers(each) for each in x)
    return isinstance(x, int | float)


def _rebuilt(structure: Any, leaves: Sequence[Any]) -> Any:
    return leaves[0] if structure is None else jax.tree_util.tree_unflatten(structure, leaves)


def jax_products(
    step: Callable[..., Any], tree: Tree, context: Mapping[str, Any]
) -> tuple[Product, Callable[[np.ndarray], Linear]]:
    """f and x -> products with f'(x), in float64 whatever the setting is outside.

    The step is traced for its value, its forward and its reverse products, once each; the reverse
    pass keeps its residuals, so that a product costs one pass.

    Args:
        step: (x, **context) -> the next state.
        tree: how a state lies in a vector.
        context: arrays, or pytrees of them, that stay as they are.

    Raises:
        InputError: at the first call, where JAX cannot trace the step.
    """
    with jax.enable_x64(True):
        fixed = {name: jax.tree_util.tree_map(jnp.asarray, each) for name, each in context.items()}

    def flat(x: Any) -> Any:
        leaves = tree.leaves(step(tree.unflat(x), **fixed))
        return jnp.concatenate([jnp.asarray(leaf, jnp.float64).ravel() for leaf in leaves])

    value = jax.jit(flat)
    pushed = jax.jit(lambda x, v: jax.jvp(flat, (x,), (v,))[1])
    kept = jax.jit(lambda x: jax.vjp(flat, x)[1])
    pulled = jax.jit(lambda pull, u: pull(u)[0])

    def run(function: Callable[..., Any], *values: Any) -> Any:
        try:
            with jax.enable_x64(True):
                return function(*values)
        except _TRACING as error:
            first = str(error).splitlines()[0]
            raise InputError(
                f"JAX cannot trace step ({first}); use jax.numpy throughout, or LoopedMap.numpy"
                f" for differences"
            ) from None

    def numbers(function: Callable[..., Any], *values: Any) -> np.ndarray:
        return np.asarray(run(function, *values), np.float64)

    def products(x: np.ndarray) -> Linear:
        saved: list[Any] = []

        def reverse(u: np.ndarray) -> np.ndarray:
            if not saved:
                saved.append(run(kept, x))
            return numbers(pulled, saved[0], u)

        return Linear(x.size, lambda v: numbers(pushed, x, v), reverse)

    return lambda x: numbers(value, x), products


def jax_readout(
    reads: Callable[..., Any], context: Mapping[str, Any]
) -> Callable[[Any], np.ndarray]:
    """A readout of NumPy states from one of JAX arrays, in float64.

    Args:
        reads: (x, **context) -> a number or an array.
        context: arrays that stay as they are.
    """

    def read(x: Any) -> np.ndarray:
        with jax.enable_x64(True):
            given = jax.tree_util.tree_map(jnp.asarray, (x, dict(context)))
            return np.asarray(reads(given[0], **given[1]))

    return read
