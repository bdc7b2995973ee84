"""Identities in all letters: exact in components for d = 1..4, and in every dimension by one random test.

Main statement
    Let both sides of an identity be sums of pairings of at most 2k legs, with coefficients that are polynomials of
    degree at most m in d. If they agree in the dimensions k, k + 1, ..., k + m, they agree in every dimension.
Proof. In a dimension >= k different pairings are independent functions of the letters (`expressions`), so each
    coefficient of the difference vanishes there; a polynomial of degree m with m + 1 zeros is zero. []
In each of these dimensions equality is tested at one random point (`points`): if the difference were not zero, the test
would miss it with probability at most degree / 2^BITS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .matrices import Matrix
from .points import BITS, Kind, Point, make_point
from .refusals import RefutedError

COMPONENTS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Identity:
    """A difference that is claimed to vanish for all values of its letters.

    difference      point -> ring element, matrix, or list of these; evaluated at symbols and at numbers alike
    letters         the letters that the statement is for all of
    variables       further generators of the ring, which the difference uses up (task and query)
    pairs           k: its terms have at most 2k legs
    degree          at most so many factors in a term
    powers_of_d     m: the largest power of d in a coefficient
    components      dimensions in which the entries are symbols
    """

    difference: Callable[[Point], Any]
    letters: Mapping[str, Kind]
    variables: Mapping[str, Kind]
    pairs: int
    degree: int
    powers_of_d: int = 0
    components: tuple[int, ...] = COMPONENTS
    engine = "python-flint (exact rational arithmetic)"

    def dimensions(self) -> tuple[int, ...]:
        """The dimensions of the random tests."""
        return tuple(range(max(self.pairs, 1), max(self.pairs, 1) + self.powers_of_d + 1))

    def evidence(self) -> dict[str, Any]:
        """What is tested, and how surely: plain data, the same at every run."""
        if self.degree >= 2 ** (BITS - 100):
            raise ValueError(f"degree {self.degree} leaves no bound below 2^-100")
        return {
            "symbolic_entries_in_dimensions": list(self.components),
            "random_test_in_dimensions": list(self.dimensions()),
            "pairs_of_legs_at_most": self.pairs,
            "degree_at_most": self.degree,
            "powers_of_d_at_most": self.powers_of_d,
            "missed_per_dimension_with_probability_below": f"2^-{BITS - self.degree.bit_length()}",
        }

    def check(self, seed: str) -> None:
        """Test it; raises RefutedError."""
        for d in self.components:
            refuse_unless_zero(self.difference(make_point(self.letters, d, None, self.variables)), f"for d = {d}")
        for d in self.dimensions():
            point = make_point(self.letters, d, seed, self.variables)
            refuse_unless_zero(self.difference(point), f"at a random point of dimension {d}")


def refuse_unless_zero(difference: Any, where: str) -> None:
    """Raises RefutedError unless a ring element, every entry of a matrix, or everything in a list is zero."""
    if isinstance(difference, list):
        for part in difference:
            refuse_unless_zero(part, where)
        return
    entries = difference.entries() if isinstance(difference, Matrix) else [difference]
    if any(entry != 0 for entry in entries):
        raise RefutedError(f"the two sides differ {where}")
