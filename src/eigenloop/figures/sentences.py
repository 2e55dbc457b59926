"""The paper's sentences on its figures, one function each: from the rows that are drawn to a judgement, part by part.

Nothing but the rows of a figure's table (and the length of the runs) is read, so a verdict is about what is seen. Where
a sentence has no number, a qualitative word is read as the nearer of the two things that the sentence tells apart:
small or like the diagonal, 1/4 or 1/6, straight or level, near zero or on the plateau. Training shorter than the
2,000 iterations of the paper's shortest window judges nothing. Source: arXiv 2606.00605, Section 5 and Appendix G.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from eigenloop.figures import quotations as q
from eigenloop.figures.drawn import (
    bend,
    deviation,
    distance,
    exponent,
    gap,
    line,
    matrix,
    panels_of,
    series_of,
    standing_out,
    straightness,
)
from eigenloop.figures.settings import FIXED_POINT_STEP, PAPER_WINDOW
from eigenloop.figures.values import Row, listed
from eigenloop.figures.verdicts import Judgement, Part, Sentence

NEARER = 0.5
"""Where the nearer of two alternatives, 0 and 1, changes."""
EXPONENTS = Fraction(1, 4), Fraction(1, 6)
"""Of the growth of a looped and of a one-layer model (Thms 4.1 and 4.3)."""
APART = float(EXPONENTS[0] - EXPONENTS[1])
FALL = 2 / 3
"""The exponent with which the loss of one layer with LN falls (Thm 4.3); a plateau has 0."""
TRAINED_LOOPS = 10
"""Of the looped model."""
SHOWN_LOOPS = 25
"""Loops that the paper's Fig. 2(c) shows; those of its Figs. 5 and 8 are missing from our copy."""
READ = 0.02
"""Relative error of points read off the paper's figures."""
LINE = 0.01
"""A line's width over the height of its axes, 1.5 points of about 150: nearer curves cannot be told apart."""
SAMPLED = 0.05
"""Five standard deviations of gamma/gamma*: 10,000 samples have a gamma* of their own, 0.45 % away, and batches of
128 at learning rate 0.1 move it by 0.8 %, (10,000/128)^(1/2) (kappa/2)^(1/2) times that, kappa = 2 eta mu2/d."""


# --- Figures 1 and 4


def structure(rows: Sequence[Row], *, steps: int, sentence: Sentence = q.STRUCTURE) -> Judgement:
    """Whether the diagonals of V_21 and W_12 stand out: each entry of them is nearer to their mean than to 0, no other.

    For Fig. 4, which says "converge to zero", the drawn ratio of the largest other entry must fall besides.
    """
    parts = []
    for letter in "WV":
        found = [standing_out(matrix(rows, panel), letter) for panel in panels_of(rows, f", {letter}")]
        other, least = max(pair[0] for pair in found), min(pair[1] for pair in found)
        parts.append(
            Part(
                f"{letter}: only that diagonal is large", other < NEARER < least,
                f"{letter}'s largest other entry is {other:.2g} of its active diagonal's mean",
                "every other entry is nearer to 0 than to the diagonal's mean, and no entry of the diagonal is", other,
            )
        )  # fmt: skip
    if sentence.figure == 4:
        panels = panels_of(rows, ", growth")
        slopes = [exponent(*line(rows, panel, "largest other entry"), last=steps) for panel in panels]
        parts.append(
            Part(
                "the others converge to zero", max(slopes) < 0,
                f"it falls like t^{max(slopes):.2f} over the last decade, beside the diagonal",
                "a fall: the end of training is no limit, so a direction is all that can be seen", max(slopes),
            )
        )  # fmt: skip
    return Judgement(sentence, parts, steps < PAPER_WINDOW)


