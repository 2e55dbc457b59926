"""A looped map x_{k+1} = f(x_k; context) on flat float64 vectors, and products with its derivative
(NumPy).

    f: R^n -> R^n,    J = f'(x),    forward v -> J v,    reverse u -> J^T u

Only the state that is read out and fed back varies; everything else is context, held fixed.
`LoopedMap.numpy`, `.jax` and `.torch` make one from a step function of an array, and refuse or
qualify what no derivative can describe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.loops.checks import check_map, difference_length
from eigenloop.loops.linear import (
    DENSE,
    ROUNDING,
    Linear,
    Product,
    difference,
    flat_state,
)
from eigenloop.loops.trees import Tree, first_state
from eigenloop.system.errors import InputError, reason


@dataclass(frozen=True, eq=False, kw_only=True)
class LoopedMap:
    """A map that is applied again and again, on flat float64 vectors; made by `numpy`, `jax` or
    `torch`.

    Args:
        step: f, (n,) -> (n,).
        at: x -> the derivative at x.
        start: x_0, flat.
        shape: that the user's step sees; (n,) where a state is several arrays.
        noise: relative rounding of f, from second differences.
        notes: what qualifies every number, in sentences.
        name: of the map.
        tree: how a state of several arrays lies in a vector; None for one array.

    Example:
        >>> half = LoopedMap.numpy(lambda x: 0.5 * x, np.ones(3))
        >>> half.step(half.start), half.size
        (array([0.5, 0.5, 0.5]), 3)
    """

    step: Product
    at: Callable[[np.ndarray], Linear]
    start: np.ndarray
    shape: tuple[int, ...]
    noise: float = ROUNDING
    notes: tuple[str, ...] = ()
    name: str = "map"
    tree: Tree | None = None

    @property
    def size(self) -> int:
        """n, the numbers in a state."""
        return self.start.size

    def flat(self, x: Any) -> Float[np.ndarray, " n"]:
        """A state of the user's shape, or structure, as a flat float64 vector.

        Raises:
            InputError: another shape, or a number that is not finite.
        """
        if self.tree is None:
            return flat_state(x, self.shape, "a state")
        return flat_state(self.tree.joined(x, "the state is"), self.shape, "a state")

    def state(self, x: Float[np.ndarray, " n"]) -> Any:
        """A flat vector as the user has it: an array of his shape, or his structure of arrays."""
        vector = np.array(x, dtype=np.float64)
        return vector.reshape(self.shape) if self.tree is None else self.tree.unflat(vector)

    @classmethod
    def numpy(
        cls,
        step: Callable[..., Any],
        x0: Any,
        *,
        context: Mapping[str, Any] | None = None,
        jvp: Callable[..., Any] | None = None,
        vjp: Callable[..., Any] | None = None,
        name: str = "map",
    ) -> "LoopedMap":
        """A map of NumPy arrays; differences where neither of its products is given.

            J v ~ (8 (f(x + h v) - f(x - h v)) - (f(x + 2 h v) - f(x - 2 h v))) / (12 h)

        Args:
            step: (x, **context) -> the next state, of the same shape.
            x0: where loops begin, an array, or dictionaries, tuples and lists of arrays.
            context: named values that stay as they are.
            jvp: (x, v, **context) -> J v, in the shape of x.
            vjp: (x, u, **context) -> J^T u.
            name: shown in results.

        Raises:
            InputError: the shape changes, f(x) twice differs, or f is not differentiable.
        """
        given = dict(context or {})
        tree = Tree.of(x0)
        x = first_state(x0, tree)

        def run(state: np.ndarray) -> np.ndarray:
            return tree.joined(step(tree.unflat(state.copy()), **given))

        def product(function: Callable[..., Any], state: np.ndarray, v: np.ndarray) -> np.ndarray:
            return tree.joined(function(tree.unflat(state), tree.unflat(v), **given))

        def products(state: np.ndarray) -> Linear:
            forward = None if jvp is None else partial(product, jvp, state)
            reverse = None if vjp is None else partial(product, vjp, state)
            if forward is None and (reverse is None or x.size > DENSE):
                forward = difference(run, state, difference_length(state, x))
            return Linear(x.size, forward, reverse)

        exact = jvp is not None or (vjp is not None and x.size <= DENSE)
        return _checked(run, products, x, tree, name, differences=not exact)

    @classmethod
    def jax(
        cls,
        step: Callable[..., Any],
        x0: Any,
        *,
        context: Mapping[str, Any] | None = None,
        name: str = "map",
    ) -> "LoopedMap":
        """A map of JAX arrays, traced and compiled once, in float64.

        Args:
            step: (x, **context) -> the next state; everything in it must be traceable.
            x0: where loops begin, an array or a pytree of arrays.
            context: named arrays that stay as they are.
            name: shown in results.

        Raises:
            InputError: the shape changes, f(x) twice differs, or f cannot be traced or
                differentiated.
        """
        from eigenloop.loops.adapter_jax import jax_products, jax_tree  # loads JAX

        tree = jax_tree(x0)
        x = first_state(x0, tree)
        run, products = jax_products(step, tree, dict(context or {}))
        return _checked(run, products, x, tree, name)

    @classmethod
    def torch(
        cls,
        step: Callable[..., Any],
        x0: Any,
        *,
        context: Mapping[str, Any] | None = None,
        name: str = "map",
    ) -> "LoopedMap":
        """A map of PyTorch tensors, on the device of x0, in float64 where its weights are.

        Attention is made to use the kernel that has derivatives (`SDPBackend.MATH`).

        Args:
            step: (x, **context) -> the next state; through autograd, without detach or no_grad.
            x0: tensor where loops begin, or dictionaries, tuples and lists of tensors; decides
                shape, device and, where float64 does not fit,
                dtype.
            context: named tensors that stay as they are.
            name: shown in results.

        Raises:
            InputError: the shape changes, f(x) twice differs, or autograd cannot follow f.
        """
        from eigenloop.loops.adapter_torch import (  # loads PyTorch
            torch_numbers,
            torch_products,
        )

        tree = Tree.of(x0)
        x = first_state(torch_numbers(x0), tree)
        run, products = torch_products(step, x0, dict(context or {}))
        return _checked(run, products, x, tree, name)


def _checked(
    run: Product,
    at: Callable[[np.ndarray], Linear],
    x: np.ndarray,
    tree: Tree,
    name: str,
    *,
    differences: bool = False,
) -> LoopedMap:
    """A map that was tried at its start; its products carry their rounding."""
    noise, product_noise, notes = check_map(run, at, x, differences=differences)

    def step(state: np.ndarray) -> np.ndarray:
        try:
            return run(state)
        except (InputError, FloatingPointError):  # the second is what JAX's own switch asks for
            raise
        except Exception as error:  # a user's own code may raise anything
            said = f"{name} raises {type(error).__name__} at a later state: {reason(error)}"
            raise InputError(f"{said}; it must take whatever it gives") from error

    def rounded(state: np.ndarray) -> Linear:
        found = at(state)
        return Linear(found.size, found.forward, found.reverse, max(noise, product_noise))

    return LoopedMap(
        step=step,
        at=rounded,
        start=x,
        shape=tree.shape,
        noise=noise,
        notes=notes,
        name=name,
        tree=None if tree.structure is None else tree,
    )
