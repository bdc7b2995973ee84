"""Formulas in numbers: read from SymPy or from a function, altered, and compared exactly."""

from fractions import Fraction

import pytest
import sympy as sp

from iclcheck.theory.algebra.formulas import common_factor, same_values, values_at
from iclcheck.theory.algebra.scalar_formulas import (
    exact_points,
    formula_of_expression,
    formula_of_function,
)

N, d, a = sp.symbols("N d a")
NAMES = ("N", "d", "a")
EXPRESSIONS = [(d + 1) / N, sp.exp(-a * N) * (1 - sp.sqrt(d)), a**3 - a * d / 7, (N - d) / (N + d) ** 2, sp.pi * d]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_a_formula_has_the_values_of_its_expression(expression: sp.Expr) -> None:
    point = {"N": 3, "d": 2, "a": 0.25}
    expected = float(expression.subs({N: 3, d: 2, a: sp.Rational(1, 4)}))
    assert float(formula_of_expression(expression, NAMES).value(point)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_altered_formulas_are_sorted_exactly(expression: sp.Expr) -> None:
    """Doubling is a common factor of 2 at every point; what changes one letter is another function."""
    original, points = formula_of_expression(expression, NAMES), exact_points(NAMES, "test")
    exact = values_at(original, points)
    assert exact is not None
    assert all(isinstance(value[()], Fraction) for value in exact)
    assert same_values(exact, values_at(formula_of_expression(expression + N - N, NAMES), points) or [])
    doubled = values_at(formula_of_expression(2 * expression, NAMES), points)
    assert doubled is not None
    assert common_factor(doubled, exact) == 2
    for _, altered in original.altered():
        values = values_at(altered, points)
        assert values is None or not same_values(values, exact)


def test_letters_that_are_functions_are_independent_of_each_other_and_of_their_arguments() -> None:
    points = exact_points(NAMES, "test")
    for left, right in ((sp.exp(N), sp.exp(d)), (sp.sqrt(d), d), (sp.exp(N), sp.Integer(1)), (sp.log(N), sp.exp(N))):
        pair = [values_at(formula_of_expression(one, NAMES), points) for one in (left, right)]
        assert pair[0] is not None
        assert pair[1] is not None
        assert not same_values(pair[0], pair[1])


def test_functions_are_altered_inside_too() -> None:
    words = [one.description for one, _ in formula_of_expression(sp.exp(-a * N), NAMES).altered()]
    assert any("exp(N*(a + 1))" in text for text in words)
    assert any("exp(2*N*a)" in text for text in words)


def test_a_formula_without_a_value_is_told() -> None:
    formula = formula_of_expression(sp.sqrt(d - 5) / (N - 1), NAMES)
    with pytest.raises(ValueError, match="no value at N = 1"):
        formula.value({"N": 1, "d": 6, "a": 1})
    with pytest.raises(ValueError, match="no real number"):
        formula.value({"N": 2, "d": 1, "a": 1})
    with pytest.raises(ValueError, match="divides by 0"):
        formula_of_expression(1 / ((N + 1) ** 2 - N**2 - 2 * N - 1), NAMES)


def test_a_function_is_altered_in_its_arguments_and_by_a_factor() -> None:
    def function(arguments: dict[str, int | float]) -> float:
        if arguments["N"] != int(arguments["N"]):
            raise ValueError("N is whole")
        return arguments["d"] / arguments["N"]

    formula, point = formula_of_function(function, ("N", "d")), {"N": 4, "d": 2, "law": "gaussian"}  # type: ignore[arg-type]
    assert formula.value(point) == Fraction(1, 2)
    values = [(one.description, values_at(altered, [point])) for one, altered in formula.altered()]
    found = {text: None if value is None else value[0][()] for text, value in values}
    assert found["a coefficient doubled in the term 1, factor of quantity"] == 1
    assert found["a coefficient doubled in the term N, argument N of quantity"] == Fraction(1, 4)
    assert found["a coefficient 5 % larger in the term N, argument N of quantity"] is None
    assert found["d for N in the term N, argument N of quantity"] == 1
