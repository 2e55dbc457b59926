"""A page's values to HTML, and HTML to disk."""

import base64
import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eigenloop.report.cells import Shown, shown
from eigenloop.report.formulas import typeset, unicode
from eigenloop.report.svg import inline_svg
from eigenloop.report.values import Page, Table
from eigenloop.system.files import atomic_write


def render(page: Page) -> str:
    """The page as one HTML document that loads nothing; equal pages give equal text.

    Args:
        page: what to show.

    Returns:
        HTML, with styles, script and drawings inside it.

    Raises:
        ValueError: if a figure's SVG cannot be inlined safely; the message names the figure.

    Example:
        >>> "1 &lt; 2" in render(Page("1 < 2"))
        True
    """
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = _environment().get_template("page.html.j2")
    text = template.render(
        page=page,
        style=Markup(_asset("page.css")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        names=_Names(),
    )
    return text.encode(
        errors="backslashreplace"
    ).decode()  # names of files may hold bytes that are no text


def write(page: Page, path: str | os.PathLike[str]) -> Path:
    """Render a page into a file; a page already there is replaced in one step, or not at all.

    Args:
        page: what to show.
        path: the HTML file; its directory is made where it is missing.

    Returns:
        The path written.

    Raises:
        ValueError: as `render`; nothing is written then.
        InputError: the directory cannot be written to.
    """
    content = render(page).encode()
    atomic_write(Path(path), content)
    return Path(path)


class _Names:
    """Unique names for a page's drawings and tables; underscores keep them apart from section
    anchors.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def new(self, kind: str) -> str:
        self._seen[kind] += 1
        return f"{kind}_{self._seen[kind]}"

    def drawing(self, alt: str, source: str) -> Markup:
        """One drawing of a figure, a panel or a key, under a name of its own."""
        try:
            return inline_svg(source, prefix=self.new("svg"))
        except ValueError as error:
            raise ValueError(f"figure {alt!r}: {error}") from error


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("eigenloop.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        alignments=_alignments,
        LONG=LONG,
        SHORT=SHORT,
        kind=lambda item: type(item).__name__,
        missing_reasons=_missing_reasons,
        count=Counter,
        downloads=_downloads,
        natural_width=_natural_width,
        stacks=_stacks,
        filter_values=_filter_values,
        shown=shown,
        words=_words,
    )
    environment.filters.update(typeset=typeset, unicode=unicode)
    return environment


def _alignments(table: Table) -> list[str]:
    """One of "left" and "right" per column: numbers to the right, unless the column says
    otherwise.
    """
    result = []
    for index, column in enumerate(table.columns):
        kinds = {shown(row.cells[index], column.format).kind for row in table.body} - {"missing"}
        automatic = "right" if kinds == {"number"} else "left"
        result.append(automatic if column.align == "auto" else column.align)
    return result


SHORT, LONG = 12, 30
"""Letters of a cell that never breaks, and of one beyond which it keeps a width of its own."""
LETTER, PADDING, PHONE, LEAST = 7.5, 22, 356, 128
"""Pixels: of a letter, between two columns, of a phone's page, and the width that a long text
keeps there.
"""


def _stacks(table: Table) -> bool:
    """Whether the columns do not fit side by side on a phone, so that each row becomes a card
    there.
    """
    needed = 0.0
    for index, column in enumerate(table.columns):
        cells = [shown(row.cells[index], column.format) for row in table.body]
        widths = [_unbroken(Shown(column.name)), *map(_unbroken, cells)]
        needed += max(widths) + PADDING
    return len(table.columns) > 1 and needed > PHONE


def _unbroken(cell: Shown) -> float:
    """The width, in pixels, below which a cell is cut."""
    if len(cell.text) <= SHORT or cell.kind in ("number", "tag"):
        return LETTER * len(cell.text)
    return LEAST if len(cell.text) > LONG else LETTER * max(map(len, cell.text.split(" ")))


def _natural_width(drawing: str) -> float:
    """The natural width of an inlined drawing, in pixels."""
    found = re.search(r"--width:([\d.]+)px", drawing)
    return float(found[1]) if found else 0.0


def _missing_reasons(table: Table) -> list[str]:
    """Every reason given for an empty cell, once, in order: a touch screen shows no titles."""
    cells = (
        shown(cell, column.format)
        for row in table.body
        for cell, column in zip(row.cells, table.columns, strict=True)
    )
    return list(
        dict.fromkeys(cell.title for cell in cells if cell.kind == "missing" and cell.title)
    )


def _filter_values(table: Table) -> list[list[str]]:
    """What each filter's column shows in each row."""
    names = [column.name for column in table.columns]
    chosen = [names.index(name) for name in table.filters]
    return [
        [shown(row.cells[i], table.columns[i].format).text for row in table.body] for i in chosen
    ]


def _downloads(paths: Sequence[str | PurePath]) -> list[dict[str, str]]:
    """Files as links, named by kind (CSV, PNG) where that tells them apart, else by file name."""
    files = [
        PurePosixPath(path.as_posix() if isinstance(path, PurePath) else path) for path in paths
    ]
    labels = [file.suffix.removeprefix(".").upper() for file in files]
    return [
        {
            "url": quote(str(file)),
            "name": file.name,
            "label": label if label and labels.count(label) == 1 else file.name,
        }
        for file, label in zip(files, labels, strict=True)
    ]


def _words(command: str) -> list[tuple[str, str]]:
    """A command's words, each after the blanks before it, so that lines break between words
    only.
    """
    return re.findall(r"(\s*)(\S+)", command)


def _asset(name: str) -> str:
    return resources.files("eigenloop.report").joinpath(name).read_text(encoding="utf-8")
