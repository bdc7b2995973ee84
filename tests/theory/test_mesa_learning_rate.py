"""Random orthogonal dynamics: moments by two routes and by hand, the best step, the best layer, and the limits."""

from fractions import Fraction
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from iclcheck.theory.algebra.evaluation import evaluate
from iclcheck.theory.one_layer.assumptions import AssumptionError
from iclcheck.theory.orthogonal_dynamics.autocorrelations import autocorrelations, given_transition, index_of, symbol_of
from iclcheck.theory.orthogonal_dynamics.haar_traces import HaarTraces, cosets, rim_hook_moment
from iclcheck.theory.orthogonal_dynamics.learning_rate import derivation, prediction
from iclcheck.theory.orthogonal_dynamics.one_layer_optimum import (
    GRADIENT_STEP,
    Feature,
    all_features,
    derived_optimum,
    features_of_optimum,
    least_loss,
    vector_features,
    worth,
)
from iclcheck.theory.orthogonal_dynamics.one_step_rate import derived_step_loss, limits_at

Array = NDArray[np.float64]


@pytest.mark.parametrize("n", range(1, 8))
def test_determinantal_processes_and_rim_hooks_give_the_same_moments(n: int) -> None:
    traces = HaarTraces(n)
    for count in (1, 2, 3):
        for powers in combinations_with_replacement(range(8), count):
            assert traces.moment(*powers) == rim_hook_moment(n, powers), powers


def test_in_one_dimension_traces_of_powers_are_signs() -> None:
    # W = +-1 with probability 1/2: E W^(i + j + k) is 1 for an even sum and 0 for an odd one
    for powers in product(range(5), repeat=3):
        assert HaarTraces(1).moment(*powers) == (sum(powers) + 1) % 2


def test_in_two_dimensions_they_are_means_over_angles_and_reflections() -> None:
    # a rotation has tr W^k = 2 cos(k theta), a reflection 1 + (-1)^k; 40 angles average degrees below 40 exactly, and
    # the sum of 40 products below 8 is right to 1e-13
    angles = 2 * np.pi * np.arange(40) / 40
    for i, j, k in product(range(1, 7), repeat=3):
        rotations = np.mean(8 * np.cos(i * angles) * np.cos(j * angles) * np.cos(k * angles))
        reflections = np.prod([1 + (-1) ** power for power in (i, j, k)])
        assert abs(HaarTraces(2).moment(i, j, k) - (rotations + reflections) / 2) < 1e-13


def test_the_two_cosets_have_n_eigenvalues_each() -> None:
    for n in range(1, 9):
        assert all(2 * len(one.frequencies) + len(one.fixed) == n for one in cosets(n))


def test_a_product_of_four_traces_is_refused() -> None:
    with pytest.raises(ValueError, match="at most three"):
        HaarTraces(3).moment(1, 1, 1, 1)


def test_symbols_of_power_traces_are_read_back() -> None:
    for index in ((1, 0, 0), (1, -1, 1), (0, 1, -1), (1, 1, -1)):
        assert index_of(symbol_of(index), 3) == index


def haar(n: int, draw: np.random.Generator) -> Array:
    Q, R = np.linalg.qr(draw.normal(size=(n, n)))
    return np.asarray(Q * np.sign(np.diag(R)))


def test_moments_given_the_transition_are_those_of_its_eigenvalues() -> None:
    # c_k = sum_a cos(k theta_a) z_a^2 over an eigenbasis, z_a^2 of means 1, 3, 15 in powers 1, 2, 3: exact up to
    # rounding of some hundred terms below 1e3
    W = haar(4, np.random.default_rng(3))
    A, B, C = ((np.linalg.matrix_power(W, k) + np.linalg.matrix_power(W, k).T) / 2 for k in (1, 2, 5))
    _, basis = np.linalg.eigh(A + 0.3 * B + 0.1 * C)
    a, b, c = (np.diag(basis.T @ M @ basis) for M in (A, B, C))
    moments = {1: 1.0, 2: 3.0, 3: 15.0}
    expected = 0.0
    for i, j, k in product(range(4), repeat=3):
        powers = [[i, j, k].count(place) for place in {i, j, k}]
        expected += a[i] * b[j] * c[k] * np.prod([moments[power] for power in powers])
    values: dict[str, Any] = {"A": A, "B": B, "C": C}
    assert abs(evaluate(given_transition(3), values) - expected) < 1e-10


def test_every_step_of_the_derivation_holds_at_rational_instances() -> None:
    assert derivation().failures((0, 1, 2, 3)) == []


