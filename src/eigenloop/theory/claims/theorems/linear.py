"""Theorem 4.2: one layer without LN, layerwise, for the normalised and the unnormalised target."""

import math

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Plot, every, within
from eigenloop.numerics.power import normalize
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.claims.lemmas import oracle
from eigenloop.theory.claims.theorems.book import (
    RATE,
    SIGMAS,
    SMALL_RATE,
    SMALL_STEPS,
    TARGETS,
    ledger,
)
from eigenloop.theory.claims.theorems.shared import full_descent, structure
from eigenloop.theory.dynamics import recursion
from eigenloop.theory.population import LayerwiseLinear, Target
from eigenloop.theory.regression import of_images, of_spectra, planted_images


@ledger.claim(
    "thm4.2.structure",
    "Without LN, for either target, the active blocks stay multiples of I in the population.",
    place="Thm 4.2 (1)",
    provenance="stated",
    quote=(
        '"the parameters are initialized as scalar multiples of [..] (or zero), and the gradient'
        ' updates preserve this structure" (Lemma B.1)'
    ),
)
def structure_linear(effort: Effort) -> Finding:
    return structure("no-ln", effort)


@ledger.claim(
    "thm4.2.parabola.normalized",
    "The loss is mu2 (gamma - gamma*)^2 + f*, normalised target, with the constants of the table.",
    place="Thm 4.2, Appendix B.2.1",
    provenance="reconstructed",
)
def parabola_normalized(effort: Effort) -> Finding:
    return _parabola(LayerwiseLinear(DEFAULT_MULTIPLICITIES, "normalized"), effort)


@ledger.claim(
    "thm4.2.parabola.unnormalized",
    "The loss is mu2 (gamma - gamma*)^2 + f*, unnormalised target, with the constants of the"
    " table.",
    place="Thm 4.2, Appendix B.2.2",
    provenance="reconstructed",
)
def parabola_unnormalized(effort: Effort) -> Finding:
    return _parabola(LayerwiseLinear(DEFAULT_MULTIPLICITIES, "unnormalized"), effort)


LIMIT = '"The sequence of iterates converges to the unique optimal solution" (Theorem B.3 (2))'


@ledger.claim(
    "thm4.2.limit.normalized",
    "gamma tends to gamma*, where the loss is least, normalised target.",
    place="Thm 4.2 (1)",
    provenance="stated",
    quote=LIMIT,
)
def limit_normalized(effort: Effort) -> Finding:
    return _linear_limit("normalized")


@ledger.claim(
    "thm4.2.limit.unnormalized",
    "gamma tends to gamma*, where the loss is least, unnormalised target.",
    place="Thm 4.2 (1)",
    provenance="stated",
    quote=LIMIT,
)
def limit_unnormalized(effort: Effort) -> Finding:
    return _linear_limit("unnormalized")


@ledger.claim(
    "thm4.2.linear",
    "The loss converges linearly to f*, for either target: after the first step f - f* falls by a"
    " factor below 1 at least, the same at every step.",
    place="Thm 4.2 (2)",
    provenance="stated",
    quote='"The training loss converges linearly to a strictly positive value" (Theorem 4.2 (2))',
)
def converges_linearly(effort: Effort) -> Finding:
    """The full model's losses, step by step, in d = 2."""
    passed, count, numbers, curves = 0, 0, {}, []
    for target in TARGETS:
        setting, full = full_descent(target)
        floor, gamma = float(setting.floor().value), float(setting.optimum().value)
        losses = np.array(
            [
                oracle.losses(
                    *oracle.scalar_weights(2, float(a), float(b)),
                    oracle.circle((2, 1)),
                    loss=target,
                    norm=False,
                ).mean()
                for a, b in zip(full.a[:40], full.b[:40], strict=True)
            ]
        )
        above = losses - floor
        late = np.flatnonzero(above[1:] > 1e-9)  # beyond, rounding of f is felt
        ratios = above[2:][late[:-1]] / above[1:-1][late[:-1]]
        # gamma_1 = kappa gamma*, s >= 2 gamma >= 2 gamma_1 from then on, and one step is 1 - kappa
        # s and less
        kappa = SMALL_RATE * float(setting.second_moment().value)
        most = (1 - 2 * kappa * kappa * gamma) ** 2
        passed, count = passed + int(((ratios > 0) & (ratios <= most)).sum()), count + len(ratios)
        numbers[f"{target}: largest factor of f - f*"], numbers[f"{target}: its bound"] = (
            float(ratios.max()),
            most,
        )
        curves.append(Curve(target, np.arange(1, len(above)), above[1:]))
    return every(
        passed,
        count,
        numbers=numbers,
        justification=(
            "(1 - 2 kappa^2 gamma*)^2, kappa = 2 eta mu2/d: an inequality at every step of the full"
            " model"
        ),
        plot=Plot(curves, "step", "f - f*", xscale="linear"),
    )


@ledger.claim(
    "thm4.2.rate.normalized",
    "The error in gamma falls, late, by 1 - (2 eta mu2/d)(c^2 + 4 gamma*^2)^(1/2) a step, c = lim"
    " (a^2 - b^2), normalised target.",
    place="beside Thm 4.2 (2)",
    provenance="ours",
)
def rate_normalized(effort: Effort) -> Finding:
    return _linear_rate("normalized")


@ledger.claim(
    "thm4.2.rate.unnormalized",
    "The same rate, unnormalised target.",
    place="beside Thm 4.2 (2)",
    provenance="ours",
)
def rate_unnormalized(effort: Effort) -> Finding:
    return _linear_rate("unnormalized")


