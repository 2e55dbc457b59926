"""Figure 8 of arXiv 2606.00605: the looped model out of distribution, angle against the number of
layers (Thm 4.7).

The synthetic cases use the d = 16 models of Figure 1 on spectra and sample sizes that they never
saw. The real tables have other dimensions; for each, a model of its dimension is trained on Task 1
data with n = 2d (fewer steps). The first two panels show the test set, where the paper shows one
fixed point of it. Expected: a fall over the first layers, then a plateau that the deviation of A
and B from multiples of I leaves: median sine 0.1 to 0.3 for end-to-end training at learning rate
0.1, more than ten times lower for a single layer trained layerwise and looped.
"""

from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.figures import error_curves, panels, quotations
from eigenloop.figures.drawn import line
from eigenloop.figures.points import Points, held_out, spectrum_points, table_points
from eigenloop.figures.running import models, train_all
from eigenloop.figures.settings import REAL_TABLES, Budget, layerwise, looped, real
from eigenloop.figures.values import FigureData, Row, curve, settings_of
from eigenloop.lab.checkpoints import Trained
from eigenloop.lab.config import TrainConfig
from eigenloop.system.progress import Progress, silent

TITLE = (
    "Looped transformer out of distribution: angle against layers on other spectra and real tables"
)
LAYERS = 25
PLATEAU_LOOPS = 400
QUERIES = 500


def spiked(dim: int) -> tuple[float, ...]:
    """One large eigenvalue, the others equal; of n = 4d columns.

    Example:
        >>> spiked(3)
        (4.5, 3.75, 3.75)
    """
    return 1.5 * dim, *(2.5 * dim / (dim - 1),) * (dim - 1)


def geometric(dim: int) -> tuple[float, ...]:
    """Each eigenvalue 0.7 times the one before; of n = 2d columns."""
    return tuple(2 * dim * 0.3 * 0.7**i / (1 - 0.7**dim) for i in range(dim))


SPIKED, GEOMETRIC = spiked(16), geometric(16)
"""Those of the paper's dimension."""


def runs(budget: Budget) -> dict[str, TrainConfig]:
    """What must be trained."""
    synthetic = {
        k: v
        for task in budget.tasks
        for k, v in (looped(task, budget) | layerwise(task, budget)).items()
    }
    return synthetic | real(budget)


def compute(budget: Budget, directory: Path, progress: Progress = silent) -> FigureData:
    """Train (or read) the runs and fill the table."""
    configs = runs(budget)
    trained = train_all(configs, directory, progress)
    seed = budget.seed

    def synthetic(spectrum: tuple[float, ...], samples: int) -> Points:
        return spectrum_points(spectrum, samples=samples, queries=QUERIES, seed=seed)

    cases: list[tuple[str, str, Points]] = [
        (f"{name} model and data", task, held_out(trained[f"looped-{task}"].config))
        for task, name in budget.tasks.items()
    ]
    d, _ = budget.size
    for index, (task, name) in enumerate(budget.tasks.items()):
        if index == 0:
            cases.append(
                (f"{name} model, one spike, n = {4 * d}", task, synthetic(spiked(d), 4 * d))
            )
        cases.append((f"{name} model, geometric spectrum", task, synthetic(geometric(d), 2 * d)))
    for name, dim in REAL_TABLES.items():
        if f"looped-real-{name}" not in trained:
            continue
        points = table_points(name, queries=QUERIES, seed=seed)
        cases.append((f"{name.replace('_', ' ')}, d = {dim}", f"real-{name}", points))
    table: list[Row] = []
    words = []
    for panel, run_name, points in cases:
        run, single = trained[f"looped-{run_name}"], trained[f"layerwise-{run_name}"]
        table += layer_rows(panel, run, single, points)
        words.append(_words(panel, table, run, single, points))
    for task, name in budget.tasks.items():
        run = trained[f"looped-{task}"]
        points = held_out(run.config)
        shares = ", ".join(
            f"{share:.0%} over {layers} layers"
            for layers, share in straight_shares(run, points).items()
        )
        words.append(
            f"{name}, its test set: median plateau {_plateau(run, points):.2g}; of the curves of"
            f" {len(points.query):,} single points {shares} are straight"
        )
    steps = min(int(trained[f"looped-{name}"].steps[-1]) for _, name, _ in cases)
    judgements = (
        error_curves.straight_in_layers(table, steps=steps),
        error_curves.longer(table, steps=steps, sentence=quotations.LONGER_8),
    )
    return FigureData(
        8,
        TITLE,
        tuple(table),
        judgements,
        tuple(words),
        f"eigenloop reproduce --figure 8 {budget.options}",
        settings_of(configs),
    )


