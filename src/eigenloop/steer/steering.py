"""From a model and a direction to a written checkpoint with its evidence: what `eigenloop steer` does (torch)."""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop import __version__, report
from eigenloop.lens.model.checkpoint import Weights, open_weights
from eigenloop.lens.model.loaded import Model, load
from eigenloop.lens.model.sources import directory_of
from eigenloop.lens.model.stack import Stack, locate
from eigenloop.lens.weights.circuits import circuits
from eigenloop.steer.adapter import save_adapter
from eigenloop.steer.checkpoint import check_out, model_card, save_checkpoint, write_directory
from eigenloop.steer.checks import Check, Overlaid, check_effect, check_saved, require_passed
from eigenloop.steer.directions import Direction, contrast, from_file, toward_token
from eigenloop.steer.edits import Edit, describe, leading
from eigenloop.steer.evidence import Evidence, Point, gather, read_back
from eigenloop.steer.measuring import Bench, vocabulary
from eigenloop.steer.page import save_tables, steering_page
from eigenloop.steer.prompts import Prompts, check_disjoint, cut, read_text, shipped
from eigenloop.steer.running import BATCH
from eigenloop.steer.session import METHOD_NAMES, Report, Session
from eigenloop.steer.strength import Found, search
from eigenloop.steer.writing import changed_tensors, has_bias, stored_kinds
from eigenloop.system.errors import InputError

CALIBRATION, EVALUATION, SEARCHED = 64, 24, 2 * BATCH
"""Prompts to calibrate on, to evaluate on, and to search a strength on (the last of the calibration prompts)."""

DEFAULT_STRENGTH = 0.05

SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja")
"""Files of a hub name that a steered checkpoint is given beside its weights."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for, as on the command line; checked when it is made.

    Args:
        model: a directory or a hub name.
        out: the directory to write.
        toward: a token.
        direction: a .npy file.
        contrast: two prompts.
        method: one of `METHOD_NAMES`.
        layers: as for `chosen_layers`.
        device: as for `load`.
        strength: c.
        target: signed cosine to reach.
        budget: divergence (KL, nats) not to pass.
        calibrate: a text; by default a packaged one.
        evaluate: a text; by default a packaged one.
        adapter: write the change alone.
        seed: of random directions and hidden positions.

    Raises:
        InputError: options that exclude one another, or a value out of its range.
    """

    model: str
    out: Path
    toward: str | None = None
    direction: Path | None = None
    contrast: tuple[str, str] | None = None
    method: str = "tuned"
    layers: str = "late"
    device: str = "auto"
    strength: float | None = None
    target: float | None = None
    budget: float | None = None
    calibrate: Path | None = None
    evaluate: Path | None = None
    adapter: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what needs no model."""
        ways = [name for name in ("toward", "direction", "contrast") if getattr(self, name) is not None]
        if len(ways) != 1:
            said = " and ".join(f"--{name}" for name in ways) or "none"
            raise InputError(f"one of --toward, --direction and --contrast says where to steer; {said} was given")
        doses = [name for name in ("strength", "target", "budget") if getattr(self, name) is not None]
        if len(doses) > 1:
            raise InputError(f"--{' and --'.join(doses)} exclude one another; give one of them")
        if self.method not in METHOD_NAMES:
            raise InputError(f"--method {self.method} does not exist; choose {', '.join(METHOD_NAMES)}")
        for name, low, high in (("strength", -2.0, 2.0), ("target", -1.0, 1.0), ("budget", 0.0, np.inf)):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and low <= value <= high):
                raise InputError(f"--{name} is {value:g}; it must be between {low:g} and {high:g}")
        if self.seed < 0:
            raise InputError(f"--seed is {self.seed}; it must be 0 or more")
        if self.method.startswith("swap") and self.strength is not None and not 0 <= self.strength <= 1:
            raise InputError(f"--strength is {self.strength:g}; for --method {self.method} it is from 0 to 1")


@dataclass(frozen=True, eq=False, kw_only=True)
class Steered:
    """What was done.

    Args:
        session: the model, calibrated.
        edits: what was written.
        record: plain values, as in steer.json.
        evidence: curves and comparisons.
        checks: on the saved weights.
    """

    session: Session
    edits: tuple[Edit, ...]
    record: Mapping[str, Any]
    evidence: Evidence
    checks: tuple[Check, ...]


def steer(request: Request, *, command: str | None = None, report: Report | None = None) -> Steered:
    """Steer a model and write the result.

    Args:
        request: what is asked for.
        command: what is said to have written it.
        report: told how far the runs are.

    Raises:
        InputError: something cannot be used; nothing has been written then.
    """
    began = time.monotonic()
    source = directory_of(request.model, *SETTINGS)  # resolved once: what is measured is what is written
    check_out(request.out, source if Path(request.model).is_dir() else None)
    calibration_text, evaluation_text = _texts(request)
    model = load(request.model, device=request.device)
    direction = _direction(model, request)
    if model.tokenizer is None:
        raise InputError(f"{model.source} has no tokenizer, which calibration needs; add one to its directory")
    calibration = cut(model.tokenizer, calibration_text, count=CALIBRATION, at_least=4, name="calibration text")
    evaluation = cut(model.tokenizer, evaluation_text, count=EVALUATION, name="evaluation text")
    for prompts in (calibration, evaluation):
        _check_fits(model, prompts)
    start = DEFAULT_STRENGTH if request.strength is None else request.strength
    session = Session.of(
        model, direction.vector, calibration, method=request.method, layers=request.layers, strength=start
    )
    if not request.adapter:  # whose factors are float32, beside weights that stay as they are
        files = locate(open_weights(source))
        session = replace(session, kinds=stored_kinds(model.stack, files))
    session, found = _searched(session, request)
    strength = start if found is None else found.strength
    edits = session.edits(strength)
    changed_tensors(model.stack, edits)  # refuses what this model has no tensor for
    evidence = gather(
        session, evaluation, strength=strength, token=direction.token, seed=request.seed, report=report
    )  # fmt: skip
    words = command or f"eigenloop steer {shlex.quote(request.model)} --out {shlex.quote(str(request.out))}"
    result: list[Steered] = []

    def fill(directory: Path) -> None:
        saved, tensors, checks = _save(model, request, source, directory, edits)
        measured = evidence
        if not request.adapter:
            measured, same = read_back(
                session, evaluation, evidence, directory, token=direction.token, seed=request.seed
            )
            checks = (*checks, same)
        require_passed(checks)
        checks = (*checks, check_effect(measured.effect()))
        about = _record(
            session, request, direction, found, strength, edits, saved, tensors, measured, checks,
            command=words, seconds=time.monotonic() - began,
        )  # fmt: skip
        record.update(about)
        (directory / "README.md").write_text(model_card(about, request.model, words), encoding="utf-8")
        save_tables(directory, measured, about["edits"])
        _write_page(directory, about, measured, checks)
        result.append(Steered(session=session, edits=edits, record=about, evidence=measured, checks=checks))

    record: dict[str, Any] = {}
    write_directory(request.out, fill, record)
    return result[0]


def _check_fits(model: Model, prompts: Prompts) -> None:
    """Tokens beyond the embedding, or prompts beyond the context, would end inside torch."""
    ids, rows = prompts.ids, int(model.module.get_input_embeddings().weight.shape[0])
    if ids.max() >= rows:
        raise InputError(
            f"the tokenizer of {model.source} gives token {ids.max()}, and the model embeds {rows}; they do not belong "
            "together"
        )
    if model.context is not None and ids.shape[1] > model.context:
        raise InputError(
            f"{model.source} reads {model.context} tokens, fewer than the {ids.shape[1]} of a prompt; it is too short "
            "to steer"
        )


def _texts(request: Request) -> tuple[str, str]:
    calibration, evaluation = shipped()
    if request.calibrate is not None:
        calibration = read_text(request.calibrate)
    if request.evaluate is not None:
        evaluation = read_text(request.evaluate)
    check_disjoint(calibration, evaluation)
    return calibration, evaluation


def _direction(model: Model, request: Request) -> Direction:
    if request.toward is not None:
        return toward_token(model, request.toward)
    if request.contrast is not None:
        return contrast(model, *request.contrast)
    assert request.direction is not None
    return from_file(model, request.direction)


def _searched(session: Session, request: Request) -> tuple[Session, Found | None]:
    """The strength for --target or --budget, found on calibration prompts, and the session that it was found with.

    What is written is tuned for a strength: first the untuned edit says about which, then the tuned one is searched.
    """
    if request.target is None and request.budget is None:
        return session, None
    if request.budget is not None and vocabulary(session.model) is None:
        raise InputError(f"--budget needs a model that predicts tokens; {session.model.source} has no such head")
    bench = Bench.of(session.model, session.calibration.part(slice(-SEARCHED, None)), session.direction)
    kind = "cosine" if request.budget is None else "kl"
    goal = request.target if request.budget is None else request.budget
    assert goal is not None

    def found(session: Session, start: float = DEFAULT_STRENGTH) -> Found:
        def measure(strength: float) -> float:
            with session.applied(strength):
                return float(bench.measure()[kind].mean())

        return search(
            measure, goal, start=start, largest=1.0 if request.method.startswith("swap") else 2.0,
            name="--target" if kind == "cosine" else "--budget", not_above=kind == "kl",
        )  # fmt: skip

    if request.method != "tuned":
        return session, found(session)
    first = found(session.plain(session.direction))
    session = session.tuned(first.strength)
    return session, found(session, first.strength)


def _save(
    model: Model, request: Request, source: Path, directory: Path, edits: Sequence[Edit]
) -> tuple[Stack, dict[str, str], tuple[Check, ...]]:
    """Write the weights, read them back, and check them."""
    if request.adapter:
        kinds = save_adapter(model.stack, directory, edits)
        merged = _merged(model.stack, directory)
        after = locate(Weights(model.stack.weights.config, merged, f"{model.source} with the adapter"))
        changed = list(changed_tensors(model.stack, edits))
        return after, kinds, tuple(check_saved(model.stack, after, edits, changed, "float32"))
    kinds = save_checkpoint(source, directory, edits)
    before, after = locate(open_weights(source)), locate(open_weights(directory))
    coarsest = max(kinds.values(), key=lambda kind: _SPACING.index(kind), default="float32")
    return after, kinds, tuple(check_saved(before, after, edits, kinds, coarsest))


_SPACING = ("float64", "float32", "float16", "bfloat16")


def _merged(stack: Stack, directory: Path) -> Overlaid:
    """W + B A and b + c of a written adapter, read back from its files."""
    from safetensors.numpy import load_file

    tensors = load_file(directory / "adapter_model.safetensors")
    config = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
    above: dict[str, np.ndarray] = {}
    for module in config["target_modules"]:
        place = f"base_model.model.{module}"
        change = tensors[f"{place}.lora_B.weight"].astype(np.float64) @ tensors[f"{place}.lora_A.weight"]
        change = change.T if config["fan_in_fan_out"] else change
        above[f"{module}.weight"] = stack.weights.tensors.read(f"{module}.weight") + change
        if config["lora_bias"] and np.any(tensors[f"{place}.lora_B.bias"]):
            above[f"{module}.bias"] = stack.weights.tensors.read(f"{module}.bias") + tensors[f"{place}.lora_B.bias"]
    return Overlaid(stack.weights.tensors, above)


def _record(
    session: Session,
    request: Request,
    direction: Direction,
    found: Found | None,
    strength: float,
    edits: Sequence[Edit],
    saved: Stack,
    tensors: Mapping[str, str],
    evidence: Evidence,
    checks: Sequence[Check],
    *,
    command: str,
    seconds: float,
) -> dict[str, Any]:
    """What steer.json and --json say."""
    before, after = evidence.before, evidence.after
    difference = evidence.damage_difference()
    pairs = [(edit, session.sites[edit.layer].reading) for edit in edits]
    return {
        "version": __version__, "command": command, "model": request.model, "model_type": session.model.model_type,
        "method": request.method, "adapter": request.adapter, "direction": direction.name,
        "direction_source": direction.source, "token": direction.token, "layers": [edit.layer for edit in edits],
        "head_per_layer": {str(edit.layer): list(edit.heads) for edit in edits}, "strength": strength,
        "edit_size": max((max(edit.sizes().values()) for edit in edits), default=0.0),
        "signed_cos_before": before.mean("cosine"), "signed_cos_after": after.mean("cosine"),
        "signed_cos_interval": after.interval("cosine"), "moved": after.mean("moved"), "keep": after.mean("keep"),
        "keep_interval": after.interval("keep"), "kl": after.mean("kl"), "perplexity_before": _perplexity(before),
        "perplexity_after": _perplexity(after), "token_rank_before": before.mean("rank"),
        "token_rank_after": after.mean("rank"), "token_probability_before": before.mean("probability"),
        "token_probability_after": after.mean("probability"),
        "activation_addition": None if evidence.equal is None else _outcome(evidence.equal),
        "random_direction": _outcome(evidence.null),
        "damage_difference": None if difference is None else
        {"median": difference[0], "low": difference[1], "high": difference[2]},
        "search": None if found is None else [list(point) for point in found.curve],
        "edits": [
            {
                "layer": edit.layer, "heads": list(edit.heads), "kappa": edit.kappa, "loss": edit.loss,
                "edit_size": edit.sizes(), "mu_spread": _finite(seen.spread), "mu_positive": seen.positive,
                "note": edit.note,
                "spectrum": {
                    "was": describe(edit.was(), session.direction),
                    "predicted": describe(edit.predicted(), session.direction),
                    "measured": describe(leading(circuits(saved, edit.layer)), session.direction),
                },
            }
            for edit, seen in pairs
        ],
        "left": {str(block): why for block, why in session.left.items()}, "tensors": sorted(tensors),
        "checks": [{"check": check.name, "passed": check.passed, "measured": check.detail} for check in checks],
        "notes": _notes(session, request, edits), "prompts": len(evidence.before.values["cosine"]),
        "prompt_length": session.calibration.ids.shape[1],
        "calibration_tokens": int(session.calibration.ids.size), "seconds": seconds, "seed": request.seed,
    }  # fmt: skip


def _notes(session: Session, request: Request, edits: Sequence[Edit]) -> list[str]:
    notes = list(session.model.notes)
    spreads = [session.sites[edit.layer].reading.spread for edit in edits]
    if request.method in ("signed", "tuned") and spreads and max(spreads) < 0.05:
        notes.append(
            f"mu . x varies by {100 * max(spreads):.2g} % between tokens, so on text like this the edit acts as a "
            "constant vector added to the sublayer's output would, without a hook and in weights alone"
        )
    if request.method == "bias":
        notes.append("a bias-only edit is activation addition at the sublayer's output, stored as weights")
    if request.method in ("swap", "swap-heads", "symmetric", "brauer"):
        notes.append("this method has no sign: tokens go to +u or -u with the sign of their own coordinate")
    if request.adapter:
        notes.append("biases are stored as lora_bias, which PEFT reads from version 0.14 on")
        stack = session.model.stack
        if any(sum(has_bias(stack, edit.layer)) == 1 for edit in edits):
            notes.append(
                "one of W_V and W_O has no bias in this model, so PEFT runs the adapter but cannot merge it; to have "
                "it merged, write the checkpoint"
            )
    if all(edit.is_identity for edit in edits):
        notes.append("the strength is zero: every weight is as it was")
    return notes


def _outcome(point: Point) -> dict[str, Any]:
    return {
        "strength": point.strength, "signed_cos_after": point.mean("cosine"), "moved": point.mean("moved"),
        "keep": point.mean("keep"), "kl": point.mean("kl"), "perplexity": _perplexity(point),
        "token_rank_after": point.mean("rank"),
    }  # fmt: skip


def _perplexity(point: Point) -> float | None:
    value = point.mean("nll")
    return None if value is None else _finite(float(np.exp(value)))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _write_page(directory: Path, about: Mapping[str, Any], evidence: Evidence, checks: Sequence[Check]) -> None:
    report.write(steering_page(about, evidence, checks), directory / "report.html")
