"""Formulas in plain text as a page, a drawing or an attribute shows them: t^(1/4), V_21 and
lambda_1 are typeset.

Statements, captions and findings are plain text, for JSON, CSV and a terminal. Where such a text
goes to a page, and there only, its formulas are found and set: powers and indices are raised and
lowered, Greek letters, sums, integrals, roots, norms, relations and minus signs get their signs.
What is no formula stays as it is: an index hangs on one letter (or a Greek one, or a norm), so that
names such as `claims_json` are left alone, and paths, addresses, file names, options, and whatever
stands in quotes or backticks are not looked into.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup, escape

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε", "epsilon": "ε", "eta": "η",
    "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "phi": "φ", "psi": "ψ", "omega": "ω", "Theta": "Θ", "Lambda": "Λ", "Sigma": "Σ",
    "Phi": "Φ", "Omega": "Ω", "Upsilon": "Υ",  # noqa: RUF001
}  # fmt: skip
"""Names of letters; they stand for their letters where no other letter, digit or point touches
them.
"""
WORDS = frozenset({"inf", "max", "min", "eff", "head", "par", "perp"})
"""Words that may be an index."""
NUMBERED = frozenset({"mu2", "beta1", "beta2", "Y1", "Y2", "X0", "a1", "a2", "b1", "b2"})
"""Letters with a number behind them that are indexed; "(A1)" and "L2" are names."""

_LETTER = "|".join(sorted(GREEK, key=len, reverse=True))
_ENDINGS = "csv|json|html|png|pdf|svg|npy|npz|txt|tsv|toml|md|py|safetensors|bin|parquet|xlsx"
_KEPT = re.compile(
    rf"""
    (?: "[^"\n]*" | “[^”\n]*” | `[^`\n]*`                      # quoted
    | [a-z][a-z0-9+.-]*://\S+ | \b[A-Za-z]:\\\S+               # an address, a path on Windows
    | (?<![\w-])--[a-z][\w-]*                                  # an option
    | (?:(?<=[\s(])|^)(?:~|\.{{1,2}})?/[\w.~-]+(?:/[\w.~-]*)*   # a path from the root or from here
    | (?<![\w./-])[\w.-]*\w\.(?:{_ENDINGS})\b )                # a file
    """,
    re.VERBOSE,
)
_STEPS = re.compile(r"(?<![\w./~-])[\w.~-]+(?:/[\w.~-]+)+/?(?![\w(^*{|])")
"""What may be a path, or a quotient: `_is_path` tells."""
_BASE = re.compile(rf"(?:(?<![\w.])(?<!\w-)(?:{_LETTER}|[A-Za-z])|\|\||xbar)\*?'*$")
"""What an index may hang on, at the end of what stands before it."""
_INDEX = re.compile(rf"(\d+|(?:{'|'.join(sorted(WORDS))}|{_LETTER}|[A-Za-z])(?![A-Za-z0-9]))")
_POWER = re.compile(r"(-?(?:\d+/\d+|\d+(?:\.\d+)?|[A-Za-z]+(?![A-Za-z0-9_])|(?=[({])|\*))")
_QUANTITY = re.compile(rf"-?[\d.]+|(?:{_LETTER}|[A-Za-z])_\w+|{'|'.join(sorted(NUMBERED))}")
_SCIENTIFIC = re.compile(r"(?<![\w.-])(\d+(?:\.\d+)?)e([+-]?\d+)(?![\w.]*\w)")
_OPEN = {"(": ")", "{": "}"}
_SIGNS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"-> infinity\b"), "→ ∞"),
    (re.compile(r"(?<= )->(?= )"), "→"),
    (re.compile(r"<="), "≤"),
    (re.compile(r">="), "≥"),
    (re.compile(r"!="), "≠"),
    (re.compile(r"(?<= )~(?= )"), "∼"),  # noqa: RUF001
    (re.compile(r"\|\|"), "‖"),
    (re.compile(r"(?:(?<=[\w)\]}|‖*'])|^) \. (?=[\w(‖])"), " · "),
    (re.compile(r"(?<= )-(?= )"), "−"),
    (
        re.compile(
            rf"(?:(?<=[\s(\[=/|])|^)-(?=(?:{_LETTER}|[A-Za-z])?[\d(\[_|]|(?:{_LETTER}|[A-Za-z])\b)"
        ),
        "−",
    ),
    (re.compile(r"(?<![\w-])([A-Za-z])-(?=\d+\b)"), r"\1−"),
    (re.compile(r"\bsqrt\((\w+)\)"), r"√\1"),
    (re.compile(r"\bsqrt\("), "√("),
    (re.compile(r"\bint (?=[(A-Z\d])"), "∫ "),
    (re.compile(r"\bxbar\b"), "x\N{COMBINING MACRON}"),
    (re.compile(rf"(?<![\w.])(?<!\w-)({_LETTER})(?![\w.]*\w|-\w)"), lambda found: GREEK[found[1]]),
)
_UP = dict(zip("0123456789+-−()/=kLTHhntdi", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁽⁾ᐟ⁼ᵏᴸᵀᴴʰⁿᵗᵈⁱ", strict=True))
_DOWN = dict(
    zip(
        "0123456789+-−()=aehijklmnoprstuvxβγρφ",
        "₀₁₂₃₄₅₆₇₈₉₊₋₋₍₎₌ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩ",
        strict=True,
    )
)


@dataclass(frozen=True)
class Raised:
    """What is raised, or lowered; `source` is how it was written."""

    parts: "tuple[Part, ...]"
    up: bool
    source: str


Part: TypeAlias = str | Raised


def typeset(text: str) -> Markup:
    """A text as HTML, with its formulas typeset and everything else escaped.

    Args:
        text: plain text, such as a statement or a caption.

    Example:
        >>> typeset("gamma_t grows like t^(1/3), n < 9")
        Markup('γ<sub>t</sub> grows like t<sup>1/3</sup>, n &lt; 9')
    """
    return Markup("").join(_html(part) for part in parts(text))


def unicode(text: str) -> str:
    """The same in characters alone, for attributes and for titles; what Unicode cannot raise stays
    as it was written.

    Example:
        >>> unicode("||W_O|| <= lambda_1 t^(1/4)")
        '‖W_O‖ ≤ λ₁ t¹ᐟ⁴'
    """
    return "".join(part if isinstance(part, str) else _characters(part) for part in parts(text))


def mathtext(text: str) -> str:
    r"""The same as Matplotlib writes it, for the labels of a drawing.

    Example:
        >>> print(mathtext("gamma_t, t^(1/4)"))
        γ$_{\mathrm{t}}$, t$^{\mathrm{1/4}}$
    """
    return "".join(
        part.replace("$", r"\$") if isinstance(part, str) else f"${_tex(part)}$"
        for part in parts(text)
    )


def parts(text: str) -> tuple[Part, ...]:
    """The text in its parts: what stands on the line, what is raised and what is lowered."""
    found: list[Part] = []
    for piece, plain in _pieces(text):
        found += [piece] if plain else _raised(piece)
    return tuple(found)


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, each with whether it is left as it is."""
    spans = [match.span() for match in _KEPT.finditer(text)]
    spans += [match.span() for match in _STEPS.finditer(text) if _is_path(match[0])]
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            yield text[end:start], False
            yield text[start:stop], True
            end = stop
    yield text[end:], False


