"""What is said of the error curves over loops, Figs.

5 and 8, as `eigenloop.figures.sentences` judges the others.
"""

from collections.abc import Sequence

import numpy as np

from eigenloop.figures import quotations as q
from eigenloop.figures.drawn import bend, distance, line, series_of, straightness
from eigenloop.figures.sentences import NEARER
from eigenloop.figures.settings import PAPER_WINDOW
from eigenloop.figures.values import Row
from eigenloop.figures.verdicts import Judgement, Part, Sentence
from eigenloop.system.wording import joined

TRAINED_LOOPS = 10
"""Of the looped model."""
SHOWN_LOOPS = 25
"""Loops that the paper's Fig. 2(c) shows; those of its Figs. 5 and 8 are missing from our copy."""


def straight(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether every snapshot's curve of Fig. 5 is straight over the loops of the paper's Fig. 2(c).

    Slopes are taken over a quarter of the loops; a straight line has 1 for the quotient of the last
    and the steepest, a plateau 0. The power method's own curve, straight but for its beginning, is
    the measure of 1.
    """
    key, least, ends = _flattest(rows, SHOWN_LOOPS)
    found = (
        f"over {SHOWN_LOOPS} loops the flattest curve ({key}) ends with {least:.2f} of its steepest"
        " slope"
    )
    part = Part(
        f"straight to loop {SHOWN_LOOPS}",
        least > NEARER,
        found,
        f"more than {NEARER:g}, nearer to a straight line's 1 than to a plateau's 0, in units of"
        " the power method's; the paper's number of loops is missing from our copy, and its Fig."
        " 2(c) has as many",
        least,
    )
    return Judgement(
        q.STRAIGHT,
        [part],
        steps < PAPER_WINDOW,
        f"each snapshot's curve falls steadily to {ends}; {found}",
    )


def bent(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether over all loops that we draw some snapshot's curve is not straight, by the
    criterion of `straight`.
    """
    loops = len(line(rows, rows[0].panel, "power method")[0]) - 1
    key, least, ends = _flattest(rows, loops)
    found = (
        f"over {loops} loops the flattest curve ({key}) ends with {least:.2f} of its steepest slope"
    )
    part = Part(
        f"bent by loop {loops}",
        least < NEARER,
        found,
        f"less than {NEARER:g}, nearer to a plateau's 0 than to a straight line's 1, in units of"
        " the power method's",
        least,
    )
    return Judgement(
        q.BENT,
        [part],
        steps < PAPER_WINDOW,
        f"each snapshot's curve falls steadily to {ends}; {found}",
    )


def _flattest(rows: Sequence[Row], loops: int) -> tuple[str, float, str]:
    """The flattest of all snapshots' curves over so many loops; how flat it is; where the curves
    of a panel bend.
    """
    panels = list(dict.fromkeys(row.panel for row in rows))
    curves = {
        (panel, name): line(rows, panel, name)[1]
        for panel in panels
        for name in _snapshots(rows, panel)
    }
    power = {
        panel: straightness(line(rows, panel, "power method")[1][: loops + 1]) for panel in panels
    }
    found = {key: straightness(sines[: loops + 1]) / power[key[0]] for key, sines in curves.items()}
    ends = {
        panel: min(bend(sines[: loops + 1]) for (of, _), sines in curves.items() if of == panel)
        for panel in panels
    }
    key = min(found, key=lambda key: found[key])
    return (
        ", ".join(key),
        found[key],
        joined(f"loop {at} ({panel})" for panel, at in ends.items()) + " at least",
    )


def straight_in_layers(rows: Sequence[Row], *, steps: int) -> Judgement:
    """Whether the curves of Fig.

    8, at the end of training, are straight over the layers of training and over all.

    The criterion is that of `straight`; the paper's number of layers is missing from our copy.
    """
    parts, ends, power = [], [], np.empty(0)
    for panel in dict.fromkeys(row.panel for row in rows):
        power, sines = (
            line(rows, panel, "power method")[1],
            line(rows, panel, _snapshots(rows, panel)[-1])[1],
        )
        ends.append((bend(sines), float(sines[-1])))
        for layers in (TRAINED_LOOPS, len(power) - 1):
            one, best = sines[: layers + 1], power[: layers + 1]
            parts.append(
                Part(
                    f"{panel}, {layers} layers",
                    is_straight(one, best),
                    f"falls to layer {bend(one)} of {layers}, ends at {one[-1]:.2g}",
                    "the slope over the last quarter of the layers is more than half the steepest"
                    " quarter's, in units of the same quotient of the power method",
                    straightness(one) / straightness(best),
                )
            )
    sooner, later = (sum(part.held for part in parts[first::2]) for first in (0, 1))
    summary = (
        f"of {len(ends)} curves {sooner} are straight over the {TRAINED_LOOPS} layers of training"
        f" and {later} over {len(power) - 1}; they fall to layer {min(ends)[0]} to {max(ends)[0]}"
        f" and end at a sine of {min(end for _, end in ends):.2g} to"
        f" {max(end for _, end in ends):.2g}"
    )
    return Judgement(q.LAYERS, parts, steps < PAPER_WINDOW, summary)


def is_straight(sines: np.ndarray, power: np.ndarray) -> bool:
    """Whether a curve's straightness is more than half of the power method's."""
    return straightness(sines) > NEARER * straightness(power)


def longer(rows: Sequence[Row], *, steps: int, sentence: Sentence = q.LONGER) -> Judgement:
    """Whether from snapshot to snapshot the mean distance to the power method's curve, on the
    log axis, falls.
    """
    parts, back = [], []
    for panel in dict.fromkeys(row.panel for row in rows):
        power = line(rows, panel, "power method")[1]
        names = _snapshots(rows, panel)
        found = [distance(line(rows, panel, name)[1], power) for name in names]
        rises = float(max(np.diff(found)))
        back += [panel] if found[-1] > found[0] else []
        parts.append(
            Part(
                panel,
                rises < 0,
                f"{panel}: {', '.join(f'{value:.2g}' for value in found)}",
                "the mean distance of the logarithms, over the loops at which the power method is"
                " above 1e-12, falls from each snapshot to the next",
                rises,
            )
        )
    yes, first = sum(part.held for part in parts), _snapshots(rows, parts[0].what)[0]
    if len(parts) < 3:
        summary = (
            "distance from the power method, snapshot by snapshot:"
            f" {'; '.join(part.found for part in parts)}"
        )
    else:
        summary = f"in {yes} of {len(parts)} panels each snapshot is closer than the one before"
        summary += (
            f"; the end of training is farther than {first} in {len(back)} ({'; '.join(back)})"
            if back
            else ""
        )
    return Judgement(sentence, parts, steps < PAPER_WINDOW, summary)


def _snapshots(rows: Sequence[Row], panel: str) -> list[str]:
    """The trained model's curves, by steps of training."""
    return [name for name in series_of(rows, panel) if name.startswith(("step ", "end of "))]
