"""The two rates of a looped layer: predicted by its derivative at the fixed point, measured on left
coordinates.

    approach  l J = mu l,  J  the derivative of the layer on ONE token at x*:  a_k = l (xbar_k - x*)
    consensus   m J' = nu m,     J' that on the difference of two equal tokens:
        b_ki = m (x_ki - xbar_k), all i

In consensus a_k is multiplied by mu and every b_ki by nu in each loop, whatever the other modes do,
where all tokens attend alike. Whether they do is measured: the derivative on all tokens,
transposed, must map these coordinates to mu and nu times themselves. Worked out here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.lens.loops.block import LoopedBlock
from eigenloop.lens.loops.contraction import Attractor, LeftMode, Map, leading_mode, pulled
from eigenloop.numerics.rates import WINDOWS, ModeRate, fit_mode
from eigenloop.numerics.statistics import MIN_POINTS

STEADY = 0.02
"""A factor is given where no window's differs from it by more than 2 %."""

CERTIFIED = 1e-6
"""A coordinate's factor is predicted where it is mapped to that many times itself up to this
part.
"""

FORECAST = 2.0
"""How many loops are missing is said where the last ones fell by the predicted factor, to this
factor in its log.
"""

VISIBLE, MANY = 5e-5, 3.0
"""Measured and predicted are said to differ where four printed digits show it, and by more
errors than this.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Timescale:
    """One of the two rates: what a loop multiplies the leading mode of a series by.

    Args:
        name: "consensus" or "attractor".
        fitted: measured on the left coordinate; None where it cannot be said.
        predicted: modulus of the eigenvalue; None where it cannot be said. Of two points in turn,
            the root of that of two loops.
        angle: its argument, from 0 to pi; of two points in turn, half of that of two loops.
        slack: what the predicted eigenvalue may be off by: the residual of its left vector, over
            its coordinate's part.
        reasons: why something is None, by "fitted" or "predicted".
    """

    name: str
    fitted: ModeRate | None
    predicted: float | None
    angle: float | None = None
    slack: float = 0.0
    reasons: dict[str, str]

    @property
    def loops(self) -> float | None:
        """Loops in which the mode falls by e, -1/log of the fitted factor, of the predicted one
        without a fit.
        """
        factor = self.fitted.modulus if self.fitted else self.predicted
        return float(-1 / np.log(factor)) if factor and 0 < factor < 1 else None

    @property
    def errors_apart(self) -> float | None:
        """|measured - predicted| as complex numbers, in errors of both."""
        if self.fitted is None or self.predicted is None or self.angle is None:
            return None
        error = (
            np.hypot(self.fitted.error, self.fitted.modulus * self.fitted.angle_error) + self.slack
        )
        return float(self._apart() / error)

    def differs(self) -> bool:
        """Whether measured and predicted are more than `MANY` errors apart, and visibly."""
        errors = self.errors_apart
        return errors is not None and errors > MANY and self._apart() > VISIBLE

    def _apart(self) -> float:
        assert self.fitted is not None
        assert self.predicted is not None
        assert self.angle is not None
        measured = self.fitted.modulus * np.exp(1j * self.fitted.angle)
        return float(abs(measured - self.predicted * np.exp(1j * self.angle)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; angles in radians a loop."""
        fitted = self.fitted
        return {
            "fitted": fitted.modulus if fitted else None,
            "error": fitted.error if fitted else None,
            "angle": fitted.angle if fitted else None,
            "angle_error": fitted.angle_error if fitted else None,
            "first_loop": fitted.first if fitted else None,
            "points": fitted.points if fitted else None,
            "predicted": self.predicted,
            "predicted_angle": self.angle,
            "errors_apart": self.errors_apart,
            "loops": self.loops,
            "reasons": self.reasons,
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """The leading mode of a derivative at the attractor, or why there is none.

    Args:
        mode: eigenvalue and left vector, of as many loops as the attractor has points.
        residual: of the coordinate on all tokens, relative to its eigenvalue.
        why: there is no mode.
    """

    mode: LeftMode | None
    residual: float = 0.0
    why: str = ""

    def root(self, period: int) -> tuple[float | None, float | None]:
        """Modulus and angle by loop."""
        if self.mode is None:
            return None, None
        return abs(self.mode.value) ** (1 / period), float(np.angle(self.mode.value)) / period


def predictions(
    blocks: tuple[LoopedBlock, LoopedBlock, LoopedBlock],
    found: Attractor,
    tokens: int,
    *,
    post: bool,
) -> dict[str, Prediction]:
    """The leading modes of both series at the attractor, from products with the transposed
    derivative.

    Args:
        blocks: the layer on one token, on two, and on all.
        found: the attractor of one token.
        tokens: how many they are all.
        post: the normalisation comes after the sublayer.
    """
    if not found.converged:
        if post:
            why = (
                f"no fixed point on one token was found (residual {found.residual:.2g} after"
                f" {found.steps} steps)"
            )
        else:
            why = (
                "with pre-LN one token comes to no fixed point, and while the stream grows no"
                " factor is constant"
            )
        return dict.fromkeys(("attractor", "consensus"), Prediction(mode=None, why=why))
    one, difference, everyone = _pulls(blocks, found)
    shares = np.random.default_rng(0).standard_normal(tokens)
    shares -= shares.mean()
    result = {}
    for name, pull, weights in (
        ("attractor", one, np.ones(tokens)),
        ("consensus", difference, shares),
    ):
        mode = leading_mode(pull, found.points.shape[1])
        factor = abs(mode.value) ** (1 / found.period)
        if name == "attractor" and factor >= 1:
            why = f"the fixed point on one token that was found repels (factor {factor:.4f})"
            return dict.fromkeys(("attractor", "consensus"), Prediction(mode=None, why=why))
        if not mode.converged:
            result[name] = Prediction(
                mode=None, why="the eigenvalues of the derivative did not converge"
            )
            continue
        functional = np.outer(weights / np.linalg.norm(weights), mode.vector)
        residual = float(np.linalg.norm(pulled(everyone, functional) - mode.value * functional))
        residual /= abs(mode.value) or 1.0
        if residual > CERTIFIED:
            why = (
                "equal tokens do not attend alike, so that one token's factor is not that of"
                f" {tokens}"
            )
            why += f" (residual {residual:.2g})"
            result[name] = Prediction(mode=None, why=why)
        else:
            result[name] = Prediction(mode=mode, residual=residual)
    return result


def _pulls(
    blocks: tuple[LoopedBlock, LoopedBlock, LoopedBlock], found: Attractor
) -> tuple[Map, Map, Map]:
    """Products with the transposed derivative at the attractor: on one token, on the difference of
    two, and on all.
    """
    (alone, two, block), back = blocks, found.points[::-1]

    def one(u: np.ndarray) -> np.ndarray:
        w = u[:, None]
        for point in back:
            w = alone.transposed(np.broadcast_to(point, w.shape), w)
        return w[:, 0]

    def difference(u: np.ndarray) -> np.ndarray:
        w = np.stack([u, -u], axis=1)
        for point in back:
            w = two.transposed(np.broadcast_to(point, w.shape), w)
        return (w[:, 0] - w[:, 1]) / 2  # of the tokens' difference v, each moved by v/2 to its side

    def everyone(u: np.ndarray) -> np.ndarray:
        for point in back:
            u = block.transposed(np.broadcast_to(point, u.shape), u)
        return u

    return one, difference, everyone


def timescale(
    name: str,
    what: str,
    series: Float[np.ndarray, " k"] | None,
    coordinates: Callable[[int, LeftMode], tuple[np.ndarray, np.ndarray]],
    prediction: Prediction,
    window: tuple[float, float],
    *,
    period: int,
    post: bool,
) -> Timescale:
    """Measure what can be measured; say why not otherwise.

    Args:
        name: "consensus" or "attractor".
        what: the series in words.
        series: it, relative to the size of the states; None where there is no fixed point.
        coordinates: (first loop, mode) -> the loops from there on at which the coordinates are
            told, and these, (k, m), relative as the series is.
        prediction: the leading mode.
        window: the series' upper end and the coordinates' lower one.
        period: of the attractor.
        post: the normalisation comes after the sublayer.
    """
    predicted, angle = prediction.root(period)
    reasons = {} if predicted is not None else {"predicted": prediction.why}

    def without(why: str) -> Timescale:
        return Timescale(
            name=name,
            fitted=None,
            predicted=predicted,
            angle=angle,
            reasons={"fitted": why, **reasons},
        )

    if series is None:
        return without(prediction.why)
    if series[-1] >= window[0]:
        why = _not_reached(what, series, predicted, window[0])
        return without(why if predicted is not None or post else f"{why}; {prediction.why}")
    if prediction.mode is None:
        return without(prediction.why)
    first = int(np.flatnonzero(np.r_[True, series >= window[0]])[-1])
    loops, found = coordinates(first, prediction.mode)
    sizes = np.linalg.norm(found, axis=1)
    count = int(np.flatnonzero(np.r_[sizes <= window[1], True])[0])
    skipped = count // 2  # what is not linear fades in the first half
    if count - skipped < MIN_POINTS:
        return without(_too_few(what, series, count, len(sizes), window))
    rate = fit_mode(found[skipped:count], first=int(loops[skipped]))
    off = np.hypot(rate.error / rate.modulus, rate.angle_error)
    if off > STEADY:
        return without(
            f"the leading mode of the {what} is not multiplied by one factor: {WINDOWS} windows of"
            f" the {rate.points} loops fitted differ by up to {off:.1%} of it"
        )
    largest = float(np.max(series[loops[skipped:count]] / sizes[skipped:count]))
    slack = (
        max(prediction.residual * abs(prediction.mode.value), prediction.mode.residual) * largest
    )
    fitted = _by_loop(rate, period)
    return Timescale(
        name=name, fitted=fitted, predicted=predicted, angle=angle, slack=slack, reasons=reasons
    )


def _by_loop(rate: ModeRate, period: int) -> ModeRate:
    """The root of a factor of `period` loops."""
    modulus = rate.modulus ** (1 / period)
    return replace(
        rate,
        modulus=modulus,
        error=modulus * rate.error / rate.modulus / period,
        angle=rate.angle / period,
        angle_error=rate.angle_error / period,
    )


def _not_reached(what: str, series: np.ndarray, predicted: float | None, upper: float) -> str:
    """The series does not come close to its end; how many loops are missing, where the last ones
    fell as predicted.
    """
    loops, last = len(series) - 1, float(series[-1])
    why = (
        f"not reached in {loops} loops: the {what} is {last:.2g} after them, and a rate is fitted"
        f" below {upper:.0e}"
    )
    steps = max(1, loops // 8)
    lately = (last / float(series[-1 - steps])) ** (1 / steps)
    if predicted is not None and 0 < predicted < 1:
        if lately < 1 and 1 / FORECAST < np.log(lately) / np.log(predicted) < FORECAST:
            missing = int(np.ceil(np.log(last / upper) / -np.log(predicted))) + 2 * MIN_POINTS
            return f"{why}; at the predicted factor {missing} more loops go there"
        why += (
            f"; each of the last {steps} loops changed it by {lately:.4f}: it is not on the way"
            " there"
        )
    return why


def _too_few(
    what: str, series: np.ndarray, count: int, known: int, window: tuple[float, float]
) -> str:
    """Fewer coordinates than a fit takes: the run ends too early, or they are gone too fast."""
    if count == known:
        return (
            f"not reached in {len(series) - 1} loops: too few of them bring the {what} below"
            f" {window[0]:.0e}; give more"
        )
    return (
        f"the leading mode falls below {window[1]:.0e} in fewer than {2 * MIN_POINTS} loops after"
        f" the {what} is below {window[0]:.0e}: too fast, or the states hold next to nothing of it"
    )
