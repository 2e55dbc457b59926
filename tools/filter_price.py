"""What filters learnt on one spectrum cost on others: docs/theory/price.csv.

    python tools/filter_price.py              both depths, 1,000 spectra of each kind (a minute)
    python tools/filter_price.py --spectra 50 --csv /tmp/price.csv

Exact integrals over the query q, seeded spectra; Lanczos and the best vector of the Krylov space
are means over queries as well. Columns: layers L, kind of spectrum, how many of them, filter, its
roots, mean loss after L layers and its standard error over spectra, share of spectra on which
repeating the L layers converges to PS(X), median factor of tan(phi) in a pass.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.filters import best_root
from eigenloop.theory.filters.price import (
    best_roots,
    chebyshev_roots,
    krylov_losses,
    layer_losses,
    pass_factor,
)
from eigenloop.theory.population import EndToEnd

CSV = Path(__file__).resolve().parents[1] / "docs" / "theory" / "price.csv"
DIM, SAMPLES = 16, 32
LAYERS = (4, 10)
TRAINING = 128
"""Sphere spectra that filters are tuned on; those that they are tried on have other seeds."""
QUERIES = 8
"""Of each spectrum, for the methods that look at X."""
TASK2 = np.array(DEFAULT_MULTIPLICITIES, float)[None]


def sphere(count: int, seed: int, *, samples: int = SAMPLES) -> np.ndarray:
    """Spectra of Task 1: columns uniform on the sphere; (count, d), descending."""
    x = np.random.default_rng(seed).standard_normal((count, DIM, samples))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.linalg.eigvalsh(x @ x.transpose(0, 2, 1))[:, ::-1].clip(0)


def planted(top: float, second: float, count: int, seed: int) -> np.ndarray:
    """lambda_1 and lambda_2 as given; the others uniform, scaled to tr S = n, below 0.98 lambda_2.

    Example:
        >>> planted(5.0, 4.5, 1, 0)[0, :2].tolist(), round(float(planted(5.0, 4.5, 1, 0).sum()), 9)
        ([5.0, 4.5], 32.0)
    """
    bulk = np.random.default_rng(seed).uniform(0, 1, (count, DIM - 2))
    low, high = np.zeros((count, 1)), np.full((count, 1), 1e6)
    for _ in range(100):  # bisection for the scale
        middle = (low + high) / 2
        over = (
            np.minimum(middle * bulk, 0.98 * second).sum(1, keepdims=True) > SAMPLES - top - second
        )
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    ends = np.tile([top, second], (count, 1))
    return -np.sort(-np.concatenate([ends, np.minimum(high * bulk, 0.98 * second)], axis=1), axis=1)


def kinds(count: int) -> dict[str, np.ndarray]:
    """The spectra that every filter is tried on."""
    return {
        "sphere n=32": sphere(count, 3),
        "Task 2": TASK2,
        "sphere n=16": sphere(count, 4, samples=16),
        "sphere n=24": sphere(count, 5, samples=24),
        "sphere n=64": sphere(count, 6, samples=64),
        "sphere n=128": sphere(count, 7, samples=128),
        "spike 8, next 3": planted(8.0, 3.0, count, 8),
        "close 5, 4.5": planted(5.0, 4.5, count, 9),
        "flat 3, 2.6": planted(3.0, 2.6, count, 10),
    }


def filters(layers: int) -> dict[str, np.ndarray]:
    """Name -> roots; "tuned" is said of those with the least loss on the spectra in brackets."""
    training, equal = sphere(TRAINING, 1), np.ones(layers)
    eigenvalues = np.zeros(layers)
    eigenvalues[:4] = [1.0, 2.0, 3.0, 4.0]
    return {
        "power method": 0 * equal,
        "shift n/(2d) = 1": equal,
        "tuned shift (sphere n=32)": best_root(EndToEnd(training, layers)).rho * equal,
        "tuned shift (Task 2)": best_root(EndToEnd(TASK2, layers)).rho * equal,
        "untied optimum (sphere n=32)": best_roots(training, loops=layers),
        "untied optimum (Task 2)": eigenvalues,
        "Chebyshev [0, 3]": chebyshev_roots(0.0, 3.0, loops=layers),
    }


def rows_of(layers: int, count: int, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """One row for each filter and kind of spectrum."""
    tell(f"L = {layers}: tuning")
    chosen = filters(layers)
    for kind, rows in kinds(count).items():
        tell(f"L = {layers}: {kind}")
        base = {"layers": layers, "spectrum": kind, "spectra": len(rows)}
        for name, roots in chosen.items():
            factor = pass_factor(roots, rows)
            yield (
                base
                | of(layer_losses(roots, rows).value)
                | {
                    "filter": name,
                    "roots": " ".join(f"{rho:.4g}" for rho in roots),
                    "converges": f"{np.mean(factor < 1):.3f}",
                    "factor": f"{np.median(factor):.4g}",
                }
            )
        each = QUERIES if len(rows) > 1 else QUERIES * count  # one spectrum: only q is random
        query = np.random.default_rng(layers).standard_normal((len(rows), each, DIM))
        found = krylov_losses(rows, query, loops=layers)
        for name, losses in (("Lanczos", found.lanczos), ("best of the Krylov space", found.best)):
            each = losses[0] if len(rows) == 1 else losses.mean(1)
            yield base | of(each) | {"filter": name, "roots": "", "converges": "", "factor": ""}


def of(losses: np.ndarray) -> dict[str, str]:
    """Mean and standard error.

    Example:
        >>> of(np.array([1.0, 3.0]))
        {'loss': '2', 'loss_se': '1'}
    """
    error = losses.std(ddof=1) / np.sqrt(losses.size) if losses.size > 1 else 0.0
    return {"loss": f"{losses.mean():.4g}", "loss_se": f"{error:.2g}"}


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description="Filters in and out of distribution.")
    parser.add_argument("--csv", type=Path, default=CSV, help="where the rows are written")
    parser.add_argument("--spectra", type=int, default=1_000, help="of each kind")
    options = parser.parse_args(arguments)
    rows = [
        row
        for layers in LAYERS
        for row in rows_of(layers, options.spectra, lambda said: print(said, flush=True))
    ]
    with options.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
