"""Fingerprint of a user-defined object, the same in the next process and under the next Python:
what it does, digested.

A run records the objective, distribution and optimiser that it was given. Two optimisers of one
class with other learning rates, or a function whose body was edited, have other fingerprints, and
the run of the one is not resumed with the other.
"""

import ast
import dataclasses
import functools
import hashlib
import linecache
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.generic, np.dtype)
MAX_DEPTH = 40


def describe(value: Any) -> str:
    """Name and digest of an object.

    The digest covers a function's syntax tree (comments, layout and docstrings aside), defaults,
    closure and the plain globals that it reads; an object's class, methods and fields (without
    those computed on first use); numbers and arrays to the last bit. What Python cannot look into
    counts by its type alone. A function without source, from `exec` or a Python started with `-c`,
    counts by its bytecode, which the next Python compiles differently: the fingerprint then names
    the Python.

    Example:
        >>> (
        ...     describe(lambda x: x) == describe(lambda x: x),
        ...     describe(lambda x: x) == describe(lambda x: x + 1),
        ... )
        (True, False)
    """
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    hasher = _Hasher()
    digest = hashlib.sha256(hasher.text(value, ()).encode()).hexdigest()[:12]
    python = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    return f"{name} {digest}" + (
        f" (in part by the bytecode of {python}, for want of source)" if hasher.bytecode else ""
    )


class _Hasher:
    """Texts for the objects under one value: each is looked into once, however many ways lead to
    it.
    """

    def __init__(self) -> None:
        self.bytecode = False
        self._texts: dict[
            int, tuple[Any, str]
        ] = {}  # with the object: its id is its own only as long as it lives
        self._modules: dict[str, dict[types.CodeType, ast.AST]] = {}

    def text(self, value: Any, above: tuple[int, ...]) -> str:
        """What tells the object apart, without addresses; of what has parts, a digest."""
        if isinstance(value, PLAIN):
            return f"{type(value).__name__}:{value!r}"
        if id(value) in above:
            return f"again {above[::-1].index(id(value))}"  # how many levels up
        if len(above) > MAX_DEPTH:
            return "deeper"
        if id(value) not in self._texts:
            self._texts[id(value)] = value, self._look(value, (*above, id(value)))
        return self._texts[id(value)][1]

    def _look(self, value: Any, above: tuple[int, ...]) -> str:
        if isinstance(value, types.CodeType):
            return self._digest("code", _of_code(value), above)
        if isinstance(value, types.FunctionType):
            return self._digest(f"function {value.__qualname__}", self._of_function(value), above)
        if isinstance(value, types.MethodType):
            return self._digest("method", (value.__func__, value.__self__), above)
        if isinstance(value, functools.partial):
            return self._digest("partial", (value.func, value.args, value.keywords), above)
        if isinstance(value, staticmethod | classmethod):
            return self._digest(type(value).__name__, (value.__func__,), above)
        if isinstance(value, property):
            return self._digest("property", (value.fget,), above)
        if isinstance(value, types.ModuleType | types.BuiltinFunctionType):
            return f"{type(value).__name__} {value.__name__}"
        if isinstance(value, type):
            return self._digest(
                f"class {value.__module__}.{value.__qualname__}", _of_class(value), above
            )
        if isinstance(value, Mapping):
            return self._digest(
                type(value).__qualname__, [part for pair in value.items() for part in pair], above
            )
        if isinstance(value, set | frozenset):
            parts = sorted(self.text(part, above) for part in value)
            return f"{type(value).__name__}({','.join(parts)})"
        if isinstance(value, list | tuple):
            return self._digest(type(value).__qualname__, value, above)
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            return _of_array(value)
        if callable(getattr(value, "__wrapped__", None)):  # a compiled or cached function
            return self._digest(type(value).__qualname__, (value.__wrapped__,), above)
        return self._digest("object", (type(value), *_fields(value)), above)

    def _digest(self, kind: str, parts: Iterable[Any], above: tuple[int, ...]) -> str:
        content = ",".join(self.text(part, above) for part in parts)
        return f"{kind}({hashlib.sha256(content.encode(errors='surrogatepass')).hexdigest()})"

    def _of_function(self, function: types.FunctionType) -> tuple[Any, ...]:
        cells = [
            cell.cell_contents if _is_filled(cell) else "empty"
            for cell in function.__closure__ or ()
        ]
        code: Any = function.__code__
        tree = self._tree(code)
        if tree is None:
            self.bytecode, names = True, set(function.__code__.co_names)
        else:
            code, names = (
                _plain_tree(tree),
                {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)},
            )
        read = {
            name: function.__globals__[name]
            for name in sorted(names)
            if name in function.__globals__
        }
        known = {
            name: v
            for name, v in read.items()
            if isinstance(v, (*PLAIN, np.ndarray, types.FunctionType))
        }
        own = {
            n: v
            for n, v in known.items()
            if getattr(v, "__module__", function.__module__) == function.__module__
        }
        return code, function.__defaults__, function.__kwdefaults__, cells, own

    def _tree(self, code: types.CodeType) -> ast.AST | None:
        """The function's syntax tree; None without source, or where the file is no longer what
        was compiled.
        """
        file = code.co_filename
        if file not in self._modules:
            self._modules[file] = _trees(file)
        return self._modules[file].get(code)


