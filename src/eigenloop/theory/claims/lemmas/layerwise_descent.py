"""Appendix C, the descent of gamma: how it grows, what it conserves, and the loss."""

from functools import cache

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Plot, every, within
from eigenloop.theory import dynamics, slopes
from eigenloop.theory.bounds import loss_bound
from eigenloop.theory.claims.lemmas import oracle
from eigenloop.theory.claims.lemmas.book import LOOPS, TASK2, ledger
from eigenloop.theory.claims.lemmas.looped import draw_samples
from eigenloop.theory.population import EndToEnd, LayerwiseNorm

RATE = 0.1


@cache
def long_path(steps: float) -> dynamics.Path:
    """Population gradient descent on Task 2."""
    return dynamics.long_run(LayerwiseNorm(TASK2), learning_rate=RATE, steps=steps)


@ledger.claim(
    "lemC.4",
    "gamma_t increases at every step and passes every bound.",
    place="Lemma C.4",
    provenance="stated",
    quote=(
        '"[..] is a monotonically increasing sequence" (Appendix C.2.1, step 3); "The sequence [..]'
        ' diverges to positive infinity" (Lemma C.4)'
    ),
)
def gamma_diverges(effort: Effort) -> Finding:
    """The scalar recursion step by step; the flow that interpolates it far beyond."""
    setting = LayerwiseNorm(TASK2)
    slope, steps = slopes.slope_function(setting), effort.pick(1_000, 100_000)
    increasing, (a, b) = 0, dynamics.START
    for _ in range(steps):
        k = -RATE / setting.dim * slope(a * b)
        after = a + k * b, b + k * a
        increasing += after[0] * after[1] > a * b
        a, b = after
    path = long_path(effort.pick(10**15, 10**18))
    bounds = 10.0 ** np.arange(0, 5)
    passed = [
        float(path.steps[path.gamma > bound][0]) if (path.gamma > bound).any() else None
        for bound in bounds
    ]
    rising = int((np.diff(path.gamma) > 0).sum())
    return every(
        increasing + rising + sum(step is not None for step in passed),
        steps + len(path.gamma) - 1 + len(bounds),
        justification="an inequality at every step",
        numbers={
            f"first recorded step with gamma above {bound:g}": step
            for bound, step in zip(bounds, passed, strict=True)
        },
    )


@ledger.claim(
    "lemC.5",
    "gamma_t^3 grows by 12 eta Upsilon_2/d a step in the limit, so gamma_t lies between two"
    " multiples of t^{1/3}.",
    place="Lemma C.5",
    provenance="reconstructed",
)
def gamma_grows(effort: Effort) -> Finding:
    """One step of the recursion from points of its path; and gamma_t over its asymptote."""
    setting = LayerwiseNorm(TASK2)
    path = long_path(effort.pick(10**15, 10**18))
    chosen = np.flatnonzero(path.gamma > 3)[:: effort.pick(40, 10)]
    increments = []
    for a, b in zip(path.a[chosen], path.b[chosen], strict=True):
        gamma, k = a * b, -RATE / setting.dim * float(setting.slope(a * b).value)
        rise = k * (a * a + b * b) + k * k * gamma
        increments.append(rise * (3 * gamma**2 + 3 * gamma * rise + rise**2))
    gammas, increments = path.gamma[chosen], np.array(increments)
    expected = 12 * RATE * float(setting.upsilon2().value) / setting.dim
    share = path.gamma[chosen] / (expected * path.steps[chosen]) ** (1 / 3)
    return within(
        measured=float(increments[-1]),
        expected=expected,
        tolerance=10 / (gammas[-1] * TASK2[-1]),
        justification=(
            "f' = -2 Y2/gamma^3 (1 + O(1/(gamma lambda_d))): three norms of q + gamma Sq, one in G"
        ),
        numbers={
            "steps": float(path.steps[chosen[-1]]),
            "gamma": float(gammas[-1]),
            "gamma_t/(12 eta Y2 t/d)^{1/3}, last": float(share[-1]),
            "its least": float(share.min()),
            "its largest": float(share.max()),
        },
        plot=Plot(
            [
                Curve("gamma_t/(12 eta Y2 t/d)^{1/3}", path.steps[chosen], share, points=True),
                Curve("1", path.steps[chosen], np.ones(len(chosen))),
            ],
            "step t",
            "share of the asymptote",
            yscale="linear",
        ),
    )


