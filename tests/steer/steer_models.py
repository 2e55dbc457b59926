"""Small models that predict tokens, with a tokenizer trained on the packaged text, and sites for
the methods.
"""

import warnings

import numpy as np
import pytest
from small_models import CONFIGS, build

from eigenloop.lens import Circuit, circuits
from eigenloop.lens.model.stack import locate
from eigenloop.steer import Reading, Site, shipped
from eigenloop.steer.writing import has_bias

HEADS = {
    "gpt2": "causal",
    "gpt_neo": "causal",
    "llama": "causal",
    "qwen2": "causal",
    "bert": "masked",
    "albert": "masked",
}
VOCABULARY = 300


def white(circuit: Circuit, *, seed: int = 0, mean: float = 1.0) -> Reading:
    """A reading of inputs with unit covariance around a common mean."""
    center = mean * np.random.default_rng(seed).standard_normal(circuit.width)
    mu = center / (np.linalg.norm(center) or 1.0)
    return Reading(
        mean=center, covariance=np.eye(circuit.width), size=10.0, mu=mu, push=float(mu @ center)
    )


def site(model_type: str, *, layer: int = 1, reading: Reading | None = None, **changes) -> Site:
    """A layer of a small model."""
    stack = locate(build(model_type, **changes))
    circuit = circuits(stack, layer)
    output, value = has_bias(stack, layer)
    return Site(
        circuit=circuit, reading=reading or white(circuit), output_bias=output, value_bias=value
    )


def unit(width: int, *, seed: int = 3) -> np.ndarray:
    """A random direction."""
    vector = np.random.default_rng(seed).standard_normal(width)
    return vector / np.linalg.norm(vector)


def tokenizer():
    """Byte-level BPE of 300 tokens; masked models find [CLS] and [SEP] around a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    core = Tokenizer(models.BPE(unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["the king and the queen " * 20, *shipped()], trainer)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=core, **dict(zip(names, special, strict=True)))


def speaking(model_type: str, *, seed: int = 0, scale: float = 0.15, **changes):
    """A model with its head over the vocabulary, all weights random."""
    torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")
    import transformers

    settings = {**CONFIGS[model_type], "vocab_size": VOCABULARY, **changes}
    config = transformers.AutoConfig.for_model(model_type, **settings)
    kind = (
        transformers.AutoModelForCausalLM
        if HEADS[model_type] == "causal"
        else transformers.AutoModelForMaskedLM
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = kind.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * (scale if parameter.ndim > 1 else 0.2) + (parameter.ndim == 1))
    return model


def saved(folder, model_type: str, *, dtype=None, **changes):
    """The directory of a saved model with its tokenizer."""
    model = speaking(model_type, **changes)
    model = model if dtype is None else model.to(dtype)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
