"""Bounds of the lemmas of arXiv 2606.00605 on losses, slopes, gamma* and ||Sq||: closed forms
and exact integrals.
"""

import numpy as np
from scipy.special import beta

from eigenloop.numerics.power import normalize
from eigenloop.theory.integrals import Estimate, log_expectation, log_sum


def tail_exponent(dim: int, samples: int) -> float:
    """alpha in P(lambda_d < x) ~ x^alpha, x -> 0, for n columns uniform on the sphere: (n - d +
    1)/2.

    lambda_d's density goes like x^{(n-d-1)/2}, so E[1/lambda_d], (A3) of Assumption 3.2, is finite
    exactly when alpha > 1, n >= d + 2.
    """
    return (samples - dim + 1) / 2


def slope_bound(values: np.ndarray, *, loops: int) -> np.ndarray:
    """(L/2)(1/lambda_d - 1/lambda_1): what gamma^2 |d/d gamma| of one sample's end-to-end loss
    stays below (Lemma A.4).

    Args:
        values: eigenvalues of S, descending and positive, (..., d).
        loops: L.

    Returns:
        (...,).
    """
    return loops / 2 * (1 / values[..., -1] - 1 / values[..., 0])


def loss_bound(gram: np.ndarray, query: np.ndarray, gammas: np.ndarray) -> np.ndarray:
    """What one sample's loss stays below in one layer with LN: twice sin^2 of the angle's bound
    (Lemma C.6).

        2 G/(gamma^2 ||Sq||^4),    G = ||q||^2 ||Sq||^2 - (q.Sq)^2

    Args:
        gram: S, (b, d, d).
        query: q, (b, d).
        gammas: gamma = ab > 0, (K,).

    Returns:
        (K, b).
    """
    image = np.einsum("bij,bj->bi", gram, query)
    along = np.einsum("bi,bi->b", normalize(image), query)
    rest = query - along[:, None] * normalize(image)
    return 2 * (rest**2).sum(1) / (image**2).sum(1) / gammas[:, None] ** 2


def norm_bounds(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n/d, (tr(S^2)/d)^{1/2} and n/d^{1/2}, between which E||Sq|| lies (Lemma F.2).

    Args:
        rows: spectra of S, (B, d); n = tr S.

    Returns:
        (B,) each.
    """
    n, dim = rows.sum(1), rows.shape[1]
    return n / dim, np.sqrt((rows**2).mean(1)), n / np.sqrt(dim)


def optimum_bounds(n: np.ndarray, dim: int, *, target: str) -> tuple[np.ndarray, np.ndarray]:
    """What n and d alone say of gamma* (Remark F.3).

    0 to (d/n)(d^{1/2} - 1) for the normalised target, 1 - d/n to 1 - 1/n for the unnormalised one.

    Args:
        n: columns, (B,).
        dim: d.
        target: "normalized" or "unnormalized".

    Returns:
        (lower, upper), (B,) each.
    """
    if target == "normalized":
        return np.zeros_like(n, dtype=float), dim / n * (np.sqrt(dim) - 1)
    return 1 - dim / n, 1 - 1 / n


def inverse_square_constant(dim: int) -> float:
    """The least C_d of Lemma F.4: pi / B(1/2, (d-1)/2) = pi^{1/2} Gamma(d/2) / Gamma((d-1)/2).

    With x = c_1^2 ~ Beta(1/2, (d-1)/2), u = x/(1-x) and e = lambda_d/lambda_1,

        lambda_1 lambda_d E[1/||Sq||^2] <= e E[1/(x + e^2 (1-x))] = e/B int_0^inf u^{-1/2}
                                         (1+u)^{-(d-2)/2} / (u + e^2) du <= pi/B.

    Example:
        >>> round(inverse_square_constant(2), 12), round(inverse_square_constant(3), 12)
        (1.0, 1.570796326795)
    """
    return float(np.pi / beta(0.5, (dim - 1) / 2))


def inverse_square(rows: np.ndarray) -> Estimate:
    """E[1/||Sq||^2] = int_0^inf P(t) sum_i u_i dt with weights lambda_i^2, all positive (Lemma
    F.4).

    Args:
        rows: spectra of full rank, descending, (B, d).

    Returns:
        (B,).
    """
    top = rows[:, :1]
    log_weights = 2 * np.log(rows / top)
    found = log_expectation(
        lambda nodes: log_sum(nodes.log_v - log_weights[:, None, :]), log_weights, p=1.0
    )
    return Estimate(np.exp(found.value) / top[:, 0] ** 2, found.error)
