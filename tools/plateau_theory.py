"""The plateau that small noise alone would leave, Task 2: python tools/plateau_theory.py
(docs/plateau_theory.csv).

Linear response around gradient descent on the population, A_t = a_t I, B_t = b_t I. In each sector
of the matrices (antisymmetric; symmetric traceless) H_t is the population Hessian for (dA, dB), and
Sigma_t the covariance of one sample's gradient there, both 2 x 2. A batch of n fresh samples, and
the same N samples at every step, leave

    noise:           C_{t+1} = (I - eta_t H_t) C_t (I - eta_t H_t)^T + eta_t^2 Sigma_t / n,
    finite samples:  M_{t+1} = (I - eta_t H_t) M_t - eta_t Sigma_t^{1/2},     covariance M M^T / N.

Matrices drawn with those covariances have the plateau that the CSV holds, the median over held-out
points. Right where deviations are small; it knows neither the curvature of single batches nor that
N samples have a Hessian of their own.
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eigenloop.figures.plateau import limit_sines, points_of
from eigenloop.figures.points import Points
from eigenloop.lab import problems
from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.problems import Batch
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.population import EndToEnd, LayerwiseNorm
from eigenloop.theory.stability import Sector, hessian, sectors
from plateau_grid import STEPS, Setting, rate_at, slope_of

CSV = Path(__file__).resolve().parents[1] / "docs" / "plateau_theory.csv"
GAMMAS = np.geomspace(0.02, 60, 22)
"""Along a^2 - b^2 = 1, which gradient descent from (1, 0) keeps but for second order."""
SAMPLES = 20_000
"""Gradients that Sigma is averaged over; its relative standard error is below 6 %."""
HELD_OUT = 400
DRAWS = 8
"""Pairs (A, B) drawn for one number."""
DIM = 16
OFF = sectors(DIM)[1:]
"""Antisymmetric, symmetric traceless."""


class Response(NamedTuple):
    """Both matrices over GAMMAS: (G, 2, 2, 2), gamma by sector."""

    hessian: np.ndarray
    noise: np.ndarray

    def at(self, gamma: float) -> tuple[np.ndarray, np.ndarray]:
        """Interpolated in log gamma, both (2, 2, 2); the ends are kept beyond them."""
        x = np.clip(np.log(max(gamma, 1e-9)), *np.log(GAMMAS[[0, -1]]))
        low = min(int(np.searchsorted(np.log(GAMMAS), x, side="right")) - 1, len(GAMMAS) - 2)
        share = (x - np.log(GAMMAS[low])) / np.log(GAMMAS[low + 1] / GAMMAS[low])
        # type: ignore[return-value]
        return tuple((1 - share) * of[low] + share * of[low + 1] for of in self)


def projected(matrices: np.ndarray, sector: Sector) -> np.ndarray:
    """The part of d x d matrices in a sector.

    Example:
        >>> projected(np.array([[1.0, 2.0], [0.0, 3.0]]), sectors(2)[1])
        array([[ 0.,  1.],
               [-1.,  0.]])
    """
    turned = np.swapaxes(matrices, -1, -2)
    if sector.name == "antisymmetric":
        return (matrices - turned) / 2
    dim = matrices.shape[-1]
    mean = np.trace(matrices, axis1=-2, axis2=-1)[..., None, None] / dim
    return (matrices + turned) / 2 - mean * np.eye(dim)


def gradient_noise(setting: Setting, data: Batch, a: float, b: float) -> np.ndarray:
    """Sigma of both sectors, (2, 2, 2): per coordinate of (dA, dB), at A = aI, B = bI."""
    objective = setting.config().loss()

    def one(example: Batch) -> tuple[jax.Array, jax.Array]:
        batch = jax.tree.map(lambda leaf: leaf[None], example)
        start = TwoBlock(a * jnp.eye(DIM), b * jnp.eye(DIM), norm=True)
        slope = jax.grad(lambda model: objective(model, batch)[0])(start)
        return slope.a, slope.b

    both = [np.asarray(g) for g in jax.jit(lambda d: jax.lax.map(one, d, batch_size=500))(data)]
    found = []
    for sector in OFF:
        parts = [projected(g, sector) for g in both]
        found.append(
            [[np.mean(np.sum(x * y, axis=(1, 2))) / sector.dimension for y in parts] for x in parts]
        )
    return np.array(found)


def response(setting: Setting, data: Batch) -> Response:
    """H and Sigma over GAMMAS."""
    population = (
        LayerwiseNorm(DEFAULT_MULTIPLICITIES)
        if setting.objective == "layerwise"
        else EndToEnd(DEFAULT_MULTIPLICITIES, setting.loops)
    )
    curvature, noise = [], []
    for gamma in GAMMAS:
        a = float(np.sqrt((1 + np.sqrt(1 + 4 * gamma**2)) / 2))
        modes = hessian(population, a=a, b=gamma / a)
        curvature.append([np.asarray(modes[sector.name].hessian) for sector in OFF])
        noise.append(gradient_noise(setting, data, a, gamma / a))
    return Response(np.array(curvature), np.array(noise))


def drawn(
    a: float, b: float, covariance: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A and B with normal deviations of these covariances per coordinate, (2, 2, 2)."""
    blocks = [a * np.eye(DIM), b * np.eye(DIM)]
    for sector, matrix in zip(OFF, covariance, strict=True):
        values, vectors = np.linalg.eigh(matrix)
        root = vectors * np.sqrt(values.clip(0))
        parts = projected(rng.standard_normal((2, DIM, DIM)), sector)
        blocks = [
            block + np.tensordot(row, parts, 1) for block, row in zip(blocks, root, strict=True)
        ]
    return blocks[0], blocks[1]


