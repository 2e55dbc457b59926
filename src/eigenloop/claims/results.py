"""What measuring claims came to: verdicts counted, and plain values of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eigenloop import __version__
from eigenloop.claims.ledger import Effort, Finding, Kind, Provenance, Result
from eigenloop.system.wording import joined

KINDS: tuple[Kind, ...] = ("holds", "holds only", "fails", "not run")
OF_PAPERS: tuple[Provenance, ...] = ("stated", "reconstructed", "figure")
PROVENANCES: tuple[Provenance, ...] = (*OF_PAPERS, "ours")


@dataclass(frozen=True)
class Results:
    """What was measured, in the order of the ledgers.

    Args:
        results: one for each claim.
        effort: what they were measured with.
        seconds: from the start to the end, several at a time.
    """

    results: tuple[Result, ...]
    effort: Effort
    seconds: float

    @property
    def as_expected(self) -> bool:
        """Whether every verdict is the one recorded in the package."""
        return all(result.as_expected for result in self.results)

    @property
    def unexpected(self) -> tuple[Result, ...]:
        """Those with another verdict than the recorded one."""
        return tuple(result for result in self.results if not result.as_expected)

    def count(self, kind: Kind, *provenances: Provenance) -> int:
        """How many verdicts begin like this; of claims of these provenances, or of all."""
        return sum(
            result.finding.kind == kind
            and (not provenances or result.claim.provenance in provenances)
            for result in self.results
        )

    @property
    def counts(self) -> dict[Provenance, dict[Kind, int]]:
        """Provenance -> verdict -> how many; ours are never added to the papers'."""
        return {whose: {kind: self.count(kind, whose) for kind in KINDS} for whose in PROVENANCES}

    @property
    def summary(self) -> str:
        """The verdicts on the papers' statements, those on eigenloop's own, and whether they are
        the recorded ones.
        """
        if not self.results:
            return "There was no claim to measure."
        sentences = [
            self._counted("statement of the papers", *OF_PAPERS),
            self._counted("claim of eigenloop's own", "ours"),
        ]
        found = " ".join(filter(None, sentences))
        if self.as_expected:
            return f"{found} Every verdict is the one recorded in the package."
        ids = [
            f"{r.claim.id} ({r.finding.kind}, recorded: {r.claim.expected_verdict})"
            for r in self.unexpected
        ]
        return f"{found} Not as recorded: {joined(ids)}."

    def _counted(self, noun: str, *provenances: Provenance) -> str:
        """One sentence on the claims of some provenances; empty where there is none."""
        words = {
            "holds": "as stated",
            "holds only": "in a narrower or different form",
            "fails": "as stated",
            "not run": "here",
        }
        verbs = {
            "holds": ("holds", "hold"),
            "holds only": ("holds only", "hold only"),
            "fails": ("fails", "fail"),
            "not run": ("was not run", "were not run"),
        }
        counted = {kind: self.count(kind, *provenances) for kind in KINDS}
        total = sum(counted.values())
        parts = [f"{n} {verbs[kind][n != 1]} {words[kind]}" for kind, n in counted.items() if n]
        first, *rest = noun.split()
        plural = noun if total == 1 else " ".join([f"{first}s", *rest])
        return f"Of {total} {plural}, {joined(parts)}." if total else ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: no NaN or infinity, None with a reason."""
        return {
            "claims": [_plain_result(result) for result in self.results],
            "quick": self.effort.quick,
            "as_expected": self.as_expected,
            "counts": self.counts,
            "summary": self.summary,
            "version": __version__,
            "seed": self.effort.seed,
            "seconds": self.seconds,
        }


def plain(value: Any) -> Any:
    """A claim's value as JSON takes it: lists, Python's numbers, None for what is not finite."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, np.ndarray | Sequence):
        return [plain(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if np.isfinite(value) else None


def _plain_result(result: Result) -> dict[str, Any]:
    claim, finding = result.claim, result.finding
    values = {
        "measured": finding.measured,
        "expected": finding.expected,
        "tolerance": finding.tolerance,
    }
    reasons = {
        name: _why_none(name, value, finding)
        for name, value in values.items()
        if plain(value) is None
    }
    lost = {
        name: "not finite"
        for name, value in finding.numbers.items()
        if value is not None and _holes(value)
    }
    return {
        "id": claim.id,
        "source": claim.source,
        "provenance": claim.provenance,
        "quote": claim.quote,
        "statement": claim.statement,
        **{name: plain(value) for name, value in values.items()},
        "justification": finding.justification,
        "verdict": result.verdict,
        "expected_verdict": claim.expected_verdict,
        "as_expected": result.as_expected,
        "seconds": result.seconds,
        "numbers": {name: plain(value) for name, value in finding.numbers.items()},
        "reasons": {**reasons, **lost},
    }


def _why_none(name: str, value: Any, finding: Finding) -> str:
    if finding.kind == "not run":
        return finding.note or "not run"
    if value is not None:
        return "not finite"
    return (
        finding.justification or f"the claim has no {name}"
        if name == "tolerance"
        else "not a single value"
    )


def _holes(value: Any) -> bool:
    found = plain(value)
    return found is None or (isinstance(found, list) and None in found)
