"""What a figure's page says of the paper's sentences: each judged part by part, from what is drawn.

A sentence's parts are judged by one function (`eigenloop.figures.sentences`), which the page and
the claims both call:

    held       every part held in these runs
    partly     some parts held
    not held   no part held
    too short  the runs end before the paper's own shortest window
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["held", "partly", "not held", "too short"]
OUTCOMES: tuple[Outcome, ...] = ("held", "partly", "not held", "too short")


@dataclass(frozen=True)
class Sentence:
    """Something that is said of a figure.

    Args:
        figure: 1 to 8.
        topic: what it is about, in a word or two.
        says: the paper's words; ours where `whose` is not "stated".
        place: of the words, or of the curves that were read off.
        whose: stated in the paper's text, read off a figure of it, or asked by eigenloop.
    """

    figure: int
    topic: str
    says: str
    place: str
    whose: Literal["stated", "figure", "ours"] = "stated"

    @property
    def quote(self) -> str:
        """The words with their place, as a claim quotes them."""
        return f'"{self.says}" ({self.place})'


@dataclass(frozen=True)
class Part:
    """One part of a sentence.

    Args:
        what: the part, in words.
        held: whether it held.
        found: what was measured, with numbers.
        holds_where: the criterion, with its reason.
        value: the number that decides.
    """

    what: str
    held: bool
    found: str
    holds_where: str
    value: float


@dataclass(frozen=True)
class Judgement:
    """A sentence, its parts, and how they came out.

    Args:
        sentence: what is judged.
        parts: in the sentence's order; none of them decides where `short` is true.
        short: whether the runs are too short to judge by.
        summary: the parts in one line, where there are many.
        note: what else a reader must know, such as what happens after the paper's window.
    """

    sentence: Sentence
    parts: Sequence[Part]
    short: bool = False
    summary: str = ""
    note: str = ""

    @property
    def outcome(self) -> Outcome:
        """held, partly, not held or too short.

        Example:
            >>> parts = [
            ...     Part("a", True, "1", "above 0", 1.0),
            ...     Part("b", False, "-1", "above 0", -1.0),
            ... ]
            >>> Judgement(Sentence(1, "demo", "Both are positive.", "Section 5"), parts).outcome
            'partly'
        """
        if self.short:
            return "too short"
        held = [part.held for part in self.parts]
        return "held" if all(held) else "partly" if any(held) else "not held"

    def __str__(self) -> str:
        topic = self.sentence.topic
        return (
            f"{topic[0].upper()}{topic[1:]}: {self.outcome}."
            f" {self.words[0].upper()}{self.words[1:]}."
        )

    def plain(self) -> dict[str, Any]:
        """The judgement as JSON takes it."""
        said = self.sentence
        parts = [
            {
                "part": part.what,
                "held": None if self.short else part.held,
                "measured": part.found,
                "value": part.value if math.isfinite(part.value) else None,
                "holds_where": part.holds_where,
            }
            for part in self.parts
        ]
        return {
            "topic": said.topic,
            "says": said.says,
            "place": said.place,
            "provenance": said.whose,
            "outcome": self.outcome,
            "measured": self.words,
            "parts": parts,
        }

    @property
    def words(self) -> str:
        """What was measured: the parts that did not hold first, those that did after them."""
        missed, held = (
            [part.found for part in self.parts if part.held == wanted] for wanted in (False, True)
        )
        said = [self.summary] if self.summary else [*missed, *held]
        return "; ".join([*said, *([self.note] if self.note else [])])
