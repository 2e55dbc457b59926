"""Named tensors read piece by piece: safetensors files through NumPy alone, and whatever torch has
loaded.

bfloat16 and float16 become float32 as they are read; float32 and float64 stay as they are. Format:
https://github.com/huggingface/safetensors (eight bytes of length, a JSON header, the bytes of the
tensors).
"""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from eigenloop.lens.model.headers import Entry, header, today
from eigenloop.system.errors import InputError

STORED = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""The kinds of numbers that can be read, by their names in safetensors files."""

LARGEST = 1e15
"""No weight is larger; squares of larger ones, summed over a matrix, overflow the float32 that
models run in.
"""


SCALES = ("_scale_inv", "_scale", "_scales", "_quantizer._scale", ".absmax", ".SCB", ".quant_state")
"""What quantisers call the scales of a tensor, behind its name."""

BESIDE = (
    "SCB",
    "scales",
    "qzeros",
    "weight_scale",
    "weight_scale_inv",
    "weight_scales",
    "scale_weight",
)
"""The same, in the place of its last word."""


CHUNK = 1 << 20
"""Bytes read at a time."""

Rows = slice
"""A contiguous range with start and stop."""


@runtime_checkable
class Tensors(Protocol):
    """What the lens needs of a model's weights: names, shapes, kinds, and pieces of them as
    NumPy arrays.
    """

    def names(self) -> Iterable[str]:
        """Every tensor's dotted name."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape."""
        ...

    def stored(self, name: str) -> str:
        """The kind of number it is stored as: "float32", "bfloat16", ..."""
        ...

    def read(self, name: str, rows: Rows | None = None, columns: Rows | None = None) -> np.ndarray:
        """It, or a block of it, as float32 (float64 where it is stored so)."""
        ...


class SafetensorsFiles:
    """The tensors of one or more safetensors files; only headers are read until a tensor is asked
    for.

    Args:
        paths: the files (the shards of one model).

    Raises:
        InputError: a file is missing, truncated or malformed, or two files hold a tensor of the
            same name.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        """Read the headers."""
        self._entries: dict[str, Entry] = {}
        for path in paths:
            for name, entry in header(Path(path)).items():
                if name in self._entries:
                    raise InputError(
                        f"{self._entries[name].path} and {path} both hold {name}; keep one of them"
                    )
                self._entries[name] = entry

    def names(self) -> Iterable[str]:
        """Every tensor's dotted name, by today's words for a gain and a bias."""
        return self._entries.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape."""
        return self._entries[name].shape

    def stored(self, name: str) -> str:
        """The kind of number it is stored as.

        Raises:
            InputError: integers, eight-bit floats, or numbers with scales beside them.
        """
        entry = self._entries[name]
        _refuse_codes(
            f"{entry.path}: {name}", name, entry.kind, entry.kind in STORED, self._entries
        )
        return STORED[entry.kind]

    def read(self, name: str, rows: Rows | None = None, columns: Rows | None = None) -> np.ndarray:
        """It, or a block of it, from the file; no more than `CHUNK` bytes beyond the result are
        held.

        Raises:
            InputError: the file cannot be read, the numbers are quantised, or some are not finite.
        """
        entry, stored = self._entries[name], self.stored(name)
        raw = np.dtype(
            "<u2" if stored == "bfloat16" else f"<{stored[0]}{np.dtype(stored).itemsize}"
        )
        shape = entry.shape or (1,)
        width = math.prod(shape[1:])
        top = rows or slice(0, shape[0])
        kept = shape[1:] if columns is None else (columns.stop - columns.start, *shape[2:])
        step = max(1, CHUNK // max(1, width * raw.itemsize))
        try:
            result = np.empty((top.stop - top.start, *kept), _read_as(stored))
            with entry.path.open("rb") as file:
                for start in range(top.start, top.stop, step):
                    stop = min(start + step, top.stop)
                    file.seek(entry.begin + start * width * raw.itemsize)
                    block = np.fromfile(file, raw, (stop - start) * width).reshape(
                        stop - start, *shape[1:]
                    )
                    block = block if columns is None else block[:, columns]
                    result[start - top.start : stop - top.start] = (
                        _from_bfloat16(block) if raw.kind == "u" else block
                    )
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {name} from {entry.path}: {error}") from None
        return finite(result if entry.shape else result[0], f"{entry.path}: {name}")


class TorchTensors:
    """The tensors of a loaded torch model (its `state_dict()`); torch itself is not imported here.

    Args:
        tensors: name -> torch tensor.
        source: what to call it in an error.
    """

    def __init__(self, tensors: Mapping[str, Any], source: str) -> None:
        """Remember; nothing is copied."""
        self._tensors = {
            today(name): tensor for name, tensor in tensors.items() if hasattr(tensor, "detach")
        }
        self._source = source

    def names(self) -> Iterable[str]:
        """Every tensor's dotted name."""
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self._tensors[name].shape)

    def stored(self, name: str) -> str:
        """The kind of number it is stored as.

        Raises:
            InputError: integers, eight-bit floats, or numbers with scales beside them.
        """
        kind = str(self._tensors[name].dtype).removeprefix("torch.")
        _refuse_codes(f"{self._source}: {name}", name, kind, kind in STORED.values(), self._tensors)
        return kind

    def read(self, name: str, rows: Rows | None = None, columns: Rows | None = None) -> np.ndarray:
        """It, or a block of it, copied to the CPU.

        Raises:
            InputError: the numbers are quantised, or some are not finite.
        """
        kind = _read_as(self.stored(name))
        tensor = self._tensors[name].detach()
        tensor = tensor[rows] if rows else tensor
        tensor = tensor[:, columns] if columns else tensor
        tensor = tensor.double() if kind == "float64" else tensor.float()
        return finite(np.array(tensor.cpu().numpy()), f"{self._source}: {name}")