def _trees(file: str) -> dict[types.CodeType, ast.AST]:
    """Code object -> syntax tree, of every function of a file as it is now.

    A code object is equal to another one only if bytecode, constants and positions are: a function
    that was compiled from another text is not in it.
    """
    source = "".join(linecache.getlines(file))
    if not source:
        return {}
    try:
        module, code = ast.parse(source), compile(source, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return {}
    nodes: dict[tuple[str, int], list[Any]] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            nodes.setdefault((name, first), []).append(node)
    found: dict[types.CodeType, ast.AST] = {}
    for inner in _functions(code):
        fitting = [
            node
            for node in nodes.get((inner.co_name, inner.co_firstlineno), ())
            if _spans(node, inner)
        ]
        if fitting:  # of lambdas within lambdas on one line the innermost
            found[inner] = max(fitting, key=lambda node: (node.lineno, node.col_offset))
    return found


def _functions(code: types.CodeType) -> Iterator[types.CodeType]:
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield part
            yield from _functions(part)


def _spans(node: Any, code: types.CodeType) -> bool:
    """Whether every instruction comes from the node's text."""
    begin, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    decorated = getattr(node, "decorator_list", ())
    for line, end_line, column, end_column in code.co_positions():
        if None in (line, end_line, column, end_column) or (
            line == code.co_firstlineno and column == end_column == 0
        ):
            continue  # of no text, or the function's first instruction, which stands for its line
        if not decorated and not begin <= (line, column) <= (end_line, end_column) <= end:
            return False
    return True


def _plain_tree(node: Any) -> Any:
    """A syntax tree as nested tuples: without positions, docstrings, and fields that are empty
    in one Python only.
    """
    if isinstance(node, list):
        return tuple(_plain_tree(part) for part in node)
    if isinstance(node, ast.Constant):
        return "Constant", node.value
    if not isinstance(node, ast.AST):
        return node
    parts: list[Any] = [type(node).__name__]
    for name in node._fields:
        value: Any = getattr(node, name, None)
        if name == "decorator_list":  # what they make of the function is seen in the object
            continue
        if name == "body" and isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ):
            value = value[1:] if ast.get_docstring(node, clean=False) is not None else value
        if value not in (None, []) and name not in ("type_comment", "kind"):
            parts += [name, _plain_tree(value)]
    return tuple(parts)


def _of_code(code: types.CodeType) -> tuple[Any, ...]:
    return code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars


def _of_class(kind: type) -> list[Any]:
    """Methods and plain attributes, also inherited ones, of classes outside the standard
    library.
    """
    parts: list[Any] = []
    for base in kind.__mro__:
        if base.__module__ in (
            "builtins",
            "abc",
            "typing",
            "typing_extensions",
            "enum",
            "collections",
        ):
            continue
        for name, value in vars(base).items():
            method = isinstance(value, types.FunctionType | staticmethod | classmethod | property)
            plain = isinstance(value, (*PLAIN, tuple, np.ndarray))
            if (method or plain) and name not in _LEFT_OUT and not _is_generated(base, value):
                parts += [name, value]
    return parts


_LEFT_OUT = {
    "__module__",
    "__doc__",
    "__firstlineno__",
    "__static_attributes__",
    "__weakref__",
    "__dict__",
    "__annotate__",
    "__annotate_func__",
    "__annotations_cache__",
    "__classdictcell__",
}
"""What Python itself writes into a class, some of it in some versions only."""


def _is_generated(base: type, value: Any) -> bool:
    """Whether `dataclass` wrote the method, from fields that are looked at anyway, and each
    Python in its own way.
    """
    function: Any = getattr(value, "__wrapped__", value)
    if not dataclasses.is_dataclass(base) or not isinstance(function, types.FunctionType):
        return False
    return function.__code__.co_filename == "<string>" or function.__module__ == "dataclasses"


def _fields(value: Any) -> list[Any]:
    """Names and contents of an object's fields; what a `cached_property` has left there is no
    field.
    """
    cached = {
        n
        for c in type(value).__mro__
        for n, v in vars(c).items()
        if isinstance(v, functools.cached_property)
    }
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
    content = (
        repr(array.tolist()).encode()
        if array.dtype.hasobject
        else np.ascontiguousarray(array).tobytes()
    )
    return f"array {array.dtype} {array.shape} {hashlib.sha256(content).hexdigest()}"


def _is_filled(cell: types.CellType) -> bool:
    with suppress(ValueError):
        return cell.cell_contents is cell.cell_contents
    return False
