"""The checker under which all other tests run: a wrong shape and a wrong type inside eigenloop
are errors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from jaxtyping import Array, Float, TypeCheckError

from eigenloop.numerics.statistics import fit_rate
from eigenloop.predict.sheets import number
from typechecker import check, checked, has_shapes

Matrix = Float[np.ndarray, "d d"]


def wrapped(function: Any) -> Any:
    return checked(function, typechecker=check)


def trace(x: Matrix, y: Float[np.ndarray, " d"]) -> float:
    return float(np.trace(x) + y.sum())


def half(x: float) -> float:
    return x / 2


def wrong(x: float) -> str:
    return x  # pyright: ignore[reportReturnType]


@dataclass
class Plain:
    x: int


@dataclass
class Shaped:
    x: Matrix


def test_dimensions_that_arguments_share_are_checked() -> None:
    function = wrapped(trace)
    assert function(np.eye(3), np.ones(3)) == 6
    with pytest.raises(TypeCheckError):
        function(np.eye(3), np.ones(4))
    with pytest.raises(TypeCheckError):
        wrapped(Shaped)(np.ones((2, 3)))
    with pytest.raises(TypeCheckError):
        fit_rate(np.ones((3, 3)))


def test_types_without_a_shape_are_checked() -> None:
    assert wrapped(half)(3) == 1.5  # an int is a float
    for call in (
        lambda: wrapped(half)("3"),
        lambda: wrapped(wrong)(1.0),
        lambda: wrapped(Plain)("1"),
        lambda: number(3),  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(TypeCheckError):
            call()


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (Matrix, True),
        (list[Matrix], True),
        (Matrix | None, True),
        (Float[Array, "n"] | np.ndarray, True),
        (Callable[[Matrix], int], True),
        (dict[str, tuple[int, Matrix]], True),
        ("Matrix", True),
        (list["Matrix"], True),
        (float, False),
        (np.ndarray | None, False),
        (Callable[[int], list[str]], False),
        (Callable[..., Any], False),
        (Literal["a"], False),
    ],
)
def test_a_shape_is_found_wherever_it_is_named(annotation: Any, found: bool) -> None:
    def function(x) -> None: ...

    function.__annotations__["x"] = annotation
    assert has_shapes(function) == found