def finite(values: np.ndarray, name: str) -> np.ndarray:
    """The array itself, once it is known to hold no NaN, no infinity and nothing above `LARGEST`.

    Raises:
        InputError: it holds some; names the tensor and counts them.

    Example:
        >>> finite(np.array([1.0, np.nan]), "h.0.attn")
        Traceback (most recent call last):
            ...
        eigenloop.system.errors.InputError: h.0.attn holds 1 number(s) that are NaN or infinite; the
        \
checkpoint is damaged
    """
    # One sum in float64 is finite unless a number is not: no array of flags for the usual case.
    # the sum of opposite infinities is the NaN that is looked for
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.sum(values, dtype=np.float64)
    if values.size and not np.isfinite(total):
        count = int(values.size - np.count_nonzero(np.isfinite(values)))
        if count:
            raise InputError(
                f"{name} holds {count} number(s) that are NaN or infinite; the checkpoint is"
                " damaged"
            )
    largest = max(values.max(), -values.min()) if values.size else 0.0
    if largest > LARGEST:
        raise InputError(
            f"{name} holds {largest:.3g}; numbers above {LARGEST:g} are no weights: damaged"
        )
    return values


def _refuse_codes(where: str, name: str, kind: str, readable: bool, names: Collection[str]) -> None:
    """Refuse what a quantiser made: the numbers stored are codes, to be multiplied by scales, and
    no weights.

    Raises:
        InputError: the kind of number is none that weights have, or scales for this tensor are
            stored beside it.
    """
    stem = name.rpartition(".")[0]
    beside = [name + end for end in SCALES] + [
        f"{stem}.{last}" for last in BESIDE if name.endswith(".weight")
    ]
    scales = next((other for other in beside if other in names), None)
    if readable and scales is None:
        return
    reason = (
        f"with its scales in {scales}"
        if scales
        else "which needs scales that only its quantiser knows"
    )
    raise InputError(
        f"{where} is quantised: stored as {kind}, {reason}; load the model with transformers, call "
        "model.dequantize(), and save it in float32, bfloat16 or float16"
    )


def _read_as(stored: str) -> str:
    return "float64" if stored == "float64" else "float32"


def _from_bfloat16(block: np.ndarray) -> np.ndarray:
    """A bfloat16 is the upper half of a float32."""
    return (block.astype(np.uint32) << 16).view(np.float32)
