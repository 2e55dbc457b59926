"""Cases of the power method in attention layers that have a theory, as claims:
`eigenloop verify --only case`.

The analogy is that of arXiv 2605.25619. Of that paper we have the abstract and a summary, so that
claims are eigenloop's own but for the few whose words stand there. mu_i = 1 + lambda_i are the
factors of a loop, in order of falling modulus. Full attention, symmetric F and shared weights are
here; complex pairs are in `complex_pairs`; normalisations, causal attention, full layers and layers
that differ in `layers`.
"""

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Plot, every, within
from eigenloop.lens.cases.common import (
    DIM,
    EPS,
    FITTED,
    GAPS,
    RATE,
    TOKENS,
    eigenvector,
    general,
    ledger,
    loops_for,
    settled,
    shown,
    together,
    tokens,
    worst_of,
)
from eigenloop.lens.cases.dynamics import Layer, Unit, simulate
from eigenloop.lens.cases.generators import growth_spectrum, plain_norm, split, with_spectrum
from eigenloop.numerics.power import normalize, predicted_sines, sin_angle, sine_bounds
from eigenloop.numerics.spectrum import random_orthogonal
from eigenloop.numerics.statistics import fit_power_law


@ledger.claim(
    "case.uniform.exact",
    "Under full (uniform) attention without normalisation the mean token evolves by I + F and every"
    " deviation from it by I, for any F.",
    place="full attention",
    provenance="ours",
)
def uniform_exact(effort: Effort) -> Finding:
    rng, loops = effort.generator(0), 40
    errors = np.zeros(loops + 1)
    for heads in (1, 3):
        for _ in range(effort.pick(5, 50)):
            layer = Layer(heads=general(rng, gap=0.9, heads=heads))
            run = simulate(layer, tokens(rng), loops=loops)
            mean, deviations = run.means[0], run.states[0] - run.means[0]
            for loop, state in enumerate(run.states):
                error = np.linalg.norm(state - mean - deviations) / np.linalg.norm(state)
                errors[loop], mean = max(errors[loop], error), mean + layer.matrix @ mean
    return within(
        measured=float(errors.max()),
        expected=0.0,
        tolerance=100 * loops * DIM * EPS,
        relative=False,
        justification="each loop rounds by d eps of a state whose condition is up to 10^2",
        plot=Plot(
            [Curve("largest error", range(1, loops + 1), errors[1:])], "loop", "error over ||X||"
        ),
    )


@ledger.claim(
    "case.uniform.rate",
    "Under full attention the mean token converges to the eigenvector of argmax |1 + lambda|, by"
    " |mu_2 / mu_1| in each loop: positive and negative leaders, normal F or not.",
    place="full attention",
    provenance="ours",
)
def uniform_rate(effort: Effort) -> Finding:
    rng, errors, numbers, curves = effort.generator(1), [], {}, []
    for gap in GAPS:
        found = []
        for angle in (0.0, np.pi):
            for _ in range(effort.pick(1, 6)):
                layer = Layer(heads=general(rng, gap=gap, angle=angle))
                run = simulate(layer, tokens(rng), loops=loops_for(gap))
                found.append(run.alignment.value)
                if len(found) == 1:
                    curves.append(shown(f"gap {gap:g}", run.sines))
        errors += [value / gap - 1 for value in found]
        numbers[f"fitted, gap {gap:g}"] = float(np.mean(found))
    return worst_of(
        errors,
        tolerance=1e-3,
        justification="(mu_3/mu_2)^k < 1e-5 in the second half of the loops from 1e-4 to 1e-11",
        numbers=numbers,
        plot=Plot(curves, "loop", "sine to v_1", xscale="linear"),
    )


