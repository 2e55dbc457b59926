"""Shares of tokens in subspaces, summed by passage while the tokens stream past (NumPy).

For an orthonormal basis Q (d x k) the share of a token is ||Q^T x||^2 / ||x||^2, whose square root
is the cosine of its angle to the subspace: |cos(x, v)| for a line. With u = x/||x|| and m the mean
of u over tokens, the centred share is

    (mean ||Q^T u||^2 - ||Q^T m||^2) / (1 - ||m||^2)

the part in Q of the tokens' spread about their mean direction. The sums that `LayerSums` keeps are
all that the statistics of a layer need: they grow with the number of passages, not of tokens.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Inexact, Int

CHUNK = 512
"""Tokens projected at a time."""

ALIKE = 1e-5
"""Of the tokens' spread 1 - ||m||^2: below it, rounding of float32 states would be more than a
tenth of the rest.
"""


@dataclass(frozen=True, eq=False)
class Subspaces:
    """Lines and planes of R^d.

    Args:
        first: a unit vector in each.
        second: a unit vector orthogonal to it that completes a plane; 0 for a line.
    """

    first: Float[np.ndarray, "d m"]
    second: Float[np.ndarray, "d m"]

    @property
    def dims(self) -> Int[np.ndarray, " m"]:
        """k of each: 1 or 2."""
        return 1 + np.any(self.second, axis=0).astype(int)

    def __len__(self) -> int:
        return self.first.shape[1]

    def shares(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n m"]:
        """||Q^T x||^2 / ||x||^2 of each token in each subspace, in the precision of x.

        Example:
            >>> spanned(np.array([[1.0, 1j]]).T).shares(np.array([[3.0, 4.0]]))
            array([[1.]])
        """
        return self.energies(unit(x))

    def energies(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n m"]:
        """||Q^T x||^2 of each vector in each subspace, in the precision of x."""
        result = (x @ self.first.astype(x.dtype)) ** 2
        planes = self.dims == 2
        if planes.any():
            result[:, planes] += (x @ self.second[:, planes].astype(x.dtype)) ** 2
        return result

    def lines(self) -> "Subspaces":
        """The lines of the first vectors."""
        return Subspaces(self.first, np.zeros_like(self.first))

    def coordinates(self) -> Float[np.ndarray, "d m"]:
        """diag(QQ^T): how much of each coordinate axis lies in each subspace; a column sums
        to k.
        """
        return self.first**2 + self.second**2

    def participation(self) -> Float[np.ndarray, " m"]:
        """k / sum_i (QQ^T)_ii^2: 1 where a subspace is spanned by coordinate axes, d/k where all
        have the same part.

        Example:
            >>> Subspaces(np.eye(4)[:, :2], np.zeros((4, 2))).participation()
            array([1., 1.])
        """
        return self.dims / np.sum(self.coordinates() ** 2, axis=0)

    def joined(self, *others: "Subspaces") -> "Subspaces":
        """These and others, in order."""
        parts = [self, *others]
        return Subspaces(np.hstack([p.first for p in parts]), np.hstack([p.second for p in parts]))


def unit(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """x / ||x||; a zero stays zero."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(x.dtype).tiny)


def spanned(vectors: Inexact[np.ndarray, "d m"]) -> Subspaces:
    """The real subspaces of complex columns: Q = qr([Re v, Im v]), or the line of a real v.

    Args:
        vectors: eigenvectors, one of each complex pair.

    Example:
        >>> spanned(np.array([[1.0, 1.0], [0.0, 1j]])).dims
        array([1, 2])
    """
    first, second = np.real(vectors).astype(np.float64), np.imag(vectors).astype(np.float64)
    first = first / np.linalg.norm(first, axis=0)
    size = np.linalg.norm(second, axis=0)
    for _ in range(2):  # the second time removes what rounding left
        second = second - first * np.sum(first * second, axis=0)
    left = np.linalg.norm(second, axis=0)
    plane = left > 1e-12 * np.maximum(size, 1.0)
    return Subspaces(first, np.where(plane, second / np.where(plane, left, 1.0), 0.0))


def random_planes(rng: np.random.Generator, dim: int, count: int) -> Subspaces:
    """Planes uniform over all planes through the origin; their first vectors are uniform
    directions.

    Args:
        rng: source.
        dim: d, at least 2.
        count: how many.
    """
    return spanned(rng.standard_normal((dim, count)) + 1j * rng.standard_normal((dim, count)))