def growth(rows: Sequence[Row], *, steps: int, sentence: Sentence = q.SCALING) -> Judgement:
    """Whether ||W||_max and ||V||_max grow over the last decade like the theorem's power of t and not like the other.

    The paper has two exponents, 1/4 and 1/6; half of what separates them is the tolerance. They hold as t grows: W
    begins at 0 and V at 1, and a^2 - b^2 is nearly kept, so W's exponent is near (a/b)^2 times V's until a/b is 1.
    """
    wanted = float(EXPONENTS[0] if sentence.figure == 1 else EXPONENTS[1])
    text, parts = EXPONENTS[0] if sentence.figure == 1 else EXPONENTS[1], []
    for letter in "WV":
        curves = [line(rows, panel, f"{letter}_max") for panel in panels_of(rows, ", growth")]
        found = [exponent(x, y, last=steps) for x, y in curves]
        worst = max(found, key=lambda value: abs(value - wanted))
        parts.append(
            Part(
                f"{letter} grows like t^({text})", abs(worst - wanted) < APART * NEARER,
                f"{letter} grows like t^{listed(f'{value:.3f}' for value in found)} (t^{wanted:.3f} in theory)",
                f"within {APART * NEARER:.3f} of {text}, half of what separates the exponents of Theorems 4.1 and 4.3",
                worst,
            )
        )  # fmt: skip
    lead = max((_last(rows, p, "V_max") / _last(rows, p, "W_max")) ** 2 for p in panels_of(rows, ", growth"))
    note = f"W's exponent is (a/b)^2 = {lead:.2f} times V's at the end, and tends to it" if sentence.figure == 4 else ""
    return Judgement(sentence, parts, steps < PAPER_WINDOW, note=note)


def points_of_figure_1(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether our curves of Fig. 1(c) meet the paper's points."""
    return _points(rows, "Task 1, growth", {"W_max": "W", "V_max": "V"}, q.POINTS_1, steps)


# --- Figure 2


def losses(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether within the paper's window the losses with LN go towards zero, and those without LN end on a plateau."""
    at, near, slopes, late = min(steps, PAPER_WINDOW), [], [], []
    for panel in panels_of(rows, "loss"):
        stops = [float(row.y) for row in rows if (row.panel, row.kind) == (panel, "level") and row.y is not None]
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
            "with LN near zero", max(near) < NEARER,
            f"with LN the losses are at most {max(near):.2g} of the lower plateau at step {at:,}",
            "nearer to 0 than to the lower of the two plateaus f*", max(near),
        ),
        Part(
            "without LN a plateau", abs(away) < FALL * NEARER,
            f"without LN level (t^{away:.3f}, against t^-2/3 with LN)",
            "over the last decade nearer to level than to the fall t^(-2/3) of Theorem 4.3", away,
        ),
    ]  # fmt: skip
    note = f"after the paper's window the normalised target's plateau is left: {', '.join(late)}" if late else ""
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
                f"slower without LN, {target} target", min(ratios) > 1,
                f"{target} target: {listed(last)} at the last loop",
                "the curve with LN lies below at every loop, in both tasks", min(ratios),
            )
        )  # fmt: skip
    return Judgement(q.SEPARATION, parts, steps < PAPER_WINDOW)


