"""A pretrained model loaded for running: its module, tokenizer and layout, in eager attention and
without gradients.

torch and transformers are imported inside the functions. Code that a checkpoint brings along is
never run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from eigenloop.lens.model.checkpoint import Weights
from eigenloop.lens.model.layouts import Layout
from eigenloop.lens.model.pretrained import from_pretrained, is_known, quiet, tokenizer_of
from eigenloop.lens.model.stack import Stack, locate
from eigenloop.lens.model.tensors import TorchTensors
from eigenloop.system.errors import InputError

HALVES = ("float16", "bfloat16")
"""Kinds of numbers that are converted to float32 before anything is run."""


@dataclass(frozen=True, eq=False)
class Model:
    """A model that can be run and whose weights can be read.

    Args:
        module: the torch model, with its head where the checkpoint has one.
        tokenizer: its tokenizer; None where there is none.
        stack: its blocks, found by a layout; the tensors are those of `module`.
        device: where it runs: "cpu", "cuda:0", ...
        notes: what was converted or is missing, in sentences.
        held: the caller made the module, and finds it as it was after every use.
    """

    module: Any
    tokenizer: Any
    stack: Stack
    device: str
    notes: tuple[str, ...] = ()
    held: bool = False

    @property
    def source(self) -> str:
        """The directory, the hub name or the class."""
        return self.stack.weights.source

    @property
    def model_type(self) -> str:
        """The architecture, as config.json names it."""
        return self.stack.weights.model_type

    @property
    def trunk(self) -> Any:
        """The module without its head: embeddings, blocks and final normalisation."""
        return getattr(self.module, "base_model", self.module)

    @property
    def blocks(self) -> tuple[Any, ...]:
        """The module of each distinct block."""
        return tuple(self.module.get_submodule(name) for name in self.stack.blocks)

    def submodule(self, block: int, part: str) -> Any:
        """A module in a block by its name in the layout; None where this model leaves it out.

        Args:
            block: index of the block.
            part: `layout.output`, `layout.norm`, ...
        """
        try:
            return self.module.get_submodule(self.stack.module(block, part))
        except AttributeError:
            return None

    def outside(self, name: str | None) -> Any:
        """A module outside the blocks (`layout.embedding`, `layout.final_norm`, ...); None where
        there is none.
        """
        try:
            return None if name is None else self.module.get_submodule(self.stack.prefix + name)
        except AttributeError:
            return None

    @property
    def takes_text(self) -> bool:
        """Whether the model reads tokens (a ViT reads images)."""
        return hasattr(self.module.config, "vocab_size")

    @cached_property
    def context(self) -> int | None:
        """The most tokens that fit into one input, special ones included; None where nothing
        says so.
        """
        limits = []
        positions = getattr(self.module.config, "max_position_embeddings", None)
        if positions:
            limits.append(int(positions) - self.stack.layout.reserved_positions)
        spoken = getattr(self.tokenizer, "model_max_length", None)
        if spoken and spoken < 1e9:  # transformers writes 1e30 where the checkpoint says nothing
            limits.append(int(spoken))
        return min(limits, default=None)

    @contextmanager
    def running(self) -> Iterator[Any]:
        """Eager attention, evaluation mode and no gradients; a held module is put back as it was,
        also after an error.

        Yields:
            The trunk.
        """
        attention = attention_of(self.module)
        try:
            force_eager(self.module)
            with evaluating(self.module):
                yield self.trunk
        finally:
            if attention != "eager":
                self.module.set_attn_implementation(attention)


def load(
    model: Any,
    *,
    tokenizer: Any = None,
    device: str = "auto",
    layout: Layout | None = None,
    stack: Stack | None = None,
) -> Model:
    """A model ready to run, from a local directory, a hub name, or one that the caller holds.

    What is loaded here is float32 (float64 where it is stored so), in eager attention, in
    evaluation mode and without gradients. A held model stays on its device and in its precision,
    but half precision is copied to float32.

    Args:
        model: a directory with config.json and weights, a name on the Hugging Face hub, a model of
            transformers, or `Model`, which is given back as it is.
        tokenizer: for a held model; a loaded one brings its own unless this is given.
        device: "auto" (a GPU where there is one; where it is, for a held model), "cpu", "cuda",
            "cuda:1", ...
        layout: for an architecture that the lens does not know.
        stack: of the same model, where its weights are open already; they are not opened again
            then.

    Raises:
        InputError: there is no such model and nothing from the hub, its weights are incomplete or
            damaged, it has an encoder and a decoder, its architecture is unknown, or there is no
            such device.

    Example:
        >>> load("/nowhere/at/all")
        Traceback (most recent call last):
            ...
        eigenloop.system.errors.InputError: /nowhere/at/all does not exist; give a directory with
        config.json and \
