"""Numbers that the docs repeat of a claim's quick form: where they stand, and where they come
from.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from eigenloop.claims import Finding

ROOT = Path(__file__).resolve().parents[1]


class Repeated(NamedTuple):
    """`pattern` finds the numbers on a page; `path` leads to them: a field of the finding, then
    keys and indices.
    """

    page: str
    claim: str
    path: tuple[str, ...]
    pattern: str
    scale: float = 1.0
    each: tuple[int, ...] = ()
    """Which ones of a list."""


BEYOND, FINDINGS, LEMMAS = "docs/theory/beyond.md", "docs/findings.md", "docs/theory/lemmas.md"
WALL = "docs/theory/past_the_wall.md"
MEASURED, EXPECTED = ("measured",), ("expected",)


def on(
    page: str, claim: str, *repeated: tuple[tuple[str, ...], str] | tuple[str, str]
) -> list[Repeated]:
    """Several numbers of one claim on one page; a path that is one word is a key of the
    evidence.
    """
    return [
        Repeated(page, claim, ("numbers", path) if isinstance(path, str) else path, pattern)
        for path, pattern in repeated
    ]


REPEATED = (
    *on(
        BEYOND, "beyond.stability.normalized",
        (MEASURED, r"a\^2 - b\^2 = 1 \| (\S+) \(symmetric traceless"),
        ("falling directions", r"\(symmetric traceless, (\d+) directions"),
        ("at balance a = b", r"directions\); (\S+) at a = b"),
    ),
    *on(BEYOND, "beyond.stability.unnormalized", (MEASURED, r"unnormalised target \| (\S+) \|")),
    Repeated(
        BEYOND, "beyond.stability.any_loops", MEASURED,
        r"lowest eigenvalue is (\S+) and (\S+), with L = 3, 5, 10, 20 and 50 it is "
        r"(\S+), (\S+), (\S+), (\S+) and (\S+)\.",
        each=(0, 1, 2, 4, 6, 7, 8),
    ),
    *on(
        BEYOND, "beyond.escape.floor",
        (MEASURED, r"8 \+ 8 with loss (\S+),"),
        ("f*", r"f\* = (0\.\d+)\. SGD"),
    ),
    Repeated(BEYOND, "beyond.escape.floor", ("numbers", "below f* by"), r", (\d+) % under the",
    100),
    *on(BEYOND, "beyond.escape.split", ("best split of 11 + 5",
    r"split of 11 \+ 5 has a loss of (0\.\d+)")),
    *on(
        BEYOND, "beyond.escape.rate",
        (MEASURED, r"measured (0\.\d+)\)\. The best split"),
        ("steps per e-fold", r"e-fold (\S+) steps;"),
    ),
    *on(
        BEYOND, "beyond.sharpness.population",
        ("largest stable learning rate on this path", r"up to a learning rate of (\S+)\. But"),
    ),
    *on(
        BEYOND, "beyond.chaos",
        (MEASURED, r"part by a factor (\S+) per step at 0\.1"),
        ("growth per step at 0.01", r"and (\S+) at 0\.01\. The exponent"),
        ("population's", r"where the population's is (\S+)\. \("),
    ),
    *on(
        BEYOND, "beyond.chaos.exponent",
        (MEASURED, r"survives it: (\S+) for SGD over steps 100 to 1,000"),
        ("exponent of the population over the same steps", r"slow to settle, has (\S+) \("),
    ),
    *on(
        BEYOND, "beyond.momentum.clock.looped",
        (MEASURED, r"add up to (\S+) steps per unit"),
        ("from inertia", r"unit of log t \((\S+) and"),
        ("from a^2 - b^2", r"unit of log t \(\S+ and (\S+)\): ahead"),
        ("a^2 - b^2 with momentum", r"ends at (\S+) \(L loops\)"),
        ("without", r"plain gradient descent at (\S+) and"),
    ),
    *on(
        BEYOND, "beyond.momentum.clock.single",
        (EXPECTED, r"With one layer (\S+) t\^\(1/3\) wins"),
        ("a^2 - b^2 with momentum", r"and (\S+) \(one layer\), plain"),
        ("without", r"plain gradient descent at \S+ and (\S+)\. Since"),
    ),
    *on(
        BEYOND, "beyond.finite_samples",
        ("f_inf", r"ends under f_inf = (\S+) and"),
        ("training loss", r"N = 640, (\S+) and \S+; N = 5,120, (\S+) and"),
        ("test loss", r"N = 640, \S+ and (\S+); N = 5,120, \S+ and (\S+) after"),
        ("gap after a hundredth of the steps", r"3,000 steps is (\S+), \S+, \S+ and (\S+),"),
        ("after a tenth", r"3,000 steps is \S+, (\S+), \S+ and \S+, (\S+),"),
        ("at the end", r"3,000 steps is \S+, \S+, (\S+) and \S+, \S+, (\S+)\."),
    ),
    *on(
        FINDINGS, "thm4.1.no_minimizer.negative",
        (EXPECTED, r"on Task 2 have loss (\S+), under"),
        ("f_inf", r"on Task 2 have loss \S+, under f_inf = (\S+) \|"),
    ),
    *on(
        LEMMAS, "lemB.3.overshoot",
        ("normalized: learning rate on Task 2", r"passes gamma\* above (\S+) and"),
        ("unnormalized: learning rate on Task 2", r"passes gamma\* above \S+ and (\S+)\. kappa"),
    ),
    *on(
        LEMMAS, "lemB.3.diverge",
        ("normalized: learning rate on Task 2", r"(\S+) and \S+ on Task 2\. That"),
        ("unnormalized: learning rate on Task 2", r"\S+ and (\S+) on Task 2\. That"),
    ),
    *on(
        WALL, "beyond.filter.gain",
        (EXPECTED, r"ten loops its loss is (\S+), a tenth"),
        ("f_inf", r"method's f_inf = (\S+), and"),
        ("contraction", r"contracts by (\S+) per loop against"),
        ("contraction of the power method", r"per loop against (0\.8)\. Nothing"),
        ("rho*", r"\| 0\.009903 \| (\S+) \| -"),
        ("gamma", r"\| 0\.009903 \| \S+ \| (\S+) \|"),
    ),
    *on(
        WALL, "beyond.filter.stable",
        (MEASURED, r"multiples of I is (\S+), (\S+), (\S+), (\S+) and (\S+) at a = -b"),
        ("where descent from (1, -1/2) ends",
         r"3, 5 and 10, and (\S+), (\S+), (\S+), (\S+) and (\S+) where descent"),
    ),
    *on(
        WALL, "beyond.filter.residual",
        (MEASURED, r"on Task 2 has (\S+), (\S+) and (\S+) after 1,000"),
        ("with c fixed at 1, after 1,000 steps",
         r"c fixed at 1 has (\S+), (\S+) and (\S+), above f_inf"),
    ),
    *on(
        WALL, "beyond.filter.split",
        ("at the shifted minimum, 2, 3, 5, 10 layers",
         r"shifted minimum it is (\S+), (\S+), (\S+) and (\S+) for"),
    ),
    *on(WALL, "beyond.filter.zero", ("3 of 4 roots, lambda_1 = 5",
    r"its four eigenvalues: (0\.\d+)\.")),
    *on(
        WALL, "beyond.filter.starts.flow",
        ("16 x 16, lambda_1", r"one X with lambda_1 = (\S+) the loss"),
        ("16 x 16 from -1/2: loss after 5,000 steps at 0.1", r"is still (\S+) after 5,000"),
    ),
    *on(
        WALL, "beyond.filter.loses",
        ("iris, shift and power method", r"contracts by (\S+) where the power method has (\S+),"),
        ("wine, shift and power method", r"wine by (\S+) where it has (0\.\d+);"),
    ),
)  # fmt: skip


@cache
def text(page: str) -> str:
    """A page, each paragraph on one line."""
    return re.sub(r"(?<!\n)\n *(?!\n|\|| )", " ", (ROOT / page).read_text(encoding="utf-8"))


def of(claim: str) -> list[Repeated]:
    """What the docs repeat of a claim."""
    return [each for each in REPEATED if each.claim == claim]


def compare(each: Repeated, finding: Finding) -> None:
    """Every number on the page is the measured one, to its last digit."""
    said = re.findall(each.pattern, text(each.page))
    assert len(said) == 1, (each.pattern, said)
    words = [said[0]] if isinstance(said[0], str) else list(said[0])
    value: Any = finding
    for key in each.path:
        value = getattr(value, key) if isinstance(value, Finding) else value[key]
    found = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    found = [found[i] for i in each.each] if each.each else found
    assert len(found) == len(words), (each.pattern, found, words)
    for word, number in zip(words, found, strict=True):
        last = len(word.partition(".")[2])
        assert isinstance(number, int | float)
        assert abs(float(word.replace(",", "")) - each.scale * number) <= 0.5001 * 10**-last, (
            each.claim,
            word,
            number,
        )
