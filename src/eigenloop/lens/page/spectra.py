"""The lens's page: what a model's layers and heads amplify, in words, drawings and tables.

Built from results that are there already; nothing is measured here.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from eigenloop import report
from eigenloop.lens.model.results import ONE, called, noun
from eigenloop.lens.page.draw import DARK, LIGHT, SIGNS, Window, heads_map, plane, window
from eigenloop.lens.page.labels import FACTORS, capitalised, noted, number, short_name, signed
from eigenloop.lens.weights.modes import Mode
from eigenloop.lens.weights.operators import Growth
from eigenloop.lens.weights.spectra import LayerSpectra, Spectra
from eigenloop.system.versions import LENS

TITLE = "The lens: "
"""What the page's title begins with; a page of another kind is not replaced."""
ALIKE = 3.0
"""Panels share their axes where the largest needs at most this many times the room of the
smallest.
"""
MOST_HEADS = 1500
"""Heads that the page lists; spectra.csv holds all."""


def spectra_page(
    found: Spectra,
    *,
    command: str,
    seconds: float,
    beside: Sequence[report.Section] = (),
    lead: str | None = None,
    summary: Sequence[str] = (),
    facts: Sequence[tuple[str, report.Cell]] = (),
    remarks: Sequence[str] = (),
    downloads: Sequence[str] = ("spectra.csv", "eigenvalues.csv"),
) -> report.Page:
    """The page.

    Args:
        found: the spectra.
        command: what repeats it.
        seconds: how long it took.
        beside: sections about a text, the tokens, loops or another checkpoint, after the spectra.
        lead: the page's first sentence; by default what the weights say.
        summary: their sentences for the summary.
        facts: further ones for the head of the page.
        remarks: further notes.
        downloads: the files beside the page.

    Example:
        >>> import numpy as np
        >>> from eigenloop.lens import planted, layer_spectra
        >>> layers = (layer_spectra(planted(np.diag([1.0, -1.5]))),)
        >>> about = {
        ...     "source": "mine",
        ...     "model_type": "planted",
        ...     "stored": ("float64",),
        ...     "schedule": (0,),
        ...     "heads": 1,
        ... }
        >>> found = Spectra(
        ...     **about,
        ...     width=2,
        ...     placement="pre",
        ...     rules=("modulus", "consensus", "layernorm"),
        ...     layers=layers,
        ... )
        >>> spectra_page(found, command="eigenloop lens mine", seconds=1.0).title
        'The lens: mine'
    """
    rule = found.rule
    words = [*([lead] if lead else []), *sentences(found), *summary]
    notes = [*found.notes(), *remarks]
    sections = [
        report.Section("In short", (*words[1:], *([noted(notes)] if notes else []))),
        report.Section(
            (
                "Eigenvalues of the one block"
                if found.unit == ONE
                else f"Eigenvalues, {found.unit} by {found.unit}"
            ),
            (*_reading_planes(found), strip(found)),
        ),
        report.Section(
            f"The leading direction of {ONE if found.unit == ONE else f'each {found.unit}'}",
            (layer_table(found),),
        ),
        report.Section("Heads", _heads(found)),
        *beside,
        report.Section("Method", _method(found)),
        report.Section(
            "Files", (report.Facts([(name, report.Link(name, name)) for name in downloads]),)
        ),
    ]
    return report.Page(
        TITLE + short_name(found.source),
        words[0],
        sections,
        facts=[
            ("model", report.Verbatim(found.source)),
            (
                "architecture",
                (
                    f"{found.model_type}, {found.placement}-LN, weights stored as"
                    f" {' and '.join(found.stored)}"
                ),
            ),
            ("shown", f"{found.shown()}; {found.heads} heads each, d = {found.width}"),
            ("leads by", f"{rule}: largest {FACTORS[rule]}"),
            *facts,
        ],
        command=command,
        origin=report.Origin.here(seconds, LENS),
        links=[
            report.Link("Li and Altafini, arXiv 2605.25619", "https://arxiv.org/abs/2605.25619"),
            report.Link("Altafini et al., arXiv 2511.11553", "https://arxiv.org/abs/2511.11553"),
        ],
    )


