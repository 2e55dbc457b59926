"""A layer of a loaded model, or a model that loops by itself, as a `LoopedMap` (torch).

layer N       the states of all tokens of a text, through block N; masks and positions are context
albert whole  the same through one group of layers, which the model applies again and again
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.lens.loops.block import LoopedBlock
from eigenloop.lens.loops.looped import tokens_of
from eigenloop.lens.model.loaded import load
from eigenloop.loops import LoopedMap
from eigenloop.system.errors import InputError

OTHERWISE = {
    **dict.fromkeys(
        ("hrm_text", "perceiver", "esmfold2", "funnel"),
        "it loops by itself in a way that is not read here: write its loop as a step function"
        " (FILE.py:STEP)",
    ),
    "esm": (
        "ESMFold recycles through a distogram's bins, which is piecewise constant: it has no"
        " derivative"
    ),
    "zamba2": (
        "its shared block sits between layers of their own: one pass is no map applied again and"
        " again"
    ),
}
"""Models that loop, or seem to, and why their own loop is not taken."""


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
        layer: index of the block; None for the model's own loop (albert).
        tokenizer: for a model that the caller holds.
        device: as for `load`.

    Returns:
        (map of the states (tokens, d), what is to be said of the text and the model).

    Raises:
        InputError: the model loops nothing by itself and no layer is given, or has no map to loop.
    """
    import torch

    loaded = load(model, tokenizer=tokenizer, device=device)
    if layer is None and loaded.model_type != "albert":
        why = OTHERWISE.get(
            loaded.model_type, "its layers have weights of their own, so it loops nothing by itself"
        )
        raise InputError(
            f"{loaded.source} ({loaded.model_type}): {why}; loop one of its layers with --layer N"
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
