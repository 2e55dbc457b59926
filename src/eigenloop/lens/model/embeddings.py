"""A model's input and output embeddings as rows in the coordinates of the residual stream, a block
at a time (NumPy).

    input    r_t = M e_t    M the projection from the embedding to the stream, where they differ
    output   logit_t(x) = e_t . D x
             r_t = D^T e_t, D the map from the stream to the output embedding
             with norms: r_t = P diag(gain) D^T P' diag(gain') e_t, the final LN and the LN after D;
             sigma stays outside

so that r_t . v is what a token's direction, or its logit, has in common with v. A matrix of 128,000
x 4,096 is never whole in memory: no more than a few blocks of `BLOCK` bytes are. Worked out here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from eigenloop.lens.model.stack import Stack
from eigenloop.system.errors import InputError

Side: TypeAlias = Literal["input", "output"]

BLOCK = 1 << 24
"""Bytes of rows in float64 that are held at a time."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scaling:
    """e -> P diag(gain) e for rows e: what a normalisation does to a row of the output embedding,
    without sigma.

    Args:
        gain: (d,), float64.
        center: whether P = I - 11^T/d is there.
    """

    gain: Float[np.ndarray, " d"]
    center: bool

    def __call__(self, rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Each row scaled, then centred."""
        rows = rows * self.gain
        return rows - rows.mean(1, keepdims=True) if self.center else rows


@dataclass(frozen=True, eq=False, kw_only=True)
class Embedding:
    """One embedding of a vocabulary, not read yet.

    Args:
        stack: the model.
        side: "input" or "output".
        name: the tensor.
        size: |V|, its rows.
        steps: what takes a row to the stream, in order: matrices (from the right) and
            normalisations.
        notes: what a reader has to know, in sentences.
    """

    stack: Stack
    side: Side
    name: str
    size: int
    steps: tuple[Float[np.ndarray, "e d"] | Scaling, ...] = ()
    notes: tuple[str, ...] = ()

    def rows(self, first: int, last: int) -> Float[np.ndarray, "n d"]:
        """r_t for first <= t < last, float64.

        Raises:
            InputError: the tensor is damaged or quantised.
        """
        rows = self.stack.weights.tensors.read(self.name, rows=slice(first, last)).astype(
            np.float64
        )
        for step in self.steps:
            rows = step(rows) if isinstance(step, Scaling) else rows @ step
        return rows

    def blocks(self) -> Iterator[tuple[int, Float[np.ndarray, "n d"]]]:
        """(first token, rows) until the vocabulary's end.

        Raises:
            InputError: as for `rows`.
        """
        widest = max(self.stack.width, self.stack.weights.tensors.shape(self.name)[1])
        step = max(1, BLOCK // (8 * widest))
        for first in range(0, self.size, step):
            yield first, self.rows(first, min(first + step, self.size))


def has_vocabulary(stack: Stack) -> bool:
    """Whether the weights hold an input embedding of tokens: a ViT's do not, nor a checkpoint of
    blocks alone.

    Args:
        stack: any model.
    """
    name = f"{stack.prefix}{stack.layout.embedding}.weight"
    return name in stack.weights.tensors.names() and len(stack.weights.tensors.shape(name)) == 2


def input_embedding(stack: Stack) -> Embedding:
    """What a token brings into the stream: its row of the input embedding, through the projection
    of ALBERT and OPT.

    A factor common to all tokens (Gemma multiplies by sqrt(d)) changes no direction and is left
    out; so are positions and the normalisation that BERT puts after their sum.

    Args:
        stack: a text model.

    Raises:
        InputError: the model reads no tokens, or a tensor is missing or does not fit.
    """
    name = f"{stack.prefix}{stack.layout.embedding}.weight"
    if name not in stack.weights.tensors.names():
        raise InputError(
            f"{stack.weights.source} has no tensor {name}; the checkpoint is incomplete"
        )
    size, width = _matrix(stack, name)
    steps: list[np.ndarray | Scaling] = []
    project = f"{stack.prefix}{stack.layout.projection}.weight"
    if stack.layout.projection and project in stack.weights.tensors.names():
        steps.append(stack.weights.tensors.read(project).astype(np.float64).T)
    _fits(stack, name, steps, width)
    return Embedding(stack=stack, side="input", name=name, size=size, steps=tuple(steps))


def output_embedding(stack: Stack, *, norm: bool = False) -> Embedding:
    """What raises a token's logit: its row of the output embedding, carried back to the stream.

    Where the weights hold no output embedding the input embedding is it (tied weights), which
    `notes` says.

    Args:
        stack: a text model.
        norm: fold in the gain and the centring of the final normalisation, and of the LN in a head
            for masked tokens.

    Raises:
        InputError: the model has no vocabulary, or a tensor is missing or does not fit.
    """
    layout, tensors, notes = stack.layout, stack.weights.tensors, []
    held = set(tensors.names())
    root = stack.prefix.rstrip(".").rpartition(".")[0]
    root = f"{root}." if root else ""
    own = [f"{root}{name}.weight" for name in layout.unembedding if f"{root}{name}.weight" in held]
    into = input_embedding(stack)
    name = own[0] if own else into.name
    size, width = _matrix(stack, name)
    steps: list[np.ndarray | Scaling] = []
    named = [
        f"{p}{layout.transform}"
        for p in (root, stack.prefix)
        if f"{p}{layout.transform}.weight" in held
    ]
    if not own:
        untied = stack.weights.config.get("tie_word_embeddings") is False
        notes.append(
            "the weights hold no output embedding; the input embedding stands for it"
            + (", although config.json says that the two are not tied" if untied else "")
        )
    if layout.transform and named:
        if layout.transform_norm:
            notes.append("the head's dense map is read without the activation after it")
            if norm:
                beside = f"{named[0].removesuffix(layout.transform)}{layout.transform_norm}"
                steps.append(Scaling(gain=_gain(stack, beside), center=True))
        steps.append(tensors.read(f"{named[0]}.weight").astype(np.float64))
    elif width != stack.width:  # no head: back by the way in
        notes.append(
            "there is no map from the stream to the output embedding; the input's projection stands"
            " for it"
        )
        steps.extend(into.steps)
    final = f"{stack.prefix}{layout.final_norm}"
    if norm and layout.final_norm and f"{final}.weight" in held:
        steps.append(
            Scaling(
                gain=_gain(stack, final) + layout.gain_offset, center=layout.norm_kind == "layer"
            )
        )
    _fits(stack, name, steps, width)
    return Embedding(
        stack=stack, side="output", name=name, size=size, steps=tuple(steps), notes=tuple(notes)
    )


def _matrix(stack: Stack, name: str) -> tuple[int, int]:
    shape = stack.weights.tensors.shape(name)
    if len(shape) != 2 or 0 in shape:
        raise InputError(
            f"{stack.weights.source} ({stack.weights.model_type}) has no vocabulary: {name} has"
            f" shape {shape}; only a text model's directions can be read as tokens"
        )
    return shape[0], shape[1]


def _fits(stack: Stack, name: str, steps: list[np.ndarray | Scaling], width: int) -> None:
    """Check that the steps lead from the embedding's width to the stream's."""
    for step in steps:
        if width != (len(step.gain) if isinstance(step, Scaling) else step.shape[0]):
            break
        width = width if isinstance(step, Scaling) else step.shape[1]
    else:
        if width == stack.width:
            return
    shape = stack.weights.tensors.shape(name)
    raise InputError(f"{name} has shape {shape}, which does not lead to a stream of {stack.width}")


def _gain(stack: Stack, name: str) -> np.ndarray:
    return stack.weights.tensors.read(f"{name}.weight").astype(np.float64)
