"""Appendix A: the looped transformer with LN, end to end (Lemmas A.1 to A.5)."""

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Plot, every, within, within_sigmas
from eigenloop.numerics.power import normalize, predicted_sines
from eigenloop.numerics.spectrum import top_multiplicity
from eigenloop.numerics.statistics import fit_power_law, standard_error
from eigenloop.theory.bounds import slope_bound
from eigenloop.theory.claims.lemmas import oracle
from eigenloop.theory.claims.lemmas.book import (
    LOOPS,
    TASK2,
    ledger,
    random_spectra,
    unit_columns,
    unit_vectors,
)
from eigenloop.theory.population import EndToEnd

ROUNDING = 1e-12
"""A few thousand operations in float64 at 2e-16 each, on numbers of order one."""


def draw_samples(rng: np.random.Generator, *, dim: int, samples: int, count: int) -> oracle.Sampled:
    """Task 1: independent (X, q)."""
    columns = np.stack([unit_columns(rng, dim=dim, samples=samples) for _ in range(count)])
    return oracle.Sampled(columns, unit_vectors(rng, dim=dim, count=count))


def coordinates(samples: oracle.Sampled) -> tuple[np.ndarray, np.ndarray]:
    """(lambda_i descending, c_i = u_i . q) of every sample, (b, d) each."""
    values, vectors = np.linalg.eigh(samples.columns @ samples.columns.mT)
    return values[:, ::-1], np.einsum("bdi,bd->bi", vectors, samples.query)[:, ::-1]


def scalar_loops(samples: oracle.Sampled, *, gamma: float, loops: int) -> np.ndarray:
    """N((I + gamma S)^L q), (b, d)."""
    gram = samples.columns @ samples.columns.mT
    power = np.linalg.matrix_power(np.eye(gram.shape[-1]) + gamma * gram, loops)
    return normalize(np.einsum("bij,bj->bi", power, samples.query))


@ledger.claim(
    "lemA.1",
    "With V_21 = aI, W_12 = bI, zeros elsewhere, the model returns N((I + ab S)^L q), with the loss"
    " of Eq. (D.1).",
    place="Lemma A.1",
    provenance="reconstructed",
)
def forward_reduction(effort: Effort) -> Finding:
    """The full model, layer by layer, against the matrix power; its losses against sines from
    the spectrum.
    """
    rng = effort.generator()
    samples = draw_samples(rng, dim=4, samples=7, count=effort.pick(64, 512))
    values, c = coordinates(samples)
    worst, worst_loss = 0.0, 0.0
    for a, b in ((1.0, 0.3), (0.7, 2.0), (3.0, 5.0)):
        weights = oracle.scalar_weights(4, a, b)
        for loops in (1, 2, 5):
            found = oracle.outputs(*weights, samples, loops=loops, norm=True)
            worst = max(worst, abs(found - scalar_loops(samples, gamma=a * b, loops=loops)).max())
        full = oracle.losses(*weights, samples, loss="end to end", loops=5, norm=True)
        sines = [
            predicted_sines(v, q, loops=5, gamma=a * b)[-1] for v, q in zip(values, c, strict=True)
        ]
        worst_loss = max(worst_loss, abs(full - np.square(sines)).max())
    return within(
        measured=float(max(worst, worst_loss)),
        expected=0.0,
        tolerance=ROUNDING,
        relative=False,
        justification="both sides are the same arithmetic in another order",
        numbers={
            "largest difference of outputs": worst,
            "largest difference of losses": worst_loss,
            "samples": len(c),
        },
    )


@ledger.claim(
    "lemA.2",
    "At A = aI, B = bI the six inactive blocks have zero gradient, on each sample.",
    place="Lemma A.2",
    provenance="stated",
    quote=(
        '"the sample directional derivative of [..] is zero for every inactive perturbation" (Lemma'
        " A.2, proof)"
    ),
)
def inactive_blocks(effort: Effort) -> Finding:
    """Every sample's gradient of the full model."""
    samples = draw_samples(effort.generator(), dim=4, samples=6, count=effort.pick(64, 1024))
    worst, smallest = 0.0, np.inf
    for a, b, loops in ((1.0, 0.0, 3), (1.3, 0.8, 3)):
        found = oracle.gradients(
            *oracle.scalar_weights(4, a, b),
            samples,
            loss="end to end",
            loops=loops,
            norm=True,
            each=True,
        )
        worst = max(worst, float(abs(found.inactive).max()))
        smallest = min(smallest, float(np.median(abs(found.active[1]).max((1, 2)))))
    return within(
        measured=worst,
        expected=0.0,
        tolerance=ROUNDING * smallest,
        relative=False,
        justification=(
            "rounding, relative to the active blocks' gradients; sums of exact zeros are zero"
        ),
        numbers={"median of the active gradients": smallest, "samples": len(samples.query)},
    )


