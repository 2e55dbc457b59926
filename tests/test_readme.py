"""Every command and every Python example of the README and the docs runs as printed (long ones with --quick)."""

import re
import shlex
from pathlib import Path

import jax
import pytest

from eigenloop import cli

ROOT = Path(__file__).parents[1]
COMMANDS = re.findall(r"^\.venv/bin/eigenloop ([^#\n]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
QUICK = {"reproduce": ["--quick"], "verify": ["--quick"]}
EXAMPLES = [
    (name, code)
    for name in (
        "README.md",
        "docs/extending.md",
        "docs/lens-layouts.md",
        "docs/lens-cases.md",
        "docs/steering.md",
        "docs/verify.md",
    )
    for code in re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
]


def test_the_readme_shows_every_command():
    shown = {command.split()[0] for command in COMMANDS}
    assert shown == {"predict", "train", "reproduce", "verify", "theory"}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_printed_command_runs(command, tmp_path, monkeypatch, capsys, standard_promotion):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, *QUICK.get(words[0], [])])
    assert stop.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(EXAMPLES)])
def test_a_printed_python_example_runs(name, code, capsys, standard_promotion):
    with jax.numpy_rank_promotion("allow"):  # as for a user
        exec(compile(code, name, "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.strip()
