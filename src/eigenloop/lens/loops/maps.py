"""A layer of a loaded model, or a model that loops by itself, as a `LoopedMap` (torch).

layer N       the states of all tokens of a text, through block N; masks and positions are context
albert whole  the same through one group of layers, which the model applies again and again
others        hrm_text, perceiver, funnel, esmfold2: see `own`
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.lens.loops.block import LoopedBlock
from eigenloop.lens.loops.looped import tokens_of
from eigenloop.lens.loops.own import own_loop
from eigenloop.lens.model.loaded import Model, load
from eigenloop.loops import LoopedMap
from eigenloop.system.errors import InputError


def looped_map(
    model: Any,
    text: Path | str | Sequence[int],
    *,
    layer: int | None = None,
    tokenizer: Any = None,
    device: str = "auto",
) -> tuple[LoopedMap, list[str]]:
    """The map that a layer is, or that a model with shared layers applies.

    Args:
        model: as for `load`.
        text: a file (a Path), a text, or token ids; it decides the start and the number of tokens.
        layer: index of the block; None for the model's own loop (albert, hrm_text, perceiver,
            esmfold2, funnel where one layer is repeated).
        tokenizer: for a model that the caller holds.
        device: as for `load`.

    Returns:
        (map of the states (tokens, d), what is to be said of the text and the model).

    Raises:
        InputError: the model loops nothing by itself and no layer is given, or has no map to loop.
    """
    import torch

    if not isinstance(model, Model):
        own = own_loop(model, text, layer=layer, tokenizer=tokenizer, device=device)
        if own is not None:
            return own
    loaded = load(model, tokenizer=tokenizer, device=device)
    if layer is None and loaded.model_type != "albert":
        raise InputError(
            f"{loaded.source} ({loaded.model_type}): its layers have weights of their own, so it"
            " loops nothing by itself; loop one of its layers with --layer N"
        )
    count = len(loaded.blocks)
    if layer is not None and not 0 <= layer < count:
        raise InputError(f"--layer is {layer}; {loaded.source} has blocks 0 to {count - 1}")
    config = loaded.stack.weights.config
    if layer is None and int(config.get("num_hidden_groups", 1)) > 1:
        raise InputError(
            f"{loaded.source} passes through {config['num_hidden_groups']} groups of layers, each"
            " its own map; loop one block with --layer N"
        )
    ids, remarks = tokens_of(loaded, text)
    chosen = range(count) if layer is None else [layer]
    blocks = [LoopedBlock(loaded, index, "layer", ids) for index in chosen]

    def step(x: Any) -> Any:
        for block in blocks:
            x = block.moved(x[None])[0]
        return x

    start = torch.tensor(np.asarray(blocks[0].start), dtype=torch.float64, device=loaded.device)
    name = f"{loaded.source}, its own loop" if layer is None else f"{loaded.source}, layer {layer}"
    return LoopedMap.torch(step, start, name=name), [*loaded.notes, *remarks]
