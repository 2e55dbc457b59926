"""Claims: statements that are measured, and findings: what came out (NumPy only).

A module that holds claims makes one `Ledger`, decorates a function for each claim, and
`eigenloop verify` runs them:

    >>> ledger = Ledger("arXiv 2606.00605")
    >>> @ledger.claim("demo.half", "One half of 4 is 2.", place="Lemma 0", provenance="ours")
    ... def half(effort):
    ...     return within(
    ...         measured=4 / 2, expected=2.0, tolerance=1e-15, justification="one rounding"
    ...     )
    >>> ledger.claims[0].run(Effort(quick=True)).verdict
    'holds'
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

Kind = Literal["holds", "fails", "holds only", "not run"]
"""How verdicts begin: as stated, not, in a narrower or different form, or not measured."""

Provenance = Literal["stated", "reconstructed", "figure", "ours"]
"""Whose a statement is.

- stated: the paper's text says it; the claim quotes the words.
- reconstructed: the paper states it, but its formula, or a condition of it, is missing from the
  text that we have; ours may differ from it.
- figure: read off a figure of the paper.
- ours: posed by eigenloop; no paper says it.
"""

Number = float | int | None
Value = Number | str | Sequence[Number]


@dataclass(frozen=True)
class Effort:
    """How much a measurement may cost.

    Args:
        quick: seconds instead of minutes, with fewer samples or steps and tolerances that follow
            from them.
        seed: start of every random stream.
    """

    quick: bool = False
    seed: int = 0

    def pick(self, quick: int, whole: int) -> int:
        """The size of a sample or the length of a run."""
        return quick if self.quick else whole

    def generator(self, stream: int = 0) -> np.random.Generator:
        """Random numbers for one purpose."""
        return np.random.default_rng([self.seed, stream])


@dataclass(frozen=True)
class Curve:
    """One line or set of points of a small figure; x and y of equal length, NaN where there is
    nothing.
    """

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    points: bool = False


@dataclass(frozen=True)
class Plot:
    """A small figure as data: curves over one pair of axes."""

    curves: Sequence[Curve]
    xlabel: str
    ylabel: str
    xscale: Literal["linear", "log"] = "log"
    yscale: Literal["linear", "log"] = "log"


@dataclass(frozen=True)
class Finding:
    """What a measurement found.

    Args:
        kind: the verdict's first words.
        measured: a number, a short text, or numbers.
        expected: the same for what the statement predicts.
        tolerance: how far apart they may be, in the words of `justification`.
        justification: why that tolerance, an argument and not a fit to this run.
        note: what qualifies the verdict; the reason found, where the claim fails.
        numbers: further evidence, name -> value.
        plot: a small figure, where one helps.
    """

    kind: Kind
    measured: Value
    expected: Value
    tolerance: float | None = None
    justification: str = ""
    note: str = ""
    numbers: Mapping[str, Value] = field(default_factory=dict)
    plot: Plot | None = None


@dataclass(frozen=True)
class Result:
    """A claim's finding, with the time it took."""

    claim: "Claim"
    finding: Finding
    seconds: float

    @property
    def verdict(self) -> str:
        """The verdict in words; begins with holds, fails, holds only or not run."""
        return self.finding.kind + (f": {self.finding.note}" if self.finding.note else "")

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the recorded one; what was not run does not count against it."""
        return self.finding.kind in (self.claim.expected_verdict, "not run")


@dataclass(frozen=True)
class Claim:
    """A statement that can be measured.

    Args:
        id: theorem or lemma, a dot, and what it says: "thm4.1.growth".
        statement: one sentence.
        source: paper and place; "eigenloop, on" it where the statement is ours.
        measure: effort -> finding.
        provenance: whose statement it is.
        quote: the paper's words and their place, where it is stated; else None.
        expected_verdict: the verdict recorded in the package; another one is reported as
            unexpected.
        shared_run: the name of a training run or the like that several claims of a module judge,
            cached by the module: they are measured in one process, where it is made once.
    """

    id: str
    statement: str
    source: str
    measure: Callable[[Effort], Finding]
    provenance: Provenance
    quote: str | None = None
    expected_verdict: Kind = "holds"
    shared_run: str | None = None

    def __post_init__(self) -> None:
        """Refuse a quotation that is missing, or that nobody wrote.

        Raises:
            ValueError: a stated claim without its quote, or another one with one.
        """
        if (self.provenance == "stated") != bool(self.quote):
            raise ValueError(
                f"claim {self.id!r} is {self.provenance}: a quote belongs to stated claims, and to"
                " those only"
            )

    def run(self, effort: Effort) -> Result:
        """Measure, and time it."""
        began = time.monotonic()
        finding = self.measure(effort)
        return Result(self, finding, time.monotonic() - began)


class Ledger:
    """The claims of one module, in the order in which they were written."""

    def __init__(self, source: str) -> None:
        """Start empty; `source` is the paper that the places belong to."""
        self.source, self.claims = source, []

    def claim(
        self,
        id: str,
        statement: str,
        *,
        place: str,
        provenance: Provenance,
        quote: str | None = None,
        expected_verdict: Kind = "holds",
        shared_run: str | None = None,
    ) -> Callable[[Callable[[Effort], Finding]], Callable[[Effort], Finding]]:
        """Decorate the function that measures a claim.

        Args:
            id: theorem or lemma, a dot, and what it says.
            statement: one sentence.
            place: in the paper.
            provenance: whose statement it is.
            quote: the paper's words and their place, "words" (Section 5); for stated claims only.
            expected_verdict: the verdict recorded in the package.
            shared_run: the name of what other claims of the module judge as well.

        Raises:
            ValueError: an identifier that is taken; a quote that is missing or out of place.
        """
        if any(claim.id == id for claim in self.claims):
            raise ValueError(f"claim {id!r} is written twice")

        def keep(measure: Callable[[Effort], Finding]) -> Callable[[Effort], Finding]:
            # no paper says ours
            whose = f"eigenloop, on {self.source}" if provenance == "ours" else self.source
            source = f"{whose}, {place}" if place else whose
            self.claims.append(
                Claim(
                    id, statement, source, measure, provenance, quote, expected_verdict, shared_run
                )
            )
            return measure

        return keep


def within(
    *,
    measured: float,
    expected: float,
    tolerance: float,
    justification: str,
    relative: bool = True,
    note: str = "",
    numbers: Mapping[str, Value] | None = None,
    plot: Plot | None = None,
) -> Finding:
    """Holds when measured and expected differ by at most `tolerance` (of |expected|, or in itself).

    Example:
        >>> within(measured=1.1, expected=1.0, tolerance=0.05, justification="reading error").kind
        'fails'
    """
    scale = abs(expected) if relative else 1.0
    kind: Kind = "holds" if abs(measured - expected) <= tolerance * scale else "fails"
    return Finding(kind, measured, expected, tolerance, justification, note, numbers or {}, plot)


def within_sigmas(
    *,
    measured: float,
    expected: float,
    standard_error: float,
    sigmas: float = 5.0,
    note: str = "",
    numbers: Mapping[str, Value] | None = None,
    plot: Plot | None = None,
) -> Finding:
    """Holds when measured and expected differ by at most `sigmas` standard errors.

    Example:
        >>> within_sigmas(measured=1.1, expected=1.0, standard_error=0.05).kind
        'holds'
    """
    finding = within(
        measured=measured,
        expected=expected,
        tolerance=sigmas * standard_error,
        relative=False,
        note=note,
        justification=f"{sigmas:g} standard errors of {standard_error:.3g}",
        numbers=numbers,
        plot=plot,
    )
    distance = abs(measured - expected) / standard_error if standard_error > 0 else 0.0
    return replace(finding, numbers={**finding.numbers, "sigmas": distance})


def every(
    passed: int,
    of: int,
    *,
    justification: str,
    note: str = "",
    numbers: Mapping[str, Value] | None = None,
    plot: Plot | None = None,
) -> Finding:
    """Holds when all of `of` cases passed.

    Example:
        >>> every(9, 10, justification="an inequality has no tolerance").kind
        'fails'
    """
    kind: Kind = "holds" if passed == of else "fails"
    return Finding(
        kind,
        f"{passed:,} of {of:,}",
        f"{of:,} of {of:,}",
        None,
        justification,
        note,
        numbers or {},
        plot,
    )
