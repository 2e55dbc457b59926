"""The command `eigenloop predict`: its JSON contract, its summary, and one line for bad input."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from eigenloop.cli.predict import predict
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.training import train
from eigenloop.predict import prediction
from eigenloop.predict.estimator import LoopedPCA
from eigenloop.predict.tables import read_table
from eigenloop.predict.targets import Target
from eigenloop.system.errors import InputError
from eigenloop.system.files import save_arrays

KEYS = {
    "component", "angle_to_exact", "plateau_angle", "loops_predicted", "loops_taken", "explained",
    "dim", "samples", "loops", "tolerance", "converged", "gamma", "estimates", "reasons",
    "version", "seed", "seconds",
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def call(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(predict)
    return CliRunner().invoke(app, list(arguments))


def parsed(*arguments: str) -> dict:
    result = call(*arguments, "--json")
    assert result.exception is None, result.exception

    def no_constant(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(result.stdout, parse_constant=no_constant)


def test_json_contract() -> None:
    found = parsed("iris", "--steps", "300", "--loops", "20", "--seed", "2")
    assert found.keys() >= KEYS
    assert (found["dim"], found["samples"], found["loops"], found["seed"]) == (4, 150, 20, 2)
    assert len(found["component"]) == 4
    assert len(found["angle_to_exact"]) == 20
    assert math.hypot(*found["component"]) == pytest.approx(1, abs=1e-12)
    assert found["converged"] is (found["loops_taken"] is not None)
    assert "unit-norm, uncentred rows" in found["estimates"]
    assert all(found[key] is None for key in found["reasons"])
    x = read_table("iris").rows
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    top = np.linalg.eigh(x.T @ x)[1][:, -1]
    sine = np.linalg.norm(top - (top @ found["component"]) * np.array(found["component"]))
    assert found["angle_to_exact"][-1] == pytest.approx(np.arcsin(sine), abs=1e-9)


def test_same_numbers_from_the_cache_and_from_a_damaged_entry_trained_again(cache: Path) -> None:
    options = ("iris", "--steps", "20", "--loops", "3", "--tolerance", "1e-7")
    first, cached = parsed(*options), parsed(*options)
    assert first["loops_taken"] is None
    assert first["converged"] is False
    assert "1e-07" in first["reasons"]["loops_taken"]
    (entry,) = (cache / "eigenloop").iterdir()
    entry.write_bytes(b"no safetensors")
    result = call(*options, "--json")
    assert "trained again" in result.stderr
    for found in (cached, json.loads(result.stdout)):
        assert {**found, "seconds": 0} == {**first, "seconds": 0}


def test_summary_says_what_was_done(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = np.random.default_rng(0).standard_normal((50, 3)) * [5, 1, 1]
    path.write_text("wide,[b],c\n" + "\n".join(",".join(map(str, row)) for row in rows))
    result = call(str(path), "--steps", "50", "--center", "--no-normalize")
    assert result.exception is None, result.exception
    for part in (
        "50 rows (samples) x 3 columns",
        "became the columns of X",
        "usual principal component",
        "wide",
        "[b]",
        "plateau angle",
        "not exact multiples of I",
        "Theorem 4.6",
        "explained",
    ):
        assert part in result.stdout, part


def test_a_run_is_applied_and_nothing_trained(tmp_path: Path, cache: Path) -> None:
    config = TrainConfig.create(
        dim=4, samples=8, objective="layerwise", steps=30, train_size=128, test_size=16
    )
    run = train(config, tmp_path / "run")
    found = parsed("iris", "--run", str(tmp_path / "run"))
    assert found["gamma"] == pytest.approx(float(run.metrics["gamma"][-1, 0]), rel=1e-5)
    assert not cache.exists()
    result = call("wine", "--run", str(tmp_path / "run"))
    assert isinstance(result.exception, InputError)
    assert "trained with --dim 4, but the data have 13 features" in str(result.exception)
    assert isinstance(call("iris", "--run", str(tmp_path / "none")).exception, InputError)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("1,2\n3,nan\n", (), "row 2, column 2 is nan"),
        ("1,2\n3,4\n5,\n", (), "--missing drop"),
        ("1,2\n3,4\n", ("--columns", "1,7"), "no column '7'"),
        ("a,b\n1,x\n2,y\n", (), "column 'b' holds text"),
        ("1,2\n", (), "1 row(s)"),
        ("0.0,0\n0,0\n", (), "all 2 rows are zero"),
        ("a,b\n2,2\n2,2\n2,2\n", (), "all 3 rows are the same"),
        ("1\n2\n", (), "1 feature(s)"),
        ("1,0\n0,1\n", (), "tight frame"),
        ("1,2\n3,4\n", ("--tolerance", "0"), "--tolerance is 0"),
        ("1,2\n3,4\n", ("--loops", "0"), "--loops is 0"),
        ("1,2\n3,4\n", ("--steps", "0"), "--steps is 0"),
        ("1,2\n3,4\n", ("--seed", "-1"), "--seed is -1"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path: Path, cache: Path, text: str, options: tuple[str, ...], message: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    result = call(str(path), *options)
    # which the command line turns into one line and status 2
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert result.stdout == ""
    assert not cache.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["bad.csv"]


def test_an_unfinished_run_says_so_and_weights_alone_are_enough(tmp_path: Path) -> None:
    config = TrainConfig.create(
        dim=4,
        samples=8,
        steps=200_000,
        train_size=128,
        test_size=64,
        objective="layerwise",
        learning_rate=0.1,
    )

    def interrupt(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", progress=interrupt)
    unfinished = call("iris", "--run", str(tmp_path / "run"), "--loops", "2", "--json")
    assert unfinished.exception is None
    assert "is unfinished: the model applied is that of step 1 of 200,000" in unfinished.stderr
    finished = train(config.model_copy(update={"steps": 30}), tmp_path / "whole")
    assert finished.done == 30
    before = call("iris", "--run", str(tmp_path / "whole"), "--loops", "2", "--json")
    assert "unfinished" not in before.stderr
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("config.toml", "weights.safetensors"):
        (alone / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    after = call("iris", "--run", str(alone), "--loops", "2", "--json")
    first, second = (json.loads(result.stdout) for result in (before, after))
    assert first["component"] == second["component"]
    save_arrays(
        alone / "weights.safetensors",
        {"V": np.eye(8, dtype=np.float32), "W": np.eye(4, dtype=np.float32)},
    )
    with pytest.raises(
        InputError,
        match=r"holds float32 \(4, 4\) under W, not float32 \(8, 8\) as config.toml says",
    ):
        raise call("iris", "--run", str(alone)).exception or AssertionError


def degrees(result: Result) -> int:
    (found,) = re.findall(r"turns the component by (\d+) degrees", result.stderr)
    return int(found)


def test_what_was_read_and_what_is_doubtful_is_said(tmp_path: Path) -> None:
    rows = 0.5 + 0.05 * np.outer(np.random.default_rng(0).standard_normal(40), [3, -2, 0, 0, 1, 2])
    path = tmp_path / "spectra.csv"
    path.write_text(
        "1650,1648,1646,1644,1642,1640\n"
        + "\n".join(",".join(f"{v:.5f}" for v in row) for row in rows)
    )
    options = ("--center", "--no-normalize", "--steps", "20", "--loops", "2", "--json")
    result = call(str(path), *options)
    assert result.exception is None, result.exception
    assert "note: read " in result.stderr
    assert (
        "40 rows x 6 columns, separated by commas, header 1650, 1648, 1646, ..., left out: nothing"
        in result.stderr
    )
    both = [np.vstack([np.arange(1650, 1639, -2), rows]), rows]
    one, two = (np.linalg.eigh(np.cov(x.T))[1][:, -1] for x in both)
    assert degrees(result) == round(math.degrees(math.acos(abs(one @ two))))
    assert json.loads(result.stdout)["columns"] == ["1650", "1648", "1646", "1644", "1642", "1640"]
    assert "40 rows x 6 columns" in json.loads(result.stdout)["read"]
    told = call(str(path), *options, "--header")
    assert "warning" not in told.stderr
    assert json.loads(told.stdout)["component"] == json.loads(result.stdout)["component"]
    assert json.loads(call(str(path), *options, "--no-header").stdout)["samples"] == 41


def test_options_choose_what_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((30, 3)) * [1, 50, 1]
    lines = [
        f"s{i};{a:.3f};{b:.3f};{c:.3f};2020-01-{i + 1:02}".replace(".", ",")
        for i, (a, b, c) in enumerate(rows)
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["name;a;b;c;day", *lines, "s;1,5;;2;2020-02-01"]) + "\n")
    options = (
        str(path),
        "--index-column",
        "name",
        "--drop",
        "day",
        "--missing",
        "drop",
        "--steps",
        "20",
    )
    found = parsed(*options, "--no-normalize")
    assert (found["dim"], found["samples"], found["columns"]) == (3, 30, ["a", "b", "c"])
    assert abs(found["component"][1]) > 0.99
    assert abs(parsed(*options, "--no-normalize", "--scale")["component"][1]) < 0.95
    assert parsed(str(path), "--columns", "c,a", "--steps", "20")["columns"] == ["c", "a"]


def test_zero_rows_are_noted_and_weigh_nothing_as_in_the_estimator(tmp_path: Path) -> None:
    rows = np.random.default_rng(2).standard_normal((20, 3)) * [3, 1, 1]
    rows[6] = 0
    np.save(tmp_path / "x.npy", rows)
    result = call(str(tmp_path / "x.npy"), "--steps", "20", "--seed", "4", "--json")
    assert "1 row(s) are zero (first: row 7) and weigh nothing" in result.stderr
    model = LoopedPCA(training_steps=20, random_state=4, tol=1.5).fit(rows)
    np.testing.assert_array_equal(json.loads(result.stdout)["component"], model.components_[0])


def test_the_options_of_tables_are_there_for_x0(tmp_path: Path) -> None:
    from eigenloop.cli.train import train as command

    app = typer.Typer()
    app.command()(command)
    rows = np.vstack([np.eye(3), np.eye(3)[:1] + 0.5])
    path = tmp_path / "x0.csv"
    path.write_text(
        "n,a,b,c\n" + "\n".join(f"r{i},{a},{b},{c}" for i, (a, b, c) in enumerate(rows))
    )
    options = [
        "--x0",
        str(path),
        "--task",
        "rotated",
        "--steps",
        "2",
        "--train-size",
        "64",
        "--test-size",
        "16",
    ]
    result = CliRunner().invoke(app, [*options, "--out", str(tmp_path / "one")])
    assert "--drop n" in str(result.exception)
    result = CliRunner().invoke(
        app, [*options, "--drop", "n", "--out", str(tmp_path / "two"), "--batch", "16"]
    )
    assert result.exception is None, result.exception
    assert "4 rows x 3 columns" in result.stderr
    result = CliRunner().invoke(app, ["--drop", "n", "--out", str(tmp_path / "three")])
    assert "are for --x0" in str(result.exception)


@pytest.mark.parametrize(("values", "missed"), [([4.0, 1.0], False), ([1.0, 0.4], True)])
def test_a_root_above_the_middle_of_the_spectrum_is_named(
    values: list[float], missed: bool
) -> None:
    """|1 + gamma lambda| at gamma = -0.9: 2.6 and 0.1, where u_1 leads; 0.1 and 0.64."""
    target = Target(np.diag(values), np.array(values), np.eye(2)[:, :1], 5, False, True)
    blocks = prediction.Blocks(np.eye(2), -0.9 * np.eye(2))
    found = prediction.predict(target, blocks, loops=200)
    assert (found.loops_taken is None) == missed
    assert ("at or above the middle 0.7" in found.reasons.get("loops_taken", "")) == missed
    assert "S - rho I" in found.reasons["loops_predicted"]
