"""The word for a user's own object: the same in every process, another for another object."""

import functools
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
        "import optax, jax\nfrom eigenloop.lab.identity import describe\n"
        "from eigenloop.lab.objectives import Layerwise\n"
        "print(describe(optax.adamw(1e-3)), describe(Layerwise()), describe(lambda x: {1, 'two'} and x))"
    )
    said = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
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
