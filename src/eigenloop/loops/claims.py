"""Claims on what `eigenloop.loops` measures: each against an exact answer, a closed form or a
plain oracle (NumPy).
"""

import numpy as np

from eigenloop.claims.ledger import Effort, Finding, Ledger, every, within
from eigenloop.loops.brackets import bracket
from eigenloop.loops.cases import (
    block_diagonal,
    henon,
    known_maps,
    linear_map,
    normalized_map,
    planted,
    tanh_map,
)
from eigenloop.loops.diagnosis import diagnose
from eigenloop.loops.fixed_points import fixed_point
from eigenloop.loops.forecast import exit_factor
from eigenloop.loops.linear import DENSE, Linear
from eigenloop.loops.lyapunov import exponents
from eigenloop.loops.maps import LoopedMap
from eigenloop.loops.modes import search_missed, spectrum
from eigenloop.loops.orbits import left_rate, orbit
from eigenloop.loops.paper import paper_case
from eigenloop.numerics.spectrum import random_orthogonal
from eigenloop.numerics.statistics import fit_rate

ledger = Ledger("arXiv 2606.00605")

GAMMAS = (0.5, 5.0, 50.0)
PAIR = 1.2 * np.exp(1.4j)


@ledger.claim(
    "loops.exact",
    "The loop of the query has the eigenvalues mu_i/mu_1, mu_i = 1 + gamma lambda_i, and 0 at u_1,"
    " and Arnoldi and LAPACK find them.",
    place="on Theorem 4.6",
    provenance="ours",
)
def exact(effort: Effort) -> Finding:
    errors = [paper_case(gamma, seed=effort.seed).error for gamma in GAMMAS]
    return within(
        measured=max(errors),
        expected=0.0,
        tolerance=1e-12,
        relative=False,
        justification="backward error of a 16 x 16 eigenproblem of norm 1, a thousand times over",
        numbers={f"gamma = {gamma:g}": error for gamma, error in zip(GAMMAS, errors, strict=True)},
    )


@ledger.claim(
    "loops.whole_state",
    "The map of all columns has the spectral radius 1 + gamma lambda_1 at the same point: it "
    "answers another question.",
    place="Section 3.2",
    provenance="ours",
)
def whole_state(effort: Effort) -> Finding:
    cases = [paper_case(gamma, seed=effort.seed) for gamma in GAMMAS]
    errors = [abs(case.whole_radius / case.whole_exact - 1) for case in cases]
    return within(
        measured=max(errors),
        expected=0.0,
        tolerance=1e-10,
        relative=False,
        justification=(
            "relative to the radius; the matrix has 1,056 rows, so six of ARPACK's are compared"
        ),
        numbers={f"radius at gamma = {case.gamma:g}": case.whole_radius for case in cases},
    )


@ledger.claim(
    "loops.multiplicity",
    "Where lambda_1 is m-fold, m - 1 eigenvalues of the query's loop are 1.",
    place="on Theorem 4.6",
    provenance="ours",
)
def multiplicity(effort: Effort) -> Finding:
    worst = 0.0
    for m in (2, 3, 5):
        rng = effort.generator(m)
        values, q = np.r_[np.full(m, 4.0), 3.0, 2.0, 1.0], random_orthogonal(rng, m + 3)
        looped = normalized_map(np.eye(m + 3) + 2 * (q * values) @ q.T, q[:, 0])
        moduli = np.array([mode.modulus for mode in spectrum(looped.at(q[:, 0])).modes])
        worst = max(worst, float(np.abs(moduli[: m - 1] - 1).max()), abs(moduli[m - 1] - 7 / 9))
    return within(
        measured=worst,
        expected=0.0,
        tolerance=1e-12,
        relative=False,
        justification="as for loops.exact; m = 2, 3, 5",
    )


@ledger.claim(
    "loops.pair",
    "|v^T J v| after power steps, a spectral radius of public codes, tends to |Re mu_1| where a"
    " rotating pair leads a normal J; Arnoldi gives |mu_1|.",
    place="",
    provenance="ours",
)
def pair(effort: Effort) -> Finding:
    size = effort.pick(200, 600)
    matrix = planted(effort.generator(), [PAIR], size=size)
    quotients = []
    for start in range(6):
        v = effort.generator(start + 1).standard_normal(size)
        for _ in range(200):
            v = matrix @ v
            v /= np.linalg.norm(v)
        quotients.append(float(abs(v @ matrix @ v)))
    found = spectrum(Linear.of(matrix))
    theirs = max(abs(quotient / abs(PAIR.real) - 1) for quotient in quotients)
    error = abs(found.modes[0].value - PAIR)
    return every(
        int(theirs < 1e-3) + int(error < 1e-10),
        2,
        justification="the quotient within 1e-3 of |Re mu|, mu itself within 1e-10",
        numbers={
            "Rayleigh quotients": quotients,
            "|Re mu|": abs(PAIR.real),
            "|mu|": 1.2,
            "found": found.radius,
            "error": error,
        },
    )


