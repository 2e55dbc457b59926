"""The claims ledger as one page, one JSON file and one table: what was stated, what was
measured, and the evidence.
"""

import json
import shlex
import textwrap
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from eigenloop import report
from eigenloop.claims.drawing import draw_all, picture
from eigenloop.claims.journal import NAME as JOURNAL
from eigenloop.claims.ledger import Effort, Finding, Kind, Result
from eigenloop.claims.results import KINDS, Results, plain
from eigenloop.claims.sources import names_of
from eigenloop.report import Cell, Tone
from eigenloop.report.cells import shown
from eigenloop.system.directories import OutputDirectory
from eigenloop.system.errors import InputError
from eigenloop.system.files import atomic_write, save_table

TITLE = "The theorems, measured: the claims ledger"
LEAD = (
    "The papers' statements that can be checked, and eigenloop's own beside them, as claims: what"
    " is stated and by whom, what was measured, how far apart the two may be and why. Each row"
    " opens to its evidence and to the command that repeats it. "
)
VERDICTS = (
    "A claim holds when what was measured agrees with the statement within the tolerance given"
    " beside it; it holds only in a narrower or different form where the words after the verdict"
    " say which; it fails where the evidence is against it as stated, with the reason found. The"
    " package records the verdict it knows for each claim, failures included; a verdict that"
    " differs from the recorded one is marked as unexpected."
)
WHOSE = (
    "Provenance says whose a statement is: stated where the paper's text says it, in the words"
    " quoted; reconstructed where the paper states it but its formula, or a condition of it, is"
    " missing from the text that we have, so that ours may differ from it; figure where it was read"
    " off a figure; ours where eigenloop posed it and no paper says it."
)
TONES: Mapping[Kind, Tone] = {
    "holds": "good",
    "holds only": "warn",
    "fails": "bad",
    "not run": "neutral",
}
HEADER = (
    "id",
    "source",
    "provenance",
    "quote",
    "statement",
    "verdict",
    "expected_verdict",
    "measured",
    "expected",
    "tolerance",
    "justification",
    "seconds",
)
LISTED = 8
"""Numbers of a sequence that the page shows; claims.json holds all."""
DIGITS, NARROW = ".12g", 24


class Written(NamedTuple):
    """The ledger's files."""

    page: Path
    json: Path
    csv: Path


def ledger_directory(directory: Path, *, page: str | None = None) -> OutputDirectory:
    """The directory of a ledger, which may be that of `eigenloop reproduce`; the page has a name of
    its own there.

    Args:
        directory: where the ledger will go; it need not exist.
        page: the page's name; by default `page_path` decides.
    """
    names = (page or page_path(directory).name, "claims.json", "claims.csv", JOURNAL)
    return OutputDirectory(directory, "verify", names, beside=("reproduce",))


def check_ledger(directory: Path, *, only: str | None, seed: int) -> None:
    """Refuse a directory that holds the ledger of another choice of claims or of another seed.

    Args:
        directory: where the ledger will go; it need not exist.
        only: the choice; None for all claims.
        seed: start of every random stream.

    Raises:
        InputError: what it holds, and what to do.
    """
    path = directory / "claims.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        held, of = found.get("only"), found["seed"]
    except (OSError, ValueError, KeyError, AttributeError):
        return  # none, or not ours
    same = (None if held is None else sorted(names_of(held))) == (
        None if only is None else sorted(names_of(only))
    )
    if not same or of != seed:
        words = "all claims" if held is None else f"--only {held}"
        raise InputError(
            f"{directory} holds the ledger of {words} with --seed {of}; give another --out, or"
            f" remove {path} first"
        )


