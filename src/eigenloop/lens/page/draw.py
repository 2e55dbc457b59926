"""Eigenvalues in the complex plane, and layers by heads as a map, written as SVG (standard library
and NumPy).

A strip has a panel for each layer with hundreds of dots in it, twice (light and dark): one path for
all dots of a kind keeps the page small. Nothing is computed here but places and colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from eigenloop.report.drawing import COLOURS

SIDE = 190
"""A panel's width."""
FLATTEST = 0.62
"""Least height of a panel, over its width."""
CELL, EDGE, WIDEST = 26, 34, 300
"""A cell of the map, the room beside it, and the least width, for the legend."""
SIGNS = {
    "positive": "+",
    "negative": "\N{MINUS SIGN}",
    "complex": "\N{CLOCKWISE OPEN CIRCLE ARROW}",
    "zero": "0",
}
"""How a flag is written where there is no room for the word."""
_FONT = (
    'font-family="system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, DejaVu Sans, sans-serif"'
)


@dataclass(frozen=True)
class Look:
    """The colours of one scheme.

    Args:
        ink: of text.
        line: of axes.
        inside: of eigenvalues that shrink.
        outside: of eigenvalues that grow.
        leader: of the leading one.
        shades: from the smallest value to the largest, each well apart from the page at its dark or
            light end.
    """

    ink: str
    line: str
    inside: str
    outside: str
    leader: str
    shades: tuple[str, ...]


LIGHT = Look(
    ink="#1b1e23",
    line="#c3c8ce",
    inside="#8b929c",
    outside=COLOURS[0],
    leader=COLOURS[1],
    shades=("#eef2f6", "#c9ddf0", "#7db4dc", "#2f7dbd", "#08376f"),
)
DARK = Look(
    ink="#e3e6ea",
    line="#4a515a",
    inside="#87909b",
    outside=COLOURS[5],
    leader="#ff8c42",
    shades=("#232a33", "#1e4770", "#2f7dbd", "#7db9ea", "#e2f0fc"),
)


class Window(NamedTuple):
    """The part of the complex plane that a panel shows: its left edge, width and height; Im is 0
    in the middle.
    """

    left: float
    width: float
    height: float


def window(groups: Sequence[np.ndarray], centre: float, radius: float) -> Window:
    """The smallest box with all eigenvalues and the circle in it, and a margin.

    Args:
        groups: complex eigenvalues, of one or several panels.
        centre: of the circle, real.
        radius: of the circle.

    Example:
        >>> window([np.array([1.0 + 0.5j])], -1.0, 1.0)
        Window(left=-2.18, width=3.36, height=2.36)
    """
    circle = np.array([centre - radius, centre + radius, centre + 1j * radius])
    values = np.concatenate([*groups, circle])
    real, imaginary = np.real(values), np.imag(values)
    low, high, tall = float(real.min()), float(real.max()), float(np.abs(imaginary).max())
    width = max(high - low, 2 * tall)
    height, margin = max(2 * tall, FLATTEST * width), 0.12 * width
    left = (low + high - width - margin) / 2
    return Window(round(left, 12), round(width + margin, 12), round(height + margin, 12))


def plane(
    values: np.ndarray,
    leaders: Sequence[complex],
    shown: Window,
    look: Look,
    *,
    centre: float,
    radius: float,
) -> str:
    """One panel: eigenvalues, the circle on which nothing grows or shrinks, and the leading ones
    marked.

    Args:
        values: all eigenvalues, or none where they are not known.
        leaders: a ring around the first (and its conjugate), a diamond around the second.
        shown: what part of the plane.
        look: the colours.
        centre: of the circle, real: minus 1 with the residual connection.
        radius: of the circle.

    Returns:
        SVG text with a transparent ground.
    """
    scale = SIDE / shown.width
    tall = round(shown.height * scale, 1)
    middle = tall / 2

    def at(value: complex) -> tuple[float, float]:
        return (value.real - shown.left) * scale, middle - value.imag * scale

    (zero, _), (hub, _) = at(0j), at(complex(centre))
    line = f'stroke="{look.line}" stroke-width="1" fill="none"'
    parts = [
        f'<path d="M0 {middle}H{SIDE}M{zero:.1f} 0V{tall}" {line}/>',
        (
            f'<circle cx="{hub:.1f}" cy="{middle}" r="{radius * scale:.1f}" fill="none"'
            f' stroke="{look.ink}" stroke-width="1" stroke-dasharray="3 2.5" opacity="0.75"/>'
        ),
    ]
    for number in _ticks(shown):
        x = (number - shown.left) * scale
        parts.append(
            f'<path d="M{x:.1f} {middle}v3" {line}/>' + _text(x, tall - 3, _minus(number), look, 10)
        )
    grows = np.abs(values - centre) > radius
    for group, colour in ((values[~grows], look.inside), (values[grows], look.outside)):
        if len(group):
            dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in map(at, group))
            parts.append(
                f'<path d="{dots}" fill="none" stroke="{colour}" stroke-width="2.3"'
                ' stroke-linecap="round" opacity="0.8"/>'
            )
    for place, leader in enumerate(leaders[:2]):
        for value in dict.fromkeys((leader, leader.conjugate())):
            x, y = at(value)
            shape = (
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"'
                if place == 0
                else f'<path d="M{x:.1f} {y - 8.5:.1f}l8.5 8.5l-8.5 8.5l-8.5 -8.5z"'
            )
            parts.append(f'{shape} fill="none" stroke="{look.leader}" stroke-width="1.8"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.7" fill="{look.leader}"/>')
    return _svg(SIDE, tall, parts)


