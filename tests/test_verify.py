"""`eigenloop verify`: claims found, chosen, measured here or in processes, and written; a fake
ledger stands in.
"""

import csv
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import call
from eigenloop import __version__
from eigenloop.claims import Claim, Effort, Finding, Provenance, drawing, results, sources
from eigenloop.claims import journal as kept
from eigenloop.claims import measuring as verify
from eigenloop.claims import page as verify_page
from eigenloop.claims.measuring import measure
from eigenloop.claims.sources import Entry, Source, collect, select
from eigenloop.system.errors import InputError
from test_cli import parsed

LEDGER = """
    import os
    import time

    import numpy as np

    from eigenloop.claims import Curve, Finding, Ledger, Plot, every, within, within_sigmas
    from eigenloop.system.errors import InputError

    shelf = Ledger("arXiv 2606.00605")
    t = np.logspace(0, 4, 500)

    @shelf.claim(
        "thm4.1.growth",
        "Weights grow like t^{1/4}.",
        place="Thm 4.1",
        provenance="stated",
        quote='"diverges at the rate" (Section 4.1)',
    )
    def growth(effort):
        points = Curve("read off", range(1, 3), (1, 1.8), points=True)
        plot = Plot([Curve("a", t, t**0.25), points], "step t", "a")
        numbers = {"steps": effort.pick(10, 1000), "ends": list(range(12)), "lost": float("inf")}
        return within(
            measured=0.251,
            expected=0.25,
            tolerance=0.01,
            justification="next order",
            numbers=numbers,
            plot=plot,
        )

    @shelf.claim("thm4.10.other", "Another theorem.", place="Thm 4.10", provenance="ours")
    def other(effort):
        where = [int(os.environ.get(name, "0")) for name in ("OMP_NUM_THREADS", "NPROC")]
        return Finding("holds", [os.getpid(), *where], None)

    @shelf.claim("thm4.1.random", "A number drawn.", place="Thm 4.1", provenance="ours")
    def random(effort):
        drawn = effort.generator(3).normal()
        return within_sigmas(measured=drawn, expected=0.0, standard_error=1.0)

    @shelf.claim(
        "fig1c", "One rate fits.", place="Fig. 1(c)", provenance="figure", expected_verdict="fails"
    )
    def figure(effort):
        return Finding("fails", None, 0.1, note="none fits")
"""
REST = {
    "broken": (
        """
    @shelf.claim("bad.broken", "It breaks.", place="", provenance="ours")
    def broken(effort):
        return within(measured=1 / 0, expected=1.0, tolerance=0.1, justification="")
    """
    ),
    "refused": (
        """
    @shelf.claim("bad.refused", "It raises what a user's input would.", place="", provenance="ours")
    def refused(effort):
        raise InputError("--dim is 0")
    """
    ),
    "news": (
        """
    @shelf.claim("bad.news", "It has begun to fail.", place="Lemma 1", provenance="ours")
    def news(effort):
        return every(9, 10, justification="an inequality", note="rounding")
    """
    ),
    "extra": (
        """
    @shelf.claim("lens.extra", "It needs a library.", place="", provenance="ours")
    def extra(effort):
        import no_such_library
    """
    ),
    "sleeps": (
        """
    @shelf.claim("slow.sleeps", "It takes long.", place="", provenance="ours")
    def sleeps(effort):
        time.sleep(300)
    """
    ),
    "shared": (
        """
    from functools import cache

    @cache
    def run():
        return os.urandom(8).hex()

    @shelf.claim("shared.first", "It judges a run.", place="", provenance="ours", shared_run="one")
    def first(effort):
        return Finding("holds", [os.getpid()], run())

    @shelf.claim(
        "shared.second", "It judges the same run.", place="", provenance="ours", shared_run="one"
    )
    def second(effort):
        time.sleep(0.2)
        return Finding("holds", [os.getpid()], run())
    """
    ),
    "killed": (
        """
    @shelf.claim("bad.killed", "Its process is killed.", place="", provenance="ours")
    def killed(effort):
        os.kill(os.getpid(), 9)
    """
    ),
}
PLAIN = ["thm4.1.growth", "thm4.10.other", "thm4.1.random", "fig1c"]
Shelve = Callable[..., Source]


