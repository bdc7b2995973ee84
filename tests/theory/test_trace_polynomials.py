"""The ring of trace polynomials: its normal form, its operations, and what it refuses."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.algebra.evaluation import evaluate, evaluate_over_samples
from iclcheck.theory.algebra.trace_polynomials import (
    TracePolynomial,
    degree,
    identity,
    inverse_of_monomial,
    map_scalars,
    matrix,
    number,
    scalar,
    select,
    substitute,
    sum_over_samples,
    trace,
    vector,
    zero,
)

A, B, C = matrix("A"), matrix("B"), matrix("C")
S = matrix("S", symmetric=True)
v, z, x, y = vector("v"), vector("z"), vector("x"), vector("y")
u, N, d = scalar("u"), scalar("N"), scalar("d")

Rational = Callable[[int, int], dict[str, Any]]
Programme = Callable[..., tuple[TracePolynomial, Any]]
programmes = st.lists(st.integers(0, 12), min_size=2, max_size=12)


def test_a_trace_does_not_change_under_rotation_and_transposition() -> None:
    assert trace(A * B * C) == trace(B * C * A) == trace(C.T * B.T * A.T)
    assert trace(A * B * C) != trace(A * C * B)
    assert trace(A * B) != trace(A * B.T)


def test_a_symmetric_letter_is_its_own_transpose() -> None:
    assert S.T == S
    assert A.T != A
    assert trace(S * A) == trace(S * A.T)
    assert trace(B * A) != trace(B * A.T)


def test_a_trace_through_the_line_is_a_bilinear_form() -> None:
    assert trace(v * z.T * A) == z.T * A * v == v.T * A.T * z
    assert trace(v * z.T * A * z * v.T) == (z.T * A * z) * (v.T * v)


def test_bilinear_forms_commute_and_transpose() -> None:
    assert (v.T * A * z) * (z.T * B * v) == (z.T * B * v) * (v.T * A * z)
    assert v.T * A * z == z.T * A.T * v
    assert v * (z.T * A * v) * z.T == (v.T * A.T * z) * (v * z.T)
    assert (v * z.T) * (A * v) == v * (z.T * A * v)  # cut right behind the first letter
    assert (v.T * A) * (v * z.T) == (v.T * A * v) * z.T


def test_letters_cancel_against_their_inverses() -> None:
    inverse = A**-1
    assert inverse * A == A * inverse == identity()
    assert B * inverse * A * B == B**2
    assert identity() == inverse.T * A.T
    assert inverse * A.T != identity()
    assert trace(inverse * B * A) == trace(B)  # around the corner
    assert B**-1 * inverse == (A * B) ** -1
    assert trace(inverse * v * z.T * A) == z.T * v  # around a corner that passes through the line


def test_the_trace_of_the_identity_is_the_symbol_of_its_space() -> None:
    assert trace(identity()) == d
    assert trace(identity("m")) == scalar("m")
    assert trace(A * A**-1) == d
    assert trace(identity("1")) == 1
    assert trace(2 * identity() + 3 * A * A**-1) == 5 * d


def test_scalars_are_commuting_symbols_with_integer_powers() -> None:
    assert u * N == N * u
    assert N**-1 * N == 1
    assert (u * A) * (N**-1 * B) == N**-1 * u * A * B
    assert (2 * u**2) ** -2 == u**-4 / 4
    assert u**0 == 1


def test_terms_that_cancel_leave_zero() -> None:
    assert trace(A * B - B * A) == 0
    assert not trace(A * B - B * A)
    assert trace(A * B)
    assert A
    assert zero("d", "d") == A - A
    assert (A + B) * (A - B) == A**2 - A * B + B * A - B**2
    assert 1 - (u - 3) == 4 - u
    assert number(1) - u == 1 - u
    assert u + 1 == 1 + u
    assert A * Fraction(1, 2) == A / 2


def test_polynomials_are_equal_only_with_equal_shapes_and_hash_alike() -> None:
    assert zero("d", "d") != zero()
    assert A * B != "A B"
    assert hash(trace(A * B)) == hash(trace(B * A))
    assert len({trace(A * B), trace(B * A), trace(A * B.T)}) == 2


def test_shapes_that_do_not_match_are_refused() -> None:
    tall = matrix("T", rows="d", cols="m")
    with pytest.raises(ValueError, match="equal shapes to add, got d x d and d x 1"):
        A + v
    with pytest.raises(ValueError, match="matching shapes to multiply, got d x m and d x d"):
        tall * A
    with pytest.raises(ValueError, match="square matrix for a trace, got d x m"):
        trace(tall)
    assert trace(tall.T * A * tall) == trace(A * tall * tall.T)


def test_shapes_follow_the_spaces_of_the_letters() -> None:
    tall, flat = matrix("T", rows="d", cols="m"), matrix("F", rows="m")
    t = vector("t", space="m")
    assert ((tall * flat).rows, (tall * flat).cols) == ("d", "d")
    assert ((flat * tall * t).rows, (flat * tall * t).cols) == ("m", "1")
    assert trace(flat * tall) == trace(tall * flat)
    assert trace(flat * tall * 0 + identity("m")) == scalar("m")


def test_only_single_terms_without_traces_have_an_inverse() -> None:
    with pytest.raises(ValueError, match="one square term to invert, got A \\+ B; name the sum by a letter"):
        (A + B) ** -1
    with pytest.raises(ValueError, match="without traces to invert"):
        inverse_of_monomial(trace(A) * B)
    with pytest.raises(ValueError, match="one square term to invert"):
        inverse_of_monomial(v)
    with pytest.raises(ValueError, match="one square term to invert"):
        inverse_of_monomial(zero("d", "d"))
    with pytest.raises(ValueError, match="square matrix letter to invert"):
        inverse_of_monomial(v * z.T)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(codes=programmes, size=st.integers(1, 3), seed=st.integers(0, 5))
def test_random_operations_give_the_same_on_polynomials_and_on_matrices(
    codes: list[int], size: int, seed: int, rational_values: Rational, run_programme: Programme
) -> None:
    values = rational_values(size, seed)
    polynomial, array = run_programme(codes, values)
    letters = {name: value for name, value in values.items() if name != "B^-1"}
    assert np.array_equal(evaluate(polynomial, letters), array)
    assert evaluate(trace(polynomial), letters) == np.trace(array)
    assert np.array_equal(evaluate(polynomial.T, letters), array.T)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(codes=programmes, other=programmes, size=st.integers(1, 3), seed=st.integers(0, 5))
def test_substitution_is_running_the_same_programme_on_other_matrices(
    codes: list[int],
    other: list[int],
    size: int,
    seed: int,
    rational_values: Rational,
    run_programme: Programme,
) -> None:
    """A -> another programme's value, S -> v v^T, u -> u + 1, d -> 7 (the trace of an identity by name)."""
    values = rational_values(size, seed)
    replacement, array = run_programme(other[:4], values)
    polynomial, _ = run_programme(codes, values)
    replaced = substitute(polynomial, {"A": replacement, "S": v * v.T}, {"u": u + 1})
    _, expected = run_programme(codes, {**values, "A": array, "S": values["v"] @ values["v"].T, "u": values["u"] + 1})
    letters = {name: value for name, value in values.items() if name != "B^-1"}
    assert np.array_equal(evaluate(replaced, letters), expected)


