"""What is to be written, what was, and what steer.json says of it (NumPy)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop import __version__
from eigenloop.lens.weights.subject import Subject
from eigenloop.steer.checks import Check
from eigenloop.steer.directions import Direction
from eigenloop.steer.edits import Edit, describe, leading
from eigenloop.steer.embedding import Retrieval
from eigenloop.steer.evidence import Evidence, Point
from eigenloop.steer.request import Request
from eigenloop.steer.retrieval import Outcome, by_chance, comparison, neighbours
from eigenloop.steer.session import Session
from eigenloop.steer.strength import Found
from eigenloop.steer.writing import has_bias
from eigenloop.system.wording import finite


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What is to be written, decided before anything is.

    Args:
        request: what was asked for.
        source: the directory of the model.
        subject: the model, its weights opened once.
        session: calibrated, with the model that runs.
        retrieval: the packaged texts, where the model makes vectors of texts.
        direction: where to.
        found: the search for the strength, where one was asked for.
        strength: c.
        edits: at that strength.
        command: what is said to have written it.
    """

    request: Request
    source: Path
    subject: Subject
    session: Session
    retrieval: Retrieval | None
    direction: Direction
    found: Found | None
    strength: float
    edits: tuple[Edit, ...]
    command: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Written:
    """What was written, read back.

    Args:
        subject: the steered weights, as they lie in the files; of an adapter, its sum with the
            model.
        tensors: name of each tensor that was written -> the kind of number it is stored as.
        checks: on these weights.
    """

    subject: Subject
    tensors: Mapping[str, str]
    checks: tuple[Check, ...]


def record_of(
    plan: Plan, written: Written, evidence: Evidence, checks: Sequence[Check], *, seconds: float
) -> dict[str, Any]:
    """What steer.json and --json say.

    Args:
        plan: what was asked for.
        written: what was written.
        evidence: what was measured, of what was written.
        checks: on it.
        seconds: that all took.
    """
    request, session, direction, edits = plan.request, plan.session, plan.direction, plan.edits
    before, after = evidence.before, evidence.after
    difference = evidence.damage_difference()
    pairs = [(edit, session.sites[edit.layer].reading) for edit in edits]
    return {
        "version": __version__,
        "command": plan.command,
        "model": request.model,
        "model_type": session.model.model_type,
        "method": request.method,
        "adapter": request.adapter,
        "direction": direction.name,
        "direction_source": direction.source,
        "token": direction.token,
        "layers": [edit.layer for edit in edits],
        "head_per_layer": {str(edit.layer): list(edit.heads) for edit in edits},
        "strength": plan.strength,
        "edit_size": max((max(edit.sizes().values()) for edit in edits), default=0.0),
        "signed_cos_before": before.mean("cosine"),
        "signed_cos_after": after.mean("cosine"),
        "signed_cos_interval": after.interval("cosine"),
        "moved": after.mean("moved"),
        "keep": after.mean("keep"),
        "keep_interval": after.interval("keep"),
        "kl": after.mean("kl"),
        "perplexity_before": _perplexity(before),
        "perplexity_after": _perplexity(after),
        "token_rank_before": before.mean("rank"),
        "token_rank_after": after.mean("rank"),
        "token_probability_before": before.mean("probability"),
        "token_probability_after": after.mean("probability"),
        "activation_addition": None if evidence.equal is None else _outcome(evidence.equal),
        "random_direction": _outcome(evidence.null),
        "damage_difference": (
            None
            if difference is None
            else {"median": difference[0], "low": difference[1], "high": difference[2]}
        ),
        "similarity": after.mean("similarity"),
        "similarity_interval": after.interval("similarity"),
        "retrieval": _retrieval(plan.retrieval, evidence),
        "search": None if plan.found is None else [list(point) for point in plan.found.curve],
        "edits": [
            {
                "layer": edit.layer,
                "heads": list(edit.heads),
                "kappa": edit.kappa,
                "loss": edit.loss,
                "edit_size": edit.sizes(),
                "mu_spread": finite(seen.spread),
                "mu_positive": seen.positive,
                "note": edit.note,
                "spectrum": {
                    "was": describe(edit.was(), session.direction),
                    "predicted": describe(edit.predicted(), session.direction),
                    "measured": describe(
                        leading(written.subject.circuit(edit.layer)), session.direction
                    ),
                },
            }
            for edit, seen in pairs
        ],
        "left": {str(block): why for block, why in session.left.items()},
        "tensors": sorted(written.tensors),
        "checks": [
            {"check": check.name, "passed": check.passed, "measured": check.detail}
            for check in checks
        ],
        "notes": _notes(session, request, edits),
        "prompts": len(evidence.before.values["cosine"]),
        "prompt_length": session.calibration.ids.shape[1],
        "calibration_tokens": int(session.calibration.ids.size),
        "seconds": seconds,
        "seed": request.seed,
    }


def _retrieval(retrieval: Retrieval | None, evidence: Evidence) -> dict[str, Any] | None:
    """Before, after and beside activation addition, on the same texts."""
    before, equal = evidence.before.retrieval, evidence.equal
    if retrieval is None or before is None:
        return None
    outcomes: dict[str, Outcome | None] = {
        "before": before,
        "edit": evidence.after.retrieval,
        "activation_addition": None if equal is None else equal.retrieval,
        "random_direction": evidence.null.retrieval,
    }
    queries, sentences = retrieval.before.shape
    return {
        "pooling": retrieval.pooling.words,
        "queries": queries,
        "sentences": sentences,
        "cut": retrieval.cut,
        "p_chance": by_chance(int(before.hits.sum()), queries, sentences),
        **comparison(outcomes),
        "nearest": neighbours(retrieval.library, outcomes),
    }


def _notes(session: Session, request: Request, edits: Sequence[Edit]) -> list[str]:
    notes = list(session.model.notes)
    spreads = [session.sites[edit.layer].reading.spread for edit in edits]
    if request.method in ("signed", "tuned") and spreads and max(spreads) < 0.05:
        notes.append(
            f"mu . x varies by {100 * max(spreads):.2g} % between tokens, so on text like this the"
            " edit acts as a constant vector added to the sublayer's output would, without a hook"
            " and in weights alone"
        )
    if request.method == "bias":
        notes.append(
            "a bias-only edit is activation addition at the sublayer's output, stored as weights"
        )
    if request.method in ("swap", "swap-heads", "symmetric", "brauer"):
        notes.append(
            "this method has no sign: tokens go to +u or -u with the sign of their own coordinate"
        )
    if request.adapter:
        notes.append("biases are stored as lora_bias, which PEFT reads from version 0.14 on")
        stack = session.model.stack
        if any(sum(has_bias(stack, edit.layer)) == 1 for edit in edits):
            notes.append(
                "one of W_V and W_O has no bias in this model, so PEFT runs the adapter but cannot"
                " merge it; to have it merged, write the checkpoint"
            )
    if all(edit.is_identity for edit in edits):
        notes.append("the strength is zero: every weight is as it was")
    return notes


def _outcome(point: Point) -> dict[str, Any]:
    return {
        "strength": point.strength,
        "signed_cos_after": point.mean("cosine"),
        "moved": point.mean("moved"),
        "keep": point.mean("keep"),
        "kl": point.mean("kl"),
        "similarity": point.mean("similarity"),
        "perplexity": _perplexity(point),
        "token_rank_after": point.mean("rank"),
    }


def _perplexity(point: Point) -> float | None:
    value = point.mean("nll")
    return None if value is None else finite(float(np.exp(value)))
