"""A step function in a user's Python file, with its start and its context in files (standard
library and NumPy).

Running a user's file is running code: it is done for a path that the user names, and for nothing
else.
"""

import importlib.util
import types
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.loops.maps import LoopedMap
from eigenloop.system.errors import InputError


def map_of_file(source: str, *, start: Path, context: Path | None = None) -> LoopedMap:
    """The map of `my.py:step`.

    The library is told by what the file imports at its top: PyTorch, else JAX, else NumPy (with
    differences).

    Args:
        source: path of a Python file, a colon, and the name of a function (x, **context) -> the
            next state in it.
        start: .npy file with x_0.
        context: .npz file with named arrays that stay as they are.

    Raises:
        InputError: a file that is missing or cannot be run, no such function, or no map (see
            `LoopedMap`).
    """
    path, _, name = source.rpartition(":")
    if not path or not name.isidentifier():
        raise InputError(f"{source!r} names no function; give FILE.py:FUNCTION")
    module = _module(Path(path))
    step = getattr(module, name, None)
    if not callable(step):
        known = [
            key for key, value in vars(module).items() if isinstance(value, types.FunctionType)
        ]
        raise InputError(f"{path} has no function {name!r}; it has {', '.join(known) or 'none'}")
    x0, given = _arrays(start), {} if context is None else _arrays(context)
    if not isinstance(x0, np.ndarray):
        raise InputError(f"--start {start} is an .npz archive; give the start as one .npy array")
    if not isinstance(given, dict):
        raise InputError(
            f"--context {context} is one array; give an .npz archive with named arrays"
        )
    library = _library(module)
    if library == "torch":
        return LoopedMap.torch(step, x0, context=given, name=source)
    make = LoopedMap.jax if library == "jax" else LoopedMap.numpy
    return make(step, x0, context=given, name=source)


def _module(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the path of a Python file before the colon")
    spec = importlib.util.spec_from_file_location(f"eigenloop_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's own code may raise anything
        raise InputError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    return module


def _library(module: types.ModuleType) -> str:
    """What the file's names come from."""
    roots = {
        value.__name__.partition(".")[0]
        for value in vars(module).values()
        if isinstance(value, types.ModuleType)
    }
    return next((library for library in ("torch", "jax") if library in roots), "numpy")


def _arrays(path: Path) -> Any:
    """One array, or named ones; never pickled objects."""
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; write it with numpy.save or numpy.savez"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path} as NumPy arrays: {error}") from None
    return found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
