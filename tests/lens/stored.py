"""Checkpoints that the tests of sources share."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from eigenloop import lens
from eigenloop.lens.model.checkpoint import open_weights
from eigenloop.system.errors import InputError

D, HEADS = 8, 2
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "rms_norm_eps": 1e-6,
}
VALUE = "model.layers.1.self_attn.v_proj.weight"


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    named = {}
    for layer in range(2):
        block = f"model.layers.{layer}."
        for part in ("v_proj", "o_proj"):
            named[f"{block}self_attn.{part}.weight"] = rng.standard_normal((D, D)).astype(
                np.float32
            )
        named[block + "input_layernorm.weight"] = np.ones(D, np.float32)
    return named


def value_of(folder: Path) -> np.ndarray:
    return open_weights(folder).tensors.read(VALUE)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as raised:
        lens.spectra(folder)
    return str(raised.value)


def llama(folder: Path, **changes: object) -> dict[str, np.ndarray]:
    """A Llama as transformers saves it, with settings changed afterwards; its tensors."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=D,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=8,
        vocab_size=9,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    said = json.loads((folder / "config.json").read_text())
    said.pop("rope_parameters", None)
    (folder / "config.json").write_text(json.dumps({**said, **changes}))
    return load_file(folder / "model.safetensors")
