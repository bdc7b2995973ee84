"""Gradient steps, preconditioning and delays: derivations at instances, known cases, and what is refused."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from iclcheck.theory.mesa import (
    causal_layer,
    gradient_step,
    iterations,
    partial_observation,
    preconditioning,
    printed_iteration,
)
from iclcheck.theory.one_layer.assumptions import AssumptionError

EPS = float(np.finfo(float).eps)
DERIVATIONS = (gradient_step, preconditioning, printed_iteration, partial_observation)


@pytest.mark.parametrize("module", DERIVATIONS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_step_holds_exactly_at_rational_instances(module: Any) -> None:
    assert module.derivation().failures((0, 1)) == []


# One gradient step


def fractions(name: str, n: int) -> Any:
    return causal_layer.draw_fractions(random.Random(name), n, n)


def step_by_hand(sequence: Any, Phi_0: Any, eta: Any, t: int) -> Any:
    """(Phi_0 - eta grad L_t) s_t, the gradient written out pair by pair."""
    Phi = Phi_0
    for seen in range(t - 1):
        error = sequence[seen + 1] - Phi_0 @ sequence[seen]
        Phi = Phi + eta * np.outer(error, sequence[seen])
    return Phi @ sequence[t - 1]


@pytest.mark.parametrize(("n", "length"), [(1, 1), (1, 5), (2, 4), (3, 6)])
def test_the_formula_is_the_step_written_out_pair_by_pair(n: int, length: int) -> None:
    sequence, Phi_0, eta = (
        causal_layer.rational_sequence(f"hand/{n}", n, length),
        fractions(f"start/{n}", n),
        Fraction(2, 7),
    )
    found = gradient_step.formula().value({"sequence": sequence, "Phi_0": Phi_0, "eta": eta})
    assert np.array_equal(found, [step_by_hand(sequence, Phi_0, eta, t) for t in range(1, length + 1)])


def test_for_numbers_key_and_value_may_be_exchanged() -> None:
    """The second solution at n = 1, named in the proof: V_s = 0, V_p = c, G_ss = eta/c, G_ps = -eta Phi_0/c."""
    sequence, Phi_0, eta, c = causal_layer.rational_sequence("numbers", 1, 5), fractions("number", 1), Fraction(2, 7), 3
    one = np.array([[Fraction(1)]], dtype=object)
    exchanged = {"V_3": c * one, "G_22": eta / c * one, "G_32": -eta / c * Phi_0}
    weights = causal_layer.full_weights(exchanged, 1)
    layer = sequence @ Phi_0.T + causal_layer.literal_increment(sequence, Phi_0, *weights)
    assert np.array_equal(layer, gradient_step.formula().value({"sequence": sequence, "Phi_0": Phi_0, "eta": eta}))


def test_for_vectors_they_may_not() -> None:
    sequence, Phi_0, eta = causal_layer.rational_sequence("vectors", 2, 4), fractions("vector", 2), Fraction(2, 7)
    eye = np.eye(2, dtype=int).astype(object)
    weights = causal_layer.full_weights({"V_3": eye, "G_22": eta * eye, "G_32": -eta * Phi_0}, 2)
    layer = sequence @ Phi_0.T + causal_layer.literal_increment(sequence, Phi_0, *weights)
    assert not np.array_equal(layer, gradient_step.formula().value({"sequence": sequence, "Phi_0": Phi_0, "eta": eta}))


def test_predict_gives_the_weights_of_one_head() -> None:
    found = gradient_step.for_user([[1.0], [2.0]], 0.5, [[3.0]])
    assert found["value_weights"] == [[0.0, 0.5, -1.5], [0.0] * 3, [0.0] * 3]
    assert found["key_query_weights"] == [[0.0] * 3, [0.0] * 3, [0.0, 1.0, 0.0]]
    assert found["predictions"] == [[3.0], [6.0 + 0.5 * (2 - 3) * 1 * 2]]


# Preconditioning


@pytest.mark.parametrize("iteration", iterations.ITERATIONS)
@pytest.mark.parametrize("steps", [0, 1, 4, 9])
def test_the_residual_stays_within_its_bound_and_reaches_it(iteration: str, steps: int) -> None:
    """On 4001 points of [mu, M], both ends among them; between two points an extremum is missed by
    at most (m pi/4000)^2/2 of the bound (T_m = cos(m theta), theta in steps of pi/4000), and rounding is far below."""
    low, high = 0.3, 1.9
    a = (low + high) / 2 - (high - low) / 2 * np.cos(np.linspace(0, np.pi, 4001))
    R = np.prod([1 - omega * a for omega in iterations.step_sizes(iteration, steps, low, high)], axis=0)
    bound, m = iterations.residual_bound(iteration, steps, low, high), steps + 1
    assert np.abs(R).max() <= bound * (1 + 100 * m * EPS)
    assert np.abs(R).max() >= bound * (1 - (m * math.pi / 4000) ** 2)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_rates_as_rational_functions_are_those_in_numbers(m: int) -> None:
    _, mu, gap = iterations.symbols()
    exact = float(iterations.rate(m).subs({mu: Fraction(3, 10), gap: Fraction(8, 5)}))
    assert math.isclose(exact, iterations.residual_bound("chebyshev", m - 1, 0.3, 1.9), rel_tol=100 * EPS)


@pytest.mark.parametrize("steps", [0, 3, 12])
@pytest.mark.parametrize("kappa", [1.5, 10.0, 1e4])
def test_chebyshev_beats_richardson_and_stays_below_the_exponential_bound(steps: int, kappa: float) -> None:
    best, m, root = iterations.residual_bound("chebyshev", steps, 1.0, kappa), steps + 1, math.sqrt(kappa)
    assert best <= iterations.residual_bound("richardson", steps, 1.0, kappa) * (1 + 10 * EPS)
    # sqrt(kappa) - 1 loses digits by cancellation: root/(root - 1) eps, m times
    assert best <= 2 * ((root - 1) / (root + 1)) ** m * (1 + 10 * m * EPS * root / (root - 1))


def test_one_eigenvalue_is_met_exactly_by_every_step_but_neumanns() -> None:
    for iteration in ("richardson", "chebyshev"):
        assert iterations.residual_bound(iteration, 2, 0.7, 0.7) == 0
        np.testing.assert_allclose(iterations.step_sizes(iteration, 2, 0.7, 0.7), 1 / 0.7, rtol=4 * EPS)
    assert math.isclose(iterations.residual_bound("neumann", 2, 0.7, 0.7), 0.3**3, rel_tol=10 * EPS)


def drawn_sequence(n: int, length: int) -> Any:
    draw = random.Random(f"sequence/{n}/{length}")
    return np.array([[draw.uniform(-0.6, 0.6) for _ in range(n)] for _ in range(length)])


@pytest.mark.parametrize("iteration", iterations.ITERATIONS)
@pytest.mark.parametrize("steps", [0, 1, 7, 30])
def test_predictions_are_within_the_stated_bound_of_least_squares(iteration: str, steps: int) -> None:
    """Rounding: k + 1 steps, each off by some 100 eps of numbers of size 1, shrunk or kept by the later ones; Neumann's
    eigenvalues are below 2 here, so that none grows."""
    sequence = drawn_sequence(3, 6)
    found = preconditioning.for_user(sequence.tolist(), 1.2, steps, iteration)
    low, high = found["spectrum_bounds"]
    assert (low, high < 2) == (1 / 1.2, True)
    errors = np.linalg.norm(np.array(found["predictions"]) - np.array(found["least_squares"]), axis=1)
    assert (errors <= np.array(found["error_bound"]) + 100 * (steps + 1) * EPS).all()


def test_least_squares_is_the_minimum_of_the_regularised_loss() -> None:
    """The slope (Phi A - C) vanishes, up to rounding of numbers of size 1."""
    sequence = drawn_sequence(2, 5)
    *_, Phi = preconditioning.least_squares_maps(sequence, 0.8)
    inputs, targets = sequence[:-1], sequence[1:]
    slope = Phi @ inputs.T @ inputs - targets.T @ inputs + Phi / 0.8
    assert np.abs(slope).max() < 100 * EPS


def test_the_pair_whose_target_is_not_seen_is_left_out() -> None:
    """A_t holds s_1 .. s_{t-1}: the last state changes the query alone, and only the prediction at T."""
    sequence = drawn_sequence(2, 4)
    changed = sequence.copy()
    changed[-1] *= 2
    before, after = (
        preconditioning.for_user(one.tolist(), 1.0, 3, "richardson", [1.0, 5.0]) for one in (sequence, changed)
    )
    assert before["predictions"][:-1] == after["predictions"][:-1]
    assert before["spectrum_bounds"] == after["spectrum_bounds"]


SEQUENCE = [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sequence": [1.0, 2.0]}, r"sequence needs shape \(T, n\)"),
        ({"regulariser": 0.0}, "regulariser needs lambda > 0, got 0"),
        ({"steps": 1.5}, "steps needs a whole number from 0 to 1000, got 1.5"),
        ({"steps": -1}, "steps needs a whole number"),
        ({"iteration": "newton"}, "iteration needs one of neumann, richardson, chebyshev, got 'newton'"),
        ({"spectrum_bounds": [1.0, 1.5]}, "do not hold the eigenvalues"),
        ({"spectrum_bounds": [0.0, 5.0]}, "do not hold the eigenvalues"),
        ({"spectrum_bounds": [1.0]}, r"spectrum_bounds needs shape \(2,\)"),
    ],
)
def test_what_preconditioning_is_not_defined_for_is_refused(change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"sequence": SEQUENCE, "regulariser": 1.0, "steps": 2, **change}
    with pytest.raises(AssumptionError, match=words):
        preconditioning.for_user(**given)


# The printed recursion


@pytest.mark.parametrize(("a", "K", "factor"), [(1.5, 3, 0.125), (3.0, 5, -1.0), (0.5, 2, 2.25), (1.0, 9, 1.0)])
def test_the_printed_recursion_multiplies_by_two_minus_a(a: float, K: int, factor: float) -> None:
    found = printed_iteration.for_user([[a - 0.5]], 2.0, [1.0], K)
    assert found["printed"] == pytest.approx(
        [factor], rel=1e3 * EPS
    )  # K roundings and a cancellation, in numbers of size 1
    assert found["printed_limit"] == pytest.approx([1 / a], rel=10 * EPS)


def test_the_corrected_recursion_is_the_literal_one() -> None:
    """Ten literal steps in two dimensions; errors of some eps each, not blown up for eigenvalues in (0, 2)."""
    X, s, lam = np.array([[0.5, 0.2], [0.2, 0.3]]), np.array([1.0, -2.0]), 1.6
    p = s
    for _ in range(10):
        p = s + p - p / lam - X @ p
    found = printed_iteration.for_user(X.tolist(), lam, s.tolist(), 10)
    np.testing.assert_allclose(found["corrected"], p, rtol=0, atol=1000 * EPS)


# Delays


def test_a_planar_rotation_is_predicted_from_two_numbers() -> None:
    c, s = 0.28, 0.96
    found = partial_observation.for_user([[c, -s], [s, c]], [[1.0, 0.0]], 2)
    assert found["exists"] is True
    np.testing.assert_allclose(found["next_step_map"], [[2 * c, -1]], atol=100 * EPS)  # newest first
    turned = partial_observation.for_user([[c, -s], [s, c]], [[1.0, 0.0]], 2, 0.0, "oldest-first")
    assert turned["next_step_map"] == [found["next_step_map"][0][::-1]]


def test_what_is_left_is_the_conditional_variance() -> None:
    """One number of a rotation: s_{t+1} = c s_t - s h_2 leaves s^2; with noise v it is 1 + v - c^2/(1 + v)."""
    c, s = 0.28, 0.96
    plain = partial_observation.for_user([[c, -s], [s, c]], [[1.0, 0.0]], 1)
    assert plain["exists"] is False
    np.testing.assert_allclose(
        [plain["next_step_map"][0][0], plain["residual_covariance"][0][0]], [c, s * s], atol=20 * EPS
    )
    noisy = partial_observation.for_user([[c, -s], [s, c]], [[1.0, 0.0]], 1, 0.5)
    found = [noisy["next_step_map"][0][0], noisy["residual_covariance"][0][0]]
    np.testing.assert_allclose(found, [c / 1.5, 1.5 - c * c / 1.5], atol=20 * EPS)


def test_noise_is_never_predicted_exactly() -> None:
    found = partial_observation.for_user([[1.0]], [[1.0]], 3, 1e-3)
    assert found["exists"] is False
    assert found["residual_covariance"][0][0] > 1e-3


def test_enough_numbers_that_say_the_same_leave_something() -> None:
    W = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    found = partial_observation.for_user(W, [[1, 0, 0, 0], [0, 1, 0, 0]], 2)
    assert (found["exists"], found["rank"]) == (False, 3)
    np.testing.assert_allclose(found["residual_covariance"], [[0, 0], [0, 1]], atol=20 * EPS)


@pytest.mark.parametrize(("n_h", "n_s", "delays"), [(3, 1, 2), (4, 2, 2), (5, 2, 2), (4, 3, 1)])
def test_the_map_by_singular_values_is_the_exact_one(n_h: int, n_s: int, delays: int) -> None:
    """Rational systems: 1e6 eps leaves room for condition numbers of some thousands."""
    draw = random.Random(f"delays/{n_h}/{n_s}/{delays}")
    W, C = partial_observation.cayley(draw, n_h), causal_layer.draw_fractions(draw, n_s, n_h)
    best, covariance = partial_observation.projected(W, C, delays)
    found = partial_observation.for_user(W.astype(float).tolist(), C.astype(float).tolist(), delays)
    np.testing.assert_allclose(found["next_step_map"], best.astype(float), rtol=0, atol=1e6 * EPS)
    np.testing.assert_allclose(found["residual_covariance"], covariance.astype(float), rtol=0, atol=1e6 * EPS)
    assert found["exists"] is (delays * n_s >= n_h)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"transition": [[1.0, 0.0]]}, "transition needs a square matrix"),
        ({"observation": [[1.0]]}, r"observation needs shape \(n_s, 2\)"),
        ({"delays": 0}, "delays needs a whole number from 1 to 1000, got 0"),
        ({"order": "sorted"}, "order needs one of newest-first, oldest-first, got 'sorted'"),
        ({"noise_variance": -1.0}, "noise_variance needs at least 0, got -1"),
    ],
)
def test_what_is_no_observed_system_is_refused(change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {
        "transition": [[0.0, 1.0], [-1.0, 0.0]],
        "observation": [[1.0, 0.0]],
        "delays": 2,
        **change,
    }
    with pytest.raises(AssumptionError, match=words):
        partial_observation.for_user(**given)
