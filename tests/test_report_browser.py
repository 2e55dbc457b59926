"""The report page in a real browser: nothing overflows, nothing complains, the buttons work."""

import base64
import io
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from eigenloop import lens
from eigenloop.claims import Claim, Curve, Effort, Finding, Kind, Plot, Result
from eigenloop.claims.page import ledger_page
from eigenloop.claims.results import Results
from eigenloop.figures import Budget, FigureData, Pieces, quotations, sentences
from eigenloop.figures.page import write_page
from eigenloop.figures.values import curve
from eigenloop.lens.page.spectra import spectra_page
from eigenloop.report import (
    Column,
    Command,
    Facts,
    Figure,
    Key,
    Link,
    Missing,
    Note,
    Page,
    Panel,
    Row,
    Section,
    Table,
    Tag,
    write,
)

CHROMIUM = shutil.which("chromium")
NO_BROWSER = "chromium is missing: install it (Debian: apt-get install chromium)"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
]
DARK = "--blink-settings=preferredColorScheme=0"
LIGHT = "--blink-settings=preferredColorScheme=1"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)


def browse(path: Path, *flags: str) -> tuple[str, list[str]]:
    """Open a page in a fresh profile; what the browser prints, and what its console says."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={path.parent / 'profile'}",
        *flags,
        path.as_uri(),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    shutil.rmtree(path.parent / "profile", ignore_errors=True)
    return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]


@cache
def complaints_of(path: Path, *flags: str) -> list[str]:
    """What the console says of a page that has been written; one start of the browser for all
    tests of it.
    """
    return browse(path, "--dump-dom", *flags)[1]


def frame(path: Path, *widths: int) -> Path:
    """A page showing another in a frame of each width, because a headless window is never
    narrower than 500 px.
    """
    outer = path.with_name("frame.html")
    frames = "".join(
        f'<iframe src="{path.name}"'
        f' style="display:block;border:0;width:{width}px;height:3000px"></iframe>'
        for width in widths
    )
    outer.write_text(
        '<!doctype html><meta name="color-scheme" content="light dark"><body'
        ' style="margin:0"><script>const told = {};onmessage = (event) => { '
        " told[[...Array(frames.length).keys()].find((i) => frames[i] === event.source)] ="
        f" event.data;  if (Object.keys(told).length === {len(widths)}) document.body.dataset.told"
        f" = Object.values(told);}};</script>{frames}"
    )
    return outer


def ask(
    path: Path, script: str, *flags: str, width: int = 1000, widths: tuple[int, ...] = ()
) -> list[str]:
    """Run a script in a copy of the page, `width` pixels wide; every `tell(...)` in it is an
    answer.

    Where the same is asked at several `widths`, one start of the browser answers for all.
    """
    return _answers(path, script, flags, widths or (width,))[width]


@cache
def _answers(
    path: Path, script: str, flags: tuple[str, ...], widths: tuple[int, ...]
) -> dict[int, list[str]]:
    html = path.read_text(encoding="utf-8")
    html = re.sub(r"script-src 'sha256-[^']*'", "script-src 'unsafe-inline'", html)
    asking = f"""(async () => {{
        const told = [];
        const tell = (value) => told.push(String(value));
        try {{ {script} }} catch (error) {{ tell(error); }}
        parent.postMessage(btoa(told.join("|")), "*");
    }})();"""
    copy = path.with_name("asked.html")
    copy.write_text(html.replace("</body>", f"<script>{asking}</script></body>"), encoding="utf-8")
    dom, _ = browse(
        frame(copy, *widths),
        "--dump-dom",
        "--virtual-time-budget=5000",
        "--window-size=1600,900",
        *flags,
    )
    told = re.search(r'data-told="([^"]*)"', dom)
    assert told is not None, "the script did not finish"
    answers = [base64.b64decode(answer).decode().split("|") for answer in told[1].split(",")]
    return dict(zip(widths, answers, strict=True))


def drawing(width: float, colour: str) -> str:
    figure, axes = plt.subplots(figsize=(width, 3))
    axes.plot([0, 1, 2], [1, 0.4, 0.1], color=colour)
    axes.set_xlabel("loops")
    stream = io.StringIO()
    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": "report"}):
        figure.savefig(stream, format="svg", transparent=True)
    plt.close(figure)
    return stream.getvalue()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A page with every item at its most unruly: long words, wide drawings, wide and nested
    tables.
    """
    word = "x" * 200
    pair = Figure(
        drawing(6, "navy"),
        "falls",
        word,
        svg_dark=drawing(6, "skyblue"),
        paper_says=word,
        run_shows=word,
    )
    wide = Figure(drawing(14, "navy"), "falls", downloads=(f"{word}.csv", "b.csv"))
    numbers = Table(
        [f"layer {i}" for i in range(20)], [[1.234e5 * i for i in range(20)]], caption=word
    )
    ledger = Table(
        ("claim", "statement", Column("value"), "verdict"),
        (
            Row(
                ("one", word, 0.5, Tag("holds", "good")), (word, pair, numbers, Command(word, word))
            ),
            Row(("two", "short", 1e-9, Tag("fails", "bad")), (Facts(((word, word),)),)),
            ("three", Missing(word), None, Tag("not run")),
            ("four", "long enough to wrap where there is little room", 2.0, Tag("holds", "good")),
        ),
        caption="Claims",
        filters=["verdict"],
    )
    return write(
        Page(
            f"Unruly {word}",
            word,
            (
                Section("Drawings", (word, pair, wide, Note(word, "warn"))),
                Section(f"Tables {word}", (ledger, numbers), anchor="tables"),
            ),
            facts=((word, word), ("commit", Missing(word))),
            command=f"eigenloop figures --out {word}",
            links=(Link(word, f"https://example.org/{word}"),),
        ),
        tmp_path_factory.mktemp("report") / "page.html",
    )


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_the_page_runs_under_its_own_policy_without_a_complaint(page, scheme):
    dom, complaints = browse(page, "--dump-dom", scheme)
    assert complaints == []
    # Its script ran: it takes the buttons out of hiding.
    assert re.search(r'<div class="filters"[^>]*>', dom)
    assert not re.search(r'<div class="filters"[^>]*hidden', dom)


