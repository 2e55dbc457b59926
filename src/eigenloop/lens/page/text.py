"""Sections of the lens's page about a text: whether tokens follow the leading directions, and a
layer looped.
"""

import numpy as np

from eigenloop import report
from eigenloop.lens.loops.rates import Timescale
from eigenloop.lens.loops.result import Loops
from eigenloop.lens.model.results import called
from eigenloop.lens.page.curves import Band, Points, Series, over_depth, over_loops
from eigenloop.lens.page.draw import SIGNS
from eigenloop.lens.page.headline import cell, columns, headline_items, value
from eigenloop.lens.page.labels import capitalised, noted, short_name
from eigenloop.lens.text.aligned import Alignment
from eigenloop.lens.text.estimates import LEVEL, Estimate
from eigenloop.lens.text.nulls import KINDS, Kind

NULLS: dict[Kind, str] = {
    "random": "random directions",
    "other_layers": "other layers' modes",
    "random_init": "random-weight copy",
}
STATISTICS = {
    "enrichment_before": "share before",
    "enrichment_after": "share after",
    "ratio": "ratio after/before",
    "percentile": "percentile",
    "gain_rho": "gain, rank correlation",
    "gain_slope": "gain, slope",
}
DRAWN = (
    (
        ("enrichment_before", "enrichment_after"),
        "share / chance",
        1.0,
        True,
        (
            "How much of the tokens lies in the leading direction before and after the attention"
            " sublayer, as a multiple of what a random direction holds (the line at 1). A high"
            " value alone says little: tokens of a trained model lie unevenly, so that the band of"
            " random directions is wide. The nulls are those of the share after."
        ),
    ),
    (
        ("ratio",),
        "share after / share before",
        1.0,
        True,
        (
            "Does the sublayer turn tokens towards its leading direction? Above 1 it does. Points"
            " clear of the bands of random directions and other layers' modes say that it is this"
            " direction that grows, not any."
        ),
    ),
    (
        ("gain_rho",),
        "rank correlation",
        0.0,
        False,
        (
            "Do directions grow in the order of their eigenvalues? Spearman correlation between the"
            " measured gain of the mean token along each eigendirection and its predicted log"
            " growth: 1 is the power method's order, 0 is none. Where the copy with random weights"
            " is higher, the trained layer is further from a power step than it is."
        ),
    ),
    (
        ("gain_slope",),
        "slope",
        1.0,
        False,
        (
            "How much of the predicted growth is there? Slope of measured against predicted log"
            " growth: 1 is a perfect power step, 0 is none. Below 1, attention and what it reads do"
            " less than all tokens alike would."
        ),
    ),
)
"""Statistics of a figure, its y label, the level to compare with, whether its axis is
logarithmic, how to read it.
"""
MOST_HEADS = 15
"""Heads that the page lists, those furthest from chance; alignment.csv holds all."""


def alignment_section(found: Alignment) -> report.Section:
    """Whether the tokens of a text follow the leading directions: curves over depth, a table,
    words.
    """
    followed, trained = [*found.layers, *found.beyond], len(found.layers) if found.beyond else None
    layers = [layer.layer for layer in followed]
    items: list[report.Item] = [
        (
            f"Measured on {found.tokens:,} tokens in {found.passages:,} passages of {found.text}."
            " Bars are 95 % intervals over passages; dashed lines and bands are what the same"
            " statistic gives for a null."
        ),
        *headline_items(found),
    ]
    for names, ylabel, level, log, caption in DRAWN:
        estimates = {name: [layer.statistics[name] for layer in followed] for name in names}
        if all(each.value is None for several in estimates.values() for each in several):
            items.append(
                report.Note(
                    f"{STATISTICS[names[-1]].capitalize()}: {estimates[names[-1]][0].reason}."
                )
            )
            continue
        points = [
            Points(STATISTICS[name], *columns(several)) for name, several in estimates.items()
        ]
        light, dark = over_depth(
            layers,
            points,
            _bands(estimates[names[-1]]),
            ylabel=ylabel,
            level=level,
            log=log,
            xlabel=found.unit,
            trained=trained,
        )
        told = ", ".join(value(each) for each in estimates[names[-1]])
        items.append(
            report.Figure(
                light,
                alt=f"{ylabel} by {found.unit}: {told}",
                svg_dark=dark,
                caption=caption,
                downloads=["alignment.csv"],
            )
        )
    items += [_layers_table(found), *_heads_table(found), *_beyond(found), noted(found.notes())]
    title = (
        f"One block, {len(found.layers)} loops: do tokens follow?"
        if found.looped
        else "Do tokens follow?"
    )
    return report.Section(title, items)


