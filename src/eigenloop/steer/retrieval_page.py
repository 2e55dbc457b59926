"""Similarity and retrieval of a steered model as a section of its page, and as a table."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eigenloop import report
from eigenloop.report import Cell
from eigenloop.steer.curves import curve_figure, measured
from eigenloop.steer.evidence import Evidence, Point
from eigenloop.steer.retrieval import LEVEL, Library, fewest_told
from eigenloop.system.files import save_table

FILE = "retrieval.csv"
HEADER = (
    "curve",
    "strength",
    "query",
    "topic",
    "right",
    "rank",
    "nearest",
    "change",
    "shift",
    "order",
)

COLUMNS: Mapping[str, str] = {
    "before": "unsteered",
    "edit": "edit",
    "activation_addition": "activation addition",
    "random_direction": "random direction",
}
"""Names in `steer.json`, in words."""

MEANS: Mapping[str, str] = {
    "change": "mean |change of cosine|",
    "shift": "mean change of cosine",
    "order": "Spearman's rho with unsteered",
    "reciprocal": "mean reciprocal rank",
}

TERMS = (
    "Cosines between the pooled vectors of packaged queries and sentences, both made by the model "
    "in question. Mean |change of cosine|: over all pairs, edit against unsteered; mean change of "
    "cosine: the part of it that all pairs have in common, which moves thresholds and no ranking. "
    "Spearman's rho: of one query's similarities to the sentences with those before, mean over "
    "queries. Reciprocal rank: of the right sentence; a tie counts against it. Brackets: 95 % "
    "bootstrap intervals over queries, with these sentences; what is lost and gained is counted."
)


def save_retrieval(directory: Path, points: Sequence[tuple[str, Point]], library: Library) -> None:
    """Write retrieval.csv: every query at every point.

    Args:
        directory: where to.
        points: with the names of their curves.
        library: what was searched.
    """
    rows: list[list[Any]] = []
    for name, point in points:
        found = point.retrieval
        if found is None:
            continue
        values = found.values
        for index, query in enumerate(library.queries):
            rows.append(
                [
                    name,
                    point.strength,
                    query,
                    library.topics[index],
                    library.sentences[library.right[index]],
                    int(values["rank"][index]),
                    library.sentences[found.nearest[index]],
                    *(float(values[kind][index]) for kind in ("change", "shift", "order")),
                ]
            )
    save_table(directory / FILE, HEADER, rows)


def retrieval_section(about: Mapping[str, Any], evidence: Evidence) -> report.Section:
    """The section.

    Args:
        about: "retrieval" of `steer.json`.
        evidence: points with their outcomes, for the curves.
    """
    items: list[report.Item] = []
    if about["p_chance"] >= LEVEL:
        items.append(
            report.Note(
                f"The unsteered model finds {about['before']['hits']} of {about['queries']} right "
                f"sentences, no more than chance would (p = {about['p_chance']:.2g}): what follows "
                "says how similarities change, and nothing of what retrieval loses.",
                "warn",
            )
        )
    items += [_found(about), _changed(about), _table(about), TERMS, f"Pooling: {about['pooling']}."]
    if about["cut"]:
        items.append(f"{about['cut']} texts are longer than this model reads, and were cut.")
    items += [*_figures(evidence), _neighbours(about)]
    return report.Section("Similarity and retrieval", items)


def _found(about: Mapping[str, Any]) -> report.Note:
    """How many right sentences are nearest, and whether those lost are more than chance."""
    edit, added, queries = about["edit"], about["activation_addition"], about["queries"]
    text = (
        f"The right sentence is the nearest for {about['before']['hits']} of {queries} queries "
        f"before and {edit['hits']} after the edit ({edit['lost']} lost, {edit['gained']} gained, "
        f"exact p = {edit['p_lost']:.2g})"
    )
    if added is not None:
        text += (
            f"; {added['hits']} with activation addition at equal effect ({added['lost']} lost, "
            f"{added['gained']} gained)"
        )
    told = edit["p_lost"] < LEVEL
    if not told:
        text += f". Fewer than {fewest_told()} losses without a gain are not told from chance"
    tone = "neutral" if not told else "bad" if edit["lost"] > edit["gained"] else "good"
    return report.Note(f"{text}.", tone)


def _changed(about: Mapping[str, Any]) -> report.Note:
    """Whether the edit changes similarities less than activation addition does."""
    difference = about["change_difference"]
    if difference is None:
        return report.Note(
            "No strength of activation addition has the edit's effect, so it is not compared.",
            "warn",
        )
    mean, low, high = (difference[name] for name in ("mean", "low", "high"))
    where = f"mean difference {mean:.2g} [{low:.2g}, {high:.2g}] over queries, at equal effect"
    if high <= 0:
        return report.Note(
            f"The edit changes cosines less than activation addition: {where}.", "good"
        )
    if low > 0:
        return report.Note(
            f"The edit changes cosines more than activation addition: {where}.", "bad"
        )
    return report.Note(f"The edit and activation addition change cosines about alike: {where}.")


def _table(about: Mapping[str, Any]) -> report.Table:
    """Counts and means by column."""
    shown = {name: about[name] for name in COLUMNS if about[name] is not None}
    counts = {
        "hits": f"right sentence nearest, of {about['queries']}",
        "lost": "of them lost",
        "gained": "gained",
        "nearest_moved": "another sentence nearest",
    }
    rows: list[list[Cell]] = [
        [words, *(found[key] for found in shown.values())] for key, words in counts.items()
    ]
    for kind, words in MEANS.items():
        cells = []
        for found in shown.values():
            low, high = found[f"{kind}_interval"]
            cells.append(f"{found[kind]:.4g} [{low:.4g}, {high:.4g}]")
        rows.append([words, *cells])
    caption = (
        f"{about['queries']} queries and {about['sentences']} sentences; activation addition at "
        "equal effect"
    )
    header = ("", *(COLUMNS[name] for name in shown))
    return report.Table(header, rows, caption=caption, downloads=(FILE,))


def _neighbours(about: Mapping[str, Any]) -> report.Table:
    """Which sentence is nearest to each query, by model."""
    names = [name for name in ("edit", "activation_addition") if about[name] is not None]
    rows: list[list[Cell]] = []
    for each in about["nearest"]:
        was, now = (each[name] == each["right"] for name in ("before", "edit"))
        found = "always" if was and now else "lost" if was else "gained" if now else "never"
        moved = [each[name] != each["before"] for name in names]
        cells: list[Cell] = [
            report.Verbatim(each[name]) if other else "the same"
            for name, other in zip(names, moved, strict=True)
        ]
        state = report.Tag("moves", "warn") if moved[0] else report.Tag("stays", "neutral")
        rows.append(
            [state, found, report.Verbatim(each["query"]), report.Verbatim(each["before"]), *cells]
        )
    header = (
        "nearest",
        "right one",
        "query",
        "nearest before",
        *(f"with {COLUMNS[name]}" for name in names),
    )
    rows.sort(key=lambda row: isinstance(row[0], report.Tag) and row[0].text != "moves")
    return report.Table(
        header,
        rows,
        caption="The nearest sentence to each query, before and after",
        filters=["nearest", "right one"],
    )


def _figures(evidence: Evidence) -> list[report.Figure]:
    """Change of cosines, and retrieval, against the effect."""
    return [
        curve_figure(
            evidence,
            measured("cosine"),
            partial(_value, kind),
            xlabel="signed cosine",
            ylabel=MEANS[kind],
            downloads=(FILE,),
        )
        for kind in ("change", "reciprocal")
    ]


def _value(kind: str, point: Point) -> tuple[float, float, float]:
    """(mean, low, high) over queries."""
    found = point.retrieval
    if found is None:
        return float("nan"), float("nan"), float("nan")
    return (found.mean(kind), *found.interval(kind))
