"""The derivations of the mesa layers against independent routes, and what `predict` gives at bad conditioning."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from iclcheck.theory.algebra.evaluation import exact_inverse
from iclcheck.theory.mesa import backward_pass, mesa_layer, mesanet_layer, printed_limit, regulariser_limits
from iclcheck.theory.mesa.key_value_sequences import (
    KeyValueSequence,
    discount,
    least_squares,
    random_matrix,
    random_sequence,
    tangent,
)
from iclcheck.theory.mesa.verified_weights import decayed_sums, mesa_weights, mesanet_weights
from iclcheck.theory.one_layer.assumptions import AssumptionError

DERIVATIONS = [
    mesa_layer.derivation, printed_limit.refutation, mesanet_layer.derivation, mesanet_layer.refutation,
]  # fmt: skip


@pytest.mark.parametrize(
    "derivation", DERIVATIONS, ids=lambda one: f"{one.__module__.rpartition('.')[2]}.{one.__name__}"
)
def test_every_step_holds_at_three_random_instances(derivation) -> None:  # type: ignore[no-untyped-def]
    assert derivation().failures(seeds=(0, 1, 2)) == []


def floats(sequence: KeyValueSequence) -> dict[str, list]:  # type: ignore[type-arg]
    """A rational sequence as parameters of `predict`, of dyadic numbers."""
    keys, values = (
        [[float(entry) for entry in row[:, 0]] for row in part] for part in (sequence.keys, sequence.values)
    )
    return {"keys": keys, "values": values}


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999), size=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 2)))
def test_the_recursion_is_ridge_regression_with_discounted_samples(seed: int, size: tuple[int, int, int]) -> None:
    """The textbook formula with a diagonal matrix of weights, another route than sums or recursion."""
    sequence, T = random_sequence(seed, size), size[0]
    K, V = (np.hstack(part).T for part in (sequence.keys, sequence.values))
    Z = sp.diag(*[sp.Rational(*discount(sequence, T, i).as_integer_ratio()) for i in range(1, T + 1)])
    K, V = (
        sp.Matrix(one.shape[0], one.shape[1], [sp.Rational(*x.as_integer_ratio()) for x in one.ravel()])
        for one in (K, V)
    )
    zeta, lam = (
        sp.Rational(*Fraction(one).as_integer_ratio()) for one in (discount(sequence, T, 0), sequence.regulariser)
    )
    expected = ((K.T * Z * K + zeta / lam * sp.eye(size[1])).inv() * K.T * Z * V).T
    found = mesa_layer.weights_by_recursion(mesa_layer.recursion().parts, sequence)[-1]
    assert [Fraction(int(x.p), int(x.q)) for x in expected] == list(found.ravel())


def test_the_exact_derivative_agrees_with_a_small_difference() -> None:
    """With a step of 2^-200 the difference quotient is within some 2^-190 of the derivative."""
    sequence, direction = random_sequence(3, (3, 2, 2)), random_sequence(4, (3, 2, 2))
    h = Fraction(1, 2**200)

    def moved(a: tuple, b: tuple) -> tuple:  # type: ignore[type-arg]
        return tuple(x + h * y for x, y in zip(a, b, strict=True))

    shifted = KeyValueSequence(
        moved(sequence.keys, direction.keys), moved(sequence.values, direction.values), sequence.queries,
        moved(sequence.forget, direction.forget), sequence.regulariser + h * direction.regulariser,
    )  # fmt: skip
    quotient = (least_squares(shifted, 3) - least_squares(sequence, 3)) / h
    assert float(np.max(abs(quotient - tangent(sequence, direction, 3)))) < 2.0**-180


def test_a_gradient_with_one_sign_turned_fails_its_step() -> None:
    parts = {**backward_pass.gradient_parts()}
    sequence = random_sequence(5)
    pulls = backward_pass.random_pulls(5, sequence)
    right = backward_pass.stacked(backward_pass.gradients_of_sequence(parts, sequence, pulls))
    parts["pull on P"] = -parts["pull on P"]
    wrong = backward_pass.stacked(backward_pass.gradients_of_sequence(parts, sequence, pulls))
    assert not np.array_equal(right, wrong)


# The way back


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999))
def test_no_error_of_rank_one_grows_more_on_the_way_back_than_the_derived_factor(seed: int) -> None:
    values = mesa_layer.values_at(seed)
    R, before, key, gamma = (values[name] for name in ("R", "R'", "k", "gamma"))
    x, P = random_matrix(f"error/{seed}", len(R), 1), exact_inverse(R)
    error = x @ x.T
    carried = before @ P @ error @ P @ before / gamma
    factor = 1 + (key.T @ before @ key)[0, 0] / gamma
    # traces of E P are the relative sizes of errors of rank one
    assert np.trace(carried @ exact_inverse(before)) <= factor * np.trace(error @ P)


# Limits


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999), halvings=st.integers(0, 30))
def test_the_bounds_at_small_lambda_hold(seed: int, halvings: int) -> None:
    drawn = random_sequence(seed)
    sequence = KeyValueSequence(drawn.keys, drawn.values, drawn.queries, drawn.forget, drawn.regulariser / 2**halvings)
    letters = regulariser_limits.letters_at(sequence, len(sequence))
    Phi, c = letters["B"] @ letters["R"], letters["c"]
    size = [
        np.sum(one * one) for one in (Phi, c * letters["B"], Phi / c - letters["B"], c * letters["B"] @ letters["S"])
    ]
    assert size[0] <= size[1]
    assert size[2] <= size[3]


def test_divided_by_lambda_alone_the_limit_is_not_gated_linear_attention() -> None:
    """With gates 1/2 at both steps zeta_20 = 1/4: Phi/lambda goes to four times the decayed sum."""
    keys, values = [[1.0], [1.0]], [[1.0], [1.0]]
    lam = 2.0**-60
    rescaled = mesa_weights(keys, values, lam, 0.5)[-1, 0, 0] / lam
    assert decayed_sums(keys, values, lam, 0.5)[-1, 0, 0] == 1.5
    assert rescaled == pytest.approx(4 * 1.5, rel=2.0**-50)  # the remainder is lambda S/zeta = 6 lambda


def test_without_a_span_large_lambda_gives_the_least_norm() -> None:
    """One key (1, 1), value 1: of all weights with Phi k = 1 the least is (1/2, 1/2)."""
    found = mesa_weights([[1.0, 1.0]], [[1.0]], 2.0**60)
    assert np.allclose(found, 0.5, rtol=0, atol=2.0**-58)


# What `predict` gives


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), power=st.integers(-300, 300), scale=st.integers(-60, 60), near=st.integers(0, 40))
def test_weights_are_right_to_the_last_bits_at_every_condition_number(
    seed: int, power: int, scale: int, near: int
) -> None:
    """Keys that differ by 2^-near, lambda = 2^power: against rational numbers, within one rounding of the largest."""
    draw = np.random.default_rng(seed)
    keys = np.ldexp(draw.integers(-8, 9, size=(3, 2)).astype(float), scale)
    keys[1] = keys[0] * (1 + 2.0**-near)
    values, gates = draw.integers(-8, 9, size=(3, 2)).astype(float), draw.integers(1, 9, size=3) / 8
    found = mesa_weights(keys.tolist(), values.tolist(), 2.0**power, gates.tolist())
    K, V = (tuple(np.array([[Fraction(x)] for x in row], dtype=object) for row in part) for part in (keys, values))
    sequence = KeyValueSequence(K, V, K, tuple(map(Fraction, gates)), Fraction(2) ** power)
    for t in range(1, 4):
        exact = least_squares(sequence, t)
        off = max(abs(Fraction(x) - y) for x, y in zip(found[t - 1].ravel(), exact.ravel(), strict=True))
        assert off <= Fraction(2) ** -52 * max(abs(y) for y in exact.ravel())


def test_double_precision_alone_would_have_been_wrong() -> None:
    """At a condition number of some 2^51 the same system by numpy loses most digits: the test above could fail."""
    keys, lam = np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-25], [1.0, 1.0]]), 2.0**80
    H = np.eye(2) / lam + keys.T @ keys
    naive = (np.array([[1.0, 2.0, 4.0]]) @ keys) @ np.linalg.inv(H)
    found = mesa_weights(keys.tolist(), [[1.0], [2.0], [4.0]], lam)[-1]
    assert np.linalg.norm(naive - found) > 0.01 * np.linalg.norm(found)


def test_a_zero_key_teaches_nothing() -> None:
    assert mesa_weights([[0.0, 0.0]], [[3.0]], 1.0).tolist() == [[[0.0, 0.0]]]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"keys": [1.0]}, "one row per time"),
        ({"keys": [[1.0], [2.0]]}, "the same times"),
        ({"regulariser": 0.0}, "above 0"),
        ({"regulariser": -1.0}, "above 0"),
        ({"forget": [0.0]}, "nothing is left of the regulariser"),
        ({"forget": [1.5]}, "at most 1"),
        ({"forget": [0.5, 0.5]}, "one gate for each of the 1 times"),
        ({"keys": [[0.5] * 300] * 9, "values": [[1.0]] * 9}, "give a shorter sequence"),
        ({"keys": None}, "missing"),
    ],
)
def test_parameters_that_the_layer_does_not_have_are_refused(parameters: dict, words: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(AssumptionError, match=words):
        mesa_weights(**{"keys": [[1.0]], "values": [[1.0]], "regulariser": 1.0, "forget": 1.0, **parameters})


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"penalty": [0.0]}, "all above 0"),
        ({"penalty": [1.0, 1.0]}, "the 1 diagonal entries"),
        ({"forget": [1.5]}, "from 0 to 1"),
        ({"input_gate": [-0.5]}, "negative weight"),
    ],
)
def test_gates_that_mesanet_does_not_have_are_refused(parameters: dict, words: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(AssumptionError, match=words):
        mesanet_weights(**{"keys": [[1.0]], "values": [[1.0]], "penalty": [1.0], **parameters})


# MesaNet's layer


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999))
def test_gated_weights_are_those_of_the_literal_sums(seed: int) -> None:
    gated = mesanet_layer.gated_sequence(seed, (3, 2, 2))
    dyadic = [[float(np.round(float(x) * 8) / 8) for x in row[:, 0]] for row in gated.sequence.keys]
    values = floats(gated.sequence)["values"]
    values = [[float(np.round(x * 8) / 8) for x in row] for row in values]
    forget, gates, penalty = [0.5, 0.0, 0.75], [0.5, 2.0, 0.0], [0.25, 3.0]
    found = mesanet_weights(dyadic, values, penalty, forget, gates)
    K, V = ([np.array([[Fraction(x)] for x in row], dtype=object) for row in part] for part in (dyadic, values))
    sequence = KeyValueSequence(tuple(K), tuple(V), tuple(K), tuple(map(Fraction, forget)), Fraction(1))
    exact = mesanet_layer.GatedSequence(
        sequence, tuple(map(Fraction, gates)), np.diag([Fraction(x) for x in penalty]).astype(object)
    )
    for t in range(1, 4):
        right = mesanet_layer.weights(exact, t)
        off = max(abs(Fraction(x) - y) for x, y in zip(found[t - 1].ravel(), right.ravel(), strict=True))
        assert off <= Fraction(2) ** -52 * max(abs(y) for y in right.ravel())


def test_the_input_gate_is_a_weight_of_the_objective_and_not_of_the_printed_one() -> None:
    assert mesanet_layer.counterexample()["Phi_1 of the recursion"] == "1/3"
    assert mesanet_layer.counterexample()["Phi_1 of the printed objective"] == "1/2"
    assert mesanet_weights([[1.0]], [[1.0]], [1.0], 1.0, 0.5)[0, 0, 0] == pytest.approx(1 / 3, rel=2.0**-52)


def test_the_share_left_is_below_the_simpler_bound() -> None:
    root = Fraction(5, 2)
    for n in range(1, 8):
        assert mesanet_layer.share_left(root, n) < 2 * ((root - 1) / (root + 1)) ** n
