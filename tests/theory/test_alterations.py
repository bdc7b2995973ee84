"""Altered polynomials differ in one place."""

from iclcheck.theory.algebra.alterations import Alteration, Vocabulary, alterations
from iclcheck.theory.algebra.trace_polynomials import TracePolynomial, scalar, trace
from iclcheck.theory.algebra.words import Letter
from iclcheck.theory.one_layer import formulas
from iclcheck.theory.symbols import LAMBDA, NEXT_LENGTH, PSI, A, I, N

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