@dataclass(eq=False)
class LayerSums:
    """What is kept of the tokens at one layer, before and after its attention sublayer.

    Args:
        passages: S.
        named: subspaces whose shares and cosines are summed by passage (the leader, heads, other
            layers).
        own: subspaces whose shares are summed by passage (the layer's eigenvectors).
        random: planes whose shares are summed over all passages, as lines and as planes.
    """

    passages: int
    named: Subspaces
    own: Subspaces | None
    random: Subspaces | None
    tokens: np.ndarray = field(init=False)
    inverse_sigma: float = 0.0
    means: np.ndarray = field(init=False)
    units: np.ndarray = field(init=False)
    named_shares: np.ndarray = field(init=False)
    named_cosines: np.ndarray = field(init=False)
    own_shares: np.ndarray = field(init=False)
    random_shares: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Start at zero; the first axis of the sums is before, after."""
        dim, count = self.named.first.shape
        self.tokens = np.zeros(self.passages)
        self.means = np.zeros((2, self.passages, dim))
        self.units = np.zeros((2, self.passages, dim))
        self.named_shares = np.zeros((2, self.passages, count))
        self.named_cosines = np.zeros((2, self.passages, count))
        self.own_shares = np.zeros((2, self.passages, len(self.own) if self.own else 0))
        self.random_shares = np.zeros((2, 2, len(self.random) if self.random else 0))

    def add(
        self,
        before: Float[np.ndarray, "n d"],
        after: Float[np.ndarray, "n d"],
        passage: Int[np.ndarray, " n"],
        sigma: Float[np.ndarray, " n"],
    ) -> None:
        """Add tokens.

        Args:
            before: x.
            after: x + o.
            passage: the passage of each.
            sigma: the scale that the normalisation before the attention divides by, or 1.
        """
        np.add.at(self.tokens, passage, 1.0)
        self.inverse_sigma += float(np.sum(1.0 / sigma.astype(np.float64)))
        for side, x in enumerate((before, after)):
            for start in range(0, len(x), CHUNK):
                part, rows = x[start : start + CHUNK], passage[start : start + CHUNK]
                _add(self.means[side], rows, part)
                part = unit(part)
                _add(self.units[side], rows, part)
                shares = self.named.energies(part)
                _add(self.named_shares[side], rows, shares)
                _add(self.named_cosines[side], rows, np.sqrt(shares))
                if self.own is not None:
                    _add(self.own_shares[side], rows, self.own.energies(part))
                if self.random is not None:
                    lines = self.random.lines().energies(part).sum(0)
                    second = (
                        Subspaces(self.random.second, np.zeros_like(self.random.second))
                        .energies(part)
                        .sum(0)
                    )
                    self.random_shares[side] += [lines, lines + second]

    def passage_means(self) -> Float[np.ndarray, "2 S d"]:
        """The mean token of every passage, before and after."""
        return self.means / self.tokens[:, None]

    def mean_unit(self, side: int, weights: Float[np.ndarray, "b S"]) -> Float[np.ndarray, "b d"]:
        """m, the mean of x/||x||, for each row of passage weights.

        Args:
            side: 0 before, 1 after.
            weights: how often each passage counts.
        """
        return weights @ self.units[side] / (weights @ self.tokens)[:, None]

    @property
    def sigma(self) -> float:
        """The harmonic mean of the tokens' scales, because a token enters the attention as x /
        sigma.
        """
        return float(self.tokens.sum() / self.inverse_sigma)


def centred(
    shares: Float[np.ndarray, "b m"], subspaces: Subspaces, mean: Float[np.ndarray, "b d"]
) -> Float[np.ndarray, "b m"]:
    """(share - ||Q^T m||^2) / (1 - ||m||^2), the share with the mean direction taken out; NaN where
    tokens are alike.

    Args:
        shares: mean of ||Q^T u||^2 over tokens, of every subspace.
        subspaces: these.
        mean: m, the mean of u.

    Example:
        >>> u = np.array([[0.6, 0.8], [0.6, -0.8]])  # they differ in the second coordinate alone
        >>> axes = Subspaces(np.eye(2), np.zeros((2, 2)))
        >>> centred(axes.shares(u).mean(0)[None], axes, u.mean(0)[None]).round(12)
        array([[0., 1.]])
    """
    spread = 1 - np.sum(mean**2, axis=1, keepdims=True)
    return np.where(
        spread > ALIKE, (shares - subspaces.energies(mean)) / np.maximum(spread, ALIKE), np.nan
    )


def _add(sums: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """Add rows of values to the rows of sums that they belong to; neighbours of one passage are
    added first.
    """
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    np.add.at(sums, rows[starts], np.add.reduceat(values, starts, axis=0, dtype=np.float64))
