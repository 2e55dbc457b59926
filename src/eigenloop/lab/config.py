"""The configuration of a training run: every value that decides it, checked field by field."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from eigenloop.lab import problems
from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.objectives import EndToEnd, Layerwise, Objective, Target
from eigenloop.lab.problems import Distribution
from eigenloop.lab.transformer import LoopedTransformer
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.system.errors import InputError
from eigenloop.system.memory import require_memory

MOST = 2**31 - 1
"""Largest size and number of steps: compiled programs count in 32 bits."""


BEYOND = ("b0", "residual", "learn_residual", "untied")
"""Settings that arXiv 2606.00605 does not have; config.toml names them only where they are used."""


class TrainConfig(BaseModel):
    """Everything that decides a run.

    Defaults are the paper's (arXiv 2606.00605, Section 5), d = 16, n = 32, L = 10.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["sphere", "planted", "rotated"] = "sphere"
    multiplicities: tuple[int, ...] | None = None
    x0: tuple[tuple[float, ...], ...] | None = None
    """X0 of the task "rotated" (Example 3.3), n rows of length d: the transpose of the paper's,
    with unit rows.
    """
    min_eigenvalue: float | None = None
    dim: int = 16
    samples: int = 32
    loops: int = 10
    objective: Literal["end-to-end", "layerwise"] = "end-to-end"
    norm: bool = True
    target: Target = "normalized"
    epochs: int | None = None
    steps: int | None = None
    fresh: bool = False
    learning_rate: float = 0.1
    batch: int = 128
    train_size: int = 10_000
    test_size: int = 2_000
    seed: int = 0
    seeds: int = 1
    engine: Literal["reduced", "full"] = "reduced"
    dtype: Literal["float32", "float64"] = "float32"
    snapshots: tuple[int, ...] = ()
    b0: float = 0.0
    """Start of B = b_0 I (of every layer's, where they are untied); the paper's is 0."""
    residual: float = 1.0
    """c of N(c q + A S B q), or where it starts when it is learned."""
    learn_residual: bool = False
    untied: bool = False
    """Whether each of the L layers has weights of its own."""

    @classmethod
    def create(cls, **values: Any) -> "TrainConfig":
        """Build and check; the defaults that depend on other values are filled in.

        `x0` may be any array; it decides `dim` and `samples`.

        Raises:
            InputError: the first thing that is wrong, in one line.

        Example:
            >>> TrainConfig.create(task="planted", epochs=2).total_steps
            156
        """
        if values.get("x0") is not None:
            values |= _from_x0(values)
        try:
            config = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"{_option(name)} is {first['input']!r}: {first['msg'].lower()}"
            ) from None
        return config._checked()

    def _checked(self) -> "TrainConfig":
        for name in (
            "dim",
            "samples",
            "loops",
            "batch",
            "train_size",
            "test_size",
            "seeds",
            "epochs",
            "steps",
        ):
            value, least = getattr(self, name), 2 if name == "dim" else 1
            if value is not None and not least <= value:
                raise InputError(f"{_option(name)} is {value}; it must be at least {least}")
            if value is not None and value > MOST:
                raise InputError(
                    f"{_option(name)} is {value}; it must be at most {MOST} (2^31 - 1)"
                )
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed is {self.seed}; it must be from 0 to 2^32 - 1")
        if not (self.learning_rate > 0 and np.isfinite(self.learning_rate)):
            raise InputError(
                f"--learning-rate is {self.learning_rate:g}; it must be a positive number"
            )
        self._check_model()
        if self.epochs is not None and self.steps is not None:
            raise InputError("--epochs and --steps were both given; give one of them")
        if self.fresh and self.epochs is not None:
            raise InputError(
                "--epochs has no meaning with --fresh (no sample is seen twice); give --steps"
            )
        if not self.fresh and self.batch > self.train_size:
            raise InputError(
                f"--batch is {self.batch}, above --train-size {self.train_size}; lower --batch"
            )
        if self.objective == "end-to-end" and not self.norm:
            raise InputError(
                "--objective end-to-end with --no-norm is degenerate: the distance to the subspace"
                " falls to 0 with the output's length; use --objective layerwise"
            )
        if self.norm and self.target == "unnormalized":
            raise InputError(
                "--target unnormalized needs --no-norm: a normalised output cannot reach Sq"
            )
        if self.objective == "end-to-end" and self.target == "unnormalized":
            raise InputError("--target belongs to --objective layerwise")
        update: dict[str, Any] = {}
        if self.epochs is None and self.steps is None:
            update["steps" if self.fresh else "epochs"] = 2000
        if self.task == "planted" and self.multiplicities is None:
            if (self.dim, self.samples) != (16, 32):
                raise InputError(
                    "multiplicities have a default only for --dim 16 --samples 32; give"
                    f" --multiplicities, {self.dim} numbers that sum to {self.samples}"
                )
            update["multiplicities"] = DEFAULT_MULTIPLICITIES
        if self.task != "planted" and self.multiplicities is not None:
            raise InputError("--multiplicities belong to --task planted")
        if (self.task == "rotated") != (self.x0 is not None):
            raise InputError("--task rotated and --x0 go together; give both or neither")
        if self.objective == "layerwise":
            update["loops"] = 1  # one layer is trained, whatever was asked for
        config = self.model_copy(update=update)
        if config.total_steps > MOST:
            raise InputError(
                f"--epochs is {config.epochs}, which makes {config.total_steps} steps; at most"
                f" {MOST} (2^31 - 1) are possible, so lower --epochs"
            )
        if config.min_eigenvalue is not None:
            require_memory(
                8 * problems.TRIALS * config.dim * (config.samples + config.dim),
                "trying --min-eigenvalue out",
                "lower --dim or --samples",
            )
        config.distribution()  # refuses what no distribution can give
        return config

    def _check_model(self) -> None:
        for name in ("b0", "residual"):
            if not np.isfinite(getattr(self, name)):
                raise InputError(f"{_option(name)} is {getattr(self, name)}; it must be finite")
        if self.residual == 0:
            raise InputError(
                "--residual is 0, so that the first layer makes every data vector 0; choose another"
            )
        if not 1e-15 <= abs(self.residual) <= 1e15:
            raise InputError(
                f"--residual is {self.residual:g}; squares in float32 need 1e-15 to 1e15 in size"
            )
        if self.untied and self.objective == "layerwise":
            raise InputError("--untied is for --objective end-to-end: layerwise trains one layer")

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training set; the rest of each shuffle is left out."""
        return self.train_size // self.batch

    @property
    def total_steps(self) -> int:
        """Length of the run in gradient steps."""
        return self.steps if self.steps is not None else (self.epochs or 0) * self.steps_per_epoch

    def distribution(self) -> Distribution:
        """The distribution of X that the task names."""
        if self.task == "sphere":
            base: Distribution = problems.Sphere(dim=self.dim, samples=self.samples)
        elif self.x0 is not None:
            base = problems.Rotated(np.array(self.x0).T)
        else:
            base = problems.Rotated.planted(
                self.multiplicities or (), dim=self.dim, samples=self.samples
            )
        return (
            base
            if self.min_eigenvalue is None
            else problems.Rejected(base, threshold=self.min_eigenvalue)
        )

    def loss(self) -> Objective:
        """The objective that the configuration names."""
        return EndToEnd(self.loops) if self.objective == "end-to-end" else Layerwise(self.target)

    def plain(self) -> dict[str, Any]:
        """The values that are set, as TOML knows them.

        What the paper's model leaves at its default is left out: runs of versions that did not
        have it are the same runs.
        """
        usual = {name: type(self).model_fields[name].default for name in BEYOND}
        return {
            key: list(v) if isinstance(v, tuple) else v
            for key, v in self.model_dump().items()
            if v is not None and (key not in usual or v != usual[key])
        }

    def least_bytes(self, *, principal: bool) -> int:
        """Memory that training takes at the least: the data sets, and what the reverse pass of a
        step keeps.

        Args:
            principal: whether the objective needs a basis of the principal subspace.
        """
        d, entry = self.dim, 8 if self.dtype == "float64" else 4
        # S, q, U and X
        example = d * (d + 1 + principal) + (d * self.samples if self.engine == "full" else 0)
        sets = self.test_size + (self.batch if self.fresh else self.train_size)
        kept = (
            self.batch
            * self.loops
            * d
            * (1 if self.engine == "reduced" else 2 * (self.samples + 1))
        )
        weights = 3 * 2 * d * d * (1 if self.engine == "reduced" else 4) * (self.layers or 1)
        return entry * self.seeds * (sets * example + kept + weights)

    @property
    def layers(self) -> int | None:
        """How many layers have weights of their own; None where one layer is looped."""
        return self.loops if self.untied else None

    def initial_model(self) -> TwoBlock | LoopedTransformer:
        """The start, the paper's unless `b0` or `residual` say otherwise, in the chosen engine."""
        kind = TwoBlock if self.engine == "reduced" else LoopedTransformer
        return kind.initial(
            dim=self.dim,
            norm=self.norm,
            b0=self.b0,
            residual=self.residual,
            learn_residual=self.learn_residual,
            layers=self.layers,
        )


def _from_x0(values: Mapping[str, Any]) -> dict[str, Any]:
    """X0 as plain numbers, and the sizes that it has."""
    try:
        rows = np.asarray(values["x0"], dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(
            "--x0 is no table of numbers; its rows are data vectors of one length"
        ) from None
    if rows.ndim != 2:
        raise InputError(
            f"--x0 has shape {rows.shape}; it must be a table whose rows are data vectors"
        )
    sizes = {"dim": rows.shape[1], "samples": rows.shape[0]}
    for name, size in sizes.items():
        if values.get(name, size) != size:
            raise InputError(
                f"{_option(name)} is {values[name]}, but --x0 has {size}; leave {_option(name)} out"
            )
    return {**sizes, "x0": rows.tolist()}


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
