"""Theorems 4.6 and 4.7 of arXiv 2606.00605 as claims: how fast a trained layer converges when looped at test time."""

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Ledger, Plot, every, within
from eigenloop.numerics.power import contraction_factor, normalize, predicted_sines, sine_bounds
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES, unit_columns_with_spectrum
from eigenloop.theory.claims.theorems import LAST, LOOPED, RATE, SINGLE, nearest
from eigenloop.theory.dynamics import long_run
from eigenloop.theory.population import LayerwiseLinear

ledger = Ledger("arXiv 2606.00605")

TEST_LOOPS = 50


@ledger.claim(
    "thm4.6.bounds.in_distribution",
    "Looped at test time, the scalar model's sine stays between |c_{m+1}| r^k and tan(phi_0) r^k at every loop, for "
    "every test sample of Tasks 1 and 2.",
    place="Thm 4.6",
    provenance="reconstructed",
)
def bounds_in_distribution(effort: Effort) -> Finding:
    rng = effort.generator(5)
    return _bounds(_in_distribution(rng, effort.pick(250, 1_000)), rng, gamma=12.0)


@ledger.claim(
    "thm4.6.bounds.out_of_distribution",
    "The same bounds hold for any X with unit columns: other sizes, spiked, geometric, repeated and singular spectra.",
    place="Thm 4.6, Assumption 4.4",
    provenance="reconstructed",
)
def bounds_out_of_distribution(effort: Effort) -> Finding:
    rng = effort.generator(6)
    return _bounds(_out_of_distribution(rng, effort.pick(100, 400)), rng, gamma=12.0)


@ledger.claim(
    "thm4.6.factor",
    "With LN the factor per loop falls, as training goes on, to that of the power method, lambda_{m+1}/lambda_1.",
    place="Thm 4.6",
    provenance="reconstructed",
)
def factor_falls(effort: Effort) -> Finding:
    path = long_run(SINGLE, learning_rate=RATE, steps=LAST)
    factors = [contraction_factor(DEFAULT_MULTIPLICITIES, gamma=float(gamma)) for gamma in path.gamma]
    limit = contraction_factor(DEFAULT_MULTIPLICITIES)
    falling = bool(np.all(np.diff(factors) < 0))
    found = within(
        measured=factors[-1], expected=limit, tolerance=1 / float(path.gamma[-1]),
        justification="(1 + gamma lambda_2)/(1 + gamma lambda_1) is off by (1/lambda_2 - 1/lambda_1)/gamma of itself",
        numbers={"falls at every recorded step": str(falling), "factor at step 10^6": factors[nearest(path, 1e6)]},
        plot=Plot([Curve("factor", path.steps[1:], factors[1:])], "step", "factor per loop", yscale="linear"),
    )  # fmt: skip
    return found if falling else Finding("fails", found.measured, found.expected, note="the factor rises somewhere")


@ledger.claim(
    "thm4.6.tight",
    "The bounds cannot be improved: in the plane tan(phi_k) equals the upper one, and for large k the sine falls by "
    "exactly the stated factor per loop.",
    place="Thm 4.6",
    provenance="reconstructed",
)
def tight(effort: Effort) -> Finding:
    worst = 0.0
    rng = effort.generator(7)
    for _ in range(effort.pick(100, 1_000)):
        values, q = np.array([1.0, rng.uniform(0.2, 0.99)]), normalize(rng.standard_normal(2))
        gamma = float(np.exp(rng.uniform(-3, 6)))
        sines = predicted_sines(values, q, loops=30, gamma=gamma)
        _, upper = sine_bounds(values, q, loops=30, gamma=gamma)
        worst = max(worst, float(abs(sines / np.sqrt(1 - sines**2) / upper - 1).max()))
    q = normalize(rng.standard_normal(16))
    sines = predicted_sines(DEFAULT_MULTIPLICITIES, q, loops=400, gamma=12.0)
    rate = float(sines[400] / sines[399])
    return within(
        measured=worst, expected=0.0, tolerance=1e-9, relative=False,
        justification="1 - sin^2 loses digits where the angle is near a right one: 1e-16 over cos^2",
        numbers={
            "factor at loop 400, d = 16": rate,
            "stated factor": contraction_factor(DEFAULT_MULTIPLICITIES, gamma=12.0),
        },
    )  # fmt: skip


