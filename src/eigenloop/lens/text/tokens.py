"""The states of tokens as they pass through a model: x before each attention sublayer, x + o after
it, and beyond.

    pre:  y = x + o(LN(x)),   then y + FFN(...)          post:  y = x + o(x),
        then LN(y), then FFN with its LN

Hooks copy these states to NumPy, one layer of one batch at a time, and hand them on; nothing else
happens in them. What is not kept by whoever receives the states is gone, so memory depends on the
batch and not on the text.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from operator import length_hint
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eigenloop.lens.model.loaded import Model, load
from eigenloop.lens.text.texts import Batch, Passages, encode, passages
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent


@dataclass(frozen=True, eq=False, kw_only=True)
class States:
    """The N counted tokens of a batch (or of a text) at one layer, float32 or float64.

    Args:
        layer: which layer, in the order in which the model applies them; a shared block has many.
        block: which block it applies.
        passage: the passage of each token.
        piece: the piece of the passage, where it was split.
        position: the place of the token in its row.
        before: x, the residual stream that enters the layer.
        written: o, what the attention sublayer adds to it.
        normed: what the normalisation beside the attention gives, LN(x) or (post) LN(x + o); None
            where there is none.
        output: the residual stream that leaves the layer, after its feed-forward sublayer.
    """

    layer: int
    block: int
    passage: Int[np.ndarray, " N"]
    piece: Int[np.ndarray, " N"]
    position: Int[np.ndarray, " N"]
    before: Float[np.ndarray, "N d"]
    written: Float[np.ndarray, "N d"]
    normed: Float[np.ndarray, "N d"] | None
    output: Float[np.ndarray, "N d"]

    @property
    def after(self) -> Float[np.ndarray, "N d"]:
        """x + o."""
        return self.before + self.written


def stream(
    model: Model,
    batches: Iterable[Batch],
    visit: Callable[[States], None],
    *,
    progress: Progress = silent,
) -> int:
    """Run a model and show the states of each layer of each batch, as soon as they are there;
    nothing is kept.

    Args:
        model: from `load`.
        batches: from `encode`, or made by the caller (images).
        visit: called len(schedule) times for each batch, in the order of the layers.
        progress: told how many batches are done.

    Returns:
        How many batches were run.

    Raises:
        InputError: the model did not pass through the layers of its layout in their order, or a
            state is not finite.
    """
    import torch

    capture, done = _Capture(model, visit), 0
    with model.running() as trunk:
        plain = (
            {"use_cache": False}
            if "use_cache" in inspect.signature(trunk.forward).parameters
            else {}
        )
        try:
            capture.attach()
            for batch in batches:
                inputs = {
                    name: torch.as_tensor(array, device=model.device)
                    for name, array in batch.inputs.items()
                }
                if "pixel_values" in inputs:
                    inputs["pixel_values"] = inputs["pixel_values"].to(trunk.dtype)
                capture.begin(batch)
                trunk(**inputs, **plain)
                capture.finish()
                done += 1
                progress("text", done, length_hint(batches, done))
        finally:
            capture.detach()
    return done


def states(
    model: Any,
    text: "Path | str | Iterable[str] | Passages",
    *,
    special: bool = False,
    tokenizer: Any = None,
) -> tuple[States, ...]:
    """The states of a whole text at every layer, kept: 4 N d numbers for each layer.

    Args:
        model: as for `load`.
        text: a file (a Path), a text (a str) or passages.
        special: count special tokens.
        tokenizer: for a model that the caller holds.

    Returns:
        One for each layer, tokens in the order of the text.

    Raises:
        InputError: the model or the text cannot be read.
    """
    loaded = load(model, tokenizer=tokenizer)
    encoded = encode(
        loaded,
        passages(text if isinstance(text, Path | str | Passages) else tuple(text)),
        special=special,
    )
    found: list[list[States]] = [[] for _ in loaded.stack.schedule]
    stream(loaded, encoded.batches, lambda state: found[state.layer].append(state))
    return tuple(_joined(parts) for parts in found)


def images(
    pixels: Float[np.ndarray, "n channels height width"], *, per_batch: int = 16
) -> tuple[Batch, ...]:
    """Batches of images for `stream`; each is a passage, and all its tokens are counted.

    Args:
        pixels: normalised as the model's image processor does.
        per_batch: images run at once.
    """
    starts = range(0, len(pixels), per_batch)
    return tuple(
        Batch(
            inputs={"pixel_values": pixels[i : i + per_batch]},
            counted=None,
            passage=np.arange(i, min(i + per_batch, len(pixels))),
            piece=np.zeros(len(pixels[i : i + per_batch]), int),
        )
        for i in starts
    )


class _Capture:
    """Hooks on a model's blocks."""

    def __init__(self, model: Model, visit: Callable[[States], None]) -> None:
        self._model, self._visit, self._handles = model, visit, []
        self._schedule, self._batch = model.stack.schedule, None
        self._layer, self._parts = 0, {}

    def attach(self) -> None:
        layout = self._model.stack.layout
        for index, block in enumerate(self._model.blocks):
            self._handles.append(
                block.register_forward_pre_hook(self._enter(index), with_kwargs=True)
            )
            for name, part in (("written", layout.output), ("normed", layout.norm)):
                module = self._model.submodule(index, part)
                if module is not None:
                    self._handles.append(module.register_forward_hook(self._keep(name)))
            self._handles.append(block.register_forward_hook(self._leave(index)))

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def begin(self, batch: Batch) -> None:
        self._batch, self._layer, self._parts = batch, 0, {}

    def finish(self) -> None:
        if self._layer != len(self._schedule):
            raise InputError(
                f"{self._model.source} passed through {self._layer} of {len(self._schedule)} layers"
                f" ({self._model.stack.layout.block}); correct block or layers in the layout"
            )

    def _enter(self, index: int) -> Callable:
        def hook(module: Any, arguments: tuple, named: dict) -> None:
            if self._layer >= len(self._schedule) or self._schedule[self._layer] != index:
                raise InputError(
                    f"{self._model.source} applied block {index} as layer {self._layer}, against"
                    " its layout"
                )
            self._parts = {
                "before": self._copied(arguments[0] if arguments else named["hidden_states"])
            }

        return hook

    def _keep(self, name: str) -> Callable:
        def hook(module: Any, arguments: tuple, result: Any) -> None:
            self._parts[name] = self._copied(result)

        return hook

    def _leave(self, index: int) -> Callable:
        def hook(module: Any, arguments: tuple, result: Any) -> None:
            if "written" not in self._parts:
                name = f"{self._model.stack.layout.block}.{self._model.stack.layout.output}"
                raise InputError(
                    f"{self._model.source} never called {name} in layer {self._layer}; correct the"
                    " layout"
                )
            batch, parts = self._batch, {**self._parts, "output": self._copied(result)}
            assert batch is not None
            rows, positions = self._places(batch, result)
            found = States(
                layer=self._layer,
                block=index,
                passage=batch.passage[rows],
                piece=batch.piece[rows],
                position=positions,
                **{"normed": None, **parts},
            )
            if not all(np.isfinite(part).all() for part in parts.values()):
                raise InputError(
                    f"the states in layer {self._layer} of {self._model.source} are not finite"
                )
            self._layer, self._parts = self._layer + 1, {}
            self._visit(found)

        return hook

    @staticmethod
    def _places(batch: Batch, result: Any) -> tuple[np.ndarray, np.ndarray]:
        """Row and position of every counted token."""
        shape = (result[0] if isinstance(result, tuple) else result).shape[:2]
        rows, positions = np.nonzero(
            np.ones(shape, bool) if batch.counted is None else batch.counted
        )
        return rows, positions

    def _copied(self, tensor: Any) -> np.ndarray:
        """The counted tokens, (N, d), as a NumPy array of their own."""
        tensor = tensor[0] if isinstance(tensor, tuple) else tensor
        array = tensor.detach().cpu().numpy()
        assert self._batch is not None
        counted = self._batch.counted
        return array.reshape(-1, array.shape[-1]).copy() if counted is None else array[counted]


def _joined(parts: list[States]) -> States:
    """The batches of one layer in the order of the text."""
    names = [f.name for f in fields(States) if isinstance(getattr(parts[0], f.name), np.ndarray)]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    order = np.lexsort((arrays["position"], arrays["piece"], arrays["passage"]))
    return replace(parts[0], **{name: array[order] for name, array in arrays.items()})
