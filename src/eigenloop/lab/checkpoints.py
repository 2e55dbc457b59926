"""A run's state as named arrays: packed, checked, unpacked, and read as a result (NumPy arrays in,
JAX models out).

step, seconds                      steps taken, and the time they took
state.0, state.1, ...            the leaves of (models, optimiser states), a leading axis over seeds
metrics.steps, metrics.values      (T,) and (T, metrics, K)
snapshot.T.0, snapshot.T.1         the models' leaves at step T
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.run_directory import RunDirectory, read_config
from eigenloop.lab.transformer import LoopedTransformer
from eigenloop.system.errors import InputError
from eigenloop.system.files import load_arrays, save_arrays, save_table

METRICS = (
    "train_loss",
    "test_loss",
    "a",
    "b",
    "gamma",
    "v_max",
    "w_max",
    "off_diagonal_ratio",
    "inactive_max",
)
WEIGHTS = ("V", "W", "c")
"""Names in weights.safetensors; c only where it is learned."""
AGAIN = "delete it to start again"


def metric_names(config: TrainConfig) -> tuple[str, ...]:
    """`METRICS`, and "c" after them where the residual weight is learned."""
    return (*METRICS, "c") if config.learn_residual else METRICS


@dataclass(frozen=True)
class Trained:
    """A finished (or loaded) run. Arrays have a leading axis over seeds."""

    config: TrainConfig
    model: LoopedTransformer
    """The full model, V and W of shape (K, 2d, 2d), or (K, L, 2d, 2d) where layers are untied."""
    steps: np.ndarray
    """Steps at which metrics were taken, (T,)."""
    metrics: dict[str, np.ndarray]
    """Each metric, (T, K) float64; NaN where undefined (`reasons` says why)."""
    snapshots: dict[int, LoopedTransformer]
    """Models at the steps of `config.snapshots`."""
    seconds: float
    done: int
    """Steps taken so far: `config.total_steps` unless the run was interrupted."""

    @property
    def reasons(self) -> dict[str, str]:
        """Why a metric is undefined in this run."""
        reasons = {}
        if self.config.engine == "reduced":
            reasons["inactive_max"] = (
                "the reduced engine has no inactive blocks; run --engine full to measure them"
            )
        if self.config.fresh:
            reasons["train_loss"] = "fresh samples: there is no training set"
        return reasons

    def summary(self) -> dict[str, Any]:
        """The last metrics as JSON values: a number for one seed, a list for several, None with
        a reason.
        """

        def value(name: str) -> Any:
            last = [float(v) if np.isfinite(v) else None for v in self.metrics[name][-1]]
            return last[0] if self.config.seeds == 1 else last

        config = self.config
        metrics = {name: value(name) for name in metric_names(config)}
        undefined = [
            name for name, v in metrics.items() if v is None or (isinstance(v, list) and None in v)
        ]
        diverged = dict.fromkeys(undefined, "not a finite number: training diverged")
        return {
            "steps": int(self.steps[-1]),
            **metrics,
            "seconds": self.seconds,
            "seed": config.seed,
            "seeds": config.seeds,
            "dtype": config.dtype,
            "version": version("eigenloop"),
            "reasons": {**diverged, **self.reasons},
        }


def load_run(directory: Path) -> Trained:
    """Read a run's directory back.

    Raises:
        InputError: a file is missing or damaged.
    """
    config = load_config(directory)
    arrays = load_arrays(Path(directory) / RunDirectory.CHECKPOINT)
    check(arrays, config)
    with jax.enable_x64(config.dtype == "float64"):
        return trained(config, arrays)


def load_config(directory: Path) -> TrainConfig:
    """The configuration of a run's directory, without what the run recorded of the user's own
    objects.

    Raises:
        InputError: as for `eigenloop.lab.run_directory.read_config`; values that make no run.
    """
    return TrainConfig.create(
        **{k: v for k, v in read_config(directory).items() if k in TrainConfig.model_fields}
    )


def load_weights(directory: Path, config: TrainConfig) -> LoopedTransformer:
    """V and W (and a learned c) out of weights.safetensors, with a leading axis over seeds.

    Raises:
        InputError: the file is missing or damaged, or holds other arrays than the configuration
            says.
    """
    path = Path(directory) / RunDirectory.WEIGHTS
    arrays, forms = load_arrays(path), _model_forms(config, size=2 * config.dim)
    for name, (dtype, (_, *rest)) in zip(WEIGHTS, forms, strict=False):
        shape, found = tuple(rest), arrays.get(name)
        shape = shape if config.seeds == 1 else (config.seeds, *shape)
        if found is None or found.shape != shape or found.dtype != dtype:
            held = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise InputError(
                f"{path} holds {held} under {name}, not {dtype} {shape} as config.toml says"
            )
    with jax.enable_x64(config.dtype == "float64"):
        parts = [
            jnp.asarray(arrays[name]).reshape(shape)
            for name, (_, shape) in zip(WEIGHTS, forms, strict=False)
        ]
        return _full_model(config, parts)


def pack(
    step: int,
    seconds: float,
    leaves: Sequence[Any],
    rows: Mapping[int, np.ndarray],
    snapshots: Mapping[int, Sequence[np.ndarray]],
    config: TrainConfig,
) -> dict[str, np.ndarray]:
    """The named arrays of a state.

    Args:
        step: steps taken.
        seconds: time spent.
        leaves: of (models, optimiser states).
        rows: metrics by step, (metrics, K) each.
        snapshots: the models' leaves by step.
        config: of the run.
    """
    arrays: dict[str, Any] = {"step": np.int64(step), "seconds": np.float64(seconds)}
    arrays |= {f"state.{i}": leaf for i, leaf in enumerate(leaves)}
    arrays["metrics.steps"] = np.array(list(rows), np.int64)
    arrays["metrics.values"] = np.array(list(rows.values()), np.float64).reshape(
        len(rows), len(metric_names(config)), config.seeds
    )
    for at, parts in snapshots.items():
        arrays |= {f"snapshot.{at}.{i}": part for i, part in enumerate(parts)}
    return {name: np.asarray(value) for name, value in arrays.items()}


def unpack(
    saved: Mapping[str, np.ndarray], like: Sequence[Any]
) -> tuple[int, float, list[jax.Array], dict[int, np.ndarray], dict[int, list[np.ndarray]]]:
    """(step, seconds, leaves, rows, snapshots) as `pack` took them, of arrays that `check` has
    passed.
    """
    leaves = [jnp.asarray(saved[f"state.{i}"]) for i in range(len(like))]
    rows = dict(zip(saved["metrics.steps"].tolist(), saved["metrics.values"], strict=True))
    return int(saved["step"]), float(saved["seconds"]), leaves, rows, snapshots_of(saved)


def snapshots_of(saved: Mapping[str, np.ndarray]) -> dict[int, list[np.ndarray]]:
    """The models' leaves by step."""
    places = sorted(
        tuple(map(int, name.split(".")[1:])) for name in saved if name.startswith("snapshot.")
    )
    found: dict[int, list[np.ndarray]] = {}
    for at, part in places:
        found.setdefault(at, []).append(saved[f"snapshot.{at}.{part}"])
    return found


