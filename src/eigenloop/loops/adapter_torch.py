"""A step function of PyTorch tensors as a map of flat NumPy vectors, with exact products (PyTorch).

Attention runs in the kernel that has derivatives of every order and direction (`SDPBackend.MATH`):
the others have no forward mode. Forward products use dual numbers, reverse products one graph that
is kept.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from eigenloop.loops.linear import Linear, Product
from eigenloop.loops.trees import Tree
from eigenloop.system.errors import InputError


def torch_products(
    step: Callable[..., Any], x0: Any, context: Mapping[str, Any]
) -> tuple[Product, Callable[[np.ndarray], Linear]]:
    """f and x -> products with f'(x), in float64 where the step takes it, else in the dtype of x0.

    Args:
        step: (x, **context) -> the next state.
        x0: a tensor, an array, or dictionaries, tuples and lists of them; decides shapes, device
            and that dtype.
        context: tensors (or NumPy arrays, made tensors) that stay as they are.

    Raises:
        InputError: the step takes neither float64 nor the dtype of x0, or autograd cannot follow
            it.
    """
    tree = Tree.of(x0)
    pieces = [torch.as_tensor(leaf).detach() for leaf in tree.leaves(x0)]
    device = pieces[0].device
    floating = (each.dtype for each in pieces if each.is_floating_point())
    fixed, dtype = _try(step, tree, pieces, context, next(floating, torch.float32))

    def tensor(x: np.ndarray) -> torch.Tensor:
        return torch.tensor(x, dtype=dtype, device=device)

    def call(x: torch.Tensor) -> torch.Tensor:
        return _joined(tree.leaves(step(tree.unflat(x), **fixed)))

    def run(x: np.ndarray) -> np.ndarray:
        with _differentiable(), torch.no_grad():
            return _numbers(call(tensor(x)))

    def products(x: np.ndarray) -> Linear:
        point, graph = tensor(x), []

        def reverse(u: np.ndarray) -> np.ndarray:
            with _differentiable(), torch.enable_grad():
                if not graph:
                    z = point.clone().requires_grad_(True)
                    graph.extend((z, call(z)))
                    if not graph[1].requires_grad:
                        raise InputError(
                            "autograd cannot follow step: its result does not depend on x in the"
                            " graph (detach, "
                            "no_grad, .numpy(), argmax or rounding in it); give a differentiable"
                            " step"
                        )
                (found,) = torch.autograd.grad(
                    graph[1],
                    graph[0],
                    tensor(u).to(graph[1].dtype),
                    retain_graph=True,
                    allow_unused=True,
                )
            return np.zeros(x.size) if found is None else _numbers(found)

        def forward(v: np.ndarray) -> np.ndarray:
            with _differentiable(), torch.no_grad(), forward_ad.dual_level():
                dual = forward_ad.make_dual(point, tensor(v))
                tangent = forward_ad.unpack_dual(call(dual)).tangent
                return np.zeros(x.size) if tangent is None else _numbers(tangent)

        return Linear(x.size, forward, reverse)

    return run, products


def torch_numbers(x0: Any) -> Any:
    """A state of tensors as one of NumPy arrays, whole numbers and float64."""
    tree = Tree.of(x0)
    leaves = [leaf.detach().cpu() if hasattr(leaf, "detach") else leaf for leaf in tree.leaves(x0)]
    numbers = [
        leaf.double().numpy()
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
        else leaf
        for leaf in leaves
    ]
    return tree.rebuild(tree.structure, [np.asarray(leaf) for leaf in numbers])


def torch_readout(
    reads: Callable[..., Any], context: Mapping[str, Any]
) -> Callable[[Any], np.ndarray]:
    """A readout of NumPy states from one of PyTorch tensors, in float64 where it takes that, else
    in float32.

    Args:
        reads: (x, **context) -> a number or a tensor.
        context: arrays that stay as they are.

    Raises:
        InputError: at the first call, where it takes neither.
    """

    def read(x: Any) -> np.ndarray:
        tree = Tree.of(x)
        pieces = [torch.as_tensor(leaf) for leaf in tree.leaves(x)]
        errors = []
        for dtype in (torch.float64, torch.float32):
            state = tree.rebuild(tree.structure, [_cast(each, dtype) for each in pieces])
            fixed = {name: _cast(value, dtype) for name, value in context.items()}
            try:
                with torch.no_grad():
                    found = reads(state, **fixed)
            except RuntimeError as error:
                errors.append(f"{dtype}: {' '.join(str(error).split())}")
            else:
                return _numbers(found).reshape(found.shape) if hasattr(found, "detach") else found
        raise InputError(
            f"the readout takes neither float64 nor float32 ({'; '.join(errors)[:300]})"
        )

    return read


def _joined(leaves: list[Any]) -> torch.Tensor:
    """What a step returned, as one vector."""
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            raise InputError(
                f"step returns a {type(leaf).__name__}; return the next state as it came, in"
                f" tensors"
            )
    return (
        leaves[0].reshape(-1)
        if len(leaves) == 1
        else torch.cat([leaf.reshape(-1) for leaf in leaves])
    )


@contextmanager
def _differentiable() -> Iterator[None]:
    """The attention kernel with derivatives, and silence on torch's own use of torch.jit.script."""
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*torch.jit.script")
        yield


def _numbers(x: torch.Tensor) -> np.ndarray:
    return x.detach().reshape(-1).double().cpu().numpy().copy()


def _try(
    step: Callable[..., Any],
    tree: Tree,
    start: list[torch.Tensor],
    context: Mapping[str, Any],
    narrow: torch.dtype,
) -> tuple[dict[str, Any], torch.dtype]:
    """The context in the widest dtype that the step takes, and that dtype."""
    errors = []
    for dtype in dict.fromkeys((torch.float64, narrow)):
        fixed = {name: _cast(value, dtype) for name, value in context.items()}
        try:
            with _differentiable(), torch.no_grad():
                step(
                    tree.rebuild(tree.structure, [each.to(dtype).clone() for each in start]),
                    **fixed,
                )
            return fixed, dtype
        except RuntimeError as error:
            errors.append(f"{dtype}: {' '.join(str(error).split())}")
    raise InputError(f"step takes neither float64 nor the dtype of x0 ({'; '.join(errors)[:300]})")


def _cast(value: Any, dtype: torch.dtype) -> Any:
    value = torch.as_tensor(value) if isinstance(value, np.ndarray) else value
    floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(dtype) if floating else value
