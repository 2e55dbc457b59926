"""Which files a model's name means: a directory that is there, resolved in the order of
transformers, or the hub's.

A path that exists is never looked up on the hub. What cannot be read is refused with its true
cause: an adapter, quantised codes, a pointer of git-lfs, another format, a model one level below.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from eigenloop.system.errors import InputError
from eigenloop.system.errors import reason as said

ADAPTER = "adapter_config.json"
LFS = b"version https://git-lfs"
"""How the text file begins that stands for a large file which git-lfs has not fetched."""

FORMATS = {
    ".gguf": "GGUF",
    ".ggml": "GGML",
    ".onnx": "ONNX",
    ".pt": "PyTorch pickle",
    ".pth": "PyTorch pickle",
    ".ckpt": "PyTorch pickle",
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
    ".tflite": "TensorFlow Lite",
    ".engine": "TensorRT",
    ".mlmodel": "Core ML",
}
"""Files that hold weights in a form that is not read, by their suffix."""

SHORT = 200
"""A pointer of git-lfs is about this long, in bytes; a file of weights is longer than a
kilobyte.
"""

LONGEST_NAME = 255
"""Bytes of the longest name that a file can have."""

SAVED = "a directory with config.json and model.safetensors"
ANY = f"{SAVED}, or a name on the Hugging Face hub"


@dataclass(frozen=True)
class WeightFiles:
    """The files that hold a checkpoint's weights.

    Args:
        paths: one file, or the shards that `index` names.
        index: the index of the shards; None for one file.
    """

    paths: tuple[Path, ...]
    index: Path | None = None

    @property
    def pickled(self) -> bool:
        """Whether they are .bin files, which only torch opens."""
        return self.paths[0].suffix == ".bin"


def directory_of(model: str | Path, *patterns: str) -> Path:
    """The directory that a model's name means.

    Args:
        model: a directory, or a name on the Hugging Face hub.
        patterns: the files wanted of a hub name, beside config.json and weights.

    Raises:
        InputError: there is no such directory and nothing from the hub, or the path is a file.
    """
    path = Path(model)
    if path.is_dir():
        return path
    name = str(model)
    if path.exists():
        raise InputError(_no_directory(path))
    if isinstance(model, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"{name} does not exist; give {ANY}")
    return _from_hub(name, patterns)


def read_config(directory: Path) -> dict[str, Any]:
    """The settings of config.json.

    Raises:
        InputError: there is none or it cannot be read, the directory holds an adapter, or a model
            one level below; the weights are quantised.
    """
    file = directory / "config.json"
    if file.exists() and not file.is_file():
        raise InputError(f"{file} is no regular file; give the directory of a saved model")
    _refuse_adapter(directory)
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(_no_config(directory)) from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        refuse_pointer(file)
        raise InputError(f"{file} is no JSON ({error}); download it again") from None
    if not isinstance(config, dict):
        raise InputError(f"{file} holds no object; download it again")
    refuse_quantised(str(file), config)
    return config


def weight_files(directory: Path) -> WeightFiles:
    """The files that transformers would load: one file before shards, safetensors before .bin.

    Raises:
        InputError: there are none, shards are missing, or a whole set of shards stands beside a
            single file.
    """
    for stem in ("model.safetensors", "pytorch_model.bin"):
        single, index = directory / stem, directory / f"{stem}.index.json"
        if not index.exists():
            if single.exists():
                return WeightFiles((single,))
            continue
        named = _named(index)
        missing = [name for name in named if not (directory / name).exists()]
        if single.exists() and named != [stem]:
            # shards of an earlier save that are gone: the index is stale, and transformers ignores
            # it
            if missing:
                return WeightFiles((single,))
            raise InputError(
                f"{directory} holds two sets of weights, {stem} and the {len(named)} files that"
                f" {index.name} names; remove the one that is not the model's"
            )
        if missing:
            raise InputError(
                f"{directory} lacks {missing[0]}, one of the {len(named)} files that {index.name}"
                " names"
            )
        return WeightFiles(tuple(directory / name for name in named), index)
    others = sorted(directory.glob("*.safetensors"))
    if len(others) == 1:
        return WeightFiles((others[0],))
    raise InputError(_no_weights(directory, others))


def refuse_pointer(path: Path) -> None:
    """Say so where a file is only git-lfs's pointer to what it should hold.

    Raises:
        InputError: it is.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(len(LFS))
    except OSError:
        return
    if begin == LFS:
        raise InputError(
            f"{path} is a pointer of git-lfs, not the file; run `git lfs pull` where it was cloned"
        )