@pytest.fixture
def shelve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelve]:
    """Put a module with claims on the path and make it the only source."""
    made = []

    def put(*names: str, extra: str | None = None, head: str = "") -> Source:
        module = f"fake_ledger_{len(made)}_{tmp_path.name.replace('-', '_')}"
        folder = tmp_path / "path"
        folder.mkdir(exist_ok=True)
        parts = [head, LEDGER, *(REST[name] for name in names)]
        (folder / f"{module}.py").write_text("\n".join(textwrap.dedent(part) for part in parts))
        monkeypatch.syspath_prepend(folder)
        importlib.invalidate_caches()
        made.append(module)
        source = Source(module, extra)
        monkeypatch.setattr(sources, "SOURCES", (source,))
        return source

    yield put
    for module in made:
        sys.modules.pop(module, None)


# --- collecting and choosing


def test_every_claim_of_the_package_is_found_once_and_says_where_it_stands() -> None:
    for entry in collect():
        assert re.search(r"arXiv 260[56]\.", entry.claim.source), entry.claim.id
        assert entry.claim.source.startswith("eigenloop, on arXiv ") == (
            entry.claim.provenance == "ours"
        )
        assert entry.claim.statement.endswith("."), entry.claim.id


def test_a_statement_of_ours_does_not_stand_under_the_papers_name(shelve: Shelve) -> None:
    sources = {entry.claim.id: entry.claim.source for entry in collect([shelve("broken")])}
    assert sources["thm4.1.growth"] == "arXiv 2606.00605, Thm 4.1"
    assert sources["thm4.10.other"] == "eigenloop, on arXiv 2606.00605, Thm 4.10"
    assert sources["bad.broken"] == "eigenloop, on arXiv 2606.00605"


def test_claims_come_in_order_and_missing_modules_are_skipped(shelve: Shelve) -> None:
    source = shelve()
    absent = Source("eigenloop.no_wing.cases", extra="lens")
    entries = collect([absent, source, Source("eigenloop.theory.no_such_module")])
    assert [entry.claim.id for entry in entries] == PLAIN
    assert [entry.claim.id for entry in collect()] == PLAIN


def test_a_missing_library_is_said_and_a_mistake_in_an_import_is_not_hidden(shelve: Shelve) -> None:
    source = shelve(extra="lens", head="import no_such_library")
    (entry,) = collect()
    results = measure([entry], Effort())
    assert results.results[0].verdict == "not run: needs eigenloop[lens]"
    assert results.as_expected
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        collect([Source(source.module)])  # no optional dependency is known there
    broken = shelve(extra="lens", head="import eigenloop.no_such_module")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        collect([broken])


def test_the_same_identifier_in_two_modules_is_refused(shelve: Shelve) -> None:
    with pytest.raises(ValueError, match=r"'fig1c' is written in two modules"):
        collect([shelve(), shelve()])


