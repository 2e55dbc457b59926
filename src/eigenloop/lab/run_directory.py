"""A run is a directory: configuration, versions, one atomic checkpoint, and what is derived from it
(NumPy, files).

    config.toml               configuration, seed, versions
    checkpoint.safetensors    the whole state at some step; the only file that a restart reads
    metrics.csv, weights.safetensors, snapshots.safetensors
        written from the checkpoint, by stable names

Every file is replaced in one move, so a process killed at any moment leaves whole files only, and
perhaps a hidden one that the next start removes.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from eigenloop.system.directories import LOCK, OutputDirectory
from eigenloop.system.errors import InputError
from eigenloop.system.files import atomic_write, load_arrays
from eigenloop.system.versions import versions

LONGEST_SHOWN = 120
"""Characters of a value in a message."""


class RunDirectory:
    """The files of one run, held by one process at a time.

    Args:
        path: the directory, made on the first write.
        config: plain values (TOML types; None is left out).
        extendable: keys that may grow from one start to the next (the length of the run).
    """

    CONFIG, CHECKPOINT, METRICS = "config.toml", "checkpoint.safetensors", "metrics.csv"
    WEIGHTS, SNAPSHOTS = "weights.safetensors", "snapshots.safetensors"

    def __init__(
        self, path: Path, config: Mapping[str, Any], *, extendable: Sequence[str] = ()
    ) -> None:
        """Remember; nothing is read or written yet."""
        self.path = Path(path)
        self.config = {key: value for key, value in config.items() if value is not None}
        self.extendable = tuple(extendable)
        names = (self.CONFIG, self.CHECKPOINT, self.METRICS, self.WEIGHTS, self.SNAPSHOTS)
        self._place = OutputDirectory(self.path, "train", names, refuse=self.require_same)

    @contextmanager
    def held(self) -> Iterator[dict[str, np.ndarray] | None]:
        """Hold the directory; gives the checkpoint to go on from, or None for a new run.

        Raises:
            InputError: another process holds it, it belongs to another configuration (names the key
                and both values), it is no run's directory, it cannot be written to, or its
                checkpoint is damaged.
        """
        with self._place.held():
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
            InputError: it belongs to another configuration (names the key and both values), or is
                no run's directory.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; --out must be a directory")
        for key, (old, new) in self.differences().items():
            raise InputError(
                f"{self.path} belongs to another configuration: {key} is {_shown(old)} there,"
                f" {_shown(new)} here; choose another --out"
            )

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Keys whose values differ between the directory's configuration and this one: (there,
        here), None if not set.

        Raises:
            InputError: a directory that holds other things, and no configuration.
        """
        if not (self.path / self.CONFIG).exists():
            mine = {LOCK, *(file.name for file in self._place.leftovers())}
            foreign = (
                sorted(p.name for p in self.path.iterdir() if p.name not in mine)
                if self.path.exists()
                else []
            )
            if foreign:
                raise InputError(
                    f"{self.path} holds other files ({foreign[0]}, ...); choose an empty --out"
                )
            return {}
        old, new = read_config(self.path), tomllib.loads(tomli_w.dumps(self.config))
        return {
            key: (old.get(key), new.get(key))
            for key in sorted(old.keys() | new.keys())
            if key not in self.extendable and old.get(key) != new.get(key)
        }


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of a run's directory.

    Raises:
        InputError: no config.toml, or one that cannot be read.
    """
    file = Path(path) / RunDirectory.CONFIG
    try:
        config = tomllib.loads(file.read_text(encoding="utf-8"))["config"]
        if not isinstance(config, dict):
            raise InputError(
                f"{file} is damaged (its config is no table); delete the directory to start again"
            )
        return config
    except FileNotFoundError:
        raise InputError(
            f"{file} does not exist; give the directory of a run made by `eigenloop train`"
        ) from None
    except KeyError:
        raise InputError(
            f"{file} is damaged (it has no table config); delete the directory to start again"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{file} is damaged ({error}); delete the directory to start again"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from None


def _shown(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return (
        text
        if len(text) <= LONGEST_SHOWN
        else f"{text[:LONGEST_SHOWN]}... ({len(text)} characters)"
    )
