"""Do models that train longer come closer to the power method? A grid of trainings: python
tools/plateau_grid.py.

    python tools/plateau_grid.py    train what docs/plateau.csv lacks (about 50 minutes on one core)
    python tools/plateau_grid.py --only NAME,...  these settings
    python tools/plateau_grid.py --list           their names

A setting is written to the CSV when all of its seeds are done, so an interrupted grid goes on where
it was. One row is one seed at one step; what the columns hold is said in docs/plateau.md. Measured
once; no test or claim runs it.
"""

import argparse
import csv
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax

from eigenloop.figures.figure8 import GEOMETRIC, SPIKED
from eigenloop.figures.plateau import (
    curve_distances,
    deviation,
    first_order_sines,
    limit_sines,
    points_of,
    turned_points,
)
from eigenloop.figures.points import Points
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.training import Trainer
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.population import EndToEnd, LayerwiseNorm
from eigenloop.theory.slopes import SlopeTable
from eigenloop.theory.summary import Spectra

CSV = Path(__file__).resolve().parents[1] / "docs" / "plateau.csv"
SEEDS = 5
EPOCHS = 2_000
"""The paper's."""
STEPS = (10, 30, 100, 300, 1_000, 2_000, 4_000, 10_000, 20_000, 40_000, 80_000, 156_000)
"""Snapshots, as far as a setting goes; 2,000 is "2000 training iterations", 156,000 the paper's
2,000 epochs.
"""
HELD_OUT = 400
"""Test points of each seed."""
ROTATIONS = 200
"""Test points of each spectrum out of distribution, all in different rotations."""
LOOPS = 50
SPECTRA = 32
"""Spectra of Task 1 in the population recursion."""

Schedule = Literal["constant", "cosine", "inverse-root"]


@dataclass(frozen=True)
class Setting:
    """A training, as differences from the paper's run."""

    task: str = "planted"
    objective: str = "end-to-end"
    loops: int = 10
    rate: float = 0.1
    schedule: Schedule = "constant"
    batch: int = 128
    samples: int = 10_000
    """Training samples; 0 draws fresh ones at every step."""
    steps: int = 156_000

    @property
    def name(self) -> str:
        """Unique; words for what differs from one another."""
        kind = "single" if self.objective == "layerwise" else f"looped{self.loops}"
        samples = "fresh" if self.samples == 0 else f"n{self.samples}"
        trained = f"{self.rate:g}-{self.schedule}-b{self.batch}-{samples}-t{self.steps}"
        return f"{kind}-{self.task}-{trained}"

    def config(self) -> TrainConfig:
        """What the engine needs to know."""
        size = {"fresh": True} if self.samples == 0 else {"train_size": self.samples}
        return TrainConfig.create(
            task=self.task,
            objective=self.objective,
            loops=self.loops,
            learning_rate=self.rate,
            batch=self.batch,
            steps=self.steps,
            seeds=SEEDS,
            test_size=HELD_OUT,
            **size,
        )


def grid() -> list[Setting]:
    """Every setting, the most telling first."""
    tasks, rates = ("planted", "sphere"), (0.1, 0.03, 0.01)
    core = [Setting(task=task, rate=rate) for rate in rates for task in tasks]
    single = [
        Setting(task=task, rate=rate, objective="layerwise", loops=1)
        for rate in rates
        for task in tasks
    ]
    many = [Setting(task=task, samples=100_000) for task in tasks] + [
        Setting(rate=0.01, samples=100_000)
    ]
    many += [Setting(samples=2_500), Setting(samples=400_000)]
    large = [Setting(task=task, batch=512, steps=38_000) for task in tasks]
    large += [Setting(rate=0.01, batch=512, steps=38_000)]
    fresh = [Setting(samples=0, steps=10_000), Setting(samples=0, steps=10_000, rate=0.01)]
    falling = [Setting(task=task, schedule="cosine") for task in tasks] + [
        Setting(schedule="inverse-root")
    ]
    short = [Setting(task=task, schedule="cosine", steps=10_000) for task in tasks]
    fewer = [Setting(task=task, loops=4) for task in tasks]
    lone = {"objective": "layerwise", "loops": 1}
    extra = [Setting(**lone, batch=512, steps=38_000), Setting(**lone, samples=100_000)]
    extra += [Setting(**lone, task=task, schedule="cosine") for task in tasks]
    return core + single + many + large + fresh + falling + fewer + extra + short


def rate_at(schedule: Schedule, rate: float, step: Any, total: int) -> Any:
    """eta_t: constant, eta (1 + cos(pi t / T)) / 2, or eta / sqrt(1 + t / 1000); of one step or of
    an array of steps.

    Example:
        >>> (
        ...     float(rate_at("cosine", 0.1, 50, 100)),
        ...     round(float(rate_at("inverse-root", 0.1, 3_000, 0)), 12),
        ... )
        (0.05, 0.05)
    """
    xp = jax.numpy if isinstance(step, jax.Array) else np
    if schedule == "cosine":
        return rate * (1 + xp.cos(math.pi * step / total)) / 2
    return rate / xp.sqrt(1 + step / 1_000) if schedule == "inverse-root" else rate + 0 * step


def population(slope: Callable[[float], float], rates: np.ndarray, dim: int) -> np.ndarray:
    """gamma_t of gradient descent on the population objective from (1, 0), t = 0, ..., T, with its
    own rate each step.

    Example:
        >>> population(lambda gamma: -2.0, np.array([0.5]), 2)
        array([0. , 0.5])
    """
    a, b, found = 1.0, 0.0, np.zeros(len(rates) + 1)
    for t, rate in enumerate(rates):
        k = -rate / dim * slope(a * b)
        a, b = a + k * b, b + k * a
        found[t + 1] = a * b
    return found


