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
from eigenloop.system.errors import InputError


def torch_products(
    step: Callable[..., Any], x0: Any, context: Mapping[str, Any]
) -> tuple[Product, Callable[[np.ndarray], Linear]]:
    """f and x -> products with f'(x), in float64 where the step takes it, else in the dtype of x0.

    Args:
        step: (x, **context) -> the next state.
        x0: a tensor, or an array; decides shape, device and that dtype.
        context: tensors (or NumPy arrays, made tensors) that stay as they are.

    Raises:
        InputError: the step takes neither float64 nor the dtype of x0, or autograd cannot follow
            it.
    """
    start = torch.as_tensor(x0).detach()
    shape, device = tuple(start.shape), start.device
    narrow = start.dtype if start.is_floating_point() else torch.float32
    fixed, dtype = _try(step, start, context, narrow)

    def tensor(x: np.ndarray) -> torch.Tensor:
        return torch.tensor(x, dtype=dtype, device=device).reshape(shape)

    def call(x: torch.Tensor) -> torch.Tensor:
        return _checked(step(x, **fixed), shape)

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
                            " graph (detach, no_grad, .numpy(), argmax or rounding in it); give a"
                            " differentiable step"
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


def _checked(y: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """What a step returned, where it is a state."""
    if not isinstance(y, torch.Tensor):
        raise InputError(f"step returns a {type(y).__name__}; return the next state as one tensor")
    if tuple(y.shape) != shape:
        raise InputError(
            f"step returns shape {tuple(y.shape)}, but the state has {shape}; return the next state"
            " alone, in its shape"
        )
    return y


@contextmanager
def _differentiable() -> Iterator[None]:
    """The attention kernel with derivatives, and silence on torch's own use of torch.jit.script."""
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*torch.jit.script")
        yield


def _numbers(x: torch.Tensor) -> np.ndarray:
    return x.detach().reshape(-1).double().cpu().numpy().copy()


def _try(
    step: Callable[..., Any], start: torch.Tensor, context: Mapping[str, Any], narrow: torch.dtype
) -> tuple[dict[str, Any], torch.dtype]:
    """The context in the widest dtype that the step takes, and that dtype."""
    errors = []
    for dtype in dict.fromkeys((torch.float64, narrow)):
        fixed = {name: _cast(value, dtype) for name, value in context.items()}
        try:
            with _differentiable(), torch.no_grad():
                step(start.to(dtype).clone(), **fixed)
            return fixed, dtype
        except RuntimeError as error:
            errors.append(f"{dtype}: {' '.join(str(error).split())}")
    raise InputError(f"step takes neither float64 nor the dtype of x0 ({'; '.join(errors)[:300]})")


def _cast(value: Any, dtype: torch.dtype) -> Any:
    value = torch.as_tensor(value) if isinstance(value, np.ndarray) else value
    floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(dtype) if floating else value
