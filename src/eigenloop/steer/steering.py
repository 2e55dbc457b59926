"""From a model and a direction to a written checkpoint with its evidence: what `eigenloop steer`
does (torch).
"""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop import report
from eigenloop.lens.model.checkpoint import Weights
from eigenloop.lens.model.loaded import Model
from eigenloop.lens.model.sources import directory_of
from eigenloop.lens.model.stack import Stack
from eigenloop.lens.weights.subject import Subject
from eigenloop.steer.adapter import save_adapter
from eigenloop.steer.checkpoint import (
    model_card,
    output_directory,
    save_checkpoint,
    write_directory,
)
from eigenloop.steer.checks import Check, Overlaid, check_effect, check_saved, require_passed
from eigenloop.steer.directions import Direction, contrast, from_file, toward_token
from eigenloop.steer.edits import Edit
from eigenloop.steer.embedding import Pooling, Retrieval, pooling_of
from eigenloop.steer.evidence import Evidence, gather, read_back
from eigenloop.steer.measuring import Bench, vocabulary
from eigenloop.steer.methods import STRENGTHS
from eigenloop.steer.page import named_points, save_tables, steering_page
from eigenloop.steer.prompts import Prompts, check_disjoint, cut, read_text, shipped
from eigenloop.steer.record import Plan, Written, record_of
from eigenloop.steer.request import Request
from eigenloop.steer.retrieval_page import save_retrieval
from eigenloop.steer.running import BATCH
from eigenloop.steer.session import Session
from eigenloop.steer.strength import Found, search
from eigenloop.steer.writing import changed_tensors, stored_kinds
from eigenloop.system.directories import OutputDirectory
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent

CALIBRATION, EVALUATION, SEARCHED = 64, 24, 2 * BATCH
"""Prompts to calibrate on, to evaluate on, and to search a strength on (the last of the
calibration prompts).
"""

DEFAULT_STRENGTH = 0.05

SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja")
"""Files of a hub name that a steered checkpoint is given beside its weights."""


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


def steer(request: Request, *, command: str | None = None, progress: Progress = silent) -> Steered:
    """Steer a model and write the result.

    Args:
        request: what is asked for.
        command: what is said to have written it.
        progress: told how far the runs are.

    Raises:
        InputError: something cannot be used; nothing has been written then.
    """
    # resolved once: what is measured is what is written
    source = directory_of(request.model, *SETTINGS)
    place = output_directory(request.out, source if Path(request.model).is_dir() else None)
    with place.held():
        return _steered(request, source, place, command=command, progress=progress)


def _steered(
    request: Request,
    source: Path,
    place: OutputDirectory,
    *,
    command: str | None,
    progress: Progress,
) -> Steered:
    """Everything that `steer` does in a directory that is held."""
    began = time.monotonic()
    calibration_text, evaluation_text = _texts(request)
    subject = Subject.of(request.model, device=request.device)
    model = subject.model
    direction = _direction(model, request)
    if model.tokenizer is None:
        raise InputError(
            f"{model.source} has no tokenizer, which calibration needs; add one to its directory"
        )
    calibration = cut(
        model.tokenizer, calibration_text, count=CALIBRATION, at_least=4, name="calibration text"
    )
    evaluation = cut(model.tokenizer, evaluation_text, count=EVALUATION, name="evaluation text")
    for prompts in (calibration, evaluation):
        _check_fits(model, prompts)
    pooling = _pooling(model, source)
    start = DEFAULT_STRENGTH if request.strength is None else request.strength
    session = Session.of(
        model,
        direction.vector,
        calibration,
        method=request.method,
        layers=request.layers,
        strength=start,
    )
    if not request.adapter:  # whose factors are float32, beside weights that stay as they are
        session = replace(session, kinds=stored_kinds(model.stack, subject.stack))
    session, found = _searched(session, request, pooling)
    retrieval = None if pooling is None else Retrieval.of(model, pooling)
    strength = start if found is None else found.strength
    plan = Plan(
        request=request,
        source=source,
        subject=subject,
        session=session,
        retrieval=retrieval,
        direction=direction,
        found=found,
        strength=strength,
        edits=session.edits(strength),
        command=command
        or f"eigenloop steer {shlex.quote(request.model)} --out {shlex.quote(str(request.out))}",
    )
    changed_tensors(model.stack, plan.edits)  # refuses what this model has no tensor for
    bench = Bench.of(
        model,
        evaluation,
        session.direction,
        token=direction.token,
        seed=request.seed,
        pooling=pooling,
    )
    evidence = gather(session, bench, strength=strength, retrieval=retrieval, progress=progress)
    result: list[Steered] = []

    def fill(directory: Path) -> None:
        written = _save(plan, directory)
        measured, checks = evidence, written.checks
        if not request.adapter:
            measured, same = read_back(bench, evidence, written.subject.model, retrieval)
            checks = (*checks, same)
        require_passed(checks)
        checks = (*checks, check_effect(measured.effect()))
        about = record_of(plan, written, measured, checks, seconds=time.monotonic() - began)
        record.update(about)
        card = model_card(about, request.model, plan.command)
        (directory / "README.md").write_text(card, encoding="utf-8", errors="backslashreplace")
        save_tables(directory, measured, about["edits"])
        if retrieval is not None:
            save_retrieval(directory, named_points(measured), retrieval.library)
        _write_page(directory, about, measured, checks)
        result.append(
            Steered(
                session=session, edits=plan.edits, record=about, evidence=measured, checks=checks
            )
        )

    record: dict[str, Any] = {}
    write_directory(place, fill, record)
    return result[0]


