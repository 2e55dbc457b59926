"""`eigenloop verify`: what it prints, writes and goes on from, alone and within a reproduction."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import call
from eigenloop import __version__
from eigenloop.claims import Effort, Finding, drawing, results
from eigenloop.claims import journal as kept
from eigenloop.claims import measuring as verify
from eigenloop.claims import page as verify_page
from eigenloop.claims.measuring import measure
from eigenloop.claims.sources import collect, select
from ledgers import PLAIN, Shelve
from test_cli import parsed


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