def write_ledger(
    results: Results,
    directory: Path,
    *,
    only: str | None = None,
    page: str | None = None,
    workers: int = 1,
) -> Written:
    """Write the page, claims.json and claims.csv, each in one move.

    Args:
        results: what was measured.
        directory: where to.
        only: the choice of claims, for the command that repeats it and in claims.json; None for
            all.
        page: the page's name; by default `page_path` decides.
        workers: processes that draw.

    Raises:
        InputError: the directory cannot be written to.
    """
    path = page_path(directory) if page is None else directory / page
    files = Written(path, directory / "claims.json", directory / "claims.csv")
    found = {**results.as_dict(), "only": only}
    content = json.dumps(found, allow_nan=False, indent=1, ensure_ascii=False) + "\n"
    atomic_write(files.json, content.encode(errors="backslashreplace"))
    rows = [[_flat(claim[name]) for name in HEADER] for claim in found["claims"]]
    save_table(files.csv, HEADER, rows)
    atomic_write(
        files.page,
        report.render(
            ledger_page(results, only=only, directory=directory, workers=workers)
        ).encode(),
    )
    return files


def page_path(directory: Path) -> Path:
    """Where the page goes: report.html, or verify.html where that is another page (of
    `eigenloop reproduce`).
    """
    path = directory / "report.html"
    with suppress(OSError):  # what cannot be read cannot be written to either: `check` says so
        owners = OutputDirectory(directory, "verify").owners()
        ours = not path.exists() or _is_ledger(path)  # also in directories that bear no mark yet
        if "report.html" in owners.get("reproduce", ()):
            return path.with_name("verify.html")
        if "report.html" not in owners.get("verify", ()) and not ours:
            return path.with_name("verify.html")
    return path


def _is_ledger(path: Path) -> bool:
    try:
        return f"<title>{TITLE}</title>" in path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False


def ledger_page(
    results: Results, *, only: str | None = None, directory: Path | None = None, workers: int = 1
) -> report.Page:
    """The page.

    Args:
        results: what was measured.
        only: the choice of claims that was asked for.
        directory: where it goes, for the command that repeats it.
        workers: processes that draw the small figures.

    Example:
        >>> from eigenloop.claims.ledger import Effort
        >>> ledger_page(Results((), Effort(), 0.0)).title
        'The theorems, measured: the claims ledger'
    """
    plots = [result.finding.plot for result in results.results]
    drawn = iter(draw_all([plot for plot in plots if plot is not None], workers=workers))
    pictures = [None if plot is None else picture(plot, *next(drawn)) for plot in plots]
    rows = [
        report.Row(_cells(result), _evidence(result, picture, results.effort))
        for result, picture in zip(results.results, pictures, strict=True)
    ]
    header = ("verdict", "provenance", "claim", "measured", "expected")
    table = report.Table(
        header,
        rows,
        caption=f"{len(rows)} claims",
        filters=("verdict", "provenance"),
        downloads=("claims.json", "claims.csv"),
    )
    unexpected = [
        report.Note(f"Not as recorded: {_unexpected(result)}", "bad")
        for result in results.unexpected
    ]
    words = (
        "eigenloop"
        f" verify{'' if only is None else f' --only {shlex.quote(only)}'}{_options(results.effort)}"
    )
    return report.Page(
        TITLE,
        LEAD + results.summary,
        (
            report.Section("Claims", (*unexpected, _counts(results), table)),
            report.Section("How to read it", (VERDICTS, WHOSE)),
        ),
        facts=[
            ("effort", "quick: fewer samples and steps" if results.effort.quick else "whole"),
            ("seed", results.effort.seed),
        ],
        command=words + ("" if directory is None else f" --out {shlex.quote(str(directory))}"),
        origin=report.Origin.here(results.seconds),
        links=[
            report.Link("Wu, Zhang and Cao, arXiv 2606.00605", "https://arxiv.org/abs/2606.00605")
        ],
    )


def _counts(results: Results) -> report.Table:
    """Verdicts by provenance."""
    shown_kinds: list[Kind] = [kind for kind in KINDS if results.count(kind)]
    rows = [
        (whose, *(counts[kind] for kind in shown_kinds), sum(counts.values()))
        for whose, counts in results.counts.items()
        if sum(counts.values())
    ]
    return report.Table(
        ("provenance", *shown_kinds, "claims"), rows, caption="Verdicts by whose statement it is"
    )


