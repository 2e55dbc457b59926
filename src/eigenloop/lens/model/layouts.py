"""Where each architecture keeps what the lens reads: one row of data for each, and no code that
asks which one it is.

The same row serves a loaded Hugging Face model and the tensor names in its safetensors files,
because both use the same dotted names. docs/lens-layouts.md shows how to add a row.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from eigenloop.system.errors import InputError

Role: TypeAlias = Literal["query", "key", "value"]
Placement: TypeAlias = Literal["pre", "post"]
NormKind: TypeAlias = Literal["layer", "rms"]

ROLES: tuple[Role, ...] = ("query", "key", "value")
"""The order of the three parts of a fused projection."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One architecture: dotted names inside a block, how projections are stored, and which settings
    hold the sizes.

    Args:
        model_type: `model_type` in config.json.
        block: a layer, with `{}` for each index: "h.{}". Two indices mean shared layers: group, and
            layer in the group.
        attention: the module in a block whose second output is the attention patterns.
        query: the module in a block that holds W_Q; all three name the same module where they are
            fused.
        key: the same for W_K.
        value: the same for W_V.
        output: the module that holds W_O; what it returns is the sublayer's output before the
            residual.
        norm: the normalisation before (placement "pre") or after ("post") the attention sublayer.
        rows: what the output features of W_Q, W_K, W_V count, slowest first. ("part", "head",
            "dim") is a fused matrix [Q; K; V], ("head", "part", "dim") one that holds q, k, v of
            each head together.
        transposed: weights are stored (inputs, outputs), as GPT-2's Conv1D does, and not (outputs,
            inputs).
        placement: "pre" x + o(LN(x)), or "post" LN(x + o(x)).
        placement_flag: the setting that is true for "pre" and false for "post", where a
            configuration may choose.
        norm_kind: "layer" centres and scales, "rms" only scales.
        gain_offset: added to the stored gain (Gemma stores the gain minus one).
        eps: the setting that holds the normalisation's epsilon, or the number itself.
        heads: the setting that counts attention heads.
        layers: the setting that counts layers, shared ones as often as they are applied.
        embedding: the input embedding; what lies outside the blocks is named from the base model.
        projection: the linear map from the embedding to the stream, where their widths differ.
        final_norm: the normalisation after the last block, if any.
        reserved_positions: of `max_position_embeddings`, how many no token can take (RoBERTa counts
            from 2).
        unembedding: names of the output embedding, from the root of the model with its head; the
            first that the weights hold. Where they hold none, it is tied to the input embedding.
        transform: the linear map from the stream to the output embedding, where there is one, named
            from the root or from the base model.
        transform_norm: the LN after it (and after an activation), in a head for masked tokens.
        rotary: queries and keys are rotated by their positions.
        rest: modules and tensors in a block that stand outside the attention sublayer: the
            feed-forward, its normalisation. They are not read; of what is neither read nor named
            here, nothing may look like a normalisation or a scale. The rows below need not say it.

    Example:
        >>> LAYOUTS[0].model_type, LAYOUTS[0].block, LAYOUTS[0].value
        ('gpt2', 'h.{}', 'attn.c_attn')
    """

    model_type: str
    block: str
    attention: str
    query: str
    key: str
    value: str
    output: str
    norm: str
    rows: tuple[str, ...] = ("head", "dim")
    transposed: bool = False
    placement: Placement = "pre"
    placement_flag: str | None = None
    norm_kind: NormKind = "layer"
    gain_offset: float = 0.0
    eps: str | float = "layer_norm_eps"
    heads: str = "num_attention_heads"
    layers: str = "num_hidden_layers"
    embedding: str = "embed_tokens"
    projection: str | None = None
    final_norm: str | None = None
    reserved_positions: int = 0
    unembedding: tuple[str, ...] = ("lm_head",)
    transform: str | None = None
    transform_norm: str | None = None
    rotary: bool = False
    rest: tuple[str, ...] = ()

    def module(self, role: Role) -> str:
        """The module in a block that holds W_Q, W_K or W_V.

        Example:
            >>> LAYOUTS[1].module("value")
            'attn.attention.v_proj'
        """
        return {"query": self.query, "key": self.key, "value": self.value}[role]

    def placement_in(self, config: Mapping[str, Any]) -> Placement:
        """Where this model's configuration puts the normalisation.

        Example:
            >>> known("opt")[0].placement_in({"do_layer_norm_before": False})
            'post'
        """
        if self.placement_flag is None:
            return self.placement
        return "pre" if config.get(self.placement_flag, self.placement == "pre") else "post"

    def eps_in(self, config: Mapping[str, Any]) -> float:
        """The normalisation's epsilon in this model's configuration.

        Raises:
            InputError: the setting is missing, or no finite number from 0 on.
        """
        value = setting(config, self.eps) if isinstance(self.eps, str) else self.eps
        if not 0 <= value < float("inf"):
            raise InputError(
                f"{self.eps} is {value} in config.json; a finite number of at least 0 was expected"
            )
        return float(value)


def setting(config: Mapping[str, Any], name: str) -> int | float:
    """A number in a model's configuration that must be there.

    Raises:
        InputError: it is missing, or no number.

    Example:
        >>> setting({"n_head": 12}, "n_head")
        12
    """
    value = config.get(name)
    if value is None:
        raise InputError(f"config.json does not say {name!r}, which the lens needs; add it")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} is {value!r} in config.json; a number was expected")
    return value


def count(config: Mapping[str, Any], name: str) -> int:
    """A positive whole number in a model's configuration.

    Raises:
        InputError: it is missing, or something else.

    Example:
        >>> count({"n_head": 0}, "n_head")
        Traceback (most recent call last):
            ...
        eigenloop.system.errors.InputError: n_head is 0 in config.json; it must be a whole number of
        at least 1
    """
    value = setting(config, name)
    if not 1 <= value < math.inf or value != int(value):
        raise InputError(
            f"{name} is {value} in config.json; it must be a whole number of at least 1"
        )
    return int(value)


def known(model_type: str) -> tuple[Layout, ...]:
    """The rows of an architecture (more than one where names changed between versions of its
    checkpoints).

    Raises:
        InputError: there is none; names the nearest ones and how to pass a layout.

    Example:
        >>> len(known("vit"))
        2
    """
    rows = tuple(row for row in LAYOUTS if row.model_type == model_type)
    if not rows:
        names = sorted({row.model_type for row in LAYOUTS})
        near = difflib.get_close_matches(model_type, names, n=3, cutoff=0.5)
        like = (
            f"the nearest of {len(names)} are {', '.join(near)}"
            if near
            else f"{len(names)} are known, none like it"
        )
        raise InputError(
            f"model type {model_type!r} has no layout here ({like}; docs/lens-layouts.md has them"
            " all); from Python, pass layout=Layout(...)"
        )
    return rows


_BERT = Layout(
    model_type="bert",
    block="encoder.layer.{}",
    attention="attention.self",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    output="attention.output.dense",
    norm="attention.output.LayerNorm",
    placement="post",
    embedding="embeddings.word_embeddings",
    unembedding=("cls.predictions.decoder",),
    transform="cls.predictions.transform.dense",
    transform_norm="cls.predictions.transform.LayerNorm",
)
_LLAMA = Layout(
    model_type="llama",
    block="layers.{}",
    attention="self_attn",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    output="self_attn.o_proj",
    norm="input_layernorm",
    norm_kind="rms",
    eps="rms_norm_eps",
    final_norm="norm",
    rotary=True,
)
_VIT = Layout(  # as transformers 5 names the modules
    model_type="vit",
    block="layers.{}",
    attention="attention",
    query="attention.q_proj",
    key="attention.k_proj",
    value="attention.v_proj",
    output="attention.o_proj",
    norm="layernorm_before",
    final_norm="layernorm",
    embedding="embeddings.patch_embeddings.projection",
    unembedding=("classifier",),
)

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        model_type="gpt2", block="h.{}", attention="attn", query="attn.c_attn", key="attn.c_attn",
        value="attn.c_attn", output="attn.c_proj", rows=("part", "head", "dim"), transposed=True,
        norm="ln_1", eps="layer_norm_epsilon", heads="n_head", layers="n_layer", embedding="wte",
        final_norm="ln_f",
    ),
    Layout(
        model_type="gpt_neo", block="h.{}", attention="attn.attention",
        query="attn.attention.q_proj", key="attn.attention.k_proj", value="attn.attention.v_proj",
        output="attn.attention.out_proj", norm="ln_1", eps="layer_norm_epsilon", heads="num_heads",
        layers="num_layers", embedding="wte", final_norm="ln_f",
    ),
    Layout(
        model_type="gpt_neox", block="layers.{}", attention="attention",
        query="attention.query_key_value", key="attention.query_key_value",
        value="attention.query_key_value", output="attention.dense", rows=("head", "part", "dim"),
        norm="input_layernorm", embedding="embed_in", final_norm="final_layer_norm",
        unembedding=("lm_head", "embed_out"), rotary=True,
    ),
    _BERT,
    replace(
        _BERT, model_type="roberta", reserved_positions=2, unembedding=("lm_head.decoder",),
        transform="lm_head.dense", transform_norm="lm_head.layer_norm",
    ),
    Layout(
        model_type="albert", block="encoder.albert_layer_groups.{}.albert_layers.{}",
        attention="attention", query="attention.query", key="attention.key",
        value="attention.value", output="attention.dense", norm="attention.LayerNorm",
        placement="post", embedding="embeddings.word_embeddings",
        projection="encoder.embedding_hidden_mapping_in", unembedding=("predictions.decoder",),
        transform="predictions.dense", transform_norm="predictions.LayerNorm",
    ),
    Layout(
        model_type="distilbert", block="transformer.layer.{}", attention="attention",
        query="attention.q_lin", key="attention.k_lin", value="attention.v_lin",
        output="attention.out_lin", norm="sa_layer_norm", placement="post", eps=1e-12,
        heads="n_heads", layers="n_layers", embedding="embeddings.word_embeddings",
        unembedding=("vocab_projector",), transform="vocab_transform",
        transform_norm="vocab_layer_norm",
    ),
    Layout(
        model_type="opt", block="decoder.layers.{}", attention="self_attn",
        query="self_attn.q_proj", key="self_attn.k_proj", value="self_attn.v_proj",
        output="self_attn.out_proj", norm="self_attn_layer_norm",
        placement_flag="do_layer_norm_before", eps=1e-5, embedding="decoder.embed_tokens",
        projection="decoder.project_in", final_norm="decoder.final_layer_norm",
        transform="decoder.project_out",
    ),
    _LLAMA,
    replace(_LLAMA, model_type="mistral"),
    replace(_LLAMA, model_type="qwen2"),
    replace(_LLAMA, model_type="gemma", gain_offset=1.0),
    _VIT,
    replace(  # as checkpoints and earlier versions name them
        _VIT, block="encoder.layer.{}", query="attention.attention.query",
        key="attention.attention.key", value="attention.attention.value",
        output="attention.output.dense",
    ),
)  # fmt: skip
"""Every architecture that the lens knows."""
