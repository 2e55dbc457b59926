"""The checker of annotations that conftest.py puts into eigenloop's functions while the tests
run.
"""

import dataclasses
import inspect
from functools import partial
from typing import Any, Literal, get_args, get_origin

import beartype
import jaxtyping

# An int where a float is asked for is right to every static checker, so it is right here too. What
# is raised is a TypeError, as a wrong type would raise without a checker: code that catches one is
# tested too.
check = beartype.beartype(
    conf=beartype.BeartypeConf(is_pep484_tower=True, violation_type=jaxtyping.TypeCheckError)
)
jaxtyped = jaxtyping.jaxtyped


def install() -> None:
    """Check every call into eigenloop from now on; to be called before it is imported."""
    jaxtyping.jaxtyped = checked  # pyright: ignore[reportAttributeAccessIssue]
    jaxtyping.install_import_hook("eigenloop", "typechecker.check")


def checked(function: Any = None, **options: Any) -> Any:
    """What the import hook decorates with: jaxtyping's checker where an annotation has a shape,
    beartype elsewhere.

    jaxtyping binds the arguments of each call to its signature and checks them twice, for the sake
    of dimensions that several arguments share. Without a shape there is none, and a table of a
    thousand cells has four calls for each.
    """
    if function is None:
        return partial(checked, **options)
    if inspect.isfunction(function) and not has_shapes(function):
        return check(function)
    if (
        type(function) is type
        and dataclasses.is_dataclass(function)
        and not has_shapes(function.__init__)
    ):
        function.__init__ = check(function.__init__)  # pyright: ignore[reportAttributeAccessIssue]
        return function
    return jaxtyped(function, **options)


def has_shapes(function: Any) -> bool:
    """Whether an annotation of a function may name a shape; text that would have to be looked up
    may.
    """
    return any(map(_has_shape, getattr(function, "__annotations__", {}).values()))


def _has_shape(annotation: Any) -> bool:
    if isinstance(annotation, list):  # the arguments of a Callable
        return any(map(_has_shape, annotation))
    if isinstance(annotation, str) or (
        isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray)
    ):
        return True
    return get_origin(annotation) is not Literal and any(map(_has_shape, get_args(annotation)))
