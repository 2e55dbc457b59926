"""The page and the tables of a steered model: effect beside damage, what was edited, what was
checked.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop import report
from eigenloop.report import Cell
from eigenloop.steer.checks import Check
from eigenloop.steer.curves import curve_figure, measured
from eigenloop.steer.evidence import Evidence, Point
from eigenloop.steer.retrieval_page import retrieval_section
from eigenloop.system.files import save_table
from eigenloop.system.versions import LENS

KINDS: Mapping[str, str] = {
    "cosine": "signed cosine",
    "moved": "share moved towards u",
    "keep": "keep",
    "kl": "KL to unsteered, nats",
    "nll": "negative log-likelihood",
    "logit": "target's score above the mean",
    "probability": "target's probability",
    "rank": "target's rank",
    "similarity": "change of similarity",
}
"""What is measured, in words."""

CURVES = ("curve", "strength", *(f"{kind}{end}" for kind in KINDS for end in ("", "_low", "_high")))
PROMPTS = ("curve", "strength", "prompt", *KINDS)
FILES = ("curves.csv", "prompts.csv", "edits.csv")

LEAD = (
    "Weights of attention heads were changed so that the tokens of this model tilt towards one"
    " direction u of its residual stream. Everything below is measured on prompts that calibration"
    " did not see. "
)
TERMS = (
    "signed cosine: mean of cos(x, u) over tokens, x the stream after the last block (before a"
    " final normalisation). keep: cosine between the steered and the unsteered state with u taken"
    " out of both; 1 - keep is the damage. Activation addition: c |stream| u added to the output of"
    " the same blocks by hooks, at the strength where its mean signed cosine equals the edit's."
    " Random direction: a signed edit at the same strength towards a random vector (written"
    " untuned), measured along u. Change of similarity: |cos' - cos| of the pooled vectors of two"
    " prompts, mean over pairs. Bands and brackets: 95 % bootstrap intervals over prompts."
    " Strength c is relative to the mean length of the stream at each edited layer."
)


def save_tables(directory: Path, evidence: Evidence, edits: Sequence[Mapping[str, Any]]) -> None:
    """Write curves.csv, prompts.csv and edits.csv."""
    save_table(
        directory / "curves.csv",
        CURVES,
        [_row(name, point) for name, point in named_points(evidence)],
    )
    rows = []
    for name, point in named_points(evidence):
        for i in range(len(point.values["cosine"])):
            values = [
                float(point.values[kind][i]) if kind in point.values else None for kind in KINDS
            ]
            rows.append([name, point.strength, i, *values])
    save_table(directory / "prompts.csv", PROMPTS, rows)
    header = (
        "layer",
        "heads",
        "kappa",
        "loss",
        "size_output",
        "size_value",
        "size_layer",
        "mu_spread",
        "mu_positive",
        "was_re",
        "was_im",
        "predicted_re",
        "predicted_im",
        "measured_re",
        "measured_im",
        "cosine_predicted",
        "cosine_measured",
    )
    table = [
        [
            edit["layer"],
            " ".join(map(str, edit["heads"])),
            edit["kappa"],
            edit["loss"],
            *(edit["edit_size"][part] for part in ("output", "value", "layer")),
            edit["mu_spread"],
            edit["mu_positive"],
            *(
                part
                for key in ("was", "predicted", "measured")
                for part in edit["spectrum"][key]["eigenvalue"]
            ),
            edit["spectrum"]["predicted"]["cosine"],
            edit["spectrum"]["measured"]["cosine"],
        ]
        for edit in edits
    ]
    save_table(directory / "edits.csv", header, table)


def named_points(evidence: Evidence) -> list[tuple[str, Point]]:
    """Every point with the name of its curve."""
    edited = [("edit", point) for point in (evidence.before, *evidence.edit)]
    added = [("activation addition", point) for point in evidence.addition]
    return [*edited, *added, ("random direction", evidence.null)]


def steering_page(
    record: Mapping[str, Any], evidence: Evidence, checks: Sequence[Check]
) -> report.Page:
    """The page.

    Args:
        record: what `steer.json` says.
        evidence: curves and comparisons.
        checks: what was checked on the saved weights.
    """
    kinds = [kind for kind in KINDS if kind in evidence.before.values]
    sections = [
        report.Section(
            "Effect beside damage",
            (_verdict(record, evidence), _main_table(evidence, kinds), TERMS),
        ),
        report.Section("Dose and response", (*_figures(evidence), _points_table(evidence, kinds))),
        report.Section("What was edited", tuple(_edited(record))),
        report.Section("Checks on the saved weights", (_check_table(checks),)),
    ]
    if record["retrieval"] is not None:
        sections.insert(2, retrieval_section(record["retrieval"], evidence))
    if evidence.texts:
        sections.append(report.Section("Texts", (_text_table(evidence),)))
    facts: list[tuple[str, Cell]] = [
        ("model", report.Verbatim(str(record["model"]))),
        ("direction", report.Verbatim(f"{record['direction']}: {record['direction_source']}")),
        ("method", str(record["method"])),
        ("layers", ", ".join(map(str, record["layers"]))),
        ("strength", float(record["strength"])),
        ("prompts", f"{record['prompts']} prompts, {record['prompt_length']} tokens each"),
        ("calibration", f"{record['calibration_tokens']:,} tokens of other text"),
    ]
    return report.Page(
        f"Steering towards {record['direction']}",
        LEAD + _sentence(record),
        sections,
        facts=facts,
        command=str(record["command"]),
        origin=report.Origin.here(float(record["seconds"]), LENS),
        links=[
            report.Link("Li and Altafini, arXiv 2605.25619", "https://arxiv.org/abs/2605.25619")
        ],
    )


def _sentence(record: Mapping[str, Any]) -> str:
    text = (
        f"Signed cosine {record['signed_cos_before']:.3f} before, {record['signed_cos_after']:.3f}"
        " after"
    )
    if record["token_rank_after"] is not None:
        text += (
            f"; rank of the target {record['token_rank_before']:.0f} before,"
            f" {record['token_rank_after']:.0f} after"
        )
    return text + "."


def _verdict(record: Mapping[str, Any], evidence: Evidence) -> report.Note:
    difference = evidence.damage_difference()
    if difference is None or evidence.equal is None:
        return report.Note(
            "No strength of activation addition has the edit's effect, so the two are not"
            " compared.",
            "warn",
        )
    median, low, high = difference
    tuned = (
        " The edit is tuned for small 1 - keep, activation addition is not."
        if record["method"] == "tuned"
        else ""
    )
    where = (
        f"median difference of 1 - keep {median:.2g} [{low:.2g}, {high:.2g}] over prompts, at equal"
        " effect"
    )
    if high <= 0:
        return report.Note(
            f"The edit does less damage than activation addition: {where}.{tuned}", "good"
        )
    if low > 0:
        return report.Note(f"The edit does more damage than activation addition: {where}.", "bad")
    return report.Note(
        f"The edit and activation addition do about the same damage: {where}.", "neutral"
    )


def _main_table(evidence: Evidence, kinds: Sequence[str]) -> report.Table:
    columns = [("unsteered", evidence.before), ("edit", evidence.after)]
    if evidence.equal is not None:
        columns.append(("activation addition", evidence.equal))
    columns.append(("random direction", evidence.null))
    rows: list[list[Cell]] = [["strength", *(point.strength for _, point in columns)]]
    rows += [
        [KINDS[kind], *(_with_interval(point, kind) for _, point in columns)] for kind in kinds
    ]
    if "nll" in kinds:
        rows.append(
            ["perplexity", *(float(np.exp(point.mean("nll") or 0.0)) for _, point in columns)]
        )
    return report.Table(
        ("", *(name for name, _ in columns)), rows, caption="Means over prompts at equal effect"
    )


def _points_table(evidence: Evidence, kinds: Sequence[str]) -> report.Table:
    rows = [
        [name, point.strength, *(_with_interval(point, kind) for kind in kinds)]
        for name, point in named_points(evidence)
    ]
    header = ("curve", "strength", *(KINDS[kind] for kind in kinds))
    return report.Table(header, rows, caption="Every point", filters=["curve"], downloads=FILES[:2])


def _edited(record: Mapping[str, Any]) -> list[report.Item]:
    rows = []
    for edit in record["edits"]:
        size, found = edit["edit_size"], edit["spectrum"]
        rows.append(
            [
                edit["layer"],
                _some(edit["heads"]),
                size["output"],
                size["value"],
                size["layer"],
                edit["loss"],
                *(_mode(found[key]) for key in ("was", "predicted", "measured")),
                found["measured"]["cosine"],
            ]
        )
    header = (
        "layer",
        "heads",
        "change of W_O",
        "of W_V",
        "of F",
        "lost",
        "leading eigenvalue",
        "predicted",
        "measured",
        "its |cos| to u",
    )
    caption = (
        "Changes relative to the weights of the edited heads (F: of the layer); lost: what makes"
        " room, root mean square relative to the stream; the leading eigenvalue of F has the"
        " largest |1 + lambda|"
    )
    items: list[report.Item] = [report.Table(header, rows, caption=caption, downloads=FILES[2:])]
    items += [
        report.Note(f"Layer {layer} is not edited: {why}", "warn")
        for layer, why in record["left"].items()
    ]
    items += [report.Note(note) for note in record["notes"]]
    return items


def _check_table(checks: Sequence[Check]) -> report.Table:
    rows = []
    for check in checks:
        if check.passed is None:
            tag = report.Tag("reported", "neutral")
        else:
            tag = report.Tag("holds", "good") if check.passed else report.Tag("fails", "bad")
        rows.append([tag, check.name, check.detail])
    return report.Table(("verdict", "check", "measured"), rows)


def _text_table(evidence: Evidence) -> report.Table:
    header = ("prompt", "unsteered", "edit", "activation addition")
    return report.Table(
        header,
        [list(map(report.Verbatim, row)) for row in evidence.texts],
        caption="Greedy continuations of held-out prompts",
    )


def _figures(evidence: Evidence) -> list[report.Figure]:
    pairs = [
        ("strength", "cosine", "strength c", KINDS["cosine"]),
        ("cosine", "damage", KINDS["cosine"], "1 - keep"),
    ]
    pairs += [
        ("cosine", kind, KINDS["cosine"], KINDS[kind])
        for kind in ("kl", "similarity", "rank")
        if kind in evidence.before.values
    ]
    return [
        curve_figure(
            evidence,
            measured(x),
            measured(y),
            xlabel=xlabel,
            ylabel=ylabel,
            yscale="log" if y == "rank" else "linear",
            downloads=FILES[:1],
        )
        for x, y, xlabel, ylabel in pairs
    ]


def _row(name: str, point: Point) -> list[Any]:
    values: list[Any] = [name, point.strength]
    for kind in KINDS:
        values += [point.mean(kind), *(point.interval(kind) or (None, None))]
    return values


def _with_interval(point: Point, kind: str) -> Cell:
    mean, interval = point.mean(kind), point.interval(kind)
    if mean is None or interval is None:
        return report.Missing("not measured")
    if kind == "keep":
        return f"{mean:.5f} [{interval[0]:.5f}, {interval[1]:.5f}]"
    return f"{mean:.4g} [{interval[0]:.4g}, {interval[1]:.4g}]"


def _mode(found: Mapping[str, Any]) -> str:
    real, imaginary = found["eigenvalue"]
    return f"{real:.4g}" if not imaginary else f"{real:.4g} ± {abs(imaginary):.4g}i"


def _some(heads: Sequence[int]) -> str:
    listed = ", ".join(map(str, heads[:8]))
    return listed if len(heads) <= 8 else f"{listed}, … ({len(heads)})"