@pytest.mark.parametrize(
    ("only", "found"),
    [
        (None, PLAIN),
        ("thm4.1", ["thm4.1.growth", "thm4.1.random"]),
        ("fig1c, thm4.1.random", ["thm4.1.random", "fig1c"]),
        ("thm4", PLAIN[:3]),
        ("thm4.", PLAIN[:3]),
        ("THM4.1., Fig", ["thm4.1.growth", "thm4.1.random", "fig1c"]),
        ("fig1", ["fig1c"]),
        ("thm4.1.gr", ["thm4.1.growth"]),
        ("thm4.10", ["thm4.10.other"]),
        ("thm4.1,thm4.1.growth", ["thm4.1.growth", "thm4.1.random"]),
    ],
)
def test_a_choice_is_by_identifiers_or_their_beginnings(
    shelve: Shelve, only: str | None, found: list[str]
) -> None:
    shelve()
    assert [entry.claim.id for entry in select(collect(), only)] == found


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ("qr", "'qr', which begins no claim's name; known are thm4.1, thm4.10, fig1c"),
        (
            "fig1c,thm4.1.groth",
            "'thm4.1.groth', which begins no claim's name; nearest are thm4.1.growth",
        ),
        ("Fig1d", "'fig1d', which begins no claim's name; nearest are fig1c"),
        ("thm4.100", "nearest are thm4.10"),
        (" ,", "give claims separated by commas"),
    ],
)
def test_an_unknown_claim_is_refused_with_the_known_ones(
    shelve: Shelve, only: str, words: str
) -> None:
    shelve()
    with pytest.raises(InputError) as refused:
        select(collect(), only)
    assert words in str(refused.value)


# --- measuring


def test_processes_find_the_same_as_this_one(shelve: Shelve) -> None:
    shelve()
    told: list[tuple[str, int, int]] = []
    here = measure(collect(), Effort(seed=5))
    apart = measure(collect(), Effort(seed=5), lambda *progress: told.append(progress), workers=2)
    assert [r.claim.id for r in apart.results] == [r.claim.id for r in here.results] == PLAIN
    for one, other in zip(here.results, apart.results, strict=True):
        if one.claim.id == "thm4.10.other":
            assert isinstance(other.finding.measured, list)
            pid, *threads = other.finding.measured
            assert pid != os.getpid()
            assert threads == [1, 1]
        else:
            assert results.plain(one.finding.measured) == results.plain(other.finding.measured)
            assert (one.verdict, one.finding.justification) == (
                other.verdict,
                other.finding.justification,
            )
    assert told[0] == ("claims", 0, 4)
    assert told[-1] == ("claims", 4, 4)
    assert told == sorted(told)
    other = measure(select(collect(), "thm4.1.random"), Effort(seed=6)).results[0]
    assert other.finding.measured != here.results[2].finding.measured


@pytest.mark.parametrize("workers", [None, 1])
@pytest.mark.parametrize(
    ("name", "said"), [("broken", "ZeroDivisionError"), ("refused", "InputError: --dim is 0")]
)
def test_an_error_inside_a_claim_surfaces(
    shelve: Shelve, name: str, said: str, workers: int | None
) -> None:
    shelve(name, extra="lens")
    with pytest.raises(RuntimeError, match=f"claim bad.{name} broke: {said}"):
        measure(collect(), Effort(), workers=workers)


def test_a_claim_that_needs_a_missing_library_is_not_run(shelve: Shelve) -> None:
    source = shelve("extra", extra="lens")
    results = measure(collect(), Effort(), workers=1)
    assert results.results[-1].verdict == "not run: needs eigenloop[lens]"
    assert results.as_expected
    with pytest.raises(RuntimeError, match=r"lens\.extra broke: ModuleNotFoundError"):
        measure(collect([Source(source.module)]), Effort())


def test_a_killed_process_is_one_line(shelve: Shelve) -> None:
    shelve("killed")
    with pytest.raises(InputError, match="a process measuring claims was killed"):
        measure(collect(), Effort(), workers=1)


def results_of(*findings: tuple[Finding, Any]) -> results.Results:
    claims = [
        Claim(f"c.{i}", "S.", "P", lambda effort, f=f: f, "ours", None, known)
        for i, (f, known) in enumerate(findings)
    ]
    return measure([Entry(claim, Source("nowhere")) for claim in claims], Effort())