def refuse_quantised(source: str, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that says that its weights are codes.

    Raises:
        InputError: it has a `quantization_config`; names the method and the bits.
    """
    about = config.get("quantization_config")
    if about is None:
        return
    about = about if isinstance(about, dict) else {}
    method = about.get("quant_method") or (
        "bitsandbytes" if {"load_in_4bit", "load_in_8bit"} & about.keys() else None
    )
    bits = about.get("bits") or (
        4 if about.get("load_in_4bit") else 8 if about.get("load_in_8bit") else None
    )
    words = ", ".join(
        filter(None, [str(method or "an unnamed method"), f"{bits} bit" if bits else ""])
    )
    raise InputError(
        f"{source} says that the weights are quantised ({words}), and codes are not weights; load"
        " the model with transformers, call model.dequantize(), save it, and give that directory"
    )


def _named(index: Path) -> list[str]:
    """The files that an index names, which must lie beside it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        refuse_pointer(index)
        raise InputError(f"{index} cannot be read ({error}); download it again") from None
    for name in names:
        if (
            not isinstance(name, str)
            or not name.isprintable()
            or PurePath(name).name != name
            or name == ".."
        ):
            raise InputError(
                f"{index} names {name!r}, which is no file beside it; download it again"
            )
        if len(name.encode()) > LONGEST_NAME:
            raise InputError(
                f"{index} names a file by {len(name):,} characters, which no file has; download it"
                " again"
            )
    if not names:
        raise InputError(f"{index} names no file; download it again")
    return names


def _no_directory(path: Path) -> str:
    """Why a path that is a file is no model, and what to give."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is not None:
        return (
            f"{path} is a {kind} file, which is not read; convert it to safetensors and give"
            f" {SAVED}"
        )
    if path.is_file() and (path.parent / "config.json").is_file():
        return f"{path} is a file; give its directory, {path.parent}"
    return f"{path} is a file; give {ANY}"


def _refuse_adapter(directory: Path) -> None:
    file = directory / ADAPTER
    if not file.is_file():
        return
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        about = {}
    about = about if isinstance(about, dict) else {}
    kind = f"{about['peft_type']} adapter" if isinstance(about.get("peft_type"), str) else "adapter"
    base = about.get("base_model_name_or_path")
    of = f" of {base}" if isinstance(base, str) and base else ""
    beside = (
        ""
        if not _has_weights(directory)
        else ", which transformers would add to the weights beside it"
    )
    raise InputError(
        f"{directory} holds a {kind}{of} ({ADAPTER}){beside}; merge it into its base model "
        "(peft: model.merge_and_unload(), then save_pretrained) and give that directory"
    )


def _has_weights(directory: Path) -> bool:
    return any(
        (directory / f"{stem}{tail}").exists()
        for stem in ("model.safetensors", "pytorch_model.bin")
        for tail in ("", ".index.json")
    )


def _no_config(directory: Path) -> str:
    """What a directory without config.json holds, and what to give."""
    below = sorted(path.parent.name for path in directory.glob("*/config.json"))
    if below:
        more = f", or another of its {len(below)} directories with one" if len(below) > 1 else ""
        return f"{directory} has no config.json; give {directory / _latest(below)}{more}"
    others = [path for path in sorted(directory.iterdir()) if path.suffix.lower() in FORMATS]
    if others:
        kind = FORMATS[others[0].suffix.lower()]
        return (
            f"{directory} holds a {kind} file ({others[0].name}), which is not read; convert it and"
            f" give {SAVED}"
        )
    return f"{directory} has no config.json; give {SAVED}"


def _latest(names: list[str]) -> str:
    """checkpoint-1000 rather than checkpoint-500; else the first."""
    steps = {
        int(name.rpartition("-")[2]): name for name in names if name.rpartition("-")[2].isdecimal()
    }
    return steps[max(steps)] if steps else names[0]


def _no_weights(directory: Path, others: list[Path]) -> str:
    if others:
        return (
            f"{directory} has {len(others)} safetensors files and no index that names them; it"
            " needs model.safetensors or model.safetensors.index.json"
        )
    foreign = [path for path in sorted(directory.iterdir()) if path.suffix.lower() in FORMATS]
    if foreign:
        kind = FORMATS[foreign[0].suffix.lower()]
        name = foreign[0].name
        return (
            f"{directory} holds its weights as a {kind} file ({name}), which is not read; save them"
            " as safetensors"
        )
    below = sorted(path.parent.name for path in directory.glob("*/*.safetensors"))
    if below:
        return (
            f"{directory} has no weights; they lie in {directory / below[0]}, without a"
            " config.json: copy it there"
        )
    return f"{directory} has no weights; it needs model.safetensors or model.safetensors.index.json"


def _from_hub(name: str, patterns: tuple[str, ...]) -> Path:
    """The directory in the hub's cache, downloaded if it is not there yet."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(
            f"{name} does not exist; give {ANY} (which needs: pip install 'eigenloop[lens]')"
        ) from None
    reason = "no weights in it"
    shards = "model*.safetensors", "model*.safetensors.index.json"
    for weights in (shards, ("pytorch_model*.bin", "pytorch_model*.bin.index.json")):
        wanted = ["config.json", ADAPTER, *weights, *patterns]
        try:
            directory = Path(snapshot_download(name, allow_patterns=wanted))
        except Exception as error:  # the hub's client raises errors of three libraries
            reason = said(error).split(". ")[0].rstrip(".")
            break
        if any(file.suffix in (".safetensors", ".bin") for file in directory.iterdir()):
            return directory
        if (directory / ADAPTER).exists():
            return directory
    raise InputError(
        f"no directory {name} here, and nothing from the hub ({reason}); check the name or the"
        " network"
    )