def sentences(found: Spectra) -> list[str]:
    """What the spectra say, in words that claim no more than the numbers.

    Example:
        >>> from eigenloop.lens import planted, layer_spectra
        >>> layers = (layer_spectra(planted(np.diag([1.0, -0.5])), rules=("consensus",)),)
        >>> about = {
        ...     "source": "mine",
        ...     "model_type": "planted",
        ...     "stored": ("float64",),
        ...     "schedule": (0,),
        ...     "heads": 1,
        ... }
        >>> found = Spectra(**about, width=2, placement="pre", rules=("consensus",), layers=layers)
        >>> print(sentences(found)[1])  # doctest: +NORMALIZE_WHITESPACE
        Alone, a step multiplies the leading direction by 2 (layer 0). The next one grows 0.25
        times as much (the gap).
    """
    rule, leaders = found.rule, {layer.layer: layer.modes[found.rule] for layer in found.layers}
    at = partial(called, found.unit)
    counts = [f"{count} {_KINDS[flag]}" for flag, count in found.counts()[rule].items() if count]
    told = f", of {found.shown()}: {', '.join(counts)}"
    if len(leaders) == 1:
        told = f": {found.shown()}, {counts[0].removeprefix('1 ')}"
    who = "does the attention" if found.unit == ONE else "do the attention layers"
    lead = (
        f"Which directions of the residual stream {who} of {short_name(found.source)} amplify, and"
        f" how clearly? By {FACTORS[rule]}{told}."
    )
    growths = {index: mode.growth for index, mode in leaders.items()}
    gaps = {index: mode.gap for index, mode in leaders.items()}
    most, least = max(growths, key=growths.__getitem__), min(growths, key=growths.__getitem__)
    if most == least:
        where = "" if found.unit == ONE else f" ({at(most)})"
        step = f"Alone, a step multiplies the leading direction by {growths[most]:.3g}{where}."
        step += f" The next one grows {gaps[most]:.3g} times as much (the gap)."
    else:
        step = (
            f"Alone, a step multiplies the leading direction by {growths[least]:.3g} ({at(least)})"
            f" to {growths[most]:.3g} ({at(most)})."
        )
        clear, close = min(gaps, key=gaps.__getitem__), max(gaps, key=gaps.__getitem__)
        step += (
            f" The next direction grows {gaps[clear]:.3g} ({at(clear)}) to {gaps[close]:.3g}"
            f" ({at(close)}) times as much: a gap near 1 means that a single pass hardly separates"
            " the two."
        )
    words = [lead, step]
    if {"modulus", "consensus"} <= set(found.rules):
        other = [
            layer.layer
            for layer in found.layers
            if not np.isclose(
                layer.modes["modulus"].eigenvalue, layer.modes["consensus"].eigenvalue, rtol=1e-9
            )
        ]
        if len(leaders) == 1:
            which = "another direction leads than" if other else "the same direction leads as"
            words.append(f"With the residual connection {which} without it.")
        else:
            words.append(
                "With the residual connection another direction leads than without it in"
                f" {len(other)} of {len(leaders)}"
                f" {found.unit}s{f' ({at(other)})' if other else ''}."
            )
    return words


def strip(found: Spectra) -> report.Gallery:
    """A panel for each layer: its eigenvalues in the complex plane."""
    rule, circles = (
        found.rule,
        {layer.layer: _circle(found.growth(layer)) for layer in found.layers},
    )
    values = {layer.layer: layer.eigenvalues.get(rule, np.empty(0)) for layer in found.layers}
    leaders = {layer.layer: _marked(layer, rule) for layer in found.layers}
    windows = {
        index: window([values[index], np.array(leaders[index])], *circles[index])
        for index in values
    }
    sides = [each.width for each in windows.values()]
    shared = max(sides) <= ALIKE * min(sides) and len(set(circles.values())) == 1
    if shared:
        everything = window(
            [*values.values(), *map(np.array, leaders.values())], *circles[found.layers[0].layer]
        )
        windows = dict.fromkeys(windows, everything)
    panels = [
        _panel(
            layer,
            rule,
            values[layer.layer],
            leaders[layer.layer],
            windows[layer.layer],
            *circles[layer.layer],
            name=capitalised(called(found.unit, layer.layer)),
        )
        for layer in found.layers
    ]
    two = any(len(each) > 1 for each in leaders.values())
    axes = (
        "All panels have the same axes."
        if shared
        else "Each panel has its own axes; the circle is the yardstick."
    )
    axes = axes if len(panels) > 1 else ""
    rest = [len(each) for each in values.values() if len(each)]
    return report.Gallery(
        panels,
        f"Eigenvalues of {found.layers[0].modes[rule].operator}. Dashed: the circle where one step"
        " neither grows nor shrinks; dots outside it grow. Ring: the leading eigenvalue (a complex"
        f" pair has two){'; diamond: the largest |λ|, where that is another one' if two else ''}."
        f" {axes}"
        + (
            f" Eigenvalues that grouped queries make exactly 0, {found.width - min(rest)} of each,"
            " are left out."
            if rest and min(rest) < found.width
            else ""
        )
        + (
            ""
            if len(rest) == len(values)
            else (
                " Where only the leading eigenvalue is drawn, the matrix is too large "
                "to compute all."
            )
        ),
        downloads=["eigenvalues.csv"],
    )


