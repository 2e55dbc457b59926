"""Damaged, foreign and half-written checkpoints are refused with one clear line."""

import json
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import GROUPS, HEADS, VALUE, D, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_models import build

from eigenloop import lens
from eigenloop.lens.model import tensors
from eigenloop.lens.model.checkpoint import open_weights
from eigenloop.system.errors import InputError


def test_every_truncation_is_noticed(tmp_path):
    content = (write(tmp_path / "whole") / "model.safetensors").read_bytes()
    file = write(tmp_path / "cut") / "model.safetensors"
    for length in (0, 5, 8, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(
            InputError, match=r"model\.safetensors is truncated|no readable safetensors header"
        ):
            lens.spectra(tmp_path / "cut")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 900), st.binary(min_size=1, max_size=4))
def test_any_overwritten_bytes_give_numbers_or_one_line(tmp_path, place, noise):
    content = bytearray((write(tmp_path) / "model.safetensors").read_bytes())
    content[place : place + len(noise)] = noise
    (tmp_path / "model.safetensors").write_bytes(content)
    with suppress(InputError):
        lens.spectra(tmp_path, rules=["modulus"])


def header_of(path: Path, change) -> None:
    """Rewrite a file's header."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    text = json.dumps(change(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: [h], "malformed safetensors header"),
        (lambda h: {**h, VALUE: 3}, "malformed safetensors header"),
        (
            lambda h: {**h, VALUE: {"dtype": "F32", "shape": [8, 16]}},
            "malformed safetensors header",
        ),
        (
            lambda h: {**h, VALUE: {**h[VALUE], "shape": [8, 15]}},
            r"v_proj\.weight: 512 bytes for shape \(8, 15\)",
        ),
        (lambda h: {**h, VALUE: {**h[VALUE], "shape": [-8, -16]}}, "malformed safetensors header"),
        (
            lambda h: {**h, VALUE: {**h[VALUE], "shape": [8.0, 16.0]}},
            "malformed safetensors header",
        ),
        (
            lambda h: {**h, VALUE: {**h[VALUE], "data_offsets": [512, 0]}},
            "malformed safetensors header",
        ),
        (
            lambda h: {**h, VALUE: {**h[VALUE], "data_offsets": [10**9, 10**9 + 512]}},
            "is truncated: model.layers.1",
        ),
        (
            lambda h: {**h, VALUE: {**h[VALUE], "dtype": "I8", "shape": [8, 64]}},
            "stored as I8, which needs scales",
        ),
        (lambda h: {k: v for k, v in h.items() if k != VALUE}, "bytes after its last tensor"),
        (
            lambda h: {**h, VALUE: {**h[VALUE], "shape": [8, True, 16]}},
            "malformed safetensors header",
        ),
        (
            lambda h: {**h, VALUE: {**h[VALUE], "shape": [2**62, 8, 0]}},
            "malformed safetensors header",
        ),
        (lambda h: {**h, VALUE: {**h[VALUE], "shape": [2**63, 0]}}, "malformed safetensors header"),
        (lambda h: {**h, VALUE: {**h[VALUE], "dtype": 7}}, "malformed safetensors header"),
        (
            lambda h: {**h, VALUE: {**h[VALUE], "dtype": "f32"}},
            "as f32, which is no known kind of number",
        ),
        (lambda h: {**h, "__metadata__": {"format": 1}}, "must map names to texts"),
        (lambda h: {**h, "__metadata__": []}, "must map names to texts"),
        (lambda h: {**h, "__metadata__": {"format": "\ud800"}}, "malformed safetensors header"),
        (
            lambda h: {"\ud800" if k == VALUE else k: v for k, v in h.items()},
            "no readable safetensors header",
        ),
        (
            lambda h: {**h, "__metadata__": {}, "__other__": {"format": "pt"}},
            "malformed safetensors header",
        ),
        (
            lambda h: {**h, VALUE: {**h[VALUE], "shape": [float("nan")]}},
            "no readable safetensors header",
        ),
    ],
)
def test_malformed_headers(tmp_path, change, message):
    header_of(write(tmp_path) / "model.safetensors", change)
    with pytest.raises(InputError, match=message):
        lens.spectra(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_header_is_utf_8_without_a_mark(tmp_path, encoding):
    path = write(tmp_path) / "model.safetensors"
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    text = content[8 : 8 + length].decode().encode(encoding)
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(InputError, match="no readable safetensors header"):
        lens.spectra(tmp_path)


def test_a_name_that_begins_with_underscores_is_a_tensor(tmp_path):
    path = write(tmp_path) / "model.safetensors"
    header_of(path, lambda h: {"__" + k if k == VALUE else k: v for k, v in h.items()})
    assert "__" + VALUE in tensors.SafetensorsFiles([path]).names()


def test_opposite_infinities_are_counted_without_a_warning(tmp_path):
    bad = np.zeros((8, 16), np.float32)
    bad[0, :2] = np.inf, -np.inf
    with pytest.raises(InputError, match=r"holds 2 number\(s\) that are NaN or infinite"):
        lens.spectra(write(tmp_path, {VALUE: bad}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_name_the_tensor(tmp_path, value):
    bad = np.ones((GROUPS * D // HEADS, D), np.float32)
    bad[3, 4] = bad[0, 0] = value
    with pytest.raises(
        InputError,
        match=rf"model\.safetensors: {VALUE} holds 2 number\(s\) that are NaN or infinite",
    ):
        lens.spectra(write(tmp_path, {VALUE: bad}))


def test_numbers_that_are_no_weights_name_the_tensor(tmp_path):
    bad = np.ones((GROUPS * D // HEADS, D), np.float32)
    bad[3, 4] = -1e37
    with pytest.raises(
        InputError, match=rf"{VALUE} holds 1e\+37; numbers above 1e\+15 are no weights"
    ):
        lens.spectra(write(tmp_path, {VALUE: bad}))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_hidden_groups": 5}, "config.json says num_hidden_groups 5; .* holds 1; correct one"),
        ({"num_hidden_layers": 10**8}, "config.json says 100000000 layers; at most 10,000"),
    ],
)
def test_shared_weights_that_do_not_fit(config, message):
    albert = build("albert", num_hidden_groups=1, inner_group_num=1)
    weights = lens.open_weights(albert)
    with pytest.raises(InputError, match=message):
        lens.locate(replace(weights, config={**weights.config, **config}))


def test_a_nan_in_a_loaded_model_names_the_tensor():
    torch = pytest.importorskip("torch")
    model = build("gpt2")
    with torch.no_grad():
        model.h[2].attn.c_proj.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"GPT2Model: h\.2\.attn\.c_proj\.weight holds 1 number"):
        lens.spectra(model)


@pytest.mark.parametrize(
    ("changes", "config", "message"),
    [
        (
            {},
            {"model_type": "mamba"},
            "model type 'mamba' has no layout here .* from Python, pass layout",
        ),
        ({}, {"model_type": None}, "has no model_type; add"),
        ({VALUE: None}, {}, "config.json says 2 layers; .* holds 1"),
        (
            {},
            {"model_type": "gpt2"},
            r"is of type 'gpt2' but has no tensor h\.0\.attn\.c_attn\.weight",
        ),
        ({}, {"model_type": "t5"}, r"\(t5\) has an encoder and a decoder, which is not supported"),
        ({}, {"is_encoder_decoder": True}, "has an encoder and a decoder"),
        ({}, {"num_attention_heads": None}, "config.json does not say 'num_attention_heads'"),
        (
            {},
            {"num_attention_heads": "many"},
            "num_attention_heads is 'many' in config.json; a number",
        ),
        ({}, {"num_attention_heads": 0}, "num_attention_heads is 0 in config.json; it must be"),
        ({}, {"num_attention_heads": 2.5}, "num_attention_heads is 2.5 in config.json"),
        (
            {},
            {"num_attention_heads": 3},
            "num_attention_heads is 3 in config.json, which does not divide the 16",
        ),
        (
            {},
            {"num_attention_heads": 1},
            r"v_proj\.weight has shape \(8, 16\), which does not fit 1 heads of 16",
        ),
        ({}, {"num_attention_heads": 16}, "says num_key_value_heads 2; the shape of .* says 8"),
        ({}, {"head_dim": 5}, "says head_dim 5; the shape of .* says 4"),
        (
            {},
            {"rms_norm_eps": "small"},
            "rms_norm_eps is 'small' in config.json; a number was expected",
        ),
        (
            {},
            {"rms_norm_eps": -5.0},
            "rms_norm_eps is -5.0 in config.json; a finite number of at least 0",
        ),
        ({}, {"rms_norm_eps": float("nan")}, "rms_norm_eps is nan in config.json"),
        (
            {},
            {"num_hidden_layers": 1},
            r"config.json says 1 layer\(s\); .* holds 2: correct config.json$",
        ),
        (
            {},
            {"num_hidden_layers": 3},
            "config.json says 3 layers; .* holds 2: the checkpoint is incomplete",
        ),
        (
            {VALUE: np.zeros((8, 15), np.float32)},
            {},
            r"v_proj\.weight has shape \(8, 15\), which does not fit 4 heads",
        ),
        (
            {VALUE: np.zeros(8, np.float32)},
            {},
            r"v_proj\.weight has shape \(8,\); a matrix was expected",
        ),
        (
            {VALUE.replace("v_proj", "o_proj"): None},
            {},
            r"has no tensor model\.layers\.1\.self_attn\.o_proj\.weight",
        ),
        (
            {"model.layers.1.input_layernorm.weight": np.ones(3, np.float32)},
            {},
            r"has shape \(3,\); \(16,\) was expected",
        ),
    ],
)
def test_models_that_do_not_fit(tmp_path, changes, config, message):
    with pytest.raises(InputError, match=message) as said:
        lens.spectra(write(tmp_path, changes, config))
    assert "\n" not in str(said.value)


def test_directories_that_hold_no_model(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        InputError, match=r"has no config\.json; give a directory with config\.json"
    ):
        open_weights(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is no JSON"):
        open_weights(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match=r"config\.json holds no object"):
        open_weights(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"has no weights; it needs model\.safetensors"):
        open_weights(tmp_path)
    with pytest.raises(InputError, match=r"config\.json is a file; give its directory"):
        open_weights(tmp_path / "config.json")
    with pytest.raises(InputError, match=r"missing does not exist; give a directory"):
        open_weights(tmp_path / "missing")
    with pytest.raises(InputError, match="a dict is no model"):
        open_weights({})
    for name in ("a", "b"):
        write(tmp_path, name=f"{name}.safetensors")
    with pytest.raises(InputError, match="2 safetensors files and no index"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "which is no file beside it"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "which is no file beside it"),
        ('{"weight_map": {"a": 3, "b": 3}}', "which is no file beside it"),
        ('{"weight_map": {"a": "..", "b": "model.safetensors"}}', "which is no file beside it"),
        (
            '{"weight_map": {"a": "' + 300 * "x" + '"}}',
            "names a file by 300 characters, which no file has",
        ),
        ('{"weight_map": {"a": "x\\u0000"}}', "which is no file beside it"),
        ('{"weight_map": {"a": "\\ud800"}}', "which is no file beside it"),
        (
            '{"weight_map": {"a": "model-2.safetensors"}}',
            r"lacks model-2\.safetensors, one of the 1 files",
        ),
    ],
)
def test_an_index_that_leads_nowhere(tmp_path, content, message):
    (write(tmp_path, name="shard.safetensors") / "model.safetensors.index.json").write_text(content)
    with pytest.raises(InputError, match=message):
        open_weights(tmp_path)


def test_a_tensor_in_two_shards(tmp_path):
    for name in ("a", "b"):
        write(tmp_path, name=f"{name}.safetensors")
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"a\.safetensors and .*b\.safetensors both hold model"):
        open_weights(tmp_path)


def test_a_name_that_the_hub_does_not_give(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def refused(*arguments, **options):
        raise OSError("no route to the hub. And more lines\nof explanation")

    monkeypatch.setattr(hub, "snapshot_download", refused)
    with pytest.raises(InputError) as said:
        open_weights("someone/something")
    assert (
        str(said.value)
        == "no directory someone/something here, and nothing from the hub (no route to the hub); "
        "check the name or the network"
    )


def test_a_name_on_the_hub_is_read_from_its_snapshot(monkeypatch, tmp_path):
    """Safetensors first; pickles only where there are none. No other file is asked for."""
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def snapshot(name, *, allow_patterns):
        asked.append(allow_patterns)
        return str(write(tmp_path))

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    assert open_weights("someone/something").source == "someone/something"
    assert asked == [
        [
            "config.json",
            "adapter_config.json",
            "model*.safetensors",
            "model*.safetensors.index.json",
        ]
    ]