@pytest.mark.parametrize(
    ("kind", "known", "fine"),
    [
        ("holds", "holds", True),
        ("fails", "fails", True),
        ("holds only", "holds only", True),
        ("not run", "holds", True),
        ("fails", "holds", False),
        ("holds", "fails", False),
        ("holds only", "holds", False),
        ("holds", "holds only", False),
    ],
)
def test_what_counts_against_the_exit_status(kind: Any, known: Any, fine: bool) -> None:
    results = results_of((Finding("holds", 1, 1), "holds"), (Finding(kind, 1, 1), known))
    assert results.as_expected == fine
    assert [r.claim.id for r in results.unexpected] == ([] if fine else ["c.1"])
    assert ("Every verdict is the one recorded" in results.summary) == fine
    assert fine or f"c.1 ({kind}, recorded: {known})" in results.summary


def test_a_quote_belongs_to_stated_claims_only() -> None:
    words = '"words" (Section 1)'
    cases: list[tuple[Provenance, str | None]] = [
        ("stated", None),
        ("reconstructed", words),
        ("ours", words),
    ]
    for provenance, quote in cases:
        with pytest.raises(ValueError, match="a quote belongs to stated claims"):
            Claim("c", "S.", "P", lambda effort: Finding("holds", 1, 1), provenance, quote)


def test_ours_are_not_counted_among_the_papers(shelve: Shelve) -> None:
    shelve("news")
    results = measure(collect(), Effort())
    papers, own, recorded = results.summary.split(". ", 2)
    assert papers == "Of 2 statements of the papers, 1 holds as stated and 1 fails as stated"
    assert own == "Of 3 claims of eigenloop's own, 2 hold as stated and 1 fails as stated"
    assert "bad.news" in recorded
    assert sum(sum(counts.values()) for counts in results.counts.values()) == 5


def test_json_holds_no_nan_and_says_why(shelve: Shelve) -> None:
    odd = Finding(
        "holds",
        np.float64("nan"),
        [1, np.inf, 2],
        None,
        "counted",
        "",
        {"x": [np.float64(0.0), 1.0]},
    )
    (claim,) = json.loads(json.dumps(results_of((odd, "holds")).as_dict(), allow_nan=False))[
        "claims"
    ]
    assert claim["measured"] is None
    assert claim["expected"] == [1, None, 2]
    assert claim["numbers"] == {"x": [0.0, 1.0]}
    assert claim["reasons"] == {"measured": "not finite", "tolerance": "counted"}


