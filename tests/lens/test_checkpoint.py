"""Weights from files: the same numbers as from the loaded model, in little memory, and damage
said in one line.
"""

import io
import json
import struct
import subprocess
import sys
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from small_models import CONFIGS, build

from eigenloop import lens
from eigenloop.lens.model import tensors
from eigenloop.lens.model.checkpoint import open_weights
from eigenloop.system.errors import InputError

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


def same(a, b) -> None:
    for ours, theirs in ((a.output, b.output), (a.value, b.value), (a.value_bias, b.value_bias)):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(a.output_bias, b.output_bias)
    np.testing.assert_array_equal(a.norm.gain, b.norm.gain)
    np.testing.assert_array_equal(a.norm.bias, b.norm.bias)
    assert (a.norm.kind, a.norm.placement, a.norm.eps) == (
        b.norm.kind,
        b.norm.placement,
        b.norm.eps,
    )


# --- the same numbers


@pytest.mark.parametrize("model_type", CONFIGS)
def test_files_and_loaded_model_give_the_same_circuits(model_type, tmp_path):
    model = build(model_type)
    model.save_pretrained(tmp_path)
    stack = lens.locate(tmp_path)
    assert stack.schedule == lens.locate(model).schedule
    for layer in range(len(stack.blocks)):
        same(lens.circuits(stack, layer), lens.circuits(model, layer))


