"""Looped transformers that learn the power method."""

from importlib.metadata import version

__version__ = version("eigenloop")
