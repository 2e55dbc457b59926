"""Steering in simulated layers, as claims of eigenloop's own: `eigenloop verify --only steer`
(NumPy).

The abstract of arXiv 2605.25619 says that the analogy with the power method "suggests a method to
steer the output of the transformer towards an arbitrary desired direction"; the method itself is
not in what we have of that paper.

One layer, shared, under full attention with normalised tokens. With P = I - u u^T, F' = P F P +
kappa u mu^T keeps the complement of u to itself, y <- (I + P F P) y, and drives the coordinate
along u:

    u . x <- (1 + kappa mu . u) u . x + kappa mu . y

mu = u gives the threshold kappa* = max |1 + eig(P F P)| - 1 over the complement. Source: worked out
here.
"""

from dataclasses import replace

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Ledger, Plot, every, within, within_sigmas
from eigenloop.lens.cases.dynamics import Layer, Unit, simulate
from eigenloop.lens.cases.generators import growth_spectrum, with_spectrum
from eigenloop.numerics.power import normalize
from eigenloop.numerics.statistics import standard_error

ledger = Ledger("arXiv 2605.25619")

DIM, TOKENS = 32, 8


def complement(
    rng: np.random.Generator, u: np.ndarray, *, leader: float, rest: float = 0.7
) -> np.ndarray:
    """P F P with growth factors of largest modulus `leader`, the next at 0.9 of it, on the
    complement of u.
    """
    inner = with_spectrum(
        rng, growth_spectrum(DIM - 1, gap=0.9, leader=leader, rest=rest), condition=3.0
    )
    basis = np.linalg.svd(u[None])[2][1:].T
    return basis @ inner @ basis.T


def threshold(matrix: np.ndarray, u: np.ndarray) -> float:
    """kappa* = max |1 + eig(P F P on the complement of u)| - 1."""
    basis = np.linalg.svd(u[None])[2][1:].T
    return float(np.max(np.abs(1 + np.linalg.eigvals(basis.T @ matrix @ basis))) - 1)


def cosines(matrix: np.ndarray, start: np.ndarray, u: np.ndarray, *, loops: int) -> np.ndarray:
    """The signed cosine of the mean token with u, loop by loop."""
    run = simulate(Layer(heads=matrix[None], norm=Unit()), start, loops=loops)
    return normalize(run.means) @ u


def tokens(rng: np.random.Generator) -> np.ndarray:
    """One Gaussian token, repeated: the mean is closed then."""
    return np.repeat(rng.standard_normal((1, DIM)), TOKENS, axis=0)


@ledger.claim(
    "steer.symmetric.threshold",
    "With shared weights and full attention, tokens turn to u under P F P + kappa u u^T exactly"
    " where kappa is above kappa* = max |1 + eig(P F P)| - 1.",
    place="steering",
    provenance="ours",
)
def symmetric_threshold(effort: Effort) -> Finding:
    rng, passed, size, curves = effort.generator(0), 0, effort.pick(6, 40), []
    for index in range(size):
        u, leader = normalize(rng.standard_normal(DIM)), float(rng.uniform(1.2, 2.5))
        matrix = complement(rng, u, leader=leader)
        start, edge = tokens(rng), threshold(matrix, u)
        ends = []
        for factor in (0.96, 1.04):
            kappa = factor * (1 + edge) - 1
            found = np.abs(cosines(matrix + kappa * np.outer(u, u), start, u, loops=900))
            ends.append(found[-1])
            if index == 0:
                curves.append(Curve(f"(1 + kappa)/(1 + kappa*) = {factor}", range(901), found))
        passed += bool(ends[0] < 1e-6 and ends[1] > 1 - 1e-6)
    return every(
        passed,
        size,
        justification=(
            "0.96^900 and 1.04^-900 are below 1e-15, times conditions of 10 and 1/|u . x|"
        ),
        plot=Plot(
            curves, "loop", "|cos| of the mean token with u", xscale="linear", yscale="linear"
        ),
    )


