"""The command on a page, typed again, asks for the same: every option of every command that
writes a page.
"""

import html
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from eigenloop.claims import Effort
from eigenloop.claims.page import ledger_page
from eigenloop.claims.results import Results
from eigenloop.cli import main
from eigenloop.cli.app import app
from eigenloop.cli.parsing import repeated
from eigenloop.figures import Budget, FigureData, Pieces, Problem
from eigenloop.figures.page import write_page
from eigenloop.report import Panel
from eigenloop.system.errors import InputError

AWKWARD = "my run's/$HOME"
SQUARE = '<svg viewBox="0 0 9 9"/>'


def asked(words: list[str]) -> dict[str, Any]:
    """The parameters that a command line stands for."""
    group: Any = typer.main.get_command(app)
    command = group.commands[words[0]]
    return command.make_context(words[0], list(words[1:])).params


def check(said: str, words: list[str]) -> None:
    """What a page says stands for what was typed, JSON aside."""
    again = shlex.split(said)
    assert again[0] == "eigenloop"
    assert asked(again[1:]) == {**asked(words), "json": False}


LENS = [
    ["lens", "m"],
    [
        "lens",
        "my model",
        "--weights-only",
        "--rule",
        "modulus",
        "--layers",
        "0,3-5",
        "--device",
        "cpu",
        "--json",
    ],
    ["lens", "m", "--text", "a b.txt", "--loop", "0", "--loops", "7", "--compare", "n"],
]


@pytest.mark.parametrize("words", LENS)
def test_lens(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = []

    class Found:
        def write(self, out: Path, *, command: str) -> None:
            said.append(command)
            raise InputError("enough")

    monkeypatch.setattr("eigenloop.lens.survey.survey", lambda *args, **options: Found())
    words = [*words, "--out", str(tmp_path / AWKWARD)]
    with pytest.raises(SystemExit):
        main(words)
    check(said[0], words)


STEER = [
    ["steer", "m", "--toward", " Paris"],
    [
        "steer",
        "my model",
        "--contrast",
        "a b",
        "c",
        "--method",
        "bias",
        "--layers",
        "all",
        "--device",
        "cpu",
    ],
    [
        "steer",
        "m",
        "--toward",
        "x",
        "--strength",
        "-0.25",
        "--calibrate",
        "a.txt",
        "--evaluate",
        "b.txt",
        "--adapter",
    ],
    [
        "steer",
        "m",
        "--toward",
        "x",
        "--method",
        "signed",
        "--budget",
        "0.1",
        "--seed",
        "4",
        "--json",
    ],
    ["steer", "m", "--toward", "x", "--method", "signed", "--target", "0.1"],
]


@pytest.mark.parametrize("words", STEER)
def test_steer(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = []

    def steer(request: object, *, command: str, progress: object) -> None:
        said.append(command)
        raise InputError("enough")

    monkeypatch.setattr("eigenloop.steer.steering.steer", steer)
    words = [*words, "--out", str(tmp_path / AWKWARD)]
    with pytest.raises(SystemExit):
        main(words)
    check(said[0], words)


@pytest.mark.parametrize("only", [None, "thm4.1,fig2"])
@pytest.mark.parametrize(("quick", "seed"), [(False, 0), (True, 3)])
def test_verify(only: str | None, quick: bool, seed: int) -> None:
    page = ledger_page(
        Results((), Effort(quick=quick, seed=seed), 0.0), only=only, directory=Path(AWKWARD)
    )
    words = ["verify", *(["--only", only] if only else []), *(["--quick"] if quick else [])]
    check(page.command, [*words, "--seed", str(seed), "--out", AWKWARD])


@pytest.mark.parametrize(
    ("budget", "numbers", "words"),
    [
        (Budget(), range(1, 9), ""),
        (
            Budget(epochs=7, seeds=2, seed=3),
            (1, 5),
            "--epochs 7 --seeds 2 --seed 3 --figure 1 --figure 5",
        ),
        (Budget(quick=True), (6,), "--quick --figure 6"),
        (
            Budget(quick=True, problem=Problem("planted", (5, 4, 3), None, None)),
            (1,),
            "--quick --task planted --multiplicities 5,4,3 --dim 3 --samples 12 --figure 1",
        ),
    ],
)
def test_reproduce(budget: Budget, numbers: tuple[int, ...], words: str, tmp_path: Path) -> None:
    made = [FigureData(number, "t", (), (), (), "eigenloop reproduce", ()) for number in numbers]
    place = tmp_path / AWKWARD
    drawn = [Pieces(((Panel("p", SQUARE, "p", svg_dark=SQUARE),),), ())] * len(made)
    written = write_page(made, drawn, budget, place, seconds=1.0, options=" --no-verify")
    check(
        written.metadata["command"],
        ["reproduce", *words.split(), "--no-verify", "--out", str(place)],
    )
    foot = written.path.read_text(encoding="utf-8").partition("<footer>")[2]
    assert written.metadata["command"] in html.unescape(re.sub(r"</?span>", "", foot))


def test_an_option_at_its_default_is_left_out_and_zero_is_none() -> None:
    options = {
        "loop": 0,
        "layers": "all",
        "quick": False,
        "adapter": True,
        "contrast": ("a b", "c"),
        "text": None,
    }
    expected = "eigenloop x 'y z' --loop 0 --adapter --contrast 'a b' c"
    assert repeated("x", "y z", options=options, defaults={"layers": "all"}) == expected
