"""A simulator of token dynamics with planted spectra, and cases of the power method as claims."""

from eigenloop.lens.cases.dynamics import FeedForward, Layer, Run, Unit, simulate
from eigenloop.lens.cases.generators import growth_spectrum, plain_norm, split, with_spectrum

__all__ = [
    "FeedForward",
    "Layer",
    "Run",
    "Unit",
    "growth_spectrum",
    "plain_norm",
    "simulate",
    "split",
    "with_spectrum",
]
