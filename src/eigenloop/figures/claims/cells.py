"""Small training runs behind the claims about figures, each once in a process, and what is judged
as a finding.

The settings are those of the figures (d = 16, n = 32, SGD, batches of 128 out of 10,000 samples,
learning rate 0.1 but in Fig. 2): one task, one seed, a cell of what `eigenloop reproduce` draws.
"""

from functools import cache
from typing import Any

from eigenloop.claims import Effort, Finding, Kind
from eigenloop.figures import figure2
from eigenloop.figures.fixed_points import TARGETS
from eigenloop.figures.settings import PAPER_WINDOW, SNAPSHOTS, Budget, Task, compared, without_norm
from eigenloop.figures.verdicts import Judgement, Outcome
from eigenloop.lab.checkpoints import Trained
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.training import train

KINDS: dict[Outcome, Kind] = {
    "held": "holds",
    "partly": "holds only",
    "not held": "fails",
    "too short": "not run",
}


def judged(found: Judgement, run: Trained, **numbers: Any) -> Finding:
    """A judgement as a claim's finding; the settings of the run that was judged stand in the
    evidence.
    """
    held, config = [part.held for part in found.parts], run.config
    settings = {
        "learning rate": config.learning_rate,
        "batch": config.batch,
        "training samples": config.train_size,
    }
    return Finding(
        KINDS[found.outcome],
        f"{sum(held)} of {len(held)} parts",
        f"{len(held)} of {len(held)} parts",
        None,
        "; ".join(dict.fromkeys(part.holds_where for part in found.parts)),
        note="" if found.outcome == "held" else found.words,
        numbers={
            **{
                part.what: f"{part.found} ({'held' if part.held else 'not held'})"
                for part in found.parts
            },
            **settings,
            "seed": config.seed,
            "steps": int(run.steps[-1]),
            **numbers,
        },
    )


@cache
def looped(seed: int) -> Trained:
    """Figures 1 and 8, Task 1: ten loops, end to end, 30,000 steps (the paper's axis in Fig. 1)."""
    return train(TrainConfig.create(seed=seed, steps=30_000, snapshots=SNAPSHOTS))


@cache
def layerwise(seed: int) -> Trained:
    """Figures 4, 5 and 8, Task 1: one layer with LN, 156,000 steps (2,000 epochs)."""
    return train(TrainConfig.create(seed=seed, objective="layerwise", snapshots=SNAPSHOTS))


@cache
def of_size(seed: int, dim: int, samples: int, steps: int) -> Trained:
    """Figure 3: one layer with LN, Task 1."""
    return train(
        TrainConfig.create(seed=seed, objective="layerwise", dim=dim, samples=samples, steps=steps)
    )


@cache
def three_models(seed: int) -> dict[str, Trained]:
    """Figure 2, Task 1: to the end of the paper's window, at the learning rates that its points
    fit.
    """
    configs = compared("sphere", Budget(seed=seed)).values()
    return {
        key: _shortened(config, PAPER_WINDOW)
        for key, config in zip(figure2.MODELS, configs, strict=True)
    }


@cache
def both_targets(seed: int, task: Task) -> dict[str, Trained]:
    """Figures 6 and 7: without LN, 10,000 steps."""
    configs = without_norm(task, Budget(seed=seed)).values()
    return {
        target: _shortened(config, 10_000) for target, config in zip(TARGETS, configs, strict=True)
    }


def free(effort: Effort) -> Trained:
    """The first steps of a looped model with all eight blocks free: what the runs above keep at
    exactly 0.
    """
    steps, dim = effort.pick(5, 20), effort.pick(8, 16)
    size = {"train_size": 256, "test_size": 64, "dim": dim, "samples": 2 * dim}
    return train(
        TrainConfig.create(seed=effort.seed, engine="full", steps=steps, snapshots=(), **size)
    )


def _shortened(config: TrainConfig, steps: int) -> Trained:
    return train(TrainConfig.create(**{**config.model_dump(), "epochs": None, "steps": steps}))
