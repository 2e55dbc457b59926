"""An edit as a LoRA adapter in the form that PEFT loads: low-rank changes of W_V and W_O, and of
b_O (NumPy).

PEFT keeps for a linear map W x + b two factors and, with `lora_bias`, a vector: W x + b + B (A x) +
c. An edit changes W_V and W_O by low rank, so this form holds it exactly; the stored factors are
rounded to float32. A change of b_V or b_O becomes c (PEFT 0.14 or newer).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from eigenloop.lens.model.stack import Stack
from eigenloop.steer.edits import Edit
from eigenloop.steer.writing import changed_tensors
from eigenloop.system.errors import InputError

RANK_TOLERANCE = 1e-9
"""Singular values of a change below this fraction of the largest are rounding."""

LARGEST_RANK = 64
"""A change of higher rank is no small adapter."""


def factors(change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, A) with B A = change, (out, r) and (r, in), of the lowest rank r >= 1.

    Example:
        >>> b, a = factors(np.outer([1.0, 2.0], [3.0, 0.0, 4.0]))
        >>> b.shape, a.shape, bool(np.allclose(b @ a, np.outer([1.0, 2.0], [3.0, 0.0, 4.0])))
        ((2, 1), (1, 3), True)
    """
    left, values, right = np.linalg.svd(change, full_matrices=False)
    rank = max(1, int(np.sum(values > RANK_TOLERANCE * values[0]))) if values[0] > 0 else 1
    root = np.sqrt(values[:rank])
    down, up = left[:, :rank] * root, root[:, None] * right[:rank]
    down[~np.any(change, axis=1)] = 0.0  # rows and columns that stay, stay exactly
    up[:, ~np.any(change, axis=0)] = 0.0
    return down, up


def adapter(stack: Stack, edits: Sequence[Edit]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and the configuration of an adapter.

    Args:
        stack: of the loaded model, whose module names PEFT will see.
        edits: at most one for each block.

    Returns:
        (name -> float32 array, the content of adapter_config.json).

    Raises:
        InputError: an edit changes nothing, or more than low rank.
    """
    tensors: dict[str, np.ndarray] = {}
    ranks: dict[str, int] = {}
    changes = dict(_changes(stack, edits))
    if not changes:
        raise InputError(
            "the edit changes nothing, so there is no adapter to write; raise --strength"
        )
    biased = any(np.any(bias) for _, bias in changes.values())
    for module, (weight, bias) in changes.items():
        down, up = factors(weight)
        ranks[module] = down.shape[1]
        if ranks[module] > LARGEST_RANK:
            raise InputError(
                f"{module} changes by rank {ranks[module]}, which is no small adapter (at most"
                f" {LARGEST_RANK}); leave --adapter out"
            )
        place = f"base_model.model.{module}"
        tensors[f"{place}.lora_A.weight"] = up.astype(np.float32)
        tensors[f"{place}.lora_B.weight"] = np.ascontiguousarray(down).astype(np.float32)
        if biased:
            tensors[f"{place}.lora_B.bias"] = bias.astype(np.float32)
    largest = max(ranks.values())
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": stack.weights.source,
        "inference_mode": True,
        "r": largest,
        "lora_alpha": largest,
        "lora_dropout": 0.0,
        "bias": "none",
        "lora_bias": biased,
        "fan_in_fan_out": stack.layout.transposed,
        "target_modules": sorted(changes),
        "rank_pattern": ranks,
        "alpha_pattern": ranks,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "layers_to_transform": None,
        "layers_pattern": None,
    }
    return tensors, config


def save_adapter(stack: Stack, directory: Path, edits: Sequence[Edit]) -> dict[str, str]:
    """Write adapter_model.safetensors and adapter_config.json.

    Returns:
        name of each tensor of the adapter -> "float32".

    Raises:
        InputError: as for `adapter`.
    """
    tensors, config = adapter(stack, edits)
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    (directory / "adapter_config.json").write_text(
        json.dumps(config, indent=1) + "\n", encoding="utf-8"
    )
    return dict.fromkeys(tensors, "float32")


def _changes(
    stack: Stack, edits: Sequence[Edit]
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Each linear map that changes: (outputs x inputs, change of its bias)."""
    new: Mapping[str, np.ndarray] = changed_tensors(stack, edits)
    tensors = stack.weights.tensors
    for module in sorted({name.rpartition(".")[0] for name in new}):
        old = tensors.read(f"{module}.weight").astype(np.float64)
        weight = new.get(f"{module}.weight", old) - old
        weight = weight.T if stack.layout.transposed else weight
        bias = np.zeros(len(weight))
        if f"{module}.bias" in new:
            bias = new[f"{module}.bias"] - tensors.read(f"{module}.bias").astype(np.float64)
        yield module, (weight, bias)
