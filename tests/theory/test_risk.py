"""The risk of a trained layer on another law, against moment tensors, and ZFB's theorem as it is printed."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory import symbols
from iclcheck.theory.algebra.evaluation import evaluate
from iclcheck.theory.one_layer import fixed_point, risk
from iclcheck.theory.one_layer.assumptions import AssumptionError

Array = Any

# The risk is a sum of two terms that are not negative, each a few products of matrices of size at most 6 with entries
# of order 1 and an A that carries 1e-10 (tests/theory/test_predictions.py).
RELATIVE = 1e-9


def random_covariance(draw: np.random.Generator, d: int) -> Array:
    root = draw.normal(size=(d, d))
    return root @ root.T + 0.3 * np.eye(d)


def enumerated_risk(A: Array, Lambda: Array, Psi: Array, noise: float, m: int, query: Array = None) -> float:
    """E (s^T A x_q - w.x_q)^2 by Isserlis' fourth moments, a double sum over the M samples; query: E x_q x_q^T."""
    Q = Lambda if query is None else query
    same = (
        np.einsum("ab,cd->abcd", Lambda, Lambda)
        + np.einsum("ac,bd->abcd", Lambda, Lambda)
        + np.einsum("ad,bc->abcd", Lambda, Lambda)
    )
    second = np.zeros_like(Lambda)
    for i, j in product(range(m), repeat=2):
        moments = same if i == j else np.einsum("ab,cd->abcd", Lambda, Lambda)
        second += np.einsum("abcd,bc->ad", moments, Psi) + (noise * Lambda if i == j else 0)
    cross = Lambda @ Psi
    quadratic = np.trace(A.T @ (second / m**2) @ A @ Q)
    return float(quadratic - 2 * np.trace(A.T @ cross @ Q) + np.trace(Psi @ Q))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(d=st.integers(1, 6), n=st.integers(1, 30), m=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_the_risk_is_that_of_the_enumerated_moments(d: int, n: int, m: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    Lambda, tested, Psi = (random_covariance(draw, d) for _ in range(3))
    noise, other = draw.uniform(0, 2, size=2)
    A = fixed_point.fixed_point(Lambda, n, Psi, noise).preconditioner
    found = risk.trained_risk(Lambda, n, Psi, noise, m, tested, other)
    assert found == pytest.approx(enumerated_risk(A, tested, Psi, other, m), rel=RELATIVE)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(d=st.integers(1, 6), n=st.integers(1, 30), m=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_shifts_of_task_and_query_enter_as_in_the_enumerated_moments(d: int, n: int, m: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    Lambda, Psi, tested, other, query = (random_covariance(draw, d) for _ in range(5))
    A = fixed_point.fixed_point(Lambda, n, Psi, 0.2).preconditioner
    fixed = draw.normal(size=(d, 1))
    for Q in (query, fixed @ fixed.T):
        found = risk.trained_risk(
            Lambda, n, Psi, 0.2, m, tested, 0.4, test_task_covariance=other, test_query_covariance=Q
        )
        expected = enumerated_risk(A, tested, other, 0.4, m, Q)
        size = np.linalg.norm(A) * np.linalg.norm(tested)
        # One query may lie where the bias is small: the rounding is that of terms of the size of E (s^T A x_q)^2.
        assert abs(found - expected) <= 1e-12 * (1 + size) ** 2 * (1 + d) * np.trace(other) * np.trace(Q) + 1e-9 * found


@settings(max_examples=30, deadline=None, derandomize=True)
@given(d=st.integers(1, 5), n=st.integers(1, 20), m=st.integers(1, 20), seed=st.integers(0, 10**6))
def test_training_at_the_length_of_the_prompt_is_best_for_every_query(d: int, n: int, m: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    Lambda, x_q = random_covariance(draw, d), draw.normal(size=(d, 1))
    at_query = {"test_length": m, "test_query_covariance": x_q @ x_q.T}
    assert risk.trained_risk(Lambda, m, **at_query) <= risk.trained_risk(Lambda, n, **at_query) * (1 + RELATIVE)


def test_long_contexts_tolerate_a_shift_of_task_and_query_but_not_of_the_covariates() -> None:
    """A = Lambda^-1 up to terms of order 1/N: the risk is below a constant over N where Lambda' = Lambda."""
    long = {"test_task_covariance": [[1.0, 0.0], [0.0, 0.0]], "test_query_covariance": [[1.0, -2.0], [-2.0, 4.0]]}
    Lambda = [[1.0, 0.0], [0.0, 2.0]]
    risks = [risk.trained_risk(Lambda, n, **long) for n in (10**3, 10**4, 10**5)]
    # Each is c/N + O(1/N^2), and the second term is at most some hundred over N of the first.
    assert risks[1] == pytest.approx(risks[0] / 10, rel=0.1)
    assert risks[2] == pytest.approx(risks[1] / 10, rel=0.01)
    # by hand: with A = Lambda^-1, Lambda' = 2 Lambda the error is w.x_q, of mean square e_1^T Q e_1 = 1
    twice = {**long, "test_covariance": [[2.0, 0.0], [0.0, 4.0]]}
    assert risk.trained_risk(Lambda, 10**6, **twice) == pytest.approx(1, rel=1e-4)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(d=st.integers(1, 6), n=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_on_the_law_of_training_it_is_twice_the_minimal_loss(d: int, n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    law = (random_covariance(draw, d), n, random_covariance(draw, d), draw.uniform(0, 1))
    assert risk.trained_risk(*law) == pytest.approx(2 * fixed_point.fixed_point(*law).loss, rel=RELATIVE)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(d=st.integers(1, 5), n=st.integers(1, 20), m=st.integers(1, 20), seed=st.integers(0, 10**6))
def test_a_longer_prompt_is_better_and_training_at_its_length_is_best(d: int, n: int, m: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    Lambda = random_covariance(draw, d)
    at_m, longer, best = (
        risk.trained_risk(Lambda, trained, test_length=tested) for trained, tested in ((n, m), (n, m + 1), (m, m))
    )
    assert longer < at_m
    assert best <= at_m * (1 + RELATIVE)
    assert (n == m) == (abs(best - at_m) <= RELATIVE * at_m)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(d=st.integers(1, 5), n=st.integers(1, 20), m=st.integers(1, 20), seed=st.integers(0, 10**6))
def test_zfb_theorem_4_2_as_printed_is_the_derived_excess(d: int, n: int, m: int, seed: int) -> None:
    """(1/M) tr(Sig Gamma^-2 Lambda) + (1/N^2)(|a|^2 in Gamma^-2 Lambda^3 + 2 tr(Lambda) |a|^2 in Gamma^-2 Lambda^2 +
    tr(Lambda)^2 |a|^2 in Gamma^-2 Lambda): typed here from the paper, in no module. Gamma has condition numbers of some
    hundred, its square of some 1e5, so that 1e-8 leaves a factor of more than a hundred over 1e5 eps."""
    draw = np.random.default_rng(seed)
    Lambda, Sig, a = random_covariance(draw, d), random_covariance(draw, d), draw.normal(size=(d, 1))
    size, eye = np.trace(Lambda), np.eye(d)
    Gamma = (1 + 1 / n) * Lambda + size / n * eye
    inverse_square = np.linalg.inv(Gamma @ Gamma)
    forms = [float((a.T @ inverse_square @ np.linalg.matrix_power(Lambda, k) @ a).item()) for k in (3, 2, 1)]
    printed = np.trace(Sig @ inverse_square @ Lambda) / m
    printed += (forms[0] + 2 * size * forms[1] + size**2 * forms[2]) / n**2
    values = {"Lambda": Lambda, "Sig": Sig, "a": a, "Gamma": Gamma, "K": Lambda + size * eye, "N": n, "M": m}
    assert float(evaluate(risk.excess_of_trained_layer(), values)) == pytest.approx(printed, rel=1e-8)
    A = np.linalg.inv(Gamma)
    assert float(evaluate(risk.excess_of_labels(symbols.A), {**values, "A": A})) == pytest.approx(printed, rel=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test_length": 0}, "test_length needs a whole number"),
        ({"test_length": 2.5}, "test_length needs a whole number"),
        ({"test_covariance": [[1.0, 0.0], [0.0, 1.0]]}, "test_covariance needs shape"),
        ({"test_covariance": [[-1.0]]}, "test_covariance has eigenvalue"),
        ({"test_noise_variance": -0.1}, "test_noise_variance needs a number of at least 0"),
        ({"test_task_covariance": [[-1.0]]}, "test_task_covariance has eigenvalue"),
        ({"test_task_covariance": [[1.0, 0.0], [0.0, 1.0]]}, "test_task_covariance needs shape"),
        ({"test_query_covariance": [[-1.0]]}, "test_query_covariance has eigenvalue"),
        ({"test_query_covariance": [[1.0, 0.0], [0.0, 1.0]]}, "test_query_covariance needs shape"),
        ({"test_query_covariance": [1.0]}, "test_query_covariance needs a square matrix"),
    ],
)
def test_bad_test_laws_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AssumptionError, match=message):
        risk.trained_risk([[1.0]], 3, **arguments)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(d=st.integers(1, 6), n=st.integers(1, 30), m=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_for_linear_labels_the_excess_is_at_most_of_order_1_over_m_and_1_over_n_squared(
    d: int, n: int, m: int, seed: int
) -> None:
    """The bound of docs/other_laws.md, with Sig = Lambda a a^T Lambda + (a.Lambda a + sigma^2) Lambda."""
    draw = np.random.default_rng(seed)
    Lambda, a, noise = random_covariance(draw, d), draw.normal(size=(d, 1)), draw.uniform(0, 2)
    total = np.trace(Lambda)
    size, inverse = float((a.T @ Lambda @ a)[0, 0]), float((a.T @ np.linalg.solve(Lambda, a))[0, 0])
    K = Lambda + total * np.eye(d)
    values = {
        "Lambda": Lambda, "a": a, "K": K, "Gamma": Lambda + K / n, "N": float(n), "M": float(m),
        "Sig": Lambda @ a @ a.T @ Lambda + (size + noise) * Lambda,
    }  # fmt: skip
    excess = float(evaluate(risk.excess_of_trained_layer(), values))
    assert excess <= (1 + RELATIVE) * (((d + 1) * size + d * noise) / m + 4 * total**2 * inverse / n**2)
