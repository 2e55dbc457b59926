"""Public names of a package, imported when they are first used (PEP 562), so that importing it
costs nothing.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str], *, others: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` for a package's `__init__`.

    Args:
        package: its full name, `__name__` there.
        homes: public names, separated by blanks, by the module of the package that has them.
        others: public names that the package imports or defines itself.

    Example:
        >>> find, listing, public = lazy_names(
        ...     "eigenloop.numerics", {"spectrum": "top_multiplicity"}
        ... )
        >>> public, find("top_multiplicity")([3.0, 3.0, 1.0])
        (['top_multiplicity'], 2)
    """
    where = {name: module for module, names in homes.items() for name in names.split()}
    public = sorted({*where, *others})

    def find(name: str) -> Any:
        if name in where:
            return getattr(import_module(f"{package}.{where[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find, lambda: public, public
