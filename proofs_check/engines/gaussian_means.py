r"""Gaussian means of polynomials, by the heat equation.

Main statement
    E p(z) = (exp(Delta/2) p)(0) for z ~ N(0, Sigma), with Delta = sum_ij Sigma_ij d_i d_j.
Proof. f(t) = E p(x + sqrt(t) z) solves f' = (1/2) Delta f (both sides have the same Taylor coefficients in t, since
    E z_i z_j = Sigma_ij and the law is that of a sum of independent halves); for a polynomial the series of
    exp(Delta/2) ends, and t = 1, x = 0 gives the statement. []
The sum of its terms is Isserlis' theorem, here without a pairing being listed. Both sides are polynomials in Sigma, so
they may be compared at any symmetric Sigma, positive or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def gaussian_mean(polynomial: Any, variables: Sequence[int], covariance: Any) -> Any:
    """E over the variables of these numbers in the ring; covariance[i, j] are ring elements or rationals."""
    import flint

    zero = polynomial * 0
    at_zero = dict.fromkeys(variables, 0)
    total, term, order = zero, polynomial, 0
    while not term.is_zero():
        total += term.subs(at_zero)
        order += 1
        term = half_laplacian(term, variables, covariance) * flint.fmpq(1, order)
    return total


def half_laplacian(polynomial: Any, variables: Sequence[int], covariance: Any) -> Any:
    """(1/2) sum_ij Sigma_ij d_i d_j p."""
    import flint

    total = polynomial * 0
    for i, first in enumerate(variables):
        slope = polynomial.derivative(first)
        if slope.is_zero():
            continue
        for j, second in enumerate(variables[: i + 1]):
            factor = covariance[i, j] * flint.fmpq(1, 2) if i == j else covariance[i, j]
            total += slope.derivative(second) * factor
    return total


def mean_by_moments(polynomial: Any, moments: Mapping[int, Mapping[int, Any]]) -> Any:
    """E over independent variables: variable number -> order -> moment (ring elements); odd moments are 0.

    Raises KeyError where an even moment is needed that is not given.
    """
    total = polynomial
    for variable, table in moments.items():
        total = mean_of_one(total, variable, table)
    return total


def mean_of_one(polynomial: Any, variable: int, table: Mapping[int, Any]) -> Any:
    """Taylor's formula in one variable: p = sum_k (d^k p)(0) z^k / k!, with E z^k in the place of z^k."""
    import flint

    total, term, order, factorial = polynomial * 0, polynomial, 0, 1
    while not term.is_zero():
        coefficient = term.subs({variable: 0})
        if order % 2 == 0 and not coefficient.is_zero():
            total += coefficient * (table[order] if order else 1) * flint.fmpq(1, factorial)
        term, order = term.derivative(variable), order + 1
        factorial *= order
    return total
