"""Sections of the lens's page beside the spectra: tokens that directions point at, QK beside OV,
two checkpoints.
"""

import numpy as np

from eigenloop import report
from eigenloop.lens.model.results import called, noun
from eigenloop.lens.page.draw import SIGNS
from eigenloop.lens.page.labels import capitalised, noted, number
from eigenloop.lens.weights.comparison import Comparison
from eigenloop.lens.weights.querykey import OVERLAPS, QueryKeys
from eigenloop.lens.weights.reading import Direction, Reading

TOP = 5
"""Tokens that a row shows; it opens to the others."""
MOST_ROWS = 400
"""Heads that the page lists; the CSV file holds all."""


def reading_section(found: Reading) -> report.Section:
    """The tokens nearest to what each layer writes and reads, beside what a random direction
    reaches.
    """
    rows = []
    for each in found.directions:
        clear = each.p_value < found.level
        near = "; ".join(
            ("" if side == "plane" else f"{SIGNS['positive' if side == '+' else 'negative']} ")
            + ", ".join(found.vocabulary.quoted(token) for token in ids[:TOP].tolist())
            for side, ids, _ in each.sides()
        )
        cells = (
            each.layer,
            "writes" if each.vector == "right" else "reads",
            report.Verbatim(near),
            report.Tag("beyond chance", "good") if clear else report.Tag("chance"),
            each.neighbours.largest,
            each.chance,
        )
        rows.append(report.Row(cells, [_tokens_table(each, found)]))
    header = (
        noun(found.unit),
        "what",
        "nearest tokens",
        "against chance",
        report.Column("largest |cos|", format=".3f"),
        report.Column("chance", format=".3f"),
    )
    beyond = sum(each.p_value < found.level for each in found.directions)
    first = (
        f"{beyond} of {len(found.directions)} directions lie nearer to some token than a random one"
        " may, counting how many were looked at. + and − are the two ends of a line, whose sign is"
        " a convention; a complex pair spans a plane."
    )
    table = report.Table(
        header,
        rows,
        caption=f"Leading directions by the rule {found.rule}",
        details_label="All tokens listed",
        filters=["against chance"],
        downloads=["reading.csv"],
    )
    return report.Section(
        "The tokens that directions point at", (first, table, noted(found.notes()))
    )


def query_key_section(found: QueryKeys) -> report.Section:
    """What heads look at beside what they move."""
    items: list[report.Item] = [*found.sentences()]
    if len(found.heads) <= MOST_ROWS:
        rows = [
            (
                each.layer,
                each.head,
                number(each.ov.eigenvalue),
                each.symmetric,
                each.rank,
                *(each.overlaps[name] / each.chance for name in OVERLAPS),
            )
            for each in found.heads
        ]
        header = (
            noun(found.unit),
            "head",
            report.Column("OV eigenvalue", align="right"),
            report.Column("symmetric", format=".2f"),
            "rank",
            *(report.Column(name.replace("_", ", "), format=".1f") for name in OVERLAPS),
        )
        listed = report.Table(
            header,
            rows,
            downloads=["querykey.csv"],
            caption=(
                "Each head: share of M in its symmetric part; last four columns: how many times"
                " more than a random direction does what the head writes or reads lie in the"
                " leading subspaces of M."
            ),
        )
        whole = report.Row((f"{len(rows)} heads",), (listed,))
        items.append(report.Table(("all heads",), (whole,), details_label="Show"))
    return report.Section(
        "What heads look at, beside what they move", (*items, noted(found.notes()))
    )


def comparison_section(found: Comparison) -> report.Section:
    """How far the leading subspaces of two checkpoints have turned, layer by layer."""
    rows = [
        (
            each.layer,
            each.rule,
            each.angles[-1],
            each.left_angles[-1],
            each.chance,
            f"{number(each.a.eigenvalue)} → {number(each.b.eigenvalue)}",
            max(each.a.gap, each.b.gap),
            report.Missing("the first F is 0") if each.change is None else each.change,
        )
        for each in found.changes
    ]
    degrees = {
        name: report.Column(name, format=".3g") for name in ("writes, °", "reads, °", "chance, °")
    }
    table = report.Table(
        (
            noun(found.unit),
            "rule",
            *degrees.values(),
            "eigenvalues",
            report.Column("larger gap", format=".4f"),
            "change of F",
        ),
        rows,
        caption=(
            "Angle between the leading subspaces, and of random ones of these dimensions (median)"
        ),
        filters=["rule"] if len(found.rules) > 1 else (),
        downloads=["comparison.csv"],
    )
    return report.Section(
        "Beside another checkpoint",
        (f"Compared with {found.b}.", *found.sentences(), table, noted(found.notes())),
    )


def _tokens_table(each: Direction, found: Reading) -> report.Table:
    rows = [
        (
            "plane" if side == "plane" else SIGNS["positive" if side == "+" else "negative"],
            report.Verbatim(token),
            float(cosine),
        )
        for side, ids, cosines in each.sides()
        for token, cosine in zip(
            (found.vocabulary.quoted(i) for i in ids.tolist()), np.asarray(cosines), strict=True
        )
    ]
    embedding = f"through the {each.embedding} embedding; p = {each.p_value:.2g} for the largest"
    return report.Table(
        ("side", "token", report.Column("cosine", format=".3f")),
        rows,
        caption=f"{capitalised(called(found.unit, each.layer))}, {embedding}",
    )
