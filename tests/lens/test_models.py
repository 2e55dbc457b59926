"""Models loaded for running: precision, eager attention, what is held stays as it was, and what
is refused.
"""

import json
from dataclasses import replace

import pytest
from small_models import CONFIGS, build

from eigenloop.lens.model.loaded import Model, load, randomised
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")


def saved(tmp_path, model_type="gpt2", *, kind="float32", **changes):
    build(model_type, **changes).to(getattr(torch, kind)).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("model_type", CONFIGS)
def test_a_directory_gives_the_model_that_was_saved(model_type, tmp_path):
    held = load(build(model_type))
    loaded = load(saved(tmp_path, model_type), device="cpu")
    assert loaded.stack.schedule == held.stack.schedule
    assert loaded.device == "cpu"
    assert loaded.module.config._attn_implementation == "eager"
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    assert len(loaded.blocks) == len(loaded.stack.blocks)
    for block in range(len(loaded.blocks)):
        for part in ("value", "output", "norm"):
            name = getattr(loaded.stack.layout, part)
            ours, theirs = (
                loaded.submodule(block, name),
                held.module.get_submodule(held.stack.module(block, name)),
            )
            assert torch.equal(ours.weight, theirs.weight)
    assert loaded.outside(loaded.stack.layout.embedding) is not None
    assert loaded.outside(None) is None
    assert loaded.takes_text is (model_type != "vit")


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_precision_is_converted_once_and_said(kind, tmp_path):
    loaded = load(saved(tmp_path, kind=kind), device="cpu")
    assert loaded.module.dtype == torch.float32
    assert f"weights are stored as {kind} and were converted to float32 once" in loaded.notes
    model = build("gpt2").to(getattr(torch, kind))
    held = load(model)
    assert held.module.dtype == torch.float32
    assert model.dtype == getattr(torch, kind)
    assert held.notes == (f"the model is held in {kind} and was copied to float32 once",)
    assert load(build("gpt2").double()).module.dtype == torch.float64


def test_the_head_comes_along_where_the_checkpoint_has_one(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(**CONFIGS["gpt2"], bos_token_id=0, eos_token_id=0)).save_pretrained(
        tmp_path
    )
    model = load(tmp_path, device="cpu")
    assert type(model.module).__name__ == "GPT2LMHeadModel"
    assert type(model.trunk).__name__ == "GPT2Model"
    assert model.stack.prefix == "transformer."


def test_a_held_model_is_left_as_it_was_even_after_an_error():
    module = build("bert").train()
    module.encoder.layer[1].eval()
    module.set_attn_implementation("sdpa")
    modes = [part.training for part in module.modules()]
    model = load(module)
    seen = []

    def use():
        with model.running() as trunk:
            still = not any(part.training for part in module.modules())
            seen.extend(
                [
                    trunk is module,
                    still,
                    module.config._attn_implementation,
                    torch.is_grad_enabled(),
                ]
            )
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        use()
    assert seen == [True, True, "eager", False]
    assert [part.training for part in module.modules()] == modes
    assert module.config._attn_implementation == "sdpa"
    assert torch.is_grad_enabled()
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_a_random_copy_is_seeded_and_touches_no_generator():
    model = load(build("albert"))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    copies = [randomised(model, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(2), expected)
    weights = [copy.blocks[0].attention.value.weight for copy in copies]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert float(weights[0].std()) == pytest.approx(model.module.config.initializer_range, rel=0.1)
    assert copies[0].stack.schedule == model.stack.schedule
    assert copies[0].source == "AlbertModel, random weights (seed 0)"


def test_the_context_leaves_out_reserved_positions():
    for model_type, expected in {"gpt2": 32, "bert": 32, "roberta": 30, "vit": None}.items():
        assert load(build(model_type)).context == expected

    class Tokenizer:
        model_max_length = 16

    model = load(build("gpt2"), tokenizer=Tokenizer())
    assert model.context == 16
    assert isinstance(model, Model)
    assert load(model) is model


def test_what_cannot_be_run_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        InputError, match="no directory no-such-model here, and nothing from the hub"
    ):
        load("no-such-model")
    with pytest.raises(
        InputError, match="there is no device 'cuda:99' here; give auto, cpu or cuda"
    ):
        load(saved(tmp_path / "gpt2"), device="cuda:99")
    with pytest.raises(InputError, match="there is no device 'gpu' here"):
        load(saved(tmp_path / "gpt2"), device="gpu")
    with pytest.raises(InputError, match="device 'meta' computes nothing"):
        load(saved(tmp_path / "gpt2"), device="meta")
    with pytest.raises(
        InputError, match=r"the model is on cpu, not on meta; move it with \.to\('meta'\)|computes"
    ):
        load(build("gpt2"), device="meta")
    from transformers import T5Config, T5Model

    with pytest.raises(InputError, match="has an encoder and a decoder, which is not supported"):
        load(T5Model(T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)))
    with pytest.raises(InputError, match="GPT2Model cannot be run; give the directory"):
        load(replace(load(build("gpt2")).stack.weights, model=None))


def test_an_incomplete_checkpoint_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    directory = saved(tmp_path, "gpt2")
    tensors = load_file(directory / "model.safetensors")
    name = "h.1.mlp.c_fc.weight"
    save_file(
        {key: value for key, value in tensors.items() if key != name},
        directory / "model.safetensors",
    )
    with pytest.raises(
        InputError, match=rf"lacks {name} and 0 more tensors; the checkpoint is incomplete"
    ):
        load(directory, device="cpu")


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    """config.json names a class of its own; what is loaded is transformers' own class."""
    directory = saved(tmp_path, "gpt2")
    (directory / "evil.py").write_text("raise SystemExit('run')\n")
    config = json.loads((directory / "config.json").read_text())
    config["auto_map"] = {
        "AutoModel": "evil.Model",
        "AutoConfig": "evil.Config",
        "AutoTokenizer": "evil.Tokenizer",
    }
    (directory / "config.json").write_text(json.dumps(config))
    model = load(directory, device="cpu")
    assert type(model.module).__module__.startswith("transformers.")


@pytest.mark.parametrize("model_type", [name for name in CONFIGS if name != "vit"])
def test_a_tokenizer_without_words_is_none_and_said(model_type, tmp_path):
    """transformers makes one up where the files are missing, and every text becomes nothing or
    [UNK].
    """
    model = load(saved(tmp_path, model_type), device="cpu")
    assert model.tokenizer is None
    assert "tokenizer" in "".join(model.notes)
    assert "texts need" in "".join(model.notes)
