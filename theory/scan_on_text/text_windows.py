r"""Windows of a text, as the layer without positional encoding sees them: counts, query and next word.

A window is x_1 .. x_T and the next word x_(T+1). The query is x_T, its keys are x_1 .. x_(T-1) (the query's own place
is masked). Only the counts c_l of the words among the keys enter, and with them the shares f = c/|c|_2.

    Windows           counts, queries and next words of finitely many windows, exact or in float64
    local             the words of each window alone, with places for all windows alike: small arrays
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np

from ..algebra.evaluation import Array


@dataclass(frozen=True)
class Windows:
    """words (S, d): the different words among the keys of a window, filled up with 0; shares f (S, d), 0 there.

    queries, following (S,), keys (S,): T - 1 of each window; vocabulary M.
    Shares are Fractions where every |c| is a whole number and exact ones are asked for, else floats.
    """

    words: Array
    counts: Array
    shares: Array
    queries: Array
    following: Array
    vocabulary: int

    def __len__(self) -> int:
        return len(self.words)

    @property
    def exact(self) -> bool:
        return bool(self.shares.dtype.kind == "O")

    @property
    def keys(self) -> Array:
        """T - 1 of each window, (S,)."""
        found: Array = self.counts.sum(1)
        return found

    def zeros(self, *shape: int) -> Array:
        """Zeros of the kind of the shares."""
        return np.full(shape, Fraction(0), dtype=object) if self.exact else np.zeros(shape)

    def one(self) -> Any:
        """1 as a Fraction or a float: numbers times it are of that kind."""
        return Fraction(1) if self.exact else 1.0

    def over_windows(self, totals: Array) -> Array:
        """Totals over the windows as means."""
        found: Array = totals / (self.one() * len(self))
        return found

    def shares_before(self) -> Array:
        """P(n) b_n, (M, M): row n holds the mean over all windows of f where n follows, 0 for the others."""
        found = self.zeros(self.vocabulary, self.vocabulary)
        np.add.at(found, (self.following[:, None], self.words), self.shares)
        return self.over_windows(found)

    def chances(self) -> Array:
        """P(n), (M,): how often each word follows."""
        found = self.zeros(self.vocabulary)
        np.add.at(found, self.following, self.one())
        return self.over_windows(found)

    def query_chances(self) -> Array:
        """p_m, (M,)."""
        found = self.zeros(self.vocabulary)
        np.add.at(found, self.queries, self.one())
        return self.over_windows(found)


def windows_of(tokens: Sequence[Sequence[int]], vocabulary: int, *, exact: bool = False) -> Windows:
    """Windows x_1 .. x_(T+1), one a row, of words 0 .. M - 1; rows may differ in length."""
    counted = [Counter(row[:-2]) for row in tokens]
    ends = [(row[-2], row[-1]) for row in tokens]
    return counted_windows(counted, ends, vocabulary, exact=exact)


def counted_windows(
    counted: Sequence[Mapping[int, int]], ends: Sequence[tuple[int, int]], vocabulary: int, *, exact: bool
) -> Windows:
    """From the counts of the words of each window and (query, next word)."""
    width = max(len(one) for one in counted)
    words, counts = (np.zeros((len(counted), width), dtype=np.int64) for _ in range(2))
    for row, one in enumerate(counted):
        words[row, : len(one)], counts[row, : len(one)] = list(one), list(one.values())
    squares = (counts**2).sum(1)
    if exact:
        shares = np.array(
            [[Fraction(int(c), root(int(n))) for c in row] for row, n in zip(counts, squares, strict=True)]
        )
    else:
        shares = counts / np.sqrt(squares)[:, None]
    queries, following = (np.array(column, dtype=np.int64) for column in zip(*ends, strict=True))
    return Windows(words, counts, shares, queries, following, vocabulary)


def root(square: int) -> int:
    """The root of a square number. Raises ValueError for others: then the shares are not rational."""
    found = isqrt(square)
    if found * found != square:
        raise ValueError(f"need counts whose squares add up to a square number, got {square}")
    return found
