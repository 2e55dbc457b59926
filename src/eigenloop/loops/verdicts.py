"""One verdict on a looped map from what was measured: contracts, turns, repeats, grows, wanders, or
not decided.

    contracts    a fixed point with rho + error < 1 that the loop comes to; ", alternating" or ",
                 rotating" by mu_1, ", not settled" where the loops asked for end before it is
                 within `SETTLED`
    period p     f^p(x) = x, and no smaller p
    rotates      lambda_1 = 0 within errors on an orbit that comes back without repeating
    marginal     an eigenvalue of modulus 1: where it ends depends on the start, or it comes there
                 without a rate
    chaotic      lambda_1 > 0 beyond its errors
    grows        each octave of loops lengthens the state
    blows up     it leaves the numbers within the loops asked for
    undecided    none of these can be told from this run; the sentence says what is missing

A verdict is about the orbit of one start, in the loops that were run.
"""

from dataclasses import dataclass

from eigenloop.loops.fixed_points import FixedPoint
from eigenloop.loops.lyapunov import Exponents
from eigenloop.loops.modes import Spectrum

SETTLED = 1e-2
"""Relative distance to the fixed point at which a loop has settled."""

ON_CIRCLE = 1e-9
"""|rho - 1| below which, or below its error, an eigenvalue is on the unit circle."""

DISTORTION = 5.0
"""|sum of log stretches| of an orbit without a rate: lambda_1 is 0 to within this over the loops
counted.
"""

FINE = 5e-3
"""Uncertainty of lambda_1 below which 0 is told from slow chaos or slow decay."""

SIGMAS = 3.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A verdict and its sentence.

    Args:
        word: "contracts", "period 2", ..., without what follows a comma.
        qualities: "alternating" or "rotating", "not settled".
        sentence: with the numbers that it rests on.
    """

    word: str
    qualities: tuple[str, ...] = ()
    sentence: str

    def __str__(self) -> str:
        """The word and its qualities, separated by commas."""
        return ", ".join((self.word, *self.qualities))


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What a verdict rests on.

    Args:
        loops: that were asked for.
        total: that were run.
        blew_up: the loop at which the state left the numbers; None where it did not.
        grows: the norm goes on growing.
        lengthened: ||x_end|| / ||x_0||.
        period: of the last states, or of a cycle that a solver finds close to them; None without
            one.
        repeated: the last states repeat already.
        point: the fixed point found, or that of f^p.
        spectrum: of the derivative there.
        distance: of the state after the loops asked for to the point, relative; None without one.
        end_distance: of the last state.
        approach: factor per loop by which the last states came closer to the point; 0 once they are
            there.
        exponents: where the loop does not settle.
        returns: closest return of the last state to earlier ones, relative to the size of the
            orbit.
    """

    loops: int
    total: int
    blew_up: int | None
    grows: bool
    lengthened: float
    period: int | None
    repeated: bool
    point: FixedPoint
    spectrum: Spectrum | None
    distance: float | None
    end_distance: float | None
    approach: float | None
    exponents: Exponents | None
    returns: float | None


def stability(found: Spectrum) -> tuple[str, float]:
    """("attracts", "repels" or "neutral", error of the radius) of a fixed point, by |mu_1| against
    1.

    Where the error is not known, a thousand residuals stand for it.
    """
    leader = found.modes[0]
    error = leader.error if leader.error is not None else 1e3 * (leader.residual + found.noise)
    if leader.defective:  # a double root moves by the root of a perturbation
        error = (leader.residual + found.noise) ** 0.5
    slack = max(error, ON_CIRCLE)
    if found.radius + slack < 1:
        return "attracts", error
    return ("repels" if found.radius - slack > 1 else "neutral"), error


def verdict(seen: Evidence) -> Verdict:
    """The verdict on an orbit."""
    if seen.blew_up is not None and seen.blew_up <= seen.loops:
        return Verdict(
            word="blows up", sentence=f"The state leaves the numbers at loop {seen.blew_up}."
        )
    if _approaches(seen):
        return _at_a_point(seen)
    if seen.grows or seen.blew_up is not None:
        return Verdict(
            word="grows",
            sentence=(
                f"The state is {seen.lengthened:.3g} times as long after {seen.total} loops, and"
                " goes on growing"
            )
            + f"{_repels(seen)}.",
        )
    if seen.period is not None and seen.period > 1:
        return Verdict(word=f"period {seen.period}", sentence=_repeats(seen))
    if seen.period == 1:
        return _at_a_point(seen)
    return _wanders(seen)


def _approaches(seen: Evidence) -> bool:
    """The last states come closer to an attracting point, at half its rate in logarithms or
    faster.
    """
    if (
        seen.spectrum is None
        or not seen.point.found
        or seen.approach is None
        or seen.period not in (None, 1)
    ):
        return False
    return stability(seen.spectrum)[0] == "attracts" and seen.approach <= seen.spectrum.radius**0.5