def layer_table(found: Spectra) -> report.Table:
    """A row for each layer, which opens to the other rules and to its heads."""
    rule, listed = found.rule, len(found.layers) * found.heads <= MOST_HEADS
    rows = []
    for layer in found.layers:
        mode, heads = layer.modes[rule], layer.heads[rule]
        best = max(range(len(heads)), key=lambda h, heads=heads: heads[h].growth) if heads else None
        details: list[report.Item] = [
            _rules_table(layer, found.rules, called(found.unit, layer.layer))
        ]
        if heads and listed:
            details.append(_heads_table(heads, rule))
        cells = (
            layer.layer,
            signed(mode.flag),
            number(mode.eigenvalue),
            mode.growth,
            mode.gap,
            (
                report.Missing("no heads")
                if best is None
                else f"{best}: {number(heads[best].eigenvalue)}"
            ),
        )
        rows.append(report.Row(cells, details))
    columns = (
        noun(found.unit),
        "kind",
        report.Column("eigenvalue λ", align="right"),
        report.Column("growth", format=".4g"),
        report.Column("gap", format=".4f"),
        "strongest head",
    )
    return report.Table(
        columns,
        rows,
        details_label="All rules and heads" if listed else "All rules",
        caption=(
            f"By {FACTORS[rule]}; gap: growth of the next direction over growth of the leading one."
        ),
        downloads=["spectra.csv"],
    )


# --- parts of the page

_KINDS = {
    "positive": "led by a positive eigenvalue",
    "negative": "led by a negative one",
    "complex": "led by a complex pair",
    "zero": "led by the null space (nothing is amplified)",
}


def _circle(growth: Growth) -> tuple[float, float]:
    """Centre and radius of the eigenvalues that neither grow nor shrink."""
    return -growth.shift * growth.scale, growth.scale


def _marked(layer: LayerSpectra, rule: str) -> tuple[complex, ...]:
    """The leader, and beside it the one by modulus where that is another of the same matrix."""
    leader = layer.modes[rule].eigenvalue
    other = (
        layer.modes["modulus"].eigenvalue
        if rule == "consensus" and "modulus" in layer.modes
        else leader
    )
    return (leader,) if np.isclose(leader, other, rtol=1e-9) else (leader, other)


def _panel(
    layer: LayerSpectra,
    rule: str,
    values: np.ndarray,
    leaders: tuple[complex, ...],
    shown: Window,
    centre: float,
    radius: float,
    *,
    name: str,
) -> report.Panel:
    mode = layer.modes[rule]
    light, dark = (
        plane(values, leaders, shown, look, centre=centre, radius=radius) for look in (LIGHT, DARK)
    )
    grows = int(np.count_nonzero(np.abs(values - centre) > radius))
    spread = (
        f" {grows} of {len(values)} eigenvalues grow."
        if len(values)
        else " Only the leading one is known."
    )
    return report.Panel(
        name,
        light,
        alt=(
            f"{name}: the leading eigenvalue is {number(mode.eigenvalue)}, {mode.flag}, growth "
            f"{mode.growth:.3g}, gap {mode.gap:.3g}.{spread}"
        ),
        svg_dark=dark,
        mark=signed(mode.flag),
        note=f"λ = {number(mode.eigenvalue)}; gap {mode.gap:.3g}",
    )


