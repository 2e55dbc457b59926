"""Weights from files: the same numbers as from the loaded model, in little memory, and damage
said in one line.
"""

import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from checkpoints import VALUE, write
from safetensors.numpy import load_file, save_file
from small_models import CONFIGS, build

from eigenloop import lens
from eigenloop.lens.model import tensors
from eigenloop.system.errors import InputError


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
