"""The paper's sentences on its figures, one function each: from the rows that are drawn to a
judgement, part by part.

Those on Figs. 5 and 8, whose curves run over loops, are in `eigenloop.figures.error_curves`.

Nothing but the rows of a figure's table (and the length of the runs) is read, so a verdict is about
what is seen. Where a sentence has no number, a qualitative word is read as the nearer of the two
things that the sentence tells apart: small or like the diagonal, 1/4 or 1/6, straight or level,
near zero or on the plateau. Training shorter than the 2,000 iterations of the paper's shortest
window judges nothing. What is drawn beyond the paper's window (iterations of Figs. 6 and 7, loops
of Fig. 5) is judged by sentences of our own. Source: arXiv 2606.00605, Section 5 and Appendix G.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from eigenloop.figures import quotations as q
from eigenloop.figures.drawn import (
    exponent,
    exponent_error,
    gap,
    line,
    matrix,
    outside_the_block,
    panels_of,
    series_of,
    standing_out,
)
from eigenloop.figures.printed_points import READ
from eigenloop.figures.settings import FIXED_POINT_STEP, PAPER_WINDOW
from eigenloop.figures.values import Row
from eigenloop.figures.verdicts import Judgement, Part, Sentence
from eigenloop.system.wording import joined

NEARER = 0.5
"""Where the nearer of two alternatives, 0 and 1, changes."""
EXPONENTS = Fraction(1, 4), Fraction(1, 6)
"""Of the growth of a looped and of a one-layer model (Thms 4.1 and 4.3)."""
APART = float(EXPONENTS[0] - EXPONENTS[1])
ZERO = 0.1
"""Entries that "converge to zero" are below this part of the diagonal's mean, an order of
magnitude: batches leave a few percent for good, so that 0 itself is never seen, and "become small"
says less (`NEARER`). Of Fig. 7 the paper says it of all entries outside the two active blocks; of
those inside, as of Fig. 6, that the structure is the predicted one."""
LEVEL = 0.1
"""A plateau falls by less than this part of the power of t by which the loss with LN falls."""
SIGMAS = 2.0
"""Standard errors by which a fitted exponent must be nearer to one theorem's than to the
other's.
"""
FALL = 2 / 3
"""The exponent with which the loss of one layer with LN falls (Thm 4.3); a plateau has 0."""
LINE = 0.01
"""A line's width over the height of its axes, 1.5 points of about 150: nearer curves cannot be
told apart.
"""
SAMPLED = 0.05
"""Five standard deviations of gamma/gamma*: 10,000 samples have a gamma* of their own, 0.45 % away,
and batches of 128 at learning rate 0.1 move it by 0.8 %, (10,000/128)^(1/2) (kappa/2)^(1/2) times
that, kappa = 2 eta mu2/d."""


# --- Figures 1 and 4


def structure(rows: Sequence[Row], *, steps: int, sentence: Sentence = q.STRUCTURE) -> Judgement:
    """Whether the diagonals of V_21 and W_12 stand out, and every other entry is small (Fig.

    1) or zero (Fig. 4).
    """
    parts = []
    for letter in "WV":
        panels = panels_of(rows, f", {letter}")
        parts.append(_only_the_diagonal(rows, dict.fromkeys(panels, letter), letter, sentence))
    return Judgement(sentence, parts, steps < PAPER_WINDOW)


def growth(rows: Sequence[Row], *, steps: int, sentence: Sentence = q.SCALING) -> Judgement:
    """Whether ||W||_max and ||V||_max grow over the last decade like the theorem's power of t and
    not like the other.

    The exponents p = 1/4 and 1/6 hold as t grows. Over the drawn steps gradient descent on the
    population, which is drawn too, has another one, f: W begins at 0 and V at 1, and a^2 - b^2 is
    nearly kept, so W's exponent is near (a/b)^2 times V's until a/b is 1. The theorem therefore
    allows all between p and f, and the other theorem as many times that as its p is of ours; the
    fitted exponent must be nearer to the first, by more than the error of the fit, and nearer than
    half of 1/4 - 1/6.
    """
    first = sentence.figure == 1
    (own, other), (name, beside) = (
        EXPONENTS[:: 1 if first else -1],
        ("4.1", "4.3")[:: 1 if first else -1],
    )
    parts = []
    for letter in "WV":
        told, found, drawn = [], [], []
        for panel in panels_of(rows, ", growth"):
            curve = line(rows, panel, f"{letter}_max")
            found.append(exponent(*curve, last=steps))
            drawn.append(
                exponent(
                    *line(rows, panel, f"{letter}_max (population)", kind="theory"), last=steps
                )
            )
            near, far = (
                _outside(found[-1], scale * float(own), scale * drawn[-1])
                for scale in (1, float(other / own))
            )
            told.append(
                min(far - near - SIGMAS * exponent_error(*curve, last=steps), APART * NEARER - near)
            )
        held = all(margin > 0 for margin in told)
        worst = found[int(np.argmin(told))]
        parts.append(
            Part(
                f"{letter} grows like t^({own})",
                held,
                f"{letter} grows like t^{joined(f'{value:.3f}' for value in found)} (the"
                " population's descent over these steps"
                f" {joined(f'{value:.3f}' for value in drawn)}, in the end {float(own):.3f})",
                f"by more than {SIGMAS:g} standard errors of the fit nearer to what Theorem {name}"
                f" allows over these steps, from {own} to the population's exponent, than to"
                f" {other / own} times that, for the {other} of Theorem {beside}; and within"
                f" {APART * NEARER:.3f} of it, half of what separates the limits",
                worst,
            )
        )
    lead = max(
        (_last(rows, p, "V_max") / _last(rows, p, "W_max")) ** 2
        for p in panels_of(rows, ", growth")
    )
    note = (
        ""
        if first
        else f"W's exponent is (a/b)^2 = {lead:.2f} times V's at the end, and tends to it"
    )
    return Judgement(sentence, parts, steps < PAPER_WINDOW, note=note)


# --- Figure 2


def losses(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether within the paper's window the losses with LN go towards zero, and those without LN
    end on a plateau.
    """
    at, near, slopes, late = min(steps, PAPER_WINDOW), [], [], []
    for panel in panels_of(rows, "loss"):
        stops = [
            float(row.y)
            for row in rows
            if (row.panel, row.kind) == (panel, "level") and row.y is not None
        ]
        for series in series_of(rows, panel):
            x, y = line(rows, panel, series)
            value = float(np.interp(at, x, y))
            if not series.startswith("no LN"):
                near.append(value / min(stops))
            elif "training" in panel:
                slopes.append(exponent(x, y, last=at))
                if y[-1] < (1 - 2 * READ) * value:
                    late.append(f"{panel.split(',')[0]} {value:.3f} then {y[-1]:.3f}")
    away = max(slopes, key=abs)
    parts = [
        Part(
            "with LN near zero",
            max(near) < NEARER,
            f"with LN the losses are at most {max(near):.2g} of the lower plateau at step {at:,}",
            "nearer to 0 than to the lower of the two plateaus f*",
            max(near),
        ),
        Part(
            "without LN a plateau",
            abs(away) < FALL * LEVEL,
            f"without LN level (t^{away:.3f}, against t^-2/3 with LN)",
            "over the last decade at most a tenth of the fall t^(-2/3) of Theorem 4.3",
            away,
        ),
    ]
    note = (
        f"after the paper's window the normalised target's plateau is left: {', '.join(late)}"
        if late
        else ""
    )
    return Judgement(q.LOSSES, parts, steps < PAPER_WINDOW, note=note)


