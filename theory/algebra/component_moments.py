"""Polynomials in the components of random vectors, and their exact means: the slow, plain witness.

Main statement
    A polynomial in independent standardised random variables z_1, z_2, ... has the mean that is had
    by replacing z_k^m with its m-th moment. Nothing here knows of words, traces or pairings, so an
    expectation computed from the model's components checks the trace algebra on its own ground.

A monomial is one integer: the exponent of variable k sits in bits 8k..8k+7, so multiplying
monomials adds integers (exponents stay below 256).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from fractions import Fraction

BITS = 8


class ComponentPolynomial:
    """A polynomial with rational coefficients in the variables z_0, z_1, ..."""

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[int, int | Fraction]) -> None:
        self.terms = terms

    def __add__(self, other: ComponentPolynomial | int | Fraction) -> ComponentPolynomial:
        if not isinstance(other, NUMBERS):
            return NotImplemented  # an array adds itself entry by entry
        terms: defaultdict[int, int | Fraction] = defaultdict(int, self.terms)
        for monomial, value in constant(other).terms.items():
            terms[monomial] += value
        return ComponentPolynomial(terms)

    __radd__ = __add__

    def __mul__(self, other: ComponentPolynomial | int | Fraction) -> ComponentPolynomial:
        if not isinstance(other, NUMBERS):
            return NotImplemented
        terms: defaultdict[int, int | Fraction] = defaultdict(int)
        right = constant(other).terms.items()
        for a, x in self.terms.items():
            for b, y in right:
                terms[a + b] += x * y
        return ComponentPolynomial(terms)

    __rmul__ = __mul__

    def __sub__(self, other: ComponentPolynomial | int | Fraction) -> ComponentPolynomial:
        return self + constant(other) * -1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NUMBERS):
            return NotImplemented
        return not any((self - other).terms.values())

    __hash__ = None  # type: ignore[assignment]  # compared by value


NUMBERS = (ComponentPolynomial, int, Fraction)


def constant(value: ComponentPolynomial | int | Fraction) -> ComponentPolynomial:
    """A rational number as a polynomial."""
    return value if isinstance(value, ComponentPolynomial) else ComponentPolynomial({0: value})


def variable(k: int) -> ComponentPolynomial:
    """The variable z_k."""
    return ComponentPolynomial({1 << (BITS * k): 1})


def gaussian_moment(order: int) -> Fraction:
    """E z^m = (m - 1)!! for even m of a standard Gaussian z, 0 for odd m."""
    moment = Fraction(1 - order % 2)
    for factor in range(1, order, 2):
        moment *= factor
    return moment


def uniform_moment(order: int) -> Fraction:
    """E z^m = 3^(m/2) / (m + 1) for even m of z ~ U(-sqrt 3, sqrt 3), which has unit variance."""
    return Fraction(3 ** (order // 2), order + 1) if order % 2 == 0 else Fraction(0)


def mean(polynomial: ComponentPolynomial, moment: Callable[[int, int], Fraction]) -> Fraction:
    """E[p], where `moment(k, m)` is the m-th moment of z_k."""
    total = Fraction(0)
    for exponents, coefficient in polynomial.terms.items():
        k, monomial, value = 0, exponents, Fraction(coefficient)
        while monomial and value:
            value *= moment(k, monomial & (1 << BITS) - 1)
            monomial >>= BITS
            k += 1
        total += value
    return total
