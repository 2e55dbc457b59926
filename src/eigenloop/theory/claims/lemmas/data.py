"""What the theorems ask of the data: Assumption 3.2 on Tasks 1 and 2, Example 3.3, and tight
frames.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Plot, every
from eigenloop.numerics.power import sin_angle
from eigenloop.numerics.spectrum import (
    DEFAULT_MULTIPLICITIES,
    random_orthogonal,
    top_multiplicity,
    unit_columns_with_spectrum,
)
from eigenloop.numerics.statistics import standard_error
from eigenloop.theory.bounds import tail_exponent
from eigenloop.theory.claims.lemmas import oracle
from eigenloop.theory.claims.lemmas.book import ledger

SIGMAS = 6.0
CHUNK = 100_000


def hill(values: np.ndarray, count: int) -> tuple[float, float]:
    """Hill's estimate of alpha from the `count` smallest values, and its standard error alpha /
    count^{1/2}.
    """
    smallest = np.partition(values, count)[: count + 1]
    smallest.sort()
    alpha = 1 / np.mean(np.log(smallest[count] / smallest[:count]))
    return float(alpha), float(alpha / np.sqrt(count))


def smallest_eigenvalues(
    rng: np.random.Generator, *, dim: int, samples: int, count: int
) -> np.ndarray:
    """lambda_d of independent X of Task 1, (count,), as squared singular values."""
    found = []
    for begin in range(0, count, CHUNK):
        x = rng.standard_normal((min(CHUNK, count - begin), dim, samples))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        if samples == dim:  # lambda_d falls to 1e-12 here: S itself would not resolve it
            found.append(np.linalg.svd(x, compute_uv=False)[:, -1] ** 2)
        else:
            found.append(np.linalg.eigvalsh(x @ x.mT)[:, 0].clip(1e-300))
    return np.concatenate(found)


def invariance_scores(columns: np.ndarray) -> dict[str, float]:
    """How many standard errors moments of X are off what rotation invariance asks of two unit
    columns x and y.

    E[x x^T] = I/d,                        E[x_1^4] = 3/(d (d + 2)),
    E[x_1^2 y_2^2 - x_1^2 y_3^2] = 0,      E[x_1 x_2 y_1 y_2 - x_2 x_3 y_2 y_3] = 0.
    """
    dim = columns.shape[1]
    x, y = columns[:, :, 0], columns[:, :, -1]
    entries = (x[:, :, None] * x[:, None, :] - np.eye(dim) / dim).reshape(len(x), -1)
    moments = {
        "x x^T": entries,
        "x_1^4": x[:, :1] ** 4 - 3 / (dim * (dim + 2)),
        "x_1^2 y_2^2": x[:, :1] ** 2 * (y[:, 1:2] ** 2 - y[:, 2:3] ** 2),
        "x_1 x_2 y_1 y_2": x[:, 1:2] * y[:, 1:2] * (x[:, :1] * y[:, :1] - x[:, 2:3] * y[:, 2:3]),
    }
    return {
        name: float((abs(v.mean(0)) / np.maximum(standard_error(v), 1e-12)).max())
        for name, v in moments.items()
    }


def package_samples(make: Callable[[], Any], effort: Effort, size: int) -> np.ndarray:
    """X as the package draws it for training, in float64, (size, d, n); `make` builds the
    distribution.
    """
    import jax

    with jax.enable_x64(True):
        distribution = make()
        return np.asarray(
            jax.jit(lambda key: distribution.sample(key, size))(jax.random.key(effort.seed))
        )


@ledger.claim(
    "ass3.2.task1",
    "Task 1 meets (A1) and (A2); E[1/lambda_d] is finite, (A3), exactly when n >= d + 2.",
    place="beside Assumption 3.2 and Section 5",
    provenance="ours",
)
def task1(effort: Effort) -> Finding:
    """Moments of the package's samples; Hill's estimate of alpha in P(lambda_d < x) ~ x^alpha, d
    = 3, n = 3 to 6.
    """
    from eigenloop.lab.problems import Sphere

    rng, dim, numbers, curves = effort.generator(), 3, {}, []
    columns = package_samples(lambda: Sphere(dim=4, samples=7), effort, effort.pick(8_000, 100_000))
    scores = invariance_scores(columns)
    units = float(abs(np.linalg.norm(columns, axis=1) - 1).max())
    passed, count = int(units < 1e-12) + sum(s < SIGMAS for s in scores.values()), 1 + len(scores)
    worst = 0.0
    for n in range(dim, dim + 4):
        values = smallest_eigenvalues(rng, dim=dim, samples=n, count=effort.pick(40_000, 600_000))
        alpha, error = hill(values, len(values) // effort.pick(50, 150))
        expected = tail_exponent(dim, n)
        worst = max(worst, abs(alpha - expected) / error)
        passed, count = passed + int(abs(alpha - expected) < SIGMAS * error), count + 1
        numbers[f"n = {n}: alpha +- its standard error"] = [alpha, error]
        numbers[f"n = {n}: alpha expected; E[1/lambda_d] is"] = (
            f"{expected:g}; {'finite' if expected > 1 else 'infinite'}"
        )
        grid = np.logspace(-4, 0, 25)
        curves.append(
            Curve(
                f"n = d + {n - dim}",
                grid,
                [float((values < x).mean()) or np.nan for x in grid],
                points=True,
            )
        )
    return every(
        passed,
        count,
        justification=(
            f"{SIGMAS:g} standard errors, alpha/k^(1/2) for k tail values; (A1) to rounding"
        ),
        numbers={
            **numbers,
            "largest distance of alpha, standard errors": worst,
            "largest distance of a moment, standard errors": max(scores.values()),
            "largest | ||x|| - 1 |": units,
        },
        plot=Plot(curves, "x", "share of X with lambda_d < x"),
    )


@ledger.claim(
    "ass3.2.task2",
    "Task 2 meets Assumption 3.2: unit columns, any rotation as likely as any other, the"
    " eigenvalues of X0 in every draw.",
    place="Assumption 3.2, Section 5",
    provenance="stated",
    quote=(
        '"Following Example 3.3, we construct data matrices" (Section 5, Task 2); "has unit'
        " columns, and by construction is rotation-invariant in distribution. Moreover, [..] shares"
        ' the same eigenvalues as [..]" (Example 3.3)'
    ),
)
def task2(effort: Effort) -> Finding:
    """The package's samples: eigenvalues of every X, moments of d = 4."""
    from eigenloop.lab.problems import Rotated

    sizes = effort.pick(200, 2000), effort.pick(8_000, 100_000)
    columns = package_samples(
        lambda: Rotated.planted(DEFAULT_MULTIPLICITIES, dim=16, samples=32), effort, sizes[0]
    )
    values = np.linalg.eigvalsh(columns @ columns.mT)[:, ::-1]
    apart = float(
        max(
            abs(values - DEFAULT_MULTIPLICITIES).max(),
            abs(np.linalg.norm(columns, axis=1) - 1).max(),
        )
    )
    small = package_samples(
        lambda: Rotated.planted((3, 2, 1, 1), dim=4, samples=7), effort, sizes[1]
    )
    scores = invariance_scores(small)
    return every(
        int(apart < 1e-12) + sum(s < SIGMAS for s in scores.values()),
        1 + len(scores),
        justification=f"eigenvalues to rounding; moments to {SIGMAS:g} standard errors",
        numbers={
            "largest |lambda_i - m_i|": apart,
            "E[1/lambda_d]": float(np.mean(1 / values[:, -1])),
            "largest distance of a moment, standard errors": max(scores.values()),
        },
    )


