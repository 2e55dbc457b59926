"""Steering and similarity, as claims of eigenloop's own: `eigenloop verify --only steer.retrieval`.

Vectors of texts y_i + s u, with y_i orthogonal to u, all of one length |y| and one coordinate s:

    cos'_ij = (cos_ij + a)/(1 + a),    a = s^2/|y|^2,    cos_ij = y_i . y_j/|y|^2

This rises in cos_ij: what all texts have in common changes every similarity and no ranking. Source:
worked out here. What an edit changes of rankings is what it does to texts unlike.
"""

from functools import cache

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Ledger, Plot, within
from eigenloop.lens.model.loaded import load
from eigenloop.lens.text.claims import MISSING, minilm
from eigenloop.numerics.power import normalize
from eigenloop.steer.retrieval import Outcome

ledger = Ledger("arXiv 2605.25619")

DIM, QUERIES, SENTENCES = 32, 12, 24
STRENGTH, CALIBRATION, EVALUATION = 0.05, 64, 24


@ledger.claim(
    "steer.retrieval.common",
    "A vector orthogonal to the vectors of texts of one length, added to all of them, takes each "
    "cosine r to (r + a)/(1 + a), a the ratio of squared lengths: every similarity changes, and "
    "no ranking does.",
    place="steering",
    provenance="ours",
)
def common_vector(effort: Effort) -> Finding:
    """Random texts, pushed further and further."""
    rng, worst, moved, curves = effort.generator(0), 0.0, 0, []
    for index in range(effort.pick(4, 20)):
        u = normalize(rng.standard_normal(DIM))
        texts = rng.standard_normal((QUERIES + SENTENCES, DIM))
        texts = normalize(texts - np.outer(texts @ u, u))
        queries, sentences = texts[:QUERIES], texts[QUERIES:]
        right, before = rng.integers(SENTENCES, size=QUERIES), queries @ sentences.T
        shares = np.array([0.0, 0.05, 0.2, 0.5, 1.0, 2.0])
        found = []
        for a in shares:
            pushed = normalize(queries + a**0.5 * u), normalize(sentences + a**0.5 * u)
            found.append(Outcome(before, pushed[0] @ pushed[1].T, right))
            expected = np.mean((1 - before) * a / (1 + a), axis=1)  # the same sign for every pair
            values = found[-1].values
            for kind in ("change", "shift"):
                worst = max(worst, float(np.max(np.abs(values[kind] - expected))))
            worst = max(worst, float(np.max(1 - values["order"])))
            moved += found[-1].moved + sum(found[-1].lost_and_gained)
        if index == 0:
            means = [each.mean("change") for each in found]
            law = [float(np.mean(1 - before) * a / (1 + a)) for a in shares]
            curves = [Curve("measured", shares, means, points=True), Curve("law", shares, law)]
    return within(
        measured=worst + moved,
        expected=0.0,
        tolerance=1e-13,
        relative=False,
        justification="cosines of 32 entries round by 1e-15; no rank and no neighbour may change",
        plot=Plot(curves, "a", "mean |change of cosine|", "linear", "linear"),
    )


@ledger.claim(
    "steer.retrieval.minilm",
    "At c = 0.05 in the last third of MiniLM's layers a tuned edit, which does less damage to "
    "tokens than activation addition of equal signed cosine, is not found to change the cosines of "
    "texts by less, over random directions and the packaged queries.",
    place="steering",
    provenance="ours",
    shared_run="minilm",
)
def minilm_changes(effort: Effort) -> Finding:
    """Edit and addition on the same texts; not run where the model is not installed."""
    if not minilm():
        return MISSING
    from eigenloop.steer.evidence import median_interval

    edit, added = (_table(effort, way, "change") for way in (0, 1))
    low, high = median_interval(edit - added)
    common = np.abs(_table(effort, 0, "shift").mean(1)) / edit.mean(1)
    return Finding(
        "fails" if high < 0 else "holds",
        float(np.median(edit - added)),
        "an interval that reaches 0 or above",
        None,
        "95 % interval of the median difference, directions and queries drawn again each by itself",
        "1 - keep is of tokens, one at a time",
        numbers={
            "interval": [low, high],
            "directions": len(edit),
            "median change, edit": float(np.median(edit)),
            "median change, activation addition": float(np.median(added)),
            "share of the edit's change that is common to all pairs, by direction": common.tolist(),
        },
    )


@cache
def _outcomes(effort: Effort) -> tuple[tuple[Outcome, Outcome], ...]:
    """Edit and activation addition of equal effect on the packaged texts, for each direction."""
    from eigenloop.steer.embedding import Pooling, Retrieval, pooling_of
    from eigenloop.steer.evidence import Point, equal_effect
    from eigenloop.steer.measuring import Bench
    from eigenloop.steer.prompts import cut, shipped
    from eigenloop.steer.running import activation_addition
    from eigenloop.steer.session import Session

    folder = minilm()
    assert folder is not None
    model = load(folder, device="cpu")
    first, second = shipped()
    calibration = cut(model.tokenizer, first, count=CALIBRATION)
    prompts = cut(model.tokenizer, second, count=EVALUATION)
    retrieval = Retrieval.of(model, pooling_of(folder) or Pooling())
    vectors = effort.generator(1).standard_normal((effort.pick(3, 10), model.stack.width))
    calibrated = Session.of(model, vectors[0], calibration, method="signed", strength=STRENGTH)
    found: list[tuple[Outcome, Outcome]] = []
    for vector in vectors:
        plain = calibrated.plain(vector)
        bench = Bench.of(model, prompts, plain.direction)
        before = Point(0.0, bench.measure())
        with plain.tuned(STRENGTH).applied(STRENGTH):
            after, edited = Point(STRENGTH, bench.measure()), retrieval.measure(model)
        equal = equal_effect(plain, bench, before, after)
        if equal is None:
            continue
        with activation_addition(model, plain.additions(equal.strength)):
            found.append((edited, retrieval.measure(model)))
    return tuple(found)


def _table(effort: Effort, way: int, kind: str) -> np.ndarray:
    """(directions, queries) of the edit (0) or of activation addition (1)."""
    return np.array([pair[way].values[kind] for pair in _outcomes(effort)])
