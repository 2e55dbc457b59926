"""Numbers that the README and the docs repeat are those of the runs and of the ledger."""

import csv
import re
import statistics
from collections import Counter
from pathlib import Path

import pytest

from documented import REPEATED, compare
from documented import of as repeated_of
from eigenloop.claims import Effort, collect

ROOT = Path(__file__).resolve().parents[1]
README, FINDINGS = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/findings.md")
)
ROWS = list(
    csv.DictReader((ROOT / "docs" / "figures.csv").read_text(encoding="utf-8").splitlines())
)
"""The verdicts of a run at 2,000 epochs, part by part."""


def values(figure: int, topic: str, part: str = "") -> list[float]:
    chosen = [
        row
        for row in ROWS
        if (row["figure"], row["topic"]) == (str(figure), topic) and part in row["part"]
    ]
    assert chosen, (figure, topic, part)
    return [float(row["value"]) for row in chosen]


@pytest.mark.parametrize(
    ("text", "pattern", "figure", "part"),
    [
        (README, r"within (\S+) % of each of the paper's points", 2, "LN, normalised target"),
        (README, r"without LN, is up to (\S+) % off", 2, "no LN, unnormalised"),
        (FINDINGS, r"LN; at most (\S+) % off at any", 2, "LN, normalised target"),
        (FINDINGS, r"normalised target; (\S+) %\)", 2, "no LN, normalised"),
        (FINDINGS, r"unnormalised; (\S+) % at step 30", 2, "no LN, unnormalised"),
        (FINDINGS, r"up to (\S+) % \(\|\|W\|\|_max, step 20\)", 1, "W"),
        (FINDINGS, r"step 20\) and (\S+) % \(\|\|V\|\|_max\)", 1, "V"),
    ],
)
def test_distances_from_the_papers_points(text: str, pattern: str, figure: int, part: str) -> None:
    (said,) = re.findall(pattern, text.replace("\n", " ").replace("  ", " "))
    found = values(figure, "the paper's points", part)[0]
    digits = len(said.partition(".")[2])
    assert float(said) == pytest.approx(100 * found, abs=0.5001 * 10**-digits)


def test_exponents_of_figure_1() -> None:
    found = [
        float(number)
        for row in ROWS
        if row["figure"] == "1" and row["topic"] == "growth"
        for number in re.findall(r"0\.\d{3}(?= |$)", row["found"].split("(")[0])
    ]
    assert len(found) == 4
    for text in (README, FINDINGS):
        assert re.search(rf"[Ee]xponents[^.]*{min(found):.3f} to {max(found):.3f}", text)


@pytest.mark.parametrize(
    "id",
    sorted(
        {
            each.claim
            for each in REPEATED
            if each.claim.startswith(("lem", "thm", "beyond.stability"))
        }
    ),
)
def test_the_docs_repeat_what_a_claim_measures(id: str) -> None:
    """Those of the other `beyond.*` claims, which take longer, are compared in
    tests/test_beyond.py.
    """
    claim = next(entry.claim for entry in collect() if entry.claim.id == id)
    for each in repeated_of(id):
        compare(each, claim.measure(Effort(quick=True)))


@pytest.mark.parametrize(
    ("task", "samples", "pattern"),
    [
        ("planted", 10_000, r"median sine of (\S+) to (\S+) \(Task 2\)"),
        (
            "sphere",
            10_000,
            r"\(Task 2\) and (\S+) to (\S+) \(Task 1\), at rates 0\.1, 0\.03 and 0\.01",
        ),
        ("planted", 100_000, r"with 100,000 samples at (\S+) to (\S+) and"),
        ("sphere", 100_000, r"with 100,000 samples at \S+ to \S+ and (\S+)\."),
    ],
)
def test_plateaus_of_the_grid(task: str, samples: int, pattern: str) -> None:
    """Means over seeds at the end of training at constant rates, batch 128."""
    rows = csv.DictReader((ROOT / "docs" / "plateau.csv").read_text(encoding="utf-8").splitlines())
    ends: dict[str, list[float]] = {}
    for row in rows:
        setting = re.fullmatch(
            rf"looped10-{task}-[\d.]+-constant-b128-n{samples}-t156000", row["setting"]
        )
        if setting and row["step"] == "156000":
            ends.setdefault(setting[0], []).append(float(row["plateau"]))
    found = sorted(statistics.mean(values) for values in ends.values())
    (said,) = re.findall(pattern, " ".join(FINDINGS.split()))
    words = [said, said] if isinstance(said, str) else list(said)
    for word, value in zip(words, (found[0], found[-1]), strict=True):
        assert float(word) == pytest.approx(value, abs=0.5001 * 10 ** -len(word.partition(".")[2]))


def test_counts_of_claims() -> None:
    claims = [entry.claim for entry in collect()]
    counts = Counter(claim.provenance for claim in claims)
    held = Counter(claim.provenance for claim in claims if claim.expected_verdict == "holds")
    assert f"{held['stated']} claims with a paper's words" in FINDINGS
    assert f"{held['reconstructed']} whose formula is missing" in FINDINGS
    least = re.search(r"more than (\d+) claims", README)
    assert least is not None
    assert int(least[1]) < sum(counts.values()) <= int(least[1]) + 50
