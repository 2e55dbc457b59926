"""docs/plateau.png and the tables of docs/plateau.md, from docs/plateau.csv: python
tools/plateau_figure.py.
"""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eigenloop.report.drawing import COLOURS, DASHES, LIGHT, MARKERS, label_logarithms

FOLDER = Path(__file__).resolve().parents[1] / "docs"
SIGMAS = 4.0
"""Standard errors over seeds that a change between two steps must exceed: 1.6 % by chance,
two-sided, with 5 seeds.
"""
SHOWN = (100, 1_000, 10_000)
"""Steps of a table; a setting's last step is added."""
TABLES = {
    "distance25": (100, 2_000, 10_000),
    "plateau": (100, 2_000, 10_000),
    "plateau_spiked": (30, 300, 10_000),
}
"""Those of docs/plateau.md."""


class Course(NamedTuple):
    """One quantity of one setting along training."""

    steps: np.ndarray
    """(T,)."""
    values: np.ndarray
    """(T, K): one column for each seed."""

    @property
    def mean(self) -> np.ndarray:
        """Over seeds, (T,)."""
        return self.values.mean(axis=1)

    @property
    def error(self) -> np.ndarray:
        """Standard error over seeds, (T,)."""
        return self.values.std(axis=1, ddof=1) / np.sqrt(self.values.shape[1])


class Verdict(NamedTuple):
    """Whether a quantity that should fall did."""

    kind: str
    """falls: lowest at the end; levels: no change beyond the error since the lowest; rises: it
    has risen since.
    """
    best: int
    """Step of the lowest mean."""
    change: float
    """Mean over seeds of (end - lowest)."""
    error: float
    """Its standard error."""

    def __str__(self) -> str:
        """In words."""
        if self.kind == "falls":
            return "to the end"
        since = "level since" if self.kind == "levels" else "rises since"
        return f"to {self.best:,}; {since} ({self.change:+.3f} ± {self.error:.3f})"


def judged(course: Course) -> Verdict:
    """Where a course is lowest, and whether it has risen since; differences are taken seed by seed.

    Example:
        >>> rising = Course(np.array([1, 10, 100]), np.array([[3.0, 3.1], [1.0, 1.1], [2.0, 2.1]]))
        >>> judged(rising).kind, judged(rising).best
        ('rises', 10)
    """
    best = int(np.argmin(course.mean))
    change = course.values[-1] - course.values[best]
    error = float(change.std(ddof=1) / np.sqrt(len(change)))
    mean = float(change.mean())
    kind = (
        "falls" if best == len(course.steps) - 1 else "rises" if mean > SIGMAS * error else "levels"
    )
    return Verdict(kind, int(course.steps[best]), mean, error)


