"""Layers and heads of the lens's page: a row for each layer, and the map of all heads."""

from collections.abc import Sequence

import numpy as np

from eigenloop import report
from eigenloop.lens.model.results import ONE, called, noun
from eigenloop.lens.page.draw import DARK, LIGHT, SIGNS, heads_map
from eigenloop.lens.page.labels import FACTORS, capitalised, number, signed
from eigenloop.lens.weights.modes import Mode
from eigenloop.lens.weights.spectra import LayerSpectra, Spectra

MOST_HEADS = 1500
"""Heads that the page lists; spectra.csv holds all."""


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


def heads_items(found: Spectra) -> list[report.Item]:
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
