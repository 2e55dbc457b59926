"""A panel for each layer: its eigenvalues in the complex plane."""

import numpy as np

from eigenloop import report
from eigenloop.lens.model.results import called
from eigenloop.lens.page.draw import DARK, LIGHT, Window, plane, window
from eigenloop.lens.page.labels import capitalised, number, signed
from eigenloop.lens.weights.operators import Growth
from eigenloop.lens.weights.spectra import LayerSpectra, Spectra

ALIKE = 3.0
"""Panels share their axes where the largest needs at most this many times the room of the
smallest.
"""


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
