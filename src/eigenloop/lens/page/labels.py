"""How the pages of the lens write eigenvalues, flags, notes and names of models."""

from collections.abc import Sequence
from pathlib import Path

from eigenloop import report
from eigenloop.lens.page.draw import SIGNS
from eigenloop.system import wording

FACTORS = {
    "modulus": "|λ|",
    "consensus": "|1 + λ|",
    "layernorm": "growth of one step, normalisation included",
}
"""What is largest at the leader, by rule."""


def number(value: complex) -> str:
    """An eigenvalue as a person writes it.

    Example:
        >>> number(-1.5 + 0.25j), number(2.0 + 0j)
        ('−1.5 ± 0.25i', '2')
    """
    return wording.number(value).replace("-", "\N{MINUS SIGN}")


def noted(notes: Sequence[str]) -> report.Note:
    """Notes as one paragraph, each a sentence; a path at its beginning stays as it is.

    Example:
        >>> noted(["weights are shared", "my/text.txt was divided"]).text
        'Weights are shared. my/text.txt was divided.'
    """
    begun = (
        note[:1].upper() + note[1:] if note.split(" ")[0].isalpha() else note for note in notes
    )
    return report.Note(" ".join(f"{note.rstrip('.')}." for note in begun))


def capitalised(words: str) -> str:
    """Words at the beginning of a line.

    Example:
        >>> capitalised("the one block")
        'The one block'
    """
    return words[:1].upper() + words[1:]


def short_name(source: str) -> str:
    """The last two parts of a path; a hub name has no more.

    Example:
        >>> short_name("/home/me/models/gpt2-small/")
        'models/gpt2-small'
    """
    return "/".join(Path(source).parts[-2:])


def signed(flag: str) -> str:
    """The word for an eigenvalue's kind, behind its sign.

    Example:
        >>> signed("positive")
        '+ positive'
    """
    return f"{SIGNS[flag]} {flag}"
