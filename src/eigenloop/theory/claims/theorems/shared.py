"""What several theorems share: sampled gradients, growth along the recursion, descent of the
full model in d = 2.
"""

import math
from functools import partial
from typing import Any

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Plot, within
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.claims.lemmas import oracle
from eigenloop.theory.claims.theorems.book import (
    LAST,
    LOOPS,
    POINTS,
    RATE,
    SLOW,
    SMALL_RATE,
    SMALL_STEPS,
)
from eigenloop.theory.dynamics import Path, asymptotic, long_run, recursion
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm, Target


def structure(kind: str, effort: Effort) -> Finding:
    """Distance of sampled gradients from multiples of I: falls like N^(-1/2) if the population's
    are multiples.
    """
    import jax

    from eigenloop.lab import problems
    from eigenloop.lab.objectives import EndToEnd as Looped
    from eigenloop.lab.objectives import Layerwise

    objectives = {
        "end-to-end": [(Looped(LOOPS), True)],
        "layerwise": [(Layerwise("normalized"), True)],
        "no-ln": [(Layerwise("normalized"), False), (Layerwise("unnormalized"), False)],
    }
    with jax.enable_x64(True):
        tasks = {
            "Task 2": problems.Rotated.planted(DEFAULT_MULTIPLICITIES, dim=16, samples=32),
            "Task 1": problems.Sphere(dim=16, samples=32),
        }
        sizes = [2**k for k in range(8, effort.pick(13, 16))]
        batches = {
            name: problems.draw(task, jax.random.key(effort.seed), sizes[-1])
            for name, task in tasks.items()
        }
        found, curves = {}, []
        for objective, norm in objectives[kind]:
            gradients = jax.jit(partial(_gradients, objective=objective, norm=norm))
            words = f"{getattr(objective, 'target', 'end to end')}{'' if norm else ', no LN'}"
            for name, batch in batches.items():
                for a, b in POINTS:
                    slope = gradients(a, b, batch)
                    each = np.stack([np.asarray(slope.a), np.asarray(slope.b)], 1)  # (N, 2, d, d)
                    rest = each - np.trace(each, axis1=2, axis2=3)[..., None, None] / 16 * np.eye(
                        16
                    )
                    distances, noise = _distances(rest, sizes)
                    found[f"{name}, a = {a:g}, b = {b:g}, {words}"] = float(
                        (distances * np.sqrt(sizes)).max() / noise
                    )
                    if name == "Task 2" and (a, b) == POINTS[0]:
                        curves.append(Curve(words, sizes, distances, points=True))
    # (distance)^2 N / noise^2 has mean 1 and, over 510 nearly independent entries, a standard
    # deviation of sqrt(2/510)
    allowed = math.sqrt(1 + 6 * math.sqrt(2 / 150))
    worst = max(found.values())
    return Finding(
        "holds" if worst < allowed else "fails",
        worst,
        f"at most {allowed:.2f}",
        None,
        "distance times N^(1/2) over the spread of one sample is 1 for a mean of zero; 6 standard"
        " deviations with 150 effective entries; the worst of all points",
        plot=Plot(curves, "samples N", "distance from multiples of I"),
        numbers={"largest N": sizes[-1], **found},
    )


def _gradients(a: Any, b: Any, batch: Any, *, objective: Any, norm: bool) -> Any:
    """The gradient on each sample at A = a I and B = b I, d = 16."""
    import jax
    import jax.numpy as jnp

    from eigenloop.lab.blocks import TwoBlock

    model = TwoBlock(a=a * jnp.eye(16), b=b * jnp.eye(16), norm=norm)
    grad = jax.grad(lambda m, one: objective(m, jax.tree.map(lambda leaf: leaf[None], one))[0])
    return jax.lax.map(lambda one: grad(model, one), batch)


def _distances(rest: np.ndarray, sizes: list[int]) -> tuple[np.ndarray, float]:
    """Of disjoint groups of `size` samples, the root mean square of their mean, for each size;
    and of one sample.
    """
    found = [
        np.sqrt(
            (rest[: len(rest) // size * size].reshape(-1, size, *rest.shape[1:]).mean(1) ** 2)
            .sum((1, 2, 3))
            .mean()
        )
        for size in sizes
    ]
    return np.array(found), float(np.sqrt((rest**2).sum((1, 2, 3)).mean()))


def growth(setting: EndToEnd | LayerwiseNorm, name: str, exponent: float) -> Finding:
    """The exponent with which a or b (`name`) grows over the last two decades of long training,
    against `exponent`.
    """
    path = long_run(setting, learning_rate=RATE, steps=LAST)
    late = path.steps >= LAST / 100
    weights = getattr(path, name)
    slope = float(np.polyfit(np.log(path.steps[late]), np.log(weights[late]), 1)[0])
    shown = path.steps > 0
    reference = weights[-1] * (path.steps[shown] / path.steps[-1]) ** exponent
    return within(
        measured=slope,
        expected=exponent,
        tolerance=1 / float(path.gamma[late][0]),
        justification=SLOW,
        numbers={"steps": LAST, f"{name} at the end": float(weights[-1])},
        plot=Plot(
            [
                Curve(name, path.steps[shown], weights[shown]),
                Curve("power law", path.steps[shown], reference),
            ],
            "step",
            name,
        ),
    )


def constant(setting: EndToEnd | LayerwiseNorm) -> Finding:
    """gamma_t over its leading order (`asymptotic`) at steps up to 10^12: it tends to 1."""
    path = long_run(setting, learning_rate=RATE, steps=LAST)
    some = [nearest(path, time) for time in (1e3, 1e6, 1e9, 1e12)]
    ratios = [
        float(path.gamma[i])
        / asymptotic(setting, learning_rate=RATE, steps=float(path.steps[i]))["gamma"]
        for i in some
    ]
    every_step = recursion(setting, learning_rate=RATE, steps=100_000).gamma[-1]
    flow = long_run(setting, learning_rate=RATE, steps=1e5).gamma[-1]
    return within(
        measured=ratios[-1],
        expected=1.0,
        tolerance=1 / float(path.gamma[-1]),
        justification=SLOW,
        numbers={
            "ratio at 10^3, 10^6, 10^9, 10^12": ratios,
            "flow against every step, at 10^5": float(flow / every_step - 1),
        },
    )


def full_descent(target: Target) -> tuple[LayerwiseLinear, oracle.Descent]:
    """The full model descending on the exact population of d = 2, S = diag(2, 1); nothing of
    gamma* enters.
    """
    samples = oracle.circle((2, 1))
    full = oracle.descend(
        samples, loss=target, norm=False, learning_rate=SMALL_RATE, steps=SMALL_STEPS
    )
    return LayerwiseLinear([2.0, 1.0], target), full


def nearest(path: Path, time: float) -> int:
    """The recorded step nearest to a time."""
    return int(np.argmin(abs(np.log(np.maximum(path.steps, 1)) - math.log(time))))
