"""Texts as passages, and passages as batches of tokens that a model can be run on.

A passage is what intervals resample over: a sentence of a text, a line of a list, or an element of
a sequence.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from eigenloop.lens.model.loaded import Model
from eigenloop.lens.model.pretrained import quiet
from eigenloop.system.errors import InputError

LARGEST = 64 * 2**20
"""Bytes of the largest text file that is read."""

TOKENS_PER_BATCH = 2048
"""Tokens, padding included, that are run at once; at least one passage."""

SAMPLE = Path(__file__).parents[2] / "data" / "alice.txt"
"""A text in the public domain that is packaged with the project (see
src/eigenloop/data/README.md).
"""

_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Rev|Capt|Col|Gen|Lieut|Messrs|Esq|viz|vs|i\.e|e\.g)|\b[A-Z])\.$"
)
LONGEST_ABBREVIATION = 12
"""Characters before a sentence's end that are looked at for one: more than any has, with what
stands before it.
"""

_BOUNDARY = re.compile(
    "(?<=[.!?])[\"')\\]\u2019\u201d]*(\\s+)(?=[\"'(\\[\u2018\u201c]*[A-Z0-9])"
    # full-width punctuation is not followed by white space
    "|(?<=[\u3002\uff01\uff1f])(\\s*)(?=\\S)"
)


@dataclass(frozen=True)
class Passages:
    """A text in pieces.

    Args:
        texts: the passages.
        source: the file, or what the caller gave.
        notes: how it was divided, in sentences.
    """

    texts: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """Inputs of one run of a model.

    Args:
        inputs: what the model is called with, by name: `input_ids` and `attention_mask`, or
            `pixel_values`.
        counted: (rows, n), the tokens that statistics see: never padding; None for all.
        passage: (rows,), the passage of each row.
        piece: (rows,), which piece of it, from 0, where it was longer than the context.
    """

    inputs: Mapping[str, np.ndarray]
    counted: Bool[np.ndarray, "rows n"] | None
    passage: Int[np.ndarray, " rows"]
    piece: Int[np.ndarray, " rows"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoded:
    """A text in batches.

    Args:
        batches: long rows first, so that little is padded.
        passages: how many passages have a counted token; they are numbered from 0 in the order of
            the text.
        tokens: how many tokens are counted.
        notes: what was split, left out or excluded, in sentences.
        source: the file, or what the caller gave.
    """

    batches: tuple[Batch, ...]
    passages: int
    tokens: int
    notes: tuple[str, ...]
    source: str = "the text"


def sentences(text: str) -> tuple[str, ...]:
    r"""The sentences of a text whose paragraphs are separated by blank lines; without blank lines,
    its lines.

    A sentence ends at . ! or ? before white space and a capital letter or digit, except after a
    usual abbreviation or an initial. What has neither letter nor digit is left out.

    Example:
        >>> sentences("It rose. Mr. Low saw\nit! \n\n * * *\n\nThe end")
        ('It rose.', 'Mr. Low saw it!', 'The end')
    """
    paragraphs = re.split(r"\n\s*\n", text.strip())
    if len(paragraphs) == 1:
        found = text.splitlines()
    else:
        found = [
            sentence for paragraph in paragraphs for sentence in _cut(" ".join(paragraph.split()))
        ]
    return tuple(sentence.strip() for sentence in found if re.search(r"[^\W_]", sentence))


def passages(text: Path | str | Sequence[object] | Passages) -> Passages:
    """A text in pieces.

    Args:
        text: a file (a Path), a text (a str), or passages that are taken as they are.

    Raises:
        InputError: the file cannot be read, is no UTF-8 text or too large, or nothing is in it.
    """
    if isinstance(text, Passages):
        return text
    if isinstance(text, Path):
        return _divided(_read(text), str(text))
    if isinstance(text, str):
        return _divided(text, "the text")
    kept = []
    for passage in text:
        if not isinstance(passage, str):
            raise InputError(f"a passage is of type {type(passage).__name__}; give strings")
        kept += [passage] if passage.strip() else []
    if not kept:
        raise InputError("the text is empty; give at least 2 passages")
    return Passages(tuple(kept), "the passages")


def encode(model: Model, text: Passages, *, special: bool = False) -> Encoded:
    """Tokenise passages for a model, in batches of similar length.

    Special tokens ([CLS], [SEP], <s>, ...) are always in the input where the tokenizer puts them,
    because the model was trained with them; `special` says whether statistics count them. Padding
    is never counted. A passage longer than the model's context is cut into pieces, each with its
    own special tokens.

    Args:
        model: with its tokenizer.
        text: the passages.
        special: count special tokens.

    Raises:
        InputError: the model has no tokenizer or reads no text, or nothing is left to count.
    """
    if not model.takes_text:
        raise InputError(
            f"{model.source} ({model.model_type}) reads images, not text; pass Batch(pixel_values)"
            " to stream"
        )
    if model.tokenizer is None:
        reason = next(
            (note for note in model.notes if "tokenizer" in note), "pass tokenizer= with the model"
        )
        raise InputError(f"{model.source} has no tokenizer: {reason}")
    with quiet():
        found = model.tokenizer(
            list(text.texts), add_special_tokens=True, return_special_tokens_mask=True
        )
    rows: list[tuple[int, int, list[int], np.ndarray]] = []
    cut, empty, number, marks = 0, 0, 0, 0
    for ids, mask in zip(found["input_ids"], found["special_tokens_mask"], strict=True):
        is_special = np.array(mask, bool)
        if not len(ids) or (is_special.all() and not special):
            empty += 1
            continue
        pieces = _pieces(ids, is_special, model)
        cut += len(pieces) > 1
        for piece, (part, inserted) in enumerate(pieces):
            marks += int(inserted.sum())
            rows.append((number, piece, part, np.ones(len(part), bool) if special else ~inserted))
        number += 1
    if not number:
        raise InputError(f"{text.source} has no tokens to count; give a text with words")
    notes = list(text.notes)
    if cut:
        notes.append(
            f"{cut} of {number} passages are longer than the context of {model.context} tokens and"
            " were split"
        )
    if empty:
        notes.append(f"{empty} passages have no token and were left out")
    if marks:
        notes.append(
            f"the {marks} special tokens are"
            f" {'counted' if special else 'in the input but not counted'}"
        )
    return Encoded(
        batches=_batches(rows, model),
        passages=number,
        tokens=sum(int(counted.sum()) for *_, counted in rows),
        notes=tuple(notes),
        source=text.source,
    )


def _read(path: Path) -> str:
    shown = str(path) if str(path).isprintable() else repr(str(path))
    try:
        kind = (
            "a directory"
            if path.is_dir()
            else "a file"
            if path.is_file()
            else "other"
            if path.exists()
            else "none"
        )
        size = path.stat().st_size if kind == "a file" else 0
        raw = path.read_bytes() if kind == "a file" and size <= LARGEST else b""
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {shown}: {getattr(error, 'strerror', None) or error}"
        ) from None
    if kind != "a file":
        what = {
            "a directory": "is a directory",
            "other": "is no ordinary file",
            "none": "does not exist",
        }[kind]
        raise InputError(f"{shown} {what}; give a UTF-8 text file")
    if size > LARGEST:
        raise InputError(
            f"{shown} has {size:,} bytes; at most {LARGEST:,} are read: give a part of it"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{shown} is not UTF-8 text; save it as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{shown} holds binary data (a zero byte); give a UTF-8 text file")
    if not text.strip():
        raise InputError(f"{shown} is empty; give a text of at least 2 sentences")
    return text.replace("\r\n", "\n")


def _divided(text: str, source: str) -> Passages:
    found = sentences(text)
    if not found:
        raise InputError(f"{source} has no words; give a text of at least 2 sentences")
    by_lines = not re.search(r"\n\s*\n", text.strip())
    unit = "lines (it has no blank lines)" if by_lines else "sentences"
    return Passages(found, source, (f"{source} was divided into {len(found)} {unit}",))


def _cut(paragraph: str) -> list[str]:
    found, start = [], 0
    for match in _BOUNDARY.finditer(paragraph):
        end = match.start(1) if match[1] is not None else match.start(2)
        if not _ABBREVIATION.search(paragraph[max(start, end - LONGEST_ABBREVIATION) : end]):
            found.append(paragraph[start:end])
            start = match.end()
    return [*found, paragraph[start:]]


def _pieces(
    ids: list[int], is_special: np.ndarray, model: Model
) -> list[tuple[list[int], np.ndarray]]:
    """(tokens, which of them are special) of each piece, with the special tokens at the
    passage's ends around each.
    """
    if model.context is None or len(ids) <= model.context:
        return [(ids, is_special)]
    body = np.flatnonzero(~is_special)
    first, last = (int(body[0]), int(body[-1]) + 1) if body.size else (0, len(ids))
    head, tail = ids[:first], ids[last:]
    room = model.context - len(head) - len(tail)
    if room < 1:
        raise InputError(
            f"the context of {model.source} is {model.context} tokens, which its special tokens"
            " fill"
        )
    result = []
    for start in range(first, last, room):
        stop = min(start + room, last)
        inserted = np.r_[np.ones(len(head), bool), is_special[start:stop], np.ones(len(tail), bool)]
        result.append(([*head, *ids[start:stop], *tail], inserted))
    return result


def _batches(rows: list[tuple[int, int, list[int], np.ndarray]], model: Model) -> tuple[Batch, ...]:
    """Rows of similar length together, padded on the right with the attention switched off
    there.
    """
    config = model.module.config
    told = [
        getattr(config, "pad_token_id", None),
        getattr(model.tokenizer, "pad_token_id", None),
        0,
    ]
    padding = next(token for token in told if token is not None and token >= 0)
    order = sorted(rows, key=lambda row: (-len(row[2]), row[0], row[1]))
    result = []
    while order:
        width = len(order[0][2])
        size = max(1, TOKENS_PER_BATCH // width)
        taken, order = order[:size], order[size:]
        ids = np.full((len(taken), width), padding, np.int64)
        attended, counted = np.zeros(ids.shape, np.int64), np.zeros(ids.shape, bool)
        for i, (_, _, part, mine) in enumerate(taken):
            ids[i, : len(part)], attended[i, : len(part)], counted[i, : len(part)] = part, 1, mine
        result.append(
            Batch(
                inputs={"input_ids": ids, "attention_mask": attended},
                counted=counted,
                passage=np.array([row[0] for row in taken]),
                piece=np.array([row[1] for row in taken]),
            )
        )
    return tuple(result)
