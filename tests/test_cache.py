"""Where the user's cache is, and that compiled programs are kept there, bounded, and never in
the way.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eigenloop.system import cache

STEP = """
import json, sys
from eigenloop.system.cache import keep_compiled_programs
keep_compiled_programs()
import jax, numpy as np
compiled = []
jax.monitoring.register_event_listener(lambda name, **_: compiled.append(name))
step = jax.jit(lambda x: x - 0.1 * jax.grad(lambda y: (y @ y) ** 0.5)(x))
value = step(np.linspace(0.1, 1, 7, dtype=np.float32))
hits = sum("cache_hits" in name for name in compiled)
print(json.dumps([hits, np.asarray(value).tobytes().hex()]))
"""


def in_a_fresh_process(folder: Path) -> tuple[int, str]:
    """(programs read from the cache, the bits of a step's result)."""
    import json

    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")
    }
    environment |= {"XDG_CACHE_HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", STEP],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    hits, bits = json.loads(done.stdout)
    return hits, bits


def test_the_second_process_compiles_nothing_and_finds_the_same_bits(tmp_path: Path) -> None:
    first, again = in_a_fresh_process(tmp_path), in_a_fresh_process(tmp_path)
    assert first[0] == 0
    assert again[0] >= 1
    assert first[1] == again[1]
    for entry in (tmp_path / "eigenloop" / "compiled").rglob("*-cache"):
        entry.write_bytes(entry.read_bytes()[:-7])  # as a killed process would leave them
    damaged = in_a_fresh_process(tmp_path)
    assert damaged == (0, first[1])


def test_the_user_s_own_choice_and_an_unwritable_cache_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    own = {cache.VARIABLE: ""}
    cache.keep_compiled_programs(own)
    assert own == {cache.VARIABLE: ""}
    assert not (tmp_path / "here").exists()
    (tmp_path / "here").touch()  # no directory can be made below a file
    none: dict[str, str] = {}
    cache.keep_compiled_programs(none)
    assert none == {}


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    # as without HOME and without an entry for the user
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    none: dict[str, str] = {}
    cache.keep_compiled_programs(none)
    assert none == {}


def test_the_programs_used_longest_ago_are_removed(tmp_path: Path) -> None:
    for age, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "folder").mkdir()
    cache.bound(tmp_path, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "folder"]
    cache.bound(tmp_path, 20)
    assert (tmp_path / "b").exists()