@ledger.claim(
    "thm4.2.floor",
    "Without LN no gamma brings the loss to 0: f* > 0 for either target (on spectra that are not"
    " tight frames).",
    place="Thm 4.2 (2)",
    provenance="stated",
    quote=(
        '"The minimum achievable loss is strictly positive" (Appendix B.2.1), "again strictly'
        ' positive" (Appendix B.2.2)'
    ),
)
def floor(effort: Effort) -> Finding:
    size = effort.pick(200, 2_000)
    rng = effort.generator(3)
    rows = np.sort(rng.gamma(0.5, size=(size, 16)), axis=1)[:, ::-1]
    queries = normalize(rng.standard_normal((effort.pick(10_000, 20_000), 16)))
    positive, near, smallest, farthest = 0, 0, math.inf, 0.0
    for target in TARGETS:
        for some in np.split(rows, size // 100):
            setting = LayerwiseLinear(some, target)
            exact = np.stack(
                [np.asarray(part.value) for part in (setting.optimum(), setting.floor())]
            )
            found = of_spectra(some, queries, target)
            sigmas = abs(found.values[:2] - exact) / found.errors[:2]
            positive += int(np.sum(exact[1] > 0))
            near += int(np.sum(sigmas < SIGMAS))
            smallest, farthest = (
                min(smallest, float(exact[1].min())),
                max(farthest, float(sigmas.max())),
            )
    tight = np.r_[1 + 1e-4, np.ones(15)]
    return every(
        positive + near,
        6 * size,
        justification=(
            "f* > 0, far above the rounding of 1e-13; gamma* and f* as the regression over drawn q"
            f" has them, to {SIGMAS:g} standard errors; two targets"
        ),
        numbers={
            "spectra": size,
            "smallest f*": smallest,
            "largest distance from the regression, standard errors": farthest,
            "f* (unnormalised) at a nearly tight frame": float(
                LayerwiseLinear(tight, "unnormalized").floor().value
            ),
        },
    )


def _parabola(setting: LayerwiseLinear, effort: Effort) -> Finding:
    """The three constants against the regression of v - q on Sq over samples of Task 2."""
    size = effort.pick(20_000, 200_000)
    found = of_images(*planted_images(effort.seed, size), setting.target)
    exact = np.array(
        [
            float(part.value)
            for part in (setting.optimum(), setting.floor(), setting.second_moment())
        ]
    )
    sigmas = found.sigmas(exact)
    return Finding(
        "holds" if sigmas.max() < SIGMAS else "fails",
        found.values.tolist(),
        exact.tolist(),
        None,
        f"{SIGMAS:g} standard errors each: of gamma*, f*, mu2 by the regression of v - q on Sq over"
        " samples of Task 2",
        numbers={
            "samples": size,
            "standard errors": found.errors.tolist(),
            "sigmas": sigmas.tolist(),
        },
    )


def _linear_limit(target: Target) -> Finding:
    setting, full = full_descent(target)
    end = oracle.scalar_weights(2, float(full.a[-1]), float(full.b[-1]))
    loss = float(oracle.losses(*end, oracle.circle((2, 1)), loss=target, norm=False).mean())
    planted = LayerwiseLinear(DEFAULT_MULTIPLICITIES, target)
    path = recursion(planted, learning_rate=0.03, steps=5_000)
    shown = path.steps > 0
    exact = [float(setting.optimum().value), float(setting.floor().value)]
    off = float(np.max(abs(np.array([full.gamma[-1], loss]) / exact - 1)))
    return Finding(
        "holds" if off < 1e-10 else "fails",
        [float(full.gamma[-1]), loss],
        exact,
        1e-10,
        "relative, of gamma and the loss at the end of the full model's descent in d = 2, every"
        " entry free; rounding, for 0.75^200 of the first error is left",
        numbers={
            "relative distance": off,
            "steps": SMALL_STEPS,
            "gamma at the end of the recursion on Task 2": float(path.gamma[-1]),
            "gamma* there": float(planted.optimum().value),
        },
        plot=Plot(
            [Curve("gamma on Task 2", path.steps[shown], path.gamma[shown])],
            "step",
            "gamma",
            yscale="linear",
        ),
    )


def _linear_rate(target: Target) -> Finding:
    setting, full = full_descent(target)
    optimum, mu2 = float(setting.optimum().value), float(setting.second_moment().value)
    errors = abs(full.gamma - full.gamma[-1])
    i = int(np.flatnonzero(errors > 1e-7 * optimum)[-1])  # late, and far above rounding
    measured = float(errors[i] / errors[i - 1])
    c = float(full.a[-1] ** 2 - full.b[-1] ** 2)
    expected = 1 - 2 * SMALL_RATE * mu2 / 2 * math.hypot(c, 2 * optimum)
    return within(
        measured=measured,
        expected=expected,
        tolerance=1e-6,
        relative=False,
        justification=(
            "the full model's descent in d = 2, where 1e-7 of gamma is left: as much of s, and"
            " rounding is a thousandth of the tolerance"
        ),
        numbers={
            "c": c,
            "step": i,
            "at the rate 0.1 on Task 2, with c = 1": _factor_on_task2(target),
        },
        plot=Plot(
            [Curve("|gamma - its limit|", np.arange(1, i + 1), errors[1 : i + 1])],
            "step",
            "error",
            xscale="linear",
        ),
    )


def _factor_on_task2(target: Target) -> float:
    setting = LayerwiseLinear(DEFAULT_MULTIPLICITIES, target)
    optimum, mu2 = float(setting.optimum().value), float(setting.second_moment().value)
    return 1 - 2 * RATE * mu2 / 16 * math.hypot(1, 2 * optimum)
