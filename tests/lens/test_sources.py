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
from safetensors.numpy import save_file
from stored import CONFIG, VALUE, D, refusal, value_of, weights

from eigenloop import lens
from eigenloop.system.errors import InputError

Entry = tuple[str, str, tuple[int, ...], bytes]
"""Name, dtype, shape, bytes."""


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
