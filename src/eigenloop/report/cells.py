"""Single values and how they read: numbers with few digits, a dash with its reason where there
is none.
"""

import math
import re
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["neutral", "good", "warn", "bad"]

SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
DASH = "\N{EM DASH}"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_NO_NUMBER = "not a number"


@dataclass(frozen=True)
class Missing:
    """A value that is not there, and why; shown as an em dash with the reason as its title.

    Args:
        reason: one sentence fragment, for example "not run: needs eigenloop[lens]".
    """

    reason: str


@dataclass(frozen=True)
class Link:
    """A hyperlink: followed only when clicked, never loaded by the page.

    Args:
        text: what is shown.
        url: http, https or mailto, a relative path, or "#anchor".

    Raises:
        ValueError: for any other scheme.
    """

    text: str
    url: str

    def __post_init__(self) -> None:
        # Browsers ignore control characters and leading blanks when they look for the scheme.
        scheme = SCHEME.match(re.sub(r"[\x00-\x20]", "", self.url))
        if scheme and scheme[1].lower() not in {"http", "https", "mailto"}:
            raise ValueError(
                f"link {self.url!r} has scheme {scheme[1]!r}; use http, https, mailto or a relative"
                " path"
            )


@dataclass(frozen=True)
class Tag:
    """A short word with a tone, such as a verdict; the tone shows as a sign and a colour, never
    colour alone.

    Args:
        text: the word.
        tone: "neutral", "good", "warn" or "bad".
    """

    text: str
    tone: Tone = "neutral"


@dataclass(frozen=True)
class Verbatim:
    """Words that are not ours: names, paths, tokens, texts; shown letter by letter, formulas in
    them not looked for.

    Args:
        text: the words.
    """

    text: str


Cell: TypeAlias = str | bool | int | float | Real | Missing | Link | Tag | Verbatim | None


@dataclass(frozen=True)
class Shown:
    """A value as the page shows it.

    Args:
        text: the visible text.
        title: what hovering tells: every digit of a rounded number, or why a value is missing.
        kind: "text", "verbatim", "number", "missing", "link" or "tag".
        url: where a link leads.
        tone: a tag's tone.
    """

    text: str
    title: str = ""
    kind: str = "text"
    url: str = ""
    tone: Tone = "neutral"


def shown(value: Cell, spec: str = ".4g") -> Shown:
    """Decide how a value reads.

    Args:
        value: a cell.
        spec: format specification for floats.

    Raises:
        ValueError: if the specification does not fit the number.

    Example:
        >>> shown(-1.25e-7).text
        '−1.25 × 10⁻⁷'
        >>> shown(Missing("not run")).title
        'not run'
    """
    match value:
        case None:
            return Shown(DASH, kind="missing")
        case Missing(reason):
            return Shown(DASH, reason, "missing")
        case Link(text, url):
            return Shown(text, kind="link", url=url)
        case Tag(text, tone):
            return Shown(text, kind="tag", tone=tone)
        case Verbatim(text):
            return Shown(text, kind="verbatim")
        case bool():
            return Shown("yes" if value else "no")
        case str():
            return Shown(value)
        case _:
            return _number(value, spec)


def _number(value: Real | float, spec: str) -> Shown:
    if isinstance(value, Integral):
        return Shown(_typeset(str(int(value))), kind="number")
    exact = float(value)
    if math.isnan(exact):
        return Shown(DASH, _NO_NUMBER, "missing")
    if math.isinf(exact):
        return Shown("∞" if exact > 0 else "−∞", kind="number")
    try:
        text = _typeset(format(exact, spec))
    except ValueError as error:
        raise ValueError(f"format {spec!r} does not fit the number {exact!r}: {error}") from error
    full = _typeset(repr(exact))
    return Shown(text, "" if text == full else repr(exact), "number")


def _typeset(text: str) -> str:
    """Python's notation to print: a true minus sign, and powers of ten instead of e."""
    mantissa, e, exponent = text.partition("e")
    mantissa = mantissa.replace("-", "−")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}" if e else mantissa