def order_of_angles(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether our trained models' angles, at the last loop, are in the order of the paper's points."""
    names = ("LN, normalised target", "no LN, unnormalised target", "no LN, normalised target")
    panel = panels_of(rows, "Task 1, angle")[0]
    ours = [float(line(rows, panel, name)[1][-1]) for name in names]
    theirs = [float(line(rows, panel, f"{name} (paper)", kind="points")[1][-1]) for name in names]
    same = list(np.argsort(ours)) == list(np.argsort(theirs))
    values = [", ".join(f"{value:.2g}" for value in found) for found in (ours, theirs)]
    part = Part(
        "the same order", same, f"ours {values[0]}; the paper's {values[1]}",
        "the paper's test point is another one, so only the order can be compared", float(same),
    )  # fmt: skip
    return Judgement(q.ORDER, [part], steps < PAPER_WINDOW)


def points_of_figure_2(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether our test losses meet the paper's points, at the learning rates that were fitted to them."""
    names = series_of(rows, "Task 1, test loss")
    return _points(rows, "Task 1, test loss", {name: name for name in names}, q.POINTS_2, steps)


# --- Figure 3


def no_gap(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether both losses keep falling for every size, and lie within a line's width of each other at every step."""
    sizes = series_of(rows, "test loss")
    slopes = [exponent(*line(rows, p, s), last=steps) for p in ("training loss", "test loss") for s in sizes]
    apart = [gap(line(rows, "training loss", s)[1], line(rows, "test loss", s)[1]) for s in sizes]
    widest, percent = max(pair[0] for pair in apart), max(pair[1] for pair in apart)
    parts = [
        Part(
            "the losses decay", max(slopes) < -FALL * NEARER,
            f"for {len(sizes)} sizes the losses fall like t^{max(slopes):.2f} or faster over the last decade",
            "nearer to the fall t^(-2/3) of Theorem 4.3 than to level", max(slopes),
        ),
        Part(
            "no discernible gap", widest < LINE,
            f"training and test loss are at most {percent:.1%} apart, {widest:.2%} of the axis",
            "closer at every step than a line is wide, 1 % of the axis", widest,
        ),
    ]  # fmt: skip
    return Judgement(q.GAP, parts, steps < PAPER_WINDOW)


# --- Figures 5 and 8


def straight(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether every snapshot's curve of Fig. 5 is straight: to the 25 loops of the paper's Fig. 2(c), and to the last.

    Slopes are taken over a quarter of the loops; a straight line has 1 for the quotient of the last and the steepest, a
    plateau 0. The power method's own curve, straight but for its beginning, is the measure of 1.
    """
    panels = list(dict.fromkeys(row.panel for row in rows))
    curves = {(panel, name): line(rows, panel, name)[1] for panel in panels for name in _snapshots(rows, panel)}
    parts = []
    for loops in (SHOWN_LOOPS, len(line(rows, panels[0], "power method")[0]) - 1):
        power = {panel: straightness(line(rows, panel, "power method")[1][: loops + 1]) for panel in panels}
        found = {key: straightness(sines[: loops + 1]) / power[key[0]] for key, sines in curves.items()}
        panel, name = min(found, key=lambda key: found[key])
        parts.append(
            Part(
                f"straight to loop {loops}", found[panel, name] > NEARER,
                f"over {loops} loops the flattest curve ({panel}, {name}) ends with {found[panel, name]:.2f} of its "
                "steepest slope",
                f"more than {NEARER:g}, nearer to a straight line's 1 than to a plateau's 0, in units of the power "
                "method's", found[panel, name],
            )
        )  # fmt: skip
    ends = {panel: min(bend(sines) for (of, _), sines in curves.items() if of == panel) for panel in panels}
    words = listed(f"loop {at} ({panel})" for panel, at in ends.items())
    summary = f"each snapshot's curve falls steadily to {words} at least; {parts[-1].found}"
    return Judgement(q.STRAIGHT, parts, steps < PAPER_WINDOW, summary)


def straight_in_layers(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether the curves of Fig. 8, at the end of training, are straight over the layers of training and over all.

    The criterion is that of `straight`; the paper's number of layers is missing from our copy.
    """
    parts, ends, power = [], [], np.empty(0)
    for panel in dict.fromkeys(row.panel for row in rows):
        power, sines = line(rows, panel, "power method")[1], line(rows, panel, _snapshots(rows, panel)[-1])[1]
        ends.append((bend(sines), float(sines[-1])))
        for layers in (TRAINED_LOOPS, len(power) - 1):
            one, best = sines[: layers + 1], power[: layers + 1]
            parts.append(
                Part(
                    f"{panel}, {layers} layers", is_straight(one, best),
                    f"falls to layer {bend(one)} of {layers}, ends at {one[-1]:.2g}",
                    "the slope over the last quarter of the layers is more than half the steepest quarter's, in units "
                    "of the same quotient of the power method", straightness(one) / straightness(best),
                )
            )  # fmt: skip
    sooner, later = (sum(part.held for part in parts[first::2]) for first in (0, 1))
    summary = (
        f"of {len(ends)} curves {sooner} are straight over the {TRAINED_LOOPS} layers of training and {later} over "
        f"{len(power) - 1}; they fall to layer {min(ends)[0]} to {max(ends)[0]} and end at a sine of "
        f"{min(end for _, end in ends):.2g} to {max(end for _, end in ends):.2g}"
    )
    return Judgement(q.LAYERS, parts, steps < PAPER_WINDOW, summary)


def is_straight(sines: np.ndarray, power: np.ndarray) -> bool:
    """Whether a curve's straightness is more than half of the power method's."""
    return straightness(sines) > NEARER * straightness(power)


def longer(rows: Sequence[Row], *, steps: int, sentence: Sentence = q.LONGER) -> Judgement:
    """Whether from snapshot to snapshot the mean distance to the power method's curve, on the log axis, falls."""
    parts, back = [], []
    for panel in dict.fromkeys(row.panel for row in rows):
        power = line(rows, panel, "power method")[1]
        names = _snapshots(rows, panel)
        found = [distance(line(rows, panel, name)[1], power) for name in names]
        rises = float(max(np.diff(found)))
        back += [panel] if found[-1] > found[0] else []
        parts.append(
            Part(
                panel, rises < 0, f"{panel}: {', '.join(f'{value:.2g}' for value in found)}",
                "the mean distance of the logarithms, over the loops at which the power method is above 1e-12, falls "
                "from each snapshot to the next", rises,
            )
        )  # fmt: skip
    yes, first = sum(part.held for part in parts), _snapshots(rows, parts[0].what)[0]
    if len(parts) < 3:
        summary = f"distance from the power method, snapshot by snapshot: {'; '.join(part.found for part in parts)}"
    else:
        summary = f"in {yes} of {len(parts)} panels each snapshot is closer than the one before"
        summary += f"; the end of training is farther than {first} in {len(back)} ({'; '.join(back)})" if back else ""
    return Judgement(sentence, parts, steps < PAPER_WINDOW, summary)


# --- Figures 6 and 7


def fixed_points(rows: Sequence[Row], *, steps: int, sentence: Sentence = q.FIXED) -> Judgement:
    """Whether each target's matrices have the structure and its weights stand still, early and at the end."""
    parts, said = [], []
    for panel in panels_of(rows, ", weights"):
        target = panel.partition(",")[0]
        for when, at in (("early", min(FIXED_POINT_STEP, steps)), ("late", steps)):
            found = [standing_out(matrix(rows, f"{target}, {letter} {when}"), letter) for letter in "WV"]
            other, least = max(pair[0] for pair in found), min(pair[1] for pair in found)
            shape = Part(
                f"{target}, structure at step {at:,}", other < NEARER < least,
                f"largest other entry {other:.2g} of the diagonal's mean",
                "every other entry is nearer to 0 than to the diagonal's mean, and no entry of the diagonal is", other,
            )  # fmt: skip
            still = _standing_still(rows, panel, target, at)
            parts += [shape, still]
            said.append(f"{target} at step {at:,}: {still.found}, {shape.found}")
    return Judgement(sentence, parts, steps < FIXED_POINT_STEP, "; ".join(said))


def _standing_still(rows: Sequence[Row], panel: str, target: str, at: int) -> Part:
    """Whether gamma is at gamma*, and a and b are level."""
    goal = next(row.y for row in rows if (row.panel, row.kind) == (panel, "level") and row.y)
    off = float(np.interp(at, *line(rows, panel, "gamma"))) / goal - 1
    drift = max((exponent(*line(rows, panel, name), last=at) for name in "ab"), key=abs)
    level = abs(drift) < NEARER * float(EXPONENTS[1])
    return Part(
        f"{target}, fixed point at step {at:,}", abs(off) < SAMPLED and level,
        f"gamma {abs(off):.1%} from gamma*" + ("" if level else f" (a and b moving like t^{drift:.2f})"),
        f"gamma within {SAMPLED:.0%} of gamma*, five deviations of what sampling and batches leave; a and b over the "
        "last decade nearer to level than to the t^(1/6) of the model with LN", off,
    )  # fmt: skip


# --- what several share


def _last(rows: Sequence[Row], panel: str, series: str) -> float:
    return float(line(rows, panel, series)[1][-1])


def _snapshots(rows: Sequence[Row], panel: str) -> list[str]:
    """The trained model's curves, by steps of training."""
    return [name for name in series_of(rows, panel) if name.startswith(("step ", "end of "))]


def _points(rows: Sequence[Row], panel: str, names: dict[str, str], sentence: Sentence, steps: int) -> Judgement:
    parts = []
    for series, name in names.items():
        found = deviation([row for row in rows if row.panel == panel], series)
        if found is None:
            continue
        off, at, _ = found
        parts.append(
            Part(
                name, off <= 2 * READ, f"{name} up to {off:.{0 if off > 0.1 else 1}%} off (at step {at:,g})",
                f"within {2 * READ:.0%} at every point, twice the reading error", off,
            )
        )  # fmt: skip
    return Judgement(sentence, parts, steps < PAPER_WINDOW)