@ledger.claim(
    "ex3.3",
    "X = Q X0 with Q Haar-orthogonal meets Assumption 3.2 for any full-rank X0 with unit columns;"
    " 1/lambda_d is X0's.",
    place="Example 3.3",
    provenance="stated",
    quote=(
        '"has unit columns, and by construction is rotation-invariant in distribution. Moreover,'
        ' [..] shares the same eigenvalues as [..] [..] Therefore, [..] satisfies Assumption 3.2"'
        " (Example 3.3)"
    ),
)
def example(effort: Effort) -> Finding:
    """An X0 of a spectrum without pattern: the package's samples of Q X0."""
    from eigenloop.lab.problems import Rotated

    base = unit_columns_with_spectrum(effort.generator(), [3.1, 2.2, 1.3, 0.4], samples=7)
    columns = package_samples(lambda: Rotated(base), effort, effort.pick(8_000, 100_000))
    inverse = 1 / np.linalg.eigvalsh(columns @ columns.mT)[:, 0]
    apart = float(max(abs(inverse - 1 / 0.4).max(), abs(np.linalg.norm(columns, axis=1) - 1).max()))
    scores = invariance_scores(columns)
    return every(
        int(apart < 1e-11) + sum(s < SIGMAS for s in scores.values()),
        1 + len(scores),
        justification=f"1/lambda_d to rounding; moments to {SIGMAS:g} standard errors",
        numbers={
            "largest |1/lambda_d - 1/lambda_d(X0)|": apart,
            "largest distance of a moment, standard errors": max(scores.values()),
        },
    )


