"""The doors: the paper's case, a run, a user's file, the command line, and the page."""

import csv
import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from eigenloop.cli import main
from eigenloop.lab import TrainConfig, loop_matrices, train
from eigenloop.loops import (
    LoopedMap,
    diagnose,
    diagnosis_page,
    loop_of_file,
    map_of_file,
    paper_case,
    random_starts,
    slice_ends,
    write_diagnosis,
)
from eigenloop.loops.cases import linear_map, planted, ring
from eigenloop.loops.page import FILES, output_directory
from eigenloop.loops.snapshots import snapshots
from eigenloop.loops.tables import loops_rows, mode_rows, orbit_rows
from eigenloop.report import render, typeset
from eigenloop.system import directories
from eigenloop.system.errors import InputError

STEP = "import numpy as np\ndef step(x, w=0.5):\n    return np.tanh(w * x + 1)\nother = 3\n"


def run(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(words)
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out, said.err


@pytest.fixture
def user(tmp_path):
    (tmp_path / "my.py").write_text(STEP)
    np.save(tmp_path / "x0.npy", np.linspace(-1, 1, 6))
    np.savez(tmp_path / "c.npz", w=np.full(6, -0.8))
    return tmp_path


@pytest.mark.parametrize("gamma", [0.5, 5.0, 50.0])
def test_the_exact_case_is_hit_and_the_wrong_answer_stands_beside_it(gamma):
    case = paper_case(gamma)
    assert case.error < 1e-12
    assert case.exact[0] == pytest.approx((1 + 4 * gamma) / (1 + 5 * gamma), abs=1e-15)
    assert case.whole_radius == pytest.approx(1 + 5 * gamma, rel=1e-10)
    assert case.found.verdict.word == "contracts"
    assert case.found.loops_to(1e-2).forecast is not None
    for needed in case.found.needed:
        assert needed.forecast is None or abs(needed.forecast - needed.taken) <= 1
        assert case.counts[needed.tolerance] >= needed.taken  # Theorem 4.6
    with pytest.raises(InputError, match="above 0"):
        paper_case(-1.0)


def test_a_users_step_of_numpy(user):
    looped = map_of_file(f"{user}/my.py:step", start=user / "x0.npy", context=user / "c.npz")
    np.testing.assert_allclose(looped.step(looped.start), np.tanh(-0.8 * looped.start + 1))
    assert str(diagnose(looped).verdict) == "contracts, alternating"


@pytest.mark.parametrize(
    ("library", "text"),
    [
        (
            "jax",
            "import jax.numpy as jnp\nimport jax\ndef step(x, w):\n    return jnp.tanh(w * x)\n",
        ),
        ("torch", "import torch\ndef step(x, w):\n    return torch.tanh(w * x)\n"),
    ],
)
def test_a_users_step_is_of_the_library_that_its_file_imports(user, library, text):
    pytest.importorskip(library)
    (user / "other.py").write_text(text)
    looped = map_of_file(f"{user}/other.py:step", start=user / "x0.npy", context=user / "c.npz")
    assert looped.at(looped.start).reverse is not None  # exact products, not differences
    np.testing.assert_allclose(looped.step(looped.start), np.tanh(-0.8 * looped.start), atol=1e-14)


@pytest.mark.parametrize(
    ("source", "start", "context", "message"),
    [
        ("my.py:nothing", "x0.npy", None, "it has step"),
        ("my.py:other", "x0.npy", None, "no function 'other'"),
        ("my.py:", "x0.npy", None, "names no function"),
        ("none.py:step", "x0.npy", None, "does not exist"),
        ("broken.py:step", "x0.npy", None, "cannot be run: ZeroDivisionError"),
        ("my.py:step", "none.npy", None, "does not exist"),
        ("my.py:step", "my.py", None, "cannot read"),
        ("my.py:step", "c.npz", None, "raises TypeError"),
        ("my.py:step", "x0.npy", "x0.npy", "named arrays"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(user, source, start, context, message):
    (user / "broken.py").write_text("1 / 0\n")
    with pytest.raises(InputError, match=message):
        map_of_file(
            f"{user}/{source}",
            start=user / start,
            context=None if context is None else user / context,
        )


def test_a_run_is_diagnosed_at_every_snapshot(tmp_path):
    config = TrainConfig.create(
        task="planted",
        dim=4,
        samples=8,
        multiplicities=(4, 2, 1, 1),
        loops=3,
        fresh=True,
        steps=40,
        batch=16,
        test_size=16,
        learning_rate=0.3,
        snapshots=(10,),
    )
    trained = train(config, tmp_path / "run")
    matrices, query = loop_matrices(trained, seed=1)
    assert sorted(matrices) == [10, 40]
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-6)
    seen = snapshots(matrices, query, loops=64, norm=True, trained_loops=3)
    for step, found in seen.found.items():
        values = np.sort(np.abs(np.linalg.eigvals(matrices[step])))[::-1]
        assert found.modes[0].modulus == pytest.approx(values[1] / values[0], abs=1e-8)
    assert [row["step"] for row in seen.rows()] == [10, 40]
    assert seen.last is seen.found[40]
    assert json.loads(json.dumps(seen.as_dict(), allow_nan=False))["trained_loops"] == 3
    with pytest.raises(InputError, match="no snapshot"):
        snapshots({}, query, loops=1, norm=True, trained_loops=1)


def test_the_command_line_on_a_run(tmp_path, capsys):
    config = TrainConfig.create(
        task="planted",
        dim=3,
        samples=4,
        multiplicities=(2, 1, 1),
        loops=2,
        fresh=True,
        steps=5,
        batch=8,
        test_size=8,
    )
    train(config, tmp_path / "run")
    status, out, _ = run(capsys, "loops", str(tmp_path / "run"), "--json")
    assert status == 0
    document = json.loads(out)
    assert document["snapshots"][-1]["step"] == 5
    assert document["verdict"].startswith("contracts")


def test_the_command_line_writes_a_page_its_tables_and_json(user, capsys):
    out = user / "out"
    words = [
        "loops",
        f"{user}/my.py:step",
        "--start",
        f"{user}/x0.npy",
        "--starts",
        "3",
        "--out",
        str(out),
    ]
    status, said, _ = run(capsys, *words)
    assert status == 0
    assert str(out / "report.html") in said
    assert {path.name for path in out.iterdir()} == {".lock", "report.html", *FILES.values()}
    document = json.loads((out / "loops.json").read_text())
    keys = {"verdict", "fixed_point", "modes", "bracket", "rate", "lyapunov", "loops_to", "ends"}
    assert keys <= document.keys()
    assert document["ends"]["starts"] == 3
    rows = list(csv.DictReader((out / "orbit.csv").read_text().splitlines()))
    assert [int(row["loop"]) for row in rows] == list(range(321))
    status, again, _ = run(capsys, *words, "--json")
    assert status == 0
    assert json.loads(again)["files"]["report"] == str(out / "report.html")


def test_tolerances_exponents_and_a_readout_from_the_command_line(user, capsys):
    """tanh(w x + 1) with w = 0.5: mu = 0.5 (1 - x*^2) six times over, and a loss that the user
    wrote.
    """
    (user / "my.py").write_text(
        STEP + "def loss(x, w=0.5):\n    return float(w * (x[0] - 1) ** 2)\n"
    )
    words = ["loops", f"{user}/my.py:step", "--start", f"{user}/x0.npy", "--loops", "9", "--json"]
    more = ["--tolerance", "1e-2,1e-5", "--exponents", "2,100", "--read", "loss"]
    status, said, _ = run(capsys, *words, *more)
    assert status == 0
    document = json.loads(said)
    assert [each["tolerance"] for each in document["loops_to"]] == [1e-2, 1e-5]
    assert len(document["lyapunov"]["values"]) == 2
    assert document["lyapunov"]["loops"] == 100
    mu = document["modes"][0]["modulus"]
    np.testing.assert_allclose(document["lyapunov"]["values"], np.log(mu), atol=1e-6)
    x, losses = -1.0, []
    for _ in range(10):
        losses.append(0.5 * (x - 1) ** 2)
        x = np.tanh(0.5 * x + 1)
    np.testing.assert_allclose(document["readout"], losses, rtol=1e-12)
    assert document["linear_region"]["loop"] == document["loops_to"][0]["from_loop"]


@pytest.mark.parametrize("library", ["numpy", "jax", "torch"])
def test_logits_are_compared_with_those_of_the_last_loop(user, library):
    """KL(softmax(last) || softmax(k)) by the definition, in three libraries, with context."""
    head = {
        "numpy": "import numpy as np\ntanh = np.tanh\n",
        "jax": "import jax\nfrom jax import numpy as jnp\ntanh = jnp.tanh\n",
        "torch": "import torch\ntanh = torch.tanh\n",
    }[library]
    if library != "numpy":
        pytest.importorskip(library)
    (user / "own.py").write_text(
        head + "def step(x, w):\n    return tanh(w * x)\ndef logits(x, w):\n    return 2 * w * x\n"
    )
    mine = loop_of_file(
        f"{user}/own.py:step", start=user / "x0.npy", context=user / "c.npz", read="logits"
    )
    found = diagnose(mine.looped, loops=6, readout=mine.readout, norms=False)
    assert found.reads.startswith("KL")
    p = [np.exp(-1.6 * x) / np.exp(-1.6 * x).sum() for x in found.states]
    naive = [np.sum(p[-1] * np.log(p[-1] / each)) for each in p]
    np.testing.assert_allclose(found.readout, naive, atol=1e-12)
    assert found.readout[-1] == 0


def test_a_state_that_is_a_dictionary_comes_from_an_archive(user):
    (user / "two.py").write_text("def step(x):\n    return {'a': x['a'] / 2, 'b': x['b'] / 4}\n")
    np.savez(user / "two.npz", a=np.ones(2), b=np.ones(3))
    looped = map_of_file(f"{user}/two.py:step", start=user / "two.npz")
    np.testing.assert_allclose(looped.step(looped.start), [0.5, 0.5, 0.25, 0.25, 0.25])


def test_readouts_that_are_no_numbers_are_refused(user):
    source, start = f"{user}/bad.py:step", user / "x0.npy"
    (user / "bad.py").write_text(STEP + "def raising(x):\n    return x['h']\n")
    with pytest.raises(InputError, match="no function 'nothing'"):
        loop_of_file(source, start=start, read="nothing")
    mine = loop_of_file(source, start=start, read="raising")
    with pytest.raises(InputError, match="loop 0 raises IndexError"):
        diagnose(mine.looped, loops=2, readout=mine.readout)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["paper", "--gamma", "-1"], "gamma is -1"),
        (["paper", "--layer", "1"], "--layer belongs to MODEL"),
        (["paper", "--loops", "0"], "loops is 0"),
        (["paper", "--starts", "0"], "--starts is 0"),
        (["paper", "--tolerance", "0.1,x"], "--tolerance is '0.1,x'"),
        (["paper", "--tolerance", "0.1,2"], "tolerance is 2"),
        (["paper", "--exponents", "0"], "exponents is 0"),
        (["paper", "--exponents", "2,5"], "over 5 loops"),
        (["paper", "--exponents", "1,2,3"], "--exponents is '1,2,3'"),
        (["paper", "--read", "loss"], "--read belongs to FILE.py:STEP"),
        (["some/model"], "needs --text"),
        (["my.py:step"], "needs --start"),
        (["my.py:step", "--start", "x0.npy", "--gamma", "2"], "--gamma belongs to paper"),
    ],
)
def test_bad_words_are_one_line(words, message, capsys):
    status, out, error = run(capsys, "loops", *words)
    assert (status, out) == (2, "")
    assert message in error
    assert error.count("\n") == 1