WIDTHS = (360, 390, 700, 1200, 1280, 1600)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(page, width):
    script = """
        const root = document.documentElement;
        tell(root.clientWidth);
        tell(root.scrollWidth);
        for (const details of document.querySelectorAll("details")) details.open = true;
        tell(root.scrollWidth);
        for (const found of document.querySelectorAll("main *, header *, footer *")) {
            if (found.closest(".scroll")) continue;
            const right = found.getBoundingClientRect().right;
            if (right > root.clientWidth + 0.5)
                tell(`${found.tagName}.${found.className} ends at ${right}`);
        }
    """
    assert ask(page, script, width=width, widths=WIDTHS) == [str(width)] * 3


def test_a_wide_drawing_scrolls_on_a_phone_and_a_plain_one_fits(page):
    script = """
        const cards = [...document.querySelectorAll("#drawings .card")];
        for (const card of cards) tell(card.scrollWidth > card.clientWidth);
        for (const card of cards) tell(card.tabIndex);
    """
    assert ask(page, script, width=360) == ["false", "true", "-1", "0"]


def test_the_filter_shows_the_chosen_rows_and_then_all_again(page):
    script = """
        const bar = document.querySelector(".filters");
        const rows = [...document.getElementById(bar.dataset.filters).tBodies];
        for (const choice of ["fails", "holds", undefined]) {
            [...bar.querySelectorAll("button")].find((button) => button.dataset.value === choice)
                .click();
            tell(rows.filter((row) => row.offsetHeight > 0)
                .map((row) => row.rows[0].cells[0].innerText));
            tell(bar.querySelector("output").textContent);
            tell(bar.querySelectorAll("[aria-pressed=true]").length);
        }
    """
    assert ask(page, script) == [
        *("two", "1 of 4 rows", "1"),
        *("one,four", "2 of 4 rows", "1"),
        *("one,two,three,four", "4 of 4 rows", "1"),
    ]


