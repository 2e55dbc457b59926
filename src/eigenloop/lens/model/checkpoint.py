"""A model's weights and configuration: from a directory, from the Hugging Face hub, or from a
loaded model.

A directory is read with NumPy alone: config.json and the safetensors files. Code that a checkpoint
brings along is never run; a pickle (.bin) is opened only by torch's loader that admits tensors and
nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigenloop.lens.model.sources import (
    WeightFiles,
    directory_of,
    read_config,
    refuse_pointer,
    refuse_quantised,
    weight_files,
)
from eigenloop.lens.model.tensors import SafetensorsFiles, Tensors, TorchTensors
from eigenloop.system.errors import InputError, reason

ENCODER_DECODERS = (
    "t5",
    "mt5",
    "umt5",
    "bart",
    "mbart",
    "pegasus",
    "marian",
    "m2m_100",
    "whisper",
    "led",
)
"""Model types with two stacks; their configurations do not all say `is_encoder_decoder`."""

ZIP = b"PK\x03\x04"
"""How a zip archive begins, as torch.save writes; its older files begin with the protocol of a
pickle.
"""

LONGEST_CAUSE = 120
"""Characters of what torch says that are repeated."""


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
    """The weights of a local directory, a hub name, or a loaded torch model; nothing but headers is
    read yet.

    Args:
        model: a directory with config.json and safetensors (or .bin) files, a name on the Hugging
            Face hub, a model of transformers, or `Weights`, which are given back as they are.

    Raises:
        InputError: there is no such model, it has no weights or a broken configuration, or it has
            an encoder and a decoder.

    Example:
        >>> open_weights("/nowhere/at/all")
        Traceback (most recent call last):
            ...
        eigenloop.system.errors.InputError: /nowhere/at/all does not exist; give a directory with
        config.json and \
model.safetensors, or a name on the Hugging Face hub
    """
    if isinstance(model, Weights):
        return model
    if hasattr(model, "state_dict") and hasattr(model, "config"):
        name = type(model).__name__
        refuse_quantised(name, model.config.to_dict())
        weights = Weights(
            model.config.to_dict(), TorchTensors(model.state_dict(), name), name, model
        )
    elif isinstance(model, str | Path):
        directory = directory_of(model)
        weights = Weights(read_config(directory), _opened(weight_files(directory)), str(model))
    else:
        kind = type(model).__name__
        raise InputError(
            f"a {kind} is no model: give a directory, a hub name or a model of transformers"
        )
    if weights.config.get("is_encoder_decoder") or weights.model_type in ENCODER_DECODERS:
        raise InputError(
            f"{weights.source} ({weights.model_type}) has an encoder and a decoder, which is not"
            " supported: the lens reads models with one stack of self-attention"
        )
    return weights


def _opened(files: WeightFiles) -> Tensors:
    return _pickles(files.paths) if files.pickled else SafetensorsFiles(files.paths)


def _pickles(paths: Iterable[Path]) -> Tensors:
    """Tensors of .bin files, by torch's restricted loader: a pickle that holds anything else is
    refused.
    """
    import pickle
    import zipfile

    try:
        import torch
    except ImportError:
        raise InputError(
            f"{next(iter(paths))} is a pickle, which only torch opens: pip install"
            " 'eigenloop[lens]', or save the model as safetensors"
        ) from None
    tensors: dict[str, Any] = {}
    for path in paths:
        try:
            loaded = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
            tensors.update(
                {name: tensor for name, tensor in loaded.items() if isinstance(name, str)}
            )
        except (
            pickle.UnpicklingError,
            zipfile.BadZipFile,
            OSError,
            RuntimeError,
            EOFError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
        ) as error:
            refuse_pointer(path)
            raise InputError(f"{path} {_unread(path, error)}") from None
    return TorchTensors(tensors, ", ".join(path.name for path in paths))


def _unread(path: Path, error: Exception) -> str:
    """Why a .bin file was not read, and what to do, in a few words: those of torch may fill a
    page.
    """
    import pickle

    try:
        with path.open("rb") as file:
            begin = file.read(len(ZIP))
        names = _archived(path) if begin == ZIP else []
    except OSError as failed:
        return f"cannot be read ({failed.strerror})"
    cause = reason(error).split(". ")[0][:LONGEST_CAUSE]
    if not begin:
        cause = "it is empty"
    elif begin != ZIP and not begin.startswith(pickle.PROTO):
        cause = "it is no file that torch.save wrote"
    elif begin == ZIP and not names:
        cause = "it is cut short or damaged"
    elif names and not any(name.endswith("data.pkl") for name in names):
        cause = "it is a zip archive of something else"
    elif "PytorchStreamReader" in cause:
        cause = "its zip archive is damaged"
    elif isinstance(error, pickle.UnpicklingError):
        return "holds more than tensors, so it is not opened; use safetensors"
    elif isinstance(error, AttributeError):
        return "holds no tensors by name; save the model's state_dict()"
    return f"cannot be read ({cause}); download it again"


def _archived(path: Path) -> list[str]:
    """The files in a zip archive; none where its directory, which stands at its end, is gone or
    damaged.
    """
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return []
