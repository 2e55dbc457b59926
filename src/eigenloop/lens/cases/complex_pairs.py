"""Complex pairs under full attention, as claims: the plane that a pair leads to, and its angle."""

import numpy as np

from eigenloop.claims import Curve, Effort, Finding, Plot
from eigenloop.lens.cases.common import (
    DIM,
    FITTED,
    GAPS,
    RATE,
    general,
    ledger,
    loops_for,
    settled,
    shown,
    tokens,
    worst_of,
)
from eigenloop.lens.cases.dynamics import Layer, simulate
from eigenloop.lens.cases.generators import growth_spectrum, with_spectrum
from eigenloop.numerics.power import normalize


@ledger.claim(
    "case.complex.plane",
    "Where a complex pair leads, the mean token enters its plane by |mu_3 / mu_1| a loop, and its"
    " left coordinate there turns by arg(1 + lambda) in every loop.",
    place="complex pair",
    provenance="ours",
)
def complex_plane(effort: Effort) -> Finding:
    rng, errors, turns, curves = effort.generator(8), [], 0.0, []
    for gap in GAPS:
        for _ in range(effort.pick(1, 5)):
            angle = float(rng.uniform(0.2, 2.8))
            layer = Layer(heads=general(rng, gap=gap, angle=angle))
            run, leader = simulate(layer, tokens(rng), loops=loops_for(gap)), layer.leader()
            errors.append(run.alignment.value / gap - 1)
            curves.append(shown(f"gap {gap:g}", run.sines))
            c = run.means @ leader.left.conj()
            turns = max(turns, float(abs(np.angle(c[1:] / c[:-1] * np.exp(-1j * angle))).max()))
    found = worst_of(
        errors,
        tolerance=RATE,
        justification=FITTED,
        numbers={"largest error of the angle, radians": turns},
        plot=Plot(
            curves[:: len(curves) // len(GAPS)], "loop", "sine to the plane", xscale="linear"
        ),
    )
    return (
        found
        if turns < 1e-9
        else Finding("fails", turns, 0.0, 1e-9, note="the left coordinate turns otherwise")
    )


@ledger.claim(
    "case.complex.angle",
    "In the plane of a leading complex pair the mean token turns by arg(1 + lambda) in every loop"
    " where F is normal; where it is not, the token runs on an ellipse, and only its mean angle is"
    " arg(1 + lambda).",
    place="complex pair",
    provenance="ours",
)
def complex_angle(effort: Effort) -> Finding:
    rng, loops, normal, skew, drift, curves = effort.generator(9), 300, 0.0, [], 0.0, []
    for condition in (1.0, 10.0):
        for _ in range(effort.pick(3, 30)):
            angle = float(rng.uniform(0.3, 1.5))
            matrix = with_spectrum(
                rng, growth_spectrum(DIM, gap=0.5, angle=angle), condition=condition
            )
            layer = Layer(heads=matrix[None])
            run = simulate(layer, tokens(rng), loops=loops)
            seen = normalize(run.means[60:]) @ layer.leader().plane() @ np.array([1.0, 1j])
            steps = np.angle(seen[1:] / seen[:-1])
            steps = steps * np.sign(np.median(steps))
            if len(curves) < 1 + (condition > 1):
                name = "normal F" if condition == 1 else "F not normal"
                curves.append(Curve(name, range(40), steps[:40] / angle))
            if condition == 1:
                normal = max(normal, float(abs(steps - angle).max()))
            else:
                skew.append(float(abs(steps - angle).max()))
                drift = max(drift, abs(float(steps.sum()) - angle * steps.size))
    return settled(
        normal < 1e-9 and drift < np.pi / 2 and max(skew) > 1e-2,
        measured=normal,
        expected=0.0,
        tolerance=1e-9,
        justification=(
            "the largest deviation from the angle in one loop, normal F; 0.5^60 = 1e-18 is left"
            " outside the plane. On an ellipse the sum of the angles is off by less than pi/2,"
            " however many loops"
        ),
        numbers={
            "largest deviation in one loop, F not normal (above 0.01)": max(skew),
            "largest deviation of the sum over 240 loops, F not normal (below pi/2)": drift,
        },
        plot=Plot(curves, "loop", "turn over arg(1 + lambda)", xscale="linear", yscale="linear"),
    )
