"""Running a model for steering: what its layers read, where its tokens end, and activation addition
(torch).

The final state of a token is the stream after the last block, before a final normalisation.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from eigenloop.lens.model.loaded import Model
from eigenloop.steer.prompts import Prompts

BATCH = 8
"""Prompts that run at once."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What one layer's attention was given.

    Args:
        x: its inputs, (n, d), float64; after the normalisation in a pre-LN model.
        lengths: |stream| of each token, (n,), of the stream that the output is added to.
    """

    x: Float[np.ndarray, "n d"]
    lengths: Float[np.ndarray, " n"]


def layer_inputs(model: Model, prompts: Prompts, blocks: Sequence[int]) -> dict[int, Inputs]:
    """Run the prompts, and keep what the attention of some blocks reads; shared blocks read several
    times.

    Args:
        model: a model that runs.
        prompts: of one length.
        blocks: which blocks.
    """
    layout = model.stack.layout
    pre = layout.placement_in(model.stack.weights.config) == "pre"
    kept: dict[tuple[int, str], list[np.ndarray]] = {
        (b, kind): [] for b in blocks for kind in ("x", "stream")
    }

    def keep(place: tuple[int, str]) -> Any:
        def hook(module: Any, arguments: tuple, named: Mapping[str, Any]) -> None:
            tensor = arguments[0] if arguments else next(iter(named.values()))
            kept[place].append(tensor.detach().double().cpu().numpy().reshape(-1, tensor.shape[-1]))

        return hook

    with ExitStack() as stack:
        for block in blocks:
            _hooked(
                stack,
                model.submodule(block, layout.value).register_forward_pre_hook,
                keep((block, "x")),
            )
            norm = model.submodule(block, layout.norm) if pre else None
            if norm is not None:
                _hooked(stack, norm.register_forward_pre_hook, keep((block, "stream")))
        for _ in forward(model, prompts, trunk=True):
            pass
    result = {}
    for block in blocks:
        x = np.concatenate(kept[block, "x"])
        stream = np.concatenate(kept[block, "stream"]) if kept[block, "stream"] else x
        result[block] = Inputs(x, np.linalg.norm(stream, axis=1))
    return result


def forward(model: Model, prompts: Prompts, *, trunk: bool = False) -> Iterator[tuple[Any, Any]]:
    """Run batch by batch: the final states (torch, float32 or float64) and what the module
    returned.

    Args:
        model: a model that runs.
        prompts: of one length.
        trunk: run without the head.
    """
    last = model.blocks[model.stack.schedule[-1]]
    for start in range(0, len(prompts), BATCH):
        ids = torch.as_tensor(prompts.ids[start : start + BATCH], device=model.device)
        seen: list[Any] = []
        # entered for each batch: a suspended generator must not leave gradients off, or a hook, to
        # its caller
        with model.running() as base, ExitStack() as stack:
            stack.callback(last.register_forward_hook(_keeper(seen)).remove)
            returned = (base if trunk else model.module)(ids, attention_mask=torch.ones_like(ids))
        yield seen[-1], returned


@contextmanager
def activation_addition(model: Model, vectors: Mapping[int, np.ndarray]) -> Iterator[None]:
    """Add a vector to the output of blocks by hooks, for as long as the block lasts; gone after an
    exception too.

    Args:
        model: a model that runs.
        vectors: block -> (d,).
    """

    def adding(vector: np.ndarray) -> Any:
        tensor = torch.as_tensor(vector, device=model.device)

        def hook(module: Any, arguments: Any, result: Any) -> Any:
            if isinstance(result, tuple):
                return (result[0] + tensor.to(result[0].dtype), *result[1:])
            return result + tensor.to(result.dtype)

        return hook

    with ExitStack() as stack:
        for block, vector in vectors.items():
            stack.callback(model.blocks[block].register_forward_hook(adding(vector)).remove)
        yield


def _hooked(stack: ExitStack, register: Any, hook: Any) -> None:
    stack.callback(register(hook, with_kwargs=True).remove)


def _keeper(seen: list[Any]) -> Any:
    return lambda module, arguments, result: seen.append(
        result[0] if isinstance(result, tuple) else result
    )
