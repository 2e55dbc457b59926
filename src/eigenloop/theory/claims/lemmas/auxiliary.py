"""Appendix F: rotations, and bounds on ||Sq|| (Lemmas F.1, F.2 and F.4, Remark F.3)."""

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Plot, every, within_sigmas
from eigenloop.numerics.rotations import commutant_dimension, rotation
from eigenloop.numerics.statistics import standard_error
from eigenloop.theory.bounds import (
    inverse_square,
    inverse_square_constant,
    norm_bounds,
    optimum_bounds,
)
from eigenloop.theory.claims.lemmas.book import TASK2, ledger, random_spectra, unit_vectors
from eigenloop.theory.population import LayerwiseLinear, mean_power_norm

DIMS = (2, 3, 5, 8, 16)
SLACK = 1e-12
"""What rounding may add to either side of an inequality, relative."""


@ledger.claim(
    "lemF.1",
    "A d x d matrix that commutes with every rotation is a multiple of I (for d >= 3; in d = 2"
    " rotations commute).",
    place="Lemma F.1",
    provenance="stated",
    quote=(
        '"The commutativity condition for all [..]", "then [..] is a scalar multiple of the'
        ' identity matrix" (Lemma F.1)'
    ),
)
def schur(effort: Effort) -> Finding:
    """The dimension of what commutes with a few random rotations, from singular values."""
    rng, dims, found = effort.generator(), range(2, effort.pick(6, 9)), []
    for dim in dims:
        found.append(commutant_dimension(np.stack([rotation(rng, dim) for _ in range(4)])))
    return Finding(
        "holds" if found[1:] == [1] * (len(dims) - 1) else "fails",
        found[1:],
        [1] * (len(dims) - 1),
        None,
        "whole numbers; random rotations generate a dense subgroup",
        "",
        {"dimensions d": list(dims)[1:], "in d = 2, where rotations commute": found[0]},
    )


@ledger.claim(
    "lemF.2",
    "n/d <= E||Sq|| <= (tr(S^2)/d)^{1/2} <= n/d^{1/2}, for each X with unit columns and so in the"
    " mean.",
    place="Lemma F.2",
    provenance="reconstructed",
)
def norm_between(effort: Effort) -> Finding:
    """The exact E||Sq|| of many random spectra; a tight frame attains the lower bound."""
    rng, passed, count = effort.generator(), 0, 0
    shares, uppers = [], []
    for dim in DIMS:
        rows, _ = random_spectra(rng, dim=dim, count=effort.pick(40, 400), full_rank=False)
        value = mean_power_norm(rows).value
        low, middle, high = norm_bounds(rows)
        inside = (
            (low <= value * (1 + SLACK))
            & (value <= middle * (1 + SLACK))
            & (middle <= high * (1 + SLACK))
        )
        passed, count = passed + int(inside.sum()), count + len(rows)
        shares.append(value / low)
        uppers.append(value / middle)
    near = np.array([2.0 + 1e-6] + [2.0] * 7)
    return every(
        passed,
        count,
        justification="an inequality; 1e-12 for rounding",
        numbers={
            "smallest E||Sq||/(n/d)": float(np.concatenate(shares).min()),
            "largest E||Sq||/(tr(S^2)/d)^(1/2)": float(np.concatenate(uppers).max()),
            "E||Sq||/(n/d) - 1, nearly a tight frame": float(
                mean_power_norm(near).value / near.mean() - 1
            ),
        },
    )


@ledger.claim(
    "lemF.2.mean",
    "E||Sq|| is (1/(2 pi^{1/2})) int (1 - P(t)) t^{-3/2} dt / E||z||: the number that the bounds"
    " are about.",
    place="beside Lemma F.2",
    provenance="ours",
)
def norm_sampled(effort: Effort) -> Finding:
    """A plain mean over sampled q."""
    q = unit_vectors(effort.generator(), dim=len(TASK2), count=effort.pick(50_000, 500_000))
    norms = np.linalg.norm(q * np.array(TASK2), axis=1)
    return within_sigmas(
        measured=float(norms.mean()),
        expected=float(mean_power_norm(TASK2).value),
        standard_error=float(standard_error(norms)),
        sigmas=6,
        numbers={"samples": len(q)},
    )


def _optimum_inside(effort: Effort, target: str) -> Finding:
    rng, passed, count, uppers, lowers, steps = effort.generator(), 0, 0, [], [], []
    for dim in DIMS:
        rows, n = random_spectra(rng, dim=dim, count=effort.pick(40, 400), full_rank=False)
        setting = LayerwiseLinear(rows, target=target)  # type: ignore[arg-type]
        value, moment = setting.optimum().value, setting.second_moment().value
        low, high = optimum_bounds(n, dim, target=target)
        # E||Sq|| <= mu2^(1/2), the last step but one, is nearly attained where the bound in n and d
        # is not
        step = (np.sqrt(moment) - n / dim) / moment if target == "normalized" else high
        inside = (
            (value > 0) & (value >= low - SLACK) & (value <= step + SLACK) & (step <= high + SLACK)
        )
        inside &= (n**2 / dim**2 <= moment * (1 + SLACK)) & (moment <= n**2 / dim * (1 + SLACK))
        passed, count = passed + int(inside.sum()), count + len(rows)
        uppers.append(value / high)
        lowers.append(value - low)
        steps.append(value / step)
    return every(
        passed,
        count,
        justification="inequalities; 1e-12 for rounding",
        numbers={
            "largest share of the upper bound in n and d": float(np.concatenate(uppers).max()),
            "smallest distance from the lower bound": float(np.concatenate(lowers).min()),
            "largest share of the bound before it": float(np.concatenate(steps).max()),
        },
    )


