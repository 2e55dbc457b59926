"""The page's answer about a text: the rule's sentence, its conditions layer by layer, and the
controls drawn.
"""

from dataclasses import replace

import numpy as np

from eigenloop import report
from eigenloop.lens.page.curves import Band, Points, over_depth
from eigenloop.lens.page.labels import short_name
from eigenloop.lens.text.aligned import Alignment
from eigenloop.lens.text.estimates import Estimate, LayerAlignment
from eigenloop.lens.text.headline import Verdict

CONTROLS = {
    "enrichment_before": "share before",
    "share_percentile_before": "its percentile, own",
    "enrichment_after": "share after",
    "share_percentile_after": "its percentile, own",
    "no_values_after": "share after, with W_V = 0",
    "no_feed_forward_after": "share after, without feed-forward",
    "centred_before": "centred share before",
    "centred_after": "centred share after",
    "centred_percentile": "its percentile, own",
    "no_values_centred": "centred share after, with W_V = 0",
    "no_feed_forward_centred": "centred share after, without feed-forward",
}
"""What a row of the rule's table opens to."""
CAPTION = (
    "The share after the sublayer, with the tokens' mean direction left in and taken out, beside"
    " the same text run without attention's values (W_V = 0) and without the feed-forward"
    " sublayers. Where the share does not rise above the band of W_V = 0, something else than F put"
    " the tokens there; where the centred share is near 1, one vector that all tokens have in"
    " common is all there is."
)


RULE = (
    "The tokens of a {unit} count as aligned where the share's adjusted p against random directions"
    " is below 0.05, its percentile among F's own eigen-directions is at least 95, its interval"
    " lies above that of the run with W_V = 0, the participation ratio is at least 2, and the first"
    " three hold for the centred share too."
)


def headline_sentence(found: Alignment) -> str:
    """The question, and the answer by the rule."""
    whose = (
        f"the one block, applied {len(found.layers)} times, of" if found.looped else "each layer of"
    )
    words = (
        f"Do the tokens of {short_name(found.text)} align with the leading direction of {whose} "
        f"{short_name(found.source)}? {found.headline.answer()}"
    )
    return _unbroken(words)


def headline_items(found: Alignment) -> list[report.Item]:
    """The answer, the conditions of every layer with the numbers that they are read from, and
    the controls drawn.
    """
    header = (
        found.unit,
        "aligned",
        report.Column("share after", align="right"),
        report.Column("p, random", align="right"),
        report.Column("percentile, own", align="right"),
        report.Column("with W_V = 0", align="right"),
        report.Column("participation", align="right"),
        report.Column("centred share", align="right"),
    )
    judged = zip(found.layers, found.headline.layers, strict=True)
    table = report.Table(
        header,
        [_row(layer, says, found.unit) for layer, says in judged],
        caption=f"The rule, {found.unit} by {found.unit}; ✗ marks what fails",
        details_label="Controls",
        downloads=["alignment.csv"],
    )
    return [
        headline_sentence(found),
        _unbroken(RULE.format(unit=found.unit)),
        table,
        *_figure(found),
    ]


def _row(layer: LayerAlignment, verdict: Verdict, unit: str) -> report.Row:
    holds = verdict.conditions
    null = layer["enrichment_after"].nulls.get("random")
    p = None if null is None else null.p_adjusted
    tag = {
        "yes": report.Tag("yes", "good"),
        "no": report.Tag("no"),
        "undecided": report.Tag("not decided", "warn"),
    }
    missing = report.Missing(verdict.reasons.get("random", "no p-value"))
    cells = (
        layer.layer,
        tag[verdict.says],
        cell(layer["enrichment_after"]),
        missing if p is None else _marked(f"{p:.2g}", holds["random"]),
        cell(replace(layer["share_percentile_after"], low=None), 0, holds["own"]),
        cell(layer["no_values_after"], 2, holds["values"]),
        cell(layer["participation"], 1, holds["coordinate"]),
        cell(layer["centred_after"], 2, holds["centred"]),
    )
    rows = []
    for name, words in CONTROLS.items():
        null = layer[name].nulls.get("random")
        p = None if null is None else null.p_adjusted
        digits = 0 if "percentile" in name else 2
        rows.append(
            (
                _unbroken(words),
                cell(layer[name], digits),
                report.Missing("no random directions in this run") if p is None else p,
            )
        )
    header = (
        "what",
        report.Column("value [95 % interval]", align="right"),
        report.Column("p adjusted", format=".3g"),
    )
    words = (
        f"Of coordinate {layer.coordinate}, {100 * layer.coordinate_share:.0f} % lies in the"
        f" leading {'plane' if layer.flag == 'complex' else 'direction'}, the most of any"
        " coordinate."
    )
    return report.Row(
        cells,
        [words, report.Table(header, rows, caption=f"{unit.capitalize()} {layer.layer}, controls")],
    )


def _figure(found: Alignment) -> list[report.Item]:
    """The share and its controls over depth."""
    followed = [*found.layers, *found.beyond]
    series = {name: [layer[name] for layer in followed] for name in CONTROLS}
    names = {"centred_after": "centred share after", "enrichment_after": "share after"}
    points = [Points(words, *columns(series[name])) for name, words in names.items()]
    controls = {"no_values_after": "W_V = 0", "no_feed_forward_after": "without feed-forward"}
    bands = [
        Band(words, *columns(series[name]))
        for name, words in controls.items()
        if any(each.value is not None for each in series[name])
    ]
    light, dark = over_depth(
        [layer.layer for layer in followed],
        points,
        bands,
        ylabel="share / chance",
        level=1.0,
        log=True,
        xlabel=found.unit,
        trained=len(found.layers) if found.beyond else None,
    )
    told = "; ".join(
        f"{words} {', '.join(value(each) for each in series[name])}"
        for name, words in {**names, **controls}.items()
    )
    figure = report.Figure(
        light,
        alt=f"Shares over chance by {found.unit}: {told}",
        svg_dark=dark,
        caption=_unbroken(CAPTION),
        downloads=["alignment.csv"],
    )
    return [figure]


def columns(estimates: list[Estimate]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(value, low, high), NaN where there is none."""
    parts = [[getattr(each, name) for each in estimates] for name in ("value", "low", "high")]
    value, low, high = (
        np.array([np.nan if v is None else v for v in part], dtype=float) for part in parts
    )
    return value, low, high


def value(found: Estimate) -> str:
    """A value to three digits, for a drawing's description."""
    return "none" if found.value is None else f"{found.value:.3g}"


def cell(found: Estimate, digits: int = 2, holds: bool | None = None) -> report.Cell:
    """A value with its interval, marked where a condition on it fails; or why there is none."""
    if found.value is None:
        return report.Missing(found.reason or "not measured")
    interval = (
        ""
        if found.low is None or found.high is None
        else f" [{found.low:.{digits}f},\N{NO-BREAK SPACE}"
    )
    interval += f"{found.high:.{digits}f}]" if interval else ""
    return _marked(f"{found.value:.{digits}f}{interval}".replace("-", "\N{MINUS SIGN}"), holds)


def _unbroken(text: str) -> str:
    return text.replace("W_V = 0", "W_V\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0")


def _marked(text: str, holds: bool | None) -> str:
    return f"✗\N{NO-BREAK SPACE}{text}" if holds is False else text
