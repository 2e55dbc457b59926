"""Layers with gammas of their own, in the population and for scalars."""

import math

import numpy as np
from scipy.optimize import minimize

from eigenloop.claims import Effort, Finding, every, within
from eigenloop.theory.claims.filters import naive
from eigenloop.theory.claims.filters.book import (
    FIXED,
    LOOPS,
    PLACE,
    TASK_2,
    drawn,
    ledger,
    multiplicity_of,
)
from eigenloop.theory.filters import (
    Filter,
    best_root,
    distinct_below,
    filter_gradient,
    filter_loss,
    splitting_curvature,
)
from eigenloop.theory.population import EndToEnd
from eigenloop.theory.summary import Spectra


@ledger.claim(
    "beyond.filter.tied",
    "Untied scalar layers stay tied for ever from the paper's start, in the population: at equal "
    "gammas each layer's gradient is 1/L of the tied one.",
    place=PLACE,
    provenance="ours",
)
def layers_stay_tied(effort: Effort) -> Finding:
    """f depends on the product of the layers alone: a permutation of them changes nothing."""
    del effort
    gammas, apart = (0.0, 0.05, 0.7, 5.0, -0.5), 0.0
    for values in FIXED[:4]:
        for loops in (2, 4):
            setting = EndToEnd(values, loops)
            for gamma in gammas:
                if min(abs(1 + gamma * np.array(values))) < 1e-12:
                    continue
                layers = np.column_stack([np.ones(loops), np.full(loops, gamma)])
                plain = naive.gradient(
                    lambda x, v=values, s=layers, m=setting.multiplicity: naive.of_layers(
                        v, np.column_stack([s[:, 0], x]), m
                    ),
                    layers[:, 1],
                )
                each = filter_gradient(values, Filter.tied(gamma, loops=loops)).gammas
                tied = float(setting.slope(gamma).value) / loops
                apart = max(
                    apart, float(abs(plain / tied - 1).max()), float(abs(each / tied - 1).max())
                )
    return within(
        measured=apart,
        expected=0.0,
        tolerance=1e-10,
        relative=False,
        justification="relative, over four spectra and five gammas: naive gradients by a complex "
        "step and those of the package against f'/L, each quadrature to 1e-10",
    )


@ledger.claim(
    "beyond.filter.split",
    "Splitting tied layers raises the loss for gamma >= 0: of all non-negative gammas with one "
    "mean the equal ones are best, for every query. Past infinity it lowers it: at the shifted "
    "minimum of Task 2 untied layers fall at once.",
    place=PLACE,
    provenance="ours",
)
def splitting_layers(effort: Effort) -> Finding:
    """log (1 + g lambda_j)/(1 + g lambda_1) is convex in g: each ratio is least where tied."""
    rng, cases, behind, off = effort.generator(5), [], [], 0.0
    for values in [*map(np.array, FIXED), *drawn(rng, effort.pick(5, 50))]:
        for loops in (2, 5):
            gammas = rng.exponential(1.0, (20, loops))
            q = rng.standard_normal((30, len(values)))
            for some in gammas:
                split, tied = (
                    naive.looped(values, q, g) for g in (some, np.full(loops, some.mean()))
                )
                cases.append(bool((split >= tied - 1e-14).all()))
    for loops in (2, 3, 5, LOOPS):
        gamma = best_root(EndToEnd(TASK_2, loops)).gamma
        behind.append(splitting_curvature(TASK_2, gamma=gamma, loops=loops))
    ahead = [splitting_curvature(TASK_2, gamma=gamma, loops=4) for gamma in (0.0, 0.7, 5.0)]
    for gamma, found in ((0.7, ahead[1]), (best_root(EndToEnd(TASK_2, 5)).gamma, behind[2])):
        loops, step = (4, 1e-3) if gamma > 0 else (5, 1e-3)
        layers = np.column_stack([np.ones(loops), np.full(loops, gamma)])
        turned = layers.copy()
        turned[:2, 1] += (step, -step)
        change = (naive.of_layers(TASK_2, turned, 1) - naive.of_layers(TASK_2, layers, 1)).real
        off = max(off, abs(change / step**2 / found - 1))
    right = [value > 0 for value in ahead] + [value < 0 for value in behind] + [off < 1e-3]
    return every(
        int(sum(cases) + sum(right)),
        len(cases) + len(right),
        justification="filters of drawn gammas, 30 queries each, to rounding; the curvatures' "
        "signs, and two of them against naive second differences to 10^-3, their next order",
        numbers={
            "f_11 - f_12 at gamma = 0, 0.7, 5, four layers": ahead,
            "at the shifted minimum, 2, 3, 5, 10 layers": behind,
        },
    )


