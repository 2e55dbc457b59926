"""Which spectra, and how many loops, make late end-to-end training stable off the scalar manifold?

For each spectrum and L = 1 to 20: the lowest eigenvalue of lim gamma H in the antisymmetric and the
symmetric traceless sector (`eigenloop.theory.stability.limit_hessian`), the error that rounding and
quadrature leave, and the sign, empty where the modulus is not above the error. The last rows are
Task 1 itself, averages over drawn X, with standard errors.

Usage::

    python tools/stability_map.py [--out docs/theory/stability_map.csv]

About three minutes on one core. The draws are seeded: the same numbers on every machine, to
rounding.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.population import EndToEnd
from eigenloop.theory.stability import Mode, limit_hessian, lowest_eigenvalue
from eigenloop.theory.summary import Spectra

LOOPS = range(1, 21)
SEED = 0
DRAWS = 256
"""Spectra in the averages of Task 1."""

FIXED: dict[str, tuple[float, ...]] = {
    "2,1": (2, 1),
    "2,1,1": (2, 1, 1),
    "2,1 x 15": (2, *[1] * 15),
    "3,1": (3, 1),
    "5,1": (5, 1),
    "10,1": (10, 1),
    "10,1,1,1,1": (10, 1, 1, 1, 1),
    "10,1 x 15": (10, *[1] * 15),
    "1.1,1": (1.1, 1),
    "1.1,1,1,1": (1.1, 1, 1, 1),
    "3,3,1": (3, 3, 1),
    "4,4,4,1": (4, 4, 4, 1),
    "3,2,1": (3, 2, 1),
    "5,2,1": (5, 2, 1),
    "10,2,1": (10, 2, 1),
    "10,9,1": (10, 9, 1),
    "2,1.9,1": (2, 1.9, 1),
    "3,3,2,1,1": (3, 3, 2, 1, 1),
    "5,4,3,2,1": (5, 4, 3, 2, 1),
    "5,4,3,2,1,1": (5, 4, 3, 2, 1, 1),
    "8,4,2,1": (8, 4, 2, 1),
    "4,1,0": (4, 1, 0),
    "4,4,2,0": (4, 4, 2, 0),
    "Task 2": DEFAULT_MULTIPLICITIES,
    "16,15,...,1": tuple(range(16, 0, -1)),
    "1/k, k = 1 to 16": tuple(1 / k for k in range(1, 17)),
    "1/k^2, k = 1 to 16": tuple(1 / k**2 for k in range(1, 17)),
}
TASK_1 = ((4, 8), (16, 32), (32, 64))
"""(d, n) of sampled X with columns uniform on the sphere."""
EACH = 6
"""Single spectra drawn from each."""


def spectra() -> dict[str, np.ndarray]:
    """Name -> eigenvalues, (d,), or (B, d) for an average over X."""
    found = {name: np.array(values, dtype=np.float64) for name, values in FIXED.items()}
    rng = np.random.default_rng([SEED, 1])
    for i in range(EACH):
        cuts = np.sort(rng.choice(np.arange(1, 32), size=15, replace=False))
        found[f"32 = a random sum of 16 ({i})"] = np.sort(np.diff([0, *cuts, 32]))[::-1].astype(
            np.float64
        )
    averages = {}
    for dim, samples in TASK_1:
        rows = Spectra.sphere(dim=dim, samples=samples, draws=DRAWS, seed=SEED).rows
        found |= {f"Task 1, d = {dim}, n = {samples}, X ({i})": rows[i] for i in range(EACH)}
        averages[f"Task 1, d = {dim}, n = {samples}, average of {DRAWS} X"] = rows
    return found | averages


def rows() -> list[dict[str, object]]:
    """One for each spectrum and L."""
    found = []
    for name, values in spectra().items():
        for loops in LOOPS:
            modes = limit_hessian(EndToEnd(values, loops))
            lowest = lowest_eigenvalue(modes)
            of_sector = {
                sector.replace(" ", "_"): f"{mode.eigenvalues[0]:.10g}"
                for sector, mode in modes.items()
                if sector != "scalar"
            }
            spread = (
                _standard_error(values, loops, modes, lowest.sector) if values.ndim > 1 else None
            )
            found.append(
                {
                    "spectrum": name,
                    "eigenvalues": " ".join(f"{value:.6g}" for value in values)
                    if values.ndim == 1
                    else "",
                    "loops": loops,
                    **of_sector,
                    "lowest": f"{lowest.value:.10g}",
                    "error": f"{lowest.error:.2g}",
                    "standard_error": "" if spread is None else f"{spread:.3g}",
                    "sign": "" if lowest.sign is None else f"{lowest.sign:+d}",
                }
            )
    return found


def _standard_error(values: np.ndarray, loops: int, modes: dict[str, Mode], sector: str) -> float:
    """Of the lowest eigenvalue of an average over X: the scatter of v.H_X v, v its eigenvector."""
    direction = np.linalg.eigh(modes[sector].hessian)[1][:, 0]
    each = [
        direction @ limit_hessian(EndToEnd(row, loops))[sector].hessian @ direction
        for row in values
    ]
    return float(np.std(each, ddof=1) / np.sqrt(len(each)))


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(
        description="The lowest eigenvalue of late training, by spectrum and loops."
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parents[1] / "docs" / "theory" / "stability_map.csv",
    )
    options = parser.parse_args(arguments)
    found = rows()
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    print(f"{len(found)} rows in {options.out}")


if __name__ == "__main__":
    main()