def test_the_copy_button_hands_over_the_command_and_says_so(page):
    script = """
        let text;
        const clipboard = { writeText: async (given) => { text = given; } };
        Object.defineProperty(navigator, "clipboard", { value: clipboard });
        const button = document.querySelector("header .copy");
        button.click();
        await new Promise((resolve) => setTimeout(resolve, 50));
        tell(button.textContent);
        tell(text === "eigenloop figures --out " + "x".repeat(200));
    """
    assert ask(page, script) == ["Copied", "true"]


def test_without_a_clipboard_the_command_is_selected(page):
    script = """
        Object.defineProperty(navigator, "clipboard", { value: undefined });
        document.execCommand = () => false;
        const button = document.querySelector("header .copy");
        button.click();
        await new Promise((resolve) => setTimeout(resolve, 50));
        tell(button.textContent);
        tell(getSelection().toString() === "eigenloop figures --out " + "x".repeat(200));
    """
    assert ask(page, script) == ["Selected", "true"]


CARDS = """
    const first = ".stacks > tbody:first-of-type > tr:first-child > td";
    const cells = [...document.querySelectorAll(first)];
    tell(cells.length > 1);
    const names = cells.map((cell) => cell.querySelector(".name"));
    const shown = cells.filter((cell, i) => names[i] && names[i].offsetHeight > 0);
    tell(shown.length === names.filter((name) => name && name.textContent).length);
    const tops = new Set(cells.map((cell) => Math.round(cell.getBoundingClientRect().top)));
    tell(tops.size === cells.length);
    const boxes = [...document.querySelectorAll(".stacks")]
        .map((table) => table.closest(".scroll"));
    tell(boxes.filter((box) => box.scrollWidth > box.clientWidth).length);
"""
"""Whether names stand in the cells of a table that stacks, whether each cell is a line, and how
many boxes scroll.
"""


def test_on_a_phone_a_row_is_a_card_that_names_its_columns(ledger):
    assert ask(ledger, CARDS, width=390) == ["true", "true", "true", "0"]
    assert ask(ledger, CARDS, width=1280) == ["true", "false", "false", "0"]


def test_no_column_of_the_ledger_is_cut_and_the_page_uses_its_width(ledger):
    script = """
        const wide = [...document.querySelectorAll(".scroll")]
            .filter((box) => box.scrollWidth > box.clientWidth);
        tell(wide.length);
        const main = document.querySelector("main").getBoundingClientRect();
        tell(main.width >= 0.75 * Math.min(innerWidth, 1536));
    """
    for width in (1280, 1600):
        assert ask(ledger, script, width=width) == ["0", "true"]


CONTRAST = """
    const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const luminance = (colour) => {
        const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = channels(colour).map((channel) => linear(channel / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let each = element; each; each = each.parentElement) {
            const colour = getComputedStyle(each).backgroundColor;
            if ((channels(colour)[3] ?? 1) === 1) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    for (const details of document.querySelectorAll("details")) details.open = true;
    let read = 0;
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || element.closest("svg, script, style")) continue;
        if (!element.getClientRects().length) continue;
        const [dim, bright] = [getComputedStyle(element).color, ground(element)]
            .map(luminance).sort((a, b) => a - b);
        const ratio = (bright + 0.05) / (dim + 0.05);
        read += 1;
        if (ratio < 4.5) tell(`${element.tagName}.${element.className} ${ratio}`);
    }
    tell(read > 40);
"""
"""Every text of a page against the ground that it stands on (WCAG 2.2, level AA)."""


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_text_has_its_contrast_in_both_schemes(ledger, figures_page, scheme, width):
    for page in (ledger, figures_page):
        assert ask(page, CONTRAST, scheme, width=width) == ["true"]


