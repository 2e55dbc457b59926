"""One block of a loaded model as a map of token states, in float64, with its derivative (torch).

    part "layer"      x -> what the block makes of x: attention, feed-forward, normalisations, gains
                      and biases
    part "attention"  post: x -> LN(x + o(x))      pre: x -> x + o(LN(x))

Masks, rotations and whatever else the model passes to a block are taken from one run of the model
itself.
"""

import copy
import inspect
import warnings
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float, Int

from eigenloop.lens.model.loaded import Model
from eigenloop.system.errors import InputError

Part: TypeAlias = Literal["layer", "attention"]

PARTS: tuple[Part, ...] = get_args(Part)
"""What can be looped."""


class LoopedBlock:
    """A copy of a block, called on states of a fixed number of tokens.

    Args:
        model: from `load`.
        block: index of the block.
        part: "layer" or "attention".
        ids: the tokens of the run that shows what the model passes to the block; only their number
            matters to the map.

    Raises:
        InputError: no such part, or the model never called the block or its attention's output.
    """

    def __init__(self, model: Model, block: int, part: str, ids: Int[np.ndarray, " n"]) -> None:
        """Run the model once and copy the block."""
        import torch

        if part not in PARTS:
            raise InputError(f"part {part!r} does not exist; choose {' or '.join(PARTS)}")
        seen: dict[str, Any] = {}

        def keep(module: Any, arguments: tuple, named: dict) -> None:
            if not seen:
                seen.update(arguments=arguments, named=dict(named))

        with model.running() as trunk:
            source = model.blocks[block]
            handle = source.register_forward_pre_hook(keep, with_kwargs=True)
            takes = inspect.signature(trunk.forward).parameters
            try:
                plain = {"use_cache": False} if "use_cache" in takes else {}
                trunk(input_ids=torch.as_tensor(ids, device=model.device)[None], **plain)
            finally:
                handle.remove()
            if not seen:
                raise InputError(
                    f"{model.source} never called block {block}; correct block in the layout"
                )
            self._block = copy.deepcopy(source).double().eval().requires_grad_(False)
        arguments, named = seen["arguments"], seen["named"]
        first = arguments[0] if arguments else named.pop("hidden_states")
        self.start: Float[np.ndarray, "n d"] = first[0].detach().double().cpu().numpy()
        self._rest, self._named = in_float64(arguments[1:]), in_float64(named)
        self._device, layout = model.device, model.stack.layout
        self._post = layout.placement_in(model.stack.weights.config) == "post"
        self._output, self._norm, self._attention = layout.output, layout.norm, part == "attention"

    def __call__(self, x: Float[np.ndarray, "*b n d"]) -> Float[np.ndarray, "*b n d"]:
        """The states after one loop."""
        return self._map(self._tensor(x)).cpu().numpy().reshape(x.shape)

    def derivative(
        self, x: Float[np.ndarray, "*b n d"], v: Float[np.ndarray, "*b n d"]
    ) -> Float[np.ndarray, "*b n d"]:
        """What a small change v of the states becomes: f'(x) v."""
        import torch

        # torch's own use of torch.jit.script, in its first derivative
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", category=DeprecationWarning, message=".*torch.jit.script"
            )
            pushed = torch.func.jvp(self._map, (self._tensor(x),), (self._tensor(v),))[1]
        return pushed.cpu().numpy().reshape(x.shape)

    def transposed(
        self, x: Float[np.ndarray, "*b n d"], u: Float[np.ndarray, "*b n d"]
    ) -> Float[np.ndarray, "*b n d"]:
        """What a functional u of the states after a loop is of those before it: f'(x)^T u, by
        reverse mode.
        """
        import torch

        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", category=DeprecationWarning, message=".*torch.jit.script"
            )
            pulled = torch.func.vjp(self._map, self._tensor(x))[1](self._tensor(u))[0]
        return pulled.cpu().numpy().reshape(x.shape)

    def _tensor(self, x: np.ndarray) -> Any:
        import torch

        return torch.tensor(x.reshape(-1, *x.shape[-2:]), dtype=torch.float64, device=self._device)

    def moved(self, x: Any) -> Any:
        """The states (b, n, d) after one loop, as tensors with their graph."""
        return self._map(x)

    def _map(self, x: Any) -> Any:
        if not self._attention:
            found = self._block(x, *self._rest, **self._named)
            return found[0] if isinstance(found, tuple) else found
        written: list[Any] = []
        handle = self._block.get_submodule(self._output).register_forward_hook(
            lambda module, arguments, result: written.append(result)
        )
        try:
            self._block(x, *self._rest, **self._named)
        finally:
            handle.remove()
        if len(written) != 1:
            raise InputError(
                f"{self._output} was called {len(written)} times in a block; correct output in the"
                " layout"
            )
        moved = x + written[0]
        return self._block.get_submodule(self._norm)(moved) if self._post else moved

    def rounding(self, x: Float[np.ndarray, "n d"]) -> float:
        """Noise of the map, relative to its value: some models compute norms and softmax in float32
        whatever they get.

        From second differences at a step of 1e-9, which a smooth map does not show.
        """
        v = np.random.default_rng(0).standard_normal(x.shape)
        v *= 1e-9 * np.linalg.norm(x) / np.linalg.norm(v)
        low, middle, high = self(np.stack([x - v, x, x + v]))
        return float(np.linalg.norm(high + low - 2 * middle) / np.linalg.norm(middle))


def in_float64(value: Any) -> Any:
    """Every floating tensor in plain containers made float64."""
    if isinstance(value, dict):
        return {name: in_float64(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return tuple(in_float64(each) for each in value)
    if hasattr(value, "is_floating_point"):
        value = value.detach()
        return value.double() if value.is_floating_point() else value
    return value