@ledger.claim(
    "loops.fit",
    "The left coordinate of a slowly turning pair gives |mu_1|; least squares on distances is off"
    " by more than three of its own standard errors in most maps, where 0.3 % would be.",
    place="",
    provenance="ours",
)
def fit(effort: Effort) -> Finding:
    mu, count = 0.8 * np.exp(0.0377j), 40
    worst, off = 0.0, []
    for seed in range(count):
        matrix = planted(effort.generator(seed), [mu, 0.79], size=30, condition=20.0)
        looped = linear_map(matrix, np.ones(30))
        run = orbit(looped, looped.start, loops=80)
        point = fixed_point(looped, run.states[-1], scale=run.scale)
        rate, _ = left_rate(
            run, point, spectrum(looped.at(point.point)).modes[0], noise=looped.noise
        )
        distances = fit_rate(run.distances(point.point))
        off.append(float(abs(np.log(distances.value / abs(mu))) / distances.stderr))
        worst = max(worst, np.inf if rate is None else abs(rate.modulus - abs(mu)))
    beyond = sum(each > 3 for each in off)
    return Finding(
        "holds" if worst < 1e-9 and beyond > count / 2 else "fails",
        f"{beyond} of {count} beyond 3",
        "most",
        None,
        "the coordinate within 1e-9 in all, as rounding over 80 loops leaves it",
        numbers={
            "error of the coordinate": float(worst),
            "median errors of the distances": float(np.median(off)),
        },
    )


@ledger.claim(
    "loops.forecast",
    "The linear forecast from the first state inside the measured linear region is the number of"
    " loops taken, to one loop, for distances of 1 % and 0.01 %.",
    place="",
    provenance="ours",
)
def forecast(effort: Effort) -> Finding:
    rng, apart = effort.generator(), []
    leaders = [0.9, -0.93, 0.9 * np.exp(0.7j), 0.95 * np.exp(2.5j)]
    for leader in leaders:
        matrix = planted(rng, [leader], size=30, condition=10.0)
        for looped in (
            linear_map(matrix, rng.standard_normal(30), shift=rng.standard_normal(30)),
            tanh_map(planted(rng, [leader], size=30), rng.standard_normal(30)),
        ):
            found = diagnose(looped, loops=300, norms=False)
            needed = [found.loops_to(eps) for eps in (1e-2, 1e-4)]
            apart += [
                abs(n.forecast - n.taken) if n.forecast is not None and n.taken is not None else 99
                for n in needed
            ]
    return every(
        sum(each <= 1 for each in apart),
        len(apart),
        justification="one loop: a distance on the edge",
        numbers={"forecast apart from taken": apart},
    )


@ledger.claim(
    "loops.exit",
    "After a step of one mode |mu|/|1 - mu| steps are left: 99 at mu = 0.99, and 0.497 at -0.99.",
    place="",
    provenance="ours",
)
def exits(effort: Effort) -> Finding:
    values = [0.9, 0.99, 0.999, -0.99, 0.99 * np.exp(0.5j)]
    worst = 0.0
    for mu in map(complex, values):
        e = mu**3  # x_k - x*
        worst = max(worst, abs(exit_factor(mu) * abs(mu * e - e) / abs(mu * e) - 1))
    return within(
        measured=worst,
        expected=0.0,
        tolerance=1e-11,
        relative=False,
        justification="rounding of 1 - mu at 0.999",
        numbers={"factors": [exit_factor(complex(mu)) for mu in values]},
    )


@ledger.claim(
    "loops.bracket",
    "|mu_1| - kappa r <= rho <= min over p of ||J^p||^(1/p) contains the radius of random,"
    " symmetric, normal and near-defective matrices, small ones (LAPACK) and large ones (Arnoldi,"
    " Lanczos), no miss is reported where there is none, and a planted one is.",
    place="",
    provenance="ours",
)
def contained(effort: Effort) -> Finding:
    count, apart = 200, effort.pick(25, 2)  # of the fours, one of each kind, that are large
    inside = alarms = nulls = 0
    for seed in range(count):
        size = 60 if seed // 4 % apart else DENSE + 10
        matrix, radius = _matrix(effort.generator(seed), seed % 4, size)
        linear = Linear.of(matrix)
        found = spectrum(linear)
        bounds = bracket(linear, found)
        slack = 1e-12 * radius if seed % 4 == 0 else 1e-14  # the oracle's rounding
        low = bounds.lower is None or bounds.lower <= radius + slack
        inside += bool(low and bounds.upper is not None and radius <= bounds.upper + slack)
        alarms, nulls = alarms + bool(found.missed), nulls + (bounds.lower is None)
    matrix = planted(effort.generator(count), [0.97, 0.93, -0.9], size=DENSE + 10, condition=5.0)
    linear = Linear.of(matrix)
    caught = bool(search_missed(linear, spectrum(linear).modes[1:])[1])
    return every(
        inside + (alarms == 0) + caught,
        count + 2,
        justification="an inequality has no tolerance but rounding",
        numbers={
            "inside": inside,
            "false alarms": alarms,
            "without a lower end": nulls,
            "planted miss": int(caught),
        },
    )


