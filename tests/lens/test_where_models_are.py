"""Where a model is, what is none, and what old and other tools write."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from stored import CONFIG, HEADS, VALUE, D, llama, refusal, value_of, weights

from eigenloop import lens
from eigenloop.lens.model import sources, vocabulary
from eigenloop.system.errors import InputError

ADAPTERS = [
    {"peft_type": "LORA", "base_model_name_or_path": "acme/base"},
    {"peft_type": "IA3"},
    {"base_model_name_or_path": None},
    {},
    [],
]


@pytest.mark.parametrize("about", ADAPTERS)
@pytest.mark.parametrize("kept", ["adapter alone", "with config.json", "beside its base"])
def test_an_adapter_is_said_to_be_one(model: Path, about: object, kept: str) -> None:
    (model / "adapter_config.json").write_text(json.dumps(about))
    save_file(
        {"base_model.model.x.lora_A.weight": np.ones((2, 8), np.float32)},
        model / "adapter_model.safetensors",
    )
    if kept == "adapter alone":
        (model / "config.json").unlink()
    if kept == "beside its base":
        save_file(weights(), model / "model.safetensors")
    said = refusal(model)
    assert "adapter" in said.replace(str(model), "")
    assert "merge" in said
    assert ("beside it" in said) == (kept == "beside its base")
    if isinstance(about, dict) and about.get("base_model_name_or_path"):
        assert "acme/base" in said


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n"


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "model.safetensors.index.json", "pytorch_model.bin"],
)
def test_a_pointer_of_git_lfs_is_named(model: Path, name: str) -> None:
    if name.endswith(".bin"):
        pytest.importorskip("torch")
    (model / name).write_text(POINTER)
    said = refusal(model)
    assert f"{model / name} is a pointer of git-lfs" in said
    assert "git lfs pull" in said


@pytest.mark.parametrize("suffix", sorted(sources.FORMATS))
def test_other_formats_are_named_and_not_their_directory(model: Path, suffix: str) -> None:
    file = model / f"weights{suffix}"
    file.write_bytes(b"GGUF")
    assert "file, which is not read; convert it" in refusal(file)
    assert f"(weights{suffix})" in refusal(model)  # a config.json and no other weights
    (model / "config.json").unlink()
    assert f"(weights{suffix})" in refusal(model)


def test_the_file_of_a_model_leads_to_its_directory(model: Path) -> None:
    save_file(weights(), model / "model.safetensors")
    assert f"give its directory, {model}" in refusal(model / "model.safetensors")


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (["0_Transformer"], "0_Transformer"),
        (["checkpoint-500"], "checkpoint-500"),
        (["checkpoint-500", "checkpoint-1000"], "checkpoint-1000"),
        (["transformer", "vae"], "transformer"),
        (["best_model"], "best_model"),
    ],
)
def test_a_model_one_level_below_is_pointed_at(model: Path, names: list[str], meant: str) -> None:
    (model / "config.json").unlink()
    for name in names:
        (model / name).mkdir()
        (model / name / "config.json").write_text(json.dumps(CONFIG))
    assert f"give {model / meant}" in refusal(model)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (["LlamaForCausalLM"], '"model_type": "llama"'),
        (["BertModel"], '"model_type": "bert"'),
        (["GPT2LMHeadModel"], '"model_type": "gpt2"'),
        (["Unheard"], "say Unheard"),
        (None, "has no model_type; add"),
    ],
)
def test_a_configuration_without_a_type_says_what_to_add(
    model: Path, said: list[str] | None, words: str
) -> None:
    save_file(weights(), model / "model.safetensors")
    config = {key: value for key, value in CONFIG.items() if key != "model_type"} | (
        {"architectures": said} if said else {}
    )
    (model / "config.json").write_text(json.dumps(config))
    assert words in refusal(model)


@pytest.mark.parametrize(
    ("kind", "near"), [("llama4", "llama"), ("gpt_neo_x", "gpt_neox"), ("robertta", "roberta")]
)
def test_an_unknown_type_names_the_nearest_only(model: Path, kind: str, near: str) -> None:
    save_file(weights(), model / "model.safetensors")
    (model / "config.json").write_text(json.dumps({**CONFIG, "model_type": kind}))
    said = refusal(model)
    assert near in said
    assert sum(row.model_type in said.split("(")[1] for row in lens.LAYOUTS) < 6


def test_nothing_is_asked_of_the_hub_for_a_directory(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")

    def asked(*arguments: object, **options: object) -> None:
        raise AssertionError(f"the hub was asked for {arguments} {options}")

    config = transformers.LlamaConfig(
        hidden_size=D,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=8,
        vocab_size=9,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(model)
    monkeypatch.chdir(model.parent)
    for name in ("snapshot_download", "hf_hub_download", "model_info"):
        monkeypatch.setattr(huggingface_hub, name, asked, raising=False)
    monkeypatch.setattr("huggingface_hub.file_download.get_hf_file_metadata", asked)
    monkeypatch.setattr("huggingface_hub.hf_api.HfApi.model_info", asked)
    stack = lens.locate("model")
    assert vocabulary.vocabulary(stack, size=9).missing
    assert lens.load("model").tokenizer is None
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(model)
    assert lens.load("model").tokenizer is not None


@pytest.mark.parametrize(
    "form", ["acme/small", "./acme/small", "acme/small/", "acme/../acme/small", "link", "absolute"]
)
@pytest.mark.parametrize("whole", [True, False])
def test_no_form_of_a_directorys_name_is_asked_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, whole: bool
) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def asked(*arguments: object, **options: object) -> None:
        raise AssertionError(f"the hub was asked for {arguments} {options}")

    for name in ("snapshot_download", "hf_hub_download", "try_to_load_from_cache"):
        monkeypatch.setattr(huggingface_hub, name, asked)
    folder = tmp_path / "acme" / "small"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    if whole:
        (folder / "config.json").write_text(json.dumps(CONFIG))
        save_file(weights(), folder / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    given = str(folder) if form == "absolute" else form
    if whole:
        stack = lens.locate(given)
        assert vocabulary.vocabulary(stack, size=9).missing
        assert len(lens.spectra(given).layers) == 2
    else:
        with pytest.raises(InputError, match=r"has no config\.json"):
            lens.spectra(given)


@pytest.mark.parametrize(
    "metadata", [None, {}, {"format": "np"}, {"format": "mlx"}, {"format": "tf"}, {"made": "by me"}]
)
def test_a_file_is_read_and_run_whatever_its_metadata_say(
    model: Path, metadata: dict[str, str] | None
) -> None:
    named = llama(model)
    save_file(named, model / "model.safetensors", metadata=metadata)
    np.testing.assert_array_equal(value_of(model), named[VALUE])
    run = lens.load(model).module.get_submodule(VALUE.removesuffix(".weight")).weight.numpy()
    np.testing.assert_array_equal(run, named[VALUE])


@pytest.mark.parametrize(
    "scaling",
    [
        {"type": "dynamic", "factor": 3.0},
        {"type": "linear", "factor": 2},
        {"rope_type": "linear", "factor": 2.0},
        None,
        {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512},
    ],
)
@pytest.mark.parametrize("theta", [None, 500000.0])
def test_rotations_of_older_configurations(
    model: Path, scaling: dict | None, theta: float | None
) -> None:
    theta_said = {} if theta is None else {"rope_theta": theta}
    llama(model, rope_scaling=scaling, attn_implementation="flash_attention_2", **theta_said)
    loaded = lens.load(model)
    assert loaded.module.config._attn_implementation == "eager"
    assert len(lens.spectra(model).layers) == 2


@pytest.mark.parametrize(
    ("setting", "value", "tensor"),
    [
        ("vocab_size", 5_000_000, "embed_tokens"),
        ("intermediate_size", 4_800_000, "gate_proj"),
        ("vocab_size", 8, "embed_tokens"),
    ],
)
def test_settings_that_do_not_fit_the_tensors_are_told_before_anything_is_made(
    model: Path, setting: str, value: int, tensor: str
) -> None:
    """transformers would make the model that config.json describes, and refuse it by a report
    that nobody sees.
    """
    import resource

    llama(model, **{setting: value})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        InputError, match=rf"{tensor}.* has shape .*, but by config.json of"
    ) as raised:
        lens.load(model)
    assert str(value) in str(raised.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20