# --- the command


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command measures in this process: that processes find the same and are clean is held by
    tests of their own.
    """

    def measure_here(
        entries: list[Entry], effort: Effort, keep: Callable[..., None], workers: int
    ) -> None:
        for entry in entries:
            keep(entry, *verify._measured(entry.claim, entry.source, effort))

    monkeypatch.setattr(verify, "_measure_apart", measure_here)


def test_the_commands_json_and_files(
    shelve: Shelve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelve()
    status, out, err = call(
        capsys, "verify", "--quick", "--seed", 2, "--json", "--out", tmp_path / "out"
    )
    assert status == 0
    assert "claims: 4 of 4" in err
    found = parsed(out)
    assert (found["version"], found["seed"], found["quick"]) == (__version__, 2, True)
    assert [claim["id"] for claim in found["claims"]] == PLAIN
    first, *_, last = found["claims"]
    assert first == {
        "id": "thm4.1.growth",
        "source": "arXiv 2606.00605, Thm 4.1",
        "provenance": "stated",
        "quote": '"diverges at the rate" (Section 4.1)',
        "statement": "Weights grow like t^{1/4}.",
        "measured": 0.251,
        "expected": 0.25,
        "tolerance": 0.01,
        "justification": "next order",
        "verdict": "holds",
        "expected_verdict": "holds",
        "as_expected": True,
        "seconds": first["seconds"],
        "numbers": {"steps": 10, "ends": list(range(12)), "lost": None},
        "reasons": {"lost": "not finite"},
    }
    assert first["seconds"] >= 0
    assert (last["verdict"], last["expected_verdict"], last["measured"]) == (
        "fails: none fits",
        "fails",
        None,
    )
    paths = {name: Path(found.pop(name)) for name in ("report", "json", "csv")}
    assert [path.name for path in paths.values()] == ["report.html", "claims.json", "claims.csv"]
    assert parsed(paths["json"].read_text()) == found
    rows = list(csv.DictReader(paths["csv"].read_text().splitlines()))
    assert [row["id"] for row in rows] == PLAIN
    assert float(rows[0]["measured"]) == 0.251
    assert rows[3]["measured"] == ""
    page = re.sub("</?span>", "", paths["report"].read_text())
    for text in (
        "eigenloop verify --only thm4.1.growth --quick --seed 2",
        "next order",
        "none fits",
        "when-dark",
    ):
        assert text in page


@pytest.mark.usefixtures("here")
def test_the_table_for_people_and_news(
    shelve: Shelve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelve("news")
    status, out, _ = call(
        capsys, "verify", "--only", "bad,thm4.1.growth", "--out", tmp_path / "out"
    )
    assert status == 1
    for text in (
        "bad.news",
        "fails (unexpected)",
        "9 of 10",
        "0.251",
        "bad.news fails: rounding",
        "recorded: holds",
    ):
        assert text in out
    assert "thm4.10" not in out
    assert "Not as recorded: bad.news" in (tmp_path / "out" / "report.html").read_text()


def test_list_names_the_claims(
    shelve: Shelve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelve()
    status, out, err = call(capsys, "verify", "--list")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == PLAIN
    assert [line.split()[1] for line in out.splitlines()] == ["stated", "ours", "ours", "figure"]
    assert [line.split()[2] for line in out.splitlines()] == ["holds", "holds", "holds", "fails"]
    assert len(parsed(call(capsys, "verify", "--list", "--json")[1])["claims"]) == 4


@pytest.mark.usefixtures("here")
def test_the_ledger_leaves_another_page_alone(
    shelve: Shelve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelve()
    (tmp_path / "report.html").write_text("<title>figures</title>")
    for _ in range(2):
        assert call(capsys, "verify", "--only", "fig1c", "--out", tmp_path)[0] == 0
    assert (tmp_path / "report.html").read_text() == "<title>figures</title>"
    assert verify_page.TITLE in (tmp_path / "verify.html").read_text()
    (tmp_path / "report.html").unlink()
    for _ in range(2):  # its own page is replaced
        assert call(capsys, "verify", "--only", "fig1c", "--out", tmp_path)[0] == 0
        assert verify_page.page_path(tmp_path).name == "report.html"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "qr"], "'qr', which begins no claim's name; known are"),
        (["--only", ""], "--only is empty"),
        (["--seed", -1], "--seed is -1"),
        (
            ["--list", "--quick", "--seed", 3],
            "--list measures nothing and writes nothing; leave out --quick and --out",
        ),
        (["--out", "FILE"], "is a file; --out must be a directory"),
        (["--out", "FILE/below"], "cannot write to"),
        (["--colour"], "--colour"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(
    shelve: Shelve, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list, words: str
) -> None:
    shelve("killed")
    (tmp_path / "file").write_text("")
    given = [str(a).replace("FILE", str(tmp_path / "file")) for a in arguments]
    status, out, err = call(
        capsys, "verify", *([] if "--out" in given else ["--out", tmp_path / "run"]), *given
    )
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "run").exists()


def test_an_error_inside_a_claim_is_no_bad_input_for_the_command(
    shelve: Shelve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from eigenloop.cli import main

    shelve("refused")
    with pytest.raises(SystemExit) as stop:
        main(["verify", "--only", "bad", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err.splitlines()[-1]
    assert (stop.value.code, "claim bad.refused broke" in said, "internal error" in said) == (
        70,
        True,
        True,
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("here")
def test_a_choice_does_not_replace_the_ledger_of_all_claims(
    shelve: Shelve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shelve()
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "verify", "--quick")[0] == 0
    whole = {path.name: path.read_bytes() for path in Path("runs/verify").iterdir()}
    assert call(capsys, "verify", "--quick", "--only", "fig1c")[0] == 0
    assert {path.name: path.read_bytes() for path in Path("runs/verify").iterdir()} == whole
    choice = Path("runs/verify-only/claims.json")
    assert len(parsed(choice.read_text())["claims"]) == 1
    # the next choice replaces it
    assert call(capsys, "verify", "--quick", "--only", "thm4.10", "--seed", 1)[0] == 0
    assert [parsed(choice.read_text())[key] for key in ("only", "seed")] == ["thm4.10", 1]


@pytest.mark.parametrize(
    ("first", "then", "holds"),
    [
        (["--only", "fig1c"], ["--only", "thm4.1"], "the ledger of --only fig1c with --seed 0"),
        (["--only", "fig1c"], [], "the ledger of --only fig1c with --seed 0"),
        ([], ["--only", "fig1c"], "the ledger of all claims with --seed 0"),
        (["--seed", 1], ["--seed", 2], "the ledger of all claims with --seed 1"),
        (["--only", "fig1c,thm4"], ["--only", "THM4., Fig1c"], None),
        (["--only", "fig1c"], ["--only", "fig1c", "--quick"], None),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_ledger_of_another_choice_or_seed_is_not_overwritten(
    shelve: Shelve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    first: list,
    then: list,
    holds: str | None,
) -> None:
    shelve()
    assert call(capsys, "verify", *first, "--out", tmp_path)[0] == 0
    before = (tmp_path / "claims.json").read_bytes()
    status, out, err = call(capsys, "verify", *then, "--out", tmp_path)
    if holds is None:
        assert status == 0
        return
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert holds in err
    assert f"give another --out, or remove {tmp_path / 'claims.json'} first" in err
    assert (tmp_path / "claims.json").read_bytes() == before


def test_claims_that_judge_one_run_are_measured_where_it_is_made(shelve: Shelve) -> None:
    shelve("shared")
    found = measure(select(collect(), "shared,thm4.10"), Effort(quick=True), workers=2).results
    assert [result.claim.id for result in found] == [
        "thm4.10.other",
        "shared.first",
        "shared.second",
    ]
    assert found[1].finding.expected == found[2].finding.expected
    assert found[1].finding.measured == found[2].finding.measured


DRIVER = """
import signal, sys
from eigenloop.claims import sources
from eigenloop.cli import main