def _at_a_point(seen: Evidence) -> Verdict:
    """The loop comes to a fixed point, or to rest without one that can be certified."""
    if seen.spectrum is None or seen.end_distance is None or seen.distance is None:
        return Verdict(
            word="undecided",
            sentence=(
                "The loop comes to rest, but"
                f" {seen.point.reason or 'no fixed point is certified there'}."
            ),
        )
    leader, (how, error) = seen.spectrum.modes[0], stability(seen.spectrum)
    size = f"|mu_1| = {leader.modulus:.6g} ± {error:.1g}"
    if how == "attracts":
        qualities = () if leader.kind == "real" else (leader.kind,)
        late = seen.distance >= SETTLED
        sentence = f"The loop contracts to a fixed point: {size} a loop in the end"
        sentence += (
            f", turning by {_turn(leader.value):.4g} radians" if leader.kind == "rotating" else ""
        )
        sentence += ", changing its sign" if leader.kind == "alternating" else ""
        sentence += (
            f"; {seen.distance:.2g} of the way is left after {seen.loops} loops" if late else ""
        )
        return Verdict(
            word="contracts",
            qualities=(*qualities, *(("not settled",) if late else ())),
            sentence=f"{sentence}.",
        )
    if how == "neutral":
        return Verdict(
            word="marginal",
            sentence=(
                f"The loop comes to rest at a point with {size}: to first order nothing draws it"
                " there along that mode, so where it ends depends on the start."
            ),
        )
    return Verdict(
        word="undecided",
        sentence=(
            f"The loop rests at a point that repels ({size}): this start lies on it or on its way"
            " in, and others beside it leave."
        ),
    )


def _wanders(seen: Evidence) -> Verdict:
    """No point and no period is reached in the loops run."""
    neutral = seen.spectrum is not None and stability(seen.spectrum)[0] == "neutral"
    turning = seen.spectrum is not None and any(
        mode.kind == "rotating" and abs(mode.modulus - 1) < 1e-6 for mode in seen.spectrum.modes
    )
    if seen.exponents is None:
        return Verdict(
            word="undecided",
            sentence=(
                f"The loop does not settle in {seen.total} loops, and without forward products"
                " (jvp) no Lyapunov exponent tells why."
            ),
        )
    value, stderr = seen.exponents.largest
    slack = SIGMAS * stderr + DISTORTION / seen.exponents.loops
    told = (
        f"the largest Lyapunov exponent is {value:.3g} ± {stderr:.1g} over {seen.exponents.loops}"
        " loops"
    )
    repels = _repels(seen)
    if value > slack:
        return Verdict(
            word="chaotic",
            sentence=f"The loop does not settle, and {told}: nearby starts part{repels}.",
        )
    close = seen.end_distance is not None and seen.end_distance < 1
    if neutral and close and not turning:
        return Verdict(
            word="marginal",
            sentence=(
                "An eigenvalue at the fixed point has modulus 1, so the loop comes there without a"
                f" rate; {told}."
            ),
        )
    if abs(value) <= slack < FINE and seen.returns is not None and seen.returns < 0.2:
        return Verdict(
            word="rotates",
            sentence=(
                f"The loop comes back near to where it was with no period in {seen.total} loops;"
                f" {told}{repels}."
            ),
        )
    if value < -slack:
        return Verdict(
            word="contracts",
            qualities=("not settled",),
            sentence=(
                f"Nearby starts come together ({told}), but the state still moves after"
                f" {seen.total} loops, and no fixed point is certified:"
                f" {seen.point.reason or 'the one found is not where it goes'}."
            ),
        )
    return Verdict(
        word="undecided",
        sentence=(
            f"The loop does not settle in {seen.total} loops, and {told}: 0 cannot be told from"
            f" slow chaos or slow decay; give more loops{repels}."
        ),
    )


def _turn(value: complex) -> float:
    import cmath

    return abs(cmath.phase(value))


def _repels(seen: Evidence) -> str:
    """That a solver found a point that the loop does not go to; empty where it did not."""
    if seen.spectrum is None or stability(seen.spectrum)[0] != "repels":
        return ""
    radius = f"|mu_1| = {seen.spectrum.radius:.6g}"
    return f"; a solver finds a fixed point that repels ({radius}), to which the loop does not go"


def _repeats(seen: Evidence) -> str:
    still = "" if seen.repeated else f"comes to {seen.period} states in turn"
    text = f"The loop {still or f'repeats {seen.period} states in turn'}"
    if seen.spectrum is not None and seen.point.found:
        text += (
            f"; {seen.period} loops multiply small deviations by {seen.spectrum.radius:.4g} in"
            " the end"
        )
    return f"{text}."