@ledger.claim(
    "ex3.3.rejection",
    "Drawing again while lambda_d is below a threshold keeps (A1) and (A2) and makes (A3) hold,"
    " here at n = d.",
    place="after Example 3.3",
    provenance="stated",
    quote=(
        '"any distribution satisfying Assumption 3.2(A1) and (A2) can be easily utilized to'
        " generate data by rejecting samples whose [..]-th eigenvalue is smaller than a certain"
        ' positive threshold" (after Example 3.3)'
    ),
)
def rejection(effort: Effort) -> Finding:
    """Task 1 at n = d, where E[1/lambda_d] is infinite, conditioned on lambda_d >= 0.02."""
    from eigenloop.lab.problems import Rejected, Sphere

    size = effort.pick(5_000, 100_000)
    columns = package_samples(
        lambda: Rejected(Sphere(dim=3, samples=3), threshold=0.02), effort, size
    )
    smallest = np.linalg.eigvalsh(columns @ columns.mT)[:, 0]
    scores = invariance_scores(columns)
    units = float(abs(np.linalg.norm(columns, axis=1) - 1).max())
    return every(
        int((smallest >= 0.02 - 1e-12).all())
        + int(units < 1e-12)
        + sum(s < SIGMAS for s in scores.values()),
        2 + len(scores),
        justification=f"a threshold; moments to {SIGMAS:g} standard errors",
        numbers={
            "smallest lambda_d": float(smallest.min()),
            "E[1/lambda_d]": float(np.mean(1 / smallest)),
            "largest distance of a moment, standard errors": max(scores.values()),
        },
    )


def tight_frame(rng: np.random.Generator, *, dim: int, copies: int) -> np.ndarray:
    """X = [Q, ..., Q] with one Haar-orthogonal Q, (d, copies d): unit columns, rotation
    invariant, S = copies I.
    """
    return np.tile(random_orthogonal(rng, dim), copies)


