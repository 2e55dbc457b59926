"""Effect beside damage: a steered model, activation addition at equal effect, and a random
direction (NumPy and torch).

Everything is measured on prompts that calibration did not see, prompt by prompt; intervals are
bootstraps over prompts. Activation addition adds c |stream| u to the output of the same blocks by
hooks, its strength searched until the mean signed cosine is the edit's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from eigenloop.lens.model.loaded import Model
from eigenloop.numerics.statistics import bootstrap_interval
from eigenloop.steer.checks import Check
from eigenloop.steer.embedding import Retrieval
from eigenloop.steer.measuring import Bench, vocabulary
from eigenloop.steer.prompts import Prompts
from eigenloop.steer.retrieval import Outcome, pseudo_values
from eigenloop.steer.running import activation_addition
from eigenloop.steer.session import Session
from eigenloop.steer.strength import search
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent

MULTIPLES = (0.5, 1.0, 1.5, 2.0)
"""Strengths of a dose-response curve, in units of the chosen one."""

EQUAL_RUNS = 7
"""Runs in which the strength of equal effect is searched."""

RESAMPLES = 2000
SAME_COSINE = 1e-5
"""Two runs of one model in float32 differ by rounding: some 100 spacings over the sums of a few
layers.
"""

NEW_TOKENS = 12
SHOWN_TEXTS = 2


@dataclass(frozen=True, eq=False)
class Point:
    """What was measured at one strength.

    Args:
        strength: c.
        values: kind -> one value for each prompt.
        retrieval: what was found among the packaged texts, where they were searched.
    """

    strength: float
    values: Mapping[str, np.ndarray]
    retrieval: Outcome | None = None

    def mean(self, kind: str) -> float | None:
        """Mean over prompts; None where it was not measured."""
        return float(self.values[kind].mean()) if kind in self.values else None

    def interval(self, kind: str) -> tuple[float, float] | None:
        """95 % bootstrap interval of the mean over prompts; of "similarity", over their pairs.

        None where it was not measured, and for the one pair of two prompts.
        """
        if kind not in self.values:
            return None
        values = self.values[kind]
        if kind == "similarity":
            return bootstrap_interval(pseudo_values(values), seed=0) if len(values) > 2 else None
        return bootstrap_interval(values, seed=0)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Curves and comparisons.

    Args:
        before: the unsteered model.
        edit: the edit's points by strength, the chosen one among them.
        chosen: index of the chosen strength in `edit`.
        addition: activation addition at other strengths, by strength.
        equal: activation addition at the effect of the chosen edit; None where no strength reaches
            it.
        null: the chosen edit towards a random direction, measured along u.
        mirror: the chosen edit with the opposite sign, which takes the same component away from the
            heads; None where the method has no sign.
        texts: (prompt, unsteered, edited, added) for causal models.
    """

    before: Point
    edit: tuple[Point, ...]
    chosen: int
    addition: tuple[Point, ...]
    equal: Point | None
    null: Point
    mirror: Point | None = None
    texts: tuple[tuple[str, str, str, str], ...] = field(default=())

    @property
    def after(self) -> Point:
        """The edit at the chosen strength."""
        return self.edit[self.chosen]

    def effect(self) -> np.ndarray:
        """Of the direction on the signed cosine, by prompt: half of edit minus mirror, or edit
        minus before.
        """
        if self.mirror is None:
            return self.after.values["cosine"] - self.before.values["cosine"]
        return (self.after.values["cosine"] - self.mirror.values["cosine"]) / 2

    def damage_difference(self) -> tuple[float, float, float] | None:
        """Median over prompts of the edit's 1 - keep minus activation addition's at equal effect,
        and its interval.

        Returns:
            (median, low, high), 95 % bootstrap over prompts; None without an addition of equal
            effect.
        """
        if self.equal is None:
            return None
        difference = self.equal.values["keep"] - self.after.values["keep"]
        low, high = median_interval(difference)
        return float(np.median(difference)), low, high