@ledger.claim(
    "lemC.5.conservation",
    "a^2 - b^2 is quasi-conserved: each step multiplies it by 1 - (eta f'(gamma)/d)^2, so that,"
    " from 1, it never rises nor falls under 0 (while eta |f'|/d <= 1).",
    place="Appendix C.2.2, result (2)",
    provenance="reconstructed",
)
def quasi_conserved(effort: Effort) -> Finding:
    """The full model's descent in d = 2, one layer and three loops, against f' from its
    integral.
    """
    steps, rate, worst, numbers = effort.pick(50, 300), 0.5, 0.0, {}
    kept = True
    cases: list[tuple[str, LayerwiseNorm | EndToEnd, oracle.Loss, int]] = [
        ("one layer", LayerwiseNorm([2.0, 1.0]), "normalized", 1),
        ("three loops", EndToEnd([2.0, 1.0], 3), "end to end", 3),
    ]
    for name, setting, loss, loops in cases:
        full = oracle.descend(
            oracle.circle((2, 1), queries=256),
            loss=loss,
            loops=loops,
            norm=True,
            learning_rate=rate,
            steps=steps,
        )
        c = full.a**2 - full.b**2
        k = np.array(
            [rate / 2 * float(setting.slope(float(gamma)).value) for gamma in full.gamma[:-1]]
        )
        worst = max(worst, float(abs(c[1:] - c[:-1] * (1 - k**2)).max()))
        kept = kept and bool((np.diff(c) <= 1e-15).all() and (c >= 0).all() and (abs(k) <= 1).all())
        numbers[f"{name}: a^2 - b^2 at the end"] = float(c[-1])
        numbers[f"{name}: largest eta |f'|/d"] = float(abs(k).max())
    found = within(
        measured=worst,
        expected=0.0,
        tolerance=1e-10,
        relative=False,
        numbers={**numbers, "steps": steps},
        justification=(
            "the law at every step of the full model, every entry free; both quadratures exact to"
            " rounding"
        ),
    )
    return (
        found
        if kept
        else Finding("fails", "rises or turns negative", "falls, at least 0", None, "every step")
    )


@ledger.claim(
    "lemC.5.ratio",
    "a_t/b_t tends to 1.",
    place="Appendix C.2.2, result (2); Lemma A.5",
    provenance="reconstructed",
)
def ratio_tends_to_one(effort: Effort) -> Finding:
    """Along the population's descent on Task 2 to 10^12 steps, one layer and ten loops."""
    steps = effort.pick(10**10, 10**12)
    paths = {
        "one layer": dynamics.long_run(LayerwiseNorm(TASK2), learning_rate=RATE, steps=steps),
        "ten loops": dynamics.long_run(EndToEnd(TASK2, LOOPS), learning_rate=RATE, steps=steps),
    }
    passed, count, numbers, curves = 0, 0, {}, []
    for name, path in paths.items():
        later = path.steps >= 10
        ratio, b = path.a[later] / path.b[later], path.b[later]
        # a^2 = b^2 + c with c <= 1, so that 0 < a/b - 1 <= 1/(2 b^2); 1e-15 for rounding
        held = (ratio - 1 <= 1 / (2 * b**2) + 1e-15) & (ratio >= 1 - 1e-15)
        passed, count = passed + int(held.sum()) + int(ratio[-1] - 1 < 1e-2), count + len(ratio) + 1
        numbers[f"{name}: a/b at step {steps:g}"] = float(ratio[-1])
        curves.append(Curve(name, path.steps[later], ratio - 1))
    return every(
        passed,
        count,
        numbers=numbers,
        justification=(
            "a^2 - b^2 <= 1 leaves a/b - 1 <= 1/(2 b^2), which goes to 0 as b grows; below 1 % at"
            " the end"
        ),
        plot=Plot(curves, "step", "a/b - 1"),
    )


