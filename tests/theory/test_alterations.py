"""Altered polynomials differ in one place, and every place is altered."""

from collections import Counter

from iclcheck.theory.algebra.alterations import Alteration, Vocabulary, alterations
from iclcheck.theory.algebra.trace_polynomials import (
    TracePolynomial,
    identity,
    matrix,
    number,
    scalar,
    trace,
    vector,
)
from iclcheck.theory.algebra.words import LINE, Letter
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


Told = Counter[tuple[str, str, TracePolynomial]]


def told(polynomial: TracePolynomial, vocabulary: Vocabulary) -> Told:
    """Kind, what was done and what came of it, of each alteration of a polynomial with one term."""
    found = alterations(polynomial, vocabulary)
    return Counter((one.kind, one.description.split(" in the term ")[0], one.polynomial) for one in found)


def of_every_term(p: TracePolynomial) -> Told:
    """What is done to a term whatever its factors are."""
    return Counter(
        [
            ("coefficient", "a coefficient doubled", p + p),
            ("coefficient", "a coefficient halved", p / 2),
            ("coefficient", "a coefficient with its sign turned", -p),
            ("coefficient", "a coefficient 5 % larger", p + p / 20),
            ("dropped term", "everything left out", p - p),
        ]
    )


def test_each_symbol_of_a_term_is_mistaken_and_each_exponent_is_off_by_one() -> None:
    u, after, d = scalar("u"), scalar(NEXT_LENGTH), scalar("d")
    term = N**-1 * u
    assert told(term, Vocabulary({"N": (NEXT_LENGTH, "d")})) == of_every_term(term) + Counter(
        [
            ("symbol", "(N+1) for N", after**-1 * u),
            ("symbol", "d for N", d**-1 * u),
            ("exponent", "N^0 for N^-1", u),
            ("exponent", "N^-2 for N^-1", N**-1 * N**-1 * u),
            ("exponent", "u^0 for u^1", N**-1),
            ("exponent", "u^2 for u^1", N**-1 * u * u),
            ("symbol", "(N+1) for N in every term", after**-1 * u),
            ("symbol", "d for N in every term", d**-1 * u),
        ]
    )


def test_traces_and_their_letters_are_altered_one_at_a_time() -> None:
    B, I = matrix("B"), identity()  # noqa: E741
    term = trace(A) * trace(A * B) * I
    assert told(term, VOCABULARY) == of_every_term(term) + Counter(
        [
            ("trace", "a trace left out", trace(A) * I),
            ("trace", "a trace left out", trace(A * B) * I),
            ("trace", "a trace split", trace(A) * trace(A) * trace(B) * I),
            ("trace", "a trace opened", trace(A) * A * B),
            ("trace", "a trace opened", trace(A * B) * A),
            ("letter", "A doubled", trace(A * A) * trace(A * B) * I),
            ("letter", "A left out", trace(A * B) * I),
            ("letter", "A doubled", trace(A) * trace(A * A * B) * I),
            ("letter", "A left out", trace(A) * trace(B) * I),
            ("letter", "B doubled", trace(A) * trace(A * B * B) * I),
            ("letter", "B left out", trace(A) * trace(A) * I),
            ("transpose", "A transposed", trace(A) * trace(A.T * B) * I),
            ("transpose", "B transposed", trace(A) * trace(A * B.T) * I),
        ]
    )


def test_a_vector_is_mistaken_for_another_on_either_side_of_a_bilinear_form() -> None:
    v, z, b, C = vector("v"), vector("z"), vector("b"), matrix("C")
    bilinear = v.T * A * z
    term = bilinear * trace(C)
    vocabulary = Vocabulary({}, {name: (Letter("b", cols=LINE),) for name in "vz"})
    assert told(term, vocabulary) == of_every_term(term) + Counter(
        [
            ("trace", "a trace left out", bilinear),
            ("trace", "a trace left out", trace(C)),
            ("letter", "b for v", b.T * A * z * trace(C)),
            ("letter", "b for z", v.T * A * b * trace(C)),
            ("transpose", "A transposed", v.T * A.T * z * trace(C)),
            ("letter", "A doubled", v.T * A * A * z * trace(C)),
            ("letter", "A left out", v.T * z * trace(C)),
            ("letter", "C doubled", bilinear * trace(C * C)),
            ("letter", "C left out", bilinear),
        ]
    )


def test_a_trace_that_comes_after_a_bilinear_form_is_split() -> None:
    # Closed words are kept in the order of their letters' names.
    bilinear, first, second = vector("a").T * vector("b"), matrix("c"), matrix("f")
    split = bilinear * trace(first) * trace(second)
    assert split in of_kind(bilinear * trace(first * second), "trace")


def test_a_word_is_closed_and_transposed_beside_its_traces() -> None:
    B = matrix("B")
    term = trace(A) * B
    assert told(term, Vocabulary()) == of_every_term(term) + Counter(
        [
            ("trace", "a trace left out", B),
            ("trace", "a trace put around the word", trace(A) * trace(B) * I),
            ("transpose", "the word transposed", trace(A) * B.T),
            ("transpose", "B transposed", trace(A) * B.T),
            ("letter", "A doubled", trace(A * A) * B),
            ("letter", "A left out", B),
            ("letter", "B doubled", trace(A) * B * B),
            ("letter", "B left out", trace(A) * I),
        ]
    )


def test_a_scalar_letter_is_left_out_once() -> None:
    eps = vector("eps", space=LINE)
    left_out = {one: times for one, times in told(eps, Vocabulary()).items() if "left out" in one[1]}
    assert left_out == {
        ("dropped term", "everything left out", number(0)): 1,
        ("trace", "a trace left out", number(1)): 1,
    }


def test_a_symbol_is_not_replaced_everywhere_where_two_terms_would_become_one() -> None:
    sum_of_both = N + scalar(NEXT_LENGTH)
    assert not [one for one in alterations(sum_of_both, VOCABULARY) if "every term" in one.description]
