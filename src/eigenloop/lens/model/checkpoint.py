"""A model's weights and configuration: from a directory, from the Hugging Face hub, or from a loaded model.

A directory is read with NumPy alone: config.json and the safetensors files. Code that a checkpoint brings along is
never run; a pickle (.bin) is opened only by torch's loader that admits tensors and nothing else.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from eigenloop.lens.model.tensors import SafetensorsFiles, Tensors, TorchTensors
from eigenloop.system.errors import InputError

ENCODER_DECODERS = ("t5", "mt5", "umt5", "bart", "mbart", "pegasus", "marian", "m2m_100", "whisper", "led")
"""Model types with two stacks; their configurations do not all say `is_encoder_decoder`."""

WANTED = ["config.json", "model*.safetensors", "model*.safetensors.index.json"]
PICKLES = ["pytorch_model*.bin", "pytorch_model*.bin.index.json"]


@dataclass(frozen=True)
class Weights:
    """What the lens stands on: a configuration and named tensors.

    Args:
        config: the settings of config.json.
        tensors: the weights by name.
        source: the directory, the hub name or the class of the model, for messages and results.
        model: the loaded torch model, where there is one.
    """

    config: Mapping[str, Any]
    tensors: Tensors
    source: str
    model: Any = None

    @property
    def model_type(self) -> str:
        """The architecture, as config.json names it."""
        return str(self.config.get("model_type", "unknown"))


def open_weights(model: Any) -> Weights:
    """The weights of a local directory, a hub name, or a loaded torch model; nothing but headers is read yet.

    Args:
        model: a directory with config.json and safetensors (or .bin) files, a name on the Hugging Face hub, a model of
            transformers, or `Weights`, which are given back as they are.

    Raises:
        InputError: there is no such model, it has no weights or a broken configuration, or it has an encoder and a
            decoder.

    Example:
        >>> open_weights("/nowhere/at/all")
        Traceback (most recent call last):
            ...
        eigenloop.system.errors.InputError: /nowhere/at/all does not exist; give a directory with config.json and \
model.safetensors, or a name on the Hugging Face hub
    """
    if isinstance(model, Weights):
        return model
    if hasattr(model, "state_dict") and hasattr(model, "config"):
        name = type(model).__name__
        weights = Weights(model.config.to_dict(), TorchTensors(model.state_dict(), name), name, model)
    elif isinstance(model, str | Path):
        directory = Path(model)
        if not directory.is_dir():
            directory = _from_hub(model)
        weights = Weights(_config(directory), _files(directory), str(model))
    else:
        kind = type(model).__name__
        raise InputError(f"a {kind} is no model: give a directory, a hub name or a model of transformers")
    if weights.config.get("is_encoder_decoder") or weights.model_type in ENCODER_DECODERS:
        raise InputError(
            f"{weights.source} ({weights.model_type}) has an encoder and a decoder, which is not supported: the lens "
            "reads models with one stack of self-attention"
        )
    return weights


def _config(directory: Path) -> dict[str, Any]:
    file = directory / "config.json"
    if file.exists() and not file.is_file():
        raise InputError(f"{file} is no regular file; give the directory of a saved model")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{directory} has no config.json; give the directory of a saved model") from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is no JSON ({error}); download it again") from None
    if not isinstance(config, dict):
        raise InputError(f"{file} holds no object; download it again")
    return config


def _files(directory: Path) -> Tensors:
    for stem in ("model.safetensors", "pytorch_model.bin"):
        opened = SafetensorsFiles if stem.endswith(".safetensors") else _pickles
        index = directory / f"{stem}.index.json"
        if index.exists():
            return opened(_shards(index))
        if (directory / stem).exists():
            return opened([directory / stem])
    others = sorted(directory.glob("*.safetensors"))
    if len(others) == 1:
        return SafetensorsFiles(others)
    found = f"{len(others)} safetensors files and no index" if others else "no weights"
    raise InputError(f"{directory} has {found}; it needs model.safetensors or model.safetensors.index.json")


def _shards(index: Path) -> list[Path]:
    """The files that an index names, which must lie beside it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{index} cannot be read ({error}); download it again") from None
    for name in names:
        if not isinstance(name, str) or PurePath(name).name != name or name == "..":
            raise InputError(f"{index} names {name!r}, which is no file beside it; download it again")
        if not (index.parent / name).exists():
            raise InputError(f"{index.parent} lacks {name}, one of the {len(names)} files that {index.name} names")
    return [index.parent / name for name in names]


def _pickles(paths: Iterable[Path]) -> Tensors:
    """Tensors of .bin files, by torch's restricted loader: a pickle that holds anything else is refused."""
    import pickle
    import zipfile

    try:
        import torch
    except ImportError:
        raise InputError(
            f"{next(iter(paths))} is a pickle, which only torch opens: pip install 'eigenloop[lens]', "
            "or save the model as safetensors"
        ) from None
    tensors: dict[str, Any] = {}
    for path in paths:
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
            tensors.update({name: tensor for name, tensor in loaded.items() if isinstance(name, str)})
        except pickle.UnpicklingError:
            raise InputError(f"{path} holds more than tensors, so it is not opened; use safetensors") from None
        except (OSError, RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{path} cannot be read ({why}); download it again") from None
    return TorchTensors(tensors, ", ".join(path.name for path in paths))


def _from_hub(model: str | Path) -> Path:
    """The directory in the hub's cache, downloaded if it is not there yet."""
    name = str(model)
    wanted = "a directory with config.json and model.safetensors, or a name on the Hugging Face hub"
    missing = f"{name} does not exist; give {wanted}"
    if isinstance(model, Path) or Path(name).exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"{name} is a file; give its directory" if Path(name).is_file() else missing)
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(f"{missing} (which needs: pip install 'eigenloop[lens]')") from None
    directory: Path | None = None
    reason = "no weights in it"
    for patterns in (WANTED, ["config.json", *PICKLES]):
        try:
            directory = Path(snapshot_download(name, allow_patterns=patterns))
        except Exception as error:  # the hub's client raises errors of three libraries
            reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
            break
        if any(file.suffix in (".safetensors", ".bin") for file in directory.iterdir()):
            return directory
    raise InputError(f"no directory {name} here, and nothing from the hub ({reason}); check the name or the network")
