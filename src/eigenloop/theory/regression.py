"""gamma*, f* and mu2 without a formula for them: the regression of v - q on Sq over drawn samples
(NumPy).

Without LN the loss of one layer is E||q + gamma Sq - v||^2, so its best gamma is a regression's
slope, f* its mean squared residual and mu2 its design's second moment. Standard errors are the
regression's own (the sandwich), at fixed X or over X and q alike.
"""

from typing import NamedTuple

import numpy as np

from eigenloop.theory.population import Target

CHUNK = 5_000


class Regression(NamedTuple):
    """Estimates and their standard errors, of one population or of many."""

    values: np.ndarray
    """gamma*, f*, mu2: (3, ...)."""
    errors: np.ndarray
    """(3, ...)."""

    def sigmas(self, expected: np.ndarray) -> np.ndarray:
        """How many standard errors each estimate is off what a formula says, (3, ...)."""
        return abs(self.values - expected) / self.errors


def of_images(query: np.ndarray, image: np.ndarray, target: Target) -> Regression:
    """The regression for q and Sq, both (N, d).

    Args:
        query: unit vectors q.
        image: S q of the same samples.
        target: v = Sq/||Sq|| or v = Sq.

    Example:
        >>> angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 100_000)
        >>> q = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        >>> bool(
        ...     np.all(
        ...         of_images(q, q * [2.0, 1.0], "unnormalized").sigmas(np.array([0.4, 0.1, 2.5]))
        ...         < 5
        ...     )
        ... )
        True
    """
    return _fitted((query * image).sum(1), (image**2).sum(1), target)


def of_spectra(rows: np.ndarray, query: np.ndarray, target: Target) -> Regression:
    """The same for each of many spectra, (B, d), in their eigenbases, with the queries shared;
    entries are (3, B).
    """
    shares = (query**2).T
    return _fitted(rows @ shares, rows**2 @ shares, target)


def _fitted(along: np.ndarray, square: np.ndarray, target: Target) -> Regression:
    """From q.Sq and ||Sq||^2, (..., N)."""
    if target == "normalized":
        norm = np.sqrt(square)
        pull, start = norm - along, 2 - 2 * along / norm  # (v - q).Sq and ||q - v||^2
    else:
        pull, start = square - along, 1 - 2 * along + square
    root = np.sqrt(along.shape[-1])
    mu2 = square.mean(-1)
    gamma = pull.mean(-1) / mu2
    wide = gamma[..., None]
    residual = start - 2 * wide * pull + wide**2 * square
    errors = [(pull - wide * square).std(-1) / mu2, residual.std(-1), square.std(-1)]
    return Regression(np.stack([gamma, residual.mean(-1), mu2]), np.stack(errors) / root)


def planted_images(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """q and S q, (N, d) each, of Task 2 as the package draws X and q for training, in float64."""
    import jax

    from eigenloop.lab import problems
    from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES

    task, queries, images = (
        problems.Rotated.planted(DEFAULT_MULTIPLICITIES, dim=16, samples=32),
        [],
        [],
    )
    with jax.enable_x64(True):
        for chunk, begin in enumerate(range(0, size, CHUNK)):
            key = jax.random.fold_in(jax.random.key(seed), chunk)
            batch = problems.draw(task, key, min(CHUNK, size - begin), principal=False)
            queries.append(np.asarray(batch.query))
            images.append(np.einsum("bde,be->bd", np.asarray(batch.gram), queries[-1]))
    return np.concatenate(queries), np.concatenate(images)