def test_substitution_transposes_inverts_and_replaces_the_dimension() -> None:
    assert substitute(A.T * B, {"A": B * C}) == C.T * B.T * B
    assert substitute(A**-1 * B, {"A": B * C}) == C**-1
    assert substitute(trace(A) + d, {"A": u * identity()}) == (u + 1) * d
    assert substitute(trace(identity()), scalars={"d": number(3)}) == 3
    assert substitute(A, {"A": zero("d", "d")}) == zero("d", "d")


def test_substitution_refuses_what_it_cannot_do_exactly() -> None:
    with pytest.raises(ValueError, match="without sample indices to substitute"):
        substitute(sum_over_samples(x.T * A * x, ("x",)), {"A": B})
    with pytest.raises(ValueError, match="one square term to invert"):
        substitute(A**-1, {"A": B + C})
    with pytest.raises(ValueError, match="one square term to invert"):
        substitute(u**-1, scalars={"u": u + 1})
    with pytest.raises(ValueError, match="symmetric replacement for the symmetric letter S"):
        substitute(trace(S * A), {"S": B})
    assert substitute(trace(S * A), {"S": B + B.T}) == trace(B * A) + trace(B.T * A)


def test_degree_select_and_map_scalars_act_term_by_term() -> None:
    polynomial = u**2 * trace(A * B * A) + N**-1 * v.T * A * v + trace(B)
    assert select(polynomial, lambda m: degree(m, "A") == 2) == u**2 * trace(A * B * A)
    assert select(polynomial, lambda m: degree(m, "A", "u") == 4) == u**2 * trace(A * B * A)
    assert select(polynomial, lambda m: degree(m, "N") < 0) == N**-1 * v.T * A * v
    doubled = map_scalars(polynomial, lambda scalars: number(1 if scalars else 5))
    assert doubled == trace(A * B * A) + v.T * A * v + 5 * trace(B)
    matrices = map_scalars(u * A + trace(B) * A * B - N * B, lambda scalars: number(2) * (u if scalars else 1))
    assert matrices == 2 * u * A + 2 * trace(B) * A * B - 2 * u * B


