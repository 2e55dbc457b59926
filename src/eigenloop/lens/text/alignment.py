"""Do the tokens of a text tilt towards the direction that a layer amplifies, and do its modes grow
as they should?

For each layer, with x the residual stream before its attention sublayer, x + o after it, v the
leading mode of F (by the rule asked for) and Q an orthonormal basis of its line or, for a complex
pair, of its plane (k = 2):

    cosine        mean ||Q^T x|| / ||x||, which for a line is mean |cos(x, v)|    (arXiv 2605.25619)
    enrichment    mean ||Q^T x||^2 / ||x||^2 * d/k, of which chance is 1
    ratio         enrichment after / enrichment before
    percentile    of that ratio, and of the enrichments, among the layer's own eigen-subspaces
    centred       the enrichments with the tokens' mean direction taken out
    no_values, no_feed_forward    the enrichment after, in runs with W_V = 0 and without the
                                  feed-forward sublayers
    gain_rho      Spearman's rho of gain_i and log|1 + lambda_i|, and
    gain_slope    the least-squares slope; before a pre-LN sublayer lambda_i(F diag(gain) P)/sigma
                  in place of lambda_i

and cosine, enrichment and ratio for single heads. Each has a bootstrap interval over passages and
three nulls; the cosine has no random null, since it shares that of the enrichment, and the runs
with something taken out have none. See `eigenloop.lens.text.gain`, `eigenloop.lens.text.nulls`,
`eigenloop.lens.text.headline` and docs/lens-alignment.md. What the statistics but the cosine are
was worked out here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.lens.model.loaded import Model, lengthened, load, randomised
from eigenloop.lens.model.results import ONE
from eigenloop.lens.text.aligned import Alignment
from eigenloop.lens.text.assembly import assembled
from eigenloop.lens.text.controls import CONTROLS
from eigenloop.lens.text.measure import (
    Measured,
    Run,
    controlled,
    measure,
    resampled,
)
from eigenloop.lens.text.texts import Encoded, Passages, encode, passages
from eigenloop.lens.text.tokens import stream
from eigenloop.lens.weights.circuits import Circuit
from eigenloop.lens.weights.rules import RULES
from eigenloop.lens.weights.spectra import chosen_layers
from eigenloop.lens.weights.subject import Subject
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent

RESAMPLES, DRAWS = 1000, 499
"""Bootstrap samples, and random directions."""

BEYOND = 2
"""How many times the trained number of loops one shared block is followed for, where nothing is
said.
"""


def alignment(
    model: Any,
    text: Path | str | Sequence[str] | Passages | Encoded,
    *,
    rule: str = "consensus",
    layers: str | Sequence[int] = "all",
    loops: int | None = None,
    copy: Any = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    draws: int = DRAWS,
    progress: Progress = silent,
) -> Alignment:
    """How the tokens of a text lie to the leading modes of a model's layers and heads, before and
    after attention.

    The states are streamed: what is kept is about 24 bytes for each layer, passage and dimension,
    and the eigenbases of every layer, whatever the number of tokens. One pass through the model,
    one through a copy with random weights (two of each for rule "layernorm"), one with W_V = 0 and
    one without the feed-forward sublayers.

    Args:
        model: as for `Subject.of`; how it runs (its tokenizer, its device, a layout) is said there,
            or to `load`.
        text: a file (a Path), a text (a str), or passages, which are what intervals resample; or
            what `encode` made of them, where special tokens ([CLS], [SEP], ...) are to be counted.
        rule: which mode leads: "modulus", "consensus" or "layernorm".
        layers: which blocks: "all", "late", "0,3-5", or numbers. Other layers as a null are those
            chosen.
        loops: of a model with one shared block, how many loops the tokens are followed for: at
            least the K that it was trained with, by default 2 K. Those beyond K are told beside;
            the headline does not read them.
        copy: the model that the null random_init looks at; by default one with weights drawn from
            the configuration.
        seed: of everything random.
        resamples: bootstrap samples, at least 99.
        draws: random directions, at least 99.
        progress: told how far each part of the work is.

    Raises:
        InputError: the model or the text cannot be read, there are fewer than 2 passages, a layer
            or rule does not exist, or loops is below K or the model has no one shared block.
    """
    if rule not in RULES:
        raise InputError(f"rule {rule!r} does not exist; choose {', '.join(RULES)}")
    for name, value in (("resamples", resamples), ("draws", draws)):
        if value < 99:
            raise InputError(f"{name} is {value}; it must be at least 99")
    given = text if isinstance(text, Encoded) else passages(text)
    subject = Subject.of(model)
    loaded = subject.model
    chosen = chosen_layers(layers, len(loaded.stack.blocks))
    trained = len(loaded.stack.schedule)
    followed = _followed(loaded, loops)
    encoded = given if isinstance(given, Encoded) else encode(loaded, given)
    if encoded.passages < 2:
        hint = "; give a file as Path(...)" if isinstance(text, str) else ""
        raise InputError(
            f"{encoded.source} has {encoded.passages} passage; intervals need at least 2{hint}"
        )
    null = _random_copy(subject, copy, seed)
    look = _Look(
        encoded=encoded,
        weights=resampled(encoded.passages, seed=seed, resamples=resamples),
        chosen=chosen,
        rule=rule,
        seed=seed,
        progress=progress,
    )
    real, baseline = _with_nulls(look, subject, null, followed, draws=draws)
    return assembled(
        real,
        baseline,
        trained=trained if followed > trained else None,
        source=loaded.source,
        text=encoded.source,
        rule=rule,
        seed=seed,
        passages=encoded.passages,
        tokens=encoded.tokens,
        resamples=resamples,
        draws=draws,
        remarks=[*loaded.notes, *encoded.notes, *_remarks(chosen, len(loaded.stack.blocks))],
        blocks=len(loaded.stack.blocks),
    )


def align(
    layers: Sequence[Circuit],
    run: Run,
    *,
    passages: int,
    schedule: Sequence[int] | None = None,
    rule: str = "consensus",
    seed: int = 0,
    resamples: int = RESAMPLES,
    draws: int = DRAWS,
    controls: Mapping[str, Run] | None = None,
) -> Alignment:
    """The same for known circuits and states from anywhere (a simulator, another library): NumPy
    alone, no random copy.

    Args:
        layers: the circuits of the blocks.
        run: streams states to a visitor.
        passages: how many there are, numbered from 0; each has tokens.
        schedule: the block of every layer; by default each once.
        rule: which mode leads.
        seed: of everything random.
        resamples: bootstrap samples.
        draws: random directions.
        controls: "no_values" and "no_feed_forward", what streams the states of the same tokens with
            these taken out.
    """
    order = tuple(schedule) if schedule is not None else tuple(range(len(layers)))
    weights = resampled(passages, seed=seed, resamples=resamples)
    found = measure(dict(enumerate(layers)), order, run, weights, rule=rule, draws=draws, seed=seed)
    for name, control in (controls or {}).items():
        _control(found, name, control, weights)
    return assembled(
        found,
        None,
        source="circuits",
        text="states",
        rule=rule,
        seed=seed,
        passages=passages,
        tokens=0,
        resamples=resamples,
        draws=draws,
        remarks=(),
        blocks=len(layers),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Look:
    """What the model and its random copy are measured with.

    Args:
        encoded: the text.
        weights: of its passages, by bootstrap sample.
        chosen: the blocks.
        rule: which mode leads.
        seed: of everything random.
        progress: told the work in hand.
    """

    encoded: Encoded
    weights: np.ndarray
    chosen: Sequence[int]
    rule: str
    seed: int
    progress: Progress

    def measured(self, which: Subject, runs: Model, words: str, **options: Any) -> list[Measured]:
        """The layers of a model, run as it is or longer than it was trained."""
        return measure(
            {block: which.layer(block) for block in self.chosen},
            runs.stack.schedule,
            self.streamed(runs, words),
            self.weights,
            rule=self.rule,
            seed=self.seed,
            progress=_about(words, self.progress),
            **options,
        )

    def streamed(self, runs: Model, words: str) -> Run:
        """What gives the states of the text in a model to a visitor."""
        told = _about(words, self.progress)
        return lambda visit: stream(runs, self.encoded.batches, visit, progress=told)


def _with_nulls(
    look: _Look, subject: Subject, null: Model, followed: int, *, draws: int
) -> tuple[list[Measured], list[Measured]]:
    """The layers of the model, with what its runs that leave something out give, and those of its
    random copy, both followed through as many layers.
    """
    with ExitStack() as longer:
        runs, runs_null = subject.model, null
        if followed > len(runs.stack.schedule):
            runs, runs_null = (
                longer.enter_context(lengthened(each, followed)) for each in (runs, runs_null)
            )
        real = look.measured(subject, runs, "model", draws=draws)
        baseline = look.measured(
            Subject.of(null), runs_null, "random weights", heads=False, own=False
        )
        for name, without in CONTROLS.items():
            with without(runs):
                _control(real, name, look.streamed(runs, name.replace("_", " ")), look.weights)
    return real, baseline


def _random_copy(subject: Subject, copy: Any, seed: int) -> Model:
    """The model that the null random_init looks at: one that is given, or one drawn."""
    loaded = subject.model
    null = (
        randomised(loaded, seed=seed)
        if copy is None
        else load(copy, tokenizer=loaded.tokenizer, device=subject.device)
    )
    if null.stack.schedule != loaded.stack.schedule or null.stack.width != loaded.stack.width:
        raise InputError(
            f"{null.source} is no copy of {loaded.source}: its layers or its width differ"
        )
    return null


def _remarks(chosen: Sequence[int], blocks: int) -> Iterator[str]:
    """What the choice of blocks means for the null of other layers."""
    if len(chosen) < blocks:
        yield f"only {len(chosen)} of {blocks} blocks were looked at, also as other layers"
    if len(chosen) == 1:
        yield "there is one block, so there are no other layers to compare it with"


def _followed(model: Model, loops: int | None) -> int:
    """How many layers, or loops of the one shared block, the tokens are followed through."""
    stack = model.stack
    trained = len(stack.schedule)
    looped = stack.unit == ONE
    if loops is None:
        return BEYOND * trained if looped else trained
    if not looped:
        raise InputError(
            f"loops is {loops}, but {model.source} has {len(stack.blocks)} {stack.unit}s; tokens"
            " are followed beyond the trained loops of one shared block alone; to apply one layer"
            " again and again, choose it as the loop"
        )
    if loops < trained:
        raise InputError(
            f"loops is {loops}; {model.source} was trained with {trained}, so give at least"
            f" {trained}"
        )
    return loops


def _about(words: str, progress: Progress) -> Progress:
    """The same callback, told which of the models and runs the work is on."""
    return lambda name, done, total: progress(f"{name}, {words}", done, total)


def _control(real: Sequence[Measured], name: str, run: Run, weights: np.ndarray) -> None:
    """Add what a run with something taken out gives to each layer."""
    for layer, found in zip(real, controlled(real, run, weights), strict=True):
        layer.values[f"{name}_after"], layer.values[f"{name}_centred"] = found.values()