def check(arrays: Mapping[str, np.ndarray], config: TrainConfig, like: Sequence[Any] = ()) -> None:
    """Refuse arrays that are no state of a run with this configuration: names, dtypes, shapes,
    steps.

    Args:
        arrays: as read from a file.
        config: of the run.
        like: the leaves that training expects; without them, those of the model are checked and
            others let pass.

    Raises:
        InputError: names the first array that does not fit.
    """
    expected = _expected(arrays, config, like)
    for name, form in expected.items():
        if name not in arrays:
            raise InputError(f"the checkpoint lacks {name!r}; {AGAIN}")
        found = (str(arrays[name].dtype), arrays[name].shape)
        if form is not None and found != form:
            raise InputError(
                f"the checkpoint holds {name} as {_form(found)}, not {_form(form)}; {AGAIN}"
            )
    unknown = sorted(arrays.keys() - expected.keys())
    if unknown:
        raise InputError(
            f"the checkpoint holds {unknown[0]!r}, which no run of this configuration writes;"
            f" {AGAIN}"
        )
    step, seconds, steps = int(arrays["step"]), float(arrays["seconds"]), arrays["metrics.steps"]
    if step < 0:
        raise InputError(f"the checkpoint stands at step {step}; it must be at least 0, so {AGAIN}")
    if not 0 <= seconds < np.inf:
        raise InputError(
            f"the checkpoint has taken {seconds:g} seconds; it must be a number of at least 0, so"
            f" {AGAIN}"
        )
    if steps.size == 0 or steps[0] != 0 or np.any(np.diff(steps) <= 0) or steps[-1] > step:
        raise InputError(
            f"the checkpoint's metrics are not at ascending steps from 0 to {step}; {AGAIN}"
        )
    late = [at for at in snapshots_of(arrays) if at > step]
    if late:
        raise InputError(
            f"the checkpoint holds a snapshot of step {late[0]}, but stands at step {step}; {AGAIN}"
        )


