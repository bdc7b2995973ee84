"""Zeros on a simplex: Bernstein coefficients by other routes, and systems whose zeros are known."""

from __future__ import annotations

import random
from fractions import Fraction
from math import prod
from typing import Any

import pytest

from iclcheck.theory.algebra.simplex_zeros import (
    Part,
    UnsearchedError,
    as_integers,
    bernstein,
    common_zeros,
    holds_a_zero,
    multinomial,
    range_on,
    value,
)

CORNERS = tuple(tuple(Fraction(int(i == j)) for j in range(3)) for i in range(3))


def random_polynomial(draw: Any, degree: Any, size: Any) -> Any:
    exponents = [
        (a, b, degree - a - b) for a in range(degree + 1) for b in range(degree + 1 - a)
    ] if size == 3 else [(a, degree - a) for a in range(degree + 1)]  # fmt: skip
    return {e: Fraction(draw.randint(-9, 9) or 1, draw.randint(1, 5)) for e in exponents}


def random_place(draw: Any, size: Any) -> Any:
    shares = [Fraction(draw.randint(1, 9)) for _ in range(size)]
    return tuple(share / sum(shares) for share in shares)


def from_bernstein(coefficients: Any, place: Any) -> Any:
    return sum(multinomial(a) * c * prod(s**e for s, e in zip(place, a, strict=True)) for a, c in coefficients.items())


def in_simplex(vertices: Any, place: Any) -> Any:
    return tuple(sum(s * v[i] for s, v in zip(place, vertices, strict=True)) for i in range(len(vertices[0])))


@pytest.mark.parametrize("seed", range(4))
def test_bernstein_coefficients_give_the_values_of_the_polynomial_on_any_simplex(seed: Any) -> None:
    draw = random.Random(f"bernstein {seed}")
    polynomial = random_polynomial(draw, 5, 3)
    vertices = tuple(random_place(draw, 3) for _ in range(3))
    place = random_place(draw, 3)
    assert from_bernstein(bernstein(polynomial, vertices), place) == value(polynomial, in_simplex(vertices, place))


@pytest.mark.parametrize("seed", range(4))
def test_halving_keeps_the_polynomial_up_to_a_positive_factor(seed: Any) -> None:
    draw = random.Random(f"halving {seed}")
    polynomial, place = random_polynomial(draw, 4, 3), random_place(draw, 3)
    part = Part(CORNERS, (as_integers(bernstein(polynomial, CORNERS)),))
    factors = set()
    for _ in range(3):
        part = part.halves()[draw.randint(0, 1)]
        exact = value(polynomial, in_simplex(part.vertices, place))
        factors.add(from_bernstein(part.coefficients[0], place) / exact > 0)
        # the same factor at the corners, where the coefficient is the value itself
        corner = value(polynomial, part.vertices[0])
        assert part.coefficients[0][4, 0, 0] * exact == from_bernstein(part.coefficients[0], place) * corner
    assert factors == {True}


def test_a_range_holds_all_values() -> None:
    draw = random.Random("range")
    polynomial = random_polynomial(draw, 6, 3)
    low, high = range_on(polynomial, CORNERS)
    assert all(low <= value(polynomial, random_place(draw, 3)) <= high for _ in range(50))


def times(left: Any, right: Any) -> Any:
    found: dict[Any, Any] = {}
    for a, x in left.items():
        for b, y in right.items():
            key = tuple(i + j for i, j in zip(a, b, strict=True))
            found[key] = found.get(key, Fraction(0)) + x * y
    return {e: c for e, c in found.items() if c}


def on_an_edge(*roots: Any) -> Any:
    """p_0 = t_1 g, p_1 = -t_0 g with g = prod (t_0 - root t_1): t_0 p_0 + t_1 p_1 = 0."""
    g = {(0, 0): Fraction(1)}
    for root in roots:
        g = times(g, {(1, 0): Fraction(1), (0, 1): -Fraction(root)})
    return [times({(0, 1): Fraction(1)}, g), times({(1, 0): Fraction(-1)}, g)]


def test_the_zeros_on_an_edge_are_found_each_once() -> None:
    roots = [Fraction(1), Fraction(3), Fraction(31, 10), Fraction(-2)]
    found = [zero.centre[0] / zero.centre[1] for zero in common_zeros(on_an_edge(*roots), 1)]
    assert len(found) == 3
    assert all(abs(a - b) < Fraction(1, 2**50) for a, b in zip(found, sorted(roots)[1:], strict=True))


def test_a_simplex_beside_the_zero_does_not_pass_the_test_for_existence() -> None:
    polynomials = on_an_edge(3)  # zero at (3/4, 1/4)
    width = Fraction(1, 1000)

    def about(middle: Fraction) -> Any:
        return tuple((middle + side * width, 1 - middle - side * width) for side in (-1, 1))

    assert holds_a_zero(polynomials, [1], about(Fraction(3, 4)), 1)
    assert not holds_a_zero(polynomials, [1], about(Fraction(3, 4) + 3 * width), 1)
    assert not holds_a_zero(polynomials, [1], about(Fraction(3, 4) - 3 * width), 1)


def test_a_double_zero_is_not_taken_for_one_or_none() -> None:
    with pytest.raises(UnsearchedError):
        common_zeros(on_an_edge(1, 1), 1, parts=500)


def of_quadratic_form(matrix: Any) -> Any:
    """Q^2 dF/dt_i for F = t.A t/(t_0 + t_1 + t_2)^2: critical where A t is a multiple of (1, 1, 1)."""
    unit = [tuple(int(i == k) for i in range(3)) for k in range(3)]
    total = {e: Fraction(1) for e in unit}
    slopes = [{unit[j]: 2 * Fraction(matrix[k][j]) for j in range(3) if matrix[k][j]} for k in range(3)]
    form: dict[Any, Any] = {}
    for k in range(3):
        for e, c in times({unit[k]: Fraction(1, 2)}, slopes[k]).items():
            form[e] = form.get(e, Fraction(0)) + c
    found = []
    for k in range(3):
        left = times(slopes[k], total)
        found.append({e: c for e in left.keys() | form.keys() if (c := left.get(e, 0) - 2 * form.get(e, Fraction(0)))})
    return found


def test_the_one_zero_inside_a_triangle_is_found() -> None:
    # A t = (1, 1, 1) for A = diag(1, 2, 4): t = (4, 2, 1)/7
    (zero,) = common_zeros(of_quadratic_form([[1, 0, 0], [0, 2, 0], [0, 0, 4]]), 2)
    centre = [x / sum(zero.centre) for x in zero.centre]
    assert all(abs(x - Fraction(n, 7)) < Fraction(1, 2**50) for x, n in zip(centre, (4, 2, 1), strict=True))


def test_a_triangle_without_zero_is_searched_to_the_end() -> None:
    # A t = m (1, 1, 1) gives t = (7, 7, -3) up to a factor
    assert common_zeros(of_quadratic_form([[1, 0, 2], [0, 1, 2], [2, 2, 9]]), 2) == []
