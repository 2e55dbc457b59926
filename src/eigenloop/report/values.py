"""The values a page is made of: small frozen dataclasses, checked when they are made."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from numbers import Real
from pathlib import PurePath
from typing import Any, Literal, TypeAlias

from eigenloop.report.cells import SCHEME, Cell, Link, Missing, Tag, Tone, Verbatim
from eigenloop.report.origin import Origin

Align: TypeAlias = Literal["auto", "left", "right"]

_ANCHOR = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Column:
    """A table column.

    Args:
        name: the heading.
        format: format specification for the floats in it.
        align: "auto" puts a column of numbers to the right and everything else to the left.
    """

    name: str
    _: KW_ONLY
    format: str = ".4g"
    align: Align = "auto"


@dataclass(frozen=True)
class Row:
    """A table row that can open.

    Args:
        cells: one value per column.
        details: items shown when the row is opened, the row's evidence.

    Raises:
        TypeError: if a cell or a detail is not of a kind a page can show.
    """

    cells: Sequence[Cell]
    details: "Sequence[Item]" = ()

    def __post_init__(self) -> None:
        _freeze(self, "cells", "details")
        for cell in self.cells:
            _check_cell(cell)
        _check_items(self.details)


@dataclass(frozen=True)
class Note:
    """A paragraph set apart, such as a caveat or a result not reached.

    Args:
        text: the paragraph.
        tone: "neutral", "good", "warn" or "bad".
    """

    text: str
    tone: Tone = "neutral"


@dataclass(frozen=True)
class Facts:
    """Names with values: settings, versions, timings.

    Args:
        rows: pairs (name, value), shown in this order.
    """

    rows: Sequence[tuple[str, Cell]]

    def __post_init__(self) -> None:
        _freeze(self, "rows")
        for _, value in self.rows:
            _check_cell(value)


@dataclass(frozen=True)
class Command:
    """A shell command with a button that copies it.

    Args:
        text: the command, exactly as it is typed.
        label: what it does.
    """

    text: str
    label: str = ""


@dataclass(frozen=True)
class Table:
    """A table; on a phone each row is a card, a line for each column, where the columns do not fit
    side by side.

    On a wide page it scrolls inside its own box where it is wider than the page.

    Args:
        header: column names, or `Column` where a format or an alignment is wanted.
        rows: sequences of cells, or `Row` where a row opens to its evidence.
        caption: one sentence above the table.
        filters: names of the columns whose values become filter buttons; a row shows where it
            passes all of them, and without JavaScript always.
        details_label: the word a row opens with.
        downloads: relative paths of the same data as files.

    Raises:
        ValueError: if a row has the wrong length, or a filter names no column.

    Example:
        >>> Table(
        ...     ("claim", "verdict"), (("Thm 1", Tag("holds", "good")),), filters=["verdict"]
        ... ).filters
        ('verdict',)
    """

    header: Sequence[str | Column]
    rows: Sequence[Sequence[Cell] | Row]
    _: KW_ONLY
    caption: str = ""
    filters: Sequence[str] = ()
    details_label: str = "Evidence"
    downloads: Sequence[str | PurePath] = ()

    def __post_init__(self) -> None:
        _set(
            self,
            "header",
            tuple(Column(column) if isinstance(column, str) else column for column in self.header),
        )
        _set(self, "rows", tuple(row if isinstance(row, Row) else Row(row) for row in self.rows))
        _freeze(self, "downloads")
        for number, row in enumerate(self.body, start=1):
            if len(row.cells) != len(self.header):
                raise ValueError(
                    f"row {number} has {len(row.cells)} cells, but the header has"
                    f" {len(self.header)}"
                )
        _freeze(self, "filters")
        names = [column.name for column in self.columns]
        for name in self.filters:
            if name not in names:
                raise ValueError(f"filter {name!r} names no column; the columns are {names}")
        _check_downloads(self.downloads)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The header, every entry as a `Column`."""
        return tuple(column for column in self.header if isinstance(column, Column))

    @property
    def body(self) -> tuple[Row, ...]:
        """The rows, every entry as a `Row`."""
        return tuple(row for row in self.rows if isinstance(row, Row))