def trained(config: TrainConfig, arrays: Mapping[str, np.ndarray]) -> Trained:
    """Read arrays that `check` has passed as a result."""

    def full(parts: Sequence[np.ndarray]) -> LoopedTransformer:
        leaves = [jnp.asarray(part) for part in parts]
        if config.engine == "full":
            return _full_model(config, leaves)
        first, second, *learned = leaves
        c = learned[0] if learned else None
        return TwoBlock(first, second, config.norm, c, **_fixed(config)).lift()

    values = arrays["metrics.values"]
    metrics = {name: values[:, i].copy() for i, name in enumerate(metric_names(config))}
    if config.engine == "reduced":
        metrics["inactive_max"][:] = np.nan
    model = full([arrays[f"state.{i}"] for i in range(len(_model_forms(config)))])
    snapshots = {at: full(parts) for at, parts in snapshots_of(arrays).items()}
    steps, seconds = arrays["metrics.steps"], float(arrays["seconds"])
    return Trained(config, model, steps, metrics, snapshots, seconds, int(arrays["step"]))


def write_derived(directory: RunDirectory, run: Trained) -> None:
    """metrics.csv, weights.safetensors (V and W; a leading seed axis when K > 1) and
    snapshots.safetensors.
    """
    squeeze = (lambda array: np.asarray(array)[0]) if run.config.seeds == 1 else np.asarray

    def named(model: LoopedTransformer, suffix: str = "") -> dict[str, np.ndarray]:
        parts = zip(WEIGHTS, (model.v, model.w, model.c), strict=True)
        return {name + suffix: squeeze(part) for name, part in parts if part is not None}

    save_arrays(directory.path / directory.WEIGHTS, named(run.model))
    if run.snapshots:
        each = [named(model, f".{at}") for at, model in run.snapshots.items()]
        save_arrays(
            directory.path / directory.SNAPSHOTS, {k: v for one in each for k, v in one.items()}
        )
    names = metric_names(run.config)
    rows = [
        [
            int(step),
            run.config.seed,
            k,
            *(float(v) if np.isfinite(v) else None for v in (run.metrics[m][t, k] for m in names)),
        ]
        for t, step in enumerate(run.steps)
        for k in range(run.config.seeds)
    ]
    save_table(directory.path / directory.METRICS, ("step", "seed", "replica", *names), rows)


_Form = tuple[str, tuple[int, ...]]


def _expected(
    arrays: Mapping[str, np.ndarray], config: TrainConfig, like: Sequence[Any]
) -> dict[str, _Form | None]:
    """Name -> (dtype, shape) of every array that the run may hold; None for an optimiser's, not
    known here.
    """
    rows, model = arrays.get("metrics.steps", np.empty(0)).size, _model_forms(config)
    expected: dict[str, _Form | None] = {
        "step": ("int64", ()),
        "seconds": ("float64", ()),
        "metrics.steps": ("int64", (rows,)),
        "metrics.values": ("float64", (rows, len(metric_names(config)), config.seeds)),
    }
    leaves = [(str(leaf.dtype), tuple(leaf.shape)) for leaf in like] or model
    expected |= {f"state.{i}": form for i, form in enumerate(leaves)}
    for name in arrays:
        snapshot = re.fullmatch(r"snapshot\.(0|[1-9]\d{0,18})\.[012]", name)
        if snapshot:
            expected |= {f"snapshot.{snapshot[1]}.{i}": form for i, form in enumerate(model)}
        elif not like and re.fullmatch(r"state\.\d+", name):
            expected.setdefault(name, None)
    return expected


def _model_forms(config: TrainConfig, *, size: int | None = None) -> list[_Form]:
    """(dtype, shape) of the model's leaves: two matrices, and the residual weight if learned.

    Args:
        config: of the run.
        size: rows of a matrix; that of the engine by default.
    """
    side = size or config.dim * (1 if config.engine == "reduced" else 2)
    lead = (config.seeds,) if config.layers is None else (config.seeds, config.layers)
    matrix = (config.dtype, (*lead, side, side))
    return [matrix, matrix, *([(config.dtype, lead)] if config.learn_residual else [])]


def _fixed(config: TrainConfig) -> dict[str, Any]:
    """What a model has that is no leaf, beside `norm`."""
    return {
        "residual": 1.0 if config.learn_residual else config.residual,
        "untied": config.untied,
    }


def _full_model(config: TrainConfig, leaves: Sequence[jax.Array]) -> LoopedTransformer:
    v, w, *learned = leaves
    c = learned[0] if learned else None
    return LoopedTransformer(v, w, config.norm, c, **_fixed(config))


def _form(form: _Form) -> str:
    return f"{form[0]} {form[1]}"