@pytest.mark.parametrize(
    ("model_type", "head"),
    [
        ("gpt2", "AutoModelForCausalLM"),
        ("bert", "AutoModelForMaskedLM"),
        ("opt", "AutoModelForCausalLM"),
    ],
)
def test_a_model_with_a_head_has_the_same_layers(model_type, head, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(model_type, **CONFIGS[model_type])
    model = getattr(transformers, head).from_config(config)
    model.save_pretrained(tmp_path)
    assert lens.locate(tmp_path).prefix == f"{model.base_model_prefix}."
    same(lens.circuits(tmp_path, 2), lens.circuits(model, 2))
    same(lens.circuits(model, 2), lens.circuits(model.base_model, 2))


def test_shards_are_read_where_the_index_says(tmp_path):
    model = build("gpt2")
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    for layer in range(3):
        same(lens.circuits(tmp_path, layer), lens.circuits(model, layer))


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_other_kinds_of_numbers_are_read_exactly(kind, tmp_path):
    torch = pytest.importorskip("torch")
    model = build("gpt2").to(getattr(torch, kind))
    model.save_pretrained(tmp_path)
    found, exact = (
        lens.circuits(tmp_path, 1),
        lens.circuits(model.double() if kind == "float64" else model.float(), 1),
    )
    same(found, exact)
    assert lens.locate(tmp_path).stored() == (kind,)
    said = f"weights are stored as {kind} and were converted to float32 once"
    assert (said in lens.spectra(tmp_path).notes()) == (kind != "float64")


def test_blocks_are_read_in_pieces_smaller_than_a_row(tmp_path, monkeypatch):
    whole = lens.circuits(write(tmp_path), 1)
    monkeypatch.setattr(tensors, "CHUNK", 40)
    same(lens.circuits(tmp_path, 1), whole)
    stored = load_file(tmp_path / "model.safetensors")[VALUE]
    files = tensors.SafetensorsFiles([tmp_path / "model.safetensors"])
    np.testing.assert_array_equal(files.read(VALUE, slice(2, 7), slice(3, 5)), stored[2:7, 3:5])


def test_the_first_names_of_gain_and_bias(tmp_path):
    build("bert").save_pretrained(tmp_path)
    expected = lens.circuits(tmp_path, 1).norm
    stored = load_file(tmp_path / "model.safetensors")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    for new, name in old.items():
        stored = {key.replace(new, name): value for key, value in stored.items()}
    save_file(stored, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(lens.circuits(tmp_path, 1).norm.gain, expected.gain)
    np.testing.assert_array_equal(lens.circuits(tmp_path, 1).norm.bias, expected.bias)


def test_a_pickle_of_tensors_is_read_by_the_restricted_loader(tmp_path):
    torch = pytest.importorskip("torch")
    model = build("gpt2")
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    for zipped in (True, False):
        torch.save(
            model.state_dict(),
            tmp_path / "pytorch_model.bin",
            _use_new_zipfile_serialization=zipped,
        )
        same(lens.circuits(tmp_path, 1), lens.circuits(model, 1))


class Trap:
    """A pickle that would make a file when opened carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_that_cannot_be_read_says_why_in_a_few_words(tmp_path):
    torch = pytest.importorskip("torch")
    write(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    file, archive = tmp_path / "pytorch_model.bin", io.BytesIO()
    saved = {zipped: io.BytesIO() for zipped in (True, False)}
    for zipped, into in saved.items():
        torch.save({"weight": torch.zeros(100, 100)}, into, _use_new_zipfile_serialization=zipped)
    whole = saved[True].getvalue().split(b"PK\x03\x04")
    with zipfile.ZipFile(archive, "w") as other:
        other.writestr("readme.txt", "nothing")
    for held, cause in (
        (b"", "it is empty"),
        (b"<html>not found</html>", "it is no file that torch.save wrote"),
        (b"not found", "it is no file that torch.save wrote"),
        (saved[True].getvalue()[:20_000], "it is cut short"),
        (
            b"PK\x03\x04".join(whole[:2]) + bytes(4) + b"PK\x03\x04".join(whole[2:]),
            "its zip archive is damaged",
        ),
        (b"PK\x03\x04 no zip", "it is cut short"),
        (saved[False].getvalue()[:20_000], "unexpected EOF"),
        (archive.getvalue(), "a zip archive of something else"),
    ):
        file.write_bytes(held)
        with pytest.raises(
            InputError, match=rf"pytorch_model\.bin cannot be read \(.*{cause}.*\); download"
        ) as caught:
            lens.spectra(tmp_path)
        assert len(str(caught.value)) - len(str(file)) < 120
    torch.save([torch.zeros(2)], file)
    with pytest.raises(InputError, match="holds no tensors by name"):
        lens.spectra(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError, match=r"pytorch_model\.bin cannot be read \(Is a directory\)$"):
        lens.spectra(tmp_path)


def test_a_pickle_of_anything_else_is_refused_and_not_run(tmp_path):
    torch = pytest.importorskip("torch")
    write(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({"weight": Trap(tmp_path / "sprung")}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(
        InputError, match=r"pytorch_model\.bin holds more than tensors, so it is not opened"
    ):
        lens.spectra(tmp_path / "model")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(InputError, match=r"pytorch_model\.bin"):
        lens.spectra(tmp_path / "model")
    assert not (tmp_path / "sprung").exists()


def test_code_of_the_checkpoint_is_not_looked_at(tmp_path):
    auto = {"AutoModel": "modeling_trap.Trap"}
    directory = write(tmp_path, config={"auto_map": auto})
    (directory / "modeling_trap.py").write_text("raise SystemExit('run')")
    assert len(lens.spectra(directory).layers) == 2


# --- memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_peak_memory_is_three_times_the_values_and_outputs_of_a_layer(tmp_path):
    """d = 4096, 32 heads, 8 groups, bfloat16, one file for each of two layers; imports of NumPy
    and SciPy included.
    """
    dim, groups, width = 4096, 8, 128
    rng = np.random.default_rng(0)
    index = {}
    for layer in range(2):
        values = rng.standard_normal((groups * width, dim), np.float32) / 64
        outputs = rng.standard_normal((dim, dim), np.float32) / 64
        block, file = f"model.layers.{layer}.", f"model-{layer}.safetensors"
        halves = {
            block + "self_attn.v_proj.weight": values,
            block + "self_attn.o_proj.weight": outputs,
            block + "input_layernorm.weight": np.ones(dim, np.float32),
        }
        write_bfloat16(tmp_path / file, halves)
        index |= dict.fromkeys(halves, file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    described = {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "num_attention_heads": 32,
        "rms_norm_eps": 1e-6,
    }
    (tmp_path / "config.json").write_text(json.dumps(described))
    code = (
        "import re, pathlib\npeak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)',"
        " pathlib.Path('/proc/self/status').read_text())[1]) / 1024\nbare = peak()\nfrom eigenloop"
        f" import lens\nfound = lens.spectra({str(tmp_path)!r}, vectors=False)\nassert"
        " all(m.converged and m.residual < 1e-12 for x in found.layers for m in"
        " x.modes.values())\nassert found.stored == ('bfloat16',)\nprint(peak() - bare)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    layer_mib = 4 * (groups * width * dim + dim * dim) / 2**20
    assert layer_mib == 80
    print(done.stdout)
    assert layer_mib < float(done.stdout) < 3 * layer_mib


def write_bfloat16(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """safetensors by hand: the upper halves of float32."""
    header, offset = {}, 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": "BF16",
            "shape": array.shape,
            "data_offsets": [offset, offset + 2 * array.size],
        }
        offset += 2 * array.size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write((array.view(np.uint32) >> 16).astype("<u2").tobytes())


# --- damage


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