@ledger.claim(
    "steer.symmetric.steps",
    "Above the threshold u overtakes an even complement after log tan(phi_0) / log((1 + kappa)/(1 +"
    " kappa*)) loops, phi_0 the angle to u at the start: about log d / (2 log((1 + kappa)/(1 +"
    " kappa*))) without preference.",
    place="steering",
    provenance="ours",
)
def symmetric_steps(effort: Effort) -> Finding:
    rng, worst, numbers, curves, edge = effort.generator(1), 0.0, {}, [], 1.5
    for ratio in (1.1, 1.2, 1.4):
        found = []
        for _ in range(effort.pick(40, 300)):
            u, start = normalize(rng.standard_normal(DIM)), tokens(rng)
            basis = np.linalg.svd(u[None])[2][1:].T
            matrix = (edge - 1) * basis @ basis.T + (ratio * edge - 1) * np.outer(u, u)
            first = abs(normalize(start.mean(0)) @ u)
            exact = np.log(np.sqrt(1 - first**2) / first) / np.log(ratio)
            if exact <= 1:
                continue
            cos = np.abs(cosines(matrix, start, u, loops=int(exact) + 2))
            logs = np.log(np.sqrt(1 - cos**2) / cos)
            k = int(np.argmax(logs < 0))
            found.append(k - 1 + logs[k - 1] / (logs[k - 1] - logs[k]))
            worst = max(worst, abs(found[-1] - exact))
        law = np.log(DIM) / (2 * np.log(ratio))
        numbers[f"median loops over log d / (2 log {ratio})"] = float(np.median(found) / law)
        curves.append(Curve(f"ratio {ratio}", np.sort(found), np.linspace(0, 1, len(found))))
    return within(
        measured=worst,
        expected=0.0,
        tolerance=1e-9,
        relative=False,
        numbers=numbers,
        justification=(
            "the tangent falls by the ratio in every loop; loops up to 100 round by 1e-13 in the"
            " sine"
        ),
        plot=Plot(
            curves, "loops until u overtakes", "share of starts", xscale="linear", yscale="linear"
        ),
    )


@ledger.claim(
    "steer.symmetric.sign",
    "P F P + kappa u u^T above the threshold takes tokens to +u or -u with the sign that u . x has"
    " at the start: half of random tokens go the wrong way.",
    place="steering",
    provenance="ours",
)
def symmetric_sign(effort: Effort) -> Finding:
    rng, same, up, size = effort.generator(2), 0, 0, effort.pick(60, 400)
    for _ in range(size):
        u = normalize(rng.standard_normal(DIM))
        matrix, start = complement(rng, u, leader=1.5), tokens(rng)
        final = cosines(matrix + 1.0 * np.outer(u, u), start, u, loops=200)[-1]
        up += int(final > 0)
        same += int(np.sign(final) == np.sign(start.mean(0) @ u))
    half = abs(up / size - 0.5) < 5 * 0.5 / np.sqrt(size)
    return every(
        same if half else 0,
        size,
        numbers={"share that goes to +u (1/2 within 5 standard errors)": up / size},
        justification="the coordinate u . x is multiplied by 1 + kappa > 0 in every loop",
    )


@ledger.claim(
    "steer.signed.threshold",
    "Under P F P + kappa u mu^T with mu . u > 0 the threshold is kappa*/(mu . u), and above it"
    " tokens go to +u where l . x > 0, l the left vector of the eigenvalue kappa mu . u, and to -u"
    " otherwise.",
    place="steering",
    provenance="ours",
)
def signed_threshold(effort: Effort) -> Finding:
    rng, passed, size, positive, curves = effort.generator(3), 0, effort.pick(12, 80), 0, []
    for index in range(size):
        u = normalize(rng.standard_normal(DIM))
        matrix, start = complement(rng, u, leader=float(rng.uniform(1.2, 2.0))), tokens(rng)
        mu = normalize(u + 0.8 * normalize(rng.standard_normal(DIM)))
        edge, ends = threshold(matrix, u), []
        for factor in (0.96, 1.04):
            kappa = (factor * (1 + edge) - 1) / (mu @ u)
            found = cosines(matrix + kappa * np.outer(u, mu), start, u, loops=900)
            ends.append(found)
            if index < 2 and factor > 1:
                curves.append(Curve(f"start {index + 1}, above", range(901), found))
        mode = kappa * (mu @ u)
        rest = np.linalg.solve((mode * np.eye(DIM) - matrix).T, kappa * mu)
        left = u + rest - (rest @ u) * u
        x = start.mean(0)
        sign = np.sign(left @ x)
        positive += int(sign > 0)
        below = abs(ends[0][-1]) < 1 - 1e-3
        passed += bool(below and sign * ends[1][-1] > 1 - 1e-6)
    return every(
        passed,
        size,
        justification="1.04^-900 is below 1e-15; below the threshold the complement leads",
        numbers={"starts that go to +u": float(positive / size)},
        plot=Plot(
            curves, "loop", "signed cos of the mean token with u", xscale="linear", yscale="linear"
        ),
    )


