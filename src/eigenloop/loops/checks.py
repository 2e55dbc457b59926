"""What a map must pass before its derivative says anything: one answer for one state, and a
derivative of its own.

Rounding is measured from fourth differences, a derivative compared with first ones, near the start
(NumPy).
"""

from collections.abc import Callable

import numpy as np

from eigenloop.loops.linear import ROUNDING, Linear, Product, difference
from eigenloop.system.errors import InputError

DIFFERENCE = 1e-3
"""Step of the differences that stand in for a derivative, relative to the state."""

QUALIFIED = 1e-12
"""Rounding above this is told: the map computes in less than float64."""


def difference_length(x: np.ndarray, start: np.ndarray) -> float:
    """Step of differences at x: relative to x, or to where the loops began where x is shorter."""
    return DIFFERENCE * (max(float(np.linalg.norm(x)), float(np.linalg.norm(start))) or 1.0)


def check_map(
    run: Product, at: Callable[[np.ndarray], Linear], x: np.ndarray, *, differences: bool
) -> tuple[float, float, tuple[str, ...]]:
    """Try a map and its derivative at x_0.

    Args:
        run: f.
        at: x -> its derivative.
        x: x_0.
        differences: the derivative is made of differences of f.

    Returns:
        (relative rounding of f, of a product, what qualifies every number).

    Raises:
        InputError: f(x_0) is not finite, f(x_0) twice differs, or the derivative is not the one of
            f.
    """
    first, second = run(x), run(x)
    if not np.isfinite(first).all():
        raise InputError("step(x0) is not finite; give a start that the map can take")
    size = float(np.linalg.norm(first)) or 1.0
    noise = max(ROUNDING, _rounding(run, x))
    if (
        np.linalg.norm(first - second) > max(1e-9, min(100 * noise, 1e-4)) * size
        or not np.isfinite(second).all()
    ):
        raise InputError(
            f"step gives two answers for one state ({np.linalg.norm(first - second) / size:.1g}"
            " apart): the map is random or keeps a memory; put the model in eval mode, fix the"
            " seed, or pass its cache as context"
        )
    product_noise = _check_derivative(run, at, x, noise, differences=differences)
    notes = []
    if noise > QUALIFIED:
        notes.append(
            f"the map rounds at {noise:.0e} of its values, not at float64's 2e-16: distances below"
            f" {100 * noise:.0e} are not resolved; compute it in float64 for more"
        )
    if differences:
        notes.append(
            f"derivatives are differences of step, right to {product_noise:.0e}; pass jvp= and vjp="
            " (or use JAX or PyTorch) for exact ones"
        )
    return noise, product_noise, tuple(notes)


def _rounding(run: Product, x: np.ndarray) -> float:
    """Noise of f relative to its value, from fourth differences, which a smooth map shows as h^4
    only.

    Steps of 1e-9, 1e-6 and 1e-3 of x: a map that rounds its argument shows nothing below its own
    resolution. What the last one shows counts as noise above 1e-5 only, because it may be
    curvature.
    """
    v = np.random.default_rng(0).standard_normal(x.size)
    v *= (float(np.linalg.norm(x)) or 1.0) / np.linalg.norm(v)
    size = float(np.linalg.norm(run(x))) or 1.0
    found = 0.0
    for h, least in ((1e-9, 0.0), (1e-6, 0.0), (1e-3, 1e-5)):
        fourth = sum(
            c * run(x + k * h * v) for k, c in zip(range(-2, 3), (1, -4, 6, -4, 1), strict=True)
        )
        noise = float(np.linalg.norm(fourth)) / size / np.sqrt(70)  # 1 + 16 + 36 + 16 + 1
        found = max(found, noise if noise > least and np.isfinite(noise) else 0.0)
    return found


def _check_derivative(
    run: Product,
    at: Callable[[np.ndarray], Linear],
    x: np.ndarray,
    noise: float,
    *,
    differences: bool,
) -> float:
    """Compare f'(x) v with differences near x_0; the relative noise of a product.

    Raises:
        InputError: they disagree, or f is piecewise constant.
    """
    rng, size = np.random.default_rng(1), float(np.linalg.norm(x)) or 1.0
    root = np.sqrt(x.size)
    worst, flat, values = 0.0, True, []
    for finer in (1.0, 0.1, 0.01):  # a sharply curved map needs the finer steps
        length = finer * size * max(1e-5, 3 * noise ** (1 / 3))
        y = x + 1e-2 * size * rng.standard_normal(x.size) / root
        v = rng.standard_normal(x.size) / root
        pair = run(y + length * v), run(y - length * v)
        along = (pair[0] - pair[1]) / (2 * length)
        linear, norm = at(y), float(np.linalg.norm(along))
        if not np.isfinite(norm):
            continue
        values.append(run(y))
        found, expected = _compared(linear, along, v)
        flat = flat and found == 0 and norm == 0
        rounding = noise * float(np.linalg.norm(values[-1])) / length
        wrong = abs(found - expected)
        worst = max(worst, min(1.0, wrong / max(norm, 100 * rounding, 1e-300)))
        if wrong <= 1e-3 * norm + 100 * rounding and not flat:
            return _difference_noise(run, y, difference_length(y, x), v) if differences else 0.0
    if flat:
        values += [
            run(x + scale * size * rng.standard_normal(x.size) / root) for scale in (0.1, 1.0)
        ]
        if max(float(np.linalg.norm(value - values[0])) for value in values) > 0:
            raise InputError(
                "step is piecewise constant: its derivative is 0 wherever it was tried, but its"
                " values differ; a rounding, argmax or lookup in it has no derivative, so nothing"
                " here applies"
            )
        return 0.0
    raise InputError(
        f"the derivative of step disagrees with its differences by {worst:.0%}: a part is cut from"
        " the graph (detach, stop_gradient, no_grad, rounding) or jumps; give a step without it"
    )


def _compared(linear: Linear, along: np.ndarray, v: np.ndarray) -> tuple[float, float]:
    """The derivative's change along v and that of the differences, as two numbers to compare."""
    norm = float(np.linalg.norm(along))
    if linear.reverse is not None:
        u = along / norm if norm else np.full_like(along, 1 / np.sqrt(along.size))
        return float(linear.reverse(u) @ v), norm
    moved = linear.push(v)
    return norm + float(np.linalg.norm(moved - along)) if np.any(moved) else 0.0, norm


def _difference_noise(run: Product, x: np.ndarray, length: float, v: np.ndarray) -> float:
    """How far the five-point formula at two steps differs, relative to what it gives."""
    one, other = difference(run, x, length)(v), difference(run, x, length / 2)(v)
    return float(np.linalg.norm(one - other) / (np.linalg.norm(one) or 1.0))
