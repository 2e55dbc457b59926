"""Numbers read back from the rows that are drawn: curves, matrices, exponents, how straight a
curve is.
"""

from collections.abc import Sequence

import numpy as np

from eigenloop.figures.values import Kind, Row
from eigenloop.numerics.statistics import fit_power_law
from eigenloop.system.errors import InputError

ROUNDING = 1e-12
"""Sines below this are rounding."""


def panels_of(rows: Sequence[Row], ending: str) -> list[str]:
    """Panels whose name ends so, in order of appearance."""
    return [name for name in dict.fromkeys(row.panel for row in rows) if name.endswith(ending)]


def series_of(rows: Sequence[Row], panel: str) -> list[str]:
    """The lines of a panel, in order of appearance."""
    return list(
        dict.fromkeys(row.series for row in rows if (row.panel, row.kind) == (panel, "line"))
    )


def line(
    rows: Sequence[Row], panel: str, series: str, *, kind: Kind = "line"
) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of a curve, float64 (T,) each.

    Raises:
        KeyError: nothing of that name is drawn.
    """
    found = [
        (row.x, row.y) for row in rows if (row.panel, row.series, row.kind) == (panel, series, kind)
    ]
    if not found:
        raise KeyError(f"no {kind} {series!r} in panel {panel!r}")
    x, y = np.array(found, np.float64).T
    return x, y


def matrix(rows: Sequence[Row], panel: str) -> np.ndarray:
    """A heat map, (2d, 2d) float64, divided by its largest absolute entry as it is drawn."""
    cells = [row for row in rows if (row.panel, row.kind) == (panel, "cell")]
    size = int(max(row.x or 0 for row in cells)) + 1
    found = np.zeros((size, size))
    for row in cells:
        found[int(row.y or 0), int(row.x or 0)] = row.value or 0
    return found


def standing_out(found: np.ndarray, letter: str) -> tuple[float, float]:
    """How far the active diagonal of V (bottom-left block) or W (top-right block) stands out of its
    matrix.

    Returns:
        (largest absolute entry elsewhere, smallest on the diagonal), both over the diagonal's mean.

    Example:
        >>> standing_out(np.array([[0.0, 0.0], [2.0, 0.5]]), "V")
        (0.25, 1.0)
    """
    half, index = len(found) // 2, np.arange(len(found) // 2)
    at = (half + index, index) if letter == "V" else (index, half + index)
    active, other = abs(found[at]), abs(found).copy()
    other[at] = 0
    mean = active.mean()
    return (float(other.max() / mean), float(active.min() / mean)) if mean > 0 else (np.inf, 0.0)


def outside_the_block(found: np.ndarray, letter: str) -> float:
    """The largest absolute entry outside the active block of V (bottom left) or W (top right), over
    its mean diagonal.

    Example:
        >>> outside_the_block(np.array([[0.0, 0.5], [2.0, 0.5]]), "V")
        0.25
    """
    half, outside = len(found) // 2, abs(found).copy()
    block = (slice(half, None), slice(half)) if letter == "V" else (slice(half), slice(half, None))
    mean = np.diagonal(outside[block]).mean()
    outside[block] = 0
    return float(outside.max() / mean) if mean > 0 else np.inf


def exponent(x: np.ndarray, y: np.ndarray, *, last: float) -> float:
    """Of a power law fitted to the last decade up to `last`; NaN where there are too few or one is
    not positive.

    Example:
        >>> x = np.geomspace(1, 1000, 31)
        >>> round(exponent(x, 2 * x**0.25, last=1000), 12)
        0.25
    """
    kept = (x >= last / 10) & (x <= last)
    try:
        return fit_power_law(x[kept], y[kept]).exponent
    except InputError:
        return float("nan")


def exponent_error(x: np.ndarray, y: np.ndarray, *, last: float) -> float:
    """Standard error of `exponent`, from the scatter of those of the decade's four quarters; NaN
    where one has none.

    Neighbouring steps of a run share their noise, so that the residuals of the fit itself would say
    too little.

    Example:
        >>> x = np.geomspace(1, 1000, 61)
        >>> round(exponent_error(x, 2 * x**0.25, last=1000), 12)
        0.0
    """
    kept = np.flatnonzero((x >= last / 10) & (x <= last))
    try:
        found = [fit_power_law(x[part], y[part]).exponent for part in np.array_split(kept, 4)]
    except InputError:
        return float("nan")
    return float(np.std(found, ddof=1) / 2)


def gap(training: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """The widest gap of two curves on one logarithmic axis: (as a part of the axis that they fill,
    relative).

    Example:
        >>> gap(np.array([1.0, 0.01]), np.array([1.0, 0.01 * np.e**0.1]))[0].__round__(4)
        0.0217
    """
    apart = float(abs(np.log(test / training)).max())
    both = np.concatenate([training, test])
    return apart / float(np.log(both.max() / both.min())), float(np.expm1(apart))


def straightness(sines: np.ndarray) -> float:
    """The slope of log sin over the last quarter of the loops, over that of the steepest quarter.

    1 for a straight line, also after a level beginning; 0 for a plateau. What is below rounding is
    left out.

    Example:
        >>> straight, level = 0.5 ** np.arange(21.0), np.maximum(0.5 ** np.arange(21.0), 0.1)
        >>> straightness(straight), straightness(level)
        (1.0, 0.0)
    """
    below = np.flatnonzero(sines < ROUNDING)
    logs = np.log(sines[: below[0]] if below.size else sines)
    quarter = max(1, (len(logs) - 1) // 4)
    slopes = (logs[quarter:] - logs[:-quarter]) / quarter
    steepest = float(slopes.min())
    return float(slopes[-1]) / steepest if steepest < 0 else 0.0


def bend(sines: np.ndarray) -> int:
    """The last loop whose fall of log sin is at least half of the steepest loop's.

    Example:
        >>> bend(np.maximum(0.5 ** np.arange(21.0), 0.1))
        3
    """
    falls = -np.diff(np.log(np.maximum(sines, ROUNDING)))
    return int(np.flatnonzero(falls >= falls.max() / 2)[-1]) + 1


def distance(sines: np.ndarray, power: np.ndarray) -> float:
    """Mean over loops of |log sin - log sin of the power method|, where the latter is above
    rounding.

    Example:
        >>> distance(np.array([1.0, np.e]), np.array([1.0, 1.0]))
        0.5
    """
    kept = power >= ROUNDING
    return float(abs(np.log(sines[kept]) - np.log(power[kept])).mean())


def deviation(rows: Sequence[Row], series: str) -> tuple[float, float, float] | None:
    """Ours, interpolated, against the paper's points in a panel: (largest relative deviation, its
    x, with its sign).

    Interpolation is linear in log x and log y; points outside our range are left out. None where
    none is left.
    """
    line = [(row.x, row.y) for row in rows if row.kind == "line" and row.series == series and row.x]
    points = [
        (row.x, row.y) for row in rows if row.kind == "points" and row.series == f"{series} (paper)"
    ]
    x, y = np.array(line, np.float64).T
    points = [(px, py) for px, py in points if px is not None and x[0] <= px <= x[-1]]
    if not points:
        return None
    px, py = np.array(points, np.float64).T
    relative = np.exp(np.interp(np.log(px), np.log(x), np.log(y))) / py - 1
    worst = int(np.argmax(abs(relative)))
    return float(abs(relative[worst])), float(px[worst]), float(relative[worst])