@ledger.claim(
    "steer.signed.tilt",
    "With mu . u = 0 the signed edit has no threshold: the tangent of the tilt towards u is kappa"
    " mu . v_1 / lambda_1, proportional to kappa, with the sign of mu . x for a leader lambda_1"
    " > 0.",
    place="steering",
    provenance="ours",
)
def signed_tilt(effort: Effort) -> Finding:
    rng, worst, curves, wrong = effort.generator(4), 0.0, [], 0
    for index in range(effort.pick(6, 40)):
        u = normalize(rng.standard_normal(DIM))
        matrix, start = complement(rng, u, leader=1.8), tokens(rng)
        values, vectors = np.linalg.eig(matrix)
        best = int(np.argmax(np.abs(1 + values)))
        value, v = values[best].real, normalize(np.real(vectors[:, best]))
        mu = normalize(v + 0.5 * (rng.standard_normal(DIM) / np.sqrt(DIM)))
        mu = normalize(mu - (mu @ u) * u)
        kappas, tangents = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6]), []
        for kappa in kappas:
            final = simulate(
                Layer(heads=(matrix + kappa * np.outer(u, mu))[None], norm=Unit()), start, loops=400
            ).means[-1]
            tangents.append((final @ u) / np.linalg.norm(final - (final @ u) * u))
            wrong += int(np.sign(final @ u) != np.sign(mu @ final))
        expected = kappas * abs(mu @ v) / value
        worst = max(worst, float(np.max(np.abs(np.abs(tangents) / expected - 1))))
        if index == 0:
            curves = [
                Curve("measured", kappas, np.abs(tangents), points=True),
                Curve("predicted", kappas, expected),
            ]
    return within(
        measured=worst + wrong,
        expected=0.0,
        tolerance=1e-6,
        relative=False,
        justification="0.9^400 is below 1e-18, times conditions of 10^2; no sign may be wrong",
        plot=Plot(curves, "kappa", "tangent of the tilt"),
    )


@ledger.claim(
    "steer.unshared.threshold",
    "Where every layer has weights of its own, u takes over under kappa u u^T in all of them"
    " exactly where 1 + kappa is above the growth rate of their product on the complement, exp(E"
    " log ||(I + P F P) z||) for isotropic eigenbases: far below the largest growth factor of any"
    " one layer, which would decide with shared weights.",
    place="steering",
    provenance="ours",
)
def unshared_threshold(effort: Effort) -> Finding:
    rng, depth, size, edge = effort.generator(5), 200, effort.pick(4, 20), 2.0
    axis, grown = np.eye(DIM)[0], []
    for z in rng.standard_normal((effort.pick(1_000, 5_000), DIM)) * (1 - axis):
        z = normalize(z)
        grown.append(
            float(np.log(np.linalg.norm(z + complement(rng, axis, leader=edge, rest=0.99) @ z)))
        )
    rate, measured, passed, curves = float(np.exp(np.mean(grown))), [], 0, []
    for _ in range(size):
        u, start = normalize(rng.standard_normal(DIM)), tokens(rng)
        stack, cosine = [complement(rng, u, leader=edge, rest=0.99) for _ in range(depth)], {}
        for factor in (0.9, 1.1):
            added = (factor * rate - 1) * np.outer(u, u)
            run = simulate(
                [Layer(heads=(matrix + added)[None], norm=Unit()) for matrix in stack], start
            )
            cosine[factor] = np.abs(normalize(run.means) @ u)
        passed += bool(cosine[0.9][-1] < 1e-3 and cosine[1.1][-1] > 1 - 1e-3)
        # tangents grow by rate/(1 + kappa)
        first, last = np.sqrt(1 - cosine[0.9][[0, -1]] ** 2) / cosine[0.9][[0, -1]]
        measured.append(np.log(0.9 * rate) + np.log(last / first) / depth)
        curves = curves or [
            Curve(f"(1 + kappa)/rate = {name}", range(depth + 1), y) for name, y in cosine.items()
        ]
    error = float(np.hypot(standard_error(measured), standard_error(grown)))
    found = within_sigmas(
        measured=float(np.mean(measured)),
        expected=float(np.log(rate)),
        standard_error=error,
        numbers={
            "threshold of kappa": rate - 1,
            "kappa* with shared weights": edge - 1,
            "stacks where u takes over 10 % above it and not 10 % below": f"{passed} of {size}",
        },
        plot=Plot(curves, "layer", "|cos| of the mean token with u", "linear", "linear"),
    )
    good = passed == size and np.log(rate) + 5 * error < np.log(edge)
    return found if good else replace(found, kind="fails", note="u does not take over there")


@ledger.claim(
    "steer.attention.odd",
    "Attention without biases is odd, o(-X) = -o(X), whatever its matrices; so no edit of them"
    " pushes tokens that are as likely as their negatives one way on average.",
    place="steering",
    provenance="ours",
)
def attention_odd(effort: Effort) -> Finding:
    rng, worst = effort.generator(6), 0.0
    for _ in range(effort.pick(10, 100)):
        heads, scores = rng.standard_normal((2, 3, DIM, DIM)) / DIM**0.5
        layer = Layer(heads=heads, scores=scores / DIM, causal=bool(rng.integers(2)))
        x = rng.standard_normal((TOKENS, DIM))
        up, down = layer.attend(x), layer.attend(-x)
        worst = max(worst, float(np.linalg.norm(up + down) / np.linalg.norm(up)))
    return within(
        measured=worst,
        expected=0.0,
        tolerance=1e-14,
        relative=False,
        justification="scores are even in X and values odd; only the order of sums may differ",
    )
