"""Values of trace polynomials at given matrices, in float64 or exactly in rational numbers.

Main statement
    `evaluate` is one walk over the terms for both: float64 arrays may carry leading batch axes
    (..., d, d); object arrays of `Fraction` give exact values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .trace_polynomials import Monomial, TracePolynomial
from .words import LINE, Letter, Word

Array = NDArray[Any]
Value = float | Fraction | Array


def evaluate(polynomial: TracePolynomial, values: Mapping[str, Any]) -> Any:
    """The value at `values`: matrices (..., d, d), vectors (..., d, 1) and numbers, by name.

    A scalar polynomial gives (...), any other (..., rows, cols). The dimension d is read off the
    matrices unless it is given. Raises ValueError where a symbol has no value.
    """
    walk = Evaluation(values, polynomial)
    total: Any = 0
    for (scalars, traces, word), coefficient in polynomial.terms.items():
        factor = walk.number(coefficient)
        for symbol, exponent in scalars:
            factor = factor * walk.symbol(symbol) ** exponent
        for closed in traces:
            factor = factor * walk.trace(closed)
        if not polynomial.is_scalar:
            factor = np.asarray(factor)[..., None, None] * walk.word(word, polynomial.rows)
        total = total + factor
    if not polynomial.terms and not polynomial.is_scalar:
        zeros = np.zeros((walk.size(polynomial.rows), walk.size(polynomial.cols)))
        return zeros.astype(int).astype(object) if walk.exact else zeros
    return total


class Evaluation:
    """One evaluation of a polynomial: values by name, with words evaluated once each."""

    def __init__(self, values: Mapping[str, Any], polynomial: TracePolynomial) -> None:
        self.values, self.polynomial = dict(values), polynomial
        self.exact = any(isinstance(v, np.ndarray) and v.dtype.kind == "O" for v in self.values.values())
        self.words: dict[Word, Array] = {}

    def number(self, coefficient: Fraction) -> Any:
        return coefficient if self.exact else float(coefficient)

    def symbol(self, name: str) -> Any:
        if name in self.values:
            value = self.values[name]
            return value if self.exact or isinstance(value, np.ndarray) else float(value)
        if name == "d":
            return self.number(Fraction(self.size("d")))
        raise ValueError(f"need a value for the symbol {name}, got {sorted(self.values)}")

    def size(self, space: str) -> int:
        """The dimension of a space: that of a letter which begins or ends there; d also that of any matrix given."""
        if space == LINE:
            return 1
        for letter in self.letters_with_values():
            if space in (letter.rows, letter.cols):
                value = self.letter(letter)
                return int(value.shape[-2 if letter.rows == space else -1])
        shapes = [np.shape(v) for v in self.values.values() if np.ndim(v) >= 2]
        if space != "d" or not shapes:
            raise ValueError(f"need a value for at least one matrix of the space {space} to know its dimension")
        return int(shapes[0][-2])

    def letters_with_values(self) -> Iterator[Letter]:
        """The polynomial's letters whose values are given."""
        for monomial in self.polynomial.terms:
            yield from (letter for letter in monomial.letters() if letter.name in self.values)

    def letter(self, letter: Letter) -> Array:
        if letter.name not in self.values:
            raise ValueError(f"need a value for the letter {letter.name}, got {sorted(self.values)}")
        value = np.asarray(self.values[letter.name])
        if letter.inverse:
            value = exact_inverse(value) if self.exact else np.linalg.inv(value)
        return np.swapaxes(value, -1, -2) if letter.transposed else value

    def word(self, word: Word, space: str) -> Array:
        """The product of a word's letters; prefixes are kept, since many words share them."""
        if not word:
            eye = np.eye(self.size(space))
            return eye.astype(int).astype(object) if self.exact else eye
        if word not in self.words:
            last = self.letter(word[-1])
            self.words[word] = last if len(word) == 1 else self.word(word[:-1], space) @ last
        return self.words[word]

    def trace(self, closed: Word) -> Any:
        value = self.word(closed, closed[0].rows)
        if closed[0].rows != LINE:
            return np.trace(value, axis1=-2, axis2=-1)
        # [()] unwraps the 0-d object array that an Ellipsis leaves around an exact number
        return value[..., 0, 0][()]


def exact_inverse(matrix: Array) -> Array:
    """Gauss-Jordan over the rationals. Raises ValueError for a singular matrix."""
    size = matrix.shape[0]
    rows = [[Fraction(v) for v in row] + [Fraction(int(i == j)) for j in range(size)] for i, row in enumerate(matrix)]
    for col in range(size):
        pivot = next((r for r in range(col, size) if rows[r][col]), None)
        if pivot is None:
            raise ValueError("need an invertible matrix, got a singular one")
        rows[col], rows[pivot] = rows[pivot], rows[col]
        scale = rows[col][col]
        rows[col] = [v / scale for v in rows[col]]
        for r in range(size):
            if r != col and rows[r][col]:
                factor = rows[r][col]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[col], strict=True)]
    return np.array([row[size:] for row in rows], dtype=object)


def evaluate_over_samples(
    polynomial: TracePolynomial, values: Mapping[str, Any], samples: Mapping[str, Sequence[Any]]
) -> Any:
    """The value of a polynomial with sample indices, each summed over the given samples.

    `samples` gives, for each indexed name, the list of its values over i = 1..N.
    """
    counts = {len(listed) for listed in samples.values()}
    if len(counts) != 1:
        raise ValueError(f"need the same number of samples for every letter, got {sorted(counts)}")
    (count,) = counts
    named = {f"{name}@{i}": value for name, listed in samples.items() for i, value in enumerate(listed)}
    spread: dict[Monomial, Fraction] = defaultdict(Fraction)
    for monomial, coefficient in polynomial.terms.items():
        indices = sorted({letter.index for letter in monomial.letters() if letter.index})
        for chosen in product(range(count), repeat=len(indices)):
            sample_of = dict(zip(indices, chosen, strict=True))
            traces = tuple(sorted(name_samples(word, sample_of) for word in monomial.traces))
            spread[Monomial(monomial.scalars, traces, name_samples(monomial.word, sample_of))] += coefficient
    return evaluate(TracePolynomial(polynomial.rows, polynomial.cols, spread), {**values, **named})


def name_samples(word: Word, sample_of: Mapping[int, int]) -> Word:
    """Each indexed letter as a letter of its own, x_i -> x@i."""
    return tuple(x._replace(name=f"{x.name}@{sample_of[x.index]}", index=0) if x.index else x for x in word)