@pytest.mark.parametrize(
    ("scheme", "expected"), [(LIGHT, ["block", "none"]), (DARK, ["none", "block"])]
)
def test_the_drawing_follows_the_scheme(page, scheme, expected):
    script = """
        for (const name of [".when-light", ".when-dark"]) {
            tell(getComputedStyle(document.querySelector(name)).display);
        }
    """
    assert ask(page, script, scheme) == expected


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize(
    ("scheme", "ground"), [(LIGHT, (0xFD, 0xFD, 0xFC)), (DARK, (0x13, 0x15, 0x19))]
)
def test_a_screenshot_shows_the_page_on_its_ground(page, width, scheme, ground):
    picture = page.with_name("shot.png")
    browse(
        frame(page, width),
        f"--screenshot={picture}",
        f"--window-size={max(width, 500)},900",
        scheme,
    )
    pixels = np.round(plt.imread(picture)[:, :width, :3] * 255).astype(int)
    assert pixels.shape == (900, width, 3)
    is_ground = np.all(pixels == ground, axis=-1)
    assert is_ground[:, :8].all()
    assert is_ground[:, -8:].all()
    assert 0.5 < is_ground.mean() < 0.99


@pytest.fixture(scope="module")
def figures_page(tmp_path_factory) -> Path:
    """A reproduction with one figure whose sentences came out in every way."""
    x = np.geomspace(1, 1e5, 101)
    drawn = {
        task: (
            curve(f"{task}, growth", "W_max", x, x**0.25)
            + curve(f"{task}, growth", "V_max", x, x**0.1)
        )
        for task in ("Task 1", "Task 2")
    }
    rows = [row for found in drawn.values() for row in found]
    for task in drawn:
        for series in ("W_max", "V_max"):
            rows += curve(
                f"{task}, growth", f"{series} (population)", x, x ** (1 / 6), kind="theory"
            )
    found = [
        sentences.growth(rows, steps=steps, sentence=said)
        for steps in (10, 100_000)
        for said in (quotations.SCALING, quotations.SLOPE)
    ]
    data = FigureData(
        1, "Growth", tuple(rows), tuple(found), ("more",), "eigenloop reproduce --figure 1", ()
    )
    heat, curves = (
        Panel(
            f"{name} at step 10", drawing(width, "navy"), name, svg_dark=drawing(width, "skyblue")
        )
        for name, width in (("V_21", 2.4), ("growth", 3.6))
    )
    key = [Key(f"series {i} (t^(1/4))", drawing(0.4, "navy")) for i in range(9)]
    drawn = Pieces(((heat, heat, curves), (heat, heat, curves)), tuple(key))
    return write_page(
        [data], [drawn], Budget(), tmp_path_factory.mktemp("figures"), seconds=1.0
    ).path