def _rules_table(layer: LayerSpectra, rules: Sequence[str], name: str) -> report.Table:
    header = (
        "rule",
        "matrix",
        "eigenvalue",
        "kind",
        "growth",
        "gap",
        "residual",
        "condition",
        "method",
    )
    rows = []
    for rule in rules:
        mode = layer.modes[rule]
        condition = (
            mode.condition
            if np.isfinite(mode.condition)
            else report.Missing("left and right are orthogonal")
        )
        method = mode.method if mode.converged else f"{mode.method}, not converged"
        rows.append(
            (
                rule,
                mode.operator,
                number(mode.eigenvalue),
                signed(mode.flag),
                mode.growth,
                mode.gap,
                float(f"{mode.residual:.2g}"),
                condition,
                method,
            )
        )
    return report.Table(header, rows, caption=f"{capitalised(name)} by each rule")


def _heads_table(heads: Sequence[Mode], rule: str) -> report.Table:
    rows = [(h, signed(m.flag), number(m.eigenvalue), m.growth, m.gap) for h, m in enumerate(heads)]
    return report.Table(
        ("head", "kind", "eigenvalue", "growth", "gap"),
        rows,
        caption=f"Its heads, by {FACTORS[rule]}",
    )


def _heads(found: Spectra) -> list[report.Item]:
    """The map of layers by heads: |lambda| where that is known, else the growth by the rule."""
    rule = "modulus" if "modulus" in found.rules else found.rule
    if not found.layers[0].heads[rule]:
        return ["Heads were not looked at."]
    values = np.array([[mode.growth for mode in layer.heads[rule]] for layer in found.layers])
    flags = [[mode.flag for mode in layer.heads[rule]] for layer in found.layers]
    layers = [layer.layer for layer in found.layers]
    light, dark = (
        heads_map(values, flags, layers, look, label=FACTORS[rule]) for look in (LIGHT, DARK)
    )
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    everyone = [flag for each in flags for flag in each]
    counts = ", ".join(f"{everyone.count(flag)} {flag}" for flag in SIGNS if flag in everyone)
    strongest = (
        "The strongest head is"
        f" {column}{'' if found.unit == ONE else f' of {called(found.unit, layers[row])}'}: λ ="
        f" {number(found.layers[row].heads[rule][column].eigenvalue)}. Of {len(everyone)} heads:"
        f" {counts}."
    )
    legend = ", ".join(f"{sign} {flag}" for flag, sign in SIGNS.items())
    rows = "" if found.unit == ONE else f"Rows: {found.unit}s; columns: heads. "
    figure = report.Figure(
        light,
        alt=f"{noun(found.unit).capitalize()}s by heads. {strongest}",
        svg_dark=dark,
        caption=f"{rows}Shade: {FACTORS[rule]} of F_h's leading eigenvalue; sign: {legend}.",
        downloads=["spectra.csv"],
    )
    return [strongest, figure]


def _reading_planes(found: Spectra) -> list[str]:
    if found.rule == "layernorm":
        return []
    return [
        "Attention adds F x to a token x, so a direction with eigenvalue λ is multiplied by 1 + λ:"
        " λ > 0 is amplified with its sign, λ between −2 and 0 is damped, λ < −2 is amplified and"
        " changes sign at every step, and a complex pair turns in a plane, where no single"
        " direction leads."
    ]


def _method(found: Spectra) -> list[str]:
    """What was done, in plain words."""
    zeros = "the " if found.heads > 1 else ""
    words = [
        (
            "F = W_O W_V, the sum over heads of W_O^h W_V^h, is what attention applies to a token"
            " on its way back into the residual stream, patterns and biases aside. Weights are"
            " taken as they are stored; nothing is folded in or centred unless the rule is"
            " layernorm."
        ),
        (
            "modulus: the power method on F alone, largest |λ|. consensus: with the residual"
            " connection and all tokens alike, largest |1 + λ|. layernorm: with the gain and"
            " centring of the layer's own normalisation."
        ),
        (
            "All eigenvalues come from LAPACK's QR iteration in float64 (ARPACK above d = 2,048,"
            f" the leading six), those of {zeros}heads from the small d_head x d_head product. Each"
            " is returned with ||F v − λ v||, its residual."
        ),
        (
            "These are statements about weights. Whether tokens follow depends on attention"
            " patterns, the feed-forward layers, and what the normalisation does in between; a text"
            " tells."
        ),
    ]
    return words