def separation(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether at every loop the angle with LN lies below the angle of either model without LN."""
    parts = []
    for target in ("normalised", "unnormalised"):
        ratios, last = [], []
        for panel in panels_of(rows, ", angle"):
            _, with_ln = line(rows, panel, "LN, normalised target")
            _, without = line(rows, panel, f"no LN, {target} target")
            ratios += [float(ratio) for ratio in without[1:] / with_ln[1:]]
            last.append(f"{with_ln[-1]:.3f} against {without[-1]:.3f}")
        parts.append(
            Part(
                f"slower without LN, {target} target",
                min(ratios) > 1,
                f"{target} target: {joined(last)} at the last loop",
                "the curve with LN lies below at every loop, in both tasks",
                min(ratios),
            )
        )
    return Judgement(q.SEPARATION, parts, steps < PAPER_WINDOW)


def order_of_angles(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether our trained models' angles, at the last loop, are in the order of the paper's
    points.
    """
    names = ("LN, normalised target", "no LN, unnormalised target", "no LN, normalised target")
    panel = panels_of(rows, "Task 1, angle")[0]
    ours = [float(line(rows, panel, name)[1][-1]) for name in names]
    theirs = [float(line(rows, panel, f"{name} (paper)", kind="points")[1][-1]) for name in names]
    same = list(np.argsort(ours)) == list(np.argsort(theirs))
    values = [", ".join(f"{value:.2g}" for value in found) for found in (ours, theirs)]
    part = Part(
        "the same order",
        same,
        f"ours {values[0]}; the paper's {values[1]}",
        "the paper's test point is another one, so only the order can be compared",
        float(same),
    )
    return Judgement(q.ORDER, [part], steps < PAPER_WINDOW)


# --- Figure 3


def no_gap(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether both losses keep falling for every size, and lie within a line's width of each
    other at every step.
    """
    sizes = series_of(rows, "test loss")
    slopes = [
        exponent(*line(rows, p, s), last=steps)
        for p in ("training loss", "test loss")
        for s in sizes
    ]
    apart = [gap(line(rows, "training loss", s)[1], line(rows, "test loss", s)[1]) for s in sizes]
    widest, percent = max(pair[0] for pair in apart), max(pair[1] for pair in apart)
    parts = [
        Part(
            "the losses decay",
            max(slopes) < -FALL * NEARER,
            f"for {len(sizes)} sizes the losses fall like t^{max(slopes):.2f} or faster over the"
            " last decade",
            "nearer to the fall t^(-2/3) of Theorem 4.3 than to level",
            max(slopes),
        ),
        Part(
            "no discernible gap",
            widest < LINE,
            f"training and test loss are at most {percent:.1%} apart, {widest:.2%} of the axis",
            "closer at every step than a line is wide, 1 % of the axis",
            widest,
        ),
    ]
    return Judgement(q.GAP, parts, steps < PAPER_WINDOW)


# --- Figures 6 and 7


def fixed_points(rows: Sequence[Row], *, steps: int, sentence: Sentence = q.FIXED) -> Judgement:
    """Whether each target has the structure and its weights stand still, at the step of the
    paper's heat maps.
    """
    at, parts = min(FIXED_POINT_STEP, steps), []
    for panel in panels_of(rows, ", weights"):
        parts += _at_rest(rows, panel, "early", at, sentence)
    return Judgement(sentence, parts, steps < FIXED_POINT_STEP)


def leaving(rows: Sequence[Row], *, steps: int, sentence: Sentence = q.LEAVING) -> Judgement:
    """Whether at the end, beyond the paper's window, the normalised target has left its fixed
    point, and it alone.
    """
    parts = []
    for panel in panels_of(rows, ", weights"):
        found = _at_rest(rows, panel, "late", steps, sentence)
        rests, saddle = (
            found[0].held and abs(found[1].value) < SAMPLED,
            panel.startswith("normalised"),
        )
        parts.append(
            Part(
                f"{panel.partition(',')[0]} {'has left' if saddle else 'is still there'} at step"
                f" {steps:,}",
                rests != saddle,
                f"{found[0].found}; {found[1].found.partition(': ')[2]}",
                f"structure as for the paper's own sentence, gamma within {SAMPLED:.0%} of gamma*:"
                " the loss does not see where on ab = gamma* a and b are",
                found[1].value,
            )
        )
    return Judgement(sentence, parts, steps <= PAPER_WINDOW)


def _at_rest(rows: Sequence[Row], panel: str, when: str, at: int, sentence: Sentence) -> list[Part]:
    """One target's structure and fixed point at a step."""
    target = panel.partition(",")[0]
    maps = {f"{target}, {letter} {when}": letter for letter in "WV"}
    shape = _only_the_diagonal(rows, maps, f"{target}, step {at:,}", sentence)
    return [shape, _standing_still(rows, panel, target, at)]


def _standing_still(rows: Sequence[Row], panel: str, target: str, at: int) -> Part:
    """Whether gamma is at gamma*, and a and b are level."""
    goal = next(row.y for row in rows if (row.panel, row.kind) == (panel, "level") and row.y)
    off = float(np.interp(at, *line(rows, panel, "gamma"))) / goal - 1
    drift = max((exponent(*line(rows, panel, name), last=at) for name in "ab"), key=abs)
    level = abs(drift) < NEARER * float(EXPONENTS[1])
    return Part(
        f"{target}, step {at:,}: at its fixed point",
        abs(off) < SAMPLED and level,
        f"{target}, step {at:,}: gamma {abs(off):.1%} from gamma*"
        + ("" if level else f" (a and b moving like t^{drift:.2f})"),
        f"gamma within {SAMPLED:.0%} of gamma*, five deviations of what sampling and batches leave;"
        " a and b over the last decade nearer to level than to the t^(1/6) of the model with LN",
        off,
    )


# --- what several share


def _only_the_diagonal(
    rows: Sequence[Row], maps: dict[str, str], what: str, sentence: Sentence
) -> Part:
    """Whether in these heat maps (panel -> V or W) the active diagonal is large and all else
    small, or zero.
    """
    found = [standing_out(matrix(rows, panel), letter) for panel, letter in maps.items()]
    other, least = max(pair[0] for pair in found), min(pair[1] for pair in found)
    # "converge to zero" there; "become small", or "the structure", elsewhere
    small = sentence.figure != 4
    if sentence.figure in (6, 7):
        outside = max(
            outside_the_block(matrix(rows, panel), letter) for panel, letter in maps.items()
        )
        return Part(
            f"{what}: the structure",
            outside < ZERO and other < NEARER < least,
            f"{what}: outside its active block the largest entry is {outside:.2g} of the diagonal's"
            f" mean, inside the largest other one {other:.2g}",
            f"entries outside the active block are below {ZERO:g} of its diagonal's mean; inside,"
            " every other entry is nearer to 0 than to the diagonal's mean, and no entry of the"
            " diagonal is nearer to 0",
            other,
        )
    return Part(
        f"{what}: only that diagonal is large" if small else f"{what}: the others go to zero",
        other < (NEARER if small else ZERO) and least > NEARER,
        f"{what}: the largest other entry is {other:.2g} of its active diagonal's mean",
        (
            "every other entry is nearer to 0 than to the diagonal's mean"
            if small
            else (
                f"every other entry is below {ZERO:g} of the diagonal's mean, an order of magnitude"
            )
        )
        + ", and no entry of the diagonal is nearer to 0",
        other,
    )


def _outside(value: float, *ends: float) -> float:
    """How far a number is outside an interval; 0 inside."""
    return max(min(ends) - value, value - max(ends), 0.0)


def _last(rows: Sequence[Row], panel: str, series: str) -> float:
    return float(line(rows, panel, series)[1][-1])
