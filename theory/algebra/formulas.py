r"""A statement's formula as an object: named polynomials, and the quantity that their values give.

Main statement
    Two formulas whose quantities are rational functions of their letters are equal if they agree at enough random
    rational points [schwartz1980fast]; `same_values` compares them exactly, so that a difference is never rounding.
A formula can be altered (`alterations`): each altered one is a statement of its own, to be put to the same checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .alterations import Alteration, Vocabulary, alterations
from .evaluation import Array, evaluate, exact_inverse
from .trace_polynomials import TracePolynomial

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Formula:
    """A quantity given by polynomials.

    parts        the polynomials, by name
    quantity     (parts, values of the letters) -> the quantity, an array; exact at exact values
    vocabulary   what may be mistaken for what
    """

    parts: Mapping[str, TracePolynomial]
    quantity: Callable[[Mapping[str, TracePolynomial], Values], Any]
    vocabulary: Vocabulary

    def value(self, values: Values) -> Array:
        """The quantity at given values. Raises ValueError where it is not defined (a singular system)."""
        return np.asarray(self.quantity(self.parts, values))

    def altered(self) -> Iterator[tuple[Alteration, Formula]]:
        """Every formula that differs in one place."""
        for name, polynomial in self.parts.items():
            for one in alterations(polynomial, self.vocabulary):
                where = f", {name}" if len(self.parts) > 1 else ""
                named = replace(one, description=one.description + where)
                yield named, replace(self, parts={**self.parts, name: one.polynomial})


def values_at(formula: Formula, points: Sequence[Values]) -> list[Array] | None:
    """The exact values at rational points; None where the formula has none at some point."""
    try:
        return [formula.value(point) for point in points]
    except (ValueError, ZeroDivisionError):
        return None


def same_values(left: Sequence[Array], right: Sequence[Array]) -> bool:
    """Whether exact values are equal at every point."""
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def common_factor(left: Sequence[Array], right: Sequence[Array]) -> Any:
    """c with left = c right at every point; None where there is no such c."""
    a = np.concatenate([np.ravel(value) for value in left])
    b = np.concatenate([np.ravel(value) for value in right])
    (places,) = np.nonzero(b)
    if not len(places):
        return None
    factor = a[places[0]] / b[places[0]]
    return factor if np.array_equal(a, factor * b) else None


class SingularSystemError(ValueError):
    """A formula has no value at given numbers: its left side is singular there."""


def left_divided(left: Array, right: Array) -> Array:
    """left^-1 right, exactly for exact matrices. Raises SingularSystemError (exact matrices: ValueError)."""
    if left.dtype.kind == "O":
        product: Array = exact_inverse(left) @ right
        return product
    try:
        return np.asarray(np.linalg.solve(left, right))
    except np.linalg.LinAlgError as error:
        raise SingularSystemError("need an invertible left side, got a singular one") from error


def solution_of_system(parts: Mapping[str, TracePolynomial], values: Values) -> Array:
    """A with left A = right, of the polynomials `left` and `right`."""
    return left_divided(evaluate(parts["left"], values), evaluate(parts["right"], values))