def heads_map(
    values: np.ndarray,
    flags: Sequence[Sequence[str]],
    layers: Sequence[int],
    look: Look,
    *,
    label: str,
) -> str:
    """Layers by heads: the shade says how large, the sign of which kind; a scale below.

    Args:
        values: (layers, heads), not negative.
        flags: the same, of the kinds in `SIGNS`.
        layers: their numbers.
        look: the colours.
        label: what the shade is.

    Returns:
        SVG text with a transparent ground.
    """
    rows, columns = values.shape
    top = float(values.max()) or 1.0
    width, below = max(EDGE + columns * CELL + 8, WIDEST), 20 + rows * CELL
    parts = []
    for column in range(columns):
        parts.append(_text(EDGE + (column + 0.5) * CELL, 13, str(column), look, 11))
    for row in range(rows):
        y = 20 + row * CELL
        parts.append(_text(EDGE - 8, y + CELL / 2 + 4, str(layers[row]), look, 11, anchor="end"))
        for column in range(columns):
            shade = _shade(float(values[row, column]) / top, look.shades)
            x, ink = EDGE + column * CELL, _ink_on(shade)
            parts.append(
                f'<rect x="{x + 1}" y="{y + 1}" width="{CELL - 2}" height="{CELL - 2}" rx="3"'
                f' fill="{shade}"/>'
            )
            sign = SIGNS[flags[row][column]]
            parts.append(
                _text(x + CELL / 2, y + CELL / 2 + 5, sign, look, 14, colour=ink, weight=600)
            )
    steps = 24
    for step in range(steps):
        shade = _shade((step + 0.5) / steps, look.shades)
        parts.append(
            f'<rect x="{EDGE + 1 + 6 * step}" y="{below + 14}" width="6.5" height="9"'
            f' fill="{shade}"/>'
        )
    parts.append(_text(EDGE + 1, below + 37, "0", look, 11, anchor="start"))
    parts.append(_text(EDGE + 1 + 6 * steps, below + 37, f"{top:.3g}", look, 11, anchor="end"))
    parts.append(_text(EDGE + 10 + 6 * steps, below + 23, label, look, 11, anchor="start"))
    return _svg(width, below + 44, parts)


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0'
        f' {width} {height}"'
    )
    return f"{head} {_FONT}>{''.join(parts)}</svg>"


def _text(
    x: float,
    y: float,
    text: str,
    look: Look,
    size: float,
    *,
    anchor: str = "middle",
    colour: str = "",
    weight: int = 400,
) -> str:
    style = f'font-size="{size:g}" text-anchor="{anchor}" fill="{colour or look.ink}"'
    style += f' font-weight="{weight}"' if weight != 400 else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _ticks(shown: Window) -> list[float]:
    """Round numbers on the real axis, three to five of them, away from the edges."""
    step = next(
        s
        for power in range(-6, 12)
        for s in np.array([1.0, 2.0, 5.0]) * 10.0**power
        if shown.width < 5.5 * s
    )
    low, high = shown.left + 0.06 * shown.width, shown.left + 0.94 * shown.width
    return [
        float(k * step) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)
    ]


def _minus(number: float) -> str:
    return f"{number:g}".replace("-", "\N{MINUS SIGN}")


def _shade(fraction: float, shades: Sequence[str]) -> str:
    """A colour between two neighbours of the scale."""
    stops = np.array([[int(shade[k : k + 2], 16) for k in (1, 3, 5)] for shade in shades])
    place = min(max(fraction, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    mixed = stops[low] + (place - low) * (stops[low + 1] - stops[low])
    return "#" + "".join(f"{int(channel + 0.5):02x}" for channel in mixed)


def luminance(colour: str) -> float:
    """Relative luminance of a colour "#rrggbb", from 0 to 1 (WCAG 2.2).

    Example:
        >>> luminance("#ffffff")
        1.0
    """
    channels = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _ink_on(shade: str) -> str:
    """Black or white, whichever stands out more; always above 4.5 to 1."""
    return (
        "#ffffff"
        if 1.05 / (luminance(shade) + 0.05) > (luminance(shade) + 0.05) / 0.05
        else "#000000"
    )