model.safetensors, or a name on the Hugging Face hub
    """
    if isinstance(model, Model):
        return model if tokenizer is None else replace(model, tokenizer=tokenizer)
    files = stack or locate(model, layout)
    weights = files.weights
    if weights.model is not None:
        return _held(files, tokenizer, device, layout)
    if isinstance(model, Weights | Stack):
        raise InputError(
            f"the weights of {weights.source} cannot be run; give the directory, the name or the"
            " model"
        )
    stored = files.stored()
    require_torch()
    place, notes = device_named(device), []
    module = from_pretrained(str(model), files, "float64" if stored == ("float64",) else "float32")
    if any(kind in HALVES for kind in stored):
        kinds = " and ".join(kind for kind in stored if kind in HALVES)
        notes.append(f"weights are stored as {kinds} and were converted to float32 once")
    if tokenizer is None:
        tokenizer, missing = tokenizer_of(str(model))
        notes += [missing] if missing and hasattr(module.config, "vocab_size") else []
    module = module.to(place).eval().requires_grad_(False)
    force_eager(module)
    stack = _stack(module, weights, layout)
    return Model(module, tokenizer, stack, place, (*notes, *stack.notes))


def randomised(model: Model, *, seed: int) -> Model:
    """A copy of a model's trunk with weights drawn as its configuration says for training from
    scratch.

    torch's own generators are left as they were.

    Args:
        model: for configuration, tokenizer, precision and device.
        seed: of the weights.
    """
    import copy

    import torch

    trunk = model.trunk
    config = copy.deepcopy(trunk.config)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = type(trunk)(config)
    module = module.to(device=model.device, dtype=trunk.dtype).eval().requires_grad_(False)
    force_eager(module)
    weights = replace(model.stack.weights, source=f"{model.source}, random weights (seed {seed})")
    own = model.stack.layout if not is_known(model.stack) else None
    return Model(module, model.tokenizer, _stack(module, weights, own), model.device)


@contextmanager
def lengthened(model: Model, loops: int) -> Iterator[Model]:
    """The same module with its one shared block applied more often; it is put back as it was, also
    after an error.

    What counts the loops is the setting of config.json that the layout calls `layers`, which a
    module that loops one block reads at every call; one that does not is noticed when it runs
    (`stream`).

    Args:
        model: all of its layers apply one block.
        loops: how often in all.

    Yields:
        The model with a schedule of that length; the weights are the same.
    """
    name = model.stack.layout.layers
    found = (getattr(part, "config", None) for part in model.module.modules())
    before = [(config, getattr(config, name)) for config in found if hasattr(config, name)]
    try:
        for config, _ in before:
            setattr(config, name, loops)
        yield replace(model, stack=replace(model.stack, schedule=(0,) * loops))
    finally:
        for config, trained in reversed(before):
            setattr(config, name, trained)


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Evaluation mode and no gradients; each part is put back as it was, also after an error."""
    import torch

    before = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        with torch.no_grad():
            yield
    finally:
        for part, training in before:
            part.training = training


def attention_of(module: Any) -> str:
    """The attention implementation that a module of transformers runs with."""
    return str(module.config._attn_implementation)


def force_eager(module: Any) -> None:
    """Switch to eager attention, the only one that computes its patterns where they can be seen.

    Raises:
        InputError: the model has no eager attention.
    """
    if attention_of(module) != "eager":
        module.set_attn_implementation("eager")
    if attention_of(module) != "eager":
        raise InputError(
            f"{type(module).__name__} stays in {attention_of(module)} attention; the lens needs"
            " eager"
        )


def _held(stack: Stack, tokenizer: Any, device: str, layout: Layout | None) -> Model:
    import copy

    weights, notes = stack.weights, []
    module = weights.model
    kind = str(module.dtype).removeprefix("torch.")
    if kind in HALVES:
        module = copy.deepcopy(module).float()
        notes.append(f"the model is held in {kind} and was copied to float32 once")
    place = str(next(module.parameters()).device)
    if device != "auto" and device_named(device) != place:
        raise InputError(
            f"the model is on {place}, not on {device}; move it with .to({device!r}) first"
        )
    if kind not in HALVES:
        return Model(module, tokenizer, stack, place, stack.notes, held=True)
    return Model(module, tokenizer, _stack(module, weights, layout), place, (*notes, *stack.notes))


def _stack(module: Any, weights: Weights, layout: Layout | None) -> Stack:
    """The layout found in the tensors of the module itself."""
    tensors = TorchTensors(module.state_dict(), weights.source)
    config = {**module.config.to_dict(), "model_type": weights.model_type}
    return locate(Weights(config, tensors, weights.source, module), layout)


def require_torch() -> None:
    """Refuse to go on where torch or transformers is missing.

    Raises:
        InputError: which one.
    """
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"running a model needs {error.name}: pip install 'eigenloop[lens]'"
        ) from None


def device_named(device: str) -> str:
    """The full name of a device that is there.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", ...

    Raises:
        InputError: it is not there.
    """
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
        there = str(torch.empty(0, device=wanted).device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        raise InputError(f"there is no device {device!r} here; give auto, cpu or cuda") from None
    if wanted.type not in ("cpu", "cuda", "mps", "xpu"):
        raise InputError(f"device {device!r} computes nothing; give auto, cpu or cuda")
    return there
