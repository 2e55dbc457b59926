"""Findings kept in a file while others are still measured, so that an interrupted `verify` goes on
(files).

    .measured.jsonl   a header that says what they were measured with, then one finding in each line

Every line is whole or the last one: a process killed while it writes loses that finding only.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eigenloop.claims.ledger import Curve, Effort, Finding, Plot
from eigenloop.system.errors import InputError
from eigenloop.system.versions import versions

NAME = ".measured.jsonl"


class Kept:
    """The findings of one effort, by one state of the package's code, in a directory.

    Those of another effort, another version of anything, or other code are not taken over; the
    first new finding replaces them.

    Args:
        directory: where the file is, or will be; it must exist.
        effort: what claims are measured with.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     Kept(Path(name), Effort()).add("demo.half", Finding("holds", 2.0, 2.0), 0.1)
        ...     finding, seconds = Kept(Path(name), Effort()).found["demo.half"]
        >>> finding == Finding("holds", 2.0, 2.0), seconds
        (True, 0.1)
    """

    def __init__(self, directory: Path, effort: Effort) -> None:
        self.path = directory / NAME
        self._header = {
            "quick": effort.quick,
            "seed": effort.seed,
            "code": code_digest(),
            **versions(),
        }
        lines, self._whole = _lines(self.path)
        self._begun = bool(lines) and lines[0] == self._header
        self.found: dict[str, tuple[Finding, float]] = {}
        """Identifier -> finding and seconds."""
        for line in lines[1:] if self._begun else []:
            self.found[line["id"]] = _finding(line["finding"]), line["seconds"]

    def add(self, id: str, finding: Finding, seconds: float) -> None:
        """Keep one more, at once; `found` then holds what will be read back, arrays as lists.

        Raises:
            InputError: the file cannot be written.
        """
        line = json.dumps(
            {"id": id, "finding": asdict(finding), "seconds": seconds}, default=_listed
        )
        text = f"{line}\n" if self._begun else f"{json.dumps(self._header)}\n{line}\n"
        try:
            with self.path.open("r+b" if self._begun else "wb") as file:
                file.seek(self._whole if self._begun else 0)
                file.truncate()  # a line that a killed process, or a full disk, left half-written
                file.write(text.encode())
                file.flush()
                self._whole = file.tell()
                os.fsync(file.fileno())
        except OSError as error:
            if not self._begun:
                self.path.unlink(missing_ok=True)
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from None
        self._begun = True
        self.found[id] = _finding(json.loads(line)["finding"]), seconds

    def forget(self) -> None:
        """Nothing is left to go on with: all of it stands in the ledger."""
        self.path.unlink(missing_ok=True)
        self._begun, self.found = False, {}


def code_digest() -> str:
    """SHA-256 of the package's source files: findings of other code are not this code's."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a file, and how many bytes they are; none where it is not ours or not
    there.
    """
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        lines = [json.loads(line) for line in whole.decode().splitlines()]
    except (OSError, ValueError):
        return [], 0
    return (lines, len(whole)) if all(isinstance(line, dict) for line in lines) else ([], 0)


def _listed(value: Any) -> Any:
    """NumPy's arrays and numbers, and any other sequence, as Python's; no digit is lost."""
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _finding(fields: dict[str, Any]) -> Finding:
    plot = fields["plot"]
    if plot is not None:
        plot = Plot(**{**plot, "curves": [Curve(**curve) for curve in plot["curves"]]})
    return Finding(**{**fields, "plot": plot})
