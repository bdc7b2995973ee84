"""Values of trace polynomials: exact and floating, batched, with inverses, and over samples."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.algebra.evaluation import evaluate, evaluate_over_samples, exact_inverse
from iclcheck.theory.algebra.trace_polynomials import (
    identity,
    matrix,
    scalar,
    sum_over_samples,
    trace,
    vector,
    zero,
)

A, B, v, x = matrix("A"), matrix("B"), vector("v"), vector("x")
u, N, d = scalar("u"), scalar("N"), scalar("d")
POLYNOMIAL = u**2 * A.T * B * A / 3 + trace(A * B.T) * v * v.T - N**-1 * identity() + (v.T * A * v) * B
SCALAR = trace(POLYNOMIAL) + d


def numbers(batch: tuple[int, ...], size: int, seed: int) -> dict[str, Any]:
    draw = np.random.default_rng([*batch, size, seed])
    return {
        "A": draw.normal(size=(*batch, size, size)),
        "B": draw.normal(size=(*batch, size, size)),
        "v": draw.normal(size=(*batch, size, 1)),
        "u": draw.normal(size=batch),
        "N": draw.integers(1, 9, size=batch).astype(float),
    }


def by_hand(values: dict[str, Any]) -> Any:
    A, B, v, u = (values[name] for name in ("A", "B", "v", "u"))
    eye = np.eye(len(A))
    return u**2 * A.T @ B @ A / 3 + np.trace(A @ B.T) * v @ v.T - eye / values["N"] + (v.T @ A @ v)[0, 0] * B


@settings(max_examples=30, deadline=None, derandomize=True)
@given(size=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_batch_is_evaluated_like_its_members(size: int, seed: int) -> None:
    values = numbers((2, 3), size, seed)
    matrices, scalars = evaluate(POLYNOMIAL, {**values, "d": size}), evaluate(SCALAR, {**values, "d": size})
    assert matrices.shape == (2, 3, size, size)
    assert scalars.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        one = {name: value[i, j] for name, value in values.items()}
        # rounding: at most 4 letters and 8 entries of size O(3), so some 1e2 eps of the terms' size O(1e3)
        np.testing.assert_allclose(matrices[i, j], by_hand(one), rtol=0, atol=1e-11)
        np.testing.assert_allclose(evaluate(POLYNOMIAL, one), by_hand(one), rtol=0, atol=1e-11)
        np.testing.assert_allclose(scalars[i, j], np.trace(by_hand(one)) + size, rtol=0, atol=1e-11)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(size=st.integers(1, 3), seed=st.integers(0, 5))
def test_the_exact_and_the_floating_value_agree(
    size: int, seed: int, rational_values: Callable[[int, int], dict[str, Any]]
) -> None:
    exact = {name: value for name, value in rational_values(size, seed).items() if name in "ABvuN"}
    floating = {
        name: value.astype(float) if isinstance(value, np.ndarray) else float(value) for name, value in exact.items()
    }
    value = evaluate(SCALAR, exact)
    assert isinstance(value, Fraction)
    # integer entries up to 9 with 3 x 3 products: float64 is exact but for the divisions by 3, N and 25
    assert float(value) == pytest.approx(evaluate(SCALAR, floating), rel=1e-13, abs=1e-11)


def test_a_polynomial_of_zero_terms_has_a_zero_of_its_shape() -> None:
    values = {"A": np.ones((3, 3))}
    assert evaluate(zero(), values) == 0
    assert np.array_equal(evaluate(zero("d", "d"), values), np.zeros((3, 3)))
    assert np.array_equal(evaluate(zero("d", "1"), values), np.zeros((3, 1)))
    assert np.array_equal(evaluate(zero("1", "d"), values), np.zeros((1, 3)))
    assert evaluate(zero("d", "d"), values).dtype == np.float64


def test_the_zero_beside_exact_matrices_is_exact() -> None:
    value = evaluate(zero("d", "1"), {"A": np.array([[Fraction(1)]])})
    assert [type(entry) for entry in value.flat] == [int]  # a floating 0 would make every sum with it floating


@pytest.mark.parametrize("count", [4, np.int64(4), Fraction(4), 4.0])
def test_a_number_of_any_kind_beside_floating_matrices_gives_floating_values(count: Any) -> None:
    value = evaluate(N**-1 * A, {"A": np.eye(2), "N": count})
    assert value.dtype == np.float64
    assert np.array_equal(value, np.eye(2) / 4)
    assert isinstance(evaluate(N**-2, {"N": count}), float)


def test_the_dimension_is_read_off_the_matrices_or_given() -> None:
    assert evaluate(trace(identity()), {"A": np.ones((4, 4))}) == 4
    assert evaluate(trace(identity()), {"d": 5}) == 5
    with pytest.raises(ValueError, match="at least one matrix of the space d to know its dimension"):
        evaluate(trace(identity()), {"u": 1})


def test_symbols_and_letters_without_a_value_are_named() -> None:
    with pytest.raises(ValueError, match=r"need a value for the symbol u, got \['A'\]"):
        evaluate(u * trace(A), {"A": np.ones((2, 2))})
    with pytest.raises(ValueError, match=r"need a value for the letter B, got \['A'\]"):
        evaluate(trace(A * B), {"A": np.ones((2, 2))})


def test_inverse_letters_are_inverted_exactly_or_in_floats(
    rational_values: Callable[[int, int], dict[str, Any]],
) -> None:
    values = rational_values(3, 1)
    word = A * B**-1 * (B**-1).T
    expected = values["A"] @ values["B^-1"] @ values["B^-1"].T
    assert np.array_equal(evaluate(word, {"A": values["A"], "B": values["B"]}), expected)
    floating = evaluate(word, {"A": values["A"].astype(float), "B": values["B"].astype(float)})
    # B = L R with entries up to 3: condition number below 1e4, so 1e4 eps of entries O(1e3)
    np.testing.assert_allclose(floating, expected.astype(float), rtol=0, atol=1e-8)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(size=st.integers(1, 4), entries=st.lists(st.integers(-3, 3), min_size=16, max_size=16))
def test_the_exact_inverse_multiplies_to_the_identity(size: int, entries: list[int]) -> None:
    matrix = np.array([Fraction(e) for e in entries[: size * size]], dtype=object).reshape(size, size)
    determinant = round(np.linalg.det(matrix.astype(float)))
    if determinant == 0:
        with pytest.raises(ValueError, match="invertible matrix, got a singular one"):
            exact_inverse(matrix)
    else:
        assert np.array_equal(exact_inverse(matrix) @ matrix, np.eye(size, dtype=int))


def test_each_sample_index_is_summed_on_its_own() -> None:
    samples = [np.array([[Fraction(k)], [Fraction(1)]], dtype=object) for k in (1, 2, 3)]
    total = sum_over_samples(x * x.T, ("x",))
    values = {"A": np.array([[0, 1], [0, 0]], dtype=object), "N": Fraction(3)}
    gram = [[1 + 4 + 9, 6], [6, 3]]
    assert np.array_equal(evaluate_over_samples(total, values, {"x": samples}), gram)
    number = evaluate_over_samples(trace(total * A * total), values, {"x": samples})
    assert isinstance(number, Fraction)  # not a 1 x 1 matrix
    assert number == 14 * 6 + 6 * 3
    # x_1^T x_1 x_2^T x_2 comes from (i, j) = (1, 2) and from (2, 1): both count
    assert evaluate_over_samples(trace(total) * trace(total), values, {"x": samples}) == (14 + 3) ** 2
    with pytest.raises(ValueError, match="same number of samples for every letter"):
        evaluate_over_samples(total, values, {"x": samples, "y": samples[:2]})


def test_each_space_has_its_own_dimension() -> None:
    """F maps the space d (here 1) to the space m (here 2): F^T F + I is 1 x 1, F F^T + I_m is 2 x 2."""
    F, value = matrix("F", rows="m"), np.ones((2, 1))
    np.testing.assert_array_equal(evaluate(F.T * F + identity("d"), {"F": value}), [[3.0]])
    np.testing.assert_array_equal(evaluate(F * F.T + identity("m"), {"F": value}), [[2.0, 1.0], [1.0, 2.0]])
    # the symbol d counts the columns of F, for each member of a batch
    assert np.array_equal(evaluate(d * F, {"F": value}), value)
    assert np.array_equal(evaluate(d * F, {"F": np.ones((5, 2, 1))}), np.ones((5, 2, 1)))
    with pytest.raises(ValueError, match="need a value for at least one matrix of the space k"):
        evaluate(identity("k"), {"F": value})
