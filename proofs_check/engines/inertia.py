"""Signs of the eigenvalues of a symmetric rational matrix, exactly.

Main statement
    H = S D S^T with S invertible and D diagonal has as many positive, zero and negative eigenvalues as D (Sylvester's
    law of inertia). Elimination with symmetric pivots gives S and D; where every diagonal entry left is zero and an
    entry h_ij is not, adding row and column j to i makes 2 h_ij a pivot.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Inertia(NamedTuple):
    """How many eigenvalues are positive, zero and negative."""

    positive: int
    zero: int
    negative: int


def inertia(rows: list[list[Any]]) -> Inertia:
    """The inertia of a symmetric matrix of rationals; raises ValueError where it is not symmetric."""
    H, n = [list(row) for row in rows], len(rows)
    if any(H[i][j] != H[j][i] for i in range(n) for j in range(i)):
        raise ValueError("need a symmetric matrix")
    left, pivots = list(range(n)), []
    while left:
        k = pivot(H, left)
        if k is None:
            break
        pivots.append(H[k][k])
        left.remove(k)
        for i in left:
            factor = H[i][k] / H[k][k]
            for j in left:
                H[i][j] = H[i][j] - factor * H[k][j]
    positive = sum(1 for value in pivots if value > 0)
    return Inertia(positive, len(left), len(pivots) - positive)


def pivot(H: list[list[Any]], left: list[int]) -> int | None:
    """A row with a diagonal entry that is not zero, made where there is none; None for a zero matrix."""
    for k in left:
        if H[k][k] != 0:
            return k
    for i in left:
        for j in left:
            if H[i][j] != 0:
                for m in left:
                    H[i][m] = H[i][m] + H[j][m]
                for m in left:
                    H[m][i] = H[m][i] + H[m][j]
                return i
    return None