@ledger.claim(
    "case.uniform.normalized",
    "With every token normalised the mean token goes by N((I + F) xbar) up to the square of the"
    " tokens' spread: exactly in consensus, and not otherwise.",
    place="full attention, L2 normalisation",
    provenance="ours",
)
def uniform_normalized(effort: Effort) -> Finding:
    rng, sizes = effort.generator(2), 0.5 ** np.arange(1, 11)
    layer = Layer(heads=general(rng, gap=0.9), norm=Unit())
    errors = np.zeros((effort.pick(20, 200), sizes.size))
    for row in errors:
        mean, spread = normalize(rng.standard_normal(DIM)), tokens(rng)
        for k, size in enumerate(sizes):
            start = normalize(mean + size * (spread - spread.mean(0)) / np.sqrt(DIM))
            run = simulate(layer, start, loops=1)
            target = normalize(run.means[0] + layer.matrix @ run.means[0])
            row[k] = sin_angle(run.means[1], target[:, None])
    typical = np.median(errors, axis=0)
    order = fit_power_law(sizes[4:], typical[4:]).exponent
    return within(
        measured=order,
        expected=2.0,
        tolerance=0.05,
        relative=False,
        justification=(
            "sum_i (y . d_i) d_i is quadratic in the deviations d_i, the next term cubic: 1/2 of it"
            " per halving, below 5 % of the slope for deviations under 2^-4"
        ),
        numbers={
            "sine between the two, spread 1/2": float(typical[0]),
            "spread 2^-10": float(typical[-1]),
        },
        plot=Plot(
            [Curve("sine to N((I+F) mean)", sizes, typical)], "size of the deviations", "sine"
        ),
    )


@ledger.claim(
    "case.left.exact",
    "For F that is not normal the left coordinates w_i^H xbar grow by 1 + lambda_i exactly in every"
    " loop; projections on the right eigenvectors do not.",
    place="full attention",
    provenance="ours",
)
def left_exact(effort: Effort) -> Finding:
    rng, worst, right_error, curves = effort.generator(12), 0.0, [], []
    for _ in range(effort.pick(20, 200)):
        matrix = with_spectrum(rng, growth_spectrum(DIM, gap=0.9, angle=1.0), condition=30.0)
        values, right = np.linalg.eig(matrix)
        run = simulate(Layer(heads=matrix[None]), tokens(rng), loops=1)
        for side, vectors in (("left", np.linalg.inv(right).T), ("right", right.conj())):
            before, after = run.means @ vectors
            error = (
                abs(after - (1 + values) * before)
                / np.linalg.norm(vectors, axis=0)
                / np.linalg.norm(run.means[0])
            )
            if side == "left":
                worst = max(worst, float(error.max()))
            else:
                right_error.append(float(np.median(error)))
            if len(curves) < 2:
                curves.append(
                    Curve(f"{side} coordinates", abs(1 + values), abs(after / before), points=True)
                )
    return within(
        measured=worst,
        expected=0.0,
        tolerance=1e3 * DIM * EPS,
        relative=False,
        justification=(
            "eigenvectors are computed to eps times the condition of their matrix, some 10^3"
        ),
        numbers={"the same for right eigenvectors, median": float(np.median(right_error))},
        plot=Plot(curves, "|1 + lambda|", "growth of the coordinate"),
    )


@ledger.claim(
    "case.residual.leader",
    "The residual connection makes argmax |1 + lambda| lead, not argmax |lambda|; without it argmax"
    " |lambda| does.",
    place="the residual connection",
    provenance="ours",
)
def residual_leader(effort: Effort) -> Finding:
    rng, passed, size, differ, curves = effort.generator(10), 0, effort.pick(6, 40), 0, []
    for _ in range(size):
        values, start = np.r_[-1.4, 0.8, rng.uniform(-0.9, 0.4, DIM - 2)], tokens(rng)
        matrix = with_spectrum(rng, values, condition=10.0)
        for value, residual in ((-1.4, False), (0.8, True)):
            run = simulate(
                Layer(heads=matrix[None], norm=Unit(), residual=residual), start, loops=150
            )
            sines = run.sines_to(eigenvector(matrix, value)[:, None])
            passed += bool(sines[-1] < 1e-9)
            if len(curves) < 2:
                curves.append(shown("with the residual" if residual else "without", sines))
    for _ in range(200):
        values = np.linalg.eigvals(rng.standard_normal((DIM, DIM)) / np.sqrt(DIM))
        values = values[values.imag >= 0]
        differ += int(np.argmax(abs(1 + values)) != np.argmax(abs(values)))
    return every(
        passed,
        2 * size,
        justification=(
            "gaps 0.9/1.4 and 1.4/1.8 to the power 150 are below 1e-16, times conditions of 10^2"
        ),
        numbers={"share of Gaussian F, d = 16, whose leaders differ": differ / 200},
        plot=Plot(curves, "loop", "sine to the leader", xscale="linear"),
    )


