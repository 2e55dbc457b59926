"""On which X a shift converges, and where it loses to the power method."""

import numpy as np

from eigenloop.claims import Effort, Finding, every
from eigenloop.numerics.power import contraction_factor
from eigenloop.theory.claims.filters import naive
from eigenloop.theory.claims.filters.book import FIXED, PLACE, drawn, ledger, multiplicity_of
from eigenloop.theory.filters import faster_below, no_worse_up_to, safe_root
from eigenloop.theory.summary import Spectra

SHAPES = ((16, 32), (16, 16), (8, 64), (4, 5), (3, 3))
TABLES = {
    "iris": ((143.366, 6.39737, 0.18244, 0.0545149), 150),
    "wine": (
        (
            177.412,
            0.575828,
            0.00790344,
            0.00258285,
            9.16948e-4,
            6.69949e-4,
            3.98357e-4,
            7.18482e-5,
            5.24615e-5,
            3.87712e-5,
            1.85986e-5,
            1.33641e-5,
            5.09302e-6,
        ),
        178,
    ),
}
"""Spectra of S and n of two tables, raw rows scaled to length 1, to six digits (a test has
both)."""


@ledger.claim(
    "beyond.filter.safe",
    "For 0 <= rho < n/(2(d - 1)), and so up to n/(2d), repeating the layer q <- N((S - rho I) q) "
    "converges to PS(X) on every X with unit columns that is not tight and every q not orthogonal "
    "to it; the border cannot be raised where n >= d - 1.",
    place=PLACE,
    provenance="ours",
)
def safe_shifts(effort: Effort) -> Finding:
    """sum lambda_i = n gives lambda_1 + lambda_d >= n/(d - 1), and 2 rho < lambda_1 + lambda_d."""
    rng, passed, total, worst = effort.generator(7), 0, 0, 0.0
    for dim, samples in SHAPES:
        rows = Spectra.sphere(
            dim=dim, samples=samples, draws=effort.pick(100, 2_000), seed=effort.seed
        ).rows
        for row in rows:
            rho = 0.999 * safe_root(dim, samples)
            factor = contraction_factor(row, gamma=-1 / rho)
            plain = abs(row[multiplicity_of(row) :] - rho).max() / abs(row[0] - rho)
            passed, total = passed + int(plain < 1 and abs(factor - plain) < 1e-12), total + 1
            worst = max(worst, float(plain))
    for (
        dim,
        samples,
    ) in SHAPES:  # the X on which the border is sharp, reached and passed by the loop
        sharp = np.append(np.full(dim - 1, samples / (dim - 1)), 0.0)
        q = rng.standard_normal((20, dim))
        for share, converges in ((0.9, True), (1.1, False)):
            rho = share * safe_root(dim, samples)
            last = naive.looped(sharp, q, np.full(400, -1 / rho))
            passed += int(bool((last < 1e-12).all()) if converges else bool((last > 0.5).all()))
            total += 1
    return every(
        passed,
        total,
        justification="an inequality has no tolerance; 400 loops at nine tenths of the border "
        "shrink a tangent by (9/11)^400 = 10^-34, and at eleven tenths grow it as much",
        numbers={
            "drawn X": total - 2 * len(SHAPES),
            "largest factor at 0.999 of the border": worst,
        },
    )


@ledger.claim(
    "beyond.filter.factor",
    "The factor of a shift 0 < rho < lambda_1 is below the power method's iff rho < lambda_1 "
    "(lambda_(m+1) + lambda_d)/(lambda_1 + lambda_(m+1)), and its loss is no larger for any q and "
    "any L iff rho <= 2 lambda_1 lambda_d/(lambda_1 + lambda_d).",
    place=PLACE,
    provenance="ours",
)
def borders_of_gain(effort: Effort) -> Finding:
    rng, cases = effort.generator(8), []
    for values in [*map(np.array, FIXED), *drawn(rng, effort.pick(40, 400))]:
        m, top, border, even = (
            multiplicity_of(values),
            values[0],
            faster_below(values),
            no_worse_up_to(values),
        )
        for share in (0.5, 0.99, 1.01):
            rho = share * border
            if 0 < rho < top:
                factor = abs(values[m:] - rho).max() / (top - rho)
                cases.append((factor < values[m] / top) == (share < 1))
        if not even:
            continue
        q = rng.standard_normal((30, len(values)))
        pair = np.zeros((1, len(values)))
        pair[0, [0, -1]] = 1.0
        for loops in (1, 4):
            power = [naive.looped(values, some, np.ones(loops), 0.0) for some in (q, pair)]
            under, over = (np.full(loops, -1 / (share * even)) for share in (1.0, 1.01))
            cases.append(bool((naive.looped(values, q, under) <= power[0] * (1 + 1e-12)).all()))
            if 1.01 * even < top:
                cases.append(bool((naive.looped(values, pair, over) > power[1]).all()))
    return every(
        int(sum(cases)),
        len(cases),
        justification="spectra, shifts on either side of each border, L = 1 and 4: inequalities "
        "to rounding, by the loop itself; beyond the second border a query in span(u_1, u_d)",
    )


@ledger.claim(
    "beyond.filter.loses",
    "The safe shift n/(2d) converges everywhere but need not beat the power method: it contracts "
    "more slowly on iris and wine (raw unit rows) and on some X of d = 3, n = 4.",
    place=PLACE,
    provenance="ours",
)
def where_the_shift_loses(effort: Effort) -> Finding:
    tables = {
        name: _factors(np.array(values), samples) for name, (values, samples) in TABLES.items()
    }
    size = effort.pick(1_000, 20_000)
    rows = Spectra.sphere(dim=3, samples=4, draws=size, seed=effort.seed).rows
    pairs = np.array([_factors(row, 4) for row in rows])
    rule = np.array([faster_below(row) <= 4 / 6 for row in rows])
    loses = pairs[:, 0] >= pairs[:, 1]
    share = float(loses.mean())
    holds = all(shift > power for shift, power in tables.values()) and 0 < share < 0.5
    return Finding(
        "holds" if holds and bool((loses == rule).all()) and bool((pairs < 1).all()) else "fails",
        share,
        "above 0",
        None,
        "factors by the eigenvalues themselves; who loses is what the border of "
        "beyond.filter.factor says, X by X",
        numbers={
            **{f"{name}, shift and power method": list(pair) for name, pair in tables.items()},
            "X of d = 3, n = 4": size,
            "standard error of the share": float(np.sqrt(share * (1 - share) / size)),
        },
    )


def _factors(values: np.ndarray, samples: int) -> tuple[float, float]:
    """Of the shift n/(2d), and of the power method."""
    rho, m = samples / (2 * len(values)), multiplicity_of(values)
    return float(abs(values[m:] - rho).max() / (values[0] - rho)), float(values[m] / values[0])