@lru_cache
def slope_of(objective: str, task: str, loops: int) -> SlopeTable:
    """f' of the population objective; Task 1 averages over sampled spectra."""
    fixed = task == "planted"
    rows = (
        DEFAULT_MULTIPLICITIES
        if fixed
        else Spectra.sphere(dim=16, samples=32, draws=SPECTRA, seed=0).rows
    )
    return SlopeTable(LayerwiseNorm(rows) if objective == "layerwise" else EndToEnd(rows, loops))


def snapshots(steps: int) -> list[int]:
    """The steps at which a setting is looked at.

    Example:
        >>> snapshots(50)
        [10, 30, 50]
    """
    return [*(step for step in STEPS if step < steps), steps]


@lru_cache
def shifted(spectrum: tuple[float, ...]) -> Points:
    """Test points of another spectrum, each in a rotation of its own: out of distribution,
    Assumption 4.4.
    """
    return turned_points(spectrum, count=ROTATIONS, seed=4)


def measured(
    a: np.ndarray, b: np.ndarray, points: Points, gamma: float
) -> tuple[dict[str, float], np.ndarray]:
    """One model's row, and the distance of each point's error curve to the power method's over 25
    loops.

    Args:
        a: A.
        b: B.
        points: held out, of the training distribution.
        gamma: of the population theory, whose model is A = gamma I, B = I.
    """
    sines, power = points.sines(a, b, loops=LOOPS), points.power_sines(loops=LOOPS)
    theory = points.sines(gamma * np.eye(len(a)), np.eye(len(a)), loops=LOOPS)
    limit = limit_sines(a, b, points)
    row = {
        "gamma": float(np.trace(a @ b)) / len(a),
        "gamma_theory": gamma,
        "deviation_a": deviation(a),
        "deviation_b": deviation(b),
        "plateau": float(np.nanmedian(limit)),
        "no_limit": float(np.mean(np.isnan(limit))),
        "plateau_first_order": float(np.median(first_order_sines(a, b, points))),
        "plateau_geometric": float(np.nanmedian(limit_sines(a, b, shifted(GEOMETRIC)))),
        "plateau_spiked": float(np.nanmedian(limit_sines(a, b, shifted(SPIKED)))),
    }
    for loops in (10, 25):
        for name, of in (("", sines), ("_power", power), ("_theory", theory)):
            row[f"sine{loops}{name}"] = float(np.median(of[loops]))
    for loops in (10, 25, 50):
        row[f"distance{loops}"] = float(np.median(curve_distances(sines, power, loops=loops)))
    row["distance25_theory"] = float(np.median(curve_distances(theory, power, loops=25)))
    return row, curve_distances(sines, power, loops=25)


def rows_of(setting: Setting) -> Iterator[dict[str, Any]]:
    """Train the seeds side by side; one row for each seed and snapshot.

    `closer25`: the share of held-out points whose error curve is closer to the power method's than
    a snapshot before.
    """
    config = setting.config()

    def rate(step: Any) -> Any:
        return rate_at(setting.schedule, setting.rate, step, setting.steps)

    trainer = Trainer(config, optimizer=None if setting.schedule == "constant" else optax.sgd(rate))
    rates = np.asarray(rate(np.arange(setting.steps)), np.float64)
    gammas = population(slope_of(setting.objective, setting.task, setting.loops), rates, config.dim)
    gram, query = np.asarray(trainer.test.gram), np.asarray(trainer.test.query)
    points = [points_of(gram[seed], query[seed]) for seed in range(SEEDS)]
    (models, states), done, before = trainer.initial(), 0, [np.full(HELD_OUT, np.inf)] * SEEDS
    for step in snapshots(setting.steps):
        models, states = trainer.advance(models, states, done, step)
        done = step
        taken = {name: np.asarray(value) for name, value in trainer.measure(models).items()}
        for seed in range(SEEDS):
            a, b = np.asarray(models.a[seed], np.float64), np.asarray(models.b[seed], np.float64)
            row, distances = measured(a, b, points[seed], float(gammas[step]))
            row |= {
                name: float(taken[name][seed])
                for name in ("off_diagonal_ratio", "train_loss", "test_loss")
            }
            row["closer25"] = float(np.mean(distances < before[seed]))
            before[seed] = distances
            yield {"setting": setting.name, "seed": seed, "step": step} | {
                k: f"{v:.5g}" for k, v in row.items()
            }


def finished(path: Path) -> set[str]:
    """Settings that the CSV holds."""
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {row["setting"] for row in csv.DictReader(file)}


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a finished setting's rows in one go."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def run(settings: list[Setting], path: Path) -> None:
    """Train what the CSV lacks."""
    for setting in settings:
        if setting.name in finished(path):
            continue
        began, rows = time.monotonic(), []
        for row in rows_of(setting):
            rows.append(row)
            if row["seed"] == SEEDS - 1:
                print(
                    f"{setting.name}: step {row['step']:,}, gamma {row['gamma']}, plateau"
                    f" {row['plateau']}, {time.monotonic() - began:.0f} s",
                    flush=True,
                )
        append(path, rows)
        jax.clear_caches()


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do what it asks."""
    parser = argparse.ArgumentParser(
        description="Plateaus of trained models over settings, steps and seeds."
    )
    parser.add_argument("--only", default="", help="names of settings, separated by commas")
    parser.add_argument("--list", action="store_true", help="only print the names")
    parser.add_argument("--csv", type=Path, default=CSV, help="where the rows are kept")
    options = parser.parse_args(arguments)
    only = set(filter(None, options.only.split(",")))
    chosen = [setting for setting in grid() if not only or setting.name in only]
    if options.list:
        print("\n".join(setting.name for setting in chosen))
        return 0
    run(chosen, options.csv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