@ledger.claim(
    "case.consensus.first",
    "With shared weights and |mu_1| > 1 the spread of normalised tokens falls by 1/|mu_1| a loop"
    " and the sine to the leader by |mu_2/mu_1|, so that consensus comes before alignment exactly"
    " where |mu_2| > 1; with |mu_1| < 1 it never comes.",
    place="shared weights",
    provenance="ours",
)
def consensus_first(effort: Effort) -> Finding:
    rng, passed, of, first, errors, numbers, curves = effort.generator(3), 0, 0, 0, [], {}, []
    for leader, gap in ((1.6, 0.9), (1.6, 0.5), (0.8, 0.9)):
        for index in range(effort.pick(2, 10)):
            scores = rng.standard_normal((1, DIM, DIM)) / DIM if index % 2 else None
            layer = Layer(heads=general(rng, gap=gap, leader=leader), scores=scores, norm=Unit())
            run = simulate(layer, tokens(rng), loops=loops_for(gap))
            of += 1
            if leader < 1:
                passed += run.spread[-1] > 0.1
                continue
            spread, sine = run.consensus.value, run.alignment.value
            errors.append(spread / layer.consensus_factor(tokens=TOKENS) - 1)
            first += spread < sine
            passed += (spread < sine) == (gap * leader > 1) and abs(errors[-1]) < RATE
            if index == 0:
                name = f"mu_2 = {gap * leader:g}"
                numbers[f"factors of spread and sine, {name}"] = [spread, sine]
                for kind, series in (("spread", run.spread), ("sine", run.sines)):
                    curves.append(shown(f"{kind}, {name}", series[:50]))
    return every(
        int(passed),
        of,
        justification=FITTED,
        numbers={
            **numbers,
            "layers where consensus comes first": first,
            "largest error of the spread's factor": float(np.abs(errors).max()),
        },
        plot=Plot(curves, "loop", "spread, sine", xscale="linear"),
    )


@ledger.claim(
    "case.symmetric.bounds",
    "For symmetric F the sine of the mean token stays between |c_2| r^k and tan(phi_0) r^k at every"
    " loop, r = |mu_2 / mu_1|, and is what the coordinates in the eigenbasis give.",
    place="symmetric value matrices",
    provenance="ours",
)
def symmetric_bounds(effort: Effort) -> Finding:
    rng, loops, passed, size = effort.generator(4), 40, 0, effort.pick(20, 200)
    worst, above, curves = 0.0, 0, []
    for _ in range(size):
        growth = rng.uniform(-1.6, 1.6, DIM)
        growth = growth[np.argsort(-abs(growth))]
        basis, start = random_orthogonal(rng, DIM), tokens(rng)
        run = simulate(Layer(heads=((basis * (growth - 1)) @ basis.T)[None]), start, loops=loops)
        sines, c = run.sines, basis.T @ normalize(start.mean(0))
        low, high = sine_bounds(abs(growth), c, loops=loops)
        slack = 1e-9 + 1e-13 / np.maximum(sines, 1e-300)
        exact = abs(sines / predicted_sines(abs(growth), c, loops=loops) - 1)
        worst = max(worst, float(exact.max()))
        passed += bool(
            np.all((low <= sines * (1 + slack)) & (sines <= high * (1 + slack)) & (exact < slack))
        )
        bent = simulate(
            Layer(heads=with_spectrum(rng, growth - 1, condition=30.0)[None]), start, loops=loops
        )
        tangents = bent.sines / np.sqrt(1 - bent.sines**2)
        above += bool(np.any(bent.sines > 1.001 * tangents[0] * high / high[0]))
        if not curves:
            curves = [
                Curve(name, range(loops + 1), y)
                for name, y in (("sine", sines), ("lower", low), ("upper", high))
            ]
    return every(
        passed,
        size,
        justification="an inequality, and an identity; 1e-9 and 1e-13 over the sine for rounding",
        numbers={
            "worst error of the sine": worst,
            "share above the bound for F that is not normal": above / size,
        },
        plot=Plot(curves, "loop", "sine", xscale="linear"),
    )


