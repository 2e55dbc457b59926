"""The list of mutants, tools/mutants.toml: what one says, and whether it still fits the tree."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

MOST_CLAIMS = 3
"""That one mutant may name, and that may stand on one text of one file."""


class ListError(Exception):
    """The list of mutants cannot be used as it stands."""


@dataclass(frozen=True)
class Mutant:
    """One replacement, and the tests or the claims that must notice it.

    Attributes:
        name: unique, for ``--only`` and the table.
        file: the file to break, relative to the root of the tree.
        old: the text to replace; it occurs in the file exactly once.
        new: what to put in its place.
        why: what is broken, in words.
        tests: pytest node ids or paths, relative to the root; one of them must fail.
        claims: identifiers, in place of tests; every one of them must have another verdict.
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()

    def mutated(self, root: Path) -> str:
        """Text of the file under ``root`` with the replacement made.

        Raises:
            ListError: the file is missing, or ``old`` does not occur in it exactly once.
        """
        path = root / self.file
        if not path.is_file():
            raise ListError(f"there is no file {self.file}")
        text = path.read_text(encoding="utf-8")
        count = text.count(self.old)
        if count != 1:
            raise ListError(
                f"the old text occurs {count} times in {self.file}; it must occur exactly once"
            )
        return text.replace(self.old, self.new)


def read_mutants(path: Path) -> list[Mutant]:
    """Mutants of a TOML file with an array of tables ``[[mutant]]``.

    Raises:
        ListError: the file is no such list; the message names the entry and the key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ListError(f"cannot read {path}: {error}") from error
    entries = document.get("mutant")
    if document.keys() != {"mutant"} or not isinstance(entries, list) or not entries:
        raise ListError(f"{path} must hold [[mutant]] tables and nothing else")
    mutants = [
        _read(entry, f"mutant {number} ({entry.get('name', 'without a name')})")
        for number, entry in enumerate(entries, start=1)
    ]
    names = [mutant.name for mutant in mutants]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ListError(f"names used twice: {', '.join(repeated)}")
    return mutants


def _read(entry: dict[str, Any], where: str) -> Mutant:
    """One table of the list.

    Raises:
        ListError: as for `read_mutants`.
    """
    lists = [name for name in ("tests", "claims") if name in entry]
    if len(lists) != 1:
        raise ListError(f"{where}: it must name either tests or claims")
    what, keys = lists[0], {field.name for field in fields(Mutant)} - {"tests", "claims"}
    named = entry.pop(what)
    if entry.keys() != keys:
        wrong = ", ".join(sorted(entry.keys() ^ keys))
        raise ListError(f"{where}: missing or unknown keys: {wrong}")
    if not all(isinstance(value, str) for value in entry.values()):
        raise ListError(f"{where}: every key but {what} is a string")
    if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
        raise ListError(f"{where}: {what} must be a list with at least one name")
    if what == "claims" and len(named) > MOST_CLAIMS:
        raise ListError(
            f"{where}: {len(named)} claims are named, but at most {MOST_CLAIMS} may stand on one"
            " mutant"
        )
    if not entry["old"] or entry["old"] == entry["new"]:
        raise ListError(f"{where}: old and new must differ, and old must not be empty")
    return Mutant(**{what: tuple(named)}, **entry)


def stale(mutant: Mutant, root: Path) -> str | None:
    """Why a mutant no longer fits the tree, or None when it does."""
    try:
        mutant.mutated(root)
    except ListError as error:
        return str(error)
    missing = [test for test in mutant.tests if not (root / test.partition("::")[0]).exists()]
    return f"no such test file: {', '.join(missing)}" if missing else None