def median_interval(
    values: np.ndarray, *, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the median.

    Args:
        values: (prompts,), or (directions, prompts): then rows and columns are drawn again each by
            itself, for the prompts of a direction have it in common, and the directions a prompt
            (the pigeonhole bootstrap, doi 10.1214/07-AOAS122: somewhat too wide, never too narrow
            where either varies).
        seed: of the draws.
        level: of the interval.

    Example:
        >>> low, high = median_interval(np.arange(101.0))
        >>> bool(low < 50 < high)
        True
    """
    rng, table = np.random.default_rng(seed), np.atleast_2d(values)
    directions, prompts = (rng.integers(0, size, (RESAMPLES, size)) for size in table.shape)
    medians = np.median(table[directions[:, :, None], prompts[:, None, :]], axis=(1, 2))
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def read_back(
    bench: Bench, evidence: Evidence, written: Model, retrieval: Retrieval | None = None
) -> tuple[Evidence, Check]:
    """The point at the chosen strength again, measured on the checkpoint that was written, as its
    users will load it.

    Args:
        bench: of the evidence, with the unsteered model, which stays the reference.
        evidence: measured with the edit in memory.
        written: the checkpoint, loaded.
        retrieval: of the evidence.

    Returns:
        the evidence with that point from the file, and the check that both points are one.
    """
    point = _point(evidence.after.strength, replace(bench, model=written), retrieval)
    apart = max(
        float(np.max(np.abs(point.values[kind] - evidence.after.values[kind])))
        for kind in ("cosine", "keep")
    )
    if point.retrieval is not None and evidence.after.retrieval is not None:
        pair = point.retrieval.after, evidence.after.retrieval.after
        apart = max(apart, float(np.max(np.abs(pair[0] - pair[1]))))
    check = Check(
        "the written checkpoint, loaded again, does what was measured",
        apart <= SAME_COSINE,
        f"cosines differ by at most {apart:.2g}, allowed {SAME_COSINE:.2g}",
    )
    edit = tuple(
        point if index == evidence.chosen else other for index, other in enumerate(evidence.edit)
    )
    return replace(evidence, edit=edit), check


def gather(
    session: Session,
    bench: Bench,
    *,
    strength: float,
    multiples: Sequence[float] = MULTIPLES,
    retrieval: Retrieval | None = None,
    progress: Progress = silent,
) -> Evidence:
    """Measure.

    Args:
        session: calibrated on other prompts.
        bench: the unsteered model on the prompts for evaluation; its seed is that of the random
            direction too.
        strength: c, the chosen strength.
        multiples: strengths of the curves in units of c.
        retrieval: texts to search at every point.
        progress: told how many runs are done.

    Raises:
        InputError: the method cannot take a strength.
    """
    model, done = session.model, 0
    strengths = sorted(
        {m * strength for m in multiples if session.allows(m * strength)} | {strength}
    )
    total = 4 + 2 * len(strengths) + EQUAL_RUNS

    def tell(runs: int = 1) -> None:
        nonlocal done
        done += runs
        progress("runs", min(done, total), total)

    before = _point(0.0, bench, retrieval)
    tell(2)
    points = []
    for c in strengths:
        with session.applied(c):
            points.append(_point(c, bench, retrieval))
        tell()
    chosen = strengths.index(strength)
    equal = equal_effect(session, bench, before, points[chosen], tell=tell)
    unit = equal.strength if equal else strength
    if equal is not None and retrieval is not None:
        with activation_addition(model, session.additions(equal.strength)):
            equal = replace(equal, retrieval=retrieval.measure(model))
    addition = [] if equal is None else [equal]
    for multiple in sorted({c / strength for c in strengths} if strength else ()):
        if multiple != 1.0 or equal is None:
            with activation_addition(model, session.additions(multiple * unit)):
                addition.append(_point(multiple * unit, bench, retrieval))
            tell()
    rng = np.random.default_rng([bench.seed, 2])
    away = session.plain(rng.standard_normal(model.stack.width))
    with away.applied(strength):
        null = _point(strength, bench, retrieval)
    mirror = None
    if strength and session.allows(-strength):
        with session.applied(-strength):
            mirror = Point(-strength, bench.measure())
        tell()
    texts = _texts(session, bench.prompts, strength, equal) if vocabulary(model) == "causal" else ()
    tell(total)
    return Evidence(
        before=before,
        edit=tuple(points),
        chosen=chosen,
        equal=equal,
        null=null,
        mirror=mirror,
        texts=texts,
        addition=tuple(sorted(addition, key=lambda point: point.strength)),
    )


def _point(strength: float, bench: Bench, retrieval: Retrieval | None) -> Point:
    """What is measured of the model as it is now."""
    found = None if retrieval is None else retrieval.measure(bench.model)
    return Point(strength, bench.measure(), found)


def equal_effect(
    session: Session, bench: Bench, before: Point, after: Point, *, tell: Any = None
) -> Point | None:
    """Activation addition whose mean signed cosine is that of an edit, within 1 % of the edit's
    effect.

    Args:
        session: for the layers and their sizes.
        bench: the same prompts.
        before: the unsteered model on them.
        after: the edit.
        tell: called after each run.

    Returns:
        The point; None where no strength reaches it.
    """
    tried: dict[float, Point] = {}
    effect = float(after.values["cosine"].mean() - before.values["cosine"].mean())
    sign = 1.0 if effect > 0 else -1.0

    def measure(strength: float) -> float:
        if strength == 0.0:
            return 0.0
        with activation_addition(session.model, session.additions(sign * strength)):
            tried[strength] = Point(sign * strength, bench.measure())
        if tell:
            tell()
        return float((tried[strength].values["cosine"] - before.values["cosine"]).mean()) * sign

    try:
        found = search(
            measure,
            abs(effect),
            start=abs(after.strength) or 0.05,
            most=EQUAL_RUNS,
            name="equal effect",
        )
    except InputError:
        return None
    return tried[found.strength]


def _texts(
    session: Session, prompts: Prompts, strength: float, equal: Point | None
) -> tuple[tuple[str, str, str, str], ...]:
    """What a causal model goes on with, greedily: unsteered, edited, and with activation
    addition.
    """
    model, ids = session.model, prompts.ids[:SHOWN_TEXTS]
    plain = _generate(model, ids)
    with session.applied(strength):
        edited = _generate(model, ids)
    added = [""] * len(ids)
    if equal is not None:
        with activation_addition(model, session.additions(equal.strength)):
            added = _generate(model, ids)
    starts = [model.tokenizer.decode(row[prompts.words]) for row in ids]
    return tuple(zip(starts, plain, edited, added, strict=True))


def _generate(model: Model, ids: np.ndarray) -> list[str]:
    """The most likely next token again and again."""
    import torch

    rows = torch.as_tensor(ids, device=model.device)
    for _ in range(NEW_TOKENS):
        seen = rows if model.context is None else rows[:, -model.context :]
        with model.running():
            scores = model.module(seen, attention_mask=torch.ones_like(seen)).logits[:, -1]
        rows = torch.cat([rows, scores.argmax(-1, keepdim=True)], 1)
    return [model.tokenizer.decode(row[ids.shape[1] :]) for row in rows.tolist()]
