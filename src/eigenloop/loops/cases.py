"""Looped maps whose type and rates are known: planted spectra, the paper's layer, networks,
classical maps (NumPy).

Each is a step function with its derivative's products, hidden behind a random change of coordinates
where asked for.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eigenloop.loops.maps import LoopedMap
from eigenloop.numerics.power import normalize
from eigenloop.numerics.spectrum import random_orthogonal
from eigenloop.system.errors import InputError

Step = Callable[[np.ndarray], np.ndarray]


def block_diagonal(values: list[complex]) -> Float[np.ndarray, "n n"]:
    """A real normal matrix with the given eigenvalues; a complex one brings its conjugate.

    Example:
        >>> block_diagonal([0.5, 1j])
        array([[ 0.5,  0. ,  0. ],
               [ 0. ,  0. , -1. ],
               [ 0. ,  1. ,  0. ]])
    """
    blocks = [
        np.array([[v.real, -v.imag], [v.imag, v.real]]) if v.imag else np.array([[v.real]])
        for v in map(complex, values)
    ]
    matrix, at = np.zeros((sum(map(len, blocks)),) * 2), 0
    for block in blocks:
        matrix[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    return matrix


def planted(
    rng: np.random.Generator,
    leaders: list[complex],
    *,
    size: int,
    rest: float = 0.6,
    condition: float = 1.0,
) -> Float[np.ndarray, "n n"]:
    """A real matrix with planted leading eigenvalues, the others uniform on (-rest, rest).

    V B V^{-1} with V = Q_1 D Q_2 of the given condition: normal at 1.

    Raises:
        InputError: a size that the leaders do not fit into.
    """
    count = sum(2 if complex(value).imag else 1 for value in leaders)
    if size < count:
        raise InputError(f"size is {size}; the leaders and their conjugates take {count}")
    blocks = block_diagonal([*leaders, *rng.uniform(-rest, rest, size - count)])
    basis = (
        random_orthogonal(rng, size)
        * np.geomspace(1, condition, size)
        @ random_orthogonal(rng, size)
    )
    return basis @ blocks @ np.linalg.inv(basis)


def linear_map(
    matrix: Float[np.ndarray, "n n"],
    x0: Float[np.ndarray, " n"],
    *,
    shift: Float[np.ndarray, " n"] | None = None,
) -> LoopedMap:
    """x -> M x + b, with exact products."""
    b = np.zeros(len(matrix)) if shift is None else shift
    return LoopedMap.numpy(
        lambda x: matrix @ x + b,
        x0,
        jvp=lambda x, v: matrix @ v,
        vjp=lambda x, u: matrix.T @ u,
        name="linear",
    )


def tanh_map(
    matrix: Float[np.ndarray, "n n"],
    x0: Float[np.ndarray, " n"],
    *,
    shift: Float[np.ndarray, " n"] | None = None,
) -> LoopedMap:
    """x -> tanh(M x + b), with exact products."""
    b = np.zeros(len(matrix)) if shift is None else shift

    def slope(x: np.ndarray) -> np.ndarray:
        return 1 - np.tanh(matrix @ x + b) ** 2

    return LoopedMap.numpy(
        lambda x: np.tanh(matrix @ x + b),
        x0,
        jvp=lambda x, v: slope(x) * (matrix @ v),
        vjp=lambda x, u: matrix.T @ (slope(x) * u),
        name="tanh network",
    )


def normalized_map(matrix: Float[np.ndarray, "d d"], x0: Float[np.ndarray, " d"]) -> LoopedMap:
    """q -> N(M q), N(z) = z / ||z||; M = I + A S B is one loop of the paper's model on its query.

    J = (I - y y^T) M / ||M q|| with y = N(M q). At u_1 of M = I + gamma S: eigenvalues mu_i / mu_1
    for i >= 2, and 0. Source: arXiv 2606.00605, Section 3.2 and Thm 4.6; the derivative is worked
    out here.

    Example:
        >>> from eigenloop.loops import spectrum
        >>> looped = normalized_map(np.diag([3.0, 2.0, 1.0]), np.array([1.0, 0.0, 0.0]))
        >>> [round(mode.modulus, 12) for mode in spectrum(looped.at(looped.start)).modes]
        [0.666666666667, 0.333333333333, 0.0]
    """

    def forward(q: np.ndarray, v: np.ndarray) -> np.ndarray:
        z, moved = matrix @ q, matrix @ v
        return (moved - z * (z @ moved) / (z @ z)) / np.linalg.norm(z)

    def backward(q: np.ndarray, u: np.ndarray) -> np.ndarray:
        z = matrix @ q
        return matrix.T @ (u - z * (z @ u) / (z @ z)) / np.linalg.norm(z)

    return LoopedMap.numpy(
        lambda q: normalize(matrix @ q), x0, jvp=forward, vjp=backward, name="query of the paper"
    )


def whole_state_map(
    a: Float[np.ndarray, "d d"],
    b: Float[np.ndarray, "d d"],
    columns: Float[np.ndarray, "d n"],
    query: Float[np.ndarray, " d"],
) -> LoopedMap:
    """Z -> N(Z + V Z Z^T W Z), all columns: the wrong state to diagnose, because the data tokens
    move too.

    At Z* = [[X, 0], [0, u_1]] its radius is 1 + gamma lambda_1, from the data tokens' own
    directions, n-fold. Source: arXiv 2606.00605, Section 3.2; the radius is worked out here.

    Args:
        a: A = V_21.
        b: B = W_12.
        columns: X, unit columns.
        query: q.
    """
    d, n = columns.shape
    v, w = np.zeros((2 * d, 2 * d)), np.zeros((2 * d, 2 * d))
    v[d:, :d], w[:d, d:] = a, b
    z0 = np.zeros((2 * d, n + 1))
    z0[:d, :n], z0[d:, n] = columns, query / np.linalg.norm(query)

    def moved(z: np.ndarray) -> np.ndarray:
        return z + v @ z @ (z.T @ w @ z)

    def forward(z: np.ndarray, e: np.ndarray) -> np.ndarray:
        y = moved(z)
        de = e + v @ (e @ (z.T @ w @ z) + z @ (e.T @ w @ z) + z @ (z.T @ w @ e))
        size = np.linalg.norm(y, axis=0)
        return (de - y * np.sum(y * de, axis=0) / size**2) / size

    return LoopedMap.numpy(
        lambda z: normalize(moved(z).T).T, z0, jvp=forward, name="whole state of the paper"
    )


def logistic(rate: float) -> Step:
    """x -> r x (1 - x)."""
    return lambda x: rate * x * (1 - x)


def henon(x: np.ndarray) -> np.ndarray:
    """(x, y) -> (1 - 1.4 x^2 + y, 0.3 x); exponents 0.41922 and -1.62319."""
    return np.array([1 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]])


def ring(growth: float, angle: float, strength: float = 0.5) -> Step:
    """x -> (growth - strength ||x||^2) R x in the plane: for growth > 1 it ends on the circle of
    that radius.
    """
    turn = block_diagonal([np.exp(1j * angle)])
    return lambda x: (growth - strength * (x @ x)) * (turn @ x)


def disguised(
    rng: np.random.Generator, step: Step, x0: Float[np.ndarray, " n"], *, extra: int = 3
) -> LoopedMap:
    """A map with contracting coordinates added, in random coordinates: the same type in more
    dimensions.

    y = T (x, z), z -> z / 2, T of condition 3.
    """
    size = x0.size + extra
    basis = random_orthogonal(rng, size) * np.geomspace(1, 3, size) @ random_orthogonal(rng, size)
    inverse = np.linalg.inv(basis)

    def run(y: np.ndarray) -> np.ndarray:
        inner = inverse @ y
        return basis @ np.concatenate([step(inner[: x0.size]), inner[x0.size :] / 2])

    return LoopedMap.numpy(
        run, basis @ np.concatenate([x0, rng.standard_normal(extra)]), name="disguised"
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownMap:
    """A map and the type that a diagnosis must find.

    Args:
        looped: the map, with its start.
        word: of the verdict.
        kind: of mu_1 where it contracts: "real", "alternating" or "rotating".
        about: what it is.
    """

    looped: LoopedMap
    word: str
    kind: str | None
    about: str


GOLDEN = np.pi * (np.sqrt(5) - 1)
"""The golden angle: the rotation that comes back worst."""


def known_maps(seed: int = 0) -> Iterator[KnownMap]:
    """One hundred random maps: 30 contract, 15 grow, 5 blow up, 15 repeat, 15 rotate, 15 are
    chaotic, 5 marginal.

    A third of those near a threshold are within 0.001 of it: radii 0.999 and 1.001.
    """
    rng = np.random.default_rng(seed)
    yield from _contracting(rng)
    for radius in [1.001] * 5 + list(rng.uniform(1.02, 1.5, 5)):
        leader = _leader(rng, radius, int(rng.integers(3)))
        matrix = planted(
            rng, [leader], size=int(rng.integers(6, 30)), condition=float(rng.uniform(1, 10))
        )
        yield KnownMap(
            looped=linear_map(matrix, rng.standard_normal(len(matrix))),
            word="grows",
            kind=None,
            about=f"linear, radius {radius:.4g}",
        )
    for _ in range(5):
        matrix = rng.standard_normal((8, 8)) / 3
        yield KnownMap(
            looped=LoopedMap.numpy(
                lambda x, m=matrix: x + normalize(m @ normalize(x)) + 0.5 * normalize(x),
                rng.standard_normal(8),
            ),
            word="grows",
            kind=None,
            about="a stream without a norm on it",
        )
    for _ in range(5):
        size = int(rng.integers(1, 6))
        yield KnownMap(
            looped=disguised(rng, lambda x: x + x * x, rng.uniform(0.5, 2, size)),
            word="blows up",
            kind=None,
            about="x + x^2",
        )
    yield from _repeating(rng)
    for growth in [1.001] * 5 + list(rng.uniform(1.02, 1.3, 5)) + [0.0] * 5:
        angle, x0 = float(rng.uniform(0.3, 2.8)), rng.uniform(0.3, 0.9, 2)
        step = (
            ring(growth, angle)
            if growth
            else ring(1.0, GOLDEN + float(rng.uniform(-1e-3, 1e-3)), 0.0)
        )
        yield KnownMap(
            looped=disguised(rng, step, x0),
            word="rotates",
            kind=None,
            about=f"circle, growth {growth:.4g}" if growth else "rotation",
        )
    yield from _chaotic(rng)
    for i in range(5):
        if i < 2:
            yield KnownMap(
                looped=disguised(rng, lambda x: x - x**3, rng.uniform(0.3, 0.8, 1)),
                word="marginal",
                kind=None,
                about="x - x^3",
            )
        else:
            values = np.array([3.0, 3.0, *rng.uniform(0.2, 2.0, 6)])
            q = random_orthogonal(rng, 8)
            looped = normalized_map(
                np.eye(8) + rng.uniform(0.5, 5) * (q * values) @ q.T, rng.standard_normal(8)
            )
            yield KnownMap(
                looped=looped, word="marginal", kind=None, about="the paper's map with m = 2"
            )


def _leader(rng: np.random.Generator, radius: float, kind: int) -> complex:
    return [radius + 0j, -radius + 0j, radius * np.exp(1j * rng.uniform(0.2, 2.9))][kind]


def _contracting(rng: np.random.Generator) -> Iterator[KnownMap]:
    names = ("real", "alternating", "rotating")
    for i, radius in enumerate([0.999] * 5 + list(rng.uniform(0.3, 0.97, 8))):
        matrix = planted(
            rng,
            [_leader(rng, radius, i % 3)],
            size=int(rng.integers(6, 30)),
            rest=0.8 * radius,
            condition=float(rng.uniform(1, 30)),
        )
        yield KnownMap(
            looped=linear_map(
                matrix, rng.standard_normal(len(matrix)), shift=rng.standard_normal(len(matrix))
            ),
            word="contracts",
            kind=names[i % 3],
            about=f"affine, radius {radius:.4g}",
        )
    for i, radius in enumerate([0.999] * 5 + list(rng.uniform(0.3, 0.97, 7))):
        matrix = planted(
            rng, [_leader(rng, radius, i % 3)], size=int(rng.integers(6, 30)), rest=0.8 * radius
        )
        yield KnownMap(
            looped=tanh_map(matrix, 2 * rng.standard_normal(len(matrix))),
            word="contracts",
            kind=names[i % 3],
            about=f"tanh network, radius {radius:.4g} at 0",
        )
    for _ in range(5):
        values, q = rng.uniform(0.1, 5, 10), random_orthogonal(rng, 10)
        yield KnownMap(
            looped=normalized_map(
                np.eye(10) + rng.uniform(0.2, 20) * (q * values) @ q.T, rng.standard_normal(10)
            ),
            word="contracts",
            kind="real",
            about="the paper's map",
        )


def _repeating(rng: np.random.Generator) -> Iterator[KnownMap]:
    for rate, period in ((3.2, 2), (3.4, 2), (3.5, 4), (3.55, 8), (3.83, 3)):
        yield KnownMap(
            looped=disguised(rng, logistic(rate), rng.uniform(0.2, 0.8, 1)),
            word=f"period {period}",
            kind=None,
            about=f"logistic, r = {rate}",
        )
    for gain in [1.001] * 3 + list(rng.uniform(1.05, 3, 2)):
        yield KnownMap(
            looped=disguised(rng, lambda x, g=gain: np.tanh(-g * x), rng.uniform(0.2, 0.8, 1)),
            word="period 2",
            kind=None,
            about=f"tanh(-{gain:.4g} x)",
        )
    for size in (3, 4, 5, 6, 7):
        turn = np.roll(np.eye(size), 1, axis=0)
        yield KnownMap(
            looped=disguised(rng, lambda x, t=turn: t @ x, rng.standard_normal(size)),
            word=f"period {size}",
            kind=None,
            about="a cyclic permutation",
        )


def _chaotic(rng: np.random.Generator) -> Iterator[KnownMap]:
    for _ in range(5):
        yield KnownMap(
            looped=disguised(rng, henon, rng.uniform(-0.1, 0.1, 2)),
            word="chaotic",
            kind=None,
            about="Henon",
        )
        yield KnownMap(
            looped=disguised(rng, logistic(4.0 - 1e-9), rng.uniform(0.2, 0.4, 1)),
            word="chaotic",
            kind=None,
            about="logistic, r = 4",
        )
        matrix = 4 * rng.standard_normal((60, 60)) / np.sqrt(60)
        yield KnownMap(
            looped=tanh_map(matrix, rng.standard_normal(60)),
            word="chaotic",
            kind=None,
            about="tanh network of gain 4",
        )