def layer_rows(panel: str, run: Trained, single: Trained | None, points: Points) -> list[Row]:
    """Median sine over the queries against layers: each snapshot, a layer trained layerwise, the
    power method.
    """
    x, found = range(LAYERS + 1), models(run)

    def sines(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        each = [
            np.median(points.sines(a, b, loops=LAYERS), axis=1) for a, b in zip(*pair, strict=True)
        ]
        return np.stack(each, axis=1)

    rows: list[Row] = []
    for index, pair in enumerate(found.values()):
        rows += curve(panel, _series(index, len(found), found), x, sines(pair))
    if single is not None:
        rows += curve(
            panel, "one layer trained layerwise", x, sines(models(single)[int(single.steps[-1])])
        )
    return rows + curve(
        panel, "power method", x, np.median(points.power_sines(loops=LAYERS), axis=1)
    )


def straight_shares(run: Trained, points: Points) -> dict[int, float]:
    """Layers, those of the training and those drawn -> the share of points whose own curve is
    straight so far.
    """
    a, b = models(run)[int(run.steps[-1])]
    sines, power = points.sines(a[0], b[0], loops=LAYERS).T, points.power_sines(loops=LAYERS).T
    return {
        layers: float(
            np.mean(
                [
                    error_curves.is_straight(one[: layers + 1], best[: layers + 1])
                    for one, best in zip(sines, power, strict=True)
                ]
            )
        )
        for layers in (run.config.loops, LAYERS)
    }


def _words(panel: str, rows: list[Row], run: Trained, single: Trained, points: Points) -> str:
    loops = run.config.loops
    ours, power = (
        line(rows, panel, name)[1][loops] for name in ("end of training", "power method")
    )
    ratio, second = np.median(points.ratios), points.multiplicity + 1
    return (
        f"{panel} (lambda_{second}/lambda_1 = {ratio:.2g}): {ours:.2g} after {loops} layers (power"
        f" method {power:.2g}), plateau {_plateau(run, points):.2g}, of a single layer trained"
        f" layerwise {_plateau(single, points):.2g}"
    )


def _series(index: int, count: int, found: dict[int, Any]) -> str:
    return "end of training" if index == count - 1 else f"step {list(found)[index]:,}"


def _plateau(run: Trained, points: Points) -> float:
    a, b = models(run)[int(run.steps[-1])]
    return float(np.median(points.sines(a[0], b[0], loops=PLATEAU_LOOPS)[-1]))


def draw(data: FigureData) -> Any:
    """The training distribution and synthetic spectra, then real tables."""
    rows = -(-len(data.panels) // 4)
    columns = min(4, len(data.panels))
    figure = panels.canvas(3 * columns, 3.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    look = panels.styles(data, markers=True)
    for axes, panel in zip(grid.flat, data.panels, strict=False):
        axes.set(yscale="log", ylim=(1e-4, 1.5))  # before the ticks are chosen
        panels.curves(
            axes,
            data.panel(panel),
            look,
            title=panel,
            xlabel="layers",
            ylabel="sin phi to the principal direction",
            xscale="linear",
        )
    for axes in list(grid.flat)[len(data.panels) :]:
        axes.set_axis_off()
    panels.shared_legend(figure, list(grid.flat)[: len(data.panels)], columns=columns + 1)
    return figure
