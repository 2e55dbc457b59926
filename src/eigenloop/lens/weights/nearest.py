"""The tokens of an embedding that are nearest to a line or a plane, and how near a random direction
comes (NumPy).

With r_t the row of a token, tokens are ranked by

    cos(r_t, v) = r_t . v / (||r_t|| ||v||)    a real mode, both signs
    ||Q^T r_t|| / ||r_t||                      a complex pair, Q an orthonormal basis of its plane

Beside them stands what a random direction reaches: for |V| independent rows the largest |cos| is
below c with probability I_{c^2}(k/2, (d - k)/2)^|V|. Rows that resemble one another reach less
(Sidak's inequality), so that the p-value is too large rather than too small. Worked out here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.special import betainc, betaincinv

from eigenloop.lens.model.embeddings import Embedding
from eigenloop.system.errors import InputError

LEVEL = 0.05
"""A list means something where a random direction would reach its largest cosine less often than
this.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Neighbours:
    """The tokens of an embedding that are nearest to a line or a plane.

    Args:
        tokens: ids by falling cosine.
        cosines: of these, signed for a line.
        opposite: ids by rising (negative) cosine, for a line; empty for a plane.
        opposite_cosines: of these.
        largest: largest |cos| over the vocabulary.
        mean: mean cosine over the vocabulary: of a line signed, how far all tokens lean to one side
            of it.
        size: tokens whose row is not zero; only these are ranked.
    """

    tokens: Int[np.ndarray, " top"]
    cosines: Float[np.ndarray, " top"]
    opposite: Int[np.ndarray, " low"]
    opposite_cosines: Float[np.ndarray, " low"]
    largest: float
    mean: float
    size: int


def nearest(
    embedding: Embedding, planes: Sequence[Float[np.ndarray, "d _"]], *, top: int
) -> list[Neighbours]:
    """The nearest tokens of several lines and planes, in one pass over the embedding.

    Args:
        embedding: whose rows.
        planes: orthonormal columns, one for a line, two for a plane.
        top: how many tokens.

    Returns:
        One for each plane.

    Raises:
        InputError: top is below 1, or a tensor cannot be read.
    """
    if top < 1:
        raise InputError(f"top is {top}; at least 1 token must be asked for")
    starts = np.cumsum([0, *(plane.shape[1] for plane in planes)])
    columns = np.concatenate([np.asarray(plane, np.float64) for plane in planes], axis=1)
    best = [(np.empty(0, int), np.empty(0)) for _ in planes]
    worst = list(best)
    total, size = np.zeros(len(planes)), 0
    for first, rows in embedding.blocks():
        lengths = np.linalg.norm(rows, axis=1)
        there = np.flatnonzero(lengths)
        products = (rows @ columns)[there] / lengths[there, None]
        size += len(there)
        for i, (begin, end) in enumerate(pairwise(starts)):
            cosines = (
                products[:, begin]
                if end - begin == 1
                else np.linalg.norm(products[:, begin:end], axis=1)
            )
            total[i] += cosines.sum()
            best[i] = _first(best[i], first + there, cosines, top, falling=True)
            if end - begin == 1:
                worst[i] = _first(worst[i], first + there, cosines, top, falling=False)
    if not size:
        raise InputError(f"{embedding.name} holds nothing but zeros; the checkpoint is damaged")
    return [
        Neighbours(
            tokens=high[0],
            cosines=high[1],
            opposite=low[0],
            opposite_cosines=low[1],
            largest=float(max(abs(high[1][0]), abs(low[1][0]) if len(low[1]) else 0.0)),
            mean=float(mean / size),
            size=size,
        )
        for high, low, mean in zip(best, worst, total, strict=True)
    ]


def _first(
    held: tuple[np.ndarray, np.ndarray],
    tokens: np.ndarray,
    cosines: np.ndarray,
    top: int,
    *,
    falling: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The first `top` of what is held and a block, ties by id."""
    keys = -cosines if falling else cosines
    if len(keys) > top:
        kept = np.argpartition(keys, top - 1)[:top]
        tokens, cosines = tokens[kept], cosines[kept]
    tokens, cosines = np.concatenate([held[0], tokens]), np.concatenate([held[1], cosines])
    order = np.lexsort((tokens, -cosines if falling else cosines))[:top]
    return tokens[order], cosines[order]


def p_largest(cosine: float, *, dim: int, size: int, rank: int = 1) -> float:
    """Probability that a random line or plane has a |cos| of at least this with one of |V|
    independent directions.

    1 - I_{c^2}(k/2, (d - k)/2)^|V|

    Args:
        cosine: c.
        dim: d.
        size: |V|.
        rank: k, 1 for a line, 2 for a plane.

    Example:
        >>> round(p_largest(0.5, dim=2, size=1), 12)  # 60 degrees or less, of 90
        0.666666666667
    """
    tail = betainc((dim - rank) / 2, rank / 2, max(1 - cosine**2, 0.0))
    return float(-np.expm1(size * np.log1p(-tail))) if tail < 1 else 1.0


def chance_cosine(*, dim: int, size: int, rank: int = 1, level: float = LEVEL) -> float:
    """The largest |cos| that a random line or plane exceeds with probability `level`: `p_largest`
    solved for c.

    Example:
        >>> c = chance_cosine(dim=768, size=50_000)
        >>> round(c, 3), round(p_largest(c, dim=768, size=50_000), 6)
        (0.175, 0.05)
    """
    tail = -np.expm1(np.log1p(-level) / size)
    return float(np.sqrt(1 - betaincinv((dim - rank) / 2, rank / 2, tail)))
