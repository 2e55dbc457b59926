"""What transformers reads of a checkpoint: the module and the tokenizer, or one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eigenloop.lens.model.checkpoint import Weights
from eigenloop.lens.model.layouts import known
from eigenloop.lens.model.stack import Stack
from eigenloop.system.errors import InputError, reason


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' log and progress bars off the screen, and leave them as they were."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def is_known(stack: Stack) -> bool:
    """Whether the layout is one of those that the lens has for the architecture."""
    try:
        return stack.layout in known(stack.weights.model_type)
    except InputError:
        return False


def from_pretrained(name: str, stack: Stack, dtype: str) -> Any:
    """The class that the checkpoint was saved from, or the plain trunk, with every weight of the
    stream present.
    """
    import torch
    import transformers

    classes = stack.weights.config.get("architectures")
    named = [kind for kind in classes if isinstance(kind, str)] if isinstance(classes, list) else []
    kind: Any = (
        getattr(transformers, named[0], transformers.AutoModel) if named else transformers.AutoModel
    )
    with quiet():
        if is_known(stack):  # whose tensors are loaded as they are
            _require_shapes(name, kind, stack.weights)
        try:
            loaded, about = kind.from_pretrained(
                **where(name),
                attn_implementation="eager",
                dtype=getattr(torch, dtype),
                trust_remote_code=False,
                output_loading_info=True,
            )
        except MemoryError:
            raise
        except Exception as error:  # settings that no model has make its code raise whatever it may
            raise InputError(f"{name} cannot be loaded by transformers: {reason(error)}") from None
    layout = stack.layout
    parts = [part for part in (layout.embedding, layout.projection, layout.final_norm) if part]
    start = layout.block.split("{}")[0]
    missing = sorted(
        key for key in about["missing_keys"] if any(part in key for part in (start, *parts))
    )
    if missing:
        raise InputError(
            f"{name} lacks {missing[0]} and {len(missing) - 1} more tensors; the checkpoint is"
            " incomplete"
        )
    return loaded


def _require_shapes(name: str, kind: Any, weights: Weights) -> None:
    """Compare the tensors with the model that config.json describes, made without memory: it may be
    far too large.

    Raises:
        InputError: a tensor has another shape than in that model.
    """
    import torch
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(**where(name), trust_remote_code=False)
        with torch.device("meta"):
            empty = kind.from_config(config) if kind is transformers.AutoModel else kind(config)
    except Exception:  # whatever it is, loading says it
        return
    names, prefix = set(weights.tensors.names()), f"{empty.base_model_prefix}."
    for key, parameter in empty.named_parameters():
        for stored in names & {key, prefix + key, key.removeprefix(prefix)}:
            held, said = weights.tensors.shape(stored), tuple(parameter.shape)
            if held != said:
                raise InputError(
                    f"{stored} has shape {held}, but by config.json of {name} it has {said};"
                    " correct one"
                )


def where(name: str) -> dict[str, Any]:
    """A directory that is there by its full path, and nothing of it asked of the hub; else a hub
    name.
    """
    path = Path(name)
    if not path.is_dir():
        return {"pretrained_model_name_or_path": name}
    return {"pretrained_model_name_or_path": str(path.resolve()), "local_files_only": True}


def tokenizer_of(name: str) -> tuple[Any, str]:
    """The tokenizer, or None and why."""
    import transformers

    with quiet():
        try:
            found = transformers.AutoTokenizer.from_pretrained(
                **where(name), trust_remote_code=False
            )
        except Exception as error:  # tokenizers raise errors of several libraries
            return (
                None,
                f"{name} has no tokenizer that can be loaded ({reason(error)}); texts need one",
            )
    # Where the files are missing, transformers makes a tokenizer without a word but its special
    # tokens.
    added = {str(token) for token in found.added_tokens_decoder.values()}
    if set(found.get_vocab()) <= {*found.all_special_tokens, *added, "▁"}:
        return (
            None,
            (
                f"{name} has no tokenizer files; texts need them beside the weights, or tokenizer="
                " from Python"
            ),
        )
    return found, ""
