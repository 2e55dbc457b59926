"""Momentum, plain gradient descent and Adam, step by step to 2 10^7 steps:
docs/theory/optimisers.csv, measured once.

Nothing of eigenloop is used, so that the table can be held against it: f' by trapezoidal rules of
its own, the recursions written out, in float64, compiled by JAX. Task 2 (d = 16, n = 32), A = aI
and B = bI from (1, 0).

Usage::

    python tools/optimiser_paths.py [--steps 2e7] [--out docs/theory/optimisers.csv]

Columns: model (looped: L = 10 with LN, end to end; single: one layer with LN), rule (momentum:
learning rate 0.1, beta 0.9; plain: learning rate 1; adam: 0.001, eps 1e-8; adam0: 0.001, eps
1e-30), step, a, b.
"""

import argparse
import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

LAMBDA = np.repeat([5.0, 4.0, 3.0, 2.0, 1.0], [1, 1, 2, 5, 7])
DIM, LOOPS, TOP = 16, 10, 5.0
WIDTH, DEGREE, PIECES = 0.25, 14, 64
PER_DECADE = 20
ADAM0_STEPS = 1e6
"""With eps at 0 gamma grows like t^2 and leaves the table soon after."""


def looped_slope(gamma: float) -> float:
    """f' of Theorem 4.1: -2L E[z_1^2 sum_{i>1} n_i z_i^2 / D^2], one integral over t = e^s."""
    grown = 1 + gamma * LAMBDA
    weights = (grown / grown[0]) ** (2 * LOOPS)
    pull = weights * (TOP - LAMBDA) / (grown * grown[0])
    t = np.exp(np.arange(-60, 120, 0.02))
    u = 1 / (1 + 2 * t[:, None] * weights)
    return -2 * LOOPS * 0.02 * float(np.sum(t * t * np.sqrt(u).prod(1) * u[:, 0] * (u @ pull)))


def single_slope(gamma: float) -> float:
    """f' of Theorem 4.3: -2 E[G / (|Sq| |q + gamma Sq|^3)], two integrals; in units of 1 + gamma
    lambda_1.
    """
    grown = (1 + gamma * LAMBDA) / (1 + gamma * TOP)
    step = 0.25
    # towards 0 like e^(-|s|/2), towards infinity like e^(-8 s)
    t = np.exp(np.arange(-75, 15, step))
    pairs = (LAMBDA[:, None] - LAMBDA) ** 2 / 2
    total = 0.0
    for s in t:
        u = 1 / (1 + 2 * (s * LAMBDA**2 + t[:, None] * grown**2))
        total += float(
            np.sum(s**0.5 * t**1.5 * np.sqrt(u).prod(1) * np.einsum("ki,ij,kj->k", u, pairs, u))
        )
    return -2 * total * step**2 / (math.pi / 2) / (1 + gamma * TOP) ** 3


SLOPES: dict[str, Callable[[float], float]] = {"looped": looped_slope, "single": single_slope}


def table(slope: Callable[[float], float]) -> np.ndarray:
    """log(-f') as polynomials in y = log(1 + gamma lambda_1), one for each `WIDTH` of y;
    (pieces, degree + 1).
    """
    x = chebyshev.chebpts1(DEGREE + 1)
    rows = np.zeros((PIECES, DEGREE + 1))
    for i in range(PIECES):
        gammas = np.maximum(np.expm1(WIDTH * (i + (1 + x) / 2)) / TOP, 0.0)
        found = chebyshev.cheb2poly(
            chebyshev.chebfit(x, np.log([-slope(float(g)) for g in gammas]), DEGREE)
        )
        rows[i, : found.size] = found
    return rows


def stepper(rule: str) -> Callable[..., jax.Array]:
    """(state, first, last, table) -> the state after steps first + 1, ..., last; state (a, b,
    m_a, m_b, v_a, v_b).
    """
    rate = {"momentum": 0.1, "plain": 1.0, "adam": 1e-3, "adam0": 1e-3}[rule]
    beta, epsilon = {"momentum": 0.9}.get(rule, 0.0), {"adam": 1e-8, "adam0": 1e-30}.get(rule, 0.0)

    def gradient(x: jax.Array, pieces: jax.Array) -> jax.Array:
        y = jnp.log1p(TOP * x[0] * x[1])
        i = (y / WIDTH).astype(int)
        value, row = 0.0, pieces[i]
        for k in range(DEGREE, -1, -1):
            value = value * (2 * (y / WIDTH - i) - 1) + row[k]
        return -jnp.exp(value) / DIM * x[::-1]

    def step(t: jax.Array, state: jax.Array, pieces: jax.Array) -> jax.Array:
        x, m, v = state.reshape(3, 2)
        g = gradient(x, pieces)
        if epsilon == 0:
            m = beta * m - rate * g
            return jnp.concatenate([x + m, m, v])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        mean, square = m / (1 - 0.9 ** (t + 1.0)), v / (1 - 0.999 ** (t + 1.0))
        return jnp.concatenate([x - rate * mean / (jnp.sqrt(square) + epsilon), m, v])

    def advance(state: jax.Array, first: int, last: int, pieces: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(first, last, lambda t, s: step(t, s, pieces), state)

    return jax.jit(advance)


def recorded(steps: float) -> list[int]:
    """Log-spaced steps, and those at 1, 2, 3 and at 97 % of 1 and 3 times each power of ten."""
    powers = [10**k for k in range(2, 9)]
    grid = [round(10 ** (k / PER_DECADE)) for k in range(PER_DECADE, 9 * PER_DECADE)]
    extra = [round(share * power) for power in powers for share in (0.97, 1, 2, 2.91, 3)]
    return sorted({step for step in (*grid, *extra) if step <= steps})


def path(rule: str, pieces: np.ndarray, steps: float) -> Iterator[tuple[int, float, float]]:
    """(step, a, b) at the recorded steps."""
    advance, state, done = stepper(rule), jnp.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]), 0
    for step in recorded(steps):
        state, done = advance(state, done, step, jnp.asarray(pieces)), step
        yield step, float(state[0]), float(state[1])


def main(arguments: list[str] | None = None) -> None:
    """Iterate, and write the table."""
    parser = argparse.ArgumentParser(description="Paths of optimisers, step by step.")
    parser.add_argument("--steps", type=float, default=2e7)
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("--out", type=Path, default=here / "docs" / "theory" / "optimisers.csv")
    options = parser.parse_args(arguments)
    with jax.enable_x64(True), options.out.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["model", "rule", "step", "a", "b"])
        for model, slope in SLOPES.items():
            pieces = table(slope)
            for rule in ("momentum", "plain", "adam", "adam0"):
                last = min(options.steps, ADAM0_STEPS) if rule == "adam0" else options.steps
                for step, a, b in path(rule, pieces, last):
                    rows.writerow([model, rule, step, f"{a:.15g}", f"{b:.15g}"])


if __name__ == "__main__":
    main()
