"""Where the models without LN must stop: gamma* and f* of arXiv 2606.00605, Thm 4.2.

    f(gamma) = mu2 (gamma - gamma*)^2 + f*,   mu2 = E||Sq||^2 = E tr(S^2) / d
    normalised target:  gamma* = (E||Sq|| - n/d) / mu2,   f* = 2 - 2 E[q.Sq / ||Sq||] - mu2 gamma*^2
    unnormalised target:  gamma* = 1 - (n/d) / mu2,         f* = 1 - (n/d)^2 / mu2

Expectations over q are exact integrals, and mu2 is exact. Task 1 averages E||Sq|| and E[q.Sq /
||Sq||] over sampled X, before any quotient, and says its standard error; tr S^2, whose mean is
known, takes most of the noise out of both.

Expected, d = 16, n = 32, normalised and unnormalised target: Task 2 f* = 0.226172 and 0.255814,
gamma* = 0.051245 and 0.627907; Task 1 f* = 0.3015 +- 0.0002 and 15/47 = 0.319149.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eigenloop.lab.config import TrainConfig
from eigenloop.numerics.statistics import jackknife
from eigenloop.system.errors import InputError
from eigenloop.theory.population import LayerwiseLinear, mean_power_norm
from eigenloop.theory.summary import Spectra

DRAWS = 512


@dataclass(frozen=True)
class Level:
    """Where gradient descent on the scalar model ends."""

    gamma: float
    """gamma*."""
    loss: float
    """f*."""
    gamma_error: float = 0.0
    """Standard error of gamma* over sampled X; 0 where it is exact."""
    loss_error: float = 0.0
    """The same of f*."""

    def __str__(self) -> str:
        return f"gamma* = {_with(self.gamma, self.gamma_error)}, {self.floor}"

    @property
    def floor(self) -> str:
        """f* in words, with its standard error where there is one."""
        return f"f* = {_with(self.loss, self.loss_error)}"


def levels(config: TrainConfig, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Level]:
    """gamma* and f* of both targets.

    Args:
        config: names the task and its sizes.
        draws: sampled X of Task 1; 512 leave a standard error of f* near 0.0002.
        seed: of the draws.

    Example:
        >>> found = levels(TrainConfig.create(task="planted"))
        >>> print(found["normalized"]), print(found["unnormalized"])
        gamma* = 0.051245, f* = 0.226172
        gamma* = 0.627907, f* = 0.255814
        (None, None)
    """
    if config.min_eigenvalue is not None:
        raise InputError("levels are known for the tasks without --min-eigenvalue; leave it out")
    fixed = getattr(config.distribution(), "eigenvalues", None)
    return dict(_levels(fixed, config.dim, config.samples, draws, seed))


def spectra_of(config: TrainConfig, *, draws: int = DRAWS, seed: int = 0) -> Spectra:
    """The spectra of a run's task: one where it is fixed, else those of `draws` sampled X.

    Example:
        >>> spectra_of(TrainConfig.create(task="planted")).rows.shape
        (1, 16)
    """
    return _spectra(
        getattr(config.distribution(), "eigenvalues", None), config.dim, config.samples, draws, seed
    )


def _spectra(
    eigenvalues: tuple[float, ...] | None, dim: int, samples: int, draws: int, seed: int
) -> Spectra:
    if eigenvalues is not None:
        return Spectra.fixed(eigenvalues)
    return Spectra.sphere(dim=dim, samples=samples, draws=draws, seed=seed)


@lru_cache(maxsize=16)
def _levels(
    eigenvalues: tuple[float, ...] | None, dim: int, samples: int, draws: int, seed: int
) -> tuple[tuple[str, Level], ...]:
    of = _spectra(eigenvalues, dim, samples, draws, seed)
    linear, squares, known = LayerwiseLinear(of.rows), (of.rows**2).mean(axis=1), of.moments
    # E[q.Sq/||Sq||] of each X
    cosine = 1 - (linear.floor().value + squares * linear.optimum().value ** 2) / 2
    columns = np.stack([mean_power_norm(of.rows).value, cosine], axis=1)
    excess = squares - known.second
    if np.any(excess):
        centred = excess - excess.mean()
        columns = columns - np.outer(excess, centred @ columns / (centred @ centred))

    def gamma(rows: np.ndarray) -> float:
        return float(rows[:, 0].mean() - known.trace) / known.second

    def loss(rows: np.ndarray) -> float:
        return float(2 - 2 * rows[:, 1].mean()) - known.second * gamma(rows) ** 2

    errors = [jackknife(columns, value)[1] if len(columns) > 1 else 0.0 for value in (gamma, loss)]
    return (
        ("normalized", Level(gamma(columns), loss(columns), *errors)),
        ("unnormalized", Level(known.excess / known.second, known.spread / known.second)),
    )


def _with(value: float, error: float) -> str:
    if not error:
        return f"{value:.6f}"
    digits = max(4, -int(np.floor(np.log10(error))))
    return f"{value:.{digits}f} +- {error:.{digits}f}"