@ledger.claim(
    "case.shared.alignment",
    "With shared weights the tokens align with the principal eigenvector of W_O W_V: under full"
    " attention, and under softmax attention where tokens are not too far apart.",
    place="abstract; its conditions are missing from what we have",
    provenance="reconstructed",
)
def shared_alignment(effort: Effort) -> Finding:
    rng, ends, curves, gap = effort.generator(17), [], [], 0.8
    for heads, symmetric in ((1, True), (1, False), (4, True), (4, False)):
        for _ in range(effort.pick(2, 10)):
            values = growth_spectrum(DIM, gap=gap, leader=2.5)
            matrix = with_spectrum(rng, values, condition=1.0 if symmetric else 10.0)
            scores = rng.standard_normal((heads, DIM, DIM)) / DIM if heads > 1 else None
            layer = Layer(heads=split(rng, matrix, heads=heads), scores=scores, norm=Unit())
            run = simulate(
                layer, tokens(rng) if heads == 1 else together(rng), loops=loops_for(gap)
            )
            own = eigenvector(matrix, values[np.argmax(abs(values))])[:, None]
            sines = np.max(
                [sin_angle(run.states[:, token], own) for token in range(TOKENS)], axis=0
            )
            ends.append(float(sines[-1]))
            if len(ends) % effort.pick(2, 10) == 1:
                curves.append(
                    shown(f"{heads} heads, {'symmetric' if symmetric else 'general'} F", sines)
                )
    return settled(
        max(ends) < 1e-9,
        measured=max(ends),
        expected=0.0,
        tolerance=1e-9,
        justification=(
            "of the token farthest away; 0.8^145 = 1e-14, times conditions of 10^2. lambda_1 = 1.5"
            " leads by |lambda| and by |1 + lambda|, whichever the paper means"
        ),
        numbers={"runs": len(ends)},
        plot=Plot(curves, "loop", "largest sine of a token to v_1", xscale="linear"),
    )


@ledger.claim(
    "case.shared.gap",
    "With shared weights, softmax attention and normalised tokens that are not too far apart, the"
    " sine to the leading eigenvector falls by the planted gap 0.8, 0.9, 0.95 in each loop, for one"
    " head and for several.",
    place="shared weights",
    provenance="ours",
)
def shared_gap(effort: Effort) -> Finding:
    rng, errors, numbers, curves = effort.generator(5), [], {}, []
    for gap in GAPS:
        found = []
        for heads, norm in ((1, Unit()), (4, Unit()), (4, plain_norm(DIM, kind="rms"))):
            for _ in range(effort.pick(1, 4)):
                scores, near = rng.standard_normal((heads, DIM, DIM)) / DIM, together(rng)
                layer = Layer(heads=general(rng, gap=gap, heads=heads), scores=scores, norm=norm)
                run = simulate(layer, near, loops=loops_for(gap))
                found.append(run.alignment.value)
                if len(found) == 1:
                    curves.append(shown(f"gap {gap:g}", run.sines))
        errors += [value / gap - 1 for value in found]
        numbers[f"fitted, gap {gap:g}"] = float(np.mean(found))
    plot = Plot(curves, "loop", "sine to v_1", xscale="linear")
    return worst_of(errors, tolerance=RATE, justification=FITTED, numbers=numbers, plot=plot)


# they add their claims to the same ledger, after these and in this order
from eigenloop.lens.cases import complex_pairs, layers  # noqa: E402

__all__ = ["complex_pairs", "layers", "ledger"]