def test_sums_over_samples_keep_their_dummies_apart() -> None:
    total = sum_over_samples(x * x.T, ("x",))
    square = total * total
    ((monomial, value),) = square.terms.items()
    assert value == 1
    assert sorted(letter.index for letter in monomial.letters()) == [1, 1, 2, 2]
    assert square != sum_over_samples(x * x.T * x * x.T, ("x",))
    cube = square * total
    assert {letter.index for m in cube.terms for letter in m.letters()} == {1, 2, 3}
    assert sum_over_samples(u * trace(A) + u * (x.T * v), ("x",)) == N * u * trace(A) + u * (
        sum_over_samples(x, ("x",)).T * v
    )
    with pytest.raises(ValueError, match="do not nest"):
        sum_over_samples(total, ("x",))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(size=st.integers(1, 3), samples=st.integers(1, 3), seed=st.integers(0, 1000))
def test_sums_over_samples_multiply_like_plain_sums(size: int, samples: int, seed: int) -> None:
    draw = random.Random(f"samples {size} {samples} {seed}")

    def column() -> Any:
        return np.array([[Fraction(draw.randint(-3, 3))] for _ in range(size)], dtype=object)

    xs, ys = ([column() for _ in range(samples)] for _ in range(2))
    value_A = np.hstack([column() for _ in range(size)])
    linear = sum_over_samples(x * (y.T * A * x) + u * y, ("x", "y"))
    constant = sum_over_samples(x.T * y + trace(A) + 2, ("x", "y"))  # terms without a sample count N times
    polynomial = (linear.T * A * linear) * constant + trace(linear * linear.T)
    plain_linear = sum((p * (q.T @ value_A @ p)[0, 0] + 5 * q for p, q in zip(xs, ys, strict=True)), 0 * xs[0])
    plain_constant = sum((p.T @ q)[0, 0] + np.trace(value_A) + 2 for p, q in zip(xs, ys, strict=True))
    expected = (plain_linear.T @ value_A @ plain_linear)[0, 0] * plain_constant + (plain_linear.T @ plain_linear)[0, 0]
    values = {"A": value_A, "u": Fraction(5), "N": Fraction(samples)}
    assert evaluate_over_samples(polynomial, values, {"x": xs, "y": ys}) == expected
