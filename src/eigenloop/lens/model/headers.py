"""The header of a safetensors file: names, kinds, shapes and places, refused where impossible."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eigenloop.lens.model.sources import refuse_pointer
from eigenloop.system.errors import InputError

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8,
    "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of every kind of number of the format."""

LONGEST = 100_000_000
"""Bytes of a header: the format allows no more."""
OLD_NAMES = {"gamma": "weight", "beta": "bias"}
"""What the first checkpoints of BERT call the gain and the bias of a LayerNorm."""


@dataclass(frozen=True)
class Entry:
    """A tensor in a file: what its numbers are, its shape, and where its bytes begin and end."""

    path: Path
    kind: str
    shape: tuple[int, ...]
    begin: int


def today(name: str) -> str:
    """The name of a tensor as it is written today (`OLD_NAMES`)."""
    stem, _, last = name.rpartition(".")
    return f"{stem}.{OLD_NAMES[last]}" if last in OLD_NAMES else name


def header(path: Path) -> dict[str, Entry]:
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
        pairs = [(today(name), _entry(path, 8 + length, about)) for name, about in header.items()]
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
    path: Path, entries: Sequence[tuple[Entry, int]], data: int, size: int
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


def _entry(path: Path, data: int, about: Mapping[str, Any]) -> tuple[Entry, int]:
    begin, end = about["data_offsets"]
    shape = tuple(about["shape"])
    if (
        any(type(size) is not int or not 0 <= size < 1 << 63 for size in (begin, end, *shape))
        or begin > end
    ):
        raise ValueError(f"offsets {begin}, {end}, shape {shape}")
    if not isinstance(about["dtype"], str):
        raise ValueError(f"dtype {about['dtype']}")
    return Entry(path, about["dtype"], shape, data + begin), end - begin


def _require_texts(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise ValueError("__metadata__ must map names to texts")
    "".join(metadata.values()).encode()  # half a surrogate pair is a ValueError


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
