"""The runs behind the figures, as differences from one base, and how much of them a budget buys.

Source: arXiv 2606.00605, Section 5 and Appendix G: SGD on 10,000 training and 2,000 test samples, 2,000 epochs, d = 16,
n = 32, L = 10. Learning rates are not the same in every figure: 0.1 where the paper's notes say so; in Figure 2 those
that its curves fit (0.031, 0.03, 0.02).
"""

from dataclasses import dataclass
from typing import Any, Literal

from eigenloop.lab.training import TrainConfig
from eigenloop.system.errors import InputError

Task = Literal["sphere", "planted"]

TASKS: dict[Task, str] = {"sphere": "Task 1", "planted": "Task 2"}
SNAPSHOTS = (100, 1_000, 10_000)
PAPER_WINDOW = 2_000
"""Iterations that the paper's Figure 2 shows."""
FIXED_POINT_STEP = 1_000
"""Iterations after which Figures 6 and 7 show the matrices of the models without LN."""
SIZES = ((8, 16), (16, 32), (32, 64), (16, 64))
"""(d, n) of Figure 3; the paper's list is not known."""
REAL_TABLES = {"wine": 13, "breast_cancer": 30, "digits": 64}
"""Bundled tables of scikit-learn in Figure 8, and their dimension."""
REAL_STEPS = 4_000
CHECK_STEPS = 200
QUICK_CHECK_STEPS = 3


@dataclass(frozen=True)
class Budget:
    """How much to compute.

    Args:
        epochs: passes over the training set; the paper's number is 2,000.
        seeds: independent runs side by side, seeds 0, 1, ...; two or more give bands.
        quick: seconds instead of minutes, for trying out and CI: 120 steps on 640 samples, two of the four
            sizes of Figure 3 and one of the three real tables of Figure 8; `epochs` is ignored.
        seed: start of every random stream.
    """

    epochs: int = 2000
    seeds: int = 1
    quick: bool = False
    seed: int = 0

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(d, n) of Figure 3."""
        return SIZES[:2] if self.quick else SIZES

    def __post_init__(self) -> None:
        """Refuse what is no budget."""
        for name in ("epochs", "seeds"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} is {getattr(self, name)}; it must be at least 1")
        if self.quick and self.epochs != 2000:
            object.__setattr__(self, "epochs", 2000)  # has no meaning there

    @property
    def options(self) -> str:
        """The options of `eigenloop reproduce` that ask for this budget."""
        words = ["--quick"] if self.quick else [f"--epochs {self.epochs}"]
        words += [f"--seeds {self.seeds}"] if self.seeds != 1 else []
        words += [f"--seed {self.seed}"] if self.seed != 0 else []
        return " ".join(words)

    def config(self, **differences: Any) -> TrainConfig:
        """The paper's run with some settings changed, at this budget."""
        base: dict[str, Any] = {"seed": self.seed, "seeds": self.seeds, "epochs": self.epochs, "snapshots": SNAPSHOTS}
        values = {**base, **differences}
        if "steps" in differences:
            values.pop("epochs")
        if self.quick:
            values.pop("epochs", None)
            values |= {"train_size": 640, "test_size": 256, "snapshots": (10, 50)}
            values["steps"] = min(values.get("steps", 120), 120)
        return TrainConfig.create(**values)


def looped(task: Task, budget: Budget) -> dict[str, TrainConfig]:
    """Figures 1 and 8: ten loops, LN, end to end."""
    return {f"looped-{task}": budget.config(task=task)}


def checks(budget: Budget, configs: dict[str, TrainConfig]) -> dict[str, TrainConfig]:
    """For each run the first steps of the same model with all eight blocks free, on a small part of the data."""
    few = {"engine": "full", "epochs": None, "steps": CHECK_STEPS, "train_size": 256, "test_size": 64, "snapshots": ()}
    if budget.quick:
        few |= {"steps": QUICK_CHECK_STEPS, "train_size": 128}
    return {f"{name}-full": TrainConfig.create(**{**config.model_dump(), **few}) for name, config in configs.items()}


def layerwise(task: Task, budget: Budget, *, dim: int = 16, samples: int = 32) -> dict[str, TrainConfig]:
    """Figures 3, 4 and 5: one layer, LN."""
    name = f"layerwise-{task}" + ("" if (dim, samples) == (16, 32) else f"-{dim}-{samples}")
    return {name: budget.config(task=task, objective="layerwise", dim=dim, samples=samples)}


def compared(task: Task, budget: Budget) -> dict[str, TrainConfig]:
    """Figure 2: the three one-layer models, at the learning rates that the paper's curves fit.

    In the order LN, normalised and unnormalised target without LN. A quick budget takes the runs of Figures 4, 6 and 7.
    """
    if budget.quick:
        return layerwise(task, budget) | without_norm(task, budget)
    keep = {"task": task, "objective": "layerwise", "snapshots": (PAPER_WINDOW,)}
    return {
        f"compared-{task}-ln": budget.config(**keep, learning_rate=0.031),
        f"compared-{task}-normalized": budget.config(**keep, norm=False, learning_rate=0.03),
        f"compared-{task}-unnormalized": budget.config(**keep, norm=False, target="unnormalized", learning_rate=0.02),
    }


def without_norm(task: Task, budget: Budget) -> dict[str, TrainConfig]:
    """Figures 6 and 7: one layer without LN, both targets."""
    keep = {"task": task, "objective": "layerwise", "norm": False, "snapshots": (FIXED_POINT_STEP,)}
    return {f"no-ln-{task}-{target}": budget.config(**keep, target=target) for target in ("normalized", "unnormalized")}


def real(budget: Budget) -> dict[str, TrainConfig]:
    """Figure 8: the looped and the layerwise model in the dimension of each real table, Task 1 data with n = 2d."""
    tables = {"wine": REAL_TABLES["wine"]} if budget.quick else REAL_TABLES
    found = {}
    for name, dim in tables.items():
        keep = {"dim": dim, "samples": 2 * dim, "train_size": 4_000, "test_size": 256}
        keep["steps"] = min(REAL_STEPS, 78 * budget.epochs)
        found[f"looped-real-{name}"] = budget.config(**keep)
        found[f"layerwise-real-{name}"] = budget.config(**keep, objective="layerwise")
    return found


def describe(config: TrainConfig) -> str:
    """A run's settings in one line."""
    model = f"{config.loops} loops, end to end" if config.objective == "end-to-end" else "one layer, layerwise"
    norm = "LN" if config.norm else f"no LN, {config.target} target"
    task = next((words for name, words in TASKS.items() if name == config.task), config.task)
    parts = [
        f"{task}, d = {config.dim}, n = {config.samples}", model, norm,
        f"learning rate {config.learning_rate:g}, batch {config.batch}", f"{config.total_steps:,} steps",
        f"{config.train_size:,} training and {config.test_size:,} test samples",
    ]  # fmt: skip
    parts += ["all eight blocks"] if config.engine == "full" else []
    return "; ".join(parts)