@ledger.claim(
    "lemC.6.bound",
    "A sample's loss is at most 2 sin^2 of its angle, so f(gamma) <= 2 Upsilon_2/gamma^2.",
    place="Lemma C.6",
    provenance="reconstructed",
)
def loss_bounded(effort: Effort) -> Finding:
    """Losses of single samples in the full model; f of Task 2 from its integral."""
    samples = draw_samples(effort.generator(), dim=4, samples=8, count=effort.pick(300, 5000))
    gammas, passed = np.array([0.1, 1.0, 10.0]), 0
    bounds = loss_bound(samples.columns @ samples.columns.mT, samples.query, gammas)
    for gamma, bound in zip(gammas, bounds, strict=True):
        found = oracle.losses(
            *oracle.scalar_weights(4, gamma, 1.0), samples, loss="normalized", norm=True
        )
        passed += int((found <= bound * (1 + 1e-9) + 1e-15).sum())
    grid, share = _shares(effort)
    return every(
        passed + int((share <= 2).sum()),
        bounds.size + len(grid),
        justification="an inequality, rounding aside",
        numbers={"largest gamma^2 f/Y2": float(share.max())},
        plot=Plot(
            [
                Curve("gamma^2 f/Y2", grid, share, points=True),
                Curve("the proof's bound", grid, np.full(len(grid), 2.0)),
            ],
            "gamma",
            "gamma^2 f(gamma)/Upsilon_2",
            yscale="linear",
        ),
    )


@ledger.claim(
    "lemC.6.limit",
    "gamma^2 f(gamma) tends to Upsilon_2: the bound of Lemma C.6, which is all that its proof"
    " needs, is twice that.",
    place="beside Lemma C.6",
    provenance="ours",
)
def loss_limit(effort: Effort) -> Finding:
    """f of Task 2 from its integral."""
    grid, share = _shares(effort)
    return within(
        measured=float(share[-1]),
        expected=1.0,
        tolerance=10 / (grid[-1] * TASK2[-1]),
        justification="gamma^2 f = Y2 (1 + O(1/(gamma lambda_d)))",
        numbers={"gamma": float(grid[-1])},
    )


def _shares(effort: Effort) -> tuple[np.ndarray, np.ndarray]:
    """gamma and gamma^2 f(gamma)/Upsilon_2 on Task 2."""
    setting, grid = LayerwiseNorm(TASK2), np.logspace(-1, 6, effort.pick(8, 15))
    constant = float(setting.upsilon2().value)
    return grid, np.array(
        [float(setting.loss(float(gamma)).value) * gamma**2 / constant for gamma in grid]
    )


@ledger.claim(
    "lemC.6.time",
    "The loss is below eps for good after (d/(12 eta Y2)) (2 Y2/eps)^{3/2} steps, up to a factor"
    " that tends to 1.",
    place="Lemma C.6",
    provenance="reconstructed",
)
def steps_needed(effort: Effort) -> Finding:
    """Where the loss along the path crosses eps, against f <= 2 Y2/gamma^2 and gamma_t^3 ~ 12
    eta Y2 t/d.
    """
    setting = LayerwiseNorm(TASK2)
    constant = float(setting.upsilon2().value)
    path = long_path(10**15)
    late = np.flatnonzero(path.steps > 1e5)[:: effort.pick(12, 4)]
    losses = np.array([float(setting.loss(float(gamma)).value) for gamma in path.gamma[late]])
    steps = path.steps[late]
    enough = setting.dim / (12 * RATE * constant) * (2 * constant / losses) ** 1.5
    most = 1 + 30 / path.gamma[late]
    return every(
        int((steps <= enough * most).sum()) + int((np.diff(losses) < 0).sum()),
        2 * len(steps) - 1,
        justification=(
            "an inequality; three halves of the O(1/(gamma lambda_d)) in gamma^2 f, and that of"
            " gamma_t^3; and every loss below the one before"
        ),
        numbers={
            "eps at the last": float(losses[-1]),
            "share of that many steps, last": float(steps[-1] / enough[-1]),
            "first": float(steps[0] / enough[0]),
        },
        plot=Plot(
            [Curve("steps", losses, steps, points=True), Curve("enough", losses, enough)],
            "eps",
            "T(eps)",
        ),
    )
