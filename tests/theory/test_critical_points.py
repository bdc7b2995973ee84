"""The critical points: against the loss, topology, the isotropic closed forms, and descent that knows no list."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from iclcheck.theory.one_layer import any_start, feature_moments, isotropic_landscape, leak_stability
from iclcheck.theory.one_layer.critical_points import critical_points, signs_of_eigenvalues
from iclcheck.theory.one_layer.fixed_point import exact_value, fixed_point
from iclcheck.theory.one_layer.population_loss import noiseless_loss

ROTATED = [[1.0, 0.3], [0.3, 0.6]]
LAWS = [
    ([[1.0]], 3),
    (np.eye(2).tolist(), 1),
    (np.eye(2).tolist(), 8),
    (np.diag([1.0, 2.0]).tolist(), 20),
    (ROTATED, 4),
    (np.diag([1.0, 1.0, 2.0]).tolist(), 6),
    (np.eye(5).tolist(), 100),
    (np.eye(4).tolist(), 20),
]


@pytest.mark.parametrize(("covariance", "length"), LAWS)
def test_the_loss_has_no_slope_at_the_listed_points_and_the_listed_value(covariance: Any, length: Any) -> None:
    found = critical_points(covariance, length)
    Lambda = np.array(covariance)
    for point in found.points:
        weights = (point.value_weights, point.key_query_weights)
        # Entries of order one and condition numbers below 100: 1e3 roundings of terms of order 10
        slopes = noiseless_loss().gradients(Lambda, length, weights)
        assert max(float(np.abs(part).max()) for part in slopes) < 1e-11
        assert float(noiseless_loss().value(Lambda, length, weights)) == pytest.approx(point.loss, abs=1e-12)
    assert found.complete
    best = fixed_point(covariance, length).loss
    assert found.points[0].loss == pytest.approx(best, abs=1e-12)
    assert found.points[0].kind == "global-minimum"


def euler_characteristic(law: Any, point: Any) -> Any:
    """Of the set of directions (u12, u) up to scale that the symmetries make of one listed point."""
    eigenvalues = np.round(np.linalg.eigvalsh(np.array(law)), 9)
    _, dimensions = np.unique(eigenvalues, return_counts=True)
    if not point.leaking:
        return 1
    if abs(point.value_weights[-1, -1]) < 1e-12:  # a leak alone: lines in one eigenspace
        (m,) = (int(dimensions[i]) for i in point.leaking)
        return m % 2
    return prod(2 * (int(dimensions[i]) % 2) for i in point.leaking)  # spheres


@pytest.mark.parametrize(("covariance", "length"), LAWS)
def test_indices_add_up_to_the_euler_characteristic_of_projective_space(covariance: Any, length: Any) -> None:
    # Morse and Bott: sum (-1)^index chi(orbit) = chi(RP^d), 1 for even d and 0 for odd d. A point that is missing, or
    # an index that is off by one, breaks it.
    points = [point for point in critical_points(covariance, length).points if np.any(point.value_weights)]
    assert all(point.index is not None for point in points)
    total = sum((-1) ** int(point.index or 0) * euler_characteristic(covariance, point) for point in points)
    assert total == (len(covariance) + 1) % 2


@pytest.mark.parametrize(("d", "length"), [(2, 3), (2, 5), (3, 3), (3, 5), (4, 2), (5, 30)])
def test_the_leak_of_the_isotropic_law_is_that_of_any_start(d: Any, length: Any) -> None:
    found = critical_points(np.eye(d).tolist(), length)
    (leak,) = (point for point in found.points if "rank one" in point.description)
    values = {"d": d, "N": length}
    assert leak.loss == pytest.approx(float(exact_value(any_start.leaking_loss(), values)), abs=1e-12)
    stable = any_start.leaking_point_is_a_local_minimum(d, length)
    assert leak.kind == ("local-minimum" if stable else "saddle")
    assert stable == leak_stability.is_stable(1, d - 1, length)
    in_part = [point for point in found.points if point.leaking and point is not leak]
    assert len(in_part) == isotropic_landscape.number_of_points_that_leak_in_part(d, length)
    wrong = [point for point in found.points if point.kind == "local-minimum"]
    assert bool(wrong) == isotropic_landscape.has_a_wrong_minimum(d, length)


def test_dimension_two_has_a_wrong_minimum_at_every_length() -> None:
    lengths = isotropic_landscape.threshold(2)
    assert lengths.is_proved()
    assert all(isotropic_landscape.has_a_wrong_minimum(2, n) for n in range(1, lengths.context_length))


@pytest.mark.parametrize(("d", "expected"), [(2, 5), (3, 18), (4, 45), (5, 80)])
def test_thresholds_are_proved_for_all_longer_contexts(d: Any, expected: Any) -> None:
    found = isotropic_landscape.threshold(d)
    assert found.context_length == expected
    assert found.is_proved()


def test_a_threshold_that_is_too_early_or_too_late_is_not_proved() -> None:
    right = isotropic_landscape.threshold(3)
    for length in (right.context_length - 1, right.context_length + 1):
        assert not isotropic_landscape.Threshold(3, length, right.between).is_proved()


@pytest.mark.parametrize("d", [2, 3, 5])
def test_the_wrong_minimum_of_long_contexts_has_the_limit_that_is_derived(d: Any) -> None:
    ratios = []
    for length in (10**6, 10**8):
        found = critical_points(np.eye(d).tolist(), length)
        (wrong,) = (point.loss for point in found.points if point.kind == "local-minimum")
        ratios.append(abs(wrong * np.sqrt(length) / np.sqrt(2 * d * (d - 1)) - 1))
    # The next term is of relative order 1/sqrt(N): a hundred times the length, a tenth of the distance
    assert ratios[1] < ratios[0] / 5
    assert ratios[1] < 1e-3


@pytest.mark.slow
def test_a_dominant_eigenvalue_keeps_its_leak_stable_for_long_contexts() -> None:
    for ratio, stable, unstable in ((2, 10, 11), (5, 52, 53)):
        for length, kind in ((stable, "local-minimum"), (unstable, "saddle")):
            found = critical_points(np.diag([1.0, ratio]).tolist(), length)
            (leak,) = (p for p in found.points if "rank one" in p.description and p.leaking == (1,))
            assert leak.kind == kind


def loss_and_slope(moments: Any, d: Any) -> Any:
    def at(theta: Any) -> Any:
        p, K = theta[: d + 1], theta[d + 1 :]
        m = np.outer(p, K).ravel()
        residual = (moments.quadratic @ m - moments.linear).reshape(d + 1, -1)
        loss = moments.constant - moments.linear @ m + m @ moments.quadratic @ m / 2
        return loss, np.concatenate([residual @ K, p @ residual])

    return at


@pytest.mark.parametrize(("covariance", "length"), [(np.diag([1.0, 2.0]).tolist(), 20), (ROTATED, 4)])
def test_descent_that_does_not_know_the_list_ends_at_listed_minima_only(covariance: Any, length: Any) -> None:
    d = len(covariance)
    at = loss_and_slope(feature_moments.feature_moments(covariance, length), d)
    minima = [p.loss for p in critical_points(covariance, length).points if p.kind.endswith("minimum")]
    draw, ended = np.random.default_rng(7), 0
    for _ in range(25):
        end = minimize(at, draw.normal(size=(d + 1) ** 2), jac=True, method="BFGS", options={"gtol": 1e-9})
        if np.linalg.norm(end.jac) < 1e-7:  # BFGS gives up on some starts: these say nothing
            ended += 1
            assert np.abs(end.fun - np.array(minima)).min() < 1e-8
    assert ended >= 15


@pytest.mark.parametrize(("covariance", "length"), [([[1.0]], 2), (ROTATED, 3)])
def test_feature_moments_give_the_loss_on_all_parameters(covariance: Any, length: Any) -> None:
    d = len(covariance)
    draw = np.random.default_rng(3)
    moments = feature_moments.feature_moments(covariance, length)
    for _ in range(4):
        theta = draw.normal(size=(d + 1) ** 2)
        W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
        W_PV[-1], W_KQ[:, :-1] = theta[: d + 1], theta[d + 1 :].reshape(d + 1, d)
        expected = float(noiseless_loss().value(np.array(covariance), length, (W_PV, W_KQ)))
        assert loss_and_slope(moments, d)(theta)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_three_different_eigenvalues_are_listed_without_a_claim_of_completeness() -> None:
    found = critical_points(np.diag([1.0, 2.0, 4.0]).tolist(), 2)
    assert not found.complete
    assert "not searched" in found.searched


@pytest.mark.slow
def test_the_list_does_not_depend_on_the_unit_of_the_covariates() -> None:
    small, large = (critical_points((scale * np.array(ROTATED)).tolist(), 4) for scale in (1.0, 16.0))
    assert [p.kind for p in small.points] == [p.kind for p in large.points]
    np.testing.assert_allclose([16 * p.loss for p in small.points], [p.loss for p in large.points], rtol=1e-9)


@pytest.mark.parametrize(
    "matrix", [[[2, 1], [1, 3]], [[-2, 1], [1, -3]], [[1, 2], [2, 1]], [[-1, 2], [2, 3]], [[-3, 2], [2, -1]]]
)
def test_signs_of_eigenvalues_are_those_of_numpy(matrix: Any) -> None:
    exact = [[(Fraction(entry), Fraction(entry)) for entry in row] for row in matrix]
    assert sorted(signs_of_eigenvalues(exact)) == sorted(np.sign(np.linalg.eigvalsh(np.array(matrix))).astype(int))


def test_signs_that_an_interval_leaves_open_are_not_guessed() -> None:
    wide = (Fraction(-1), Fraction(1))
    one = (Fraction(1), Fraction(1))
    assert signs_of_eigenvalues([[wide]]) == [0]
    assert 0 in signs_of_eigenvalues([[one, wide], [wide, one]])


def test_the_quartic_as_a_formula_has_the_values_of_its_coefficients() -> None:
    values = {"t": Fraction(3, 2), "d": Fraction(4), "N": Fraction(7)}
    direct = sum(exact_value(c, values) * values["t"] ** k for k, c in enumerate(isotropic_landscape.quartic()))
    assert isotropic_landscape.quartic_formula().value(values).item() == direct
