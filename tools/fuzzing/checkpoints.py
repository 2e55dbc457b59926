"""Checkpoints of every architecture, with a damaged header of safetensors or damaged settings."""

import json
import random
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from eigenloop.lens.model.embeddings import has_vocabulary, input_embedding, output_embedding
from eigenloop.lens.model.loaded import load
from eigenloop.lens.model.stack import Stack, locate
from eigenloop.lens.model.tensors import STORED, SafetensorsFiles
from eigenloop.lens.model.vocabulary import vocabulary
from eigenloop.system.errors import InputError
from fuzzing.changes import changed, damaged, written

KINDS = ["F64", "F32", "F16", "BF16", "I64", "U8", "F8_E4M3", "BOOL", "F4", "", "f32", None, 7]
SIZES = [0, 1, 2, 3, -1, 2**31, 2**62, 2**63, 2**64, 10**30, 1.0, True, None, "4"]
WEIGHTS, CONFIG = "model.safetensors", "config.json"
FORMS = (
    "has no readable safetensors header",
    "is truncated or no safetensors file",
    "has a malformed safetensors header",
    "bytes after its last tensor",
)
"""Words that claim that a file is against the format; the format's own library must agree."""


class Headers:
    """The reader of safetensors files."""

    def __init__(self, folder: Path) -> None:
        """Small models: their files are the seeds."""
        self._seeds = [(model / WEIGHTS).read_bytes() for model in small_models(folder)]

    def make(self, rng: random.Random) -> dict[str, bytes]:
        """One file whose header, length or bytes are damaged; small, so that most damage is to
        the header.
        """
        content = rng.choice(self._seeds)
        length = struct.unpack("<Q", content[:8])[0]
        header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
        header.pop("__metadata__", None)
        names = list(header)[: rng.choice([1, 2, 5, 40])]
        entries, kept = {}, b""
        for name in names:
            begin, end = header[name]["data_offsets"]
            entries[name] = {**header[name], "data_offsets": [len(kept), len(kept) + end - begin]}
            kept += data[begin:end]
        if rng.random() < 0.5:
            entries = {"__metadata__": {"format": "pt"}, **entries}
        for _ in range(rng.choice([0, 1, 1, 2, 4])):
            entries = _damaged_entry(rng, entries)
        text = written(rng, entries)
        text = damaged(rng, text, [text]) if rng.random() < 0.3 else text
        text += b" " * rng.choice([-len(text) % 8, 0, 1, 100])
        said = (
            len(text)
            if rng.random() < 0.9
            else rng.choice([0, 1, len(text) + 8, 2**31, 2**62, 2**64 - 1])
        )
        kept += rng.choice([b"", b"", b"", b"\0" * 8])
        whole = (
            struct.pack("<Q", said)
            + text
            + (kept if rng.random() < 0.9 else kept[: rng.randrange(len(kept) + 1)])
        )
        return {WEIGHTS: whole if rng.random() < 0.9 else damaged(rng, whole, self._seeds)}

    def read(self, folder: Path, rng: random.Random) -> None:
        """Read every tensor, and ask the format's own library where the form is refused or
        accepted.
        """
        path = folder / WEIGHTS
        try:
            tensors = SafetensorsFiles([path])
        except InputError as error:
            claim = next((form for form in FORMS if form in str(error)), None)
            if claim is not None and _is_safetensors(path):
                raise AssertionError(f"a false reason: {error}") from error
            raise
        names = list(tensors.names())
        rng.shuffle(names)
        for name in names[:6]:
            shape = tensors.shape(name)
            found = tensors.read(name)
            assert found.shape == shape, f"{name} is read with shape {found.shape}, not {shape}"
            assert tensors.stored(name) in STORED.values()
            if len(shape) == 2 and min(shape) > 1:
                part = tensors.read(name, rows=slice(1, shape[0]), columns=slice(0, 1))
                assert np.array_equal(part, found[1:, :1]), f"a block of {name} is another one"
        assert _is_safetensors(path), "read, although the format's own library refuses it"