@ledger.claim(
    "lemA.3",
    "At A = aI, B = bI the population gradients of A and B are (b f'(gamma)/d) I and (a"
    " f'(gamma)/d) I.",
    place="Lemma A.3",
    provenance="reconstructed",
)
def active_gradients(effort: Effort) -> Finding:
    """Full-model autodiff on the exact population of d = 2 against the one-dimensional integral
    for f'.
    """
    worst, numbers = 0.0, {}
    for multiplicities in ((2, 1), (3, 1))[: effort.pick(1, 2)]:
        # the integrand's nearest pole lies (mu_2/mu_1)^L off the real axis: 0.0145 at worst here
        population = oracle.circle(multiplicities, queries=effort.pick(128, 2048))
        for a, b, loops in ((1.0, 0.0, 3), (1.2, 0.9, 3), (0.8, 2.5, 5))[: effort.pick(2, 3)]:
            weights = oracle.scalar_weights(2, a, b)
            found = oracle.gradients(
                *weights, population, loss="end to end", loops=loops, norm=True
            )
            slope = float(EndToEnd([float(m) for m in multiplicities], loops).slope(a * b).value)
            for block, factor in zip(found.active, (b, a), strict=True):
                worst = max(
                    worst, float(abs(block - factor * slope / 2 * np.eye(2)).max() / abs(slope))
                )
            numbers[f"f' at lambda = {multiplicities}, a = {a:g}, b = {b:g}, L = {loops}"] = slope
    return within(
        measured=worst,
        expected=0.0,
        tolerance=1e-10,
        relative=False,
        justification=(
            "the quadratures over two angles and over t are exact to rounding; relative to f'"
        ),
        numbers=numbers,
    )


@ledger.claim(
    "lemA.4.sign",
    "f'(gamma) < 0 at every gamma >= 0; indeed every single sample's loss falls, almost surely.",
    place="Lemma A.4",
    provenance="reconstructed",
)
def slope_is_negative(effort: Effort) -> Finding:
    """Autodiff of single samples in the full model, and f' of random spectra."""
    rng = effort.generator()
    gammas = np.concatenate([[0.0], np.logspace(-2, 2, 9)])
    samples = draw_samples(rng, dim=4, samples=6, count=effort.pick(200, 3000))
    single = oracle.gamma_slopes(samples, gammas, loss="end to end", loops=3)
    slopes = []
    for dim in (2, 5, 16):
        rows, _ = random_spectra(rng, dim=dim, count=effort.pick(10, 40), full_rank=False)
        slopes += [EndToEnd(rows, LOOPS).slope(gamma).value for gamma in (0.0, 1e-2, 1.0, 1e2, 1e6)]
    population = np.concatenate(slopes)
    return every(
        int((single < 0).sum() + (population < 0).sum()),
        single.size + population.size,
        justification="a strict inequality has no tolerance",
        numbers={
            "single samples": single.size,
            "spectra and gammas": population.size,
            "largest f' found": float(max(single.max(), population.max())),
        },
    )


@ledger.claim(
    "lemA.4.bound",
    "gamma^2 |d loss/d gamma| of a sample stays, at every gamma, below a multiple of 1/lambda_d.",
    place="Lemma A.4",
    provenance="reconstructed",
)
def slope_is_bounded(effort: Effort) -> Finding:
    """Autodiff of single samples in the full model; the multiple is L/2."""
    loops, gammas = 3, np.logspace(-1, 4, effort.pick(6, 11))
    samples = draw_samples(effort.generator(), dim=3, samples=6, count=effort.pick(300, 3000))
    values = coordinates(samples)[0]
    scaled = gammas[:, None] ** 2 * abs(
        oracle.gamma_slopes(samples, gammas, loss="end to end", loops=loops)
    )
    ratios = scaled / (loops / 2 / values[:, -1])
    return every(
        int((ratios <= 1).sum()),
        ratios.size,
        justification="an inequality has no tolerance",
        numbers={"largest ratio to (L/2)/lambda_d": float(ratios.max())},
    )


