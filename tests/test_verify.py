"""`eigenloop verify`: claims found, chosen, measured here or in processes, and written; a fake
ledger stands in.
"""

import json
import os
import re
from typing import Any

import numpy as np
import pytest

from eigenloop.claims import Claim, Effort, Finding, Provenance, results
from eigenloop.claims.measuring import measure
from eigenloop.claims.sources import Entry, Source, collect, select
from eigenloop.system.errors import InputError
from ledgers import PLAIN, Shelve

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
