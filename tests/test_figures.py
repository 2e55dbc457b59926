"""Figures 1 to 8: one quick reproduction, shared by the tests; what is drawn, what is written,
what must hold.
"""

import csv
import fcntl
import html
import os
import re
import shlex
from dataclasses import replace
from multiprocessing import Event, SimpleQueue
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from command_line import call
from eigenloop import figures
from eigenloop.figures import figure5, points, running, settings
from eigenloop.figures.drawn import deviation
from eigenloop.figures.levels import levels
from eigenloop.figures.page import write_page
from eigenloop.figures.values import FigureData, Row, curve, paper_points, read_table
from eigenloop.lab import checkpoints, looping
from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.checkpoints import METRICS
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.problems import draw
from eigenloop.lab.run_directory import RunDirectory
from eigenloop.numerics.power import power_method, predicted_sines, sin_angle
from eigenloop.report import Panel, inline_svg
from eigenloop.system import workers
from eigenloop.system.errors import InputError
from eigenloop.system.files import load_arrays, save_arrays

NUMBERS = range(1, 9)
SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>'
PANEL = Panel("a panel", SQUARE, "a panel", svg_dark=SQUARE)
PIECES = figures.Pieces(((PANEL,),), ())
QUICK = figures.Budget(quick=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick runs of all figures, trained by the first worker that needs them."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "quick-figures"
    shared.mkdir(exist_ok=True)
    with open(shared / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        figures.prepare(NUMBERS, QUICK, shared / "runs")
    return shared / "runs"


@pytest.fixture(scope="module")
def quick(runs: Path) -> dict[int, FigureData]:
    return {number: figures.compute(number, QUICK, runs) for number in NUMBERS}


def check_drawings(drawn: figures.Pieces, data: FigureData) -> None:
    """Each panel alone, with a title; a page can inline it, and text is drawn as paths: no font
    is needed.
    """
    panels = [panel for row in drawn.panels for panel in row]
    assert len(panels) == len(data.panels)
    # a quick run's last step
    assert len({panel.title for panel in panels}) == len(panels) or data.number in (
        6,
        7,
    )
    for panel in panels:
        light, dark = panel.svg, panel.svg_dark
        assert light.count('<g id="axes_') == dark.count('<g id="axes_') == 1
        assert "legend" not in light
        assert "#d7dbe0" in dark
        assert "#d7dbe0" not in light
        width = float(re.findall(r'<svg[^>]* width="([\d.]+)pt"', light)[0]) / 72 * 96
        assert 150 < width < 520  # a phone shows it at two thirds of its size or more
        for svg in (light, dark):
            assert "<text" not in svg
            assert inline_svg(svg, prefix="f")
    words = [entry.text for entry in drawn.key]
    assert len(words) == len(set(words)) > 0
    assert not any("$" in text for text in words)


def no_training(*args: object, **kwargs: object) -> None:
    raise AssertionError("nothing may be trained here")


# --- looping at test time


@pytest.mark.parametrize("norm", [True, False])
def test_sines_are_those_of_the_model_itself(norm: bool, x64: None) -> None:
    rng = np.random.default_rng(1)
    d, loops = 5, 6
    config = TrainConfig.create(dim=d, samples=9)
    batch = draw(config.distribution(), jax.random.key(3), 7)
    a, b = rng.standard_normal((2, d, d)) / 3
    assert batch.principal is not None
    sines = looping.looped_sines(
        a,
        b,
        gram=np.asarray(batch.gram),
        query=np.asarray(batch.query),
        basis=np.asarray(batch.principal),
        loops=loops,
    )
    reduced = TwoBlock(a=jnp.asarray(a), b=jnp.asarray(b), norm=norm)
    full = reduced.lift()
    for i in range(7):
        for k in range(loops + 1):
            for y in (
                reduced(batch.gram[i], batch.query[i], loops=k),
                full(batch.columns[i], batch.query[i], loops=k),
            ):
                expected = sin_angle(np.asarray(y), np.asarray(batch.principal[i]))
                np.testing.assert_allclose(sines[k, i], expected, rtol=1e-9, atol=1e-14)


def test_sines_of_a_scalar_model_and_of_the_power_method_obey_equation_d1() -> None:
    rng = np.random.default_rng(2)
    values = np.array([5.0, 5.0, 3.0, 1.0])
    q = rng.standard_normal((6, 4))
    basis, gram, eye = np.eye(4)[:, :2], np.diag(values), np.eye(4)
    ours = looping.looped_sines(2 * eye, 0.7 * eye, gram=gram, query=q, basis=basis, loops=40)
    np.testing.assert_allclose(ours, predicted_sines(values, q, loops=40, gamma=1.4), rtol=1e-12)
    power = looping.power_method_sines(gram=gram, query=q, basis=basis, loops=40)
    np.testing.assert_allclose(power, predicted_sines(values, q, loops=40), rtol=1e-12)
    np.testing.assert_allclose(
        power[:, 0], sin_angle(power_method(gram, q[0], loops=40), basis), rtol=1e-12
    )


@pytest.mark.parametrize("task", settings.TASKS)
def test_scalar_models_stay_between_the_bounds_of_theorem_4_6(task: settings.Task) -> None:
    test_set = points.held_out(TrainConfig.create(task=task))
    assert len(test_set.query) == 2000
    assert figure5.scalar_within_bounds(test_set, gamma=4.0, loops=50) == 2000


def test_the_bounds_are_tight_enough_to_fail_for_another_gamma() -> None:
    test_set = points.held_out(TrainConfig.create(test_size=20))
    c = test_set.coordinates[0]
    wrong = predicted_sines(test_set.eigenvalues[0], c, loops=150, gamma=0.3)
    _, high = figure5.sine_bounds(test_set.eigenvalues[0], c, loops=150, gamma=4.0)
    assert (wrong > high).any()


def test_the_fixed_point_starts_nearly_orthogonal() -> None:
    point = points.held_out(TrainConfig.create(task="planted")).fixed()
    assert abs(point.coordinates[0, 0]) == pytest.approx(0.1, abs=0.02)


def test_held_out_points_are_the_test_set_of_the_run() -> None:
    config = TrainConfig.create(
        dim=4, samples=8, steps=1, train_size=128, test_size=64, objective="layerwise"
    )
    from eigenloop.lab.training import train

    test_set = points.held_out(config)
    target = np.einsum("bij,bj->bi", test_set.gram, test_set.query)
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    loss = np.mean(np.sum((test_set.query - target) ** 2, axis=1))  # B = 0 at the start: y = q
    assert train(config).metrics["test_loss"][0, 0] == pytest.approx(loss, rel=1e-5)


# --- levels


def test_levels_without_norm_of_task_2_match_the_exact_values() -> None:
    found = levels(TrainConfig.create(task="planted"))
    assert found["unnormalized"].gamma == pytest.approx(0.627906976744186, abs=1e-12)
    assert found["unnormalized"].loss == pytest.approx(0.255813953488372, abs=1e-12)
    assert found["normalized"].gamma == pytest.approx(0.0512454695385202, abs=1e-12)
    assert found["normalized"].loss == pytest.approx(0.226171883379953, abs=1e-12)
    assert {level.loss_error for level in found.values()} == {0.0}
    assert str(found["normalized"]) == "gamma* = 0.051245, f* = 0.226172"


def test_levels_of_task_1_state_their_standard_error() -> None:
    """Several seeds scatter as they say, and their mean is that of a plain simulation."""
    config = TrainConfig.create(dim=4, samples=8)
    found = [levels(config, draws=64, seed=seed)["normalized"] for seed in range(12)]
    for value, error in (("gamma", "gamma_error"), ("loss", "loss_error")):
        values = np.array([getattr(level, value) for level in found])
        stated = np.sqrt(np.mean([getattr(level, error) ** 2 for level in found]))
        assert 0.5 < values.std(ddof=1) / stated < 1.7  # 11 degrees of freedom
    rng, count, ratio, mu2 = np.random.default_rng(0), 200_000, 2.0, (8 + 8 * 7 / 4) / 4
    x, q = rng.standard_normal((count, 4, 8)), rng.standard_normal((count, 4))
    x, q = (
        x / np.linalg.norm(x, axis=1, keepdims=True),
        q / np.linalg.norm(q, axis=1, keepdims=True),
    )
    sq = np.einsum("bij,bj->bi", x, np.einsum("bij,bi->bj", x, q))
    norm = np.linalg.norm(sq, axis=1)
    gamma = (norm.mean() - ratio) / mu2
    loss = 2 - 2 * np.mean(np.sum(q * sq, axis=1) / norm) - mu2 * gamma**2
    assert np.mean([level.gamma for level in found]) == pytest.approx(gamma, abs=0.002)
    assert np.mean([level.loss for level in found]) == pytest.approx(loss, abs=0.004)
    assert re.fullmatch(
        r"f\* = 0\.\d{4} \+- 0\.\d{4}", levels(TrainConfig.create())["normalized"].floor
    )


def test_levels_of_task_1_match_the_paper() -> None:
    found = levels(TrainConfig.create())
    for target, series in (("normalized", "noln_norm"), ("unnormalized", "noln_unnorm")):
        _, y = paper_points("2b", f"{series}_test_loss")
        # the reading error
        assert found[target].loss == pytest.approx(float(np.median(y)), rel=0.02)


# --- the figures


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_drawn_is_what_is_written(
    number: int, quick: dict[int, FigureData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = quick[number]
    drawings = figures.save(data, tmp_path)
    paths = {
        suffix: tmp_path / f"figure{number}.{suffix}" for suffix in ("png", "pdf", "svg", "csv")
    }
    assert sorted(tmp_path.iterdir()) == sorted(paths.values())
    check_drawings(drawings, data)
    assert imread(paths["png"]).shape[1] >= 1000
    assert paths["pdf"].read_bytes().startswith(b"%PDF")
    again = replace(data, table=read_table(paths["csv"]))
    assert again.table == data.table
    monkeypatch.setattr(running, "train", no_training)
    monkeypatch.setattr(running, "load_run", no_training)
    before = dict(mpl.rcParams)
    kept = {suffix: path.read_bytes() for suffix, path in paths.items()}
    assert figures.save_all([again], tmp_path) == [drawings]
    assert {suffix: path.read_bytes() for suffix, path in paths.items()} == kept
    assert dict(mpl.rcParams) == before
    axes = figures.draw(again).axes
    drawn = {
        tuple(np.round(np.ma.getdata(xy), 12))
        for a in axes
        for line in a.lines
        for xy in np.asarray(line.get_xydata())
    }
    for row in data.table:
        if row.kind in ("line", "points", "reference", "theory"):
            assert (round(row.x or 0.0, 12), round(row.y or 0.0, 12)) in drawn
    assert all(number_ is None or np.isfinite(number_) for row in data.table for number_ in row[3:])


@pytest.mark.parametrize("number", NUMBERS)
def test_sentences_settings_and_command_are_there(
    number: int, quick: dict[int, FigureData]
) -> None:
    data = quick[number]
    assert data.number == number
    assert data.command == f"eigenloop reproduce --figure {number} --quick"
    assert data.details
    assert any(c.isdigit() for c in data.run_shows)
    for said in (data.run_shows, *data.details):
        assert "nan" not in said
        assert "||" not in said
    # 120 steps of the paper's 2,000
    assert {each.outcome for each in data.judgements} == {"too short"}
    assert all(each.sentence.figure == number for each in data.judgements)
    assert any(each.sentence.whose == "stated" for each in data.judgements)
    assert all(each.parts for each in data.judgements)
    assert [name for name, _ in data.settings] == list(figures.runs([number], QUICK))


def test_both_tasks_and_the_papers_points_are_drawn(quick: dict[int, FigureData]) -> None:
    for number, figure, series in ((1, "1c", ["W_max", "V_max"]), (2, "2b", ["ln_norm_test_loss"])):
        names = " ".join(quick[number].panels)
        assert "Task 1" in names
        assert "Task 2" in names
        for name in series:
            x, y = paper_points(figure, name)
            drawn = {(row.x, row.y) for row in quick[number].table if row.kind == "points"}
            assert {(float(a), float(b)) for a, b in zip(x, y, strict=True)} <= drawn
    loops = [row for row in quick[2].panel("Task 1, angle") if row.kind == "points"]
    assert len(loops) == sum(
        len(paper_points("2c", f"{m}_sin")[0]) for m in ("ln_norm", "noln_norm", "noln_unnorm")
    )
    assert not any(row.kind == "points" for row in quick[2].table if row.panel.startswith("Task 2"))


def test_heatmaps_hold_the_trained_matrices(quick: dict[int, FigureData], runs: Path) -> None:
    from eigenloop.lab.checkpoints import load_run

    w = np.asarray(load_run(runs / "looped-sphere").model.w, np.float64)[0]
    for row in quick[1].panel("Task 1, W"):
        assert row.value == pytest.approx(
            w[int(row.y or 0), int(row.x or 0)] / abs(w).max(), abs=1e-12
        )
    for number, count in ((1, 2), (4, 2), (6, 2), (7, 2)):  # tasks or targets
        assert (
            sum(
                "inactive ones in the first 3 steps is 0" in words
                for words in quick[number].details
            )
            == count
        )
        assert sum(name.endswith("-full") for name, _ in quick[number].settings) == count


def test_several_seeds_give_a_band(tmp_path: Path) -> None:
    data = figures.compute(6, figures.Budget(quick=True, seeds=2), tmp_path)
    lines = [row for row in data.table if row.kind == "line"]
    assert lines
    for row in lines:
        assert row.low is not None
        assert row.y is not None
        assert row.high is not None
        assert row.low <= row.y <= row.high
    assert any(row.low != row.high for row in lines)
    assert any(axes.collections for axes in figures.draw(data).axes)
    assert data.command == "eigenloop reproduce --figure 6 --quick --seeds 2"


def test_median_and_range_over_seeds() -> None:
    (row,) = curve("p", "s", [3], np.array([[1.0, 5.0, 2.0]]))
    assert row == Row("p", "line", "s", 3.0, 2.0, 1.0, 5.0)


def test_deviation_interpolates_in_logarithms() -> None:
    rows = curve("p", "s", [1, 100], np.array([1.0, 0.01]))
    rows += curve("p", "s (paper)", [10, 50, 1000], np.array([0.08, 0.02, 9.0]), kind="points")
    found = deviation(rows, "s")
    assert found is not None
    np.testing.assert_allclose(found, (0.25, 10, 0.25))


def test_finished_runs_are_read_and_not_trained(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "train", no_training)
    told: list[str] = []
    figures.compute(3, QUICK, runs, lambda name, done, total: told.append(name))
    assert told == []


def test_an_interrupt_saves_every_run(tmp_path: Path) -> None:
    config = {
        "one": TrainConfig.create(dim=4, samples=8, steps=50_000, train_size=256, test_size=64)
    }

    def interrupt(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.train_all(config, tmp_path, interrupt)
    assert (tmp_path / "one" / "checkpoint.safetensors").exists()


def test_runs_in_processes_of_their_own_are_the_same_bit_for_bit(tmp_path: Path) -> None:
    keep = {"dim": 4, "samples": 8, "train_size": 256, "test_size": 64, "steps": 20}
    configs = {f"seed-{seed}": TrainConfig.create(**keep, seed=seed) for seed in (1, 2)}
    told: dict[str, int] = {}
    apart = running.train_all(
        configs, tmp_path / "apart", lambda name, done, total: told.update({name: done}), workers=2
    )
    here = running.train_all(configs, tmp_path / "here")
    assert told == {"seed-1": 20, "seed-2": 20}
    assert list(apart) == list(here) == list(configs)
    for name in configs:
        np.testing.assert_array_equal(apart[name].model.v, here[name].model.v)
        np.testing.assert_array_equal(
            apart[name].metrics["test_loss"], here[name].metrics["test_loss"]
        )


def test_an_interrupt_saves_the_runs_of_every_process(tmp_path: Path) -> None:
    keep = {"dim": 4, "samples": 8, "train_size": 256, "test_size": 64, "steps": 10_000_000}
    configs = {f"seed-{seed}": TrainConfig.create(**keep, seed=seed) for seed in (1, 2)}
    begun: set[str] = set()

    def interrupt(name: str, done: int, total: int) -> None:
        begun.add(name)
        if begun == set(configs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.train_all(configs, tmp_path, interrupt, workers=2)
    for name in configs:
        assert int(load_arrays(tmp_path / name / "checkpoint.safetensors")["step"]) > 0


def test_a_worker_process_saves_and_ends_when_its_parent_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, stop = SimpleQueue(), Event()
    monkeypatch.setattr(running, "_worker", {"told": told, "stop": stop, "said": 0.0})
    monkeypatch.setattr(workers.orphaned, "is_set", lambda: True)
    config = TrainConfig.create(dim=4, samples=8, train_size=256, test_size=64, steps=1000)
    with pytest.raises(KeyboardInterrupt):
        running._train_one("orphan", config, tmp_path / "orphan")
    assert (tmp_path / "orphan" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        (figures.Budget(epochs=3), QUICK, "made without --quick"),
        (QUICK, figures.Budget(epochs=3), "made with --quick"),
        (QUICK, figures.Budget(quick=True, seeds=2), "made with --seeds 1, not 2"),
        (figures.Budget(quick=True, seed=4), QUICK, "made with --seed 4, not 0"),
        (
            figures.Budget(epochs=3),
            figures.Budget(epochs=2),
            "of 3 epochs, more than --epochs 2; give --epochs 3 or more",
        ),
    ],
)
def test_runs_of_another_budget_are_refused_before_any_is_trained(
    there: figures.Budget,
    here: figures.Budget,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last of the runs is there with another budget; the first are not there at all."""
    name = [name for name in figures.runs([3], there) if name in figures.runs([3], here)][-1]
    config = figures.runs([3], there)[name]
    directory = RunDirectory(tmp_path / name, config.plain())
    directory.write_config()
    size = (config.seeds, config.dim, config.dim)
    state = [np.zeros(size, np.float32)] * 2
    rows = {0: np.zeros((len(METRICS), config.seeds))}
    save_arrays(
        directory.path / directory.CHECKPOINT,
        checkpoints.pack(config.total_steps, 0.1, state, rows, {}, config),
    )
    monkeypatch.setattr(running, "train", no_training)
    monkeypatch.setattr(running, "_train_apart", no_training)
    with pytest.raises(InputError) as raised:
        figures.prepare([3], here, tmp_path, workers=2)
    assert words in str(raised.value)
    assert "choose another --out" in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "budget",
    [
        figures.Budget(),
        figures.Budget(epochs=7, seeds=3, seed=5),
        QUICK,
        figures.Budget(quick=True, seed=9),
    ],
)
@pytest.mark.parametrize("out", ["runs/paper", "a folder/it's here"])
def test_the_printed_command_asks_for_the_same_again(
    budget: figures.Budget, out: str, tmp_path: Path, quick: dict[int, FigureData]
) -> None:
    from typer.main import get_command

    from eigenloop.cli.app import app

    made = [quick[3], quick[5]]
    written = write_page(made, [PIECES] * 2, budget, tmp_path / out, seconds=1.0)
    text = written.path.read_text(encoding="utf-8")
    commands = [
        html.unescape(re.sub(r"<[^>]+>", "", code))
        for code in re.findall(r"<code>(.*?)</code>", text)
    ]
    assert written.metadata["command"] in commands
    for command, numbers in ((commands[0], [3, 5]),):
        program, name, *words = shlex.split(command)
        assert (program, name) == ("eigenloop", "reproduce")
        subcommand = cast(Any, get_command(app)).get_command(None, name)
        asked = subcommand.make_context(name, words).params
        fields = {key: asked[key] for key in ("epochs", "seeds", "quick", "seed")}
        assert figures.Budget(**fields) == budget
        assert (asked["figure"], asked["out"]) == (numbers, tmp_path / out)
    assert all(
        shlex.split(command)[-1] == str(tmp_path / out)
        for command in commands
        if " reproduce " in command
    )


@pytest.mark.parametrize("number", [0, 9, -1])
def test_an_unknown_figure_is_refused(number: int, tmp_path: Path) -> None:
    for ask in (
        lambda: figures.compute(number, QUICK, tmp_path),
        lambda: figures.prepare([number], QUICK, tmp_path),
    ):
        with pytest.raises(InputError, match=rf"--figure is {number}.*1, 2, 3, 4, 5, 6, 7, 8"):
            ask()
    assert list(tmp_path.iterdir()) == []


def test_a_budget_without_meaning_is_refused() -> None:
    with pytest.raises(InputError, match="--epochs is 0"):
        figures.Budget(epochs=0)
    with pytest.raises(InputError, match="--seeds is -1"):
        figures.Budget(seeds=-1)


OWN = figures.Problem("planted", (5, 5, 3, 2, 1))


def test_a_problem_of_one_s_own_is_trained_in_place_of_the_paper_s() -> None:
    assert (OWN.dim, OWN.samples, OWN.as_in_paper) == (5, 16, False)
    budget = figures.Budget(problem=OWN)
    assert budget.numbers == (1, 2, 4, 5, 7, 8)
    assert figures.Budget(problem=figures.Problem("sphere", dim=8, samples=20)).numbers == (
        1,
        2,
        3,
        4,
        5,
        6,
        8,
    )
    found = figures.runs(budget.numbers, budget)
    assert {(c.task, c.multiplicities, c.dim, c.samples) for c in found.values()} == {
        ("planted", (5, 5, 3, 2, 1), 5, 16)
    }
    assert "--task planted --multiplicities 5,5,3,2,1 --dim 5 --samples 16" in budget.options
    with pytest.raises(
        InputError, match=r"--figure 6 is not on the task planted; choose among 1, 2, 4, 5, 7, 8"
    ):
        figures.runs([6], budget)
    with pytest.raises(InputError, match="sum to 16, but --samples is 12"):
        figures.Problem("planted", (5, 5, 3, 2, 1), samples=12)
    with pytest.raises(InputError, match="--multiplicities belong to --task planted"):
        figures.Problem("sphere", (2, 1))


def test_the_paper_s_own_task_by_itself_keeps_its_runs_and_points() -> None:
    paper = figures.runs(NUMBERS, figures.Budget())
    for task in settings.TASKS:
        budget = figures.Budget(problem=figures.Problem(task))
        assert budget.as_in_paper
        own = figures.runs(budget.numbers, budget)
        assert all(paper[name] == config for name, config in own.items())


def test_the_figures_of_a_double_leading_eigenvalue(tmp_path: Path) -> None:
    """Angles are to the principal subspace, bounds and ratios those of lambda_{m+1}; no point of
    the paper is drawn.
    """
    budget = figures.Budget(quick=True, problem=OWN)
    config = figures.runs([5], budget)["layerwise-planted"]
    found = points.held_out(config)
    assert found.multiplicity == 2
    assert found.ratios == pytest.approx(3 / 5, rel=1e-5)
    point = found.one(0)
    q, values = point.query[0], point.gram[0]
    for sine in point.power_sines(loops=3)[:, 0]:
        basis = np.linalg.eigh(values)[1][:, -2:]
        assert sine == pytest.approx(np.linalg.norm(q - basis @ (basis.T @ q)), rel=1e-5)
        q = values @ q / np.linalg.norm(values @ q)
    data = figures.compute(5, budget, tmp_path)
    assert data.panels == ["Own task"]
    high = [row.high or 0 for row in data.panel("Own task") if row.kind == "band"]
    # the band closes, which it does not for a leader alone among equals
    assert high[-1] < 1e-3 < high[5]
    second = figures.compute(2, budget, tmp_path)
    assert not [row for row in second.table if row.kind == "points"]
    assert second.panel_names(", angle") == ["Own task"]
    assert figures.draw(second).axes


def test_settings_are_those_of_the_paper() -> None:
    found = figures.runs(NUMBERS, figures.Budget())
    assert found["looped-sphere"].total_steps == 156_000
    assert (found["looped-planted"].loops, found["looped-planted"].objective) == (10, "end-to-end")
    rates = {
        name: config.learning_rate for name, config in found.items() if config.learning_rate != 0.1
    }
    assert {name.split("-", 2)[2]: rate for name, rate in rates.items()} == {
        "ln": 0.031,
        "normalized": 0.03,
        "unnormalized": 0.02,
    }
    assert {(c.dim, c.samples) for c in figures.runs([3], figures.Budget()).values()} == set(
        settings.SIZES
    )


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_table(tmp_path / "none.csv")
    file = tmp_path / "table.csv"
    with file.open("w", newline="") as handle:
        csv.writer(handle).writerows([["a", "b"], [1, 2]])
    with pytest.raises(InputError, match="no figure's table"):
        read_table(file)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "rotated"], "--task is 'rotated'; for figures it is sphere or planted"),
        (
            ["--multiplicities", "5,x"],
            "--multiplicities is '5,x'; give integers separated by commas, e.g. 5,4,3",
        ),
        (
            ["--multiplicities", "5,4", "--samples", "8"],
            "multiplicities sum to 9, but --samples is 8",
        ),
        (["--dim", "1"], "--dim is 1; it must be at least 2"),
        (["--multiplicities", "5,4,1", "--figure", "3"], "--figure 3 is not on the task planted"),
    ],
)
def test_a_problem_that_is_none_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = call(capsys, "reproduce", "--quick", *words, "--out", tmp_path / "own")
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "own").exists()
