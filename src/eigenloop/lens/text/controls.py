"""A model with one thing taken out, for as long as a text runs through it: what else makes tokens
align (torch)?

    values         W_V = 0 in every layer: the value projection gives its bias and nothing else
    feed_forward   a block hands on x + o (pre-LN) or LN(x + o) (post-LN), without its feed-forward
                   sublayer

Hooks on the modules do it; no weight is changed, and nothing is left behind.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from eigenloop.lens.model.loaded import Model


@contextmanager
def without_values(model: Model) -> Iterator[None]:
    """W_V = 0 in every layer, biases kept: o_i = b_eff for every token, whatever the attention
    patterns.
    """
    handles, stack = [], model.stack
    features = stack.features("value").ravel().tolist()

    def flatten(module: Any, arguments: tuple, result: Any) -> Any:
        bias = getattr(module, "bias", None)
        result = result.clone()
        result[..., features] = 0.0 if bias is None else bias[features]
        return result

    try:
        for block in range(len(model.blocks)):
            handles.append(
                model.submodule(block, stack.layout.value).register_forward_hook(flatten)
            )
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def without_feed_forward(model: Model) -> Iterator[None]:
    """Every block hands on what its attention sublayer gives: x + o, or LN(x + o) where the
    normalisation is after.
    """
    handles, layout = [], model.stack.layout
    post = layout.placement_in(model.stack.weights.config) == "post"
    seen: dict[str, Any] = {}

    def enter(module: Any, arguments: tuple, named: dict) -> None:
        seen.clear()
        seen["before"] = arguments[0] if arguments else named["hidden_states"]

    def keep(name: str) -> Callable[[Any, tuple, Any], None]:
        def hook(module: Any, arguments: tuple, result: Any) -> None:
            seen[name] = result[0] if isinstance(result, tuple) else result

        return hook

    def leave(module: Any, arguments: tuple, result: Any) -> Any:
        moved = seen["normed"] if post and "normed" in seen else seen["before"] + seen["written"]
        return (moved, *result[1:]) if isinstance(result, tuple) else moved

    try:
        for number, block in enumerate(model.blocks):
            handles.append(block.register_forward_pre_hook(enter, with_kwargs=True))
            for name, part in (("written", layout.output), ("normed", layout.norm)):
                module = model.submodule(number, part)
                if module is not None:
                    handles.append(module.register_forward_hook(keep(name)))
            handles.append(block.register_forward_hook(leave))
        yield
    finally:
        for handle in handles:
            handle.remove()


CONTROLS: Mapping[str, Callable[[Model], AbstractContextManager[None]]] = {
    "no_values": without_values,
    "no_feed_forward": without_feed_forward,
}
"""By the name that their statistics begin with."""