@ledger.claim(
    "ass3.2.tightframe",
    "(A1) to (A3) by themselves admit S = 2I, X = [Q, Q]: there f* is 0 for both targets, the"
    " end-to-end loss is 0 and the layer with LN never moves, while the unnormalised target is"
    " learned exactly, gamma* = 1/2. So the theorems need m < d besides, which the hypotheses that"
    " our copy of them lacks may well say.",
    place="beside Assumption 3.2 and Theorems 4.1 to 4.3",
    provenance="ours",
)
def frames(effort: Effort) -> Finding:
    """Losses and gradients of the full model at X = [Q, Q], and descent there for the
    unnormalised target.
    """
    rng, dim = effort.generator(), 3
    size = effort.pick(20, 200)
    # exact for quadratic functions of q
    queries = np.tile(np.concatenate([np.eye(dim), -np.eye(dim)]), (size, 1))
    tight = np.stack([tight_frame(rng, dim=dim, copies=2) for _ in range(size)])
    samples = oracle.Sampled(np.repeat(tight, 2 * dim, axis=0), queries)
    start = oracle.scalar_weights(dim, 1.0, 0.0)
    layer = oracle.gradients(*start, samples, loss="normalized", norm=True)
    looped = oracle.outputs(*oracle.scalar_weights(dim, 3.0, 3.0), samples, loops=2, norm=True)
    distances = [
        float(sin_angle(y, principal_basis(x))) ** 2
        for y, x in zip(looped, samples.columns, strict=True)
    ]
    full = oracle.descend(samples, loss="unnormalized", norm=False, learning_rate=0.1, steps=200)
    first = oracle.gradients(*start, samples, loss="unnormalized", norm=False)
    found = {
        "| ||x|| - 1 |": float(abs(np.linalg.norm(tight, axis=1) - 1).max()),
        "|S - 2I|": float(abs(tight @ tight.mT - 2 * np.eye(dim)).max()),
        "loss of gamma = 0, normalised target": _loss(samples, 0.0, "normalized"),
        "loss of gamma = 1/2, unnormalised target": _loss(samples, 0.5, "unnormalized"),
        "end-to-end loss": float(np.mean(distances)),
        "first gradient with LN": float(abs(layer.active[1]).max()),
        "|f'(0) + 4|, unnormalised target": abs(float(np.trace(first.active[1])) + 4),
        "|gamma - 1/2| after its descent": abs(float(full.gamma[-1]) - 0.5),
    }
    return every(
        sum(value < 1e-12 for value in found.values()),
        len(found),
        justification="rounding: each is 0",
        numbers=found,
    )


def _loss(samples: oracle.Sampled, gamma: float, target: oracle.Loss) -> float:
    """The mean loss without LN."""
    weights = oracle.scalar_weights(samples.query.shape[1], gamma, 1.0)
    return float(oracle.losses(*weights, samples, loss=target, norm=False).mean())


@ledger.claim(
    "lemC.4.degenerate",
    "The degenerate case, S a multiple of I, where every q is an eigenvector, has probability 0.",
    place="Lemma C.4, proof",
    provenance="stated",
    quote=(
        '"under Assumption 3.2 [..] this event has probability zero: [..] the eigenvector set on'
        " [..] is either finite (simple spectrum) or a lower-dimensional submanifold (eigenvalue"
        " multiplicity), hence has measure zero; the only degenerate case [..] occurs with"
        ' probability zero for random [..]" (Lemma C.4, proof)'
    ),
    expected_verdict="holds only",
)
def degenerate_case(effort: Effort) -> Finding:
    """(lambda_1 - lambda_d)/lambda_1 of the package's samples of Tasks 1 and 2, and of X =
    [Q, Q].
    """
    from eigenloop.lab.problems import Rotated, Sphere

    size, rng = effort.pick(1_000, 20_000), effort.generator()
    drawn = {
        "Task 1": package_samples(lambda: Sphere(dim=16, samples=32), effort, size),
        "Task 2": package_samples(
            lambda: Rotated.planted(DEFAULT_MULTIPLICITIES, dim=16, samples=32), effort, size
        ),
        "X = [Q, Q]": np.stack([tight_frame(rng, dim=16, copies=2) for _ in range(size // 10)]),
    }
    spread = {}
    for name, columns in drawn.items():
        values = np.linalg.eigvalsh(columns @ columns.mT)
        spread[name] = 1 - values[:, 0] / values[:, -1]
    tasks = min(float(spread[name].min()) for name in ("Task 1", "Task 2"))
    tight = float(spread["X = [Q, Q]"].max())
    return Finding(
        "fails" if tasks < 1e-3 else "holds only" if tight < 1e-12 else "holds",
        [tasks, tight],
        "above 0",
        1e-12,
        "rounding of eigenvalues, far below the spread of either task",
        "where S is not a multiple of I with positive probability, as on Tasks 1 and 2: X = [Q, Q]"
        " meets (A1) to (A3) and has S = 2I in every draw, unless a hypothesis of Theorem 4.3 that"
        " our copy lacks excludes it",
        {
            f"{name}: smallest (lambda_1 - lambda_d)/lambda_1": float(found.min())
            for name, found in spread.items()
        },
    )


def principal_basis(columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis of PS(X), (d, m), whatever m is."""
    values, vectors = np.linalg.eigh(columns @ columns.T)
    return vectors[:, values.size - top_multiplicity(values.clip(0)) :]
