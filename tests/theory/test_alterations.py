"""Altered polynomials differ in one place, and rational points tell formulas apart."""

from fractions import Fraction

import pytest

from iclcheck.theory.algebra.alterations import Alteration, Vocabulary, alterations
from iclcheck.theory.algebra.formulas import common_factor, same_values, values_at
from iclcheck.theory.algebra.trace_polynomials import TracePolynomial, scalar, trace
from iclcheck.theory.algebra.words import Letter
from iclcheck.theory.one_layer import formulas
from iclcheck.theory.symbols import LAMBDA, NEXT_LENGTH, PSI, SIGMA2, A, I, N

VOCABULARY = Vocabulary({"N": (NEXT_LENGTH,)}, {"Lambda": (Letter("Psi", symmetric=True),)})


def altered(polynomial: TracePolynomial) -> dict[str, TracePolynomial]:
    return {one.description: one.polynomial for one in alterations(polynomial, VOCABULARY)}


def of_kind(polynomial: TracePolynomial, kind: str) -> list[TracePolynomial]:
    return [one.polynomial for one in alterations(polynomial, VOCABULARY) if one.kind == kind]


def test_the_slips_of_the_issue_are_among_the_alterations_of_gamma() -> None:
    """Coefficients, dropped terms, N for N + 1, missing trace, transposes, exponents, swapped symbols."""
    gamma = LAMBDA + N**-1 * LAMBDA + N**-1 * trace(LAMBDA * PSI) * I
    found = list(altered(gamma).values())
    for slip in (
        2 * LAMBDA + N**-1 * LAMBDA + N**-1 * trace(LAMBDA * PSI) * I,
        LAMBDA + N**-1 * trace(LAMBDA * PSI) * I,
        LAMBDA + scalar(NEXT_LENGTH) ** -1 * LAMBDA + N**-1 * trace(LAMBDA * PSI) * I,
        LAMBDA + N**-1 * LAMBDA + N**-1 * I,
        LAMBDA + N**-1 * LAMBDA + N**-1 * LAMBDA * PSI,
        LAMBDA + N**-1 * LAMBDA + N**-1 * trace(LAMBDA) * trace(PSI) * I,
        LAMBDA + N**-1 * LAMBDA + trace(LAMBDA * PSI) * I,
        LAMBDA + N**-1 * LAMBDA + N**-1 * trace(PSI * PSI) * I,
        LAMBDA + N**-1 * LAMBDA * LAMBDA + N**-1 * trace(LAMBDA * PSI) * I,
        LAMBDA + N**-1 * trace(LAMBDA) * I + N**-1 * trace(LAMBDA * PSI) * I,
    ):
        assert slip in found, slip
    everywhere = LAMBDA + scalar(NEXT_LENGTH) ** -1 * (LAMBDA + trace(LAMBDA * PSI) * I)
    assert altered(gamma)["(N+1) for N in every term"] == everywhere


def test_transposes_are_those_that_change_the_word() -> None:
    assert of_kind(PSI * LAMBDA, "transpose") == [LAMBDA * PSI]
    assert of_kind(LAMBDA * A * LAMBDA, "transpose") == [LAMBDA * A.T * LAMBDA] * 2
    assert not of_kind(LAMBDA, "transpose")
    assert of_kind(trace(A * A), "transpose") == [trace(A * A.T)] * 2


def test_every_alteration_differs_from_the_polynomial_in_one_term() -> None:
    polynomial = formulas.fixed_point().parts["left"]
    found: list[Alteration] = list(alterations(polynomial, formulas.fixed_point().vocabulary))
    assert len(found) > 50
    for one in found:
        assert one.polynomial != polynomial
        if "every term" not in one.description:
            changed = set(polynomial.terms.items()) - set(one.polynomial.terms.items())
            # one term goes; where it merges with another, that one's coefficient changes, too
            assert 1 <= len(changed) <= 2, one.description


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