def read(path: Path) -> list[dict[str, str]]:
    """The grid's rows."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def course(rows: Iterable[dict[str, str]], setting: str, name: str) -> Course:
    """One column of one setting."""
    mine = [row for row in rows if row["setting"] == setting]
    steps = sorted({int(row["step"]) for row in mine})
    seeds = sorted({int(row["seed"]) for row in mine})
    at = {(int(row["step"]), int(row["seed"])): float(row[name]) for row in mine}
    return Course(np.array(steps), np.array([[at[step, seed] for seed in seeds] for step in steps]))


def exponent(course: Course, other: Course, factor: float) -> tuple[float, float]:
    """p with other/course = factor^p at their last step, and its standard error (seeds are
    independent).

    Example:
        >>> one, two = (Course(np.array([1]), np.array([[v, v * 1.1]])) for v in (1.0, 2.0))
        >>> round(exponent(one, two, 4.0)[0], 3)
        0.5
    """
    logs = [np.log(of.values[-1]) for of in (course, other)]
    value = (logs[1].mean() - logs[0].mean()) / np.log(factor)
    error = np.hypot(*(log.std(ddof=1) / np.sqrt(len(log)) for log in logs)) / abs(np.log(factor))
    return float(value), float(error)


LOOPED, SINGLE = "looped10-planted", "single-planted"
DRAWN = (
    ("0.1-constant-b128-n10000-t156000", "rate 0.1"),
    ("0.03-constant-b128-n10000-t156000", "rate 0.03"),
    ("0.01-constant-b128-n10000-t156000", "rate 0.01"),
    ("0.1-constant-b512-n10000-t38000", "rate 0.1, batch 512"),
    ("0.1-constant-b128-n100000-t156000", "rate 0.1, 100,000 samples"),
    ("0.01-constant-b128-n100000-t156000", "rate 0.01, 100,000 samples"),
)
"""Settings of the figure, as far as a model has them: 10,000 samples and batch 128 unless the
label says otherwise.
"""


def described(setting: str) -> str:
    """A setting's name in words.

    Example:
        >>> described("looped10-planted-0.1-cosine-b128-n10000-t156000")
        'looped, L = 10, Task 2, rate 0.1 to 0 along a cosine, batch 128, 10,000 samples'
    """
    model, task, rate, schedule, batch, samples, _ = setting.split("-")
    kind = "one layer" if model == "single" else f"looped, L = {model.removeprefix('looped')}"
    number = "fresh samples" if samples == "fresh" else f"{int(samples[1:]):,} samples"
    falls = " to 0 along a cosine" if schedule == "cosine" else ""
    return (
        f"{kind}, Task {1 + (task == 'planted')}, rate {rate}{falls}, batch {batch[1:]}, {number}"
    )


def panel(
    axes: Axes, rows: list[dict[str, str]], model: str, name: str, theory: str | None = None
) -> None:
    """One quantity of one model: means and standard errors over seeds."""
    known = {row["setting"] for row in rows}
    for index, (setting, label) in enumerate(DRAWN):
        if f"{model}-{setting}" in known:
            of = course(rows, f"{model}-{setting}", name)
            axes.errorbar(
                of.steps,
                of.mean,
                of.error,
                color=COLOURS[index],
                linestyle=DASHES[index],
                label=label,
                marker=MARKERS[index],
                markersize=3.5,
                linewidth=1.3,
                elinewidth=0.8,
            )
    if theory:
        of = course(rows, f"{model}-{DRAWN[0][0]}", theory)
        axes.plot(
            of.steps,
            of.mean,
            ":",
            color="black",
            label="gradient descent on the population, rate 0.1",
        )
    axes.set(xscale="log", yscale="log", xlabel="step")


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Where the loops end above; below, how far the error curves are from the power method's."""
    with mpl.rc_context(LIGHT):  # type: ignore[arg-type]  # Matplotlib lists its keys as literals
        figure = Figure(figsize=(8.6, 6.8), layout="constrained")
        grid = figure.subplots(2, 2)
        panel(grid[0, 0], rows, LOOPED, "plateau")
        panel(grid[0, 1], rows, LOOPED, "plateau_spiked")
        panel(grid[1, 0], rows, LOOPED, "distance25", "distance25_theory")
        panel(grid[1, 1], rows, SINGLE, "distance25", "distance25_theory")
        grid[0, 0].set(title="Looped, L = 10: where the loops end", ylabel="median sine to $u_1$")
        grid[0, 1].set(title="The same on one large eigenvalue (not trained on)")
        grid[1, 0].set(
            title="Looped, L = 10: distance to the power method", ylabel="decades, mean of 25 loops"
        )
        grid[1, 1].set(title="One layer (Fig. 5): distance to the power method")
        for axes in grid.flat:
            label_logarithms(axes)
        figure.legend(*grid[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        figure.savefig(path, dpi=130)


def words(of: Course, at: int) -> str:
    """Mean and standard error at a step, the error with one digit; a dash where the setting has no
    such snapshot.

    Example:
        >>> words(Course(np.array([7]), np.array([[0.1, 0.104]])), 7)
        '0.102 ± 0.002'
    """
    found = np.flatnonzero(of.steps == at)
    if not len(found):
        return "-"
    mean, error = of.mean[found[0]], of.error[found[0]]
    digits = int(np.clip(-np.floor(np.log10(max(error, 1e-9))), 3, 6))
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def table(rows: list[dict[str, str]], name: str, steps: tuple[int, ...]) -> list[str]:
    """A Markdown table of one quantity: a line for each setting, its verdict last."""
    lines = ["| setting | " + " | ".join(f"{step:,}" for step in steps) + " | end | falls |"]
    lines.append("| --- " * (len(steps) + 3) + "|")
    for setting in dict.fromkeys(row["setting"] for row in rows):
        of = course(rows, setting, name)
        cells = [*(words(of, step) for step in steps), words(of, int(of.steps[-1]))]
        lines.append(f"| {described(setting)} | " + " | ".join(cells) + f" | {judged(of)} |")
    return lines


def main(arguments: list[str]) -> int:
    """Draw, and print the tables of the named columns of the CSV, by default those of
    docs/plateau.md.
    """
    rows = read(FOLDER / "plateau.csv")
    draw(rows, FOLDER / "plateau.png")
    for name in arguments or list(TABLES):
        print(f"{name}\n\n" + "\n".join(table(rows, name, TABLES.get(name, SHOWN))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
