"""Sequence classes: what a sequence of tokens looks like, given the token that follows it [tian2023scan, sec. 3.2].

Class n of K: the next token is n, the query (last) token psi(n), the tokens before it are independent with law
P(l | n), over a vocabulary of M tokens. Class n is drawn with probability P(n). A token l is distinct if P(l | n) > 0
for one class only, and common if for several.

    SequenceClasses       the tables of one task
    one_common_token      K classes alike up to the names of their distinct tokens, with one token common to all
    syn_small             the paper's Syn-Small: K = 2, M = 30
    syn_medium            a task after the paper's Syn-Medium: several queries, two next tokens each
    random_classes        tables drawn from a stream named by a key
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..training.random_streams import stream

Array = NDArray[np.float64]
SUM_ERROR = 1e-12  # what rounding leaves of a sum of at most some thousand probabilities


@dataclass(frozen=True, eq=False)
class SequenceClasses:
    """P(l | n), (K, M); psi(n), (K,); P(n), (K,). Next token n is token n, so M >= K."""

    contexts: Array
    queries: NDArray[np.int64]
    probabilities: Array

    def __post_init__(self) -> None:
        K, M = self.contexts.shape
        if K < 1 or K > M:
            raise ValueError(f"need 1 <= K <= M, got K = {K} classes and M = {M} tokens; next token n is token n")
        if self.queries.shape != (K,) or self.probabilities.shape != (K,):
            raise ValueError(
                f"need a query and a probability for each of the {K} classes, got shapes "
                f"{self.queries.shape} and {self.probabilities.shape}"
            )
        if self.queries.min() < 0 or self.queries.max() >= M:
            raise ValueError(f"queries are tokens 0..{M - 1}, got {self.queries.tolist()}")
        for name, table in (("P(l | n)", self.contexts), ("P(n)", self.probabilities[None])):
            if not (table >= 0).all() or not np.allclose(table.sum(-1), 1, rtol=0, atol=SUM_ERROR):
                raise ValueError(
                    f"{name} must be nonnegative with sum 1 in each row, got sums {table.sum(-1).tolist()}"
                )

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> SequenceClasses:
        """From {"contexts": K x M, "queries": K, "probabilities": K}; left out: one query, equal probabilities."""
        contexts = np.array(plain["contexts"], dtype=np.float64)
        K = len(contexts)
        return cls(
            contexts,
            np.array(plain.get("queries", [0] * K), dtype=np.int64),
            np.array(plain.get("probabilities", [1 / K] * K), dtype=np.float64),
        )

    def plain(self) -> dict[str, Any]:
        """The tables as lists."""
        return {
            "contexts": self.contexts.tolist(),
            "queries": self.queries.tolist(),
            "probabilities": self.probabilities.tolist(),
        }

    @property
    def classes(self) -> int:
        """K."""
        return len(self.contexts)

    @property
    def vocabulary(self) -> int:
        """M."""
        return int(self.contexts.shape[1])

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """For each class the row of its query among the queries in use, (K,)."""
        found: NDArray[np.int64] = np.unique(self.queries, return_inverse=True)[1].astype(np.int64)
        return found

    @property
    def query_count(self) -> int:
        """How many different queries there are."""
        return int(self.rows.max()) + 1

    @cached_property
    def occurrences(self) -> NDArray[np.int64]:
        """In how many classes each token occurs, (M,): 1 for distinct tokens, more for common ones."""
        found: NDArray[np.int64] = (self.contexts > 0).sum(0)
        return found

    def distinct_tokens(self, n: int) -> list[int]:
        """The tokens that occur in class n only."""
        return [int(token) for token in np.flatnonzero((self.contexts[n] > 0) & (self.occurrences == 1))]

    def common_tokens(self) -> list[int]:
        """The tokens that occur in several classes."""
        return [int(token) for token in np.flatnonzero(self.occurrences > 1)]


def one_common_token(
    classes: int, vocabulary: int, common: float, profile: Sequence[float], query: int = 0
) -> SequenceClasses:
    """K classes with one common token (token K, probability `common`) and the same profile on their own tokens.

    The distinct tokens of class n are K + 1 + n D .. K + n D + D for D = len(profile), with probabilities
    proportional to the profile.
    """
    D = len(profile)
    if vocabulary < classes + 1 + classes * D:
        raise ValueError(
            f"need {classes + 1 + classes * D} tokens for {classes} classes of {D} distinct tokens, got {vocabulary}"
        )
    contexts = np.zeros((classes, vocabulary))
    contexts[:, classes] = common
    share = (1 - common) * np.array(profile, dtype=np.float64) / sum(profile)
    for n in range(classes):
        contexts[n, classes + 1 + n * D :][:D] = share
    return SequenceClasses.from_plain({"contexts": contexts, "queries": [query] * classes})


def syn_small() -> SequenceClasses:
    """Syn-Small [tian2023scan, sec. 8]: tokens 0-9 shared, 10-19 and 20-29 distinct, their probability increasing.

    The paper gives no numbers; here the shared tokens have half of the probability, equally, and the distinct ones
    the other half in proportion to 1, 2, .., 10.
    """
    contexts = np.zeros((2, 30))
    contexts[:, :10] = 1 / 20
    for n in (0, 1):
        contexts[n, 10 + 10 * n :][:10] = np.arange(1, 11) / 110
    return SequenceClasses.from_plain({"contexts": contexts})


def syn_medium(queries: int, vocabulary: int, common: int, distinct: int, key: str) -> SequenceClasses:
    """A task after Syn-Medium: two next tokens for each query, `common` shared tokens, `distinct` own tokens a class.

    The paper gives numbers of queries (1, 3, 5, 10) and of next tokens (twice as many), and no tables; here the
    shared tokens have half of the probability, and all probabilities are in proportion to uniform draws of the key.
    """
    K = 2 * queries
    needed = common + K * distinct
    if vocabulary < max(needed, K):
        raise ValueError(f"need {max(needed, K)} tokens for {K} such classes, got {vocabulary}")
    shared = drawn_shares((1, common), f"{key}/common")
    own = drawn_shares((K, distinct), f"{key}/distinct")
    contexts = np.zeros((K, vocabulary))
    contexts[:, :common] = shared / 2
    for n in range(K):
        contexts[n, common + n * distinct :][:distinct] = own[n] / 2
    return SequenceClasses.from_plain({"contexts": contexts, "queries": [n // 2 for n in range(K)]})


def random_classes(
    classes: int, vocabulary: int, queries: int, common: int, distinct: int, key: str
) -> SequenceClasses:
    """K classes over `common` shared and `distinct` own tokens each, everything in proportion to draws of the key.

    Class n has query n mod `queries`. Every class has every common token.
    """
    needed = common + classes * distinct
    if vocabulary < max(needed, classes, queries):
        raise ValueError(f"need {max(needed, classes, queries)} tokens for such classes, got {vocabulary}")
    weights = drawn_shares((classes, common + distinct), f"{key}/contexts")
    contexts = np.zeros((classes, vocabulary))
    contexts[:, :common] = weights[:, :common]
    for n in range(classes):
        contexts[n, common + n * distinct :][:distinct] = weights[n, common:]
    return SequenceClasses.from_plain({"contexts": contexts, "queries": [n % queries for n in range(classes)]})


def drawn_shares(shape: tuple[int, int], key: str) -> Array:
    """Rows of probabilities in proportion to numbers uniform on (0.1, 1.1)."""
    weights = 0.1 + uniform_draws(shape, key)
    shares: Array = weights / weights.sum(-1, keepdims=True)
    return shares


def uniform_draws(shape: tuple[int, int], key: str) -> Array:
    """Numbers uniform on (0, 1) of the stream of this key."""
    found: Array = torch.rand(shape, generator=stream(key), dtype=torch.float64).numpy()
    return found
