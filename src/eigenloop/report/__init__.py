"""Plain values to one self-contained HTML page: no network, no framework, opens from disk.

A `Page` holds `Section`s; a section holds items: a paragraph (`str`), `Note`, `Facts`, `Command`,
`Table`, `Figure` or `Gallery`. `render` gives the HTML, `write` puts it on disk in one step.

Example:
    >>> page = Page("A run", "What it shows.", (Section("Result", ("It converged.",)),))
    >>> render(page).startswith("<!doctype html>")
    True
"""

from eigenloop.report.cells import Cell, Link, Missing, Tag, Tone, Verbatim
from eigenloop.report.formulas import mathtext, typeset
from eigenloop.report.html import render, write
from eigenloop.report.origin import Origin
from eigenloop.report.svg import inline_svg
from eigenloop.report.values import (
    Column,
    Command,
    Facts,
    Figure,
    Gallery,
    Item,
    Key,
    Note,
    Page,
    Panel,
    Row,
    Section,
    Table,
)

__all__ = [
    "Cell",
    "Column",
    "Command",
    "Facts",
    "Figure",
    "Gallery",
    "Item",
    "Key",
    "Link",
    "Missing",
    "Note",
    "Origin",
    "Page",
    "Panel",
    "Row",
    "Section",
    "Table",
    "Tag",
    "Tone",
    "Verbatim",
    "inline_svg",
    "mathtext",
    "render",
    "typeset",
    "write",
]
