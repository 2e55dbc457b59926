"""A layout found in a model's weights: where the blocks are, how many heads, and in which order
layers are applied.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eigenloop.lens.model.checkpoint import Weights, open_weights
from eigenloop.lens.model.layouts import LAYOUTS, ROLES, Layout, Role, count, known
from eigenloop.lens.model.results import ONE
from eigenloop.lens.model.unread import examine
from eigenloop.system.errors import InputError

MOST_LAYERS = 10_000
"""Layers that a block with shared weights may be applied in."""


@dataclass(frozen=True, eq=False)
class Stack:
    """The blocks of one model.

    Args:
        weights: where the tensors are.
        layout: how they are named and stored.
        prefix: what comes before the layout's names ("transformer." in a model with a head, often
            nothing).
        blocks: the dotted name of each distinct block, in order.
        schedule: the block that each layer of the model applies; range(len(blocks)) unless weights
            are shared.
        heads: H, attention heads of a layer.
        notes: what the layout leaves unread, in sentences.
    """

    weights: Weights
    layout: Layout
    prefix: str
    blocks: tuple[str, ...]
    schedule: tuple[int, ...]
    heads: int
    notes: tuple[str, ...] = ()
    width: int = field(init=False)
    head_dim: int = field(init=False)
    groups: int = field(init=False)

    def __post_init__(self) -> None:
        """Take the sizes from the tensors' shapes, and check them against one another."""
        inputs, width = self._shape(0, self.layout.output)[::-1]
        features, value_inputs = self._shape(0, self.layout.value)
        parts = len(ROLES) if "part" in self.layout.rows else 1
        name = f"{self.blocks[0]}.{self.layout.value}.weight"
        if inputs % self.heads:
            raise InputError(
                f"{self.layout.heads} is {self.heads} in config.json, which does not divide the"
                f" {inputs} inputs of W_O"
            )
        head_dim = inputs // self.heads
        groups = features // (parts * head_dim)
        if (
            value_inputs != width
            or groups < 1
            or features != groups * parts * head_dim
            or self.heads % groups
        ):
            raise InputError(
                f"{name} has shape {self.weights.tensors.shape(name)}, which does not fit"
                f" {self.heads} heads of {head_dim} in a stream of {width}; check"
                f" {self.layout.heads} in config.json"
            )
        for setting, value in (("num_key_value_heads", groups), ("head_dim", head_dim)):
            said = self.weights.config.get(setting)
            if said not in (None, value):
                raise InputError(
                    f"config.json says {setting} {said}; the shape of {name} says {value};"
                    " correct one"
                )
        for attribute, value in (("width", width), ("head_dim", head_dim), ("groups", groups)):
            object.__setattr__(self, attribute, value)

    @property
    def shared(self) -> bool:
        """Whether a block is applied more than once."""
        return len(self.schedule) > len(self.blocks)

    @property
    def unit(self) -> str:
        """What a block is called: "layer"; where weights are shared, "block", or `ONE` where
        there is no other.
        """
        return ("block" if len(self.blocks) > 1 else ONE) if self.shared else "layer"

    def module(self, layer: int, part: str) -> str:
        """The full dotted name of a module in a block: `module(0, layout.output)`."""
        return f"{self.blocks[layer]}.{part}"

    def projection(self, layer: int, role: Role) -> tuple[np.ndarray, np.ndarray]:
        """W_Q, W_K or W_V of a layer, by head, and its bias.

        Args:
            layer: index of the block.
            role: which of the three.

        Returns:
            (groups, head_dim, d) and (groups, head_dim), float32 or float64; a missing bias is
            zero. For "query", groups is the number of heads.

        Raises:
            InputError: a tensor is missing, damaged or of another shape than in the first layer.
        """
        name, tensors = self.module(layer, self.layout.module(role)), self.weights.tensors
        features = self.features(role)
        groups, parts = len(features), len(ROLES) if "part" in self.layout.rows else 1
        total = parts * features.size
        self._check(layer, self.layout.module(role), (total, self.width))
        runs = np.split(features.ravel(), np.flatnonzero(np.diff(features.ravel()) != 1) + 1)
        slices = [slice(int(run[0]), int(run[-1]) + 1) for run in runs]
        cut = "columns" if self.layout.transposed else "rows"
        pieces = [tensors.read(f"{name}.weight", **{cut: piece}) for piece in slices]
        pieces = [piece.T for piece in pieces] if self.layout.transposed else pieces
        weight = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        bias = self._vector(f"{name}.bias", total, weight.dtype)[features.ravel()]
        return weight.reshape(groups, self.head_dim, self.width), bias.reshape(
            groups, self.head_dim
        )

    def features(self, role: Role) -> np.ndarray:
        """Which output features of its module are W_Q, W_K or W_V: (groups, head_dim), more than
        these where fused.
        """
        groups = self.heads if role == "query" else self.groups
        sizes = {"part": len(ROLES), "head": groups, "dim": self.head_dim}
        shape = tuple(sizes[axis] for axis in self.layout.rows)
        features = np.arange(int(np.prod(shape))).reshape(shape)
        if "part" in self.layout.rows:
            features = np.take(features, ROLES.index(role), axis=self.layout.rows.index("part"))
        return np.asarray(features)

    def output(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """W_O of a layer, by head, and its bias.

        Returns:
            (heads, d, head_dim) and (d,), float32 or float64; a missing bias is zero.

        Raises:
            InputError: as for `projection`.
        """
        name = self.module(layer, self.layout.output)
        self._check(layer, self.layout.output, (self.width, self.heads * self.head_dim))
        weight = self.weights.tensors.read(f"{name}.weight")
        weight = weight.T if self.layout.transposed else weight
        by_head = weight.reshape(self.width, self.heads, self.head_dim).transpose(1, 0, 2)
        return by_head, self._vector(f"{name}.bias", self.width, weight.dtype)

    def norm(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """Gain and bias of the normalisation beside the attention sublayer; 1 and 0 where there is
        none.

        Returns:
            (d,) and (d,), float64.
        """
        name = self.module(layer, self.layout.norm)
        if f"{name}.weight" not in self.weights.tensors.names():
            return np.ones(self.width), np.zeros(self.width)
        gain = (
            self._vector(f"{name}.weight", self.width, np.dtype(np.float64))
            + self.layout.gain_offset
        )
        return gain, self._vector(f"{name}.bias", self.width, np.dtype(np.float64))

    def stored(self) -> tuple[str, ...]:
        """The kinds of numbers that the V and O of all layers are stored as, sorted.

        Raises:
            InputError: a tensor is missing, or quantised.
        """
        kinds = set()
        for layer in range(len(self.blocks)):
            for part in (self.layout.value, self.layout.output):
                self._shape(layer, part)
                kinds.add(self.weights.tensors.stored(f"{self.module(layer, part)}.weight"))
        return tuple(sorted(kinds))

    def _vector(self, name: str, size: int, kind: np.dtype) -> np.ndarray:
        if name not in self.weights.tensors.names():
            return np.zeros(size, kind)
        if self.weights.tensors.shape(name) != (size,):
            raise InputError(
                f"{name} has shape {self.weights.tensors.shape(name)}; ({size},) was expected"
            )
        return self.weights.tensors.read(name).astype(kind)

    def _shape(self, layer: int, part: str) -> tuple[int, int]:
        """(outputs, inputs) of a linear map."""
        name = f"{self.module(layer, part)}.weight"
        if name not in self.weights.tensors.names():
            raise InputError(
                f"{self.weights.source} has no tensor {name}; the checkpoint is incomplete"
            )
        shape = self.weights.tensors.shape(name)
        # codes are refused as such before their packed shapes are misread
        self.weights.tensors.stored(name)
        if len(shape) != 2 or 0 in shape:
            raise InputError(f"{name} has shape {shape}; a matrix was expected")
        return (shape[1], shape[0]) if self.layout.transposed else (shape[0], shape[1])

    def _check(self, layer: int, part: str, expected: tuple[int, int]) -> None:
        if self._shape(layer, part) != expected:
            name = f"{self.module(layer, part)}.weight"
            raise InputError(
                f"{name} has shape {self.weights.tensors.shape(name)}, which does not fit"
                f" {self.heads} heads of {self.head_dim} in a stream of {self.width}"
            )


def locate(model: Any, layout: Layout | None = None) -> Stack:
    """Find the blocks of a model.

    Args:
        model: as for `open_weights`, or a `Stack`, which is given back as it is.
        layout: how its weights are named, for an architecture that the lens does not know.

    Raises:
        InputError: the architecture is unknown, no tensor has the layout's names, layers are
            missing, or the layout does not account for what may change what attention adds
            (`examine`).
    """
    if isinstance(model, Stack):
        return model
    weights = model if isinstance(model, Weights) else open_weights(model)
    if layout is None and "model_type" not in weights.config:
        raise InputError(_nameless(weights))
    rows = (layout,) if layout else known(weights.model_type)
    names = list(weights.tensors.names())
    for row in rows:
        pattern = re.escape(f"{row.block}.{row.value}.weight").replace(r"\{\}", r"(\d+)")
        found = [
            match
            for match in (re.fullmatch(rf"((?:.*\.)?){pattern}", name) for name in names)
            if match
        ]
        if found:
            break
    else:
        wanted = " or ".join(f"{row.block}.{row.value}.weight".replace("{}", "0") for row in rows)
        codes = next(
            (name for name in names if name.endswith((".qweight", ".qzeros", "_packed"))), None
        )
        if codes is not None:
            raise InputError(
                f"{weights.source} is quantised: {codes} holds codes where the lens needs {wanted};"
                " load the model with transformers, call model.dequantize(), and save it"
            )
        raise InputError(
            f"{weights.source} is of type {weights.model_type!r} but has no tensor {wanted}"
        )
    prefix = min((match[1] for match in found), key=len)
    indices = sorted(
        tuple(int(i) for i in match.groups()[1:]) for match in found if match[1] == prefix
    )
    said = weights.config.get("num_hidden_groups") if row.block.count("{}") > 1 else None
    schedule = _schedule(indices, count(weights.config, row.layers), said, weights.source)
    blocks = tuple(prefix + row.block.format(*index) for index in indices)
    said = str(weights.config.get("model_type", ""))
    notes = examine(weights.config, weights.tensors, row, blocks, model_type=said)
    return Stack(weights, row, prefix, blocks, schedule, count(weights.config, row.heads), notes)


def _nameless(weights: Weights) -> str:
    """What to add to a configuration without a model_type, as far as its architectures tell."""
    classes = weights.config.get("architectures")
    said = str(classes[0]) if isinstance(classes, list) and classes else ""
    stem = re.sub(r"(For\w+|Model|LMHeadModel)$", "", said).lower().replace("_", "")
    fits = sorted(
        {
            row.model_type
            for row in LAYOUTS
            if row.model_type.replace("_", "").replace("-", "") == stem
        }
    )
    add = f'add "model_type": "{fits[0]}"' if fits else "add the one of its architecture"
    told = f" (its architectures say {said})" if said else ""
    return (
        f"config.json of {weights.source} has no model_type{told}; {add}, or from Python pass"
        " layout=Layout(...)"
    )


def _schedule(
    indices: list[tuple[int, ...]], layers: int, said: Any, source: str
) -> tuple[int, ...]:
    """The blocks in the order in which the model applies them.

    Blocks (g, 0..m-1) form group g of G; layer t of L applies the m blocks of group floor(t G / L)
    one after the other. Without shared weights G = L and m = 1.
    """
    groups = sorted({index[0] for index in indices})
    inner = len(indices) // len(groups)
    complete = indices == [
        (g, *rest) for g in range(len(groups)) for rest in _inner(inner, len(indices[0]) - 1)
    ]
    if complete and len(indices[0]) == 1 and layers < len(groups):
        raise InputError(
            f"config.json says {layers} layer(s); {source} holds {len(groups)}: correct config.json"
        )
    if not complete or (layers != len(groups) and len(indices[0]) == 1):
        held = f"{source} holds {len(indices)}"
        raise InputError(f"config.json says {layers} layers; {held}: the checkpoint is incomplete")
    if said not in (None, len(groups)):
        raise InputError(
            f"config.json says num_hidden_groups {said!r}; {source} holds {len(groups)};"
            " correct one"
        )
    if layers > MOST_LAYERS:
        raise InputError(
            f"config.json says {layers} layers; at most {MOST_LAYERS:,} that share weights are"
            " applied"
        )
    return tuple(t * len(groups) // layers * inner + i for t in range(layers) for i in range(inner))


def _inner(size: int, depth: int) -> list[tuple[int, ...]]:
    return [(i,) for i in range(size)] if depth else [()]
