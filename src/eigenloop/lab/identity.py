"""What a user's own object is, in a word that is the same in the next process: its name and a digest of what it does.

Two optimisers of one class with other learning rates, or a function whose body was edited, have other words.
"""

import functools
import hashlib
import types
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.generic, np.dtype)
DEEPEST = 40


def describe(value: Any) -> str:
    """Name and digest of an object.

    The digest covers a function's code, defaults, closure and the plain globals that it reads; an object's class,
    methods and fields (without those computed on first use); numbers and arrays to the last bit. What Python cannot
    look into counts by its type alone.

    Example:
        >>> describe(lambda x: x) == describe(lambda x: x), describe(lambda x: x) == describe(lambda x: x + 1)
        (True, False)
    """
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    digest = hashlib.sha256(_Teller().word(value, ()).encode()).hexdigest()[:12]
    return f"{name} {digest}"


class _Teller:
    """Words for the objects under one value: each is looked into once, however many ways lead to it."""

    def __init__(self) -> None:
        self._told: dict[int, tuple[Any, str]] = {}  # with the object, whose id is its own as long as it lives

    def word(self, value: Any, above: tuple[int, ...]) -> str:
        """What tells the object apart, as text without addresses; of what has parts, a digest."""
        if isinstance(value, PLAIN):
            return f"{type(value).__name__}:{value!r}"
        if id(value) in above:
            return f"again {above[::-1].index(id(value))}"  # how many levels up
        if len(above) > DEEPEST:
            return "deeper"
        if id(value) not in self._told:
            self._told[id(value)] = value, self._look(value, (*above, id(value)))
        return self._told[id(value)][1]

    def _look(self, value: Any, above: tuple[int, ...]) -> str:
        if isinstance(value, types.CodeType):
            return self._listed("code", _of_code(value), above)
        if isinstance(value, types.FunctionType):
            return self._listed(f"function {value.__qualname__}", _of_function(value), above)
        if isinstance(value, types.MethodType):
            return self._listed("method", (value.__func__, value.__self__), above)
        if isinstance(value, functools.partial):
            return self._listed("partial", (value.func, value.args, value.keywords), above)
        if isinstance(value, staticmethod | classmethod):
            return self._listed(type(value).__name__, (value.__func__,), above)
        if isinstance(value, property):
            return self._listed("property", (value.fget,), above)
        if isinstance(value, types.ModuleType | types.BuiltinFunctionType):
            return f"{type(value).__name__} {value.__name__}"
        if isinstance(value, type):
            return self._listed(f"class {value.__module__}.{value.__qualname__}", _of_class(value), above)
        if isinstance(value, Mapping):
            return self._listed(type(value).__qualname__, [part for pair in value.items() for part in pair], above)
        if isinstance(value, set | frozenset):
            return f"{type(value).__name__}({','.join(sorted(self.word(part, above) for part in value))})"
        if isinstance(value, list | tuple):
            return self._listed(type(value).__qualname__, value, above)
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            return _of_array(value)
        if callable(getattr(value, "__wrapped__", None)):  # a compiled or cached function
            return self._listed(type(value).__qualname__, (value.__wrapped__,), above)
        return self._listed("object", (type(value), *_fields(value)), above)

    def _listed(self, kind: str, parts: Iterable[Any], above: tuple[int, ...]) -> str:
        content = ",".join(self.word(part, above) for part in parts)
        return f"{kind}({hashlib.sha256(content.encode(errors='surrogatepass')).hexdigest()})"


def _of_code(code: types.CodeType) -> tuple[Any, ...]:
    return code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars


def _of_function(function: types.FunctionType) -> tuple[Any, ...]:
    cells = [cell.cell_contents if _is_filled(cell) else "empty" for cell in function.__closure__ or ()]
    read = {name: function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__}
    known = {name: v for name, v in read.items() if isinstance(v, (*PLAIN, np.ndarray, types.FunctionType))}
    own = {n: v for n, v in known.items() if getattr(v, "__module__", function.__module__) == function.__module__}
    return function.__code__, function.__defaults__, function.__kwdefaults__, cells, own


def _of_class(kind: type) -> list[Any]:
    """Methods and plain attributes, also inherited ones, of classes outside the standard library."""
    parts: list[Any] = []
    for base in kind.__mro__:
        if base.__module__ in ("builtins", "abc", "typing", "typing_extensions", "enum", "collections"):
            continue
        for name, value in vars(base).items():
            method = isinstance(value, types.FunctionType | staticmethod | classmethod | property)
            if (method or isinstance(value, (*PLAIN, tuple, np.ndarray))) and name not in _UNTOLD:
                parts += [name, value]
    return parts


_UNTOLD = {"__module__", "__doc__", "__firstlineno__", "__static_attributes__", "__weakref__", "__dict__"}


def _fields(value: Any) -> list[Any]:
    """Names and contents of an object's fields; what a `cached_property` has left there is no field."""
    cached = {n for c in type(value).__mro__ for n, v in vars(c).items() if isinstance(v, functools.cached_property)}
    slots = [name for base in type(value).__mro__ for name in _slots(base) if hasattr(value, name)]
    found = {**{name: getattr(value, name) for name in slots}, **getattr(value, "__dict__", {})}
    return [part for name in sorted(found.keys() - cached) for part in (name, found[name])]


def _slots(base: type) -> tuple[str, ...]:
    names = vars(base).get("__slots__", ())
    return (names,) if isinstance(names, str) else tuple(names)


def _of_array(value: Any) -> str:
    try:
        array = np.asarray(value)
    except TypeError:  # a random key
        return repr(value)
    content = repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes()
    return f"array {array.dtype} {array.shape} {hashlib.sha256(content).hexdigest()}"


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is cell.cell_contents
    except ValueError:
        return False