def predicted(setting: Setting, of: Response, points: Points) -> list[dict[str, object]]:
    """One row for each snapshot: gamma, and the plateau from noise, from finite samples and from
    both.
    """
    a, b, rng, rows = 1.0, 0.0, np.random.default_rng(0), []
    covariance, shift, slope = (
        np.zeros((2, 2, 2)),
        np.zeros((2, 2, 2)),
        slope_of(setting.objective, "planted", setting.loops),
    )

    def plateau(matrix: np.ndarray) -> str:
        medians = [
            np.nanmedian(limit_sines(*drawn(a, b, matrix, rng), points)) for _ in range(DRAWS)
        ]
        return f"{np.mean(medians):.4g}"

    for step in range(1, setting.steps + 1):
        rate = float(rate_at(setting.schedule, setting.rate, step - 1, setting.steps))
        curvature, noise = of.at(a * b)
        keep = np.eye(2) - rate * curvature
        covariance = keep @ covariance @ np.swapaxes(keep, 1, 2) + rate**2 * noise / setting.batch
        shift = keep @ shift - rate * np.linalg.cholesky(noise)
        k = -rate / DIM * slope(a * b)
        a, b = a + k * b, b + k * a
        if step in STEPS:
            finite = (
                shift @ np.swapaxes(shift, 1, 2) / setting.samples
                if setting.samples
                else 0 * covariance
            )
            rows.append(
                {
                    "setting": setting.name,
                    "step": step,
                    "gamma": f"{a * b:.4g}",
                    "noise": plateau(covariance),
                    "finite_samples": plateau(finite) if setting.samples else "0",
                    "both": plateau(covariance + finite),
                }
            )
    return rows


def settings() -> list[Setting]:
    """Those of the grid, Task 2, that differ in rate, batch, samples and objective."""
    found = []
    for objective, loops in (("end-to-end", 10), ("layerwise", 1)):
        base = Setting(objective=objective, loops=loops)
        found += [replace(base, rate=rate) for rate in (0.1, 0.03, 0.01)]
        found += [replace(base, samples=100_000), replace(base, batch=512, steps=38_000)]
        found += [replace(base, samples=0, steps=10_000)]
    return [*found, Setting(samples=0, steps=10_000, rate=0.01)]


def main() -> int:
    """Write the CSV anew."""
    jax.config.update("jax_enable_x64", True)
    task = Setting().config().distribution()
    data = problems.draw(task, jax.random.key(7), SAMPLES)
    data = data._replace(columns=data.columns[:, :, :0])
    test = problems.draw(task, jax.random.key(8), HELD_OUT)
    points = points_of(np.asarray(test.gram), np.asarray(test.query))
    kinds = (Setting(), Setting(objective="layerwise", loops=1))
    of = {kind.objective: response(kind, data) for kind in kinds}
    rows = [
        row for setting in settings() for row in predicted(setting, of[setting.objective], points)
    ]
    with CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
