"""Named tensors read piece by piece: safetensors files through NumPy alone, and whatever torch has
loaded.

bfloat16 and float16 become float32 as they are read; float32 and float64 stay as they are. Format:
https://github.com/huggingface/safetensors (eight bytes of length, a JSON header, the bytes of the
tensors).
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from eigenloop.lens.model.sources import refuse_pointer
from eigenloop.system.errors import InputError

STORED = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""The kinds of numbers that can be read, by their names in safetensors files."""

LARGEST = 1e15
"""No weight is larger; squares of larger ones, summed over a matrix, overflow the float32 that
models run in.
"""

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8,
    "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of every kind of number of the format."""

LONGEST = 100_000_000
"""Bytes of a header: the format allows no more."""

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

OLD_NAMES = {"gamma": "weight", "beta": "bias"}
"""What the first checkpoints of BERT call the gain and the bias of a LayerNorm."""

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


@dataclass(frozen=True)
class _Entry:
    path: Path
    kind: str
    shape: tuple[int, ...]
    begin: int


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
        self._entries: dict[str, _Entry] = {}
        for path in paths:
            for name, entry in _header(Path(path)).items():
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
            _today(name): tensor for name, tensor in tensors.items() if hasattr(tensor, "detach")
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


def _today(name: str) -> str:
    stem, _, last = name.rpartition(".")
    return f"{stem}.{OLD_NAMES[last]}" if last in OLD_NAMES else name


def _header(path: Path) -> dict[str, _Entry]:
    """The entries of one file, checked against its length."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(size - 8, LONGEST):
                refuse_pointer(path)
                raise InputError(
                    f"{path} is truncated or no safetensors file ({size} bytes); download it again"
                )
            text = file.read(length).decode()
            header = json.loads(
                text, object_pairs_hook=partial(_once, path), parse_constant=_no_constant
            )
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError(f"{path} has no readable safetensors header; download it again") from None
    try:
        _require_texts(header.pop("__metadata__", {}))
        pairs = [(_today(name), _entry(path, 8 + length, about)) for name, about in header.items()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} has a malformed safetensors header ({error}); download it again"
        ) from None
    entries = _once(path, pairs)
    for name, (entry, bytes_given) in entries.items():
        bits = BITS.get(entry.kind)
        if bits is None:
            raise InputError(
                f"{path} stores {name} as {entry.kind}, which is no known kind of number; save it"
                " again"
            )
        if math.prod(entry.shape) * bits != 8 * bytes_given:
            raise InputError(
                f"{path} has a malformed safetensors header ({name}: {bytes_given} bytes for shape"
                f" {entry.shape}); download it again"
            )
        if entry.begin + bytes_given > size:
            raise InputError(
                f"{path} is truncated: {name} ends at byte {entry.begin + bytes_given:,}, the file"
                f" at {size:,}; download it again"
            )
    _require_contiguous(path, list(entries.values()), 8 + length, size)
    return {name: entry for name, (entry, _) in entries.items()}


def _once(path: Path, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Names and what they stand for, as a dictionary.

    Raises:
        InputError: a name that stands there twice, which JSON's readers settle without a word.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        name.encode()  # half a surrogate pair is a ValueError
        if name in found:
            raise InputError(
                f"{path} names {name} twice in its header; which is meant cannot be known: save it"
                " again"
            )
        found[name] = value
    return found


def _require_contiguous(
    path: Path, entries: Sequence[tuple[_Entry, int]], data: int, size: int
) -> None:
    """Refuse what the format forbids and its own library refuses: overlaps, holes, bytes that
    belong to no tensor.

    Raises:
        InputError: the tensors do not cover the data exactly.
    """
    end = data
    for entry, length in sorted(entries, key=lambda pair: (pair[0].begin, pair[1])):
        if entry.begin != end:
            kind = "overlap" if entry.begin < end else "leave bytes between them"
            raise InputError(
                f"{path} has a malformed safetensors header (tensors {kind}); save it again"
            )
        end = entry.begin + length
    if end != size:
        raise InputError(
            f"{path} has {size - end:,} bytes after its last tensor, against the format; save it"
            " again"
        )


def _entry(path: Path, data: int, about: Mapping[str, Any]) -> tuple[_Entry, int]:
    begin, end = about["data_offsets"]
    shape = tuple(about["shape"])
    if (
        any(type(size) is not int or not 0 <= size < 1 << 63 for size in (begin, end, *shape))
        or begin > end
    ):
        raise ValueError(f"offsets {begin}, {end}, shape {shape}")
    if not isinstance(about["dtype"], str):
        raise ValueError(f"dtype {about['dtype']}")
    return _Entry(path, about["dtype"], shape, data + begin), end - begin


def _require_texts(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise ValueError("__metadata__ must map names to texts")
    "".join(metadata.values()).encode()  # half a surrogate pair is a ValueError


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