def alignment_sentences(found: Alignment) -> list[str]:
    """What the text shows over all layers, in counts and medians."""
    count, unit = len(found.layers), found.unit
    ratios, after = (
        [layer.statistics[name] for layer in found.layers] for name in ("ratio", "enrichment_after")
    )
    grows = sum(each.low is not None and each.low > 1 for each in ratios)
    shrinks = sum(each.high is not None and each.high < 1 for each in ratios)
    nulls = [each.nulls.get("random") for each in ratios]
    beyond = sum(
        null is not None and null.p_adjusted is not None and null.p_adjusted < LEVEL
        for null in nulls
    )
    above = sum(each.low is not None and each.low > 1 for each in after)
    below = sum(each.high is not None and each.high < 1 for each in after)
    said = [
        f"On {found.tokens:,} tokens of {short_name(found.text)}: across the attention sublayer the"
        f" tokens' share in the leading direction grows in {grows} of {count} {unit}s and shrinks"
        f" in {shrinks} (95 % intervals clear of 1); in {beyond} it grows by more than along random"
        f" directions (adjusted p below {LEVEL:g}). After it the share is above chance in {above}"
        f" {unit}s and below in {below}; the answer above asks for more than that."
    ]
    parts = []
    for name, words in (("gain_rho", "rank correlation"), ("gain_slope", "slope")):
        known = [
            layer.statistics[name]
            for layer in found.layers
            if layer.statistics[name].value is not None
        ]
        copies = [each.nulls["random_init"].mean for each in known if "random_init" in each.nulls]
        if known:
            middle = float(np.median([each.value for each in known if each.value is not None]))
            beside = (
                f" ({float(np.median(copies)):.2f} in a copy with random weights)" if copies else ""
            )
            parts.append(f"{words} {middle:.2f}{beside}")
    if parts:
        said.append(
            f"Measured against predicted growth of all eigendirections, median over {unit}s:"
            f" {', '.join(parts)}; a perfect power step has 1 in both."
        )
    return said


def loops_section(found: Loops) -> report.Section:
    """A layer applied again and again: consensus and alignment against loops, and the two rates."""
    loops = np.arange(found.loops + 1)
    series = [Series("spread of the tokens", loops, found.spread)]
    if found.distance is not None:
        series.append(Series("distance to the fixed point", loops, found.distance))
    for scale, name in ((found.consensus, "spread"), (found.approach, "distance")):
        measured = found.spread if name == "spread" else found.distance
        if scale.predicted is not None and measured is not None and scale.fitted is not None:
            first = scale.fitted.first
            x = np.arange(first, first + scale.fitted.points * found.attractor.period)
            series.append(
                Series(f"{name}, predicted", x, measured[first] * scale.predicted ** (x - first))
            )
    light, dark = over_loops(series, ylabel="relative size")
    rates = report.Figure(
        light,
        "Spread and distance by loop. " + " ".join(found.sentences()),
        svg_dark=dark,
        caption="Straight stretches are constant factors per loop.",
        downloads=["loops.csv"],
    )
    share = Series(
        "mean token, share in the leading mode / chance", loops, found.alignment / found.chance
    )
    light, dark = over_loops([share], ylabel="share / chance", level=1.0)
    aligned = report.Figure(
        light,
        f"Share of the leading mode by loop, from {share.y[0]:.2g} to {share.y[-1]:.2g} times"
        " chance.",
        svg_dark=dark,
        caption=f"The line at 1 is chance; {1 / found.chance:.0f} would be the whole token.",
        downloads=["loops.csv"],
    )
    rows = [_rate(scale) for scale in (found.consensus, found.approach)]
    header = (
        "leading mode of",
        "factor measured",
        "its error",
        "turn",
        "factor predicted",
        "turn predicted",
        "errors apart",
        "loops to fall by e",
    )
    table = report.Table(
        header, rows, caption="Two time scales: what a loop multiplies by, and turns by in degrees"
    )
    which = called(found.unit, found.layer)
    what = (
        f"The whole of {which}" if found.part == "layer" else f"The attention sublayer of {which}"
    )
    first = f"{what} was applied {found.loops} times to {found.tokens} tokens."
    return report.Section(
        f"{capitalised(which)}, looped",
        (first, *found.sentences(), rates, aligned, table, noted(found.notes())),
    )