@ledger.claim(
    "beyond.filter.zero",
    "For one spectrum the infimum over untied gammas is 0 iff L is at least the number of distinct "
    "eigenvalues below lambda_1; it is not attained at finite gammas if lambda_d = 0, and for a "
    "mean over X with a density it is above 0 at any L.",
    place=PLACE,
    provenance="ours",
)
def zeros_of_the_loss(effort: Effort) -> Finding:
    """A root at each distinct eigenvalue; with one layer fewer the best of several starts."""
    rng, right, short = effort.generator(6), [], {}
    for values in ((5.0, 4.0, 3.0, 2.0, 1.0), tuple(TASK_2), (3.0, 3.0, 1.0, 0.5)):
        some = distinct_below(values)
        m = multiplicity_of(values)
        exact = np.prod(np.array(values)[:, None] - some, axis=1)
        right.append(
            naive.loss(values, exact, m)
            == 0
            == float(filter_loss(values, Filter.with_roots(some)).value)
        )
        least = _least(values, len(some) - 1, rng, effort.pick(2, 10))
        short[f"{len(some) - 1} of {len(some)} roots, lambda_1 = {values[0]:g}"] = least
        right.append(least > 1e-3)
    singular = (5.0, 3.0, 1.0, 0.0)
    near = [
        naive.of_layers(singular, np.array([[1.0, -1 / 3], [1.0, -1.0], [1.0, gamma]]), 1).real
        for gamma in (1e1, 1e3, 1e5)
    ]
    right += [near[0] > near[1] > near[2] > 0, near[2] < 1e-4]
    rows = Spectra.sphere(dim=4, samples=8, draws=effort.pick(20, 200), seed=effort.seed).rows
    roots = Filter.with_roots(rows[0, 1:])
    each = [float(filter_loss(row, roots).value) for row in rows]
    right += [each[0] == 0, min(each[1:]) > 0]
    return every(
        int(sum(right)),
        len(right),
        justification="zeros are exact; with a root too few the best of several L-BFGS runs is "
        "above 10^-3, far from rounding; losses by a quadrature of its own",
        numbers={
            **short,
            "5, 3, 1, 0 with roots 3, 1, -1/gamma, gamma = 10, 10^3, 10^5": near,
            "mean over X of d = 4, n = 8 with the roots of the first": float(np.mean(each)),
        },
    )


@ledger.claim(
    "beyond.filter.untied",
    "Untied layers that start about b_l = -1/2 find a filter with roots spread over the spectrum: "
    "on Task 2 with ten layers 3,000 steps of gradient descent at rate 1 go under a fiftieth of "
    "the best tied loop's 0.00990.",
    place=PLACE,
    provenance="ours",
)
def untied_descent(effort: Effort) -> Finding:
    """Scalar descent of a_l = 1, b_l = -1/2 + 0.1 z, 3,000 steps at rate 1."""
    ends, roots = [], np.zeros(LOOPS)
    best = best_root(EndToEnd(TASK_2, LOOPS)).loss
    for seed in range(effort.pick(1, 10)):
        rng = np.random.default_rng([effort.seed, seed])
        a, b = np.ones(LOOPS), -0.5 + 0.1 * rng.standard_normal(LOOPS)
        for _ in range(3_000):
            slopes = filter_gradient(TASK_2, Filter.of(a * b)).gammas / len(TASK_2)
            a, b = a - b * slopes, b - a * slopes
        layers = np.column_stack([np.ones(LOOPS), a * b])
        ends.append(naive.of_layers(TASK_2, layers, 1).real)
        roots = np.sort(-1 / (a * b))
    mean, spread = float(np.mean(ends)), float(np.std(ends) / math.sqrt(len(ends)))
    inside = bool(((roots > 0) & (roots < 1.5)).any() and ((roots > 3.0) & (roots < 5.0)).any())
    return Finding(
        "holds" if max(ends) < best / 50 and inside else "fails",
        mean,
        f"below {best / 50:.3g}",
        None,
        "a naive quadrature at the weights where descent ends; every seed",
        numbers={
            "seeds": len(ends),
            "standard error over seeds": spread,
            "worst": max(ends),
            "roots of the last": roots.tolist(),
            "best tied loop": best,
        },
    )


def _least(values: tuple[float, ...], count: int, rng: np.random.Generator, starts: int) -> float:
    """The least loss of so many roots that L-BFGS finds from several starts."""

    def objective(roots: np.ndarray) -> tuple[float, np.ndarray]:
        some = Filter.with_roots(roots)
        return float(filter_loss(values, some).value), -filter_gradient(values, some).residuals

    spread = distinct_below(values)
    tried = [spread[:count], spread[1:], *(rng.uniform(0, values[0], count) for _ in range(starts))]
    return min(float(minimize(objective, at, jac=True, method="L-BFGS-B").fun) for at in tried)