def teaser(results: Results, page: Path) -> report.Section:
    """The verdicts in short, for a page in the same directory that leads to the ledger."""
    tone: Tone = "neutral" if results.as_expected else "bad"
    leads = report.Facts([("every claim with its evidence", report.Link(page.name, page.name))])
    words = (
        f"{results.summary}"
        f" {'The quick form: fewer samples and steps. ' if results.effort.quick else ''}".strip()
    )
    return report.Section(
        "The theorems, measured", (report.Note(words, tone), leads, _counts(results))
    )


def _cells(result: Result) -> tuple[Cell, ...]:
    finding = result.finding
    word = finding.kind if result.as_expected else f"{finding.kind} (unexpected)"
    tag = report.Tag(word, "bad" if not result.as_expected else TONES[finding.kind])
    measured, expected = (_cell(value, finding) for value in (finding.measured, finding.expected))
    return (
        tag,
        result.claim.provenance,
        f"{result.claim.id}: {result.claim.statement}",
        measured,
        expected,
    )


def _cell(value: Any, finding: Finding) -> Cell:
    found = plain(value)
    if found is None:
        return report.Missing(
            finding.note or "not run" if finding.kind == "not run" else "no single value"
        )
    # the evidence has it whole; a narrow column leaves the statement its room
    if isinstance(found, str | list):
        return textwrap.shorten(_text(found, ".4g"), NARROW, placeholder=" …")
    return found


def _evidence(result: Result, picture: report.Figure | None, effort: Effort) -> list[report.Item]:
    claim, finding = result.claim, result.finding
    items: list[report.Item] = []
    if not result.as_expected:
        items.append(report.Note(_unexpected(result), "bad"))
    if finding.note:
        items.append(
            report.Note(f"{finding.kind.capitalize()}: {finding.note}", TONES[finding.kind])
        )
    facts: list[tuple[str, Cell]] = []
    if finding.kind != "not run":
        facts += [("measured", _text(finding.measured)), ("expected", _text(finding.expected))]
    if finding.tolerance is not None or finding.justification:
        facts.append(("tolerance", _tolerance(finding)))
    facts += [("source", claim.source), ("provenance", claim.provenance)]
    if claim.quote:
        facts.append(("in the paper's words", claim.quote))
    facts += [("recorded", claim.expected_verdict), ("time", _seconds(result.seconds))]
    items.append(report.Facts(facts))
    if picture is not None:
        items.append(picture)
    if finding.numbers:
        numbers = [(name, _number(value)) for name, value in finding.numbers.items()]
        items.append(report.Table(("number", "value"), numbers, caption="Numbers behind it"))
    items.append(
        report.Command(f"eigenloop verify --only {claim.id}{_options(effort)}", "Repeat this claim")
    )
    return items


def _tolerance(finding: Finding) -> str:
    reason = finding.justification
    if finding.tolerance is None:
        return reason
    return f"{_text(finding.tolerance, '.3g')}{f': {reason}' if reason else ''}"


def _text(value: Any, digits: str = DIGITS) -> str:
    """A value in words: enough digits to compare, and the first few of a long list."""
    found = plain(value)
    if not isinstance(found, list):
        return shown(found, digits).text
    listed = ", ".join(_text(item, digits) for item in found[:LISTED])
    return listed if len(found) <= LISTED else f"{listed}, … ({len(found)} in all)"


def _number(value: Any) -> Cell:
    return report.Missing("not finite") if plain(value) is None else _text(value)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.05 else "under 0.1 s"


def _unexpected(result: Result) -> str:
    claim = result.claim
    return (
        f"{claim.id} {result.finding.kind} here, and the package records that it"
        f" {_recorded(claim.expected_verdict)}."
    )


def _recorded(known: str) -> str:
    return {"holds only": "holds only in another form", "not run": "is not run"}.get(known, known)


def _options(effort: Effort) -> str:
    return f"{' --quick' if effort.quick else ''}{f' --seed {effort.seed}' if effort.seed else ''}"


def _flat(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