def test_a_directory_of_others_is_not_written_into(tmp_path, capsys):
    (tmp_path / "orbit.csv").write_text("mine")
    status, _, error = run(capsys, "loops", "paper", "--out", str(tmp_path))
    assert status == 2
    assert "not written by eigenloop loops" in error
    assert (tmp_path / "orbit.csv").read_text() == "mine"


def test_a_directory_is_held_from_before_anything_is_computed(user, capsys, monkeypatch):
    """A second process is refused before it computes; an error leaves no directory behind."""
    monkeypatch.setattr(directories, "PATIENCE_SECONDS", 0.0)
    (user / "own.py").write_text("def step(x):\n    raise ZeroDivisionError('computed')\n")
    words = ["loops", f"{user}/own.py:step", "--start", f"{user}/x0.npy", "--out", f"{user}/out"]
    with output_directory(user / "out").held():
        status, _, error = run(capsys, *words)
        assert status == 2
        assert "in use by another process" in error
    status, _, error = run(capsys, *words[:-1], str(user / "new"))
    assert status == 2
    assert "raises ZeroDivisionError" in error
    assert not (user / "new").exists()


def test_the_help_says_that_a_file_is_run():
    done = subprocess.run(
        [sys.executable, "-c", "from eigenloop.cli import main; main(['loops', '--help'])"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "code" in " ".join(done.stdout.split())


class Texts(HTMLParser):
    """All text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("kind", ["contracts", "rotates", "grows", "blows up"])
def test_a_page_can_be_made_of_every_kind_of_verdict(kind, tmp_path):
    looped = {
        "contracts": lambda: linear_map(
            planted(np.random.default_rng(0), [0.9], size=6), np.ones(6)
        ),
        "rotates": lambda: LoopedMap.numpy(ring(1.2, 1.1), np.array([0.5, 0.1])),
        "grows": lambda: linear_map(np.diag([1.2, 0.5]), np.ones(2)),
        "blows up": lambda: LoopedMap.numpy(lambda x: x + x * x, np.ones(2)),
    }[kind]()
    found = diagnose(
        looped, starts=random_starts(looped, 3), readout=lambda x: float(np.abs(x).sum()) % 7
    )
    assert found.verdict.word == kind
    plane = (
        slice_ends(looped, loops=30, scale=found.orbit.scale, points=4)
        if kind == "contracts"
        else None
    )
    page = diagnosis_page(
        found, command="eigenloop loops", said=["One sentence more."], plane=plane
    )
    parser = Texts()
    html = render(page)
    parser.feed(html)
    text = " ".join(" ".join(parser.texts).split())
    assert typeset(found.verdict.sentence) in html
    assert "One sentence more." in text
    assert ("16 starts" in text) == (plane is not None)
    write_diagnosis(found, tmp_path / "out", command="eigenloop loops")
    header, rows = orbit_rows(found)
    assert len(rows) == len(found.orbit.states)
    assert all(len(row) == len(header) for row in rows)
    assert len(mode_rows(found)[1]) == len(found.modes)
    assert len(loops_rows(found)[1]) == len(found.needed or ())