@ledger.claim(
    "lemA.4.bound.constant",
    "The best such bound is (L/2)(1/lambda_d - 1/lambda_1): no sample passes it, and two"
    " eigenvalues attain it.",
    place="beside Lemma A.4",
    provenance="ours",
)
def best_bound(effort: Effort) -> Finding:
    """Autodiff of single samples against the bound, one of which comes as near as 1/gamma."""
    loops, gammas = 3, np.logspace(-1, 4, effort.pick(6, 11))
    samples = draw_samples(effort.generator(), dim=3, samples=6, count=effort.pick(300, 3000))
    # sharp as gamma -> infinity where q has c_2 = 0 and c_1^2 = c_3^2 (lambda_3/lambda_1)^{2L}
    query = np.array([3.0**-loops, 0.0, 1.0])
    samples = oracle.Sampled(
        np.concatenate([samples.columns, np.repeat(np.eye(3), (3, 2, 1), axis=1)[None]]),
        np.concatenate([samples.query, query[None] / np.linalg.norm(query)]),
    )
    bounds = slope_bound(coordinates(samples)[0], loops=loops)
    ratios = (
        gammas[:, None] ** 2
        * abs(oracle.gamma_slopes(samples, gammas, loss="end to end", loops=loops))
        / bounds
    )
    sharp = float(ratios[-1, -1])
    return every(
        int((ratios <= 1).sum()) + int(sharp > 0.999),
        ratios.size + 1,
        justification=(
            "an inequality has no tolerance; sharp up to 1/gamma where q lies in span(u_1, u_d),"
            " gamma = 1e4"
        ),
        numbers={
            "largest ratio to the bound": float(ratios[:, :-1].max()),
            "ratio where it is sharp": sharp,
        },
    )


@ledger.claim(
    "lemA.4.limit",
    "gamma^2 f'(gamma) -> -Upsilon_1 as gamma -> infinity.",
    place="Lemma A.4",
    provenance="reconstructed",
)
def slope_limit(effort: Effort) -> Finding:
    """f' from its own integral at growing gamma, against the integral for Upsilon_1."""
    gammas, scaled, limit = _scaled_slopes(effort)
    return within(
        measured=float(scaled[-1]),
        expected=limit,
        tolerance=2 * (LOOPS + 1) / (gammas[-1] * TASK2[-1]),
        justification=(
            "each r_i^{2L} and each 1/(1 + gamma lambda_i) is off by at most 1/(gamma lambda_d), 2L"
            " + 2 of them"
        ),
        numbers={"gamma": float(gammas[-1])},
        plot=Plot(
            [
                Curve("|-gamma^2 f'/Y1 - 1|", gammas, abs(scaled / limit - 1), points=True),
                Curve("1/gamma", gammas, 1 / gammas),
            ],
            "gamma",
            "relative distance from Upsilon_1",
        ),
    )


@ledger.claim(
    "lemA.4.limit.order",
    "gamma^2 f'(gamma) is off its limit by the order of 1/gamma.",
    place="beside Lemma A.4",
    provenance="ours",
)
def slope_order(effort: Effort) -> Finding:
    """The exponent of the distance from the limit."""
    gammas, scaled, limit = _scaled_slopes(effort)
    late = (gammas >= 1e3) & (gammas <= 1e6)
    order = fit_power_law(gammas[late], abs(scaled[late] / limit - 1)).exponent
    return within(
        measured=order,
        expected=-1.0,
        tolerance=0.02,
        justification=(
            "the next order at gamma = 10^3, (2L + 2)/(gamma lambda_d) = 0.022 of the first at most"
        ),
    )


def _scaled_slopes(effort: Effort) -> tuple[np.ndarray, np.ndarray, float]:
    """gamma, -gamma^2 f'(gamma) and Upsilon_1 on Task 2."""
    setting, gammas = EndToEnd(TASK2, LOOPS), np.logspace(1, 8, effort.pick(15, 29))
    scaled = np.array([-(gamma**2) * float(setting.slope(float(gamma)).value) for gamma in gammas])
    return gammas, scaled, float(setting.upsilon1().value)


@ledger.claim(
    "lemA.4.constant",
    "Upsilon_1 is the mean over q of 2L P R/(P + W)^2, positive and finite (P, W, R sums of c_i^2"
    " over the spectrum).",
    place="Lemma A.4",
    provenance="reconstructed",
)
def upsilon1_sampled(effort: Effort) -> Finding:
    """A plain mean over sampled q, bounded by (L/2)(1/lambda_d - 1/lambda_1), against the
    integral.
    """
    values = np.array(TASK2)
    m, rho = top_multiplicity(values), values / values[0]
    squares = (
        unit_vectors(effort.generator(), dim=values.size, count=effort.pick(100_000, 1_000_000))
        ** 2
    )
    rest = squares[:, m:] @ (rho[m:] ** (2 * LOOPS - 1) * (1 - rho[m:]) / values[0])
    whole = squares @ rho ** (2 * LOOPS)
    sampled = 2 * LOOPS * squares[:, :m].sum(1) * rest / whole**2
    return within_sigmas(
        measured=float(sampled.mean()),
        expected=float(EndToEnd(TASK2, LOOPS).upsilon1().value),
        standard_error=float(standard_error(sampled)),
        sigmas=6,
        numbers={
            "samples": len(sampled),
            "largest sample": float(sampled.max()),
            "its bound": float(slope_bound(values[None], loops=LOOPS)[0]),
        },
    )
