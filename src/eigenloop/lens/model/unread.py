"""What a layout leaves unread of a block and of config.json: refused where it may change what
attention adds, or named.

A row of `LAYOUTS` is checked against its own architecture by the tests. A layout that the caller
brings is not, and a norm, a scale or a multiplier between the attention and the residual, which no
field of it reads, would make every number wrong without a word.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eigenloop.lens.model.layouts import LAYOUTS, Layout
from eigenloop.lens.model.tensors import Tensors
from eigenloop.system.errors import InputError

NAMED = 6
"""Tensors named in a sentence before the rest is counted."""

NORMS = re.compile(
    r"norm|(^|[._])ln([._\d]|$)|(^|[._])ls\d|lambda|layer_?scale|gamma|(^|[._])scale([._]|$)", re.I
)
"""Names of normalisations and scales of a stream."""

SCORES = re.compile(r"(^|[._])(q|k|qk|query|key)_?(a_|b_)?(layer)?_?(norm|ln)", re.I)
"""Names of normalisations that queries and keys pass: they change which token attends to which,
and no value.
"""

BUFFERS = re.compile(r"inv_freq|rotary|masked_bias", re.I)
"""Names of constants that old checkpoints hold."""

FACTORS = re.compile(r"multiplier|softcap|(^|_)scal(e|ing)(_|$)|layerscale|(^|_)alpha(_|$)")
"""Settings that sound like a factor."""


class Setting(NamedTuple):
    """A setting of config.json that multiplies, or moves, something in a block.

    Args:
        neutral: the values that change nothing.
        refused: it changes what attention adds to the stream.
        what: it does.
    """

    neutral: tuple[Any, ...]
    refused: bool
    what: str


SETTINGS: Mapping[str, Setting] = {
    "residual_multiplier": Setting((1,), True, "multiplies what attention adds to the stream"),
    "scale_depth": Setting((), True, "multiplies what attention adds to the stream"),
    "attention_out_multiplier": Setting((1,), True, "multiplies what attention adds to the stream"),
    "attention_in_multiplier": Setting((1,), True, "multiplies what attention reads"),
    "clip_qkv": Setting((), True, "clips the values"),
    "apply_residual_connection_post_layernorm": Setting(
        (False,), True, "takes the residual after the normalisation"
    ),
    "attention_multiplier": Setting((), False, "scales the attention's scores"),
    "key_multiplier": Setting((1,), False, "scales the attention's scores"),
    "query_pre_attn_scalar": Setting((), False, "scales the attention's scores"),
    "attn_logit_softcapping": Setting((), False, "bends the attention's scores"),
    "final_logit_softcapping": Setting((), False, "bends the logits, in their order"),
    "logits_scaling": Setting((1,), False, "scales all logits alike"),
    "logit_scale": Setting((1,), False, "scales all logits alike"),
    "lm_head_multiplier": Setting((1,), False, "scales all logits alike"),
    "embedding_multiplier": Setting((1,), False, "scales the embedding as it enters the stream"),
    "scale_emb": Setting((1,), False, "scales the embedding as it enters the stream"),
    "scale_embedding": Setting((False,), False, "scales the embedding as it enters the stream"),
    "layerscale_value": Setting(
        (0,), False, "is where scales of the layers start from; the tensors tell where"
    ),
    "layer_scale_init_value": Setting(
        (0,), False, "is where scales of the layers start from; the tensors tell where"
    ),
    "use_parallel_residual": Setting(
        (False,), False, "lets the feed-forward read what attention reads"
    ),
    "parallel_attn": Setting((False,), False, "lets the feed-forward read what attention reads"),
}
"""What is known of settings that no field of a layout reads; a value of null changes nothing."""


def examine(
    config: Mapping[str, Any],
    tensors: Tensors,
    layout: Layout,
    blocks: Sequence[str],
    *,
    model_type: str,
) -> tuple[str, ...]:
    """Look at what a layout does not read.

    Args:
        config: the model's configuration.
        tensors: its weights.
        layout: how they are named.
        blocks: the dotted name of each block.
        model_type: the architecture that the model says it is; "" where it says none.

    Returns:
        What is not read and taken to change nothing, in sentences; none for a row of `LAYOUTS` and
        its architecture.

    Raises:
        InputError: the normalisation is missing where a block has tensors that look like one; or
            the layout is the caller's, and a tensor that looks like a normalisation or a scale, or
            a multiplier, is not accounted for.
    """
    found: dict[str, tuple[int, ...]] = {}
    for name in sorted(tensors.names()):
        block = next((block for block in blocks if name.startswith(f"{block}.")), None)
        if block is not None:
            found.setdefault(name.removeprefix(f"{block}."), tensors.shape(name))
    _require_norm(found, tensors, layout, blocks)
    if layout in LAYOUTS and layout.model_type == model_type:
        return ()
    fields = {layout.query, layout.key, layout.value, layout.output, layout.norm}
    read = {f"{field}.{part}" for field in fields for part in ("weight", "bias")}
    unread = {
        name: shape
        for name, shape in found.items()
        if name not in read and not BUFFERS.search(name)
    }
    outside = [
        name
        for name in unread
        if any(name == part or name.startswith(f"{part}.") for part in layout.rest)
    ]
    inside = [name for name in unread if name not in outside]
    norms = [name for name in inside if _scales(name, unread[name]) and not SCORES.search(name)]
    if norms:
        raise InputError(
            f"a block has {_listed(norms)}, which no field of the layout reads; a normalisation or"
            " scale between the attention and the residual cannot be read; name in rest= what"
            " stands elsewhere (beside the feed-forward)"
        )
    notes = []
    if inside:
        notes.append(
            f"the layout reads nothing of {_listed(inside)}, taken to change nothing of what"
            " attention adds"
        )
    if outside:
        notes.append(
            f"the layout says that {_listed(outside)} stand outside the attention sublayer"
        )
    return (*notes, *_factors(config))


def _require_norm(
    found: Mapping[str, tuple[int, ...]], tensors: Tensors, layout: Layout, blocks: Sequence[str]
) -> None:
    """A norm without tensors is one without a gain, but not where the block has others."""
    names = set(tensors.names())
    like = [
        name for name, shape in found.items() if _scales(name, shape) and not BUFFERS.search(name)
    ]
    like = [name for name in like if not name.startswith(f"{layout.norm}.")]
    missing = next(
        (block for block in blocks if f"{block}.{layout.norm}.weight" not in names), None
    )
    if missing is not None and like:
        raise InputError(
            f"there is no tensor {missing}.{layout.norm}.weight, but the block has {_listed(like)};"
            " correct norm in the layout, or the checkpoint is incomplete"
        )


def _scales(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor looks like a normalisation's gain or a scale: by its name, or as a vector
    that is no bias.
    """
    return bool(NORMS.search(name)) or (len(shape) == 1 and not name.endswith("bias"))


def _factors(config: Mapping[str, Any]) -> list[str]:
    """A sentence for each setting that multiplies something that no field reads.

    Raises:
        InputError: one changes what attention adds.
    """
    notes = []
    for name, value in config.items():
        known = SETTINGS.get(name)
        if value is None or (known is not None and value in known.neutral):
            continue
        if known is not None and known.refused:
            raise InputError(
                f"config.json says {name} {value}, which {known.what}: no field of a layout"
                " reads it"
            )
        if known is not None:
            notes.append(
                f"config.json says {name} {value}, which {known.what}; it is not computed with"
            )
        elif FACTORS.search(name) and _is_factor(value):
            notes.append(
                f"config.json says {name} {value}, which is not known here; it is not computed with"
            )
    return notes


def _is_factor(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and value != 1
        and math.isfinite(value)
    )


def _listed(names: Sequence[str]) -> str:
    """Tensors by their modules, the first `NAMED` of them."""
    modules = list(dict.fromkeys(re.sub(r"\.(weight|bias)$", "", name) for name in names))
    more = f" and {len(modules) - NAMED} more" if len(modules) > NAMED else ""
    return ", ".join(modules[:NAMED]) + more
