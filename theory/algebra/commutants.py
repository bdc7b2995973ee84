r"""Values of trace polynomials on matrices that do not change under rotations of given eigenspaces.

The space is spanned by k chosen unit vectors and by further orthogonal spaces of dimensions m_1, m_2, ... (the rest of
each eigenspace). A matrix that commutes with all rotations of the further spaces is any k x k matrix on the chosen
vectors and a multiple of the identity on each further space; such a vector is a combination of the chosen vectors. They
are closed under products, sums and transposes, and tr(M) = tr(M_chosen) + sum_j m_j c_j: so a trace polynomial has a
value on them for dimensions m_j that may be symbols.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .trace_polynomials import TracePolynomial
from .words import LINE, Letter, Word

Array = NDArray[Any]


@dataclass(frozen=True)
class Invariant:
    """chosen (k, k), (k, 1), (1, k) or (1, 1); outside: the multiples c_j on the further spaces, 0 for a vector."""

    chosen: Array
    outside: tuple[Any, ...]

    def __matmul__(self, other: Invariant) -> Invariant:
        products = tuple(a * b for a, b in zip(self.outside, other.outside, strict=True))
        return Invariant(self.chosen @ other.chosen, products)

    @property
    def T(self) -> Invariant:
        return Invariant(self.chosen.T, self.outside)


def value_on_invariants(
    polynomial: TracePolynomial,
    letters: Mapping[str, Invariant],
    scalars: Mapping[str, Any],
    dimensions: tuple[Any, ...],
    number: Any,
) -> Any:
    """The value of a scalar polynomial without inverses of matrices.

    `number` takes the coefficients to the ring of all entries; `dimensions` are the m_j; d is k + sum m_j.
    """
    size = len(next(value.chosen for value in letters.values()))
    products: dict[Word, Invariant] = {}

    def letter(one: Letter) -> Invariant:
        found = letters[one.name]
        return found.T if one.transposed else found

    def word(letters_of_word: Word) -> Invariant:
        if letters_of_word not in products:
            last = letter(letters_of_word[-1])
            products[letters_of_word] = last if len(letters_of_word) == 1 else word(letters_of_word[:-1]) @ last
        return products[letters_of_word]

    def trace(closed: Word) -> Any:
        value = word(closed)
        total = sum((value.chosen[i, i] for i in range(len(value.chosen))), start=number(0))
        if closed[0].rows == LINE:
            return total
        return sum((m * c for m, c in zip(dimensions, value.outside, strict=True)), start=total)

    values = {"d": sum(dimensions, start=number(size)), **scalars}
    total = number(0)
    for (powers, traces, _), coefficient in polynomial.terms.items():
        factor = number(coefficient)
        for symbol, exponent in powers:
            factor = factor * values[symbol] ** exponent
        for closed in traces:
            factor = factor * trace(closed)
        total = total + factor
    return total


def diagonal(entries: Any, zero: Any) -> Array:
    """The diagonal matrix with these entries, of objects."""
    found = np.full((len(entries), len(entries)), zero, dtype=object)
    for k, entry in enumerate(entries):
        found[k, k] = entry
    return found
