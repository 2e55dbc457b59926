"""One vector for a text: a model's token states pooled as its checkpoint says (torch).

Checkpoints of sentence-transformers say it in modules.json and in config.json of the module
"Pooling". Where nothing is said, it is the mean over all tokens, and the page says so. What is
pooled are the last states, after a final normalisation; special tokens count, as they do there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from eigenloop.lens.model.loaded import Model
from eigenloop.steer.retrieval import Library, Outcome, packaged
from eigenloop.steer.running import BATCH
from eigenloop.system.errors import InputError

MODES: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The switches of a pooling configuration, in the order in which their vectors are joined."""

HARMLESS = ("Transformer", "Pooling", "Normalize")
"""Modules of a sentence model that are run here; Normalize changes no cosine."""


@dataclass(frozen=True)
class Pooling:
    """How one vector is made of a text's states.

    Args:
        modes: of `MODES`; the vectors of several are joined.
        source: what says so.
        left_out: modules of the checkpoint after the pooling that are not run.
    """

    modes: tuple[str, ...] = ("mean",)
    source: str = "nothing says how, so the mean is taken"
    left_out: tuple[str, ...] = ()

    def __call__(self, states: Any) -> Any:
        """Pool.

        Args:
            states: (texts, tokens, d), a tensor; all tokens count.

        Returns:
            (texts, d) or, of m modes, (texts, m d).
        """
        tokens = states.shape[1]
        weights = torch.arange(1, tokens + 1, dtype=states.dtype, device=states.device)
        made = {
            "cls": lambda: states[:, 0],
            "max": lambda: states.max(1).values,
            "mean": lambda: states.mean(1),
            "mean_sqrt_len_tokens": lambda: states.sum(1) / tokens**0.5,
            "weightedmean": lambda: (weights[:, None] * states).sum(1) / weights.sum(),
            "lasttoken": lambda: states[:, -1],
        }
        return torch.cat([made[mode]() for mode in self.modes], dim=-1)

    @property
    def words(self) -> str:
        """What it does, and who says so."""
        names = " and ".join(mode.replace("_", " ") for mode in self.modes)
        rest = (
            f"; {', '.join(self.left_out)} of that checkpoint is left out" if self.left_out else ""
        )
        return f"{names} over tokens ({self.source}{rest})"


def pooling_of(directory: Path) -> Pooling | None:
    """What a checkpoint says of its pooling; None where it says nothing.

    Args:
        directory: of a checkpoint, perhaps one of sentence-transformers.

    Raises:
        InputError: a file of it is no JSON, or names a pooling that is not known here.
    """
    modules = _read(directory / "modules.json", [])
    kinds = [
        (str(each.get("type", "")).rpartition(".")[2], str(each.get("path", "")))
        for each in modules
        if isinstance(each, dict)
    ]
    place = next((path for kind, path in kinds if kind == "Pooling"), "1_Pooling")
    config = _read(directory / place / "config.json", {})
    if not config:
        return None
    named = config.get("pooling_mode")
    modes = (
        [named]
        if isinstance(named, str)
        else [mode for key, mode in MODES.items() if config.get(key) is True]
    )
    unknown = [mode for mode in modes if mode not in MODES.values()]
    if unknown:
        file, known = directory / place / "config.json", ", ".join(MODES.values())
        raise InputError(f"{file} names the pooling {unknown[0]!r}; known are {known}")
    if not modes:
        return None
    left_out = tuple(kind for kind, _ in kinds if kind not in HARMLESS)
    return Pooling(tuple(modes), f"{place}/config.json of the checkpoint", left_out)


def embed(
    model: Model, texts: Sequence[str], pooling: Pooling
) -> tuple[Float[np.ndarray, "n k"], int]:
    """A vector of unit length for each text; zero for a text in which the tokenizer finds nothing.

    Texts of one length run together, so that nothing is padded: the mean over a padded batch under
    its mask is the same.

    Args:
        model: a model that runs, with a tokenizer.
        texts: as many as wanted.
        pooling: how.

    Returns:
        (vectors, float64, how many texts are longer than the model reads and were cut).
    """
    whole = model.tokenizer(list(texts), verbose=False)["input_ids"]
    limit = {} if model.context is None else {"truncation": True, "max_length": model.context}
    rows = model.tokenizer(list(texts), verbose=False, **limit)["input_ids"]
    vectors: dict[int, np.ndarray] = {}
    for length in sorted({len(row) for row in rows} - {0}):
        alike = [index for index, row in enumerate(rows) if len(row) == length]
        for start in range(0, len(alike), BATCH):
            part = alike[start : start + BATCH]
            ids = torch.as_tensor([rows[index] for index in part], device=model.device)
            with model.running() as trunk:
                pooled = pooling(trunk(ids, attention_mask=torch.ones_like(ids))[0].double())
            vectors.update(
                zip(part, torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy(), strict=True)
            )
    width = len(next(iter(vectors.values()))) if vectors else 1
    table = np.stack([vectors.get(index, np.zeros(width)) for index in range(len(rows))])
    return table, sum(len(long) > len(row) for long, row in zip(whole, rows, strict=True))


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Texts to search, and what the unsteered model finds; `measure` is run inside an edit.

    Args:
        library: queries and sentences.
        pooling: how a text becomes a vector.
        before: cosine of each query with each sentence, of the unsteered model.
        cut: texts that are longer than the model reads.
    """

    library: Library
    pooling: Pooling
    before: Float[np.ndarray, "q s"]
    cut: int

    @classmethod
    def of(cls, model: Model, pooling: Pooling, library: Library | None = None) -> "Retrieval":
        """Run the unsteered model on the packaged texts, or on others."""
        library = library or packaged()
        cosines, cut = _cosines(model, library, pooling)
        return cls(library, pooling, cosines, cut)

    def measure(self, model: Model) -> Outcome:
        """What a model as it is now finds, beside what was found before."""
        after, _ = _cosines(model, self.library, self.pooling)
        return Outcome(self.before, after, np.array(self.library.right))


def _cosines(model: Model, library: Library, pooling: Pooling) -> tuple[np.ndarray, int]:
    """Of each query with each sentence, and how many texts were cut."""
    vectors, cut = embed(model, (*library.queries, *library.sentences), pooling)
    queries, sentences = np.split(vectors, [len(library.queries)])
    return queries @ sentences.T, cut


def _read(file: Path, otherwise: Any) -> Any:
    """JSON of a file, of the kind of `otherwise`; that itself where there is no such file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        return otherwise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is no JSON ({error}); download it again, or remove it") from None
    if not isinstance(found, type(otherwise)):
        raise InputError(f"{file} holds no JSON {_NAMES[type(otherwise)]}; download it again")
    return found


_NAMES = {list: "list", dict: "object"}
