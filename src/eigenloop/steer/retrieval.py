"""Similarity and retrieval on a set of texts under an edit: tables of cosines compared (NumPy).

    change   of a query: mean over sentences of |cos' - cos|
    shift    of a query: mean over sentences of cos' - cos, the part that all have in common
    order    of a query: Spearman's rho of its similarities to the sentences, before and after
    rank     of the right sentence: 1 + the number of others that are at least as similar

A retrieval hits where the rank is 1. A tie counts against the right sentence, so that a model to
which all texts are one finds nothing.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from math import comb

import numpy as np
from jaxtyping import Float, Int

from eigenloop.numerics.statistics import bootstrap_interval

TEXTS = "sentences.csv"
"""The packaged queries and sentences."""

LEVEL = 0.05
"""Of a test."""


@dataclass(frozen=True)
class Library:
    """Queries, and the sentences that they look for.

    Args:
        queries: what is asked.
        sentences: what is searched, one right one for each query and others.
        right: for each query the index of its sentence.
        topics: for each query what it is about.
    """

    queries: tuple[str, ...]
    sentences: tuple[str, ...]
    right: tuple[int, ...]
    topics: tuple[str, ...]


@cache
def packaged() -> Library:
    """The packaged set: 24 queries of six topics, their sentences and 24 others on these topics.

    Example:
        >>> library = packaged()
        >>> len(library.queries), len(library.sentences), library.queries[0]
        (24, 48, 'How do I keep pasta from sticking together?')
    """
    file = resources.files("eigenloop.data") / TEXTS
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    asked = [index for index, row in enumerate(rows) if row["query"]]
    return Library(
        queries=tuple(rows[index]["query"] for index in asked),
        sentences=tuple(row["sentence"] for row in rows),
        right=tuple(asked),
        topics=tuple(rows[index]["topic"] for index in asked),
    )


def ranks(cosines: Float[np.ndarray, "q s"], right: Int[np.ndarray, " q"]) -> np.ndarray:
    """1 + the number of other sentences at least as similar to a query as its right one, (q,).

    Args:
        cosines: of each query with each sentence.
        right: for each query the index of its sentence.

    Example:
        >>> ranks(np.array([[0.9, 0.5, 0.1], [0.3, 0.3, 0.1]]), np.array([0, 1]))
        array([1, 2])
    """
    own = np.take_along_axis(cosines, right[:, None], axis=1)
    return np.sum(cosines >= own, axis=1)  # its own is among them


def order(before: Float[np.ndarray, "q s"], after: Float[np.ndarray, "q s"]) -> np.ndarray:
    """Spearman's rho between the rows of two tables, (q,); 0 where a row is constant.

    Example:
        >>> order(np.array([[1.0, 2.0, 3.0]]), np.array([[0.1, 0.5, 0.6]])).round(12)
        array([1.])
    """
    from scipy.stats import rankdata

    first, second = (rankdata(table, axis=1) for table in (before, after))
    first, second = (table - table.mean(1, keepdims=True) for table in (first, second))
    length = np.sqrt(np.sum(first**2, axis=1) * np.sum(second**2, axis=1))
    return np.sum(first * second, axis=1) / np.where(length > 0, length, 1.0)


def pair_changes(before: Float[np.ndarray, "n n"], after: Float[np.ndarray, "n n"]) -> np.ndarray:
    """For each of n texts the mean over the others of |cos' - cos|, (n,).

    Their mean is that of all pairs.

    Args:
        before: cosine of each text with each.
        after: the same later; the diagonals do not count.

    Example:
        >>> pair_changes(np.eye(3), np.array([[1.0, 0.2, 0.0], [0.2, 1.0, 0.0], [0.0, 0.0, 1.0]]))
        array([0.1, 0.1, 0. ])
    """
    change = np.abs(after - before)
    np.fill_diagonal(change, 0.0)
    return change.sum(1) / (len(change) - 1)


def pseudo_values(changes: Float[np.ndarray, " n"]) -> np.ndarray:
    """What each text adds to the mean over pairs, independent but for terms of order 1/n, (n,).

        n U - (n - 1) U_(i)  =  U + 2 (n - 1)/(n - 2) (a_i - U),    a_i = changes, U = their mean

    with U_(i) the mean over pairs without text i. Each pair is in two of the a_i, so that their own
    scatter would give the standard error of U at half its size. Source: the jackknife of a
    U-statistic (Arvesen, doi 10.1214/aoms/1177697287).

    Args:
        changes: of `pair_changes`, n above 2.
    """
    count, mean = len(changes), changes.mean()
    return mean + 2 * (count - 1) / (count - 2) * (changes - mean)


def sign_test(lost: int, gained: int) -> float:
    """Two-sided exact p that as many are lost as gained, whatever stays: McNemar's test.

        p = min(1, 2 P(X <= min(lost, gained))),    X ~ Binomial(lost + gained, 1/2)

    Source: McNemar, doi 10.1007/BF02295996.

    Example:
        >>> sign_test(6, 0), sign_test(1, 1)
        (0.03125, 1.0)
    """
    total = lost + gained
    tail = sum(comb(total, k) for k in range(min(lost, gained) + 1)) / 2**total
    return min(1.0, 2 * tail)


def by_chance(hits: int, queries: int, sentences: int) -> float:
    """P(at least so many hits) where each query takes a sentence at random: a binomial tail.

    Example:
        >>> round(by_chance(3, 24, 48), 4), round(by_chance(0, 24, 48), 9)
        (0.0132, 1.0)
    """
    p = 1 / sentences
    return min(
        1.0,
        sum(comb(queries, k) * p**k * (1 - p) ** (queries - k) for k in range(hits, queries + 1)),
    )


@dataclass(frozen=True, eq=False)
class Outcome:
    """A model's similarities beside the unsteered model's, query by query.

    Args:
        before: cosine of each query with each sentence, of the unsteered model.
        after: of the model in question.
        right: for each query the index of its sentence.
    """

    before: Float[np.ndarray, "q s"]
    after: Float[np.ndarray, "q s"]
    right: Int[np.ndarray, " q"]

    @cached_property
    def values(self) -> Mapping[str, np.ndarray]:
        """change, shift, order, rank and reciprocal rank, each (q,)."""
        rank = ranks(self.after, self.right)
        return {
            "change": np.mean(np.abs(self.after - self.before), axis=1),
            "shift": np.mean(self.after - self.before, axis=1),
            "order": order(self.before, self.after),
            "rank": rank.astype(np.float64),
            "reciprocal": 1.0 / rank,
        }

    def mean(self, kind: str) -> float:
        """Mean over queries."""
        return float(self.values[kind].mean())

    def interval(self, kind: str) -> tuple[float, float]:
        """95 % bootstrap interval of the mean over queries; the sentences stay in every sample."""
        return bootstrap_interval(self.values[kind], seed=0)

    @property
    def nearest(self) -> np.ndarray:
        """For each query the index of the most similar sentence, (q,)."""
        return np.argmax(self.after, axis=1)

    @property
    def hits(self) -> np.ndarray:
        """For each query whether its right sentence is the nearest one, (q,)."""
        return ranks(self.after, self.right) == 1

    @property
    def moved(self) -> int:
        """Queries with another nearest sentence than before."""
        return int(np.sum(self.nearest != np.argmax(self.before, axis=1)))

    @property
    def lost_and_gained(self) -> tuple[int, int]:
        """Queries that hit before and do not now, and the other way round."""
        was = ranks(self.before, self.right) == 1
        return int(np.sum(was & ~self.hits)), int(np.sum(self.hits & ~was))

    def summary(self) -> dict[str, float | int | list[float]]:
        """Counts, means and intervals as plain values."""
        lost, gained = self.lost_and_gained
        means = {kind: self.mean(kind) for kind in ("change", "shift", "order", "reciprocal")}
        intervals = {f"{kind}_interval": list(self.interval(kind)) for kind in means}
        return {
            "hits": int(self.hits.sum()),
            "lost": lost,
            "gained": gained,
            "p_lost": sign_test(lost, gained),
            "nearest_moved": self.moved,
            **means,
            **intervals,
        }


def comparison(
    outcomes: Mapping[str, Outcome | None],
) -> dict[str, Mapping[str, float | int | list[float]] | None]:
    """What `steer.json` says of each outcome, and of the edit beside activation addition.

    Args:
        outcomes: name -> outcome on the same texts; "before" and "edit" are among them, and
            "activation_addition", None where no strength of it has the edit's effect.

    Returns:
        name -> `Outcome.summary`; "change_difference" -> mean and interval, over queries, of the
        edit's change minus activation addition's.
    """
    result = {name: None if each is None else each.summary() for name, each in outcomes.items()}
    edit, added = outcomes["edit"], outcomes["activation_addition"]
    difference = None
    if edit is not None and added is not None:
        apart = edit.values["change"] - added.values["change"]
        low, high = bootstrap_interval(apart, seed=0)
        difference = {"mean": float(apart.mean()), "low": low, "high": high}
    return {**result, "change_difference": difference}


def neighbours(
    library: Library, outcomes: Mapping[str, Outcome | None]
) -> list[dict[str, str | None]]:
    """For each query its nearest sentence by name of the outcome, beside the right one.

    Args:
        library: what was searched.
        outcomes: as for `comparison`.
    """
    nearest = {name: each if each is None else each.nearest for name, each in outcomes.items()}
    return [
        {
            "query": query,
            "topic": library.topics[index],
            "right": library.sentences[library.right[index]],
            **{
                name: None if each is None else library.sentences[each[index]]
                for name, each in nearest.items()
            },
        }
        for index, query in enumerate(library.queries)
    ]


def fewest_told(level: float = LEVEL) -> int:
    """The fewest losses without a gain that the exact test tells from chance.

    Example:
        >>> fewest_told()
        6
    """
    return next(lost for lost in range(1, 64) if sign_test(lost, 0) < level)