@pytest.mark.parametrize(("width", "rows"), [(390, [2, 1, 2, 1]), (1280, [3, 3])])
def test_panels_stack_on_a_phone_and_stand_in_their_rows_on_a_wide_page(figures_page, width, rows):
    script = """
        const card = document.querySelector(".panels");
        const drawn = [...card.querySelectorAll(".panel svg")].filter((svg) => svg
            .getBoundingClientRect().width);
        const boxes = drawn.map((svg) => svg.closest(".panel").getBoundingClientRect());
        const counts = new Map();
        for (const box of boxes)
            counts.set(Math.round(box.bottom), (counts.get(Math.round(box.bottom)) ?? 0) + 1);
        tell([...counts.values()]);
        tell(card.scrollWidth <= card.clientWidth);
        const natural = (svg) => parseFloat(getComputedStyle(svg).getPropertyValue("--width"));
        tell(Math.min(...drawn.map((svg) => svg
            .getBoundingClientRect().width / natural(svg))) >= 0.64);
        tell(Math.max(...drawn.map((svg) => svg
            .getBoundingClientRect().width / natural(svg))) <= 1.301);
    """
    assert ask(figures_page, script, width=width) == [
        ",".join(map(str, rows)),
        "true",
        "true",
        "true",
    ]


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_overview_of_the_figures_fits_opens_and_filters(figures_page, width, scheme):
    script = """
        const root = document.documentElement;
        const bar = document.querySelector("#overview .filters");
        const rows = [...document.getElementById(bar.dataset.filters).tBodies];
        [...bar.querySelectorAll("button")].find((each) => each.dataset.value === "partly").click();
        tell(rows.filter((row) => row.offsetHeight > 0).length);
        bar.querySelector("button").click();
        for (const details of document.querySelectorAll("details")) details.open = true;
        tell(rows.filter((row) => row.offsetHeight > 0).length);
        tell(root.scrollWidth);
    """
    assert complaints_of(figures_page, scheme) == []
    assert ask(figures_page, script, scheme, width=width, widths=(360, 1200)) == [
        "1",
        "4",
        str(width),
    ]


@pytest.mark.skipif(
    "EIGENLOOP_REPORT" not in os.environ, reason="EIGENLOOP_REPORT names no reproduced report.html"
)
@pytest.mark.parametrize("width", [360, 1200])
def test_a_reproduced_report_shows_its_panels_within_the_window(tmp_path, width):
    report = shutil.copy(os.environ["EIGENLOOP_REPORT"], tmp_path / "page.html")
    _, complaints = browse(Path(report), "--dump-dom")
    assert complaints == []
    counted = """
        document.querySelectorAll('details').forEach((each) => { each.open = true; });
        const cards = [...document.querySelectorAll('.panels')];
        tell(cards.length); tell(document.documentElement.scrollWidth);
        const shown = [...document.querySelectorAll('.panel svg')].filter((each) => each
            .getBoundingClientRect().width);
        tell(shown.length);
        const inside = (each) => {
            const box = each.getBoundingClientRect(), card = each.closest(".card")
                .getBoundingClientRect();
            return card.left <= box.left && box.right <= card.right;
        };
        tell(shown.filter(inside).length);
        tell(document.querySelectorAll('.panel').length);
    """
    figures, needed, drawn, inside, panels = map(int, ask(Path(report), counted, width=width))
    assert figures == 8
    assert needed <= width
    assert drawn == inside == panels  # one of each light and dark pair, and none is cut


