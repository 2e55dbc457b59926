"""A tokenizer over words w0, w1, ... and texts of random words, for the small models."""

import numpy as np
import pytest


def tokenizer(*, ends: bool = True, size: int = 50, **options):
    """Words w5..w{size-1}; [CLS] ... [SEP] around a text where `ends`."""
    tokenizers = pytest.importorskip(
        "tokenizers", reason="tokenizers is missing: pip install '.[lens]'"
    )
    transformers = pytest.importorskip(
        "transformers", reason="transformers is missing: pip install '.[lens]'"
    )
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(5, size))]
    core = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    if ends:
        core.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", **options)


def sentences(count: int, *, seed: int = 0, longest: int = 9, size: int = 50) -> list[str]:
    """Texts of 1 to `longest` random words."""
    rng = np.random.default_rng(seed)
    return [
        " ".join(f"w{i}" for i in rng.integers(5, size, rng.integers(1, longest + 1)))
        for _ in range(count)
    ]
