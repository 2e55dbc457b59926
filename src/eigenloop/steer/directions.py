"""Directions to steer to: a token's embedding, the contrast of two prompts, or a vector in a file.

A direction lives in the residual stream. All are unit vectors here.
"""

import tokenize
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.lens.model.loaded import Model
from eigenloop.steer.prompts import encode
from eigenloop.system.errors import InputError

NO_ARRAY = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    EOFError,
    NotImplementedError,  # a zip version that Python does not know
    OverflowError,  # a shape beyond 64 bits
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
)
"""What NumPy raises over a file that is no array: its header is a Python literal."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector of the stream, and where it comes from.

    Args:
        vector: u, (d,), float64, unit.
        name: for reports: 'token " Paris"'.
        source: which vector it is, in words.
        token: the target token, where there is one.
    """

    vector: Float[np.ndarray, " d"]
    name: str
    source: str
    token: int | None = None


def toward_token(model: Model, text: str) -> Direction:
    """The direction that a single token stands for.

    For a model that predicts tokens from its final normalised states by one matrix W_U, the
    direction that raises the token's score against all others: P diag(g) (w - mean w) with w its
    row of W_U and g the gain of the final normalisation (no P for RMSNorm). For every other model
    its input embedding, projected to the stream where their widths differ.

    Args:
        model: a model that runs, with its tokenizer.
        text: the token, blanks included.

    Raises:
        InputError: the text is several tokens (lists them), none, or unknown to the tokenizer.
    """
    from eigenloop.steer.measuring import vocabulary

    token = single_token(model, text)
    name = f'token "{text}"'
    if vocabulary(model) == "causal" and model.module.get_output_embeddings() is not None:
        rows = model.module.get_output_embeddings().weight.detach()
        if rows.shape[1] == model.stack.width:
            raised = (rows[token].double() - rows.double().mean(0)).cpu().numpy()
            norm = model.outside(model.stack.layout.final_norm)
            if norm is not None and getattr(norm, "weight", None) is not None:
                raised = raised * (
                    norm.weight.detach().double().cpu().numpy() + model.stack.layout.gain_offset
                )
            if norm is not None and model.stack.layout.norm_kind == "layer":
                raised = raised - raised.mean()
            return Direction(
                _unit(raised, name),
                name,
                "output embedding, through the final normalisation",
                token,
            )
    embedding = model.outside(model.stack.layout.embedding)
    if embedding is None:
        raise InputError(f"{model.source} has no embedding of tokens; give --direction FILE.npy")
    row = embedding.weight.detach()[token].double().cpu().numpy()
    source = "input embedding"
    projection = model.outside(model.stack.layout.projection)
    if projection is not None:
        row, source = (
            projection.weight.detach().double().cpu().numpy() @ row,
            "input embedding, projected to the stream",
        )
    return Direction(_unit(row, name), name, source, token)


def single_token(model: Model, text: str) -> int:
    """The number of a text that is one token.

    Raises:
        InputError: it is several (lists them), none, or the unknown one; or there is no tokenizer.
    """
    tokenizer = _tokenizer(model, "--toward")
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) != 1:
        pieces = ", ".join(repr(tokenizer.decode([i])) for i in ids)
        what = f"{len(ids)} tokens ({pieces})" if ids else "no token"
        raise InputError(
            f'--toward "{text}" is {what}; choose a text that is one token (often a word with a'
            " blank before it), or use --contrast"
        )
    if ids[0] == tokenizer.unk_token_id and text != tokenizer.unk_token:
        raise InputError(
            f'--toward "{text}" is unknown to the tokenizer of {model.source}; choose another word'
        )
    return int(ids[0])


def contrast(model: Model, first: str, second: str) -> Direction:
    """From one prompt to another: the difference of their mean final states, towards the first.

    Args:
        model: a model that runs, with its tokenizer.
        first: what to steer to.
        second: what to steer from.

    Raises:
        InputError: a prompt has no token or too many, or both have the same states.
    """
    from eigenloop.steer.running import forward

    tokenizer, means = _tokenizer(model, "--contrast"), []
    for text in (first, second):
        prompt = encode(tokenizer, text)
        size = prompt.ids.shape[1]
        if model.context is not None and size > model.context:
            raise InputError(
                f"the prompt has {size} tokens, and the model reads {model.context} at most;"
                " shorten it"
            )
        states = [state[0, prompt.words] for state, _ in forward(model, prompt, trunk=True)]
        means.append(states[0].double().mean(0).cpu().numpy())
    name = f'"{first}" against "{second}"'
    if np.linalg.norm(means[0] - means[1]) <= 1e-6 * np.linalg.norm(means[0]):
        raise InputError(
            f"--contrast {name}: both end in the same states; give two prompts that differ"
        )
    return Direction(_unit(means[0] - means[1], name), name, "difference of mean final states")


def from_file(model: Model, path: Path) -> Direction:
    """A vector from a .npy file.

    Raises:
        InputError: no such file, not a .npy of numbers, another length than the stream's, zero, NaN
            or infinite.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            vector = np.load(file, allow_pickle=False)
    except MemoryError:
        raise InputError(
            f"{path} says that it holds more numbers than memory does; the stream of {model.source}"
            f" has {model.stack.width} entries"
        ) from None
    except (OSError, *NO_ARRAY) as error:
        reason = getattr(error, "strerror", None) or "no .npy file of numbers"
        raise InputError(f"cannot read {path}: {reason}; save the vector by numpy.save") from None
    if not isinstance(vector, np.ndarray) or vector.dtype.kind not in "fiu":
        raise InputError(
            f"{path} holds no real numbers; save one vector of {model.stack.width} by numpy.save"
        )
    # what becomes infinite or NaN is refused as such below
    with np.errstate(over="ignore", invalid="ignore"):
        vector = np.squeeze(vector.astype(np.float64))
    if vector.shape != (model.stack.width,):
        raise InputError(
            f"{path} has shape {vector.shape}; the stream of {model.source} has {model.stack.width}"
            " entries"
        )
    if not np.all(np.isfinite(vector)):
        raise InputError(
            f"{path} holds {int(np.sum(~np.isfinite(vector)))} number(s) that are NaN or infinite;"
            " repair it"
        )
    return Direction(_unit(vector, str(path)), f"vector {path.name}", "file")


def _unit(vector: np.ndarray, name: str) -> np.ndarray:
    largest = np.abs(vector).max()
    if not largest > 0:
        raise InputError(f"the direction of {name} is zero; give one that is not")
    vector = vector / largest  # so that no square overflows or vanishes
    return vector / np.linalg.norm(vector)


def _tokenizer(model: Model, option: str) -> Any:
    if model.tokenizer is None:
        raise InputError(
            f"{model.source} has no tokenizer, which {option} needs; add one, or give --direction"
            " FILE.npy"
        )
    return model.tokenizer
