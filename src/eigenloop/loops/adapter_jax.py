"""A step function of JAX arrays as a map of flat NumPy vectors, with exact products (JAX)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from eigenloop.loops.linear import Linear, Product
from eigenloop.system.errors import InputError

_TRACING = (
    jax.errors.TracerArrayConversionError,
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerBoolConversionError,
)


def jax_products(
    step: Callable[..., Any], shape: tuple[int, ...], context: Mapping[str, Any]
) -> tuple[Product, Callable[[np.ndarray], Linear]]:
    """f and x -> products with f'(x), in float64 whatever the setting is outside.

    The step is traced for its value, its forward and its reverse products, once each; the reverse
    pass keeps its residuals, so that a product costs one pass.

    Args:
        step: (x, **context) -> the next state.
        shape: of a state.
        context: arrays that stay as they are.

    Raises:
        InputError: at the first call, where JAX cannot trace the step.
    """
    with jax.enable_x64(True):
        fixed = {name: jnp.asarray(value) for name, value in context.items()}

    def flat(x: Any) -> Any:
        y = step(x.reshape(shape), **fixed)
        if jnp.shape(y) != shape:
            raise InputError(
                f"step returns shape {jnp.shape(y)}, but the state has {shape}; return the next"
                " state alone, in its shape"
            )
        return jnp.asarray(y, jnp.float64).ravel()

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
                f"JAX cannot trace step ({first}); use jax.numpy throughout, or LoopedMap.numpy for"
                " differences"
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
