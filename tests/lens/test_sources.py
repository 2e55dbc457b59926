"""Which files a name means: read as transformers reads them, or refused with the true cause and
the way out.
"""

import json
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from eigenloop import lens
from eigenloop.lens.model import sources, vocabulary
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

Entry = tuple[str, str, tuple[int, ...], bytes]
"""Name, dtype, shape, bytes."""


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


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny Llama's directory with its config.json, and no weights yet."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def shard(folder: Path, named: dict[str, np.ndarray]) -> None:
    """Two shards and their index."""
    names = sorted(named)
    parts = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for file, held in parts.items():
        save_file({name: named[name] for name in held}, folder / file)
    index = {
        "metadata": {},
        "weight_map": {name: file for file, held in parts.items() for name in held},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def raw(
    path: Path,
    entries: list[tuple[str, str, tuple[int, ...], bytes]],
    *,
    gap: bytes = b"",
    tail: bytes = b"",
) -> None:
    """A safetensors file as given, names repeated if they are: (name, dtype, shape, bytes)."""
    parts, blob = [], b""
    for name, kind, shape, content in entries:
        about = {
            "dtype": kind,
            "shape": list(shape),
            "data_offsets": [len(blob), len(blob) + len(content)],
        }
        parts.append(f"{json.dumps(name)}:{json.dumps(about)}")
        blob += content + gap
    header = ("{" + ",".join(parts) + "}").encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + blob + tail)


def plain(named: dict[str, np.ndarray]) -> list[Entry]:
    return [(name, "F32", value.shape, value.tobytes()) for name, value in named.items()]


def value_of(folder: Path) -> np.ndarray:
    return open_weights(folder).tensors.read(VALUE)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as raised:
        lens.spectra(folder)
    return str(raised.value)


# --- one set of weights, in the order of transformers


def test_a_single_file_beside_an_index_whose_shards_are_gone_is_the_model(model: Path) -> None:
    shard(model, weights(0))
    save_file(weights(1), model / "model.safetensors")
    for file in model.glob("model-*"):
        file.unlink()
    np.testing.assert_array_equal(value_of(model), weights(1)[VALUE])


def test_two_sets_side_by_side_are_refused(model: Path) -> None:
    shard(model, weights(0))
    save_file(weights(1), model / "model.safetensors")
    assert "two sets of weights" in refusal(model)
    (model / "model.safetensors").unlink()
    np.testing.assert_array_equal(value_of(model), weights(0)[VALUE])
    next(model.glob("model-00001*")).unlink()
    assert "lacks model-00001-of-00002.safetensors" in refusal(model)


def test_an_index_that_names_the_single_file_is_no_second_set(model: Path) -> None:
    save_file(weights(1), model / "model.safetensors")
    index = {"weight_map": dict.fromkeys(weights(), "model.safetensors")}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(value_of(model), weights(1)[VALUE])


def test_safetensors_come_before_bin(model: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(
        {name: torch.from_numpy(value) for name, value in weights(0).items()},
        model / "pytorch_model.bin",
    )
    np.testing.assert_array_equal(value_of(model), weights(0)[VALUE])
    save_file(weights(1), model / "model.safetensors")
    np.testing.assert_array_equal(value_of(model), weights(1)[VALUE])


def test_a_lone_file_of_another_name_is_read_and_two_are_not(model: Path) -> None:
    save_file(weights(1), model / "consolidated.safetensors")
    np.testing.assert_array_equal(value_of(model), weights(1)[VALUE])
    save_file(weights(1), model / "other.safetensors")
    assert "2 safetensors files and no index" in refusal(model)


@pytest.mark.parametrize("gone", [0, 1])
def test_an_index_of_which_one_shard_is_left_is_stale_too(model: Path, gone: int) -> None:
    shard(model, weights(0))
    sorted(model.glob("model-*"))[gone].unlink()
    assert f"lacks model-0000{gone + 1}-of-00002.safetensors" in refusal(model)
    save_file(weights(1), model / "model.safetensors")
    np.testing.assert_array_equal(value_of(model), weights(1)[VALUE])


def test_shards_that_no_index_names_beside_a_single_file_are_not_read(model: Path) -> None:
    shard(model, weights(0))
    (model / "model.safetensors.index.json").unlink()
    assert "2 safetensors files and no index" in refusal(model)
    save_file(weights(1), model / "model.safetensors")
    np.testing.assert_array_equal(value_of(model), weights(1)[VALUE])


def test_a_stale_index_of_pickles_does_not_hide_safetensors(model: Path) -> None:
    (model / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": {"a": "pytorch_model-1.bin"}})
    )
    assert "lacks pytorch_model-1.bin" in refusal(model)
    save_file(weights(1), model / "model.safetensors")
    np.testing.assert_array_equal(value_of(model), weights(1)[VALUE])


# --- a header that means one thing


@pytest.mark.parametrize(
    "where", ["first", "beside", "end", "renamed", "bfloat16", "the same bytes", "inside"]
)
def test_a_name_that_stands_twice_is_refused(model: Path, where: str) -> None:
    entries = plain(weights())
    double = (VALUE, "F32", (D, D), weights(1)[VALUE].tobytes())
    if where == "renamed":  # gamma is the old word for a gain: the two would be one tensor
        gain = "model.layers.0.input_layernorm."
        double = (gain + "gamma", "F32", (D,), np.zeros(D, np.float32).tobytes())
    if where == "bfloat16":
        double = (VALUE, "BF16", (D, D), bytes(2 * D * D))
    if where == "the same bytes":
        double = next(entry for entry in entries if entry[0] == VALUE)
    entries.insert({"first": 0, "beside": 1}.get(where, len(entries)), double)
    path = model / "model.safetensors"
    raw(path, plain(weights()) if where == "inside" else entries)
    if where == "inside":  # two shapes for one tensor
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        text = content[8:end].replace(b"{", b'{"x":{"shape":[1],"shape":[2]},', 1)
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[end:])
    assert "twice" in refusal(model)