@dataclass(frozen=True)
class Key:
    """One entry of the legend that the panels of a figure share.

    Args:
        text: what it stands for.
        svg: a small drawing of the line, marker or shade; "currentColor" is the ink of the page.
        svg_dark: the same for a dark page, where it differs.
    """

    text: str
    svg: str
    svg_dark: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption, the paper's statement beside this run's, and its files.

    It is one drawing, or rows of panels that stand side by side where there is room and below one
    another where there is not. Where there is a dark drawing too, save both with a transparent
    background: the page's own shows through.

    Args:
        svg: the drawing as SVG text; checked and made safe to inline when the page is rendered.
        alt: what a reader who cannot see it needs to know.
        caption: one or two sentences.
        svg_dark: the same drawing for a dark page; without it the drawing stands on a light card.
        panels: in place of `svg`, rows of drawings.
        key: the legend of the panels.
        paper_says: one sentence, what the paper states.
        run_shows: one sentence with numbers, what this run measured.
        details: further statements, folded away under it.
        downloads: relative paths of the figure's files (CSV, PNG, PDF).
    """

    svg: str
    alt: str
    caption: str = ""
    _: KW_ONLY
    svg_dark: str | None = None
    panels: "Sequence[Sequence[Panel]]" = ()
    key: Sequence[Key] = ()
    paper_says: str = ""
    run_shows: str = ""
    details: Sequence[str] = ()
    downloads: Sequence[str | PurePath] = ()

    def __post_init__(self) -> None:
        _freeze(self, "downloads", "details", "key")
        _set(self, "panels", tuple(tuple(row) for row in self.panels))
        _check_downloads(self.downloads)


@dataclass(frozen=True)
class Panel:
    """One small drawing of a gallery, with words that a screen reader reads and a search finds.

    Args:
        title: what it shows, in a word or two.
        svg: the drawing as SVG text, with a transparent ground.
        alt: what a reader who cannot see it needs to know.
        svg_dark: the same for a dark page.
        mark: a word or two beside the title.
        note: one short line under it.
    """

    title: str
    svg: str
    alt: str
    _: KW_ONLY
    svg_dark: str
    mark: str = ""
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """Small drawings side by side, as many in a row as fit.

    Args:
        panels: the drawings, in reading order.
        caption: one or two sentences.
        downloads: relative paths of what is drawn, as files.
    """

    panels: Sequence[Panel]
    caption: str = ""
    _: KW_ONLY
    downloads: Sequence[str | PurePath] = ()

    def __post_init__(self) -> None:
        _freeze(self, "panels", "downloads")
        _check_downloads(self.downloads)


Item: TypeAlias = str | Note | Facts | Command | Table | Figure | Gallery


@dataclass(frozen=True)
class Section:
    """A titled part of the page, listed in its contents.

    Args:
        title: the heading.
        body: the items under it, in order; a `str` is a paragraph.
        anchor: the id links point to; made from the title if empty.

    Raises:
        ValueError: if the anchor is not of lower-case letters, digits and hyphens, letter first, or
            none can be made from the title.

    Example:
        >>> Section("Figure 3: phases", ()).anchor
        'figure-3-phases'
    """

    title: str
    body: Sequence[Item] = ()
    anchor: str = ""

    def __post_init__(self) -> None:
        _freeze(self, "body")
        _check_items(self.body)
        if not self.anchor:
            plain = (
                unicodedata.normalize("NFKD", self.title).encode("ascii", "ignore").decode().lower()
            )
            _set(self, "anchor", re.sub(r"[^a-z0-9]+", "-", plain).strip("-"))
        if not _ANCHOR.fullmatch(self.anchor):
            raise ValueError(
                f"section {self.title!r} has anchor {self.anchor!r}; pass anchor= with a-z, 0-9 and"
                " -, letter first"
            )


@dataclass(frozen=True)
class Page:
    """One report.

    Args:
        title: the page's title.
        lead: one paragraph: what was asked and what came out.
        sections: the parts.
        facts: pairs (name, value): what was run, with which seed.
        command: the exact shell command that repeats the run and writes this page again.
        origin: which versions made it, on what, when and for how long; shown at the foot, with the
            command.
        links: sources, shown in the footer with their addresses.

    Raises:
        ValueError: if two sections share an anchor.
    """

    title: str
    lead: str = ""
    sections: Sequence[Section] = ()
    _: KW_ONLY
    facts: Sequence[tuple[str, Cell]] = ()
    command: str = ""
    origin: Origin | None = None
    links: Sequence[Link] = field(default=())

    def __post_init__(self) -> None:
        _freeze(self, "sections", "links")
        _set(self, "facts", Facts(self.facts).rows)
        anchors = [section.anchor for section in self.sections]
        for anchor in anchors:
            if anchors.count(anchor) > 1:
                raise ValueError(
                    f"two sections have the anchor {anchor!r}; give one of them another anchor="
                )


def _set(value: object, name: str, content: Any) -> None:
    object.__setattr__(value, name, content)


def _freeze(value: object, *names: str) -> None:
    """Turn the named sequences into tuples, so that a value cannot change after its checks."""
    for name in names:
        content = getattr(value, name)
        if isinstance(content, str):
            raise TypeError(
                f"{type(value).__name__}.{name} is a single str; pass a sequence, such as"
                f" ({content!r},)"
            )
        _set(value, name, tuple(content))


def _check_cell(cell: object) -> None:
    if not (cell is None or isinstance(cell, str | Real | Missing | Link | Tag | Verbatim)):
        raise TypeError(
            f"a cell is of type {type(cell).__name__}; convert it with float(...) or str(...)"
        )


def _check_items(items: Sequence[object]) -> None:
    for item in items:
        if not isinstance(item, str | Note | Facts | Command | Table | Figure | Gallery):
            raise TypeError(
                f"an item is of type {type(item).__name__}; use str, Note, Facts, Command, Table,"
                " Figure or Gallery"
            )


def _check_downloads(paths: Sequence[str | PurePath]) -> None:
    for path in map(str, paths):
        if not path or path.startswith("/") or "\\" in path or SCHEME.match(path):
            raise ValueError(f"download {path!r} is not a relative path with forward slashes")
