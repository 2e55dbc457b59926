"""Everything that `eigenloop lens` finds out about a model, as one result: a page, tables and plain values."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eigenloop import report as pages
from eigenloop.errors import InputError
from eigenloop.lens.page import TITLE, spectra_page
from eigenloop.lens.spectra import RULES, Spectra, spectra
from eigenloop.runs import require_writable

PAGE = "report.html"


@dataclass(frozen=True, eq=False, kw_only=True)
class Survey:
    """What was found.

    Args:
        spectra: of the weights.
        seconds: how long it took.
    """

    spectra: Spectra
    seconds: float

    def notes(self) -> list[str]:
        """What a reader has to know beside the numbers, in sentences."""
        return self.spectra.notes()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.spectra.as_dict(), "seconds": self.seconds}

    def page(self, *, command: str) -> pages.Page:
        """The page.

        Args:
            command: what repeats it.
        """
        return spectra_page(self.spectra, command=command, seconds=self.seconds)

    def save(self, directory: Path, *, command: str) -> dict[str, str]:
        """Write report.html and the tables beside it; everything is computed before the first is written.

        Args:
            directory: where to; made where it is missing.
            command: what repeats it.

        Returns:
            Paths by name: report, spectra, eigenvalues.

        Raises:
            InputError: the directory cannot be written to, or holds a report.html of another kind.
        """
        check_directory(directory)
        html = self.page(command=command)
        tables = {"spectra": self.spectra.save, "eigenvalues": self.spectra.save_eigenvalues}
        written = {name: str(save(directory)) for name, save in tables.items()}
        return {"report": str(pages.write(html, Path(directory) / PAGE)), **written}


def check_directory(directory: Path) -> None:
    """Find out, before anything is measured, that results can be written; makes nothing.

    Raises:
        InputError: it is a file or cannot be written to, or its report.html is of another kind.
    """
    require_writable(directory)
    path = directory / PAGE
    try:
        ours = f"<title>{TITLE}" in path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours:
        raise InputError(f"{path} is not a page of the lens; choose another --out")


def survey(
    model: Any,
    *,
    rules: Sequence[str] = RULES,
    layers: str | Sequence[int] = "all",
    report: Callable[[str, int, int], None] | None = None,
) -> Survey:
    """Look at a model.

    Args:
        model: a directory or a hub name, or in Python a loaded model of transformers.
        rules: as for `spectra`.
        layers: as for `spectra`.
        report: called with the name of the work, what is done of it, and how much there is.

    Raises:
        InputError: the model cannot be read, or a layer or rule does not exist.
    """
    began = time.monotonic()

    def telling(name: str) -> Callable[[int, int], None]:
        return partial(report or (lambda name, done, total: None), name)

    found = spectra(model, rules=rules, layers=layers, vectors=False, report=telling("layers"))
    return Survey(spectra=found, seconds=time.monotonic() - began)
