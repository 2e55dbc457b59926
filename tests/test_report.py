"""The report page: what it escapes, refuses, names and loads."""

import base64
import hashlib
import html
import io
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from eigenloop.report import (
    Column,
    Command,
    Facts,
    Figure,
    Key,
    Link,
    Missing,
    Note,
    Origin,
    Page,
    Panel,
    Row,
    Section,
    Table,
    Tag,
    Verbatim,
    inline_svg,
    render,
    write,
)
from eigenloop.system.errors import InputError

HOSTILE = "<script>alert(1)</script>\"'&"
SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{}</svg>'
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Document(HTMLParser):
    """All elements of a page with their attributes and text; complains when tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and data.strip():
            self.texts.append((self._open[-1], data.strip()))

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]

    def text(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def page_with(*items, **page) -> Page:
    return Page("A page", "Its lead.", (Section("Only section", items),), **page)


def matplotlib_svg() -> str:
    """A drawing with every kind of internal reference: markers, glyphs, a clip path and a hatch."""
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot([1, 2], [1, 3], "o-", label="a line")
    axes.bar([1], [2], hatch="/")
    axes.imshow([[0, 1], [1, 0]], extent=(0, 1, 0, 1))
    axes.legend()
    stream = io.StringIO()
    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": "the same for both"}):
        figure.savefig(stream, format="svg")
    plt.close(figure)
    return stream.getvalue()


@pytest.fixture(scope="module")
def everything() -> str:
    """A page that uses every kind of item."""
    svg = matplotlib_svg()
    figure = Figure(
        svg, "A line", "Caption.", svg_dark=svg, paper_says="It rises.", run_shows="It rose by 2."
    )
    ledger = Table(
        ("claim", Column("value", format=".3f"), "verdict"),
        (
            Row(("one", 0.5, Tag("holds", "good")), ("Because.", figure, Facts((("n", 3),)))),
            Row(
                ("two", 1.5, Tag("fails", "bad")),
                (Note("Look here.", "bad"), Table(("x",), ((1,),))),
            ),
            ("three", Missing("not run"), Tag("not run")),
        ),
        caption="Claims",
        filters=["verdict"],
        downloads=("claims.json",),
    )
    page = Page(
        "Everything",
        "One of each.",
        (
            Section("Drawings", (figure, Figure(svg, "The same line"))),
            Section("Ledger", (ledger, Command("ls"))),
        ),
        facts=(("seed", 0), ("commit", Missing("not a git checkout"))),
        command="eigenloop figures",
        links=(Link("The paper", "https://arxiv.org/abs/2606.00605"),),
    )
    return render(page)


def test_text_from_the_user_is_escaped_wherever_it_appears():
    table = Table(
        (HOSTILE,),
        (Row((HOSTILE,), (HOSTILE,)), (Missing(HOSTILE),)),
        caption=HOSTILE,
        filters=[HOSTILE],
    )
    figure = Figure(SQUARE.format(""), HOSTILE, HOSTILE, paper_says=HOSTILE, run_shows=HOSTILE)
    items = (
        HOSTILE,
        Note(HOSTILE),
        Facts(((HOSTILE, HOSTILE),)),
        Command(HOSTILE, HOSTILE),
        table,
        figure,
    )
    page = Page(
        HOSTILE,
        HOSTILE,
        (Section(HOSTILE, items), Section("Other")),
        facts=((HOSTILE, Tag(HOSTILE)),),
        command=HOSTILE,
        links=(Link(HOSTILE, "https://example.org/?" + HOSTILE),),
    )
    text = render(page)
    assert len(Document(text).all("script")) == 1
    assert HOSTILE not in text
    assert "alert(1)" in text


def test_ids_are_unique_and_every_reference_stays_in_its_drawing(everything):
    document = Document(everything)
    ids = [found["id"] for _, found in document.elements if "id" in found]
    assert [name for name, times in Counter(ids).items() if times > 1] == []
    targets = re.findall(r'(?:href="|url\()#([^")]+)', everything)
    assert len(targets) > 20
    assert set(targets) <= set(ids)
    for drawing in re.findall(r"<svg.*?</svg>", everything, re.DOTALL):
        own = re.findall(r' id="([^"]+)"', drawing)
        used = re.findall(r'(?:href="|url\()#([^")]+)', drawing)
        assert used
        assert set(used) <= set(own)


def test_styles_of_a_drawing_reach_only_that_drawing():
    style = "<style>/* note */ * {fill: red} .a, #b > path {stroke: url(#c)}</style>"
    svg = html.unescape(
        str(inline_svg(SQUARE.format(style + '<path id="b" class="a d"/>'), prefix="p"))
    )
    assert "*:where(#p, #p *) {fill: red}" in svg
    assert ".p_a:where(#p, #p *), #p_b > path:where(#p, #p *) {stroke: url(#p_c)}" in svg
    assert 'id="p_b" class="p_a p_d"' in svg


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("<script>alert(1)</script>", "<script>"),
        ("<foreignObject><p/></foreignObject>", "<foreignObject>"),
        ('<iframe xmlns="http://www.w3.org/1999/xhtml"/>', "iframe>"),
        ('<a href="#x"/>', "<a>"),
        ('<set attributeName="href" to="javascript:alert(1)"/>', "<set>"),
        ('<path onload="alert(1)"/>', "event handler, onload"),
        ('<path ONCLICK="alert(1)"/>', "event handler, ONCLICK"),
        ('<use href="javascript:alert(1)"/>', "javascript:alert"),
        ('<use href="http://example.org/a.svg#b"/>', "http://example.org"),
        ('<image href="https://example.org/a.png"/>', "https://example.org"),
        (
            '<image xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="//example.org/a.png"/>',
            "//example.org",
        ),
        ('<image href="data:image/svg+xml;base64,AAAA"/>', "data:image/svg"),
        ('<path style="fill: url(http://example.org/a)"/>', "url("),
        ('<path fill="url( &quot;//example.org/a&quot; )"/>', "url("),
        (r'<path style="fill: u\72l(http://example.org/a)"/>', "only url(#id)"),
        ('<path style="fill: url(#a) url(http://example.org/a"/>', "url("),
        ("<style>@import 'http://example.org/a.css';</style>", "not a plain rule"),
        ("<style>@media print { path { fill: red } }</style>", "not a plain rule"),
        ("<style>path { fill: url(http://example.org/a) }</style>", "url("),
        ("<style>@font-face { src: url(http://example.org/a) }</style>", "style selector"),
        ("<style>a:hover { fill: red }</style>", "style selector"),
        ("<style><path/></style>", "elements in it"),
        ("<g>" * 200 + "</g>" * 200, "nested"),
    ],
)
def test_a_hostile_drawing_is_refused(content, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)) as error:
        inline_svg(SQUARE.format(content), prefix="p")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("not a drawing", "not well-formed"),
        ("<html/>", "instead of <svg>"),
        ("<svg/>", "neither a viewBox"),
        ('<svg viewBox="0 0 0 9"/>', "viewBox"),
        ('<svg viewBox="0 0 nine 9"/>', "viewBox"),
        ('<!DOCTYPE svg [<!ENTITY a "b">]><svg viewBox="0 0 9 9">&a;</svg>', "entity"),
    ],
)
def test_what_is_no_drawing_is_refused_with_the_figure_named(text, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        render(page_with(Figure(text, "The third curve")))
    assert str(error.value).startswith("figure 'The third curve': SVG")


def test_a_drawing_keeps_its_shape_and_loses_its_fixed_size():
    svg = inline_svg(
        '<svg width="72pt" height="36pt" style="position: fixed; color: red"/>', prefix="p"
    )
    (root,) = Document(svg).all("svg")
    assert root == {"viewbox": "0 0 96 48", "id": "p", "style": "color: red;--width:96px"}


def test_what_only_describes_is_dropped_and_an_inlined_picture_stays():
    picture = '<image href="data:image/png;base64,iVBORw0KGgo="/>'
    svg = inline_svg(
        SQUARE.format(f"<title>t</title><metadata><script/></metadata>{picture}"), prefix="p"
    )
    assert [tag for tag, _ in Document(svg).elements] == ["svg", "image"]


def test_a_drawing_for_the_dark_is_shown_only_there():
    pair = render(page_with(Figure(SQUARE.format("<g/>"), "a", svg_dark=SQUARE.format("<path/>"))))
    alone = render(page_with(Figure(SQUARE.format("<g/>"), "a")))
    assert len(Document(pair).all("svg")) == 2
    assert 'class="when-dark"' in pair
    assert "always-light" not in pair.partition("</style>")[2]
    assert "always-light" in alone.partition("</style>")[2]


def test_the_page_loads_nothing(everything):
    document = Document(everything)
    loading = (
        "src",
        "srcset",
        "data",
        "poster",
        "background",
        "action",
        "formaction",
        "ping",
        "manifest",
    )
    for tag, found in document.elements:
        assert not set(loading) & set(found), tag
        address = found.get("href", found.get("xlink:href", "#"))
        # The links a reader may click; every other reference points into the page or carries its
        # own bytes.
        assert tag == "a" or address.startswith(("#", "data:")), (tag, address)
    styles = " ".join(
        document.text("style") + [found.get("style", "") for _, found in document.elements]
    )
    assert "@import" not in styles
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", everything))


def test_the_content_security_policy_admits_this_script_and_no_network(everything):
    (policy,) = Document(everything).all("meta", **{"http-equiv": "Content-Security-Policy"})
    (script,) = re.findall(r"<script>(.*?)</script>", everything, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert "http" not in policy["content"]


def test_equal_pages_give_equal_text():
    figure = Figure(SQUARE.format('<path id="a"/>'), "a")
    assert render(page_with(figure, figure)) == render(page_with(figure, figure))


def test_a_missing_value_is_a_dash_with_its_reason():
    rows = ((None, Missing("needs eigenloop[lens]")), (float("nan"), 1.0))
    document = Document(
        render(page_with(Table(("a", "b"), rows), Facts((("commit", Missing("no git")),))))
    )
    assert document.text("abbr") == ["—"] * 4
    titles = [found.get("title") for found in document.all("abbr")]
    assert titles == [None, "needs eigenloop[lens]", "not a number", "no git"]
    assert document.text("li") == ["needs eigenloop[lens]", "not a number"]
    assert "no git" in document.text("span")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-3, "−3"),
        (np.int64(7), "7"),
        (True, "yes"),
        (0.123456789, "0.1235"),
        (np.float32(0.5), "0.5"),
        (-1.25e-7, "−1.25 × 10⁻⁷"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
    ],
)
def test_numbers_are_typeset(value, text):
    document = Document(render(page_with(Table(("a",), ((value,),)))))
    assert text in document.text("td") + document.text("span")


def test_a_rounded_number_keeps_its_digits_in_the_title_and_numbers_stand_right():
    table = Table(
        ("word", "number", Column("left", align="left")),
        (("a", 1 / 3, 1), ("b", None, 2)),
        caption="c",
    )
    document = Document(render(page_with(table)))
    assert document.all("span", title="0.3333333333333333")
    assert [found["class"].split()[0] for found in document.all("th")] == ["left", "right", "left"]


def test_words_of_others_are_shown_letter_by_letter_and_ours_are_typeset():
    page = page_with(
        "t^2",
        Table(("x_1", "of others"), (("lambda_1", Verbatim("lambda_1")),)),
        Facts((("a", "c_2"),)),
    )
    text = render(page)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", text)
    assert cells == ["λ<sub>1</sub>", "lambda_1"]
    assert "<p>t<sup>2</sup></p>" in text
    assert "<dd>c<sub>2</sub></dd>" in text


def test_a_formula_in_an_attribute_is_of_characters_alone():
    text = render(page_with(Figure(SQUARE.format(""), "t^2", "t^2")))
    assert Document(text).all("div", **{"aria-label": "t²"})
    assert "<figcaption>t<sup>2</sup></figcaption>" in text


def test_the_foot_names_command_versions_machine_and_time():
    origin = Origin("eigenloop 1.0", "Linux x86_64, 2 of 4 cores", 61.4, "2026-01-31 12:00 UTC")
    page = page_with("words", command="eigenloop lens 'my model'", origin=origin)
    (foot,) = re.findall(r"<footer>.*?</footer>", render(page), re.DOTALL)
    document = Document(foot)
    (code,) = re.findall(r"<code>(.*?)</code>", foot)
    assert html.unescape(re.sub(r"</?span>", "", code)) == "eigenloop lens 'my model'"
    assert document.text("dd") == [
        "eigenloop 1.0",
        "Linux x86_64, 2 of 4 cores",
        "61 s, finished 2026-01-31 12:00 UTC",
    ]
    here = Origin.here(0.25, ("numpy",))
    assert here.versions.startswith(f"numpy {np.__version__}, python")
    assert re.fullmatch(r"0\.2 s, finished \d{4}-\d\d-\d\d \d\d:\d\d UTC", here.took)


def test_panels_stand_in_their_rows_with_their_widths_and_one_key():
    panel = [
        Panel(f"W_{i}", f'<svg width="{90 + i}" height="9"/>', "w", svg_dark=SQUARE.format(""))
        for i in range(3)
    ]
    figure = Figure("", "all", panels=[panel[:2], panel[2:]], key=[Key("t^2", SQUARE.format(""))])
    text = render(page_with(figure))
    rows = text.split('<div class="row">')[1:]
    assert [re.findall(r"--natural:(\d+)", row) for row in rows] == [["90", "91"], ["92"]]
    assert [re.findall(r"<p>(.*?)</p>", row) for row in rows] == [
        ["W<sub>0</sub>", "W<sub>1</sub>"],
        ["W<sub>2</sub>"],
    ]
    assert text.count('class="key"') == 1
    assert "<span>t<sup>2</sup></span>" in text


@pytest.mark.parametrize(
    ("header", "row", "cards"),
    [
        (("number", "value"), ("exponent", 0.25), False),
        (("layer", "kind", "gap"), (3, "positive", 0.5), False),
        (
            ("claim", "here", "measured", "expected"),
            ("a statement of some length, which wraps", "held", 0.25, 0.25),
            True,
        ),
        ([f"layer {i}" for i in range(8)], [1.0] * 8, True),
        (("one column",), ("a statement of some length, which wraps",), False),
    ],
)
def test_rows_become_cards_where_columns_do_not_fit_a_phone(header, row, cards):
    text = render(page_with(Table(header, [row] * 4)))
    assert ('class="stacks"' in text) == cards
    assert re.findall(r'<span class="name">(.*?)</span>', text) == (
        4 * list(header) if cards else []
    )


def test_a_filtered_table_offers_each_value_once_and_shows_all_rows_without_javascript():
    rows = [
        (f"row {i}", Tag(verdict))
        for i, verdict in enumerate(("holds", "fails", "holds", "not run"))
    ]
    document = Document(render(page_with(Table(("claim", "verdict"), rows, filters=["verdict"]))))
    (bar,) = document.all("div", **{"class": "filters"})
    assert "hidden" in bar
    assert document.all("table", id=bar["data-filters"])
    buttons = [found for found in document.all("button") if "aria-pressed" in found]
    assert [found.get("data-value") for found in buttons] == [None, "holds", "fails", "not run"]
    assert document.text("small") == ["4", "2", "1", "1"]
    bodies = document.all("tbody")
    assert [found["data-v0"] for found in bodies] == ["holds", "fails", "holds", "not run"]
    assert not any("hidden" in found for found in bodies)


def test_contents_lead_to_the_sections():
    page = Page("t", "", (Section("Figure 1: été", ()), Section("Other", (), anchor="elsewhere")))
    document = Document(render(page))
    ids = [found["id"] for found in document.all("section")]
    assert ids == ["figure-1-ete", "elsewhere"]
    assert [found["href"] for found in document.all("a")][:2] == [f"#{name}" for name in ids]


def test_a_copied_command_is_the_command_to_the_letter():
    command = "eigenloop figures  --all \\\n    --out 'a b'"
    text = render(page_with(command=command))
    (code,) = re.findall(r"<code>(.*?)</code>", text, re.DOTALL)
    assert html.unescape(re.sub(r"</?span>", "", code)) == command


def test_downloads_are_relative_and_quoted():
    figure = Figure(
        SQUARE.format(""), "a", downloads=("x/a b#1.csv", Path("x") / "a.png", "x/b.png")
    )
    found = Document(render(page_with(figure))).all("a", download="")
    assert [link["href"] for link in found] == ["x/a%20b%231.csv", "x/a.png", "x/b.png"]
    assert {"CSV", "a.png", "b.png"} <= set(Document(render(page_with(figure))).text("a"))


@pytest.mark.parametrize(
    ("make", "error", "complaint"),
    [
        (lambda: Link("a", "javascript:alert(1)"), ValueError, "javascript"),
        (lambda: Link("a", " java\tscript:alert(1)"), ValueError, "javascript"),
        (lambda: Link("a", "data:text/html,a"), ValueError, "data"),
        (lambda: Figure("", "a", downloads=("/etc/a.csv",)), ValueError, "relative path"),
        (
            lambda: Figure("", "a", downloads=("https://example.org/a.csv",)),
            ValueError,
            "relative path",
        ),
        (lambda: Figure("", "a", downloads="a.csv"), TypeError, "single str"),
        (lambda: Table(("a", "b"), ((1,),)), ValueError, "row 1 has 1 cells, but the header has 2"),
        (lambda: Table(("a",), ((1,),), filters=["b"]), ValueError, "names no column"),
        (lambda: Section("a", "text"), TypeError, "single str"),
        (lambda: Section("λ"), ValueError, "pass anchor="),
        (lambda: Page("a", "", (Section("b"), Section("b"))), ValueError, "two sections"),
        (
            lambda: render(page_with(Table((Column("a", format="d"),), ((0.5,),)))),
            ValueError,
            "format 'd'",
        ),
    ],
)
def test_bad_values_are_refused_at_once(make, error, complaint):
    with pytest.raises(error, match=re.escape(complaint)):
        make()


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("Table(('a',), (([1, 2],),))", "TypeError: a cell is of type list; convert it with"),
        ("Section('a', (1,))", "TypeError: an item is of type int; use str, Note"),
    ],
)
def test_values_of_other_types_are_refused_at_once(expression, complaint):
    # In a process of its own: here the checked annotations would complain first.
    code = f"from eigenloop.report import *; {expression}"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert complaint in result.stderr


def test_write_replaces_the_page_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    assert write(page_with("new – text"), path) == path
    assert path.read_text(encoding="utf-8") == render(page_with("new – text"))
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_that_cannot_be_rendered_leaves_the_old_one(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(ValueError, match="event handler"):
        write(page_with(Figure(SQUARE.format('<g onload="a"/>'), "a")), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_half_way_leaves_the_old_page(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError("no space left")

    path = tmp_path / "page.html"
    path.write_text("old")
    monkeypatch.setattr(f"eigenloop.system.files.os.{step}", fail)
    with pytest.raises(InputError, match=r"cannot write .*page.html: no space left"):
        write(page_with("new"), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _themes() -> dict[str, dict[str, str]]:
    css = resources.files("eigenloop.report").joinpath("page.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    )
    return {"light": light, "dark": light | dark}


def _luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *(
            (text, ground)
            for text in ("text", "quiet", "accent")
            for ground in ("page", "card", "shade")
        ),
        *((tone, f"{tone}-shade") for tone in ("good", "warn", "bad")),
        *(("text", f"{tone}-shade") for tone in ("good", "warn", "bad")),
    ],
)
def test_text_has_the_contrast_of_wcag_level_aa(theme, text, ground):
    colours = _themes()[theme]
    bright, dim = sorted((_luminance(colours[text]), _luminance(colours[ground])), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5
