"""Prompts cut from a text, and the rule that calibration and evaluation never see the same words
(NumPy).

A prompt is a window of consecutive tokens, with the special tokens that the model's tokenizer puts
around a text. All have one length, so that nothing is padded.
"""

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from eigenloop.system.errors import InputError

LENGTH = 24
"""Tokens of a prompt, special ones apart."""

SHINGLE = 8
"""Texts share words when this many come in the same order in both."""

RUN = 16
"""Characters that texts are compared by where one of them has no words: every RUN-th run of one,
any of the other.
"""

LONGEST_WORD = 16
"""Characters of a text for each word in it, on average, above which it has no spaces between
words.
"""

LARGEST = 1 << 24
"""Bytes of a text that are read."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """Windows of a text.

    Args:
        ids: (n, t), special tokens included.
        first: special tokens before the words.
        last: special tokens after them.
    """

    ids: Int[np.ndarray, "n t"]
    first: int
    last: int

    def __len__(self) -> int:
        """How many."""
        return len(self.ids)

    @property
    def words(self) -> slice:
        """The positions that are not special."""
        return slice(self.first, self.ids.shape[1] - self.last)

    def part(self, rows: slice) -> "Prompts":
        """Some of them."""
        return Prompts(self.ids[rows], self.first, self.last)


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        InputError: it cannot be read, is no UTF-8, is empty, or is larger than `LARGEST`.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(
                f"{path} has {path.stat().st_size:,} bytes; a text may have {LARGEST:,}: cut it"
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text (byte {error.start}); convert it") from None
    if not text.strip():
        raise InputError(f"{path} is empty; give a text of some hundred words")
    return text


def shipped() -> tuple[str, str]:
    """The packaged text in two parts that share no sentence: for calibration (two thirds) and for
    evaluation.

    Example:
        >>> calibration, evaluation = shipped()
        >>> len(calibration) > len(evaluation) > 1000
        True
    """
    file = resources.files("eigenloop.data") / TEXT
    paragraphs = [part for part in file.read_text(encoding="utf-8").split("\n\n") if part.strip()]
    cut = 2 * len(paragraphs) // 3
    return "\n\n".join(paragraphs[:cut]), "\n\n".join(paragraphs[cut:])


TEXT = "alice.txt"
"""The packaged text's file."""


def check_disjoint(calibration: str, evaluation: str) -> None:
    """Refuse texts that share `SHINGLE` words in a row; without spaces between words, 2 `RUN` - 1
    characters.

    Raises:
        InputError: they do; shows the words.

    Example:
        >>> check_disjoint("a b c", "A, b; c!")
        Traceback (most recent call last):
            ...
        eigenloop.system.errors.InputError: calibration and evaluation text share "a b c"; take
        different texts, or \
the evaluation would know the answers
    """
    texts, between, size = (_words(calibration), _words(evaluation)), " ", SHINGLE
    if any(
        len(text) > LONGEST_WORD * len(words)
        for text, words in zip((calibration, evaluation), texts, strict=True)
    ):
        texts, between, size = (_characters(calibration), _characters(evaluation)), "", RUN
    first, second = texts
    size = max(1, min(size, len(first), len(second)))
    known = {
        tuple(first[i : i + size]) for i in range(0, len(first) - size + 1, 1 if between else size)
    }
    for i in range(len(second) - size + 1):
        if tuple(second[i : i + size]) in known:
            raise InputError(
                f'calibration and evaluation text share "{between.join(second[i : i + size])}";'
                " take different texts, or the evaluation would know the answers"
            )


def cut(
    tokenizer: Any,
    text: str,
    *,
    count: int,
    length: int = LENGTH,
    at_least: int = 2,
    name: str = "text",
) -> Prompts:
    """Windows of a text, spread evenly over it, without overlap.

    Args:
        tokenizer: of transformers.
        text: what to cut.
        count: windows wanted; fewer where the text is short.
        length: tokens of each.
        at_least: fewest windows that will do.
        name: what to call the text in an error.

    Raises:
        InputError: the text is too short.
    """
    ids = np.asarray(_encode(tokenizer, text, False), dtype=np.int64)
    there = len(ids) // length
    if there < at_least:
        raise InputError(
            f"the {name} has {len(ids)} tokens, enough for {there} prompts of {length}; at least"
            f" {at_least} are needed: give a longer text"
        )
    starts = np.linspace(0, there - 1, min(count, there)).round().astype(int) * length
    before, after = _around(tokenizer)
    rows = [np.concatenate([before, ids[start : start + length], after]) for start in starts]
    return Prompts(np.stack(rows).astype(np.int64), len(before), len(after))


def encode(tokenizer: Any, text: str, *, name: str = "prompt") -> Prompts:
    """One prompt with its special tokens.

    Raises:
        InputError: no token is in it.
    """
    words = _encode(tokenizer, text, False)
    if not words:
        raise InputError(f"the {name} {text!r} has no token; give some words")
    before, after = _around(tokenizer)
    return Prompts(np.array([[*before, *words, *after]], dtype=np.int64), len(before), len(after))


def _encode(tokenizer: Any, text: str, special: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])


def _around(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """The special tokens before and after a text, found on one that has some words."""
    plain, whole = _encode(tokenizer, "the", False), _encode(tokenizer, "the", True)
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return np.array(whole[:start], np.int64), np.array(
                whole[start + len(plain) :], np.int64
            )
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _characters(text: str) -> list[str]:
    return [character for character in text.lower() if not character.isspace()]
