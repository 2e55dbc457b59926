"""Where population gradient descent ends: by the asymptotic formulas, and by the recursion itself.

Source: arXiv 2606.00605, Thms 4.1 to 4.3; the constants of the formulas are derived here (see
`theory.dynamics`).
"""

from collections.abc import Callable

import numpy as np

from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent
from eigenloop.theory.dynamics import STEPWISE, Path, asymptotic, check_steps, long_run, recursion
from eigenloop.theory.population import (
    EndToEnd,
    LayerwiseLinear,
    LayerwiseNorm,
    Setting,
    check_loops,
    upsilon2_diverges,
)
from eigenloop.theory.summary import Spectra, Summary

SETTINGS = ("end_to_end", "layerwise", "no_norm_normalized", "no_norm_unnormalized")
"""Theorem 4.1, Theorem 4.3, and Theorem 4.2 for its two targets."""
QUANTITIES = ("gamma", "a", "b", "loss")
LEADING = "not known: only the leading order at many steps is given; compare with recursion"
DRAWS, GROUPS = 32, 8
"""Spectra of Task 1 that the models with LN are trained on (without LN: all), and groups for the
standard error.
"""


def endpoints(
    of: Spectra,
    *,
    loops: int = 10,
    learning_rate: float,
    steps: float,
    progress: Progress = silent,
) -> dict[str, Summary]:
    """gamma, a, b and the loss after gradient descent from (a, b) = (1, 0).

    Args:
        of: one spectrum, or many, of which the models with LN are trained on the first `DRAWS`
            together.
        loops: L of the end-to-end model.
        learning_rate: eta > 0.
        steps: a whole number, at least 1.
        progress: told how far each part is.

    Returns:
        "predicted" and "recursion", each with values named "setting.quantity".

    Raises:
        InputError: a learning rate, number of steps or loops without meaning.

    Example:
        >>> found = endpoints(Spectra.fixed([2.0, 1.0]), loops=1, learning_rate=0.1, steps=500)
        >>> round(found["recursion"].values["no_norm_unnormalized.gamma"], 9)
        0.4
    """
    check_steps(learning_rate, steps)
    if steps != int(steps):
        raise InputError(f"--steps is {steps:g}; it must be a whole number")
    check_loops(loops)
    found = {"predicted": Summary(), "recursion": Summary()}
    for done, name in enumerate(SETTINGS):
        progress("training", done, len(SETTINGS))
        _ends(
            found,
            name,
            of.rows if name.startswith("no_norm") else of.rows[:DRAWS],
            loops,
            learning_rate,
            steps,
        )
        if name == "layerwise":
            _without_mean(found["predicted"], name, of)
    progress("training", len(SETTINGS), len(SETTINGS))
    found["predicted"].reasons["errors"] = LEADING
    return found


def _ends(
    found: dict[str, Summary],
    name: str,
    rows: np.ndarray,
    loops: int,
    learning_rate: float,
    steps: float,
) -> None:
    make = _MAKERS[name]
    setting = make(rows, loops)
    predicted, why, constant_error = _predicted(setting, learning_rate, steps)
    path = _run(setting, learning_rate, steps)
    ends = {"predicted": predicted, "recursion": _end(setting, path)}
    errors = {"predicted": None, "recursion": path.error + constant_error}
    groups = (
        [[], []] if len(rows) < 2 * GROUPS else _group_ends(make, rows, loops, learning_rate, steps)
    )
    reasons = {"predicted": why, "recursion": _why_not(name, path)}
    for (kind, summary), apart in zip(found.items(), groups, strict=True):
        for i, quantity in enumerate(QUANTITIES):
            spread = (
                None if not apart else float(np.std(apart, axis=0, ddof=1)[i] / np.sqrt(len(apart)))
            )
            summary.put(f"{name}.{quantity}", ends[kind][i], errors[kind], spread, reasons[kind])


def _without_mean(predicted: Summary, name: str, of: Spectra) -> None:
    """No number, or no standard error, where Upsilon_2 has no mean or no variance over X."""
    for quantity in QUANTITIES:
        key, known = f"{name}.{quantity}", predicted.values[f"{name}.{quantity}"] is not None
        if known and of.upsilon2_mean():
            predicted.put(key, np.nan, None, None, of.upsilon2_mean())
        elif known and of.upsilon2_variance():
            predicted.stderr[key], predicted.reasons[f"stderr.{key}"] = None, of.upsilon2_variance()


def _why_not(name: str, path: Path) -> str:
    """Why there is no end: with LN gamma grows at any learning rate (Lemma A.5), but not every
    number is a float64.
    """
    if np.isnan(path.a[-1]):
        return (
            f"it still oscillates about gamma* after {STEPWISE:,} steps: the learning rate is too"
            " large"
        )
    if name.startswith("no_norm"):
        return "it diverges: the learning rate is too large"
    return "it leaves the range of float64: the learning rate is too large"


def _group_ends(
    make: Callable[[np.ndarray, int], Setting],
    rows: np.ndarray,
    loops: int,
    learning_rate: float,
    steps: float,
) -> list[list[list[float]]]:
    """The same for each of a few groups of spectra: their scatter is that of the mean, to first
    order.
    """
    predicted, recursed = [], []
    for group in np.array_split(rows, GROUPS):
        setting = make(group, loops)
        predicted.append(_predicted(setting, learning_rate, steps)[0])
        recursed.append(_end(setting, long_run(setting, learning_rate=learning_rate, steps=steps)))
    return [predicted, recursed]


def _run(setting: Setting, learning_rate: float, steps: float) -> Path:
    if steps <= STEPWISE:
        return recursion(setting, learning_rate=learning_rate, steps=int(steps))
    return long_run(setting, learning_rate=learning_rate, steps=steps)


def _predicted(
    setting: Setting, learning_rate: float, steps: float
) -> tuple[list[float], str, float]:
    """The asymptotic formulas, in the order of `QUANTITIES`; why they say nothing; the error of
    their constant.
    """
    nothing = [np.nan] * len(QUANTITIES)
    if isinstance(setting, LayerwiseNorm):
        why = upsilon2_diverges(setting.rows)
        if why:
            return nothing, why, 0.0
        constant = setting.upsilon2()
    elif isinstance(setting, EndToEnd):
        constant = setting.upsilon1()
        if not np.all(constant.value > 0):
            return nothing, "Upsilon_1 is 0 or below the smallest number of float64", 0.0
    else:
        assert isinstance(setting, LayerwiseLinear)
        constant = setting.optimum()
    found = asymptotic(setting, learning_rate=learning_rate, steps=steps)
    return [found[quantity] for quantity in QUANTITIES], "", float(np.max(constant.error))


def _end(setting: Setting, path: Path) -> list[float]:
    gamma = float(path.a[-1]) * float(path.b[-1])  # infinite, without a warning, where it diverges
    loss = float(np.mean(setting.loss(gamma).value)) if np.isfinite(gamma) else np.nan
    return [gamma, float(path.a[-1]), float(path.b[-1]), loss]


_MAKERS: dict[str, Callable[[np.ndarray, int], Setting]] = {
    "end_to_end": EndToEnd,
    "layerwise": lambda rows, loops: LayerwiseNorm(rows),
    "no_norm_normalized": lambda rows, loops: LayerwiseLinear(rows, "normalized"),
    "no_norm_unnormalized": lambda rows, loops: LayerwiseLinear(rows, "unnormalized"),
}