@pytest.fixture(scope="module")
def ledger(tmp_path_factory) -> Path:
    """A claims ledger with every verdict, a long statement, drawings and numbers."""
    x = np.logspace(0, 6, 300)
    plot = Plot(
        [Curve("a", x, x**0.25), Curve("t^(1/4)", x[::30], x[::30] ** 0.25, points=True)],
        "step t",
        "a",
    )
    numbers = {
        "exponent": 0.2500123456789,
        "gamma" * 20: list(map(float, range(30))),
        "lost": float("inf"),
    }
    findings: dict[str, tuple[Kind, Finding]] = {
        "thm4.1.growth": (
            "holds",
            Finding("holds", 0.25, 0.25, 1e-3, "next order " * 20, "", numbers, plot),
        ),
        "thm4.2.limit": (
            "holds only",
            Finding("holds only", "saddle", "minimum", note="on the scalar manifold"),
        ),
        "fig1c.learning-rate-of-a-long-name": (
            "fails",
            Finding("fails", [0.1, 0.03], 0.1, note="none fits"),
        ),
        "lemA.4.sign": ("holds", Finding("fails", "99 of 100", "100 of 100", note="rounding")),
        "lens.case": ("holds", Finding("not run", None, None, note="needs eigenloop[lens]")),
    }
    results = tuple(
        Result(
            Claim(
                id,
                "A statement that is long enough to wrap. " * 3,
                "P1",
                lambda effort, found=found: found,
                "ours" if id.startswith("lens") else "reconstructed",
                None,
                known,
            ),
            found,
            0.1,
        )
        for id, (known, found) in findings.items()
    )
    page = ledger_page(Results(results, Effort(quick=True), 1.0))
    return write(page, tmp_path_factory.mktemp("ledger") / "page.html")


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_ledger_fits_the_window_open_and_closed(ledger, width, scheme):
    script = """
        const root = document.documentElement;
        tell(root.scrollWidth);
        for (const details of document.querySelectorAll("details")) details.open = true;
        tell(root.scrollWidth);
        for (const found of document.querySelectorAll("td.evidence details > *")) {
            const box = found.getBoundingClientRect();
            if (box.width && box.right > root.clientWidth + 0.5)
                tell(`${found.tagName} ends at ${box.right}`);
        }
        tell([...document.querySelectorAll("figure svg")].filter((svg) => svg
            .getBoundingClientRect().width).length);
    """
    assert complaints_of(ledger, scheme) == []
    assert ask(ledger, script, scheme, width=width, widths=(360, 1200)) == [
        str(width),
        str(width),
        "1",
    ]


def test_the_ledger_is_filtered_by_verdict_and_opens_to_the_command(ledger):
    script = """
        const bar = document.querySelector(".filters");
        const rows = [...document.getElementById(bar.dataset.filters).tBodies];
        const buttons = [...bar.querySelectorAll("button")];
        tell(buttons.map((button) => button.dataset.value).join());
        buttons.find((button) => button.dataset.value === "fails (unexpected)").click();
        const left = rows.filter((row) => row.offsetHeight > 0);
        tell(left.length);
        tell(left[0].rows[0].cells[2].innerText.trim().split(":")[0]);
        left[0].querySelector("summary").click();
        tell(left[0].querySelector("code").textContent);
        tell(left[0].querySelector(".note.bad").innerText.includes("lemA.4.sign fails here"));
    """
    assert ask(ledger, script) == [
        ",holds,holds only,fails,fails (unexpected),not run",
        "1",
        "lemA.4.sign",
        "eigenloop verify --only lemA.4.sign --quick",
        "true",
    ]


@pytest.mark.skipif(
    "EIGENLOOP_LEDGER" not in os.environ, reason="EIGENLOOP_LEDGER names no verify.html"
)
@pytest.mark.parametrize("width", [360, 1200])
def test_a_measured_ledger_fits_the_window(tmp_path, width):
    report = Path(shutil.copy(os.environ["EIGENLOOP_LEDGER"], tmp_path / "page.html"))
    _, complaints = browse(report, "--dump-dom")
    assert complaints == []
    script = """
        document.querySelectorAll('details').forEach((each) => { each.open = true; });
        tell(document.documentElement.scrollWidth);
    """
    assert int(ask(report, script, width=width)[0]) <= width


@pytest.fixture(scope="module")
def lens_page(tmp_path_factory) -> Path:
    """A page of the lens: nine layers of twelve heads, a long path for a name, and a section
    with a wide drawing.
    """
    rng = np.random.default_rng(0)
    norm = lens.Norm(gain=np.ones(48), bias=np.zeros(48), eps=0.0, kind="layer", placement="post")
    layers = []
    for layer in range(9):
        output, value = rng.standard_normal((12, 48, 4)) / 7, rng.standard_normal((12, 4, 48))
        circuit = lens.Circuit(
            layer=layer,
            output=output,
            value=value,
            value_bias=np.zeros((12, 4)),
            output_bias=np.zeros(48),
            norm=norm,
        )
        layers.append(lens.layer_spectra(circuit))
    found = lens.Spectra(
        source=f"/a/{'long' * 30}/model",
        model_type="bert",
        stored=("bfloat16",),
        schedule=tuple(range(9)),
        heads=12,
        width=48,
        placement="post",
        rules=lens.RULES,
        layers=tuple(layers),
    )
    wide = Section(
        "Beside", (Figure(drawing(14, "navy"), "falls", svg_dark=drawing(14, "skyblue")),)
    )
    page = spectra_page(
        found, command=f"eigenloop lens {found.source}", seconds=1.0, beside=(wide,)
    )
    return write(page, tmp_path_factory.mktemp("lens") / "page.html")


