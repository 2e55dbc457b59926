"""A tiny checkpoint of grouped queries, written without torch."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

D, HEADS, GROUPS = 16, 4, 2


def write(
    directory: Path,
    changes: dict | None = None,
    config: dict | None = None,
    name: str = "model.safetensors",
) -> Path:
    """A tiny Llama of two layers in grouped queries, without torch; returns its directory."""
    rng = np.random.default_rng(0)
    weights = {}
    for layer in range(2):
        block = f"model.layers.{layer}."
        weights[block + "self_attn.v_proj.weight"] = rng.standard_normal(
            (GROUPS * D // HEADS, D)
        ).astype(np.float32)
        weights[block + "self_attn.o_proj.weight"] = rng.standard_normal((D, D)).astype(np.float32)
        weights[block + "input_layernorm.weight"] = np.ones(D, np.float32)
    weights |= changes or {}
    directory.mkdir(parents=True, exist_ok=True)
    save_file({key: value for key, value in weights.items() if value is not None}, directory / name)
    described = {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "rms_norm_eps": 1e-6,
        **(config or {}),
    }
    (directory / "config.json").write_text(
        json.dumps({k: v for k, v in described.items() if v is not None})
    )
    return directory


VALUE = "model.layers.1.self_attn.v_proj.weight"