def _is_path(words: str) -> bool:
    """Whether words with slashes between them are a path: where one of them is no letter,
    number, index or "name".
    """
    steps = words.rstrip(".").split("/")
    return any(
        len(step) > 1 and step not in GREEK and not _QUANTITY.fullmatch(step) for step in steps
    )


def _raised(text: str) -> list[Part]:
    """Powers and indices, found from left to right; what lies between them gets its signs."""
    found: list[Part] = []
    text = _SCIENTIFIC.sub(lambda found: f"{found[1]} × 10^{int(found[2])}", text)
    text = re.sub(r"\b(d_head|[dnk]|\d+) x (?=(?:d_head|[dnk]|\d+)\b)", r"\1 × ", _numbered(text))
    begin = at = 0
    while at < len(text):
        content = _content(text, at) if text[at] in "^_" else None
        if content is None:
            at += 1
            continue
        inside, end = content
        found += [
            _signs(text[begin:at], text[at]),
            Raised(tuple(_raised(inside)), text[at] == "^", text[at:end]),
        ]
        begin = at = end
    return [part for part in [*found, _signs(text[begin:], "")] if part != ""]


def _content(text: str, at: int) -> tuple[str, int] | None:
    """What is raised or lowered by the sign at a place, and where it ends; None where the sign
    is none.
    """
    before, up = text[:at], text[at] == "^"
    if up:
        if not re.search(r"[\w)\]}|*']$", before):
            return None
        match = _POWER.match(text, at + 1)
        sign = match[0] if match else ""
    else:
        base = _BASE.search(before) or re.search(r"(?<!\w)sum$", before)
        match = _INDEX.match(text, at + 1) if base else None
        sign = match[0] if match else ""
        if base and match is None and text[at + 1 : at + 2] in _OPEN:
            sign = ""
        elif match is None:
            return None
    start = at + 1 + len(sign)
    if match is not None and sign not in ("", "-"):
        return sign.replace("-", "−"), start
    if text[start : start + 1] not in _OPEN:
        return None
    stop = _closing(text, start)
    if stop is None:
        return None
    inside = text[start + 1 : stop]
    grouped = f"−({inside})" if sign == "-" else inside
    return grouped, stop + 1


def _closing(text: str, start: int) -> int | None:
    """Where the bracket that opens at a place closes."""
    opens, depth = text[start], 0
    for place in range(start, len(text)):
        depth += (text[place] == opens) - (text[place] == _OPEN[opens])
        if depth == 0:
            return place
    return None


def _numbered(text: str) -> str:
    """Y1 as Y_1, for the letters that are indexed so."""
    names = "|".join(sorted(NUMBERED))
    return re.sub(
        rf"(?<![\w.])({names})(?![\w.]*\w)", lambda found: f"{found[0][:-1]}_{found[0][-1]}", text
    )


def _signs(text: str, after: str) -> str:
    """Signs and Greek letters; `after` is the sign that follows: "sum" is one before an index
    only.
    """
    if after == "_":
        text = re.sub(r"(?<!\w)sum$", "∑", text)
    for pattern, sign in _SIGNS:
        text = pattern.sub(sign, text)
    return text


def _html(part: Part) -> Markup:
    if isinstance(part, str):
        return escape(part)
    tag = "sup" if part.up else "sub"
    inside = Markup("").join(_html("∞" if each == "inf" else each) for each in part.parts)
    return Markup(f"<{tag}>{inside}</{tag}>")


def _characters(part: Raised) -> str:
    table = _UP if part.up else _DOWN
    if all(isinstance(each, str) and all(sign in table for sign in each) for each in part.parts):
        return "".join(table[sign] for each in part.parts for sign in str(each))
    return part.source


def _tex(part: Part) -> str:
    if isinstance(part, str):
        words = "∞" if part == "inf" else part
        return rf"\mathrm{{{words.replace(' ', chr(92) + ' ')}}}"
    return f"{'^' if part.up else '_'}{{{''.join(map(_tex, part.parts))}}}"
