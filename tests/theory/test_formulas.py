"""Rational points tell formulas apart."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from iclcheck.theory.algebra.alterations import alterations
from iclcheck.theory.algebra.formulas import common_factor, left_divided, same_values, values_at
from iclcheck.theory.one_layer import formulas
from iclcheck.theory.symbols import LAMBDA, SIGMA2, I, N


def test_equal_functions_written_differently_are_found_equal_and_nearby_ones_are_not() -> None:
    """(Psi (Lambda + rho Psi^-1))^-1 Psi has the value of the system; a coefficient off by 1e-9 has not."""
    formula, points = formulas.fixed_point(), formulas.rational_points("test")
    left, right = formula.parts["left"], formula.parts["right"]
    exact = values_at(formula, points)
    assert exact is not None
    scaled = formula.__class__({"left": LAMBDA * left, "right": LAMBDA * right}, formula.quantity, formula.vocabulary)
    same = values_at(scaled, points)
    assert same is not None
    assert same_values(same, exact)
    close = formula.__class__(
        {"left": left + N**-1 * SIGMA2 * I / 10**9, "right": right}, formula.quantity, formula.vocabulary
    )
    other = values_at(close, points)
    assert other is not None
    assert not same_values(other, exact)
    assert common_factor(other, exact) is None


def test_a_rescaling_is_told_by_its_one_factor() -> None:
    formula, points = formulas.fixed_point(), formulas.rational_points("test")
    doubled = formula.__class__(
        {**formula.parts, "right": 2 * formula.parts["right"]}, formula.quantity, formula.vocabulary
    )
    left, right = values_at(doubled, points), values_at(formula, points)
    assert left is not None
    assert right is not None
    assert common_factor(left, right) == Fraction(2)


def test_a_singular_system_has_no_value() -> None:
    formula = formulas.fixed_point()
    nothing = formula.__class__(
        {"left": formula.parts["left"] * 0, "right": formula.parts["right"]}, formula.quantity, formula.vocabulary
    )
    assert values_at(nothing, formulas.rational_points("test")) is None


@pytest.mark.parametrize(
    "points",
    [formulas.rational_points, formulas.random_length_points, formulas.uniform_points, formulas.prompt_points],
)
def test_points_are_generic_and_the_same_at_every_call(points: object) -> None:
    assert callable(points)
    first, again, other = points("a"), points("a"), points("b")
    assert str(first) == str(again) != str(other)
    for point in first:
        if "N" in point and "samples" in point:
            assert point["N"] != len(point["x_q"])  # or N could stand for d unseen


def test_an_altered_formula_differs_in_one_part_and_says_in_which() -> None:
    formula = formulas.fixed_point()
    found = [(one.kind, one.description, one.polynomial, other) for one, other in formula.altered()]
    expected = [
        (one.kind, f"{one.description}, {name}", one.polynomial, replace(formula, parts=parts))
        for name, polynomial in formula.parts.items()
        for one in alterations(polynomial, formula.vocabulary)
        for parts in [{**formula.parts, name: one.polynomial}]
    ]
    assert {description.rsplit(", ")[-1] for _, description, *_ in found} == {"left", "right"}
    assert found == expected


def test_the_only_part_of_a_formula_is_not_named() -> None:
    formula = formulas.gradient_step()
    (step,) = formula.parts.values()
    expected = [one.description for one in alterations(step, formula.vocabulary)]
    assert [one.description for one, _ in formula.altered()] == expected


def test_values_at_different_numbers_of_points_are_not_compared() -> None:
    one = np.array([[Fraction(1)]])
    with pytest.raises(ValueError, match="argument 2 is longer"):
        same_values([one], [one, one])


def test_a_floating_system_is_solved_and_a_singular_one_is_refused() -> None:
    left, right = np.array([[0.0, 2.0], [4.0, 0.0]]), np.array([[2.0, 6.0], [4.0, 8.0]])
    assert np.array_equal(left_divided(left, right), [[1.0, 2.0], [1.0, 3.0]])  # powers of 2 divide without rounding
    with pytest.raises(ValueError, match="need an invertible left side, got a singular one"):
        left_divided(np.ones((2, 2)), right)