@ledger.claim(
    "thm4.7.bounds",
    "The model trained end to end with L loops obeys the same bounds at test time with its own gamma_t, in and out of "
    "distribution.",
    place="Thm 4.7",
    provenance="reconstructed",
)
def bounds_end_to_end(effort: Effort) -> Finding:
    path = long_run(LOOPED, learning_rate=RATE, steps=LAST)
    rng, half, each = effort.generator(8), effort.pick(100, 500), effort.pick(40, 200)
    rows = {
        "Tasks 1 and 2": _in_distribution(rng, half),
        "out of distribution": _out_of_distribution(rng, each),
    }
    times, passed, numbers = [10, 1_000, 1e5, 1e12], 0, {}
    for name, some in rows.items():
        counts = [_within_bounds(some, rng, gamma=float(path.gamma[nearest(path, time)]))[0] for time in times]
        numbers[f"{name}: samples"], numbers[f"{name}: within both bounds, by time"] = len(some), counts
        passed += sum(counts)
    return every(
        passed, len(times) * sum(len(some) for some in rows.values()),
        justification=f"an inequality at each of {TEST_LOOPS} loops; 1e-12 for rounding",
        numbers={**{f"gamma at step {time:g}": float(path.gamma[nearest(path, time)]) for time in times}, **numbers},
    )  # fmt: skip


@ledger.claim(
    "thm4.2.slower",
    "Looped at test time the model without LN contracts strictly more slowly than the power method, for either target.",
    place="Thms 4.2 and 4.6",
    provenance="reconstructed",
)
def slower_without_ln(effort: Effort) -> Finding:
    size, passed, gaps = effort.pick(200, 2_000), 0, []
    for row in np.sort(effort.generator(4).gamma(0.5, size=(size, 16)), axis=1)[:, ::-1]:
        limit = contraction_factor(row)
        for target in ("normalized", "unnormalized"):
            gamma = float(LayerwiseLinear(row, target).optimum().value)
            gaps.append(contraction_factor(row, gamma=max(gamma, 0.0)) - limit)
        passed += gaps[-1] > 0 and gaps[-2] > 0
    return every(
        passed, size, justification="strict inequality; where gamma* <= 0 the loops contract not at all",
        numbers={"smallest difference of the factors": min(gaps), "median difference": float(np.median(gaps))},
    )  # fmt: skip


def _in_distribution(rng: np.random.Generator, half: int) -> np.ndarray:
    """Spectra of Task 1, d = 16, n = 32, and as many times that of Task 2; (2 half, 16)."""
    columns = rng.standard_normal((half, 16, 32))
    grams = columns / np.linalg.norm(columns, axis=1, keepdims=True)
    spheres = np.linalg.eigvalsh(grams @ grams.transpose(0, 2, 1))[:, ::-1].clip(0)
    planted = np.broadcast_to(np.array(DEFAULT_MULTIPLICITIES, dtype=np.float64), (half, 16))
    return np.concatenate([spheres, planted])


def _out_of_distribution(rng: np.random.Generator, each: int) -> np.ndarray:
    """Spectra of other X with unit columns: spiked, geometric, repeated, singular, halved; (5 each, 16)."""
    shapes = [
        np.r_[24.0, np.full(15, 40 / 15)], 32 * 0.3 * 0.7 ** np.arange(16) / (1 - 0.7**16),
        np.r_[10.0, 10.0, np.full(14, 12 / 14)], np.r_[20.0, 12.0, np.zeros(14)],
        np.r_[np.full(8, 3.0), np.full(8, 1.0)],
    ]  # fmt: skip
    rows = []
    for shape in shapes:
        samples = round(shape.sum())
        for _ in range(each):
            x = unit_columns_with_spectrum(rng, shape * samples / shape.sum(), samples=samples)
            rows.append(np.linalg.eigvalsh(x @ x.T)[::-1].clip(0))
    return np.stack(rows)


def _bounds(rows: np.ndarray, rng: np.random.Generator, *, gamma: float) -> Finding:
    passed, slack = _within_bounds(rows, rng, gamma=gamma)
    return every(
        passed, len(rows), justification="an inequality; 1e-12 for rounding",
        numbers={"loops": TEST_LOOPS, "gamma": gamma, "upper bound over sine at loop 10": slack},
    )  # fmt: skip


def _within_bounds(rows: np.ndarray, rng: np.random.Generator, *, gamma: float) -> tuple[int, float]:
    """How many samples keep to both bounds at every loop, by products, one query each; median slack at loop 10."""
    queries = normalize(rng.standard_normal(rows.shape))
    # in the eigenbasis PS is spanned by the first m axes: what is left is the perpendicular part
    outside = rows[:, :1] - rows >= 1e-9 * rows[:, :1]
    state, found = queries, []
    for _ in range(TEST_LOOPS + 1):
        found.append(np.linalg.norm(np.where(outside, state, 0.0), axis=1))
        state = normalize(state + gamma * rows * state)
    sines = np.array(found).T
    passed, slack = 0, []
    for values, q, sine in zip(rows, queries, sines, strict=True):
        low, high = sine_bounds(values, q, loops=TEST_LOOPS, gamma=gamma)
        rounding = 1e-12 + 1e-15 / np.maximum(sine, 1e-300)
        passed += bool(np.all(low <= sine * (1 + rounding)) and np.all(sine <= high * (1 + rounding)))
        slack.append(float(high[10] / max(sine[10], 1e-300)))
    return passed, float(np.median(slack))
