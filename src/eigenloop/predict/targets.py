"""What a table asks for: S of its treated rows, its exact eigenvalues and principal subspace."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.numerics.power import normalize
from eigenloop.numerics.spectrum import require_gap
from eigenloop.system.errors import InputError
from eigenloop.system.memory import require_memory

SCALED = "; each centred column divided by its standard deviation first"
BLOCK = 2**22
"""Entries of a sparse matrix that are written out at once."""


@dataclass(frozen=True)
class Target:
    """What a table asks for: S with its exact eigenvalues (descending) and principal subspace."""

    gram: Float[np.ndarray, "d d"]
    eigenvalues: Float[np.ndarray, " d"]
    basis: Float[np.ndarray, "d m"]
    samples: int
    center: bool
    normalized: bool
    scaled: bool = False
    length: float = 1.0
    """Square root of what S was divided by to have the trace n; 1 where rows are normalised."""
    zero_rows: tuple[int, ...] = ()
    """Rows that are zero (from 0) and weigh nothing."""

    @classmethod
    def from_rows(
        cls, rows: Any, *, center: bool = False, normalize: bool = True, scale: bool = False
    ) -> "Target":
        """S = X X^T of the rows, which become the columns of X here, once.

        A zero row weighs nothing.

        Args:
            rows: (n, d), finite, an array or a sparse matrix of SciPy, which is taken apart into
                blocks of rows.
            center: subtract the mean row first (the usual principal component).
            normalize: divide each row by its norm (the paper's unit columns); otherwise S <- S n /
                tr S.
            scale: subtract the mean row and divide each column by its standard deviation first; a
                constant column stays 0.

        Raises:
            InputError: nothing but zeros, all rows the same, or all eigenvalues equal.

        Example:
            >>> Target.from_rows(np.array([[3.0, 0.0], [5.0, 0.0], [0.0, 1.0]])).eigenvalues
            array([2., 1.])
        """
        n, d = rows.shape
        require_memory(
            6 * 8 * d * d,
            f"S = X X^T of {d} features, with its eigenvectors,",
            "give a table with fewer features",
        )
        treatment = Treatment.of(rows, center=center, normalize=normalize, scale=scale)
        gram, zero, begin = np.zeros((d, d)), [], 0
        for block in treatment.blocks(rows):
            gram += block.T @ block
            zero += [begin + int(i) for i in np.flatnonzero(~block.any(axis=1))]
            begin += len(block)
        if len(zero) == n:
            after = " once the mean is subtracted" if center or scale else ""
            raise InputError(f"all {n} rows are zero{after}; there is no direction to find")
        if n > 1 and _constant(rows):  # centred ones are refused above
            raise InputError(
                f"all {n} rows are the same, so that the only direction is that row: nothing to"
                " find"
            )
        length = 1.0
        if not normalize:
            length = float(np.sqrt(np.trace(gram) / n)) * treatment.peak
            gram *= n / np.trace(gram)
        values, vectors = np.linalg.eigh(gram)
        values, vectors = values[::-1].clip(0), vectors[:, ::-1]
        basis = vectors[:, : require_gap(values)]
        return cls(gram, values, basis, n, center or scale, normalize, scale, length, tuple(zero))


@dataclass(frozen=True)
class Treatment:
    """What is done to rows before they enter S: the mean taken away, columns scaled, rows
    normalised.

    Only directions matter, and squares must stay in range: rows are divided by the table's largest
    entry.
    """

    peak: float
    mean: Float[np.ndarray, " d"]
    """Of the rows divided by `peak`; zeros without centring."""
    deviation: Float[np.ndarray, " d"] | None
    normalize: bool
    rounding: float

    @classmethod
    def of(cls, rows: Any, *, center: bool, normalize: bool, scale: bool = False) -> "Treatment":
        """That of a table."""
        d = rows.shape[1]
        peak = float(np.abs(rows).max()) or 1.0
        mean, rounding = np.zeros(d), 0.0
        if center or scale:
            mean, rounding = _mean(rows, peak), rounding_of_mean(d)
        treatment = cls(peak, mean, None, normalize=False, rounding=rounding)
        if not scale:
            return replace(treatment, normalize=normalize)
        squares = sum(np.sum(block**2, axis=0) for block in treatment.blocks(rows))
        deviation = np.sqrt(np.asarray(squares) / rows.shape[0])
        deviation = np.where(deviation > rounding, deviation, np.inf)  # a constant column stays 0
        return replace(treatment, normalize=normalize, deviation=deviation)

    def blocks(self, rows: Any) -> Iterator[Float[np.ndarray, "b d"]]:
        """The treated rows; those of a sparse matrix in blocks of some 32 MB."""
        size = max(1, BLOCK // rows.shape[1]) if hasattr(rows, "toarray") else rows.shape[0]
        for begin in range(0, rows.shape[0], size):
            part = rows[begin : begin + size]
            block = np.asarray(
                part.toarray() if hasattr(part, "toarray") else part, dtype=np.float64
            )
            block = treated(block / self.peak - self.mean, rounding=self.rounding, unit=False)
            block = block if self.deviation is None else block / self.deviation
            yield treated(block, rounding=0.0, unit=True) if self.normalize else block


def _constant(rows: Any) -> bool:
    """Whether each column has one value only."""
    high, low = rows.max(axis=0), rows.min(axis=0)
    return (
        bool(np.all((high - low).toarray() == 0))
        if hasattr(rows, "toarray")
        else bool(np.all(high == low))
    )


def _mean(rows: Any, peak: float) -> Float[np.ndarray, " d"]:
    """Mean row of the rows divided by `peak`."""
    if hasattr(rows, "toarray"):
        return np.asarray((rows.astype(np.float64) / peak).mean(axis=0)).ravel()
    return (np.asarray(rows, dtype=np.float64) / peak).mean(axis=0)


def treated(
    rows: Float[np.ndarray, "n d"], *, rounding: float, unit: bool
) -> Float[np.ndarray, "n d"]:
    """Rows as they enter S: those whose entries are all within `rounding` of 0 become 0; divided by
    their norms or not.

    Example:
        >>> treated(np.array([[3.0, 4.0], [1e-17, 0.0]]), rounding=1e-15, unit=True)
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    sizes = np.abs(rows).max(axis=1, keepdims=True)
    kept = np.where(sizes > rounding, rows, 0.0)
    # so that no square underflows
    return normalize(kept / np.where(sizes > 0, sizes, 1.0)) if unit else kept


def rounding_of_mean(dim: int) -> float:
    """Entries of a row minus the mean that mean nothing, for tables whose largest entry is 1."""
    return float(8 * np.finfo(np.float64).eps * np.sqrt(dim))
