"""The derivations behind the audits, against independent routes and known answers."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.audits import attention_hessian, exponential_variances, least_squares_hessian, merged_heads
from iclcheck.theory.one_layer.assumptions import AssumptionError

DERIVATIONS = [
    least_squares_hessian.derivation, least_squares_hessian.refutation, attention_hessian.derivation,
    attention_hessian.refutation, exponential_variances.derivation, exponential_variances.failure_refutation,
    exponential_variances.figure_refutation, merged_heads.derivation, merged_heads.refutation,
]  # fmt: skip


@pytest.mark.parametrize(
    "derivation", DERIVATIONS, ids=lambda one: f"{one.__module__.rpartition('.')[2]}.{one.__name__}"
)
def test_every_step_holds_at_four_random_instances(derivation) -> None:  # type: ignore[no-untyped-def]
    assert derivation().failures(seeds=(0, 1, 2, 3)) == []


# The Hessian of the in-context risk


@settings(max_examples=20, deadline=None, derandomize=True)
@given(d=st.integers(1, 4), n=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_hessian_is_that_of_the_written_out_risk(d: int, n: int, seed: int) -> None:
    X = np.random.default_rng(seed).integers(-3, 4, size=(n, d))
    w = sp.symbols(f"w0:{d}")
    risk = sum((sum(int(a) * b for a, b in zip(row, w, strict=True)) - 1) ** 2 for row in X) / sp.Integer(2 * n)
    expected = np.array(sp.hessian(risk, w).tolist(), dtype=float)
    # Whole numbers divided by n: both are rounded once.
    assert np.allclose(least_squares_hessian.hessian(X.tolist())["hessian"], expected, rtol=1e-15, atol=1e-15)


def test_no_examples_are_refused_in_one_sentence() -> None:
    with pytest.raises(AssumptionError, match="one example per row"):
        least_squares_hessian.hessian([])


# The prediction as a quadratic form


def test_descartes_rule_counts_the_signs_of_known_matrices() -> None:
    assert attention_hessian.signs(np.diag([2, -1, 0, -3])) == (1, 2)
    assert attention_hessian.signs(np.array([[0, 1], [1, 0]])) == (1, 1)
    assert attention_hessian.signs(np.zeros((3, 3), dtype=int)) == (0, 0)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(d=st.integers(1, 2), n=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_form_has_as_many_negative_eigenvalues_as_the_prompt_has_rank(d: int, n: int, seed: int) -> None:
    E = np.random.default_rng(seed).integers(-1, 2, size=(d + 1, n + 1)).astype(object)
    E[d, n], E[0, n] = 0, 1
    rank = np.linalg.matrix_rank(E.astype(float))  # entries -1, 0, 1: far from any doubt
    assert attention_hessian.signs(attention_hessian.form_matrix(E)) == (rank, rank)
    assert np.array_equal(attention_hessian.form_matrix(E), attention_hessian.printed_form(E))


def test_with_one_example_there_are_two_whatever_the_dimension() -> None:
    for d in (1, 2, 5):
        found = attention_hessian.eigenvalue_counts([[1.0] + [0.0] * (d - 1)], [1.0], [0.5] * d)
        assert found["negative"] == 2 if d > 1 else found["negative"] in (1, 2)
        assert found["negative"] + found["positive"] + found["zero"] == (d + 1) ** 2


@pytest.mark.parametrize(
    ("X", "y", "x_query", "words"),
    [
        ([[1.0]], [1.0], [0.0], "x_query is zero"),
        ([[1.0]], [1.0, 2.0], [1.0], "y needs shape"),
        ([1.0], [1.0], [1.0], "one example per row"),
        ([[1.0] * 60] * 60, [1.0] * 60, [1.0] * 60, "give a shorter one"),
    ],
)
def test_prompts_that_cannot_be_counted_are_refused(X: object, y: object, x_query: object, words: str) -> None:
    with pytest.raises(AssumptionError, match=words):
        attention_hessian.eigenvalue_counts(X, y, x_query)


# Random exponential variances


@pytest.mark.parametrize("x", [0.1, 0.7, 2.0, 5.0])
def test_the_variance_given_the_query_is_that_of_the_inverse_gaussian_integral(x: float) -> None:
    """E[lambda | x] by numerical integration over lambda: another route than the tail integral of the Laplace law."""
    from scipy.integrate import quad

    def density(power: float) -> float:
        value, _ = quad(lambda r: 2 * r ** (2 * power) * np.exp(-(r**2) - x**2 / (2 * r**2)), 0, np.inf)  # lambda = r^2
        return float(value)

    xi = float(np.sqrt(2)) * x
    expected = exponential_variances.at_numbers(exponential_variances.conditional_variance(), {"xi": xi})
    # quad promises 1.5e-8 absolute or relative of each integral, whichever is larger; both are above 1e-3.
    assert density(1.0) / density(0.0) == pytest.approx(expected, rel=1e-4)


def test_it_is_the_quotient_of_bessel_functions_at_half_integers() -> None:
    x = sp.Symbol("x", positive=True)
    z = sp.sqrt(2) * x
    quotient = sp.besselk(sp.Rational(3, 2), z) / sp.besselk(sp.Rational(1, 2), z) * x / sp.sqrt(2)
    mean = exponential_variances.conditional_variance().subs(sp.Symbol("xi"), z)
    assert sp.simplify(sp.expand_func(quotient) - mean) == 0


def test_the_averages_of_traces_are_those_of_the_literature() -> None:
    """ZFB: E Lambda = I, E Lambda^2 = 2 I, E Lambda^3 = 6 I; and E tr(Lambda)^2 = d(d + 1)."""
    d = sp.Symbol("d")
    c = sp.Symbol("c")
    assert [exponential_variances.mean_of_traces([k]) for k in (1, 2, 3)] == [d * c, 2 * d * c**2, 6 * d * c**3]
    assert sp.expand(exponential_variances.mean_of_traces([1, 1]) - d * (d + 1) * c**2) == 0


def test_the_limits_at_the_scales_of_the_figure() -> None:
    assert [exponential_variances.limit_at(c) for c in (1, 4, 9)] == [Fraction(1, 3), Fraction(76, 3), 387]
    assert [exponential_variances.limit_at(c, c) for c in (1, 4, 9)] == [Fraction(1, 3), Fraction(4, 3), 3]


def test_a_query_without_a_task_is_refused() -> None:
    with pytest.raises(AssumptionError, match="give both or neither"):
        exponential_variances.predict(1, 2, 2, x_query=[1.0])


# Merged heads


def test_a_head_with_an_orthogonal_key_query_is_a_fixed_point_and_another_is_not() -> None:
    law = {"covariance": [[2.0, 0.0], [0.0, 1.0]], "context_length": 3, "value_gains": [0.0]}
    # <U, Lambda^2> = 4 - 4 and 4 + 4
    still = merged_heads.slopes_for_user(**law, key_queries=[[[1.0, 5.0], [0.0, -4.0]]])
    moving = merged_heads.slopes_for_user(**law, key_queries=[[[1.0, 5.0], [0.0, 4.0]]])
    assert still["value_gain_slopes"] == [0.0]
    assert moving["value_gain_slopes"] == [-8.0]
    assert still["loss"] == moving["loss"] == 1.5 > still["minimal_loss"]


def test_heads_that_add_up_to_the_minimum_have_its_loss() -> None:
    law = {"covariance": [[2.0, 0.3], [0.3, 1.0]], "context_length": 3}
    best = merged_heads.slopes_for_user(**law, value_gains=[0.0], key_queries=np.zeros((1, 2, 2)).tolist())
    star = np.array(best["preconditioner"])
    split = merged_heads.slopes_for_user(**law, value_gains=[2.0, -1.0], key_queries=[star.tolist(), star.tolist()])
    # A dozen products of numbers near 1
    assert split["loss"] == pytest.approx(split["minimal_loss"], rel=1e-13)
    assert np.allclose(split["key_query_slopes"], 0, atol=1e-13)


@pytest.mark.parametrize(
    ("gains", "U", "words"),
    [(1.0, [[[1.0]]], "one number for each head"), ([1.0, 2.0], [[[1.0]]], "key_queries needs shape")],
)
def test_heads_of_other_shapes_are_refused(gains: object, U: object, words: str) -> None:
    with pytest.raises(AssumptionError, match=words):
        merged_heads.slopes_for_user([[1.0]], 2, gains, U)