@pytest.mark.parametrize(
    ("gap", "tail", "words"),
    [
        (b"", bytes(64), "after its last"),
        (b"", b"x", "1 bytes after its last"),
        (b"", b"{}", "after its last"),
        (bytes(8), b"", "between"),
        (b"x", b"", "between"),
        (bytes(8), bytes(8), "between"),
    ],
)
def test_bytes_of_no_tensor_are_refused_as_the_format_says(
    model: Path, gap: bytes, tail: bytes, words: str
) -> None:
    raw(model / "model.safetensors", plain(weights()), gap=gap, tail=tail)
    assert words in refusal(model)


def test_tensors_that_share_bytes_are_refused(model: Path) -> None:
    named = weights()
    raw(model / "model.safetensors", plain(named))
    content = (model / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header[VALUE]["data_offsets"] = header["model.layers.0.self_attn.v_proj.weight"]["data_offsets"]
    text = json.dumps(header).encode()
    (model / "model.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + content[8 + length :]
    )
    assert "overlap" in refusal(model)


# --- codes are not weights


CODED = [
    ("F8_E4M3", 64, f"{VALUE}_scale_inv"),
    ("F8_E5M2", 64, f"{VALUE}_scale"),
    ("I8", 64, VALUE[:-6] + "SCB"),
    ("U8", 64, f"{VALUE}.absmax"),
    ("F32", 256, f"{VALUE}_scale_inv"),
    ("F32", 256, VALUE[:-6] + "scales"),
    ("BF16", 128, VALUE[:-6] + "weight_scale"),
    ("I8", 64, None),
]


@pytest.mark.parametrize(("kind", "size", "scales"), CODED)
def test_codes_with_scales_beside_them_are_named(
    model: Path, kind: str, size: int, scales: str | None
) -> None:
    entries = [entry for entry in plain(weights()) if entry[0] != VALUE] + [
        (VALUE, kind, (D, D), bytes(size))
    ]
    if scales:
        entries.append((scales, "F32", (1,), bytes(4)))
    raw(model / "model.safetensors", entries)
    said = refusal(model)
    assert VALUE in said
    assert (scales or kind) in said
    assert "dequantize" in said


QUANTISED = [
    (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "bitsandbytes, 4 bit",
    ),
    ({"load_in_8bit": True}, "bitsandbytes, 8 bit"),
    ({"quant_method": "gptq", "bits": 4}, "gptq, 4 bit"),
    ({"quant_method": "awq", "bits": 4}, "awq, 4 bit"),
    ({"quant_method": "fp8"}, "fp8"),
    ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
    ({}, "an unnamed method"),
    ("int4", "an unnamed method"),
]


@pytest.mark.parametrize(
    ("about", "words"), QUANTISED, ids=[words for _, words in QUANTISED[:-1]] + ["text"]
)
def test_a_quantization_config_is_read(model: Path, about: object, words: str) -> None:
    save_file(weights(), model / "model.safetensors")
    (model / "config.json").write_text(json.dumps({**CONFIG, "quantization_config": about}))
    assert f"quantised ({words})" in refusal(model)


@pytest.mark.parametrize("packed", ["qweight", "weight_packed"])
def test_packed_codes_without_a_configuration_are_named(model: Path, packed: str) -> None:
    named = {name: value for name, value in weights().items() if "v_proj" not in name}
    named |= {
        f"model.layers.{i}.self_attn.v_proj.{packed}": np.zeros((1, D), np.int32) for i in range(2)
    }
    save_file(named, model / "model.safetensors")
    said = refusal(model)
    assert "quantised" in said
    assert packed in said


def test_packed_four_bit_codes_are_codes_and_no_wrong_shape(model: Path) -> None:
    """bitsandbytes stores nf4 as (n, 1) bytes under the weight's own name."""
    named = weights() | {VALUE.replace("1", "0"): np.zeros((D * D // 2, 1), np.uint8)}
    save_file(named, model / "model.safetensors")
    assert "quantised: stored as U8" in refusal(model)


# --- what is no model, and where the model is


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


# --- a directory that is there is never looked up


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


# --- what old and other tools write


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


# --- whatever a header or a configuration holds


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def only_input_errors(folder: Path) -> None:
    with suppress(InputError):
        stack = lens.locate(folder)
        for layer in range(len(stack.blocks)):
            lens.circuits(stack, layer)


@given(
    key=st.sampled_from([*CONFIG, "quantization_config", "architectures", "num_key_value_heads"]),
    value=HOSTILE,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_any_configuration_is_read_or_refused(model: Path, key: str, value: object) -> None:
    save_file(weights(), model / "model.safetensors")
    (model / "config.json").write_text(json.dumps({**CONFIG, key: value}))
    only_input_errors(model)


@given(
    header=st.dictionaries(st.sampled_from([VALUE, "__metadata__", "x"]), HOSTILE, max_size=3),
    data=st.binary(max_size=64),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_any_header_is_read_or_refused(model: Path, header: dict, data: bytes) -> None:
    text = json.dumps(header).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    only_input_errors(model)


@given(data=st.binary(max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_any_bytes_are_refused(model: Path, data: bytes) -> None:
    for name in ("model.safetensors", "model.safetensors.index.json", "adapter_config.json"):
        (model / name).write_bytes(data)
        only_input_errors(model)
        (model / name).unlink()
