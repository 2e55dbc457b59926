"""Where the models without LN must stop: gamma* and f* of arXiv 2606.00605, Thm 4.2.

    f(gamma) = mu2 (gamma - gamma*)^2 + f*,   mu2 = E||Sq||^2 = E tr(S^2) / d
    normalised target:    gamma* = (E||Sq|| - n/d) / mu2,   f* = 2 - 2 E[q.Sq / ||Sq||] - mu2 gamma*^2
    unnormalised target:  gamma* = 1 - (n/d) / mu2,         f* = 1 - 2n/d + mu2 - mu2 gamma*^2

Expected, d = 16, n = 32: Task 2 f* = 0.2262 and 0.2558; Task 1 0.302 and 0.319.
"""

from dataclasses import dataclass

import numpy as np

from eigenloop.errors import InputError
from eigenloop.power import normalize
from eigenloop.training import TrainConfig

CHUNK = 8_000


@dataclass(frozen=True)
class Level:
    """Where gradient descent on the scalar model ends."""

    gamma: float
    """gamma*."""
    loss: float
    """f*."""


def levels(config: TrainConfig, *, draws: int = 80_000, seed: int = 0) -> dict[str, Level]:
    """gamma* and f* of both targets; mu2 exact, E||Sq|| and E[q.Sq/||Sq||] from independent draws.

    Args:
        config: names the task and its sizes.
        draws: number of draws; 80,000 leave a standard error of f* near 0.0006.
        seed: of the draws.

    Example:
        >>> round(levels(TrainConfig.create(task="planted"), draws=1000)["unnormalized"].loss, 6)
        0.255814
    """
    d, n = config.dim, config.samples
    rng = np.random.default_rng([seed, 42])
    if config.task == "planted":
        eigenvalues = np.asarray(config.multiplicities, np.float64)
        mu2 = float(np.sum(eigenvalues**2)) / d
    elif config.min_eigenvalue is None:
        eigenvalues, mu2 = None, (n + n * (n - 1) / d) / d
    else:
        raise InputError("levels are known for the two tasks without --min-eigenvalue")
    lengths, cosines = [], []
    for start in range(0, draws, CHUNK):
        size = min(CHUNK, draws - start)
        query = normalize(rng.standard_normal((size, d)))
        if eigenvalues is not None:
            image = eigenvalues * query
        else:
            columns = rng.standard_normal((size, n, d))
            columns /= np.linalg.norm(columns, axis=2, keepdims=True)
            image = (np.swapaxes(columns, 1, 2) @ (columns @ query[:, :, None]))[:, :, 0]
        length = np.linalg.norm(image, axis=1)
        lengths.append(length)
        cosines.append(np.sum(query * image, axis=1) / length)
    mean_length, mean_cosine = np.mean(np.concatenate(lengths)), np.mean(np.concatenate(cosines))
    normalized = float(mean_length - n / d) / mu2
    unnormalized = 1 - n / d / mu2
    return {
        "normalized": Level(normalized, float(2 - 2 * mean_cosine) - mu2 * normalized**2),
        "unnormalized": Level(unnormalized, 1 - 2 * n / d + mu2 - mu2 * unnormalized**2),
    }
