"""Where the loops of a trained model end, and how far its error curve is from the power method's
(NumPy, float64).

    q_k = N((I + A S B) q_{k-1})  ->  v, the dominant eigenvector of I + A S B,
        plateau = sin(angle(v, u_1))

The plateau is 0 for every S where A and B are multiples of I, and only there; training on batches
leaves them beside those. To first order in the relative deviations x = (A - aI)/a and y = (B -
bI)/b it does not depend on gamma = ab:

    plateau^2 = sum_{i>1} ((lambda_1 x_i1 + lambda_i y_i1) / (lambda_1 - lambda_i))^2,
        x_i1 = u_i . x u_1.

Source: arXiv 2606.00605, Figs. 5 and 8 and Appendix G; the plateau is ours.
"""

import numpy as np
from jaxtyping import Float

from eigenloop.figures.points import Points
from eigenloop.numerics.power import normalize
from eigenloop.numerics.spectrum import Numbers, random_orthogonal

DOUBLINGS = 12
"""The loop is squared so many times: 4,096 loops."""
SETTLED = 1e-8
"""Relative residual of an eigenvector under which the loops have ended; above it the eigenvalues
decide.
"""


def limit_sines(
    a: Float[np.ndarray, "d d"], b: Float[np.ndarray, "d d"], points: Points
) -> Float[np.ndarray, " b"]:
    """Sine of the angle between the limit of the loops and u_1; NaN where they turn for ever and
    have no limit.

    Args:
        a: A = V_21 of the trained model.
        b: B = W_12.
        points: pairs (S, q).

    Returns:
        float64 (b,). NaN where I + A S B has a complex dominant pair.

    Example:
        >>> s = np.diag([2.0, 1.0])[None]
        >>> point = Points(s, np.array([[0.6, 0.8]]), np.array([[2.0, 1.0]]), np.eye(2)[None])
        >>> tilted = np.array([[1.0, 0.0], [0.1, 1.0]])
        >>> float(limit_sines(tilted, np.eye(2), point)[0].round(4))
        0.1961
    """
    loop = np.eye(len(a)) + a @ points.gram @ b
    power = loop
    for _ in range(DOUBLINGS):
        power = power / np.linalg.norm(power, axis=(1, 2), keepdims=True)
        power = power @ power
    limit = normalize((power @ points.query[..., None])[..., 0])
    image = (loop @ limit[..., None])[..., 0]
    along = np.sum(limit * image, axis=1, keepdims=True)
    off = np.linalg.norm(image - along * limit, axis=1) / np.linalg.norm(image, axis=1)
    loops = np.broadcast_to(loop, (len(limit), *loop.shape[1:]))
    for row in np.flatnonzero(~(off < SETTLED)):
        limit[row] = _dominant(loops[row])
    basis = np.broadcast_to(points.eigenvectors[..., 0], limit.shape)
    return np.linalg.norm(limit - np.sum(limit * basis, axis=1, keepdims=True) * basis, axis=1)


