"""Blocks and tables that the tests of LoopedPCA share."""

import numpy as np
import pytest

from eigenloop.numerics.spectrum import unit_columns_with_spectrum
from eigenloop.predict import estimator
from eigenloop.predict.estimator import (
    Blocks,
)


def scalar(dim: int, *, a: float, b: float) -> Blocks:
    return Blocks(a * np.eye(dim), b * np.eye(dim))


def planted(seed: int = 0) -> np.ndarray:
    return unit_columns_with_spectrum(
        np.random.default_rng(seed), [9.0, 4.0, 2.0, 1.0], samples=16
    ).T


def exact(monkeypatch: pytest.MonkeyPatch, dim: int) -> None:
    """Blocks that are the power method to 1e-8, so that what depends on the component can be
    compared with PCA's.
    """
    monkeypatch.setattr(estimator, "_remembered", lambda *arguments: scalar(dim, a=1e4, b=1e4))
