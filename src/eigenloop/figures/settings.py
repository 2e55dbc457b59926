"""The runs behind the figures, as differences from one base, and how much of them a budget buys.

Source: arXiv 2606.00605, Section 5 and Appendix G: SGD on 10,000 training and 2,000 test samples,
2,000 epochs, d = 16, n = 32, L = 10. Learning rates are not the same in every figure: 0.1 where the
paper's notes say so; in Figure 2 those that its curves fit (0.031, 0.03, 0.02).
"""

from dataclasses import dataclass
from typing import Any, Literal

from eigenloop.lab.config import TrainConfig
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.system.errors import InputError

Task = Literal["sphere", "planted"]

TASKS: dict[Task, str] = {"sphere": "Task 1", "planted": "Task 2"}
OWN = "Own task"
"""What panels call a problem that is not the paper's."""
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
class Problem:
    """What the models are trained on, where it is not the paper's two tasks.

    Args:
        task: "sphere", columns uniform on it; "planted", S with a fixed spectrum.
        multiplicities: of the planted task: how many columns of X share each of the d axes, the
            eigenvalues of S.
        dim: d; by default as many as there are multiplicities, else the paper's 16.
        samples: n; by default the sum of the multiplicities, else the paper's 32.

    Raises:
        InputError: multiplicities on the sphere; what `TrainConfig` refuses.
    """

    task: Task
    multiplicities: tuple[int, ...] | None = None
    dim: int | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        """Fill in what follows from the rest, and refuse what is no problem."""
        given = self.multiplicities
        if given is not None and len(given) < 2 and self.dim is None:
            raise InputError(
                f"--multiplicities is {','.join(map(str, given))!r}; give at least two numbers, one"
                " for each dimension (in one dimension there is nothing to find)"
            )
        for name, value in (
            ("dim", len(given) if given else 16),
            ("samples", sum(given) if given else 32),
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        TrainConfig.create(**self.settings)

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `TrainConfig`."""
        return {
            "task": self.task,
            "multiplicities": self.multiplicities,
            "dim": self.dim,
            "samples": self.samples,
        }

    @property
    def as_in_paper(self) -> bool:
        """Whether it is one of the paper's two tasks."""
        paper = {
            key: getattr(TrainConfig.create(task=self.task), key)
            for key in ("multiplicities", "dim", "samples")
        }
        own = TrainConfig.create(**self.settings)
        return all(getattr(own, key) == value for key, value in paper.items())

    @property
    def options(self) -> list[str]:
        """The options of `eigenloop reproduce` that ask for it."""
        words = [f"--task {self.task}"]
        words += (
            [f"--multiplicities {','.join(map(str, self.multiplicities))}"]
            if self.multiplicities
            else []
        )
        return [*words, f"--dim {self.dim} --samples {self.samples}"]


@dataclass(frozen=True)
class Budget:
    """How much to compute, and for which problem.

    Args:
        epochs: passes over the training set; the paper's number is 2,000.
        seeds: independent runs side by side, seeds 0, 1, ...; two or more give bands.
        quick: seconds instead of minutes, for trying out and CI: 120 steps on 640 samples, two of
            the four sizes of Figure 3 and one of the three real tables of Figure 8; `epochs` is
            ignored.
        seed: start of every random stream.
        problem: in place of the paper's two tasks.
    """

    epochs: int = 2000
    seeds: int = 1
    quick: bool = False
    seed: int = 0
    problem: Problem | None = None

    @property
    def tasks(self) -> dict[Task, str]:
        """The tasks of Figures 1, 2, 4, 5 and 8, as their panels name them."""
        if self.problem is None:
            return TASKS
        return {self.problem.task: TASKS[self.problem.task] if self.problem.as_in_paper else OWN}

    @property
    def as_in_paper(self) -> bool:
        """Whether the paper's sentences are about these runs' problem; not where it is the
        user's own.
        """
        return self.problem is None or self.problem.as_in_paper

    @property
    def numbers(self) -> tuple[int, ...]:
        """The figures that there are: 3 and 6 are on the sphere, 7 is on a planted spectrum."""
        left_out = {None: (), "sphere": (7,), "planted": (3, 6)}[self.problem and self.problem.task]
        return tuple(number for number in range(1, 9) if number not in left_out)

    @property
    def size(self) -> tuple[int, int]:
        """(d, n) of Figures 1, 2 and 4 to 7."""
        found = TrainConfig.create(**(self.problem.settings if self.problem else {}))
        return found.dim, found.samples

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(d, n) of Figure 3."""
        return tuple(dict.fromkeys((*(SIZES[:2] if self.quick else SIZES), self.size)))

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
        return " ".join([*words, *(self.problem.options if self.problem else [])])

    def config(self, **differences: Any) -> TrainConfig:
        """The paper's run with some settings changed, at this budget."""
        base: dict[str, Any] = {
            "seed": self.seed,
            "seeds": self.seeds,
            "epochs": self.epochs,
            "snapshots": SNAPSHOTS,
        }
        if self.problem is not None and differences.get("task", "sphere") == self.problem.task:
            base |= self.problem.settings
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
    """For each run the first steps of the same model with all eight blocks free, on a small part
    of the data.
    """
    few = {
        "engine": "full",
        "epochs": None,
        "steps": CHECK_STEPS,
        "train_size": 256,
        "test_size": 64,
        "snapshots": (),
    }
    if budget.quick:
        few |= {"steps": QUICK_CHECK_STEPS, "train_size": 128}
    return {
        f"{name}-full": TrainConfig.create(**{**config.model_dump(), **few})
        for name, config in configs.items()
    }


def layerwise(
    task: Task, budget: Budget, size: tuple[int, int] | None = None
) -> dict[str, TrainConfig]:
    """Figures 3, 4 and 5: one layer, LN; of the problem's own size or another (d, n)."""
    if size in (None, budget.size):
        return {f"layerwise-{task}": budget.config(task=task, objective="layerwise")}
    dim, samples = size
    return {
        f"layerwise-{task}-{dim}-{samples}": budget.config(
            task=task, objective="layerwise", dim=dim, samples=samples
        )
    }


def compared(task: Task, budget: Budget) -> dict[str, TrainConfig]:
    """Figure 2: the three one-layer models, at the learning rates that the paper's curves fit.

    In the order LN, normalised and unnormalised target without LN. A quick budget takes the runs of
    Figures 4, 6 and 7.
    """
    if budget.quick:
        return layerwise(task, budget) | without_norm(task, budget)
    keep = {"task": task, "objective": "layerwise", "snapshots": (PAPER_WINDOW,)}
    return {
        f"compared-{task}-ln": budget.config(**keep, learning_rate=0.031),
        f"compared-{task}-normalized": budget.config(**keep, norm=False, learning_rate=0.03),
        f"compared-{task}-unnormalized": budget.config(
            **keep, norm=False, target="unnormalized", learning_rate=0.02
        ),
    }


def without_norm(task: Task, budget: Budget) -> dict[str, TrainConfig]:
    """Figures 6 and 7: one layer without LN, both targets."""
    keep = {"task": task, "objective": "layerwise", "norm": False, "snapshots": (FIXED_POINT_STEP,)}
    return {
        f"no-ln-{task}-{target}": budget.config(**keep, target=target)
        for target in ("normalized", "unnormalized")
    }


def real(budget: Budget) -> dict[str, TrainConfig]:
    """Figure 8: the looped and the layerwise model in the dimension of each real table, Task 1 data
    with n = 2d.

    None for a problem of the user's own, with which they have nothing to do.
    """
    if not budget.as_in_paper:
        return {}
    tables = {"wine": REAL_TABLES["wine"]} if budget.quick else REAL_TABLES
    found = {}
    for name, dim in tables.items():
        keep = {
            "task": "sphere",
            "multiplicities": None,
            "dim": dim,
            "samples": 2 * dim,
            "train_size": 4_000,
            "test_size": 256,
        }
        keep["steps"] = min(REAL_STEPS, 78 * budget.epochs)
        found[f"looped-real-{name}"] = budget.config(**keep)
        found[f"layerwise-real-{name}"] = budget.config(**keep, objective="layerwise")
    return found


def describe(config: TrainConfig) -> str:
    """A run's settings in one line."""
    model = (
        f"{config.loops} loops, end to end"
        if config.objective == "end-to-end"
        else "one layer, layerwise"
    )
    norm = "LN" if config.norm else f"no LN, {config.target} target"
    task = {**TASKS}.get(config.task, config.task)
    if config.task == "planted" and config.multiplicities != DEFAULT_MULTIPLICITIES:
        task = f"eigenvalues {', '.join(map(str, config.multiplicities or ()))}"
    parts = [
        f"{task}, d = {config.dim}, n = {config.samples}",
        model,
        norm,
        f"learning rate {config.learning_rate:g}, batch {config.batch}",
        f"{config.total_steps:,} steps",
        f"{config.train_size:,} training and {config.test_size:,} test samples",
    ]
    parts += ["all eight blocks"] if config.engine == "full" else []
    return "; ".join(parts)