def _check_fits(model: Model, prompts: Prompts) -> None:
    """Tokens beyond the embedding, or prompts beyond the context, would end inside torch."""
    ids, rows = prompts.ids, int(model.module.get_input_embeddings().weight.shape[0])
    if ids.max() >= rows:
        raise InputError(
            f"the tokenizer of {model.source} gives token {ids.max()}, and the model embeds {rows};"
            " they do not belong together"
        )
    if model.context is not None and ids.shape[1] > model.context:
        raise InputError(
            f"{model.source} reads {model.context} tokens, fewer than the {ids.shape[1]} of a"
            " prompt; it is too short to steer"
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


def _pooling(model: Model, source: Path) -> Pooling | None:
    """As the checkpoint says, else the mean; none for a model that goes on with texts."""
    said = pooling_of(source)
    return said if said or vocabulary(model) == "causal" else Pooling()


def _searched(
    session: Session, request: Request, pooling: Pooling | None
) -> tuple[Session, Found | None]:
    """The strength for --target or --budget, found on calibration prompts, and the session that it
    was found with.

    The budget is of KL, and of change of similarity where the model predicts no token.

    What is written is tuned for a strength: first the untuned edit says about which, then the tuned
    one is searched.
    """
    if request.target is None and request.budget is None:
        return session, None
    speaks = vocabulary(session.model) is not None
    bench = Bench.of(
        session.model,
        session.calibration.part(slice(-SEARCHED, None)),
        session.direction,
        pooling=None if speaks else pooling,
    )
    kind = "cosine" if request.budget is None else "kl" if speaks else "similarity"
    goal = request.target if request.budget is None else request.budget
    assert goal is not None

    low, high = STRENGTHS[request.method]

    def found(session: Session, start: float = DEFAULT_STRENGTH) -> Found:
        def measure(strength: float) -> float:
            with session.applied(strength):
                return float(bench.measure()[kind].mean())

        return search(
            measure,
            goal,
            start=start,
            largest=high,
            name="--target" if kind == "cosine" else "--budget",
            not_above=kind != "cosine",
            away=kind == "cosine" and low < 0,
        )

    if request.method != "tuned":
        return session, found(session)
    first = found(session.plain(session.direction))
    session = session.tuned(first.strength)
    return session, found(session, abs(first.strength))


def _save(plan: Plan, directory: Path) -> Written:
    """Write the weights, read them back, and check them."""
    edits, before, model = plan.edits, plan.subject.stack, plan.session.model
    if plan.request.adapter:
        kinds = save_adapter(model.stack, directory, edits)
        merged = _merged(model.stack, directory)
        after = Subject.of(
            Weights(model.stack.weights.config, merged, f"{model.source} with the adapter")
        )
        changed = list(changed_tensors(model.stack, edits))
        checks = check_saved(model.stack, after.stack, edits, changed, "float32")
    else:
        kinds = save_checkpoint(plan.source, directory, edits, stack=before)
        after = Subject.of(directory, tokenizer=model.tokenizer, device=model.device)
        coarsest = max(kinds.values(), key=lambda kind: _SPACING.index(kind), default="float32")
        checks = check_saved(before, after.stack, edits, kinds, coarsest)
    return Written(subject=after, tensors=kinds, checks=tuple(checks))


_SPACING = ("float64", "float32", "float16", "bfloat16")


def _merged(stack: Stack, directory: Path) -> Overlaid:
    """W + B A and b + c of a written adapter, read back from its files."""
    from safetensors.numpy import load_file

    tensors = load_file(directory / "adapter_model.safetensors")
    config = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
    above: dict[str, np.ndarray] = {}
    for module in config["target_modules"]:
        place = f"base_model.model.{module}"
        change = (
            tensors[f"{place}.lora_B.weight"].astype(np.float64) @ tensors[f"{place}.lora_A.weight"]
        )
        change = change.T if config["fan_in_fan_out"] else change
        above[f"{module}.weight"] = stack.weights.tensors.read(f"{module}.weight") + change
        if config["lora_bias"] and np.any(tensors[f"{place}.lora_B.bias"]):
            above[f"{module}.bias"] = (
                stack.weights.tensors.read(f"{module}.bias") + tensors[f"{place}.lora_B.bias"]
            )
    return Overlaid(stack.weights.tensors, above)


def _write_page(
    directory: Path, about: Mapping[str, Any], evidence: Evidence, checks: Sequence[Check]
) -> None:
    report.write(steering_page(about, evidence, checks), directory / "report.html")
