"""What every test runs under: strict JAX, checked shapes, one CPU's worth of threads, its own
cache.

The order matters. The environment is set before JAX and NumPy read it, and the import hook that
checks shapes is installed before anything imports eigenloop.
"""

import gc
import importlib
import os
import shutil
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledgers import Shelve

# One thread per worker for BLAS and for XLA: pytest-xdist already fills the cores, and sums must
# not depend on how many cores a machine has.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("NPROC", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # JAX_PLATFORMS=cuda runs the tests marked gpu
os.environ["MPLBACKEND"] = "Agg"
# What JAX compiles stays beside pytest's own cache: for the other workers, for the commands that
# tests start, and for the next run.
COMPILED = Path(__file__).resolve().parents[1] / ".pytest_cache" / "compiled"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(COMPILED))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# The user's cache is neither read nor written. The workers of pytest-xdist share their parent's
# folder.
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not _IS_WORKER:
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="eigenloop-tests-")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402
import threadpoolctl  # noqa: E402
from numpy._typing import _NestedSequence  # noqa: E402

import typechecker  # noqa: E402

# For the NumPy that a plugin of pytest may have imported before this file could set its
# environment.
threadpoolctl.threadpool_limits(1)

# numpy.typing.ArrayLike asks nested sequences for __reversed__, which tuples lack although NumPy
# takes them.
_NestedSequence.register(tuple)  # pyright: ignore[reportAttributeAccessIssue]
typechecker.install()

# float32 by default, as for a user; float64 only where a test asks for it through the fixture x64.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# No deadline: the first example of a property compiles. In CI, and where the mutants run, every run
# draws the same examples, so that a failure there is one that anybody can repeat.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked or jax.default_backend() == "gpu":
        return
    reason = f"JAX runs on {jax.default_backend()} here; with a GPU, set JAX_PLATFORMS=cuda"
    for item in marked:
        item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not run for want of something, and how to have it: "passed" does not say it."""
    reasons = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in sorted(reasons.items()):
        what, missing, remedy = reason.partition(" is missing: ")
        if missing:
            tests = "test" if count == 1 else "tests"
            terminalreporter.write_line(
                f"not run: {count} {tests}, for want of {what}; {remedy}", yellow=True
            )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported here stays: no collection of garbage looks at those million objects, now
    or later.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    if not _IS_WORKER:
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture
def x64() -> Iterator[None]:
    """JAX computes in float64 during this test, and in this test only."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def standard_promotion() -> Iterator[None]:
    """Implicit dtype promotion during this test, for third-party code that counts on it.

    optax needs it: the bias correction of ``optax.adam`` raises a Python float to an int32 step
    count, and its schedules divide that count by one. Plain ``optax.sgd`` runs without.
    """
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def shelve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Shelve"]:
    """Put a module with claims on the path and make it the only source."""
    from eigenloop.claims import sources
    from ledgers import LEDGER, REST

    made = []

    def put(*names: str, extra: str | None = None, head: str = "") -> sources.Source:
        module = f"fake_ledger_{len(made)}_{tmp_path.name.replace('-', '_')}"
        folder = tmp_path / "path"
        folder.mkdir(exist_ok=True)
        parts = [head, LEDGER, *(REST[name] for name in names)]
        (folder / f"{module}.py").write_text("\n".join(textwrap.dedent(part) for part in parts))
        monkeypatch.syspath_prepend(folder)
        importlib.invalidate_caches()
        made.append(module)
        source = sources.Source(module, extra)
        monkeypatch.setattr(sources, "SOURCES", (source,))
        return source

    yield put
    for module in made:
        sys.modules.pop(module, None)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command measures in this process: that processes find the same and are clean is held by
    tests of their own.
    """
    from eigenloop.claims import measuring

    def measure_here(
        entries: list[Any], effort: Any, keep: Callable[..., None], workers: int
    ) -> None:
        for entry in entries:
            keep(entry, *measuring._measured(entry.claim, entry.source, effort))

    monkeypatch.setattr(measuring, "_measure_apart", measure_here)