class Configs:
    """The reader of config.json and of the other settings of a checkpoint."""

    def __init__(self, folder: Path) -> None:
        """Small models, with the index of a file and a tokenizer beside one."""
        self._seeds = [
            {file.name: file.read_bytes() for file in model.iterdir()}
            for model in small_models(folder)
        ]
        for files in self._seeds:
            files["model.safetensors.index.json"] = json.dumps(
                {"weight_map": {"a": WEIGHTS}}
            ).encode()
        self._configs = [files[CONFIG] for files in self._seeds]

    def make(self, rng: random.Random) -> dict[str, bytes]:
        """A checkpoint with one or two damaged JSON files."""
        files = dict(rng.choice(self._seeds))
        names = (
            [CONFIG] if rng.random() < 0.8 else [name for name in files if name.endswith(".json")]
        )
        if rng.random() < 0.03:
            files["adapter_config.json"] = json.dumps(
                {"peft_type": "LORA", "base_model_name_or_path": "x"}
            ).encode()
            names = ["adapter_config.json"]
        for name in names:
            value: Any = json.loads(files[name])
            for _ in range(rng.choice([1, 1, 2, 4])):
                value = changed(rng, value)
            if name == CONFIG and isinstance(value, dict) and rng.random() < 0.2:
                value[
                    rng.choice(["quantization_config", "auto_map", "head_dim", "num_hidden_groups"])
                ] = rng.choice([{}, {"bits": 4}, {"quant_method": ["x"]}, "x", 3, None])
            files[name] = written(rng, value)
            if rng.random() < 0.2:
                files[name] = damaged(rng, files[name], self._configs)
        return files

    def read(self, folder: Path, rng: random.Random) -> None:
        """Find the layers and read them as the lens does; now and then load the model with
        torch.
        """
        try:
            _whole(locate(str(folder)))
        except InputError as error:
            if " is no JSON " in str(error) and _is_json(folder):
                raise AssertionError(f"a false reason: {error}") from error
            raise
        if rng.random() < 0.1:
            load(str(folder), device="cpu")


def small_models(folder: Path) -> list[Path]:
    """A small model of every architecture, as transformers saves it."""
    root = Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(root / "tests" / "lens"))
    import small_models as small

    found = []
    for name in small.CONFIGS:
        small.build(name).save_pretrained(folder / name)
        found.append(folder / name)
    return found


def _damaged_entry(rng: random.Random, entries: dict[str, Any]) -> dict[str, Any]:
    """One entry of a header with another kind, shape or place; or anything else damaged in it."""
    name = rng.choice(list(entries) or ["a"])
    about = entries.get(name)
    if not isinstance(about, dict) or "shape" not in about or rng.random() < 0.3:
        found = changed(rng, entries)
        return found if isinstance(found, dict) else entries
    about = dict(about)
    key = rng.choice(["dtype", "shape", "data_offsets"])
    if key == "dtype":
        about[key] = rng.choice(KINDS)
    elif isinstance(about.get(key), list):
        values = list(about[key])
        values[rng.randrange(len(values) or 1) :][:1] = [rng.choice(SIZES)]
        place = rng.randrange(len(values) + 1)
        values[place : place + rng.randrange(2)] = [rng.choice(SIZES)]
        about[key] = values if rng.random() < 0.9 else values[::-1]
    return {**entries, name: about}


def _is_safetensors(path: Path) -> bool:
    try:
        with safe_open(path, "np") as file:
            list(file.keys())
    except (SafetensorError, OSError, ValueError):
        return False
    return True


def _is_json(folder: Path) -> bool:
    try:
        json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    return True


def _whole(stack: Stack) -> None:
    """Everything that the lens takes from a checkpoint's weights and settings."""
    stack.stored()
    stack.layout.eps_in(stack.weights.config)
    stack.layout.placement_in(stack.weights.config)
    for layer in range(len(stack.blocks)):
        for role in ("query", "key", "value"):
            weight, bias = stack.projection(layer, role)
            assert weight.shape[:2] == bias.shape, "weights and biases of different shapes"
        stack.output(layer)
        stack.norm(layer)
    if has_vocabulary(stack):
        for embedding in (input_embedding(stack), output_embedding(stack)):
            rows = embedding.rows(0, min(embedding.size, 8))
            assert rows.shape[1] == stack.width, "rows of another width than the stream"
            vocabulary(stack, size=embedding.size).text(3)