@pytest.fixture(scope="module", params=["made here", "EIGENLOOP_LENS"])
def any_lens_page(request, lens_page, tmp_path_factory) -> Path:
    """The page made here, and the report.html that EIGENLOOP_LENS names."""
    if request.param == "made here":
        return lens_page
    if request.param not in os.environ:
        pytest.skip("EIGENLOOP_LENS names no report.html of `eigenloop lens`")
    return Path(
        shutil.copy(os.environ[request.param], tmp_path_factory.mktemp("lens") / "page.html")
    )


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("width", [360, 1200])
def test_a_page_of_the_lens_fits_the_window_open_and_closed(any_lens_page, width, scheme):
    script = """
        const root = document.documentElement;
        tell(root.scrollWidth);
        for (const details of document.querySelectorAll("details")) details.open = true;
        tell(root.scrollWidth);
        for (const found of document.querySelectorAll("main *, header *")) {
            if (found.closest(".scroll")) continue;
            const box = found.getBoundingClientRect();
            if (box.width && box.right > root.clientWidth + 0.5)
                tell(`${found.tagName} ends at ${box.right}`);
        }
        const seen = [...document.querySelectorAll("figure svg")].filter((svg) => svg
            .getBoundingClientRect().width);
        tell(seen.length === document.querySelectorAll("figure svg").length / 2);
        const cards = seen.map((svg) => svg.closest(".card"))
            .filter((card) => card.classList.contains("scroll"));
        const cut = cards.filter((card) => card.scrollWidth > card.clientWidth);
        tell(cut.filter((card) => card.tabIndex !== 0).length);
    """
    assert complaints_of(any_lens_page, scheme) == []
    assert ask(any_lens_page, script, scheme, width=width, widths=(360, 1200)) == [
        str(width),
        str(width),
        "true",
        "0",
    ]


@pytest.mark.parametrize(("width", "columns"), [(360, 2), (500, 2), (1200, 5)])
def test_panels_fill_the_row_and_keep_a_size_that_can_be_read(lens_page, width, columns):
    script = """
        const panels = [...document.querySelectorAll(".panel")].map((panel) => panel
            .getBoundingClientRect());
        tell(panels.length);
        tell(panels.filter((box) => box.top === panels[0].top).length);
        tell(Math.min(...panels.map((box) => box.width)) >= 135);
        tell(document.querySelector(".panel").innerText.includes("λ ="));
    """
    assert ask(lens_page, script, width=width, widths=(360, 500, 1200)) == [
        "9",
        str(columns),
        "true",
        "true",
    ]


@pytest.mark.parametrize(
    ("scheme", "dots"), [(LIGHT, (0x00, 0x72, 0xB2)), (DARK, (0x56, 0xB4, 0xE9))]
)
def test_the_dots_of_the_strip_are_seen(lens_page, scheme, dots):
    """A stroke of no length is drawn by its round caps alone."""
    picture = lens_page.with_name("shot.png")
    browse(frame(lens_page, 1200), f"--screenshot={picture}", "--window-size=1200,2500", scheme)
    pixels = np.round(plt.imread(picture)[:, :, :3] * 255).astype(int)
    near = np.abs(pixels - dots).max(axis=-1) < 60
    assert 500 < near.sum() < 50_000
