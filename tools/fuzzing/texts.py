"""Texts and vectors, damaged: what --text, --calibrate, --direction, --toward and --contrast are
given.
"""

import io
import random
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.lens.model.loaded import load
from eigenloop.lens.text.texts import SAMPLE, encode, passages
from eigenloop.steer.directions import contrast, from_file, toward_token
from eigenloop.steer.prompts import check_disjoint, cut, read_text
from eigenloop.system.errors import InputError
from fuzzing.changes import damaged
from fuzzing.checkpoints import small_models

PIECES = ["\n\n", "\n", " ", ". ", "Mr. A ", "w7 ", "A", ")", '." ', "\u3002", "\ufeff", "\x85",
          "\u2028", "\r", "\x0b", "é", "\U0001f600", "!!", "1. ", "_ ", "[SEP]", "[UNK] ",
          "\u200b"]  # fmt: skip
ENCODINGS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "latin-1",
    "cp1252",
    "shift-jis",
]
WIDTH = 32
KINDS = ["<f8", ">f8", "<f4", "<f2", "<i8", "|u1", "<c16", "|b1", "|O", "<U4", "|S3", "<M8[s]",
         "<g16", "|V8", "<f16", "f8", "x", "<f3", "('a', '<f8')", ""]  # fmt: skip
SHAPES = ["(32,)", "(1, 32)", "()", "(0,)", "(33,)", "(-1,)", "(4294967296,)",
          "(1152921504606846976,)", "(32, 0)", "(1,) * 70", "32", "(32.0,)", "('a',)", "None",
              "(True,)", "(" + "1, " * 80 + ")"]  # fmt: skip


class Texts:
    """The readers of texts, down to the tokens."""

    def __init__(self, folder: Path) -> None:
        """A part of the packaged text, and a model that reads it."""
        text = SAMPLE.read_text(encoding="utf-8")
        self._seeds = [
            text[:4000],
            text[20_000:21_000],
            "One line here.\nAnd one more.\n",
            "w5 w6 w7. W8 w9!\n\nw5 w6 " * 20,
        ]
        self._model = model(folder)

    def make(self, rng: random.Random) -> dict[str, bytes]:
        """Two texts, the second often the same as the first."""
        return {name: self._text(rng) for name in ("text.txt", "other.txt")}

    def _text(self, rng: random.Random) -> bytes:
        text = rng.choice(self._seeds)
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(PIECES) * rng.choice([1, 3, 300, 20_000]) + text[at:]
        encoding = rng.choice(ENCODINGS) if rng.random() < 0.2 else "utf-8"
        content = text.encode(encoding, "replace")
        return damaged(rng, content, [content, b"\xff", b""]) if rng.random() < 0.6 else content

    def read(self, folder: Path, rng: random.Random) -> None:
        """Divide and tokenise as the lens does, cut as steering does; each reader's reasons are
        checked.
        """
        del rng
        path, refused = folder / "text.txt", None
        try:
            found = passages(path)
            assert found.texts, "no passages"
            assert all(passage.strip() for passage in found.texts), "an empty passage"
            encode(self._model, found)
        except InputError as error:
            _true(path, str(error))
            refused = error
        try:
            texts = [read_text(folder / name) for name in ("text.txt", "other.txt")]
            for text in texts:
                cut(self._model.tokenizer, text, count=8)
            check_disjoint(*texts)
        except InputError as error:
            if str(path) in str(error):
                _true(path, str(error))
            refused = error
        if refused is not None:
            raise refused


class Directions:
    """The readers of directions: a vector in a file, a token, two prompts."""

    def __init__(self, folder: Path) -> None:
        """Vectors of the width of a model that predicts tokens."""
        self._model, rng = model(folder), np.random.default_rng(0)
        self._seeds = []
        for values in (
            rng.standard_normal(WIDTH),
            rng.standard_normal((1, WIDTH)).astype("f4"),
            np.arange(WIDTH),
        ):
            buffer = io.BytesIO()
            np.save(buffer, values)
            self._seeds.append(buffer.getvalue())
        buffer = io.BytesIO()
        np.savez(buffer, a=rng.standard_normal(WIDTH))
        self._seeds.append(buffer.getvalue())

    def make(self, rng: random.Random) -> dict[str, bytes]:
        """A vector with a damaged header or damaged bytes, and words."""
        content = rng.choice(self._seeds)
        if rng.random() < 0.5:
            about = (
                f"{{'descr': {rng.choice(KINDS)!r}, 'fortran_order':"
                f" {rng.choice(['False', 'True', '0'])}, "
            )
            content = _npy(about + f"'shape': {rng.choice(SHAPES)}, }}", content[128:])
        if rng.random() < 0.6:
            content = damaged(rng, content, self._seeds)
        words = "".join(
            rng.choice(["w7", "w9 ", " ", "w8 w9", *PIECES])
            for _ in range(rng.choice([0, 1, 2, 60]))
        )
        return {"vector.npy": content, "words": words.encode("utf-8", "surrogatepass")}

    def read(self, folder: Path, rng: random.Random) -> None:
        """Read the vector, then the words as a token and as a prompt."""
        words = (folder / "words").read_text(encoding="utf-8")
        readers = (
            lambda: from_file(self._model, folder / "vector.npy"),
            lambda: toward_token(self._model, words),
            lambda: contrast(self._model, words, "w6 w9"),
        )
        reader = rng.choices(readers, [10, 1, 1])[0]
        found = reader().vector
        assert found.shape == (WIDTH,), f"shape {found.shape}"
        assert abs(np.linalg.norm(found) - 1) < 1e-12, f"length {np.linalg.norm(found)}"


def model(folder: Path) -> Any:
    """A small GPT-2 with its head, and a tokenizer over words."""
    directory = next(path for path in small_models(folder) if path.name == "gpt2")
    from words import tokenizer  # beside small_models

    return load(str(directory), tokenizer=tokenizer(), device="cpu")


def _npy(header: str, data: bytes) -> bytes:
    text = header.encode("latin-1", "replace")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def _true(path: Path, message: str) -> None:
    """The reason given for a text holds of its bytes."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    holds = {
        "UTF-8 text": text is None or "\0" in text,
        "zero byte": b"\0" in raw,
        "is empty": text is not None and not text.strip(),
        "has no words": text is not None,
        "no tokens to count": text is not None,
    }
    for claim, true in holds.items():
        assert claim not in message or true or "give a UTF-8 text file" in message, (
            f"a false reason: {message}"
        )
