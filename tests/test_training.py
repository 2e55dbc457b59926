"""Training: whole trajectories of both engines, an independent SGD, the population recursions,
resume, plug-ins.

The first half compares with something that was written twice; the second with the theory of arXiv
2606.00605.
"""

import csv
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eigenloop.lab import checkpoints, objectives, problems, training
from eigenloop.lab.checkpoints import METRICS, Trained, load_run
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.metrics import metric_steps
from eigenloop.lab.problems import Batch
from eigenloop.lab.run_directory import RunDirectory
from eigenloop.lab.training import train
from eigenloop.system import memory
from eigenloop.system.errors import InputError
from eigenloop.system.files import load_arrays, save_arrays

x64 = pytest.mark.usefixtures("x64")

SMALL: dict[str, Any] = {"dim": 8, "samples": 16, "batch": 256, "train_size": 512, "test_size": 64}
PLANTED: dict[str, Any] = {"task": "planted", "multiplicities": (4, 2, 2, 2, 2, 2, 1, 1)}
TINY: dict[str, Any] = {"dim": 3, "samples": 5, "batch": 8, "train_size": 40, "test_size": 16}
SEEDS: dict[str, Any] = {**TINY, "loops": 2, "learning_rate": 0.02, "dtype": "float64", "seeds": 3}
LAYERWISE: dict[str, Any] = {"objective": "layerwise", "learning_rate": 0.05}


def run(**values: Any) -> Trained:
    return train(TrainConfig.create(**values))


