"""A pretrained model that is run as a whole: no layout of its blocks is needed, and none is looked
for.

Code that a checkpoint brings along is never run; torch and transformers are imported inside the
functions.
"""

from dataclasses import dataclass
from typing import Any

from eigenloop.lens.model.checkpoint import Weights
from eigenloop.lens.model.loaded import HALVES, device_named, require_torch
from eigenloop.lens.model.pretrained import quiet, tokenizer_of, where
from eigenloop.system.errors import InputError, reason


@dataclass(frozen=True, eq=False, kw_only=True)
class Whole:
    """A model that can be run.

    Args:
        module: the torch model, with its head where the checkpoint has one.
        tokenizer: its tokenizer; None where there is none.
        source: the directory, the hub name or the class.
        model_type: the architecture, as config.json names it.
        device: where it runs.
        notes: what was converted or is missing, in sentences.
    """

    module: Any
    tokenizer: Any
    source: str
    model_type: str
    device: str
    notes: tuple[str, ...] = ()

    @property
    def trunk(self) -> Any:
        """The module without its head."""
        return getattr(self.module, "base_model", self.module)

    @property
    def takes_text(self) -> bool:
        """Whether the model reads tokens."""
        return hasattr(self.module.config, "vocab_size")

    @property
    def context(self) -> int | None:
        """The most tokens that fit into one input; None where nothing says so."""
        limits = [
            getattr(self.module.config, "max_position_embeddings", None),
            getattr(self.tokenizer, "model_max_length", None),
        ]
        return min((int(each) for each in limits if each and each < 1e9), default=None)

    def tensor(self, ids: Any) -> Any:
        """Token ids as a batch of one, on the model's device."""
        import torch

        return torch.as_tensor(ids, device=self.device)[None]


def whole(model: Any, weights: Weights, *, tokenizer: Any = None, device: str = "auto") -> Whole:
    """A model ready to run, from a directory, a hub name, or one that the caller holds.

    What is loaded here is float32 (float64 where it is stored so).

    Args:
        model: a directory, a name on the hub, or a model of transformers.
        weights: its weights, opened.
        tokenizer: for a held model; a loaded one brings its own unless this is given.
        device: "auto", "cpu", "cuda", ...

    Raises:
        InputError: transformers cannot load it, weights are missing, or there is no such device.
    """
    require_torch()
    if weights.model is not None:
        place = str(next(weights.model.parameters()).device)
        if device != "auto" and device_named(device) != place:
            raise InputError(
                f"the model is on {place}, not on {device}; move it with .to({device!r}) first"
            )
        half = str(weights.model.dtype).removeprefix("torch.")
        if half in HALVES:
            raise InputError(f"the model is held in {half}; convert it with .float() first")
        return Whole(
            module=weights.model,
            tokenizer=tokenizer,
            device=place,
            source=weights.source,
            model_type=weights.model_type,
        )
    place, notes = device_named(device), []
    module = _pretrained(str(model), weights).to(place).eval().requires_grad_(False)
    if tokenizer is None:
        tokenizer, missing = tokenizer_of(str(model))
        notes += [missing] if missing and hasattr(module.config, "vocab_size") else []
    return Whole(
        module=module,
        tokenizer=tokenizer,
        device=place,
        notes=tuple(notes),
        source=weights.source,
        model_type=weights.model_type,
    )


def _pretrained(name: str, weights: Weights) -> Any:
    """The class that the checkpoint was saved from, with every weight of it."""
    import torch
    import transformers

    classes = weights.config.get("architectures")
    named = [kind for kind in classes if isinstance(kind, str)] if isinstance(classes, list) else []
    kind: Any = getattr(transformers, named[0], None) if named else transformers.AutoModel
    if kind is None:
        raise InputError(
            f"{name} was saved from {named[0]}, which transformers {transformers.__version__} does"
            f" not have"
        )
    stored = str(weights.config.get("dtype") or weights.config.get("torch_dtype"))
    with quiet():
        try:
            loaded, about = kind.from_pretrained(
                **where(name),
                attn_implementation="eager",
                dtype=torch.float64 if stored == "float64" else torch.float32,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except MemoryError:
            raise
        except Exception as error:  # settings that no model has make its code raise whatever it may
            raise InputError(f"{name} cannot be loaded by transformers: {reason(error)}") from None
    missing = sorted(about["missing_keys"])
    if missing:
        raise InputError(
            f"{name} lacks {missing[0]} and {len(missing) - 1} more tensors; the checkpoint is"
            f" incomplete"
        )
    return loaded
