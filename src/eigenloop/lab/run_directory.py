"""A run is a directory: configuration, versions, one atomic checkpoint, and what is derived from it (NumPy, files).

    config.toml               configuration, seed, versions
    checkpoint.safetensors    the whole state at some step; the only file that a restart reads
    metrics.csv, weights.safetensors, snapshots.safetensors    written from the checkpoint, by stable names

Every file is replaced in one move, so a process killed at any moment leaves whole files only, and perhaps a hidden one
that the next start removes.
"""

import csv
import fcntl
import importlib.metadata
import io
import os
import platform
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from safetensors import SafetensorError
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from eigenloop.system.errors import InputError

LONGEST_SHOWN = 120
"""Characters of a value in a message."""


def atomic_write(path: Path, content: bytes) -> None:
    """Replace a file in one move: readers see the old one or the new one, never a part.

    Raises:
        InputError: the directory cannot be written to, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = temporary.open("xb")  # with the permissions that the user's umask gives any file
    except OSError as error:
        raise InputError(f"cannot write to {path.parent}: {error.strerror or error}; choose another --out") from None
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {path}: {error.strerror or error}") from None
        raise


def require_writable(directory: Path) -> None:
    """Find out that a directory can be written to, or made, without making it.

    Raises:
        InputError: it is a file, or it or the nearest directory above it cannot be written to.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; --out must be a directory")
    above = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not above.is_dir():
        raise InputError(f"{above} is a file; choose another --out")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {above}; choose another --out")


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors, atomically."""
    atomic_write(path, save_bytes({name: np.array(value, order="C") for name, value in arrays.items()}))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays from safetensors.

    Raises:
        InputError: the file is missing, truncated or no safetensors file.
    """
    try:
        return load_bytes(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give the directory of a run made by `eigenloop train`") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is truncated or no safetensors file ({reason}); delete it to start again") from None


def save_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a CSV file, atomically; None becomes an empty cell and floats keep every digit."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if value is None else repr(value) if isinstance(value, float) else value for value in row])
    atomic_write(path, buffer.getvalue().encode())


LAB = ("eigenloop", "jax", "jaxlib", "numpy")
"""Packages that decide the bits of a training run or a claim."""
LENS = ("eigenloop", "numpy", "scipy", "safetensors", "torch", "transformers", "tokenizers")
"""Packages that decide the bits of what is found in a pretrained model; the last three only where it runs."""


def versions(packages: Sequence[str] = LAB) -> dict[str, str]:
    """Versions that decide a run's bits: of the packages that are installed, of Python, and the machine's kind."""
    found = {}
    for name in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {**found, "python": platform.python_version(), "machine": platform.machine()}


def software(packages: Sequence[str] = LAB) -> str:
    """The versions in one line, for a page.

    Example:
        >>> software(("numpy",)).startswith("numpy ")
        True
    """
    return ", ".join(f"{name} {version}" for name, version in versions(packages).items() if name != "machine")


class RunDirectory:
    """The files of one run, held by one process at a time.

    Args:
        path: the directory, made on the first write.
        config: plain values (TOML types; None is left out).
        extendable: keys that may grow from one start to the next (the length of the run).
    """

    CONFIG, CHECKPOINT, METRICS = "config.toml", "checkpoint.safetensors", "metrics.csv"
    WEIGHTS, SNAPSHOTS = "weights.safetensors", "snapshots.safetensors"

    def __init__(self, path: Path, config: Mapping[str, Any], *, extendable: Sequence[str] = ()) -> None:
        """Remember; nothing is read or written yet."""
        self.path = Path(path)
        self.config = {key: value for key, value in config.items() if value is not None}
        self.extendable = tuple(extendable)

    @contextmanager
    def held(self) -> Iterator[dict[str, np.ndarray] | None]:
        """Hold the directory; gives the checkpoint to go on from, or None for a new run.

        Raises:
            InputError: another process holds it, it belongs to another configuration (names the key and both values),
                it is no run's directory, it cannot be written to, or its checkpoint is damaged.
        """
        try:
            self.require_same()
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / ".lock", "w")  # noqa: SIM115 - closed below, when the run ends
        except OSError as error:
            raise InputError(f"cannot write to {self.path}: {error.strerror or error}; choose another --out") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"{self.path} is in use by another process; wait for it or choose another --out"
                ) from None
            self.require_same()  # again: what was there may have been another process's first moments
            for leftover in self._leftovers():
                leftover.unlink(missing_ok=True)
            checkpoint = self.path / self.CHECKPOINT
            yield load_arrays(checkpoint) if checkpoint.exists() else None

    def write_config(self) -> None:
        """Write config.toml: the configuration, and the versions at work."""
        document = {"config": self.config, "versions": versions()}
        atomic_write(self.path / self.CONFIG, tomli_w.dumps(document).encode())

    def is_recorded(self) -> bool:
        """Whether config.toml holds this very configuration, its length included."""
        file = self.path / self.CONFIG
        return file.exists() and read_config(self.path) == tomllib.loads(tomli_w.dumps(self.config))

    def require_same(self) -> None:
        """Refuse a directory that is not this run's; reads only.

        Raises:
            InputError: it belongs to another configuration (names the key and both values), or is no run's directory.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; --out must be a directory")
        for key, (old, new) in self.differences().items():
            raise InputError(
                f"{self.path} belongs to another configuration: {key} is {_shown(old)} there, {_shown(new)} here; "
                "choose another --out"
            )

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Keys whose values differ between the directory's configuration and this one: (there, here), None if not set.

        Raises:
            InputError: a directory that holds other things, and no configuration.
        """
        if not (self.path / self.CONFIG).exists():
            mine = {".lock", *(file.name for file in self._leftovers())}
            foreign = sorted(p.name for p in self.path.iterdir() if p.name not in mine) if self.path.exists() else []
            if foreign:
                raise InputError(f"{self.path} holds other files ({foreign[0]}, ...); choose an empty --out")
            return {}
        old, new = read_config(self.path), tomllib.loads(tomli_w.dumps(self.config))
        return {
            key: (old.get(key), new.get(key))
            for key in sorted(old.keys() | new.keys())
            if key not in self.extendable and old.get(key) != new.get(key)
        }

    def _leftovers(self) -> list[Path]:
        """Temporary files of writes that were killed."""
        names = (self.CONFIG, self.CHECKPOINT, self.METRICS, self.WEIGHTS, self.SNAPSHOTS)
        pattern = re.compile(rf"\.({'|'.join(map(re.escape, names))})\.\w{{8}}")
        return [file for file in self.path.iterdir() if pattern.fullmatch(file.name)] if self.path.exists() else []


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of a run's directory.

    Raises:
        InputError: no config.toml, or one that cannot be read.
    """
    file = Path(path) / RunDirectory.CONFIG
    try:
        config = tomllib.loads(file.read_text(encoding="utf-8"))["config"]
        if not isinstance(config, dict):
            raise InputError(f"{file} is damaged (its config is no table); delete the directory to start again")
        return config
    except FileNotFoundError:
        raise InputError(f"{file} does not exist; give the directory of a run made by `eigenloop train`") from None
    except KeyError:
        raise InputError(f"{file} is damaged (it has no table config); delete the directory to start again") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error}); delete the directory to start again") from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from None


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}... ({len(text)} characters)"
