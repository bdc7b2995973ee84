"""Quotients of ring elements, kept as pairs: so that an identity of rational functions is one of polynomials.

Main statement
    a/b = c/d where b and d do not vanish exactly if a d - c b = 0 in the ring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .expressions import Quotient, evaluate
from .matrices import Matrix


@dataclass(frozen=True)
class Ratio:
    """top/bottom."""

    top: Any
    bottom: Any

    def __add__(self, other: Any) -> Ratio:
        that = as_ratio(other, self)
        return Ratio(self.top * that.bottom + that.top * self.bottom, self.bottom * that.bottom)

    def __neg__(self) -> Ratio:
        return Ratio(-self.top, self.bottom)

    def __sub__(self, other: Any) -> Ratio:
        return self + -as_ratio(other, self)

    def __mul__(self, other: Any) -> Ratio:
        that = as_ratio(other, self)
        return Ratio(self.top * that.top, self.bottom * that.bottom)

    def __truediv__(self, other: Any) -> Ratio:
        that = as_ratio(other, self)
        return Ratio(self.top * that.bottom, self.bottom * that.top)

    def derivative(self, *rules: tuple[int, Any]) -> Ratio:
        """Along a vector field: (generator, velocity) pairs, by the quotient rule."""
        top, bottom = (along(part, rules) for part in (self.top, self.bottom))
        return Ratio(top * self.bottom - self.top * bottom, self.bottom * self.bottom)


def as_ratio(value: Any, like: Ratio) -> Ratio:
    """A ring element or a whole number over 1."""
    if isinstance(value, Ratio):
        return value
    one = like.top.context().constant(1)
    return Ratio(one * value, one)


def along(polynomial: Any, rules: tuple[tuple[int, Any], ...]) -> Any:
    """sum of velocity times derivative by the generator."""
    total = polynomial * 0
    for generator, velocity in rules:
        total = total + polynomial.derivative(generator) * velocity
    return total


def ratio_of(form: Quotient, values: Mapping[str, Any], one: Any) -> Ratio:
    """A form at letters that are ring elements."""
    letters = {"I": Matrix(((one,),)), **values}
    return Ratio(evaluate(form.numerator, letters, one), evaluate(form.denominator, letters, one))


def difference(left: Ratio, right: Ratio) -> Any:
    """Zero where both are equal, multiplied out."""
    return left.top * right.bottom - right.top * left.bottom