@ledger.claim(
    "rem.F.3.norm",
    "For the normalised target 0 < gamma* <= (mu2^{1/2} - n/d)/mu2 <= (d/n)(d^{1/2} - 1), because"
    " E||Sq||^2 <= mu2 and n^2/d^2 <= mu2 <= n^2/d.",
    place="Remark F.3",
    provenance="reconstructed",
)
def normalized_optimum(effort: Effort) -> Finding:
    """gamma* of many random spectra."""
    return _optimum_inside(effort, "normalized")


@ledger.claim(
    "rem.F.3.unnorm",
    "For the unnormalised target 1 - d/n <= gamma* <= 1 - 1/n, because n^2/d^2 <= mu2 <= n^2/d.",
    place="Remark F.3",
    provenance="reconstructed",
)
def unnormalized_optimum(effort: Effort) -> Finding:
    """gamma* of many random spectra."""
    return _optimum_inside(effort, "unnormalized")


@ledger.claim(
    "lemF.4",
    "E[1/||Sq||^2 | X] <= C_d/(lambda_1 lambda_d), with a constant of d alone.",
    place="Lemma F.4",
    provenance="reconstructed",
)
def inverse_square_bounded(effort: Effort) -> Finding:
    """The exact expectation of many random spectra, against our C_d."""
    rng, passed, count, ratios = effort.generator(), 0, 0, []
    for dim in DIMS:
        rows, _ = random_spectra(rng, dim=dim, count=effort.pick(40, 400), full_rank=True)
        ratio = inverse_square(rows).value * rows[:, 0] * rows[:, -1] / inverse_square_constant(dim)
        passed, count = passed + int((ratio <= 1 + SLACK).sum()), count + len(rows)
        ratios.append(ratio)
    return every(
        passed,
        count,
        justification="an inequality; 1e-12 for rounding",
        numbers={"largest share of the bound, random spectra": float(np.concatenate(ratios).max())},
    )


@ledger.claim(
    "lemF.4.constant",
    "The smallest such C_d is pi/B(1/2, (d-1)/2), 1 for d = 2: (1, e, ..., e) comes as near to it"
    " as one likes.",
    place="beside Lemma F.4",
    provenance="ours",
)
def smallest_constant(effort: Effort) -> Finding:
    """The share of the bound along that family, e down to 10^-6."""
    ends, tight = np.logspace(-1, -6, effort.pick(6, 21)), []
    for dim in DIMS:
        sharp = np.concatenate(
            [np.ones((ends.size, 1)), np.repeat(ends[:, None], dim - 1, axis=1)], axis=1
        )
        tight.append(inverse_square(sharp).value * ends / inverse_square_constant(dim))
    shares = np.array(tight)
    near = abs(shares[:, -1] - 1) < 1e-4
    return every(
        int(near.sum()) + int((shares <= 1 + SLACK).sum()),
        len(DIMS) + shares.size,
        justification=(
            "never above 1, rounding aside, and within O(lambda_d/lambda_1) of it at the end"
        ),
        numbers={
            "share at (1, 1e-6, ..., 1e-6), d = 16": float(shares[-1, -1]),
            "C_16": inverse_square_constant(16),
        },
        plot=Plot(
            [Curve(f"d = {d}", ends, t, points=True) for d, t in zip(DIMS, tight, strict=True)],
            "lambda_d/lambda_1",
            "E[1/||Sq||^2] lambda_1 lambda_d / C_d",
            yscale="linear",
        ),
    )


@ledger.claim(
    "lemF.4.mean",
    "E[1/||Sq||^2] is int P(t) sum_i u_i dt, u_i = 1/(1 + 2 t lambda_i^2): the number that the"
    " bound is about.",
    place="beside Lemma F.4",
    provenance="ours",
)
def inverse_square_sampled(effort: Effort) -> Finding:
    """A plain mean over sampled q; ||Sq|| >= lambda_d bounds each sample."""
    q = unit_vectors(effort.generator(), dim=len(TASK2), count=effort.pick(50_000, 500_000))
    values = 1 / (q**2 @ np.array(TASK2) ** 2)
    return within_sigmas(
        measured=float(values.mean()),
        expected=float(inverse_square(np.array([TASK2])).value[0]),
        standard_error=float(standard_error(values)),
        sigmas=6,
        numbers={"samples": len(q)},
    )
