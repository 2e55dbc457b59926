"""An output directory: whose it is, one process at a time, and nothing left of a killed one
(standard library only).

    .lock    {"train": ["config.toml", ...]}: the commands whose directory it is, and the names that
             each of them writes there; locked while one of them works

A killed process leaves its lock free and temporary files of its own names inside, which the next
start removes.
"""

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from eigenloop.system.errors import InputError

LOCK = ".lock"
STAGED = ".new"
"""A folder that is filled before anything in it takes its place."""
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}")
"""What `eigenloop.system.files.atomic_write` calls a file before it is whole."""

TRIES = 100
"""How often a directory is made again that another process removes as it fails."""
PATIENCE_SECONDS = 2.5
"""How long a lock is waited for: the workers of a killed process may have it for two seconds
more.
"""

_Identity = tuple[int, int]
_held: dict[Path, _Identity] = {}
"""Directories that this process holds, with device and inode of the lock."""


def nothing() -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class OutputDirectory:
    """A directory that a command writes to.

    Args:
        path: the directory; it need not exist.
        command: whose it is: "train".
        names: of the files that the command writes, when all is written.
        beside: commands that may write there too, other names.
        refuse: raises InputError for what else the command cannot use; asked before and after the
            lock is taken.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     with OutputDirectory(Path(name) / "run", "train", ("metrics.csv",)).held():
        ...         pass
        ...     OutputDirectory(Path(name) / "run", "lens").owners()
        {'train': ['metrics.csv']}
    """

    path: Path
    command: str
    names: tuple[str, ...] = ()
    beside: Collection[str] = ()
    refuse: Callable[[], None] = nothing

    def owners(self) -> dict[str, list[str]]:
        """Commands that have marked the directory -> the names that they write; none in an unmarked
        one.

        Raises:
            InputError: the mark is somebody else's file.
        """
        try:
            text = (self.path / LOCK).read_text(encoding="utf-8")
            if not text:  # an earlier version's, or that of a process killed at once
                return {}
            return {
                str(command): list(map(str, names)) for command, names in json.loads(text).items()
            }
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, AttributeError, TypeError):
            message = f"{self.path / LOCK} was not written by eigenloop; choose another --out"
            raise InputError(message) from None

    def is_ours(self) -> bool:
        """Whether the command has marked it."""
        return self.command in self.owners()

    def check(self) -> None:
        """Find out, before anything is computed, that the directory can be used; makes nothing.

        Raises:
            InputError: it is a file, cannot be written to, or is another command's; what `refuse`
                raises.
        """
        try:
            require_writable(self.path)
            for command, names in self.owners().items():
                if command == self.command:
                    continue
                if command not in self.beside:
                    raise InputError(
                        f"{self.path} was written by eigenloop {command}; choose another --out"
                    )
                taken = sorted({*names} & {*self.names})
                if taken:
                    raise InputError(
                        f"{self.path / taken[0]} is eigenloop {command}'s; choose another --out"
                    )
            self.refuse()
        except OSError as error:
            raise _unusable(self.path, error) from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make, lock and mark the directory while the block runs; what a killed process left in it
        is removed.

        A directory that was made here and stays empty is removed again after an error.

        Raises:
            InputError: as for `check`; another process holds it; it was removed while the block
                ran.
        """
        self.check()
        place = Path(os.path.abspath(self.path))
        made = not place.exists()
        try:
            lock = _locked(self.path)
        except OSError as error:
            raise _unusable(self.path, error) from None
        with os.fdopen(lock, "r+"):
            _held[place] = _identity(os.fstat(lock))
            try:
                self.check()  # again: what was there may have been another process's first moments
                self.mark()
                for leftover in self.leftovers():
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(
                        missing_ok=True
                    )
                yield
                require_there(place)
            except BaseException:
                if made:
                    remove_if_empty(place)
                raise
            finally:
                del _held[place]

    def mark(self) -> None:
        """Make the directory the command's too; it must be held."""
        self.claim((*self.owners().get(self.command, ()), *self.names))

    def claim(self, names: Collection[str]) -> None:
        """Say in the mark which names the command writes; the directory must be held."""
        content = json.dumps({**self.owners(), self.command: sorted(set(names))}).encode()
        try:
            with open(
                self.path / LOCK, "r+b", buffering=0
            ) as file:  # never replaced: the lock is on this very file
                file.write(content)
                file.truncate()
        except OSError as error:
            raise _unusable(self.path, error) from None

    def leftovers(self) -> list[Path]:
        """What a killed process left: files that were not yet whole, and a folder that was not
        yet in its place.
        """
        mine = {*self.names, *self.owners().get(self.command, ())}

        def left(name: str) -> bool:
            temporary = _TEMPORARY.fullmatch(name)
            return (name if temporary is None else temporary[1]) in (
                mine if temporary else mine & {STAGED}
            )

        return (
            [path for path in self.path.iterdir() if left(path.name)] if self.path.is_dir() else []
        )


def require_writable(directory: Path) -> None:
    """Find out that a directory can be written to, or made, without making it.

    Raises:
        InputError: it is a file, or it or the nearest directory above it cannot be written to.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; --out must be a directory")
    above = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not above.is_dir():
        raise InputError(f"cannot write to {directory}: {above} is a file; choose another --out")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {above}; choose another --out")


def make(directory: Path) -> None:
    """Make a directory where it is missing, but none that this process holds, or below one, and
    that was removed.

    Raises:
        InputError: it was removed while this process held it.
    """
    absolute = Path(os.path.abspath(directory))
    for place in (absolute, *absolute.parents):
        if place in _held:
            require_there(place)
    directory.mkdir(parents=True, exist_ok=True)


def require_there(place: Path) -> None:
    """Refuse to go on in a directory that this process holds and that is no longer there.

    Raises:
        InputError: it was removed, or replaced.
    """
    place = Path(os.path.abspath(place))
    try:
        there = _identity(os.stat(place / LOCK)) == _held[place]
    except OSError:
        there = False
    if not there:
        raise InputError(f"{place} was removed while this ran; start the same command again")


def remove_if_empty(place: Path) -> None:
    """Remove a directory that holds nothing but its mark."""
    with suppress(OSError):
        if [path.name for path in place.iterdir()] == [LOCK]:
            (place / LOCK).unlink()
            place.rmdir()


def _locked(directory: Path) -> int:
    """The file descriptor of the lock, taken; makes the directory.

    Raises:
        InputError: another process holds it.
    """
    for _ in range(TRIES):
        make(directory)
        try:
            lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # another process has just removed what it had made
        if not _taken(lock):
            os.close(lock)
            raise InputError(
                f"{directory} is in use by another process; wait for it or choose another --out"
            )
        with suppress(OSError):
            if _identity(os.stat(directory / LOCK)) == _identity(os.fstat(lock)):
                return lock
        os.close(lock)  # the lock of a directory that was removed in between
    raise InputError(
        f"{directory} is removed by another process again and again; choose another --out"
    )


def _taken(lock: int) -> bool:
    """Whether a file is now locked by us, or on a file system without locks."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        except OSError:
            return True
        else:
            return True


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _unusable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot write to {path}: {error.strerror or error}; choose another --out")