def _layers_table(found: Alignment) -> report.Table:
    rows = []
    for layer, sentence in zip(found.layers, found.sentences(), strict=True):
        told = [
            cell(layer.statistics[name], 0 if name == "percentile" else 2) for name in STATISTICS
        ]
        cells = [layer.layer, f"{SIGNS[layer.flag]} {layer.flag}", *told]
        nulls = [
            (
                words,
                NULLS[kind],
                null.mean,
                null.low,
                null.high,
                _or(null.sigmas, "too few draws"),
                _or(null.p, "too few draws"),
                _or(null.p_adjusted, "too few draws"),
            )
            for name, words in STATISTICS.items()
            for kind, null in layer.statistics[name].nulls.items()
        ]
        columns = ("statistic", "null", "mean", "2.5 %", "97.5 %", "sigmas", "p", "p adjusted")
        details: list[report.Item] = [sentence]
        if nulls:
            header = [report.Column(name, format=".3g") for name in columns]
            details.append(
                report.Table(
                    header,
                    nulls,
                    caption=f"{found.unit.capitalize()} {layer.layer} against its nulls",
                )
            )
        rows.append(report.Row(cells, details))
    return report.Table(
        (
            found.unit,
            "kind",
            *(report.Column(words, align="right") for words in STATISTICS.values()),
        ),
        rows,
        caption="Value [95 % interval]; each row opens to its sentence and nulls",
        details_label="Sentence and nulls",
        downloads=["alignment.csv"],
    )


def _beyond(found: Alignment) -> list[report.Item]:
    """The loops past those that the model was trained with: what the answer does not read."""
    if not found.beyond:
        return []
    names = {
        "enrichment_after": "share after",
        "ratio": "ratio after/before",
        "share_percentile_after": "percentile, own",
        "no_values_after": "with W_V = 0",
        "no_feed_forward_after": "without feed-forward",
        "centred_after": "centred share",
        "gain_rho": "gain, rank correlation",
        "gain_slope": "gain, slope",
    }
    rows = [
        (layer.layer, *(cell(layer[name], 0 if "percentile" in name else 2) for name in names))
        for layer in found.beyond
    ]
    title = f"Beyond the trained {len(found.layers)} loops"
    table = report.Table(
        ("loop", *(report.Column(words, align="right") for words in names.values())),
        rows,
        caption=f"{title}: value [95 % interval]; the answer does not read these",
        downloads=["alignment.csv"],
    )
    return [*found.continued(), table]


def _heads_table(found: Alignment) -> list[report.Item]:
    """The heads whose ratio is furthest from chance, by adjusted p-value."""
    listed = []
    for layer in found.layers:
        for head in layer.heads:
            ratio = head.statistics["ratio"]
            null = ratio.nulls.get("random")
            if null is not None and null.p_adjusted is not None:
                cells = (
                    null.p_adjusted,
                    layer.layer,
                    head.head,
                    f"{SIGNS[head.flag]} {head.flag}",
                    cell(ratio),
                )
                listed.append((null.p_adjusted, -(ratio.value or 0.0), cells))
    if not listed:
        return []
    listed.sort(key=lambda row: row[:2])
    clear = sum(row[0] < LEVEL for row in listed)
    table = report.Table(
        (
            report.Column("p adjusted", format=".2g"),
            found.unit,
            "head",
            "kind",
            report.Column("ratio", align="right"),
        ),
        [cells for *_, cells in listed[:MOST_HEADS]],
        caption=(
            f"The {min(MOST_HEADS, len(listed))} heads of smallest adjusted p, largest ratio first"
        ),
    )
    words = (
        f"Of {len(listed)} heads, {clear} turn tokens towards the leading direction of their own"
        f" F_h by more than random directions (adjusted p below {LEVEL:g})."
    )
    return [words, table]


def _bands(estimates: list[Estimate]) -> list[Band]:
    bands = []
    for kind in KINDS:
        nulls = [each.nulls.get(kind) for each in estimates]
        if any(null is not None for null in nulls):
            parts = [
                np.array(
                    [np.nan if null is None else getattr(null, part) for null in nulls], dtype=float
                )
                for part in ("mean", "low", "high")
            ]
            bands.append(Band(NULLS[kind], *parts))
    return bands


def _or(value: float | None, reason: str) -> report.Cell:
    return report.Missing(reason) if value is None else value


def _rate(scale: Timescale) -> tuple[report.Cell, ...]:
    fitted, reasons = scale.fitted, scale.reasons
    unknown = report.Missing(reasons.get("predicted", ""))
    return (
        {"consensus": "the tokens' differences", "attractor": "the distance to the fixed point"}[
            scale.name
        ],
        report.Missing(reasons.get("fitted", "")) if fitted is None else fitted.modulus,
        report.Missing("not measured") if fitted is None else fitted.error,
        report.Missing("not measured") if fitted is None else float(np.degrees(fitted.angle)),
        unknown if scale.predicted is None else scale.predicted,
        unknown if scale.angle is None else float(np.degrees(scale.angle)),
        _or(scale.errors_apart, "one of them is missing"),
        report.Missing("no factor below 1") if scale.loops is None else scale.loops,
    )
