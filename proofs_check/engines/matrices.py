"""Matrices over a ring whose elements only need +, - and *: numbers and polynomials of python-flint.

NumPy's object arrays would do, but they take a polynomial for the list of its terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Matrix:
    """Rows of ring elements, none of them empty."""

    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def build(cls, height: int, width: int, entry: Callable[[int, int], Any]) -> Matrix:
        """The matrix with entry(i, j)."""
        return cls(tuple(tuple(entry(i, j) for j in range(width)) for i in range(height)))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.rows[0])

    @property
    def T(self) -> Matrix:
        return Matrix(tuple(zip(*self.rows, strict=True)))

    def __getitem__(self, place: tuple[int, int]) -> Any:
        return self.rows[place[0]][place[1]]

    def entries(self) -> Iterator[Any]:
        for row in self.rows:
            yield from row

    def map(self, change: Callable[[Any], Any]) -> Matrix:
        """Every entry changed."""
        return Matrix(tuple(tuple(change(entry) for entry in row) for row in self.rows))

    def __add__(self, other: Matrix) -> Matrix:
        if self.shape != other.shape:
            raise ValueError(f"need equal shapes to add, got {self.shape} and {other.shape}")
        pairs = zip(self.rows, other.rows, strict=True)
        return Matrix(tuple(tuple(a + b for a, b in zip(left, right, strict=True)) for left, right in pairs))

    def __neg__(self) -> Matrix:
        return self.map(lambda entry: -entry)

    def __sub__(self, other: Matrix) -> Matrix:
        return self + -other

    def scaled(self, factor: Any) -> Matrix:
        """Every entry times a ring element."""
        return self.map(lambda entry: entry * factor)

    __mul__ = scaled

    def __matmul__(self, other: Matrix) -> Matrix:
        if self.shape[1] != other.shape[0]:
            raise ValueError(f"need shapes that fit to multiply, got {self.shape} and {other.shape}")
        columns = other.T.rows
        return Matrix(tuple(tuple(dot(row, column) for column in columns) for row in self.rows))

    def trace(self) -> Any:
        return total(self.rows[i][i] for i in range(min(self.shape)))


def dot(left: tuple[Any, ...], right: tuple[Any, ...]) -> Any:
    """sum_i left_i right_i."""
    return total(a * b for a, b in zip(left, right, strict=True))


def total(values: Iterator[Any]) -> Any:
    """The sum of at least one ring element."""
    result = next(values)
    for value in values:
        result = result + value
    return result


def stack(blocks: list[list[Matrix]]) -> Matrix:
    """The matrix of these blocks."""
    rows = [sum((block.rows[i] for block in line), ()) for line in blocks for i in range(line[0].shape[0])]
    return Matrix(tuple(rows))