@pytest.mark.parametrize("n", [1, 2])
def test_the_step_is_the_least_squares_fit_of_the_real_prediction(n: int) -> None:
    """eta* and its loss from sequences on a grid: W on all of O(n) by angles, s_1 by Gauss-Hermite nodes."""
    T = 5
    z, w = np.polynomial.hermite_e.hermegauss(4)
    states = np.stack(np.meshgrid(*[z] * n, indexing="ij"), -1).reshape(-1, n)
    weights = np.stack(np.meshgrid(*[w / w.sum()] * n, indexing="ij"), -1).reshape(-1, n).prod(-1)
    pull = square = 0.0
    moves = grid_of_orthogonal(n)
    for W in moves:
        s = [states]
        for _ in range(T - 1):
            s.append(s[-1] @ W.T)
        for t in range(1, T):  # position t predicts s[t] (states count from 0)
            step = sum((s[i] * np.sum(s[i - 1] * s[t - 1], -1, keepdims=True) for i in range(1, t)), 0 * s[0])
            pull += weights @ np.sum(step * s[t], -1) / len(moves)
            square += weights @ np.sum(step**2, -1) / len(moves)
    found = derived_step_loss(n, T)
    # sums of some thousand terms below 1e3 in float64
    assert abs(pull - found.pull) < 1e-9 * float(found.pull)
    assert abs(square - found.square) < 1e-9 * float(found.square)


def grid_of_orthogonal(n: int) -> list[Array]:
    if n == 1:
        return [np.array([[1.0]]), np.array([[-1.0]])]
    turns = []
    for angle in 2 * np.pi * np.arange(40) / 40:
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turns += [turn, turn @ np.diag([1.0, -1.0])]
    return turns


def test_the_optimum_is_below_two_heads_and_these_below_the_step() -> None:
    for n, T in ((2, 4), (3, 6), (5, 5), (10, 8)):
        best, two = derived_optimum(n, T).loss, least_loss(vector_features(), n, T).loss
        assert best < two < derived_step_loss(n, T).least < Fraction(n, 2)


def test_fourteen_features_are_no_better_than_six_and_one_is_the_step() -> None:
    assert least_loss(all_features(), 4, 6).loss == derived_optimum(4, 6).loss
    assert least_loss([GRADIENT_STEP], 4, 6).loss == derived_step_loss(4, 6).least
    assert len(features_of_optimum()) == 6


def test_every_feature_of_the_optimum_is_worth_something() -> None:
    best = derived_optimum(4, 6).loss
    for feature, (with_step, without) in worth(4, 6).items():
        assert without > best, feature
        assert feature == GRADIENT_STEP or with_step < derived_step_loss(4, 6).least, feature


def test_features_are_what_they_say_on_a_sequence() -> None:
    draw = np.random.default_rng(1)
    W, n, t = haar(3, draw), 3, 5
    s = [np.zeros(n), draw.normal(size=n)]
    for _ in range(t):
        s.append(W @ s[-1])
    for feature in all_features():
        direct = np.zeros(n)
        for i in range(1, t + 1):
            u, v, w = s[i - feature.a], s[i - feature.b], s[t - feature.c]
            direct += u * (v @ w) if feature.kind == "G" else (u @ v) * w
        by_terms = sum(
            (count * s[t - j] * (s[1] @ s[1 + k]) for (j, k), count in feature.terms(t).items()), np.zeros(n)
        )
        # some ten terms of size ten
        assert np.allclose(direct, by_terms, rtol=0, atol=1e-12), feature


def test_at_the_first_position_features_of_the_state_before_vanish() -> None:
    assert not Feature("G", 0, 1, 0).terms(1)
    assert not Feature("tr", 0, 0, 1).terms(1)
    assert Feature("G", 0, 0, 0).terms(1)


def test_moments_grow_as_the_limit_says() -> None:
    for n in range(1, 13):
        moments = autocorrelations(n)
        for k in range(1, 2 * n + 3):
            assert 0 <= moments.moment(k, k) - n - min(k, n) <= 2
            for other in range(1, k):
                rest = moments.moment(k, other, k - other) - 2 * (n + min(other, n) + min(k - other, n))
                assert 0 < rest <= (18 if k != 2 * other else 2 * n + 16), (n, k, other)


@pytest.mark.parametrize("ratio", [Fraction(1, 2), Fraction(1), Fraction(2)])
def test_the_rate_and_the_share_tend_to_their_limits_like_one_over_n(ratio: Fraction) -> None:
    """f = limit + a/n + b/n^2 + .. at n = T/tau: without two terms, less is left than the second took."""
    for place, limit in enumerate(limits_at(ratio)):
        at = []
        for length in (20, 40, 80):
            n = int(length / ratio)
            step = derived_step_loss(n, length)
            at.append((n * step.rate, 1 - step.least * Fraction(2, n))[place])
        once = 2 * at[2] - at[1]
        twice = (8 * at[2] - 6 * at[1] + at[0]) / 3
        assert abs(twice - limit) <= abs(twice - once) < abs(at[2] - limit)


def test_the_share_of_the_step_stays_below_a_half_and_tends_to_it() -> None:
    shares = [limits_at(Fraction(k))[1] for k in (1, 2, 5, 20, 200)]
    assert shares == sorted(shares)
    assert 0 < Fraction(1, 2) - shares[-1] < Fraction(1, 500)


def test_the_paper_s_size_is_predicted() -> None:
    found = prediction(10, 50)
    assert found.optimum_loss < found.two_heads_loss < found.loss < found.zero_loss == 5.0


@pytest.mark.parametrize(("dimension", "length"), [(0, 5), (3, 2), (2.5, 5), (101, 5), (3, 101), (True, 5)])
def test_sizes_that_have_no_answer_are_refused(dimension: Any, length: Any) -> None:
    with pytest.raises(AssumptionError, match="whole number from"):
        prediction(dimension, length)
