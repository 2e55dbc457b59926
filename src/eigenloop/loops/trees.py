"""States of several arrays: a dictionary, tuple or list of them, nested as it may be, as one
vector (NumPy).

    {"h": (2, 3), "z": (4,)}  <->  R^10

Keys go in sorted order, tuples and lists in theirs. One array is the plainest case. The pieces are
cut from the vector by slices and reshapes alone, so that the same code serves NumPy arrays, JAX's
tracers and PyTorch's tensors.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.loops.linear import flat_start
from eigenloop.system.errors import InputError

Taken = tuple[list[Any], Any]
"""Leaves in order, and the structure that they stood in."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Tree:
    """How a state lies in one vector.

    Args:
        shapes: of its arrays.
        structure: what they stand in; compared with that of the next state.
        take: a state -> its arrays and its structure.
        rebuild: (structure, arrays) -> a state.

    Example:
        >>> tree = Tree.of({"z": np.zeros(2), "h": np.zeros((1, 2))})
        >>> tree.size, tree.unflat(np.arange(4.0))
        (4, {'h': array([[0., 1.]]), 'z': array([2., 3.])})
    """

    shapes: tuple[tuple[int, ...], ...]
    structure: Any
    take: Callable[[Any], Taken]
    rebuild: Callable[[Any, Sequence[Any]], Any]

    @classmethod
    def of(
        cls,
        x0: Any,
        *,
        take: Callable[[Any], Taken] | None = None,
        rebuild: Callable[[Any, Sequence[Any]], Any] | None = None,
    ) -> "Tree":
        """That of a state: one array, or dictionaries, tuples and lists of arrays.

        Args:
            x0: a state.
            take: of another library's trees.
            rebuild: the same.
        """
        take, rebuild = take or taken, rebuild or rebuilt
        leaves, structure = take(x0)
        shapes = tuple(tuple(np.shape(leaf)) for leaf in leaves)
        return cls(shapes=shapes, structure=structure, take=take, rebuild=rebuild)

    @property
    def size(self) -> int:
        """Numbers in a state."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the one array; (size,) where there are several."""
        return self.shapes[0] if self.structure is None else (self.size,)

    def unflat(self, vector: Any) -> Any:
        """A vector as a state."""
        if self.structure is None:
            return vector.reshape(self.shapes[0])
        pieces, at = [], 0
        for shape in self.shapes:
            count = math.prod(shape)
            pieces.append(vector[at : at + count].reshape(shape))
            at += count
        return self.rebuild(self.structure, pieces)

    def joined(self, y: Any, what: str = "step returns") -> Float[np.ndarray, " n"]:
        """A state of NumPy's as one float64 vector; arguments and errors as of `leaves`."""
        if self.structure is None and isinstance(y, np.ndarray) and y.shape == self.shapes[0]:
            return y.astype(np.float64, copy=False).ravel()
        parts = [np.asarray(leaf, np.float64).ravel() for leaf in self.leaves(y, what)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def leaves(self, y: Any, what: str = "step returns") -> list[Any]:
        """The arrays of a state.

        Args:
            y: a state of this structure.
            what: of it, before its shape.

        Raises:
            InputError: another structure, or another shape.
        """
        found = self.take(y)
        shapes = tuple(tuple(np.shape(leaf)) for leaf in found[0])
        if found[1] == self.structure and shapes == self.shapes:
            return found[0]
        told = [self._told(each) for each in ((found[1], shapes), (self.structure, self.shapes))]
        kind = "shape" if found[1] is None and self.structure is None else "a state of"
        raise InputError(
            f"{what} {kind} {told[0]}, but the state has {told[1]}; return the next state alone,"
            f" in its shape"
        )

    def _told(self, each: tuple[Any, tuple[tuple[int, ...], ...]]) -> str:
        structure, shapes = each
        return str(self.rebuild(structure, [_Shape(shape) for shape in shapes]))


class _Shape:
    """A shape that is printed as it is, in the place of an array."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __repr__(self) -> str:
        return str(self.shape)


def first_state(x0: Any, tree: Tree) -> Float[np.ndarray, " n"]:
    """x_0 as a flat float64 vector.

    Args:
        x0: NumPy arrays, or what becomes one.
        tree: how it lies in a vector.

    Raises:
        InputError: no numbers, one that is not finite, or whole numbers among several arrays.
    """
    leaves = [np.asarray(leaf) for leaf in tree.leaves(x0)]
    if not leaves:
        raise InputError("x0 holds no number; a state needs at least one")
    for leaf in leaves:
        if tree.structure is not None and np.issubdtype(leaf.dtype, np.integer):
            raise InputError(
                "x0 holds whole numbers beside other arrays; a state has no derivative by a counter"
                " or an index: make them context, or floating"
            )
    return np.concatenate([flat_start(leaf)[0] for leaf in leaves])


def taken(x: Any) -> Taken:
    """The arrays in dictionaries, tuples and lists, and the structure: None for one array.

    A list of numbers, or of lists of numbers, is one array, as NumPy has it.

    Example:
        >>> taken((np.zeros(2), [np.ones(1)]))[1]
        (<class 'tuple'>, (None, (<class 'list'>, (None,))))
    """
    if isinstance(x, Mapping):
        keys = sorted(x, key=str)
        inner = [taken(x[key]) for key in keys]
        return _all(inner), (dict, tuple(keys), tuple(each[1] for each in inner))
    if isinstance(x, tuple | list) and any(map(_holds_arrays, x)):
        inner = [taken(each) for each in x]
        return _all(inner), (type(x), tuple(each[1] for each in inner))
    return [x], None


def _all(inner: Sequence[Taken]) -> list[Any]:
    return [leaf for leaves, _ in inner for leaf in leaves]


def _holds_arrays(x: Any) -> bool:
    """Whether something is an array, or holds one: a number of NumPy's is none."""
    if isinstance(x, tuple | list):
        return any(map(_holds_arrays, x))
    return isinstance(x, Mapping) or (hasattr(x, "shape") and not isinstance(x, np.generic))


def rebuilt(structure: Any, leaves: Sequence[Any]) -> Any:
    """The state that arrays make in a structure.

    Example:
        >>> rebuilt((dict, ("a",), (None,)), [3])
        {'a': 3}
    """
    return _rebuilt(structure, list(leaves)[::-1])


def _rebuilt(structure: Any, rest: list[Any]) -> Any:
    """From arrays in reverse order, which are used up."""
    if structure is None:
        return rest.pop()
    if structure[0] is dict:
        return {
            key: _rebuilt(inner, rest)
            for key, inner in zip(structure[1], structure[2], strict=True)
        }
    parts = [_rebuilt(inner, rest) for inner in structure[1]]
    return structure[0](*parts) if hasattr(structure[0], "_fields") else structure[0](parts)
