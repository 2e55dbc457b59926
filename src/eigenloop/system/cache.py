"""The user's cache: where it is, and JAX's compiled programs in it (standard library only)."""

import hashlib
import os
import platform
import warnings
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""JAX reads it when it is first imported; a user who sets it keeps her own directory, or none
with an empty value.
"""
LARGEST = 256 * 2**20
"""Bytes of compiled programs that are kept; a training step with its metrics takes about 0.4 MB."""


def cache_directory() -> Path:
    """$XDG_CACHE_HOME/eigenloop, or ~/.cache/eigenloop; a place where nothing can be kept for a
    user without a home.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(os.path.expanduser("~"))
    above = (
        Path(base)
        if Path(base).is_absolute()
        else home / ".cache"
        if home.is_absolute()
        else Path(os.devnull)
    )
    return above / "eigenloop"


def keep_compiled_programs(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let JAX keep what it compiles on disk, for this process, its workers and later ones.

    A fresh process spends more time in compiling a training step than in a thousand of them. The
    directory is `compiled/MACHINE` in the user's cache, MACHINE a digest of the processor's
    instruction sets, since compiled programs may use all of them and a home directory may be shared
    by several machines; JAX itself tells its versions apart. It is bounded: the programs that were
    used longest ago are removed. Nothing is kept where the directory cannot be written. To be
    called before JAX is imported; does nothing where the user has made the choice.

    Args:
        environment: that JAX will read.
    """
    if VARIABLE in environment:
        return
    try:
        folder = cache_directory() / "compiled" / _machine()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            return
        bound(folder, LARGEST)
    except OSError:
        return
    environment[VARIABLE] = str(folder)
    # by default only programs that take a second to compile are kept: ours are many small ones
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    ignore_damaged_programs()


def ignore_damaged_programs() -> None:
    """An entry that a killed process left half-written is compiled again: no warning that nobody
    could act on.
    """
    warnings.filterwarnings(
        "ignore", r"Error (reading|writing) persistent compilation cache", UserWarning
    )


def bound(folder: Path, largest: int) -> None:
    """Remove the files that were read longest ago, until those that stay have at most `largest`
    bytes.

    Args:
        folder: whose files; its folders stay.
        largest: bytes.
    """
    with os.scandir(folder) as entries:
        files = [
            (entry.stat(), entry.path) for entry in entries if entry.is_file(follow_symlinks=False)
        ]
    size = sum(status.st_size for status, _ in files)
    # many disks note a time of access once a day only, which is enough for this
    for status, path in sorted(files, key=lambda file: max(file[0].st_atime, file[0].st_mtime)):
        if size <= largest:
            return
        with suppress(OSError):  # another process was faster
            os.unlink(path)
        size -= status.st_size


def _machine() -> str:
    """A digest of what the processor can do."""
    found = [platform.system(), platform.machine()]
    with suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        # the first processor's lines; a machine with a hundred of them has a long list
        found += [
            line
            for line in file.read(8192).splitlines()
            if line.startswith(("model name", "flags", "Features"))
        ]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]
