"""Linear systems, determinants and ranks of rational matrices, exactly.

Elimination without fractions: rows are made whole numbers, and every division of a step is exact
[bareiss1968sylvester].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..algebra.evaluation import Array


def whole_rows(matrix: Any) -> tuple[list[list[int]], Fraction]:
    """Rows times the common denominator of each, and the product of these denominators."""
    rows, scale = [], Fraction(1)
    for row in matrix:
        entries = [Fraction(entry) for entry in row]
        denominator = math.lcm(*(entry.denominator for entry in entries))
        rows.append([int(entry * denominator) for entry in entries])
        scale *= denominator
    return rows, scale


def echelon(rows: list[list[int]], columns: int) -> tuple[list[int], int]:
    """Brings whole rows into echelon form, in place: the pivot columns among the first `columns`, and the sign.

    The last pivot is then the minor of the pivots' rows and columns, up to that sign.
    """
    pivots: list[int] = []
    sign, before = 1, 1
    for c in range(columns):
        r = len(pivots)
        found = next((i for i in range(r, len(rows)) if rows[i][c]), None)
        if found is None:
            continue
        if found != r:
            rows[r], rows[found], sign = rows[found], rows[r], -sign
        pivot, top = rows[r][c], rows[r]
        for i in range(r + 1, len(rows)):
            factor = rows[i][c]
            rows[i] = [(pivot * a - factor * b) // before for a, b in zip(rows[i], top, strict=True)]
        before = pivot
        pivots.append(c)
    return pivots, sign


def determinant(matrix: Any) -> Fraction:
    """The determinant; 1 for the empty matrix.

    >>> determinant([[1, 2], [3, 4]])
    Fraction(-2, 1)
    """
    rows, scale = whole_rows(matrix)
    pivots, sign = echelon(rows, len(rows))
    if len(pivots) < len(rows):
        return Fraction(0)
    return Fraction(sign * rows[-1][-1], 1) / scale if rows else Fraction(1)


def solution(matrix: Any, right: Any) -> Array:
    """x with matrix x = right, a column (n, 1). Raises ValueError for a singular matrix."""
    size = len(matrix)
    rows, _ = whole_rows([[*row, *b] for row, b in zip(matrix, right, strict=True)])
    pivots, _ = echelon(rows, size)
    if len(pivots) < size:
        raise ValueError("need an invertible matrix, got a singular one")
    found = [Fraction(0)] * size
    for r in reversed(range(size)):
        rest = rows[r][size] - sum((rows[r][c] * found[c] for c in range(r + 1, size)), Fraction(0))
        found[r] = Fraction(rest) / rows[r][r]
    return column(found)


def independent_columns(matrix: Array) -> list[int]:
    """The first columns that span the range; their number is the rank."""
    rows, _ = whole_rows(matrix)
    return echelon(rows, matrix.shape[1])[0]


def column(entries: Sequence[Any]) -> Array:
    """A column of exact numbers."""
    found = np.empty((len(entries), 1), dtype=object)
    found[:, 0] = entries
    return found


def rational(values: Any) -> Array:
    """Numbers as exact rationals: a float is the dyadic rational that it stands for."""
    array = np.asarray(values, dtype=object)
    found = np.empty(array.shape, dtype=object)
    found.reshape(-1)[:] = [Fraction(value) for value in array.reshape(-1)]
    return found