def blocks(trained: Trained, step: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A and B, (K, d, d), at a snapshot or at the end."""
    model = trained.model if step is None else trained.snapshots[step]
    dim = model.v.shape[-1] // 2
    return np.asarray(model.v)[:, dim:, :dim], np.asarray(model.w)[:, :dim, dim:]


def largest_difference(one: Trained, other: Trained) -> float:
    """Over V and W at every snapshot, relative to the largest entry there."""
    assert one.snapshots.keys() == other.snapshots.keys() != set()
    pairs = [
        (
            np.asarray(getattr(one.snapshots[at], name)),
            np.asarray(getattr(other.snapshots[at], name)),
        )
        for at in one.snapshots
        for name in ("v", "w")
    ]
    return max(float(abs(x - y).max() / abs(x).max()) for x, y in pairs)


# --- the full model and its reduction, whole trajectories


@pytest.mark.parametrize(
    "model",
    [{"loops": loops} for loops in (1, 3, 10)]
    + [
        {"objective": "layerwise", "norm": False, "target": target}
        for target in ("normalized", "unnormalized")
    ],
    ids=lambda m: "-".join(str(v) for v in m.values()),
)
def test_both_engines_follow_one_trajectory(model: dict) -> None:
    """At learning rate 0.01 rounding is not amplified: an error of 1e-16 in a step stays one.

    200 steps of a few roundings each, eps = 2.2e-16, and a growth of at most 3 measured by a
    perturbed start: 1e-12.
    """
    for task in ({}, PLANTED):  # in one test: the two tasks share their compiled programs
        values = {**SMALL, **task, **model, "learning_rate": 0.01, "steps": 200, "dtype": "float64"}
        values["snapshots"] = tuple(range(20, 201, 20))
        reduced, full = (run(**values, engine=engine) for engine in ("reduced", "full"))
        assert np.asarray(full.model.v).dtype == np.float64
        assert largest_difference(reduced, full) < 1e-12
        for name in METRICS[:-1]:
            np.testing.assert_allclose(
                full.metrics[name], reduced.metrics[name], rtol=1e-11, atol=1e-13, err_msg=name
            )
        np.testing.assert_array_equal(full.metrics["inactive_max"], 0.0)
        assert np.all(np.isnan(reduced.metrics["inactive_max"]))
        assert "engine full" in reduced.reasons["inactive_max"]
        assert np.ptp(full.metrics["test_loss"]) > 1e-3  # something was trained


def test_at_the_papers_learning_rate_rounding_grows_until_trajectories_part() -> None:
    """float32, ten loops: a change in A's last digit stays one for 50 steps at 0.01; at 0.1 it
    fills the matrix.
    """
    found = {}
    for rate in (0.01, 0.1):
        trainer = training.Trainer(TrainConfig.create(**SMALL, learning_rate=rate))
        models, states = trainer.initial()
        changed = jax.tree.map(lambda leaf: leaf * (1 + np.float32(2**-23)), models)
        ends = [
            np.asarray(trainer.advance(start, states, 0, 50)[0].b) for start in (models, changed)
        ]
        found[rate] = float(abs(ends[0] - ends[1]).max() / abs(ends[0]).max())
    assert 0 < found[0.01] < 1e-4
    assert found[0.1] > 1e3 * found[0.01]
    assert found[0.1] > 0.01


# --- an SGD written a second time, in NumPy


def naive_sgd(
    config: TrainConfig, replica: int
) -> tuple[list[np.ndarray], list[np.ndarray], Batch, Batch | None]:
    """A and B after every step of one seed: layerwise without LN, gradients by hand, batches drawn
    by hand.

    Loss mean_i ||q + A S B q - v||^2, v = Sq/||Sq|| or Sq; with r the residual, dA = 2 r (S B q)^T
    and dB = 2 (S A^T r) q^T. Of every epoch's order the first train_size // batch whole batches are
    used.
    """
    fold, distribution = jax.random.fold_in, config.distribution()
    key = fold(jax.random.key(config.seed), replica)
    data = (
        None
        if config.fresh
        else problems.draw(distribution, fold(key, 0), config.train_size, principal=False)
    )
    a, b = np.eye(config.dim), np.zeros((config.dim, config.dim))
    path_a, path_b = [a], [b]
    for step in range(config.total_steps):
        if data is None:
            part = problems.draw(
                distribution, fold(fold(key, 3), step), config.batch, principal=False
            )
            s, q = np.asarray(part.gram), np.asarray(part.query)
        else:
            epoch, place = divmod(step, config.train_size // config.batch)
            bits = np.asarray(
                jax.random.bits(fold(fold(key, 2), epoch), (config.train_size,), jnp.uint32)
            )
            rows = np.argsort(bits, kind="stable")[
                place * config.batch : (place + 1) * config.batch
            ]
            s, q = np.asarray(data.gram)[rows], np.asarray(data.query)[rows]
        d_a, d_b = np.zeros_like(a), np.zeros_like(b)
        for si, qi in zip(s, q, strict=True):
            v = si @ qi
            v = v / np.linalg.norm(v) if config.target == "normalized" else v
            r = qi + a @ si @ b @ qi - v
            d_a += 2 * np.outer(r, si @ b @ qi) / config.batch
            d_b += 2 * np.outer(si @ a.T @ r, qi) / config.batch
        a, b = a - config.learning_rate * d_a, b - config.learning_rate * d_b
        path_a.append(a)
        path_b.append(b)
    return (
        path_a,
        path_b,
        problems.draw(distribution, fold(key, 1), config.test_size, principal=False),
        data,
    )


@x64
@pytest.mark.parametrize(
    "values",
    [
        {"target": "unnormalized", "epochs": 3, "seeds": 2, "train_size": 38},
        {"target": "normalized", "steps": 7, "fresh": True, "seeds": 2},
        {"target": "normalized", "epochs": 3, "batch": 40},
    ],
    ids=["epochs", "fresh", "full-batch"],
)
def test_the_trainer_is_a_naive_sgd(values: dict) -> None:
    settings = {**TINY, **LAYERWISE, "norm": False, "seed": 5, "dtype": "float64", **values}
    config = TrainConfig.create(**settings, snapshots=tuple(range(13)))
    assert (
        config.total_steps
        == {"epochs": 12, "fresh": 7, "full-batch": 3}[
            "fresh" if config.fresh else "full-batch" if config.batch == 40 else "epochs"
        ]
    )
    found = train(config)
    assert found.steps.tolist() == metric_steps(config.total_steps)
    # and all steps in one stretch, across the epochs, to the same bits
    trainer = training.Trainer(config)
    at_once, _ = trainer.advance(*trainer.initial(), 0, config.total_steps)
    np.testing.assert_array_equal(np.asarray(at_once.a), blocks(found)[0])
    np.testing.assert_array_equal(np.asarray(at_once.b), blocks(found)[1])
    for replica in range(config.seeds):
        path_a, path_b, test, data = naive_sgd(config, replica)
        for step in range(config.total_steps + 1):
            a, b = (x[replica] for x in blocks(found, step))
            np.testing.assert_allclose(a, path_a[step], rtol=0, atol=1e-13)
            np.testing.assert_allclose(b, path_b[step], rtol=0, atol=1e-13)

        def loss(a: np.ndarray, b: np.ndarray, batch: Batch) -> float:
            s, q = np.asarray(batch.gram), np.asarray(batch.query)
            v = np.einsum("bij,bj->bi", s, q)
            v = v / np.linalg.norm(v, axis=1, keepdims=True) if config.target == "normalized" else v
            return float(
                np.mean(np.sum((q + np.einsum("ij,bjk,kl,bl->bi", a, s, b, q) - v) ** 2, axis=1))
            )

        for place, step in enumerate(found.steps):
            a, b = path_a[step], path_b[step]
            off = [
                np.max(abs(m - np.diag(np.diag(m)))) / max(np.mean(abs(np.diag(m))), 1e-300)
                for m in (a, b)
            ]
            expected = {
                "test_loss": loss(a, b, test),
                "train_loss": np.nan if data is None else loss(a, b, data),
                "a": np.trace(a) / 3,
                "b": np.trace(b) / 3,
                "gamma": np.trace(a @ b) / 3,
                "v_max": np.max(abs(a)),
                "w_max": np.max(abs(b)),
                "off_diagonal_ratio": max(off),
            }
            for name, value in expected.items():
                assert found.metrics[name][place, replica] == pytest.approx(
                    value, rel=1e-11, abs=1e-13, nan_ok=True
                ), (
                    name,
                    step,
                )


@x64
def test_several_seeds_at_once_are_independent_and_the_first_is_the_run_of_that_seed() -> None:
    values = {**SEEDS, "steps": 9, "seed": 4}
    together, alone = run(**values), run(**{**values, "seeds": 1})
    assert together.model.v.shape == (3, 6, 6)
    for name in METRICS:  # one seed is compiled apart from several: equal to rounding
        np.testing.assert_allclose(
            together.metrics[name][:, :1], alone.metrics[name], rtol=1e-12, atol=1e-14
        )
    assert np.ptp(together.metrics["test_loss"][-1]) > 1e-4


# --- the theory: recursions, fixed points, the paper's own curve


@pytest.mark.parametrize(
    ("target", "gamma_star"),
    [("unnormalized", 0.627906976744186), ("normalized", 0.0512454695385202)],
)
def test_gamma_follows_the_scalar_recursion_of_theorem_4_2(target: str, gamma_star: float) -> None:
    """Task 2 without LN: f(gamma) = mu2 (gamma - gamma*)^2 + f*, mu2 = 5.375; a, b move by -(eta/d)
    (b, a) f'.

    Eight seeds, 512 fresh samples a step: their mean is within 4 standard errors at every step
    measured.
    """
    dim, rate, mu2 = 16, 0.03, 5.375
    found = run(
        task="planted",
        objective="layerwise",
        norm=False,
        target=target,
        fresh=True,
        steps=60,
        batch=512,
        learning_rate=rate,
        seeds=8,
        test_size=16,
        dtype="float64",
    )
    a, b = 1.0, 0.0
    path = [0.0]
    for _ in range(60):
        slope = 2 * mu2 * (a * b - gamma_star)
        a, b = a - rate / dim * b * slope, b - rate / dim * a * slope
        path.append(a * b)
    expected = np.array(path)[found.steps[1:]]
    gamma = found.metrics["gamma"][1:]
    error = gamma.std(axis=1, ddof=1) / np.sqrt(8)
    assert np.all(abs(gamma.mean(axis=1) - expected) < 4 * error)
    assert error[-1] < 0.01 * expected[-1]  # so that 4 of them mean something
    assert expected[-1] > 0.6 * gamma_star


def paper_curve(series: str) -> dict[int, float]:
    text = (
        resources.files("eigenloop")
        .joinpath("data/paper_curves_task1.csv")
        .read_text()
        .splitlines()
    )
    rows = csv.DictReader(text)
    return {
        int(row["x"]): float(row["y"])
        for row in rows
        if (row["figure"], row["series"]) == ("2b", series)
    }


def test_layerwise_ln_follows_the_papers_figure_2b() -> None:
    points = paper_curve("ln_norm_test_loss")
    config = TrainConfig.create(
        objective="layerwise", learning_rate=0.031, steps=2000, snapshots=tuple(points)
    )
    found = train(config)
    key = jax.random.fold_in(jax.random.key(0), 0)
    test = problems.draw(config.distribution(), jax.random.fold_in(key, 1), 2000, principal=False)
    s, q = np.asarray(test.gram), np.asarray(test.query)
    v = np.einsum("bij,bj->bi", s, q)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    assert len(points) == 16
    for step, paper in points.items():
        a, b = (m[0] for m in blocks(found, step))
        y = q + np.einsum("ij,bjk,kl,bl->bi", a, s, b, q, optimize=True)
        y /= np.linalg.norm(y, axis=1, keepdims=True)
        loss = np.mean(np.sum((y - v) ** 2, axis=1))
        if step in found.steps:
            assert loss == pytest.approx(
                found.metrics["test_loss"][found.steps.tolist().index(step), 0], rel=1e-4
            )
        assert loss == pytest.approx(paper, rel=0.05), step


def fixed_losses(task: str) -> dict[str, float]:
    """f* of both targets, arXiv 2606.00605, Thm 4.2: exact for Task 2, by 40,000 samples for
    Task 1.
    """
    if task == "planted":
        return {"normalized": 0.226171883379953, "unnormalized": 0.255813953488372}
    rng, ratio = np.random.default_rng(0), 2.0
    x, q = rng.normal(size=(40_000, 16, 32)), rng.normal(size=(40_000, 16))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    sq = np.einsum("bij,bj->bi", x, np.einsum("bij,bi->bj", x, q))
    norm, along = np.linalg.norm(sq, axis=1), np.sum(q * sq, axis=1)
    mu2 = (
        32 + 32 * 31 / 16
    ) / 16  # E tr(S^2)/d: n columns with themselves, n(n-1) pairs with E cos^2 = 1/d
    assert np.mean(norm**2) == pytest.approx(mu2, rel=0.01)
    gamma = {"normalized": (norm.mean() - ratio) / mu2, "unnormalized": 1 - ratio / mu2}
    return {
        "normalized": 2 - 2 * float(np.mean(along / norm)) - mu2 * float(gamma["normalized"]) ** 2,
        "unnormalized": 1 - 2 * ratio + mu2 - mu2 * gamma["unnormalized"] ** 2,
    }


@pytest.mark.parametrize("task", ["sphere", "planted"])
@pytest.mark.parametrize("target", ["normalized", "unnormalized"])
def test_without_ln_the_test_loss_stays_at_its_fixed_point(task: str, target: str) -> None:
    found = run(
        task=task, objective="layerwise", norm=False, target=target, learning_rate=0.03, steps=2000
    )
    late = found.metrics["test_loss"][found.steps >= 250, 0]
    assert late.size > 15
    np.testing.assert_allclose(late, fixed_losses(task)[target], rtol=0.03)


# --- going on


def same_run(one: Path, other: Path) -> None:
    """Two directories hold the same run, bit for bit, seconds apart."""
    names = {p.name for p in one.iterdir() if p.name != ".lock"}
    assert names == {p.name for p in other.iterdir() if p.name != ".lock"}
    for name in sorted(names - {"checkpoint.safetensors"}):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    first, second = (load_arrays(path / "checkpoint.safetensors") for path in (one, other))
    assert first.keys() == second.keys()
    for key in first.keys() - {"seconds"}:
        assert first[key].dtype == second[key].dtype
        assert first[key].tobytes() == second[key].tobytes(), key


def interrupted_at(step: int) -> Any:
    def interrupt(name: str, done: int, total: int) -> None:
        assert name == "training"
        if done >= step:
            raise KeyboardInterrupt

    return interrupt


@pytest.mark.usefixtures("standard_promotion")
def test_a_users_distribution_objective_and_optimiser_resume_bit_for_bit(tmp_path: Path) -> None:
    class Noisy:
        """One fixed direction with noise around it, which no task of the package draws."""

        dim, samples = 3, 5

        def sample(self, key: jax.Array, size: int) -> jax.Array:
            x = jax.random.normal(key, (size, 3, 5)) + 2 * jnp.eye(3)[None, :, :1]
            return x / jnp.linalg.norm(x, axis=1, keepdims=True)

    class Cubed:
        """sum |q + A S B q - e_1|^3."""

        needs_principal = False

        def __call__(self, model: objectives.Model, batch: Batch) -> jax.Array:
            return jnp.sum(jnp.abs(model.outputs(batch, loops=2) - jnp.eye(3)[:1]) ** 3, axis=1)

    own: dict[str, Any] = {
        "distribution": Noisy(),
        "objective": Cubed(),
        "optimizer": optax.adam(0.01),
    }
    config = TrainConfig.create(**{**TINY, "steps": 60, "snapshots": (7, 60)})
    whole = train(config, tmp_path / "whole", **own)
    for stop in (3, 20):
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "parts", **own, progress=interrupted_at(stop))
        assert 0 < load_arrays(tmp_path / "parts" / "checkpoint.safetensors")["step"] < 60
    parts = train(config, tmp_path / "parts", **own)
    same_run(tmp_path / "whole", tmp_path / "parts")
    assert parts.summary() == {**whole.summary(), "seconds": parts.seconds}
    # the objective fell, by the user's formula on the user's data
    assert whole.metrics["test_loss"][-1, 0] < 0.9 * whole.metrics["test_loss"][0, 0]
    # and the directory knows what it belongs to
    with pytest.raises(
        InputError, match=r"optimizer is GradientTransformationExtraArgs \w+ there, not set here"
    ):
        train(
            config, tmp_path / "parts", distribution=own["distribution"], objective=own["objective"]
        )


@pytest.mark.parametrize("length", [("epochs", 2, 5), ("steps", 7, 23)], ids=lambda value: value[0])
def test_more_of_a_finished_run_is_the_longer_run(
    tmp_path: Path, length: tuple[str, int, int]
) -> None:
    name, short, long = length
    values = {**TINY, "loops": 2, "snapshots": (4, 15)}
    train(TrainConfig.create(**values, **{name: short}), tmp_path / "grown")
    grown = train(TrainConfig.create(**values, **{name: long}), tmp_path / "grown")
    whole = train(TrainConfig.create(**values, **{name: long}), tmp_path / "whole")
    assert set(grown.snapshots) == {4, 15}
    for file in ("weights.safetensors", "snapshots.safetensors"):
        assert (tmp_path / "grown" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    # the shorter run's last step stays among the metrics; the rest are the same numbers
    shared = np.isin(grown.steps, whole.steps)
    assert np.isin(whole.steps, grown.steps).all()
    for metric in METRICS:
        np.testing.assert_array_equal(grown.metrics[metric][shared], whole.metrics[metric])
    # going back is refused, and leaves the directory as it was
    before = {p.name: p.read_bytes() for p in (tmp_path / "grown").iterdir()}
    with pytest.raises(InputError, match="already done"):
        train(TrainConfig.create(**values, **{name: short}), tmp_path / "grown")
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "grown").iterdir()}


def test_a_finished_run_is_read_back_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig.create(**{**SEEDS, "steps": 12, "snapshots": (5,)})
    first = train(config, tmp_path / "run")
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "run").iterdir()}

    def no_training(*arguments: Any) -> None:
        raise AssertionError("a finished run needs no trainer")

    monkeypatch.setattr(training, "Trainer", no_training)
    for again in (train(config, tmp_path / "run"), load_run(tmp_path / "run")):
        assert again.config == config
        assert again.summary() == first.summary()
        np.testing.assert_array_equal(again.steps, first.steps)
        np.testing.assert_array_equal(blocks(again), blocks(first))
        np.testing.assert_array_equal(blocks(again, 5), blocks(first, 5))
        assert np.asarray(again.model.v).dtype == np.float64
    after = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "run").iterdir()}
    assert {k: v for k, v in before.items() if k != ".lock"} == {
        k: v for k, v in after.items() if k != ".lock"
    }


def test_lost_derived_files_are_written_again(tmp_path: Path) -> None:
    config = TrainConfig.create(**{**TINY, "loops": 2, "steps": 12})
    train(config, tmp_path / "run")
    before = {
        name: (tmp_path / "run" / name).read_bytes()
        for name in ("metrics.csv", "weights.safetensors")
    }
    for name in before:
        (tmp_path / "run" / name).unlink()
    train(config, tmp_path / "run")
    assert before == {name: (tmp_path / "run" / name).read_bytes() for name in before}


# --- whose directory it is


def test_a_directory_tells_own_objects_of_one_name_apart(tmp_path: Path) -> None:
    config = TrainConfig.create(**{**TINY, "loops": 2, "steps": 3})

    class Scaled:
        dim, samples = 3, 5

        def __init__(self, scale: float) -> None:
            self.scale = scale

        def sample(self, key: jax.Array, size: int) -> jax.Array:
            x = jax.random.normal(key, (size, 3, 5)) + self.scale
            return x / jnp.linalg.norm(x, axis=1, keepdims=True)

    def objective(power: int) -> Any:
        return lambda model, batch: jnp.sum(jnp.abs(model.outputs(batch, loops=2)) ** power, axis=1)

    one = {"distribution": Scaled(1.0), "objective": objective(2), "optimizer": optax.sgd(1e-3)}
    first = train(config, tmp_path / "run", **one)
    again = {"distribution": Scaled(1.0), "objective": objective(2), "optimizer": optax.sgd(1e-3)}
    np.testing.assert_array_equal(train(config, tmp_path / "run", **again).model.v, first.model.v)
    others = {"distribution": Scaled(2.0), "objective": objective(3), "optimizer": optax.sgd(0.5)}
    for name, other in others.items():
        with pytest.raises(InputError, match=rf"{name} is .* there, .* here; choose another --out"):
            train(config, tmp_path / "run", **{**one, name: other})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("step", np.zeros(3, np.int64), "step as int64 (3,), not int64 ()"),
        ("step", np.float64("nan"), "step as float64 (), not int64 ()"),
        ("step", np.int64(-5), "step -5; it must be at least 0"),
        ("seconds", np.float64("nan"), "nan seconds"),
        ("metrics.values", np.zeros((2, 3, 1)), "metrics.values as float64 (2, 3, 1)"),
        ("metrics.steps", np.array([0, 9]), "ascending steps from 0 to 4"),
        ("metrics.steps", np.array([3, 1]), "ascending steps from 0 to 4"),
        ("snapshot.x.0", np.zeros(1), "'snapshot.x.0', which no run"),
        ("snapshot.1.0", np.zeros((1, 3, 3), np.float32), "lacks 'snapshot.1.1'"),
        (
            "state.0",
            np.zeros((1, 3, 3), np.int32),
            "state.0 as int32 (1, 3, 3), not float32 (1, 3, 3)",
        ),
        (
            "state.1",
            np.zeros((1, 2, 2), np.float32),
            "state.1 as float32 (1, 2, 2), not float32 (1, 3, 3)",
        ),
        ("state.1", None, "lacks 'state.1'"),
        ("state.2", np.zeros(1), "'state.2', which no run"),
        ("other", np.zeros(1), "'other', which no run"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_checkpoint_that_no_run_writes_is_refused(
    tmp_path: Path, name: str, value: Any, words: str
) -> None:
    config = TrainConfig.create(**{**TINY, "loops": 2, "steps": 9})
    size = (1, 3, 3)
    state = [np.eye(3, dtype=np.float32).reshape(size), np.zeros(size, np.float32)]
    rows = {step: np.zeros((len(METRICS), 1)) for step in (0, 4)}
    arrays = checkpoints.pack(4, 0.1, state, rows, {}, config)
    RunDirectory(tmp_path / "run", config.plain()).write_config()
    file = tmp_path / "run" / "checkpoint.safetensors"
    save_arrays(file, arrays)
    assert load_run(tmp_path / "run").done == 4
    changed = (
        {**arrays, name: np.asarray(value)}
        if value is not None
        else {k: v for k, v in arrays.items() if k != name}
    )
    save_arrays(file, changed)
    before = file.read_bytes()
    calls = [lambda: train(config, tmp_path / "run")]
    # could be an optimiser's
    calls += [lambda: load_run(tmp_path / "run")] if name != "state.2" else []
    for call in calls:
        with pytest.raises(InputError) as raised:
            call()
        assert words in str(raised.value)
        assert "delete it to start again" in str(raised.value)
        assert "\n" not in str(raised.value)
    assert file.read_bytes() == before


def test_what_cannot_fit_in_memory_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: 8 * memory.GIB)
    for values, size in (
        ({"dim": 200_000}, "1,"),
        ({"train_size": 2_000_000_000}, "2,"),
        ({"seeds": 100_000}, "1,"),
    ):
        config = TrainConfig.create(**values, steps=2)
        with pytest.raises(
            InputError,
            match=rf"needs at least {size}\S+ GiB of memory, and there are 8 GiB; lower --dim",
        ):
            train(config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    paper = TrainConfig.create()  # 12,000 examples of S, q and a basis, in 4 bytes
    assert paper.least_bytes(principal=True) == pytest.approx(12_000 * (256 + 32) * 4, rel=0.02)


# --- what is measured, and when


def test_metric_steps_are_the_start_a_grid_and_the_end() -> None:
    assert metric_steps(1) == [0, 1]
    for total in (1, 2, 77, 1000, 156_000):
        steps = metric_steps(total)
        assert steps == sorted(set(steps))
        assert steps[0] == 0
        assert steps[-1] == total
        assert set(steps[:-1]) <= set(metric_steps(10 * total))
        late = np.array([s for s in steps if s >= 20])
        assert np.all(late[1:] / late[:-1] < 1.2)  # twenty a decade, 12 % apart


def test_a_diverged_run_says_so_in_place_of_numbers() -> None:
    values = {
        **TINY,
        **LAYERWISE,
        "norm": False,
        "target": "unnormalized",
        "learning_rate": 1e6,
        "steps": 30,
    }
    summary = run(**values, seeds=2).summary()
    assert summary["test_loss"] == [None, None]
    assert "diverged" in summary["reasons"]["test_loss"]
    assert "full" in summary["reasons"]["inactive_max"]


def test_the_first_metrics_are_those_of_the_start() -> None:
    found = run(**{**TINY, "steps": 1, "loops": 3})
    first = {name: values[0, 0] for name, values in found.metrics.items()}
    assert (first["a"], first["b"], first["gamma"], first["v_max"], first["w_max"]) == (
        1,
        0,
        0,
        1,
        0,
    )
    assert first["off_diagonal_ratio"] == 0  # B is zero: A alone counts


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": 1}, "--dim is 1"),
        ({"samples": 0}, "--samples is 0"),
        ({"loops": 0}, "--loops is 0"),
        ({"batch": -3}, "--batch is -3"),
        ({"train_size": 100}, "--batch is 128, above --train-size 100"),
        ({"test_size": 0}, "--test-size is 0"),
        ({"seeds": 0}, "--seeds is 0"),
        ({"seed": -1}, "--seed is -1"),
        ({"seed": 2**32}, "--seed is 4294967296"),
        ({"learning_rate": 0.0}, "--learning-rate is 0"),
        ({"learning_rate": float("inf")}, "--learning-rate is inf"),
        ({"epochs": 1, "steps": 1}, "give one of them"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"fresh": True, "epochs": 3}, "no meaning with --fresh"),
        ({"norm": False}, "degenerate"),
        ({"objective": "layerwise", "target": "unnormalized"}, "needs --no-norm"),
        ({"target": "unnormalized"}, "needs --no-norm"),
        ({"multiplicities": (3, 2)}, "belong to --task planted"),
        ({"task": "planted", "dim": 8}, "give --multiplicities"),
        ({"task": "other"}, "--task is 'other'"),
        ({"loops": 2.5}, "--loops is 2.5"),
        ({"unknown": 1}, "--unknown is 1"),
        ({"min_eigenvalue": 100.0}, "lower --min-eigenvalue"),
        (
            {"steps": 99_999_999_999},
            "--steps is 99999999999; it must be at most 2147483647 (2^31 - 1)",
        ),
        (
            {"epochs": 2**31 - 1},
            "--epochs is 2147483647, which makes 167503724466 steps; at most 2147483647",
        ),
        (
            {"train_size": 4_000_000_000},
            "--train-size is 4000000000; it must be at most 2147483647",
        ),
        (
            {"dim": 30_000, "samples": 2**31 - 1, "min_eigenvalue": 0.1},
            "trying --min-eigenvalue out needs at least",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(values: dict, message: str) -> None:
    with pytest.raises(InputError) as raised:
        TrainConfig.create(**values)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_defaults_are_the_papers() -> None:
    config = TrainConfig.create()
    assert (config.dim, config.samples, config.loops, config.batch) == (16, 32, 10, 128)
    assert (config.epochs, config.steps_per_epoch, config.total_steps) == (2000, 78, 156_000)
    assert TrainConfig.create(fresh=True).total_steps == 2000
    assert sum(TrainConfig.create(task="planted").multiplicities or ()) == 32