@ledger.claim(
    "loops.henon",
    "The Lyapunov exponents of Henon's map are 0.41922 and -1.62319 within three of the standard"
    " errors given.",
    place="",
    provenance="ours",
)
def henons(effort: Effort) -> Finding:
    looped = LoopedMap.numpy(
        henon,
        np.array([0.1, 0.1]),
        jvp=lambda x, v: np.array([-2.8 * x[0] * v[0] + v[1], 0.3 * v[0]]),
    )
    found = exponents(looped, looped.start, count=2, loops=effort.pick(4000, 40_000))
    assert found is not None
    sigmas = np.abs(found.values - np.array([0.41922, -1.62319])) / found.errors
    return within(
        measured=float(sigmas.max()),
        expected=0.0,
        tolerance=3.0,
        relative=False,
        justification="three standard errors of ten blocks",
        numbers={"exponents": found.values.tolist(), "standard errors": found.errors.tolist()},
    )


@ledger.claim(
    "loops.jordan",
    "A Jordan block is said to be defective, without an error of first order, and its growth before"
    " decay is the largest ||J^p|| computed.",
    place="",
    provenance="ours",
)
def jordan(effort: Effort) -> Finding:
    q = random_orthogonal(effort.generator(), 12)
    blocks = block_diagonal([0.9, 0.9, *np.linspace(0.1, 0.5, 10)])
    blocks[0, 1] = 50.0
    linear = Linear.of(q @ blocks @ q.T)
    found = spectrum(linear)
    bounds = bracket(linear, found)
    dense = max(float(np.linalg.norm(np.linalg.matrix_power(blocks, p), 2)) for p in (1, 2, 4, 16))
    growth = bounds.growth or 0.0
    passed = [found.modes[0].defective, bounds.lower is None, abs(growth / dense - 1) < 1e-9]
    return every(
        sum(passed), 3, justification="exact", numbers={"growth": growth, "radius": found.radius}
    )


@ledger.claim(
    "loops.verdict",
    "Of 100 random maps of known type, a quarter of them within 0.001 of a threshold, at least 98"
    " are told right and none wrong.",
    place="",
    provenance="ours",
)
def verdicts(effort: Effort) -> Finding:
    cases = list(known_maps(effort.seed))[:: effort.pick(4, 1)]
    right, undecided, wrong = 0, 0, []
    for case in cases:
        found = diagnose(case.looped, norms=False)
        fits = found.verdict.word == case.word and (
            case.kind is None or found.modes[0].kind == case.kind
        )
        right += fits
        undecided += found.verdict.word == "undecided"
        if not fits and found.verdict.word != "undecided":
            wrong.append(case.about)
    enough = right >= 0.98 * len(cases) and not wrong
    return Finding(
        "holds" if enough else "fails",
        f"{right} of {len(cases)} right",
        "98 %, none wrong",
        None,
        "fixed before the maps were drawn",
        numbers={"undecided": undecided, "wrong": ", ".join(wrong) or "none"},
    )


def _matrix(rng: np.random.Generator, kind: int, size: int) -> tuple[np.ndarray, float]:
    """Random, symmetric, normal or near-defective, and its radius."""
    if kind == 0:
        matrix = rng.standard_normal((size, size)) / np.sqrt(size)
        return matrix, float(abs(np.linalg.eigvals(matrix)).max())
    q = random_orthogonal(rng, size)
    if kind == 1:
        values = rng.uniform(-1, 1, size)
        return (q * values) @ q.T, float(abs(values).max())
    if kind == 2:
        turning = rng.uniform(0, 1, size // 2) * np.exp(1j * rng.uniform(0.1, 3, size // 2))
        return q @ block_diagonal(list(turning)) @ q.T, float(abs(turning).max())
    blocks = np.diag(rng.uniform(-0.6, 0.6, size))
    blocks[:2, :2] = [[0.9, 0.5], [0, 0.9 - 10 ** rng.uniform(-9, -1)]]
    return q @ blocks @ q.T, 0.9
