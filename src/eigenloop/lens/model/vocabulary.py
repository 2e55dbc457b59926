"""Words for token ids: from the tokenizer.json beside the weights, through the `tokenizers`
library; ids without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigenloop.lens.model.stack import Stack
from eigenloop.system.errors import InputError, reason

REPLACEMENT = "\ufffd"
"""What a decoder gives for a token that is a part of a character."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Vocabulary:
    """Texts of tokens.

    Args:
        size: |V|, rows of the embedding.
        decode: id -> text, or None where there is no tokenizer.
        missing: why there is none.
    """

    size: int
    decode: Callable[[int], str | None] | None = None
    missing: str = ""

    def text(self, token: int) -> str:
        """The token as text, "#17" where there is none.

        Example:
            >>> (
            ...     Vocabulary(size=20).text(17),
            ...     Vocabulary(size=20, decode=lambda token: " the").text(3),
            ... )
            ('#17', ' the')
        """
        found = self.decode(token) if self.decode else None
        return f"#{token}" if found is None else found

    def quoted(self, token: int) -> str:
        """The same for a sentence: quoted, so that spaces and line ends are seen.

        Example:
            >>> print(Vocabulary(size=20, decode=lambda token: " the").quoted(3))
            ' the'
        """
        text = self.text(token)
        return text if text == f"#{token}" else repr(text)

    def notes(self) -> list[str]:
        """Why there are no words."""
        return [f"tokens are numbers: {self.missing}"] if self.missing else []


def vocabulary(stack: Stack, tokenizer: Any = None, *, size: int) -> Vocabulary:
    """The texts of a model's tokens.

    Args:
        stack: the model; a directory is searched for tokenizer.json, and so is the cache of a hub
            name.
        tokenizer: a path to a tokenizer.json or its directory, or an object with `decode([id])`.
        size: |V|.

    Raises:
        InputError: the tokenizer given does not exist, cannot be read, or cannot decode.
    """
    if tokenizer is not None and not isinstance(tokenizer, str | Path):
        if not hasattr(tokenizer, "decode"):
            raise InputError(
                f"a {type(tokenizer).__name__} is no tokenizer: give a tokenizer.json or one with"
                " decode"
            )
        return Vocabulary(size=size, decode=_decoder(tokenizer))
    source = stack.weights.source if tokenizer is None else tokenizer
    path = Path(source) / "tokenizer.json" if Path(source).is_dir() else Path(source)
    if tokenizer is None and stack.weights.model is not None:
        return Vocabulary(size=size, missing="a loaded model brings no tokenizer; pass one")
    if tokenizer is None and not path.is_file() and not Path(source).exists():
        path = _cached(str(source)) or path
    if not path.is_file():
        if tokenizer is not None:
            raise InputError(
                f"{path} does not exist; give a tokenizer.json, or the directory that holds one"
            )
        return Vocabulary(size=size, missing=f"{source} has no tokenizer.json; pass a tokenizer")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        if tokenizer is not None:
            raise InputError(
                f"{path} needs the tokenizers library: pip install 'eigenloop[lens]'"
            ) from None
        return Vocabulary(size=size, missing="tokenizer.json needs the tokenizers library")
    try:
        return Vocabulary(size=size, decode=_decoder(Tokenizer.from_file(str(path))))
    except Exception as error:  # the library raises nothing more specific
        raise InputError(f"{path} is no tokenizer that can be read ({reason(error)})") from None


def _decoder(tokenizer: Any) -> Callable[[int], str | None]:
    """Id -> text; the token's own name where it decodes to nothing or to a part of a character."""
    name = getattr(tokenizer, "id_to_token", None) or getattr(
        tokenizer, "convert_ids_to_tokens", lambda token: None
    )

    def decode(token: int) -> str | None:
        try:
            own = name(token)
        except (IndexError, KeyError, OverflowError):
            own = None
        if own is None and hasattr(tokenizer, "id_to_token"):
            return None
        text = tokenizer.decode([token], skip_special_tokens=False)
        return text if text and REPLACEMENT not in text else own or None

    return decode


def _cached(name: str) -> Path | None:
    """tokenizer.json of a hub name, from its cache or the network; None where it is not to be
    had.
    """
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        return None
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(name, "tokenizer.json"))
    except Exception:  # missing library, file or network: ids are shown instead
        return None
