"""Versions of the packages that decide the bits of a result."""

import importlib.metadata
import platform
from collections.abc import Sequence
from contextlib import suppress

LAB = ("eigenloop", "jax", "jaxlib", "numpy")
"""Packages that decide the bits of a training run or a claim."""
LENS = ("eigenloop", "numpy", "scipy", "safetensors", "torch", "transformers", "tokenizers")
"""Packages that decide the bits of what is found in a pretrained model; the last three only
where it runs.
"""


def versions(packages: Sequence[str] = LAB) -> dict[str, str]:
    """Versions that decide a run's bits: of the packages that are installed, of Python, and the
    machine's kind.
    """
    found = {}
    for name in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {**found, "python": platform.python_version(), "machine": platform.machine()}


def software(packages: Sequence[str] = LAB) -> str:
    """The versions in one line, for a page.

    Example:
        >>> software(("numpy",)).startswith("numpy ")
        True
    """
    return ", ".join(
        f"{name} {version}" for name, version in versions(packages).items() if name != "machine"
    )
