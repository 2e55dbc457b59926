"""The word for a user's own object: the same in every process, another for another object."""

import functools
import importlib.util
import itertools
import linecache
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eigenloop.lab import identity
from eigenloop.lab.identity import describe
from eigenloop.lab.objectives import Layerwise
from eigenloop.lab.problems import Rotated


@dataclass
class Point:
    x: Any

    def norm(self) -> float:
        return abs(self.x)


class Holder:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


def scaled(factor: float) -> Any:
    return lambda x: factor * x


def knotted(value: float) -> Any:
    knot: dict[str, Any] = {"value": value}
    knot["self"] = knot
    return Holder(knot)


PAIRS = {
    "learning rate": lambda v: optax.sgd(v),
    "adam": lambda v: optax.adam(v),
    "schedule": lambda v: optax.sgd(optax.cosine_decay_schedule(v, 100)),
    "closure": scaled,
    "default": lambda v: lambda x, y=v: x + y,
    "partial": lambda v: functools.partial(pow, v),
    "field": Point,
    "method": lambda v: Point(v).norm,
    "slot": Holder,
    "array": lambda v: Point(np.array([v, 1.0])),
    "jax array": lambda v: Point(jnp.array([v, 1.0])),
    "random key": lambda v: Point(jax.random.key(int(1000 * v))),
    "class attribute": lambda v: type("Own", (), {"scale": v})(),
    "compiled": lambda v: jax.jit(scaled(v)),
    "nested": lambda v: {"a": [Point((v, {1, 2}))]},
    "cycle": knotted,
    "module": lambda v: Rotated.planted([3, 1 + int(v > 1)] if v > 1 else [4, 1], dim=2, samples=5),
}


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_equal_objects_have_one_word_and_others_another(make: Any) -> None:
    assert describe(make(0.001)) == describe(make(0.001))
    assert describe(make(0.001)) != describe(make(1.5))


def test_an_edited_body_is_another_function() -> None:
    def of(source: str) -> str:
        names: dict[str, Any] = {}
        exec(f"import math\nSCALE = 2.0\n{source}", names)
        return describe(names["own"])

    one = of("def own(x):\n    return SCALE * x")
    assert of("\n\n# moved\ndef own(x):\n    return SCALE * x") == one
    assert of("SCALE = 3.0\ndef own(x):\n    return SCALE * x") != one
    assert of("def own(x):\n    return SCALE + x") != one
    assert of("def help(x):\n    return x\ndef own(x):\n    return help(x)") != of(
        "def help(x):\n    return -x\ndef own(x):\n    return help(x)"
    )


SOURCE = """
import dataclasses
SCALE = 2.0

def scaled(x):
    return x * SCALE

def loss(model, batch):
    def one(y):
        return scaled(y) if y > 0 else f"{y:.3f} {SCALE!r}"
    return [one(value) for value in batch], {key: value for key, value in model.items()}

@dataclasses.dataclass(frozen=True)
class Own:
    rate: float = 0.1
    def __call__(self, x):
        match x:
            case [first, *rest] if first:
                return rest
        return x @ self.rate

pair = (lambda x: x + 1), (lambda x: x + 2)
nested = lambda y: (lambda z: z + y)
"""


EDITS = itertools.count(1_000_000_000)


def loaded(path: Path, source: str) -> Any:
    """A module from a file, as a user's own is.

    Each writing gets a second of its own: Python tells an edited file by its size and its time, and
    two edits of one size within a tick of the clock are one file to it.
    """
    path.write_text(source)
    edited = next(EDITS)
    os.utime(path, (edited, edited))
    linecache.checkcache()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def told(module: Any) -> list[str]:
    return [
        describe(v)
        for v in (module.loss, module.Own(), *module.pair, module.nested, module.nested(3))
    ]


def test_a_function_counts_by_its_syntax_tree(tmp_path: Path) -> None:
    before = told(loaded(tmp_path / "own_objective.py", SOURCE))
    assert len(set(before)) == len(before)
    assert not any("bytecode" in word for word in before)
    moved = SOURCE.replace("def loss", "# why\n\n\ndef loss").replace(
        "x @ self.rate", "(x  @  self.rate)"
    )
    moved = moved.replace("def one(y):", 'def one(y):\n        """Say what."""')
    assert told(loaded(tmp_path / "own_objective.py", moved)) == before
    changes = {
        "y > 0": 0,
        "SCALE = 2.0": 0,
        "x @ self.rate": 1,
        "rate: float = 0.1": 1,
        "x + 1": 2,
        "x + 2": 3,
        "z + y": 5,
    }
    for text, place in changes.items():
        edited = told(
            loaded(
                tmp_path / "own_objective.py", SOURCE.replace(text, text.replace("0", "1") + " * 3")
            )
        )
        assert edited[place] != before[place], text


def test_it_does_so_under_every_python_that_is_here(tmp_path: Path) -> None:
    """Bytecode differs from one Python to the next; the fingerprint must not.

    A stub stands for NumPy.
    """
    (tmp_path / "own_objective.py").write_text(SOURCE)
    (tmp_path / "numpy.py").write_text("class generic: ...\nclass dtype: ...\nclass ndarray: ...\n")
    (tmp_path / "fingerprints.py").write_text(Path(identity.__file__).read_text())
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import fingerprints, own_objective as m
print([fingerprints.describe(v) for v in (m.loss, m.Own(), *m.pair, m.nested, m.nested(3))])"""
    names = (f"python3.{minor}" for minor in range(11, 16))
    pythons = {os.path.realpath(path) for path in map(shutil.which, names) if path} | {
        sys.executable
    }
    words = {}
    for python in sorted(pythons):
        done = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
        if "0" in done.stdout:  # an installed Python may be broken
            words[python] = done.stdout
    assert len(set(words.values())) == 1, words


def test_without_source_the_word_names_the_python_that_compiled_it(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec("def own(x):\n    return 2 * x", names)
    assert (
        f"bytecode of {sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
        in describe(names["own"])
    )
    module = loaded(tmp_path / "own_edited.py", "def own(x):\n    return 2 * x\n")
    # after it was imported
    (tmp_path / "own_edited.py").write_text("def own(x):\n    return 3 * x\n")
    linecache.checkcache()
    assert "bytecode" in describe(module.own)


def test_what_is_computed_on_first_use_does_not_count() -> None:
    class Own:
        @functools.cached_property
        def late(self) -> int:
            return 3

    own = Own()
    before = describe(own)
    assert own.late == 3
    assert describe(own) == before


def test_the_word_begins_with_the_name_and_holds_in_another_process(tmp_path: Path) -> None:
    assert describe(Layerwise()).split()[0] == "Layerwise"
    code = (
        "import optax, jax\nfrom eigenloop.lab.identity import describe\nfrom"
        " eigenloop.lab.objectives import Layerwise\nprint(describe(optax.adamw(1e-3)),"
        " describe(Layerwise()), describe(lambda x: {1, 'two'} and x))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
        ).stdout
        for _ in range(2)
    }
    assert len(said) == 1
    assert "0x" not in said.pop()


def test_what_is_shared_is_looked_into_once() -> None:
    def ladder(value: float) -> Any:
        top: Any = Point(value)
        for _ in range(10):
            top = [top] * 10  # ten ways down at each rung, 10^10 in all
        return top

    assert describe(ladder(1.0)) == describe(ladder(1.0)) != describe(ladder(1.5))
