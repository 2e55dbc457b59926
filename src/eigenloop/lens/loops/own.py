"""Models of transformers that apply one map again and again, as `LoopedMap`s of their own loop
(torch).

    hrm_text    (z_H, z_L) -> H cycle: z_L <- L(z_L + z_H), L_cycles times, then z_H <- H(z_H + z_L)
    perceiver   latents -> the block of self-attention, where num_blocks > 1
    funnel      states -> one layer, where its block_repeats > 1; after its pooling
    esmfold2    pair states s -> T(A s + B LN(u)): decay, injection, folding trunk

What is fed back varies; masks, positions and injected inputs are taken from one run of the model
and held fixed.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigenloop.lens.loops.block import in_float64
from eigenloop.lens.loops.looped import tokens_of
from eigenloop.lens.model.checkpoint import open_weights
from eigenloop.lens.model.loaded import evaluating
from eigenloop.lens.model.pretrained import quiet
from eigenloop.lens.model.whole import Whole, whole
from eigenloop.loops import LoopedMap
from eigenloop.system.errors import InputError

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWYX"
"""Letters of a protein sequence; X is an unknown residue."""

SEED = 0
"""Of the start that esmfold2 draws."""

Step = Callable[[Any], Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Own:
    """A model's own loop.

    Args:
        step: state -> the next state, tensors.
        start: x_0, a tensor.
        about: what is looped, after the model's name.
        notes: what is to be said of it, in sentences.
    """

    step: Step
    start: Any
    about: str
    notes: tuple[str, ...]


def own_loop(
    model: Any,
    text: Path | str | Sequence[int],
    *,
    layer: int | None = None,
    tokenizer: Any = None,
    device: str = "auto",
) -> tuple[LoopedMap, list[str]] | None:
    """The map that a model with a loop of its own applies; None for every other architecture.

    Args:
        model: as for `load`.
        text: a file (a Path), a text, or token ids; for esmfold2 a protein sequence.
        layer: funnel: which of its repeated layers, counted over all blocks.
        tokenizer: for a model that the caller holds.
        device: as for `load`.

    Returns:
        (map, what is to be said of it), or None.

    Raises:
        InputError: the model applies its map only once, its loop is no map, or has no derivative.
    """
    weights = open_weights(model)
    kind, config = weights.model_type, weights.config
    if layer is None:
        _refuse(weights.source, kind, config)
    if kind not in OWN:
        return None
    if layer is not None and kind != "funnel":
        raise InputError(
            f"{weights.source} ({kind}) applies one map, which is its own loop; leave --layer out"
        )
    held = whole(model, weights, tokenizer=tokenizer, device=device)
    with quiet(), evaluating(held.module):
        found = OWN[kind](held, text, layer)
    name = f"{weights.source}, {found.about}"
    return LoopedMap.torch(found.step, found.start, name=name), [*held.notes, *found.notes]


def _refuse(source: str, kind: str, config: Mapping[str, Any]) -> None:
    """Refuse what repeats and is no loop that a derivative describes."""
    folding = config.get("is_folding_model") or "EsmForProteinFolding" in (
        config.get("architectures") or ()
    )
    if kind == "esm" and folding:
        raise InputError(
            f"{source} is an ESMFold: it recycles distances in bins, which are piecewise constant"
            " in its state, so no derivative describes its loop"
        )
    if kind == "zamba2":
        raise InputError(
            f"{source} (zamba2) is no loop: its shared block comes back between Mamba layers of"
            " their own, so what lies between two passes is not one map"
        )


def _hrm_text(held: Whole, text: Any, layer: int | None) -> Own:
    """One H cycle of the joint state (z_H, z_L), (2, tokens, d)."""
    import torch

    ids, remarks = tokens_of(held, text)
    trunk = held.trunk
    low = trunk.L_module
    (first, *_) = _calls({"low": low}, lambda: trunk(input_ids=held.tensor(ids), use_cache=False))[
        "low"
    ]
    with torch.no_grad():
        high = trunk.embed_tokens(held.tensor(ids)) * trunk.embedding_scale
        start = torch.cat([high, trunk.z_L_init.expand_as(high)])
    given = {name: in_float64(each) for name, each in first.named.items() if name != "cycle_offset"}
    stacks = [_double(each) for each in (low, trunk.H_module)]
    cycles, made = int(trunk.config.L_cycles), int(trunk.config.H_cycles)

    def step(x: Any) -> Any:
        z_high, z_low = x[:1], x[1:]
        for _ in range(cycles):
            z_low = stacks[0](z_low + z_high, **given)
        return torch.cat([stacks[1](z_high + z_low, **given), z_low])

    return Own(
        step=step,
        start=start.double(),
        about="its own loop",
        notes=(
            *remarks,
            f"a loop is one H cycle of the states (z_H, z_L); z_H is read out after {made}",
        ),
    )


def _perceiver(held: Whole, text: Any, layer: int | None) -> Own:
    """The block of self-attention on the latents, (latents, d)."""
    config = held.module.config
    if int(config.num_blocks) < 2:
        raise InputError(
            f"{held.source} (perceiver) applies its block once (num_blocks is"
            f" {config.num_blocks}): it loops nothing"
        )
    trunk = held.trunk
    if not hasattr(getattr(trunk, "input_preprocessor", None), "position_embeddings"):
        raise InputError(
            f"{held.source} ({type(held.module).__name__}) has no preprocessor for tokens; only a"
            f" Perceiver that reads "
            "text can be looped on a text"
        )
    ids, remarks = tokens_of(held, text)
    layers = trunk.encoder.self_attends
    first = _calls({"first": layers[0]}, lambda: held.module(inputs=held.tensor(ids)))["first"][0]
    rest, named = in_float64(first.arguments[1:]), in_float64(first.named)
    block = [_double(each) for each in layers]

    def step(x: Any) -> Any:
        x = x[None]
        for each in block:
            x = each(x, *rest, **named)[0]
        return x[0]

    return Own(
        step=step,
        start=first.arguments[0][0].double(),
        about="its own loop",
        notes=(
            *remarks,
            f"a loop is the block of {len(block)} layers on {config.num_latents} latents; the"
            f" model makes {config.num_blocks}, and the text enters only before the first",
        ),
    )


def _funnel(held: Whole, text: Any, layer: int | None) -> Own:
    """One repeated layer, on the states that it is repeated on."""
    config, blocks = held.module.config, held.trunk.encoder.blocks
    layers = [
        (each, int(count))
        for block, count in zip(blocks, config.block_repeats, strict=True)
        for each in block
    ]
    repeated = [i for i, (_, count) in enumerate(layers) if count > 1]
    if not repeated:
        raise InputError(
            f"{held.source} (funnel) applies each layer once (block_repeats are all 1): it loops"
            " nothing"
        )
    chosen = repeated[0] if layer is None else layer
    if (layer is None and len(repeated) > 1) or chosen not in repeated:
        what = f"repeats {len(repeated)} layers, each by itself"
        if layer is not None:
            what = (
                f"applies layer {layer} once"
                if layer in range(len(layers))
                else "has no such layer"
            )
        raise InputError(
            f"{held.source} (funnel) {what}; choose one that is repeated with --layer:"
            f" {', '.join(map(str, repeated))}"
        )
    ids, remarks = tokens_of(held, text)
    module, count = layers[chosen]
    seen = _calls({"it": module}, lambda: held.trunk(input_ids=held.tensor(ids)))["it"]
    after = next(
        call for call in seen if call.argument("query").shape == call.argument("key").shape
    )
    inputs, looped = in_float64(after.argument("attention_inputs")), _double(module)

    def step(x: Any) -> Any:
        x = x[None]
        return looped(x, x, x, inputs)[0][0]

    start = after.argument("query")[0].double()
    pooled = after is not seen[0]
    return Own(
        step=step,
        start=start,
        about=f"layer {chosen}, repeated",
        notes=(
            *remarks,
            f"a loop is layer {chosen} on {len(start)} states"
            f"{', after its pooling' if pooled else ''}; the model makes {count - pooled}",
        ),
    )


def _esmfold2(held: Whole, text: Any, layer: int | None) -> Own:
    """Decay, injection and folding trunk on the pair states, (residues, residues, d)."""
    import torch
    from transformers.models.esmfold2.modeling_esmfold2 import EsmFold2AtomInputs
    from transformers.models.esmfold2.protein_utils import prepare_protein_features

    module, sequence = held.module, _protein(text)
    features = prepare_protein_features(sequence, device=held.device)
    atoms = {name: features.pop(name) for name in EsmFold2AtomInputs.__dataclass_fields__}
    features.pop("distogram_atom_idx")
    encoder = module.config.lm_encoder
    dropout, encoder.lm_dropout = encoder.lm_dropout, 0.0
    try:
        with torch.random.fork_rng(devices=[] if held.device == "cpu" else None):
            torch.manual_seed(SEED)
            calls = _calls(
                {"inject": module.parcae, "trunk": module.folding_trunk},
                lambda: module(**features, atom_inputs=EsmFold2AtomInputs(**atoms), num_loops=0),
            )
    finally:
        encoder.lm_dropout = dropout
    first, masks = calls["inject"][0], calls["trunk"][0].named
    injected, trunk = copy.deepcopy((module.parcae, module.folding_trunk))
    for each in (injected, trunk):
        each.eval().requires_grad_(False)

    def step(x: Any) -> Any:
        return trunk(injected(x[None], *first.arguments[1:], **first.named), **masks)[0]

    made = int(module.config.num_loops) + 1
    notes = [
        f"a loop is decay, injection and folding trunk on the pairs of {len(sequence)} residues,"
        f" from a start drawn "
        f"with seed {SEED}; the model makes {made}"
    ]
    if dropout and encoder.per_loop_lm_dropout:
        notes.append(
            f"the model drops {dropout:.0%} of its language model's input anew in each loop, which"
            f" is no map; looped "
            "is the model without that dropout"
        )
    return Own(step=step, start=first.arguments[0][0], about="its own loop", notes=tuple(notes))


OWN: dict[str, Callable[[Whole, Any, int | None], Own]] = {
    "hrm_text": _hrm_text,
    "perceiver": _perceiver,
    "funnel": _funnel,
    "esmfold2": _esmfold2,
}
"""model_type -> its loop."""


def _protein(text: Path | str | Sequence[int]) -> str:
    """A protein sequence from a file or a string; lines of a FASTA file that begin with > are left
    out.
    """
    if isinstance(text, Path):
        try:
            text = text.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {text}: {error}") from None
    if not isinstance(text, str):
        raise InputError("esmfold2 reads a protein sequence, not token ids; give its letters")
    lines = [line for line in text.splitlines() if not line.startswith(">")]
    found = "".join("".join(lines).split()).upper()
    strange = sorted(set(found) - set(AMINO_ACIDS))
    if strange or len(found) < 2:
        what = (
            f"holds {strange[0]!r}, which is no amino acid"
            if strange
            else "holds fewer than two residues"
        )
        raise InputError(
            f"the text {what}; esmfold2 reads a protein sequence of the letters {AMINO_ACIDS}"
        )
    return found


@dataclass(frozen=True, eq=False)
class _Call:
    """What a module was called with."""

    arguments: tuple[Any, ...]
    named: dict[str, Any]
    names: tuple[str, ...]

    def argument(self, name: str) -> Any:
        """One of them by its name."""
        return self.named[name] if name in self.named else self.arguments[self.names.index(name)]


def _calls(modules: Mapping[str, Any], run: Callable[[], Any]) -> dict[str, list[_Call]]:
    """Every call of some modules during one run of their model."""
    import inspect

    seen: dict[str, list[_Call]] = {name: [] for name in modules}

    def keeper(name: str, names: tuple[str, ...]) -> Callable[..., None]:
        return lambda module, arguments, named: seen[name].append(
            _Call(arguments, dict(named), names)
        )

    handles = [
        module.register_forward_pre_hook(
            keeper(name, tuple(inspect.signature(module.forward).parameters)), with_kwargs=True
        )
        for name, module in modules.items()
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _double(module: Any) -> Any:
    """A copy in float64 that nothing is learnt in."""
    return copy.deepcopy(module).double().eval().requires_grad_(False)
