"""docs/mutants.md: which mutant of tools/mutants.toml breaks which claim.

``python tools/mutant_table.py``.
"""

from collections import Counter
from pathlib import Path

from eigenloop.claims import Claim
from eigenloop.claims.sources import collect
from mutant_list import MOST_CLAIMS, Mutant, read_mutants

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "mutants.md"

PREFACE = """# What breaks each claim

A claim that cannot fail says nothing. Beside each claim of `eigenloop verify --list` stands a
formula in the code that it measures, which `make mutants` replaces by a wrong one in the source
text: the claim's verdict, in its quick form, must then be of another kind than the recorded one.
What is broken is never the claim itself, the modules that hold or judge claims, or data that ship
with the package; one mutant stands for three claims at most, and so does one text of one file.
`python tools/mutants.py --only NAME` tries one; `python tools/mutant_table.py` writes this page.

{claims} claims, {mutants} mutants.

| claim | broken | file under `src/eigenloop` | mutant |
| --- | --- | --- | --- |
"""

SOURCE = "src/eigenloop/"


def claims() -> list[Claim]:
    """Every claim, in the order of `eigenloop verify --list`."""
    return [entry.claim for entry in collect()]


def by_claim(mutants: list[Mutant]) -> dict[str, list[Mutant]]:
    """Identifier -> the mutants that name it."""
    found: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        for id in mutant.claims:
            found.setdefault(id, []).append(mutant)
    return found


def crowded(mutants: list[Mutant]) -> dict[tuple[str, str], int]:
    """(file, text) -> how many claims stand on its being broken, where they are more than may
    be.
    """
    counts = Counter((mutant.file, mutant.old.strip()) for mutant in mutants for _ in mutant.claims)
    return {place: count for place, count in counts.items() if count > MOST_CLAIMS}


def out_of_bounds(mutants: list[Mutant], known: list[Claim]) -> list[str]:
    """Mutants of claims that break a claim's own module, another that holds or judges claims, or
    data.
    """
    own = {claim.measure.__module__.replace(".", "/") for claim in known}
    judging = {
        "eigenloop/lens/cases/common",
        "eigenloop/figures/sentences",
        "eigenloop/figures/verdicts",
    }
    found = []
    for mutant in mutants:
        module = mutant.file.removeprefix("src/").removesuffix(".py")
        apart = (
            mutant.file.startswith(SOURCE)
            and mutant.file.endswith(".py")
            and "claims" not in module.split("/")
        )
        if mutant.claims and (not apart or module in own | judging):
            found.append(mutant.name)
    return found


def page(mutants: list[Mutant], known: list[Claim]) -> str:
    """The text of docs/mutants.md; a claim without a mutant has a row that says so."""
    breaks, rows = by_claim(mutants), []
    for claim in known:
        for mutant in breaks.get(claim.id, []):
            cells = (claim.id, mutant.why, mutant.file.removeprefix(SOURCE), mutant.name)
            rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n")
        if claim.id not in breaks:
            rows.append(f"| {claim.id} | nothing | | |\n")
    count = sum(bool(mutant.claims) for mutant in mutants)
    return PREFACE.format(claims=len(known), mutants=count) + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(read_mutants(ROOT / "tools" / "mutants.toml"), claims()), encoding="utf-8")
