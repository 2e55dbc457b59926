"""Edits as tensors: the inverse of `Stack.projection` and `Stack.output`, for files and for loaded
models.

Only entries that differ are replaced, so that everything else in a tensor keeps its bits.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np

from eigenloop.lens.model.layouts import ROLES
from eigenloop.lens.model.loaded import Model
from eigenloop.lens.model.stack import Stack
from eigenloop.lens.weights.circuits import Circuit
from eigenloop.steer.edits import Edit
from eigenloop.system.errors import InputError

KINDS: Mapping[str, Any] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}


def has_bias(stack: Stack, layer: int) -> tuple[bool, bool]:
    """Whether a layer has b_O, and b_V, among its tensors."""
    names = set(stack.weights.tensors.names())
    parts = (stack.layout.output, stack.layout.value)
    output, value = (f"{stack.module(layer, part)}.bias" in names for part in parts)
    return output, value


def value_features(stack: Stack) -> np.ndarray:
    """Where W_V's output features stand in the stored (possibly fused) map, (groups *
    head_dim,).
    """
    sizes = {"part": len(ROLES), "head": stack.groups, "dim": stack.head_dim}
    shape = tuple(sizes[axis] for axis in stack.layout.rows)
    features = np.arange(int(np.prod(shape))).reshape(shape)
    if "part" in stack.layout.rows:
        features = features.take(ROLES.index("value"), axis=stack.layout.rows.index("part"))
    return features.ravel()


def changed_tensors(stack: Stack, edits: Sequence[Edit]) -> dict[str, np.ndarray]:
    """The tensors that differ, whole, in the shape that they are stored in, float64.

    Args:
        stack: where the weights are; the edits' circuits must have come from these weights.
        edits: at most one for each block.

    Returns:
        name -> new values; those that stay are as stored.

    Raises:
        InputError: two edits of one block, or one that changes a bias that the model does not have.
    """
    layers = [edit.layer for edit in edits]
    if len(set(layers)) < len(layers):
        raise InputError(f"two edits of one layer ({sorted(layers)}); make one of them")
    result: dict[str, np.ndarray] = {}
    for edit in edits:
        result.update(_changed(stack, edit))
    return result


def rounded(values: np.ndarray, kind: str) -> np.ndarray:
    """Float64 values in the kind of number that a tensor is stored as, little-endian.

    Example:
        >>> rounded(np.array([1.0, 3.140000001]), "float16")
        array([1.  , 3.14], dtype=float16)
    """
    return np.ascontiguousarray(values).astype(KINDS[kind])


def stored_kinds(stack: Stack, source: Stack) -> dict[str, str]:
    """The kind of number that each tensor an edit may change is stored as.

    Args:
        stack: of the loaded model, whose names are used.
        source: of the files, where names may have another prefix.

    Returns:
        name -> "float32", "bfloat16", ...
    """
    names, kinds = set(source.weights.tensors.names()), {}
    for layer in range(len(stack.blocks)):
        for part in (stack.layout.output, stack.layout.value):
            for end in ("weight", "bias"):
                name = f"{source.module(layer, part)}.{end}"
                if name in names:
                    kinds[f"{stack.module(layer, part)}.{end}"] = source.weights.tensors.stored(
                        name
                    )
    return kinds


@contextmanager
def applied(
    model: Model, edits: Sequence[Edit], kinds: Mapping[str, str] | None = None
) -> Iterator[Model]:
    """Steer a loaded model for as long as the block lasts; its weights come back bit for bit, after
    an exception too.

    Args:
        model: a model that runs, in float32 or float64.
        edits: at most one for each block, made from this model's weights.
        kinds: name -> the kind of number that a tensor will be stored as, to which it is rounded
            here already.

    Raises:
        InputError: as for `changed_tensors`.
    """
    import torch

    state = model.module.state_dict()
    new = changed_tensors(model.stack, edits)
    tensors = {name: state[name] for name in new}
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    with torch.no_grad():
        try:
            for name, tensor in tensors.items():
                values = (
                    rounded(new[name], kinds[name]).astype(np.float64)
                    if kinds and name in kinds
                    else new[name]
                )
                tensor.copy_(torch.from_numpy(values))
            yield model
        finally:
            for name, tensor in tensors.items():
                tensor.copy_(kept[name])


def _changed(stack: Stack, edit: Edit) -> Iterator[tuple[str, np.ndarray]]:
    layout, layer, tensors = stack.layout, edit.layer, stack.weights.tensors
    value, output = stack.module(layer, layout.value), stack.module(layer, layout.output)
    features, width = value_features(stack), stack.width
    for name, old, new, place in (
        (f"{output}.weight", _columns(edit.before), _columns(edit.after), slice(None)),
        (
            f"{value}.weight",
            edit.before.value.reshape(-1, width),
            edit.after.value.reshape(-1, width),
            features,
        ),
        (f"{output}.bias", edit.before.output_bias, edit.after.output_bias, slice(None)),
        (f"{value}.bias", edit.before.value_bias.ravel(), edit.after.value_bias.ravel(), features),
    ):
        if np.array_equal(old, new):
            continue
        if name not in tensors.names():
            raise InputError(
                f"{stack.weights.source} has no {name}, which the edit would have to change"
            )
        whole = tensors.read(name).astype(np.float64)
        view = whole.T if whole.ndim == 2 and layout.transposed else whole
        view[place] = np.where(np.asarray(old, np.float64) == new, view[place], new)
        yield name, whole


def _columns(circuit: Circuit) -> np.ndarray:
    """W_O as one matrix, (d, heads * head_dim)."""
    return circuit.output.transpose(1, 0, 2).reshape(circuit.width, -1)
