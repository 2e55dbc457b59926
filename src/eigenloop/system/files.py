"""Files that are replaced in one move: bytes, named arrays, tables."""

import csv
import io
import os
import secrets
from collections.abc import Mapping, Sequence
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from eigenloop.system.directories import make
from eigenloop.system.errors import InputError, reason


def atomic_write(path: Path, content: bytes) -> None:
    """Replace a file in one move: readers see the old one or the new one, never a part.

    Raises:
        InputError: the directory cannot be written to, or was removed while this process held it;
            the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        make(path.parent)
        file = temporary.open("xb")  # with the permissions that the user's umask gives any file
    except OSError as error:
        raise InputError(
            f"cannot write to {path.parent}: {error.strerror or error}; choose another --out"
        ) from None
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            room = (
                "; make room and start the same command again"
                if error.errno in (ENOSPC, EDQUOT)
                else ""
            )
            raise InputError(f"cannot write {path}: {error.strerror or error}{room}") from None
        raise


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors, atomically."""
    atomic_write(
        path, save_bytes({name: np.array(value, order="C") for name, value in arrays.items()})
    )


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays from safetensors.

    Raises:
        InputError: the file is missing, truncated or no safetensors file.
    """
    try:
        return load_bytes(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; give the directory of a run made by `eigenloop train`"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:
        raise InputError(
            f"{path} is truncated or no safetensors file ({reason(error)}); delete it to start"
            " again"
        ) from None


def save_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a CSV file, atomically; None becomes an empty cell and floats keep every digit."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(
            [
                "" if value is None else repr(value) if isinstance(value, float) else value
                for value in row
            ]
        )
    atomic_write(path, buffer.getvalue().encode(errors="backslashreplace"))
