"""Random covariance: one covariance, diagonal and exponential laws by quadrature, the limit, and what is refused."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from iclcheck.theory.algebra.evaluation import evaluate
from iclcheck.theory.one_layer import fixed_point, random_covariance, risk
from iclcheck.theory.one_layer.assumptions import AssumptionError


def exponential_rule(d: int) -> tuple[list[Any], list[float]]:
    """diag(lam) at Gauss-Laguerre nodes: exact for the third moments that matter."""
    points, weights = np.polynomial.laguerre.laggauss(3)
    chosen = list(itertools.product(range(3), repeat=d))
    return [np.diag(points[list(one)]) for one in chosen], [float(np.prod(weights[list(one)])) for one in chosen]


def test_one_covariance_is_the_fixed_point() -> None:
    Lambda = [[2.0, 0.5], [0.5, 1.0]]
    found = random_covariance.preconditioner_of([Lambda], [3.0], 4, 0.2)
    np.testing.assert_allclose(found, fixed_point.fixed_point(Lambda, 4, None, 0.2).preconditioner, rtol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_exponential_gain_and_risk_are_those_of_quadrature(d: int) -> None:
    """Sums of 27 terms at most, of matrices with entries below 1e3: 1e-11 leaves a factor of a hundred."""
    matrices, weights = exponential_rule(d)
    for n, m in ((1, 1), (4, 9), (30, 2)):
        gain, predicted = random_covariance.gain_and_risk(d, n, m)
        A = random_covariance.preconditioner_of(matrices, weights, n)
        np.testing.assert_allclose(A, gain * np.eye(d), rtol=0, atol=1e-11)
        total = 0.0
        for Lambda, share in zip(matrices, weights, strict=True):
            values = {"A": A, "Lambda'": Lambda, "Psi'": np.eye(d), "sigma2'": 0.0, "M": m}
            total += share * float(evaluate(risk.squared_bias() + risk.variance(), values))
        assert predicted == pytest.approx(total, rel=1e-11)


def test_diagonal_entries_may_depend_on_each_other() -> None:
    """Entries (1, 3) or (3, 1), never alike: the diagonal formula by hand at N = 2, no noise."""
    found = random_covariance.preconditioner_of([np.diag([1.0, 3.0]), np.diag([3.0, 1.0])], [1, 1], 2)
    squares, below = (1 + 9) / 2, ((1.5 * 1 + 2) * 1 + (1.5 * 3 + 2) * 9) / 2
    np.testing.assert_allclose(found, squares / below * np.eye(2), rtol=1e-12)


def test_covariances_that_do_not_commute_need_all_equations() -> None:
    """The mean gradient vanishes at the solution, and not at the formula for diagonal laws."""
    matrices = [np.array([[2.0, 1.0], [1.0, 1.0]]), np.array([[1.0, -0.8], [-0.8, 4.0]])]
    n, shares = 3, (0.3, 0.7)
    gammas = [(1 + 1 / n) * one + np.trace(one) / n * np.eye(2) for one in matrices]

    def slope(A: Any) -> Any:
        terms = zip(shares, gammas, matrices, strict=True)
        return sum(p * (gamma @ one @ A - one) @ one for p, gamma, one in terms)

    found = random_covariance.preconditioner_of(matrices, shares, n)
    assert float(np.abs(slope(found)).max()) < 1e-12  # a 4 x 4 solve with entries below 100
    squares = sum(p * one @ one for p, one in zip(shares, matrices, strict=True))
    below = sum(p * gamma @ one @ one for p, gamma, one in zip(shares, gammas, matrices, strict=True))
    assert float(np.abs(slope(np.linalg.solve(below, squares))).max()) > 0.1


def test_a_third_of_the_risk_stays_however_long_the_prompts() -> None:
    for d in (1, 5, 20):
        gain, found = random_covariance.gain_and_risk(d, 10**9, 10**9)
        assert gain == pytest.approx(1 / 3, rel=1e-6)
        assert found == pytest.approx(d / 3, rel=1e-6)
        risks = [random_covariance.gain_and_risk(d, n)[1] for n in (1, 10, 100)]
        assert risks[0] > risks[1] > risks[2] > d / 3
    assert math.isclose(random_covariance.gain_and_risk(3, 7)[1], random_covariance.gain_and_risk(3, 7, 7)[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3), "dimension needs a whole number"),
        ((2, 0), "context_length needs a whole number"),
        ((2, 3, 0.5), "test_length needs a whole number"),
        ((2, 3, 4, "uniform"), "law needs one of exponential"),
    ],
)
def test_bad_settings_are_refused_by_name(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(AssumptionError, match=message):
        random_covariance.gain_and_risk(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[[1.0]]], [1, 2], 3), "weights needs one number"),
        (([[[1.0]]], [-1], 3), "weights needs one number"),
        (([[[1.0]], [[1.0, 0.0], [0.0, 1.0]]], [1, 1], 3), "matrices of one shape"),
        (([[[-1.0]]], [1], 3), "has eigenvalue"),
    ],
)
def test_bad_lists_of_covariances_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(AssumptionError, match=message):
        random_covariance.preconditioner_of(*arguments)