# it may be ignored where tests run in the background
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
sources.SOURCES = (sources.Source(sys.argv[2]),)
main(sys.argv[3:])
"""


def test_ctrl_c_ends_it_at_once_and_the_same_command_goes_on(
    shelve: Shelve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = shelve("sleeps")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-c",
        DRIVER,
        str(tmp_path / "path"),
        source.module,
        "verify",
        "--out",
        str(out),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "claims: 4 of 5" not in process.stderr.readline():
            assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        # the workers share its standard error: they have ended too
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - began < 10
    assert "Traceback" not in err
    assert err.count("error: interrupted; what was done is saved") == 1
    assert sorted(path.name for path in out.iterdir()) == [".lock", kept.NAME]

    measured = []

    def measure_here(entries: Any, effort: Any, keep: Any, workers: Any) -> None:
        for entry in entries:
            measured.append(entry.claim.id)
            keep(entry, Finding("holds", 1, 1), 0.0)

    monkeypatch.setattr(verify, "_measure_apart", measure_here)
    status, _, _ = call(capsys, "verify", "--out", out)
    assert status == 0
    assert measured == ["slow.sleeps"]
    assert [claim["id"] for claim in json.loads((out / "claims.json").read_text())["claims"]] == [
        *PLAIN,
        "slow.sleeps",
    ]
    assert kept.NAME not in [path.name for path in out.iterdir()]


def test_kept_findings_are_the_same_to_the_last_digit(shelve: Shelve, tmp_path: Path) -> None:
    shelve()
    chosen = select(collect(), "thm4.1,fig1c")
    effort = Effort(quick=True)
    first = measure(chosen, effort, kept=kept.Kept(tmp_path, effort))
    text = (tmp_path / kept.NAME).read_text()
    (tmp_path / kept.NAME).write_text(text[:-20])  # killed while it wrote the last one
    again = kept.Kept(tmp_path, effort)
    assert list(again.found) == ["thm4.1.growth", "thm4.1.random"]
    second = measure(chosen, effort, kept=again)
    assert [result.finding for result in first.results] == [
        result.finding for result in second.results
    ]
    # all are whole
    assert list(kept.Kept(tmp_path, effort).found) == [result.claim.id for result in first.results]
    fresh = measure(chosen, effort).results
    for one, other in zip(first.results, fresh, strict=True):
        assert results._plain_result(one) | {"seconds": 0} == results._plain_result(other) | {
            "seconds": 0
        }
        if one.finding.plot is not None and other.finding.plot is not None:
            assert drawing.draw(one.finding.plot) == drawing.draw(other.finding.plot)


def test_findings_of_other_code_or_another_effort_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.Kept(tmp_path, Effort()).add("demo", Finding("holds", 1, 1), 0.0)
    assert "demo" in kept.Kept(tmp_path, Effort()).found
    assert not kept.Kept(tmp_path, Effort(quick=True)).found
    assert not kept.Kept(tmp_path, Effort(seed=1)).found
    monkeypatch.setattr(kept, "code_digest", lambda: "other")
    assert not kept.Kept(tmp_path, Effort()).found
    kept.Kept(tmp_path, Effort()).add("demo.new", Finding("fails", 1, 2), 0.0)
    assert list(kept.Kept(tmp_path, Effort()).found) == ["demo.new"]


@pytest.mark.parametrize("content", ["", "no json\n", "[1]\n", '{"quick": false}\n', "\xff"])
def test_a_file_of_kept_findings_that_is_not_ours_is_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / kept.NAME).write_bytes(content.encode("latin-1"))
    assert not kept.Kept(tmp_path, Effort()).found


# --- the page


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    x, y = drawing._thinned(np.arange(10_001.0), np.arange(10_001.0) ** 2)
    assert len(x) == len(y) == drawing.MOST_POINTS
    assert (x[0], x[-1], y[-1]) == (0, 10_000, 10_000**2)


def test_drawings_are_the_same_alone_and_in_processes(shelve: Shelve) -> None:
    shelve()
    plot = measure(select(collect(), "thm4.1.growth"), Effort()).results[0].finding.plot
    assert plot is not None
    one = drawing.draw(plot)
    assert drawing.draw_all([plot] * 2, workers=1) == [one] * 2
    assert drawing.draw_all([plot] * 8, workers=2) == [one] * 8  # fewer are drawn here
    assert one[0] != one[1]


# --- in the reproduction


@pytest.mark.slow
def test_reproduce_measures_the_claims_and_leads_to_them(
    shelve: Shelve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelve("news")
    command = ["reproduce", "--figure", 6, "--quick", "--json", "--out", tmp_path / "out"]
    status, out, _ = call(capsys, *command)
    assert status == 0
    found = parsed(out)
    assert found["verify"] is None
    assert "--verify includes it" in found["reasons"]["verify"]
    assert not (tmp_path / "out" / "verify.html").exists()
    status, out, _ = call(capsys, *command, "--verify")
    assert status == 1
    found = parsed(out)["verify"]
    none = {"holds": 0, "holds only": 0, "fails": 0, "not run": 0}
    assert found["counts"] == {
        "stated": {**none, "holds": 1},
        "reconstructed": none,
        "figure": {**none, "fails": 1},
        "ours": {**none, "holds": 2, "fails": 1},
    }
    assert found["report"] == str(tmp_path / "out" / "verify.html")
    assert not found["as_expected"]
    page = re.sub("</?span>", "", (tmp_path / "out" / "report.html").read_text())
    assert '<a href="verify.html">verify.html</a>' in page
    assert "Not as recorded: bad.news" in page
    assert "eigenloop reproduce --figure 6 --quick --verify" in page