def _dominant(loop: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eig(loop)
    top = int(np.argmax(abs(values)))
    return np.real(vectors[:, top]) if np.imag(values[top]) == 0 else np.full(len(loop), np.nan)


def first_order_sines(
    a: Float[np.ndarray, "d d"], b: Float[np.ndarray, "d d"], points: Points
) -> np.ndarray:
    """The plateau to first order in the relative deviations of A and B from multiples of I; (b,).

    Example:
        >>> s = np.diag([2.0, 1.0])[None]
        >>> point = Points(s, np.array([[0.6, 0.8]]), np.array([[2.0, 1.0]]), np.eye(2)[None])
        >>> float(
        ...     first_order_sines(np.array([[1.0, 0.0], [0.1, 1.0]]), np.eye(2), point)[0].round(4)
        ... )
        0.2
    """
    values, vectors = points.eigenvalues, points.eigenvectors
    x, y = (matrix / (np.trace(matrix) / len(matrix)) for matrix in (a, b))
    top, rest = vectors[..., :1], vectors[..., 1:]
    along_x, along_y = ((np.swapaxes(rest, 1, 2) @ matrix @ top)[..., 0] for matrix in (x, y))
    parts = (values[:, :1] * along_x + values[:, 1:] * along_y) / (values[:, :1] - values[:, 1:])
    return np.broadcast_to(np.linalg.norm(parts, axis=1), len(points.query))


def curve_distances(
    sines: Float[np.ndarray, "K b"], reference: Float[np.ndarray, "K b"], *, loops: int
) -> Float[np.ndarray, " b"]:
    """Mean vertical distance of two error curves on a semi-logarithmic plot, loops 1 to K, in
    decades.

        D_K = (1/K) sum_{k=1..K} |log10 sin(phi_k) - log10 sin(phi_k^reference)|

    Args:
        sines: sin(phi_k) for k = 0, 1, ..., one column for each start.
        reference: the same of the power method.
        loops: K, at most the number of rows less one.

    Example:
        >>> curve_distances(
        ...     np.array([[1.0], [0.1], [0.1]]), np.array([[1.0], [0.1], [0.01]]), loops=2
        ... )
        array([0.5])
    """
    rows = slice(1, loops + 1)
    return np.mean(abs(np.log10(sines[rows]) - np.log10(reference[rows])), axis=0)


def deviation(matrix: Float[np.ndarray, "d d"]) -> float:
    """||M - mI||_F / ||mI||_F with m = tr(M)/d: how far a block is from a multiple of I.

    Example:
        >>> round(deviation(np.array([[1.0, 0.1], [0.0, 1.0]])), 4)
        0.0707
    """
    mean = np.trace(matrix) / len(matrix)
    return float(
        np.linalg.norm(matrix - mean * np.eye(len(matrix))) / (abs(mean) * np.sqrt(len(matrix)))
    )


def scalar_part(matrix: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """The multiple of I that is nearest to a block, (tr(M)/d) I: what the theorems train.

    Example:
        >>> scalar_part(np.array([[1.0, 5.0], [0.0, 3.0]]))
        array([[2., 0.],
               [0., 2.]])
    """
    return np.trace(matrix) / len(matrix) * np.eye(len(matrix))


def turned_points(eigenvalues: Numbers, *, count: int, seed: int) -> Points:
    """Pairs (S, q) of one spectrum, each S in a Haar rotation of its own.

    Where the eigenvalues sum to n they are those of some X with n unit columns (Schur and Horn), so
    Assumption 4.4 of arXiv 2606.00605 holds: with a spectrum that was not trained on they are out
    of distribution.

    Example:
        >>> turned_points([3.0, 1.0], count=2, seed=0).eigenvalues.round(12)
        array([[3., 1.],
               [3., 1.]])
    """
    rng, values = np.random.default_rng(seed), np.asarray(eigenvalues, np.float64)
    turns = np.stack([random_orthogonal(rng, len(values)) for _ in range(count)])
    gram = turns * values @ np.swapaxes(turns, 1, 2)
    return points_of(
        (gram + np.swapaxes(gram, 1, 2)) / 2, rng.standard_normal((count, len(values)))
    )


def points_of(gram: Float[np.ndarray, "b d d"], query: Float[np.ndarray, "b d"]) -> Points:
    """Pairs (S, q) with the eigenvalues and eigenvectors of S, in float64.

    Example:
        >>> points_of(np.diag([1.0, 2.0])[None], np.array([[3.0, 4.0]])).query
        array([[0.6, 0.8]])
    """
    gram = np.asarray(gram, np.float64)
    values, vectors = np.linalg.eigh(gram)
    return Points(
        gram, normalize(np.asarray(query, np.float64)), values[:, ::-1], vectors[:, :, ::-1]
    )
