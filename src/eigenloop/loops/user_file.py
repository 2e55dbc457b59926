"""A step function in a user's Python file, with its start and its context in files (standard
library and NumPy).

Running a user's file is running code: it is done for a path that the user names, and for nothing
else.
"""

import importlib.util
import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.loops.maps import LoopedMap
from eigenloop.system.errors import InputError

Readout = Callable[[Any], Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class UserFile:
    """What a user's file makes.

    Args:
        looped: the map.
        readout: state -> a number, or an array of logits; None where none was named.
    """

    looped: LoopedMap
    readout: Readout | None


def map_of_file(source: str, *, start: Path, context: Path | None = None) -> LoopedMap:
    """The map of `my.py:step`; arguments and errors as of `loop_of_file`."""
    return loop_of_file(source, start=start, context=context).looped


def loop_of_file(
    source: str, *, start: Path, context: Path | None = None, read: str | None = None
) -> UserFile:
    """The map of `my.py:step`, and a readout from the same file.

    The library is told by what the file imports at its top: PyTorch, else JAX, else NumPy (with
    differences). Both functions are called with arrays of that library; of the context, the
    readout is given what it has arguments for.

    Args:
        source: path of a Python file, a colon, and the name of a function (x, **context) -> the
            next state in it.
        start: .npy file with x_0, or .npz file with the arrays of a state that is a dictionary.
        context: .npz file with named arrays that stay as they are.
        read: name of a function (x, **context) -> a number, smaller is better, or an array of
            logits.

    Raises:
        InputError: a file that is missing or cannot be run, no such function, or no map (see
            `LoopedMap`).
    """
    path, _, name = source.rpartition(":")
    if not path or not name.isidentifier():
        raise InputError(f"{source!r} names no function; give FILE.py:FUNCTION")
    module = _module(Path(path))
    step = _function(module, path, name)
    reads = None if read is None else _function(module, path, read)
    x0, given = _arrays(start), {} if context is None else _arrays(context)
    if not isinstance(given, dict):
        raise InputError(
            f"--context {context} is one array; give an .npz archive with named arrays"
        )
    library = _library(module)
    make = {"torch": LoopedMap.torch, "jax": LoopedMap.jax, "numpy": LoopedMap.numpy}[library]
    try:
        looped = make(step, x0, context=given, name=source)
    except InputError:
        raise
    except Exception as error:  # a user's own code may raise anything
        raise InputError(f"{source} raises {type(error).__name__}: {error}") from error
    return UserFile(
        looped=looped, readout=None if reads is None else _readout(reads, given, library)
    )


def _readout(reads: Callable[..., Any], given: dict[str, np.ndarray], library: str) -> Readout:
    """A readout of NumPy states, whatever library it is written in."""
    takes = inspect.signature(reads).parameters
    anything = any(each.kind is each.VAR_KEYWORD for each in takes.values())
    wanted = {name: value for name, value in given.items() if anything or name in takes}
    if library == "torch":
        from eigenloop.loops.adapter_torch import torch_readout  # loads PyTorch

        return torch_readout(reads, wanted)
    if library == "jax":
        from eigenloop.loops.adapter_jax import jax_readout  # loads JAX

        return jax_readout(reads, wanted)
    return lambda x: reads(x, **wanted)


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


def _function(module: types.ModuleType, path: str, name: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if callable(found):
        return found
    known = [key for key, value in vars(module).items() if isinstance(value, types.FunctionType)]
    raise InputError(f"{path} has no function {name!r}; it has {', '.join(known) or 'none'}")


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
