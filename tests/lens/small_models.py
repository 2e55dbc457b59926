"""A small model of every architecture that the lens knows: its Hugging Face configuration,
random weights.
"""

import pytest

SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
}

CONFIGS = {
    "gpt2": {"vocab_size": 50, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 32},
    "gpt_neo": {
        "vocab_size": 50, "hidden_size": 32, "num_layers": 3, "num_heads": 4,
        "max_position_embeddings": 32, "attention_types": [[["global", "local"], 1], [["global"],
        1]], "window_size": 4, "intermediate_size": 48,
    },
    "gpt_neox": SMALL,
    "bert": SMALL,
    "roberta": SMALL,
    "albert": {**SMALL, "embedding_size": 16, "num_hidden_layers": 6, "num_hidden_groups": 3,
    "inner_group_num": 2},
    "distilbert": {"vocab_size": 50, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48},
    "opt": {**SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "llama": {**SMALL, "num_key_value_heads": 2},
    "mistral": {**SMALL, "num_key_value_heads": 2, "head_dim": 12},
    "qwen2": {**SMALL, "num_key_value_heads": 2},
    "gemma": {**SMALL, "num_key_value_heads": 1, "head_dim": 16},
    "vit": {
        "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 48, "image_size": 16, "patch_size": 4,
    },
}  # fmt: skip

FOREIGN = {
    "olmo2": {**SMALL, "num_key_value_heads": 2},
    "gemma2": {**SMALL, "num_key_value_heads": 2, "head_dim": 8},
    "granite": {**SMALL, "num_key_value_heads": 2},
    "qwen3": {**SMALL, "num_key_value_heads": 2, "head_dim": 8},
    "dinov2": {**SMALL, "image_size": 16, "patch_size": 4},
    "beit": {**SMALL, "image_size": 16, "patch_size": 4},
    "bloom": {**SMALL, "n_layer": 3, "n_head": 4},
}
"""Architectures that the lens does not know, for what it says of a layout that someone else
wrote.
"""


def build(model_type: str, *, seed: int = 0, **changes):
    """A model in eager attention whose weights, biases and gains are all random."""
    torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")
    transformers = pytest.importorskip(
        "transformers", reason="transformers is missing: pip install '.[lens]'"
    )
    known = {**CONFIGS, **FOREIGN}[model_type]
    config = transformers.AutoConfig.for_model(model_type, **{**known, **changes})
    model = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * (0.3 if parameter.ndim > 1 else 0.5) + (parameter.ndim == 1))
    return model
