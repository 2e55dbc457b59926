"""Drawings of a diagnosis, light and dark: distances by loop, the spectrum, norms of powers,
exponents (Matplotlib).

Arrays in, SVG text out; nothing is computed here.
"""

from typing import Any

import numpy as np

from eigenloop.report import mathtext
from eigenloop.report.drawing import COLOURS, DASHES, both_looks, label_logarithms, positive

SIZE = (4.6, 3.2)


def distances(
    distance: np.ndarray | None,
    steps: np.ndarray,
    line: tuple[int, np.ndarray] | None,
    *,
    scale_name: str,
) -> tuple[str, str]:
    """Distance and step by loop on a logarithmic axis, and the linear forecast.

    Args:
        distance: to the fixed point, from loop 0; None without one.
        steps: from loop 1.
        line: first loop and values of the forecast; None without one.
        scale_name: what they are relative to.
    """

    def draw(axes: Any) -> None:
        if distance is not None:
            axes.plot(
                np.arange(len(distance)),
                positive(distance),
                color=COLOURS[0],
                label="distance to x*",
            )
        axes.plot(
            1 + np.arange(len(steps)),
            positive(steps),
            color=COLOURS[2],
            linestyle=DASHES[2],
            label="step",
        )
        if line is not None:
            first, values = line
            axes.plot(
                first + np.arange(len(values)),
                positive(values),
                color=COLOURS[1],
                linestyle=DASHES[1],
                label="linear forecast",
            )
        axes.set(xlabel="loop", ylabel=f"relative to {scale_name}", yscale="log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        label_logarithms(axes)

    return both_looks(draw, SIZE)


def readouts(values: np.ndarray, name: str) -> tuple[str, str]:
    """What the user reads out, by loop.

    Args:
        values: from loop 0.
        name: what they are.
    """

    def draw(axes: Any) -> None:
        axes.plot(np.arange(len(values)), values, color=COLOURS[0])
        axes.set(xlabel="loop", ylabel=mathtext(name))
        axes.xaxis.get_major_locator().set_params(integer=True)

    return both_looks(draw, SIZE)


def plane(values: np.ndarray, errors: np.ndarray) -> tuple[str, str]:
    """Eigenvalues with their conjugates, error discs, and the unit circle.

    Args:
        values: complex, im >= 0.
        errors: radii; those too small to see are drawn as points only.
    """

    def draw(axes: Any) -> None:
        turn: Any = np.exp(2j * np.pi * np.linspace(0, 1, 181))
        axes.plot(
            turn.real,
            turn.imag,
            color=axes.xaxis.label.get_color(),
            linewidth=0.9,
            alpha=0.7,
            label="modulus 1",
        )
        every: Any = np.concatenate([values, values.conj()])
        discs = np.concatenate([errors, errors])
        axes.plot(every.real, every.imag, "o", color=COLOURS[0], markersize=4, label="eigenvalues")
        lead: Any = every[[0, len(values)]]
        axes.plot(
            lead.real,
            lead.imag,
            "D",
            markerfacecolor="none",
            color=COLOURS[1],
            markersize=9,
            label="mu_1",
        )
        reach = max(1.1, 1.1 * float(np.abs(every).max(initial=0)))
        for value, error in zip(every, discs, strict=True):
            if 0.005 * reach < error < reach:
                circle: Any = value + error * turn
                axes.fill(circle.real, circle.imag, color=COLOURS[0], alpha=0.15, linewidth=0)
        axes.set(
            xlabel="Re", ylabel="Im", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal"
        )

    return both_looks(draw, SIZE)


def powers(power: np.ndarray, norm: np.ndarray, radius: float) -> tuple[str, str]:
    """||J^p|| by p, beside rho^p."""

    def draw(axes: Any) -> None:
        axes.plot(power, norm, "o-", color=COLOURS[0], label="||J^p||")
        axes.plot(power, radius**power, color=COLOURS[1], linestyle=DASHES[1], label="|mu_1|^p")
        axes.axhline(1, color=axes.xaxis.label.get_color(), linewidth=0.9, alpha=0.7)
        axes.set(xlabel="p", ylabel="largest growth of a deviation in p loops", yscale="log")
        axes.set_xticks(power)
        label_logarithms(axes)

    return both_looks(draw, SIZE)


def running(values: np.ndarray, final: np.ndarray, errors: np.ndarray) -> tuple[str, str]:
    """Means of the exponents up to each loop, with bands of a standard error around the last.

    Args:
        values: (loops, k).
        final: (k,).
        errors: (k,).
    """

    def draw(axes: Any) -> None:
        loops = 1 + np.arange(len(values))
        skip = len(values) // 20
        for i in range(values.shape[1]):
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(
                loops[skip:],
                values[skip:, i],
                color=colour,
                linestyle=DASHES[i % len(DASHES)],
                label=f"lambda_{i + 1}",
            )
            axes.axhspan(
                final[i] - errors[i], final[i] + errors[i], color=colour, alpha=0.15, linewidth=0
            )
        axes.axhline(0, color=axes.xaxis.label.get_color(), linewidth=0.9, alpha=0.7)
        axes.set(xlabel="loops counted", ylabel="Lyapunov exponent per loop")

    return both_looks(draw, SIZE)


def ends_map(cosines: np.ndarray) -> tuple[str, str]:
    """Cosines between the ends of all starts."""

    def draw(axes: Any) -> None:
        shown = axes.imshow(cosines, vmin=-1, vmax=1, cmap="RdBu")
        axes.grid(visible=False)
        axes.set(xlabel="start", ylabel="start")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.figure.colorbar(shown, ax=axes, label="cosine")

    return both_looks(draw, SIZE)


def slice_map(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[str, str]:
    """Starts of a plane, coloured by the end that they come to; blank where they were still moving.

    Args:
        labels: end of each start, (rows, columns); -1 for none.
        first: coordinates of the columns.
        second: of the rows.
    """

    def draw(axes: Any) -> None:
        places = np.stack(np.meshgrid(first, second), axis=-1)
        for label in range(min(int(labels.max(initial=-1)) + 1, len(COLOURS))):
            x, y = places[labels == label].T
            axes.plot(x, y, "s", color=COLOURS[label], markersize=5, label=f"end {label + 1}")
        x, y = places[(labels < 0) | (labels >= len(COLOURS))].T
        if len(x):
            axes.plot(
                x,
                y,
                "x",
                color=axes.xaxis.label.get_color(),
                markersize=3,
                alpha=0.6,
                label="other or none",
            )
        axes.set(
            xlabel=mathtext("along x_0, in lengths of it"),
            ylabel="across, at random",
            aspect="equal",
        )

    return both_looks(draw, SIZE)
