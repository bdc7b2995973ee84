"""The slow, plain witness: polynomials in components and their means, against values and integrals."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss

from iclcheck.theory.algebra.component_moments import (
    ComponentPolynomial,
    constant,
    gaussian_moment,
    mean,
    uniform_moment,
    variable,
)

# Terms (coefficient, exponents of z_0, z_1, z_2) of a polynomial.
terms = st.lists(st.tuples(st.integers(-5, 5), st.tuples(*[st.integers(0, 4)] * 3)), min_size=0, max_size=5)
Terms = list[tuple[int, tuple[int, int, int]]]
POINT = (Fraction(2), Fraction(-3), Fraction(1, 7))


def built(listed: Terms) -> ComponentPolynomial:
    total = constant(0)
    for coefficient, exponents in listed:
        term = constant(Fraction(coefficient))
        for k, exponent in enumerate(exponents):
            for _ in range(exponent):
                term = term * variable(k)
        total = total + term
    return total


def plain_value(listed: Terms) -> Fraction:
    return sum((c * POINT[0] ** p * POINT[1] ** q * POINT[2] ** r for c, (p, q, r) in listed), Fraction(0))


def value(polynomial: ComponentPolynomial) -> Fraction:
    """The value at the point: a law that sits there has E z_k^m = point_k^m."""
    return mean(polynomial, lambda k, order: POINT[k] ** order)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(first=terms, second=terms)
def test_sums_differences_and_products_have_the_values_of_their_parts(first: Terms, second: Terms) -> None:
    p, q = built(first), built(second)
    at_p, at_q = plain_value(first), plain_value(second)
    assert value(p + q) == at_p + at_q
    assert value(p - q) == at_p - at_q
    assert value(p * q) == at_p * at_q
    assert value(3 * p + 1) == 3 * at_p + 1
    assert value(1 + p * Fraction(1, 2)) == 1 + at_p / 2


def test_equality_is_by_value_and_sees_every_term() -> None:
    z, t = variable(0), variable(1)
    assert z * t == t * z
    assert (z + t) * (z - t) == z * z - t * t
    assert z * t != z * z
    assert z - z == 0
    assert constant(3) == 3
    assert z != "z"
    with pytest.raises(TypeError, match="unhashable"):
        hash(z)


def test_arrays_of_polynomials_multiply_as_matrices() -> None:
    column = np.array([[variable(0)], [variable(1)]], dtype=object)
    square = (column.T @ column)[0, 0]
    assert square == variable(0) * variable(0) + variable(1) * variable(1)
    assert (column * variable(0))[1, 0] == variable(0) * variable(1)
    assert (variable(0) * column)[1, 0] == variable(0) * variable(1)
    assert (variable(0) + column)[1, 0] == variable(0) + variable(1)


def test_exponents_of_neighbouring_variables_do_not_run_into_each_other() -> None:
    power = constant(1)
    for _ in range(200):
        power = power * variable(0)
    assert mean(power * variable(1), lambda k, order: Fraction(order if k == 0 else 1000 * order)) == 200 * 1000


def test_gaussian_moments_are_the_double_factorials() -> None:
    """E z^2n = (2n)! / (2^n n!)."""
    for n in range(8):
        assert gaussian_moment(2 * n) == Fraction(factorial(2 * n), 2**n * factorial(n))
        assert gaussian_moment(2 * n + 1) == 0


@pytest.mark.parametrize("moment,rule,scale", [(gaussian_moment, hermegauss, 1.0), (uniform_moment, leggauss, 3**0.5)])
def test_moments_are_the_integrals_of_their_laws(
    moment: Callable[[int], Fraction], rule: Callable[[int], tuple[np.ndarray, np.ndarray]], scale: float
) -> None:
    points, weights = rule(8)  # exact to degree 15
    for order in range(13):
        integral = weights @ (points * scale) ** order / weights.sum()
        # rounding: 8 terms, powers of order <= 12, all even terms of one sign: below 50 eps relative
        assert integral == pytest.approx(float(moment(order)), rel=50 * 2.3e-16 * 4, abs=1e-9)


def test_the_mean_multiplies_the_moments_of_different_variables() -> None:
    z, t = variable(0), variable(1)
    assert mean(z * z * t * t * t * t + z * t + 5, lambda k, order: gaussian_moment(order)) == 3 + 0 + 5
    mixed = mean(z * z * z * z * t * t * t * t, lambda k, m: uniform_moment(m) if k else gaussian_moment(m))
    assert mixed == 3 * Fraction(9, 5)
