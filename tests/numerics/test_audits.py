"""The measurements behind the audits, at cases with known answers."""

import itertools
import math

import numpy as np
import pytest

from iclcheck.numerics.audits import exponential_variances, merged_heads, second_derivatives
from iclcheck.numerics.one_layer import cubature
from iclcheck.numerics.one_layer.prompts import PromptDistribution

EPS = float(np.finfo(float).eps)


def test_the_risk_of_one_example_has_its_known_derivatives() -> None:
    """R(b) = (2 b - 3)^2/2 at x = 2, y = 3: R'(1) = -2, R'' = 4; v = 5."""
    case = {"embedding": [[[2.0, 7.0], [3.0, 0.0]]], "beta": [1.0], "v": [5.0]}
    found = second_derivatives.risk_derivatives([case], 1, "unused", "cpu")
    assert found["gradient"] == [[[-2.0]]]
    assert found["product"] == [[[20.0]]]
    assert all(0 < bound < 1e-12 for bound in found["rounding"][0][0])


def test_the_hessian_of_the_layer_is_the_kronecker_product() -> None:
    E = np.array([[1.0, 2.0, -1.0], [3.0, 0.0, 2.0], [1.0, -2.0, 0.0]])
    case = {"embedding": [E.tolist()], "V": np.arange(9.0).reshape(3, 3).tolist()}
    found = second_derivatives.layer_hessians([case], 1, "unused", "cpu")
    X = np.zeros((3, 3))
    X[:2, 2] = X[2, :2] = E[:2, 2]
    expected = np.kron(X, E @ E.T / 2)
    assert np.array_equal(found["hessian"][0][0], expected)  # whole numbers and a division by 2: exact
    stacked = np.arange(9.0).reshape(3, 3).T.reshape(-1)
    assert found["prediction"][0][0] == stacked @ expected @ stacked / 2


@pytest.mark.parametrize("nodes", range(1, 7))
def test_laguerre_nodes_integrate_powers_within_the_stated_rounding(nodes: int) -> None:
    """E lambda^k = k! for k < 2 nodes; each of the terms is right to NODE_ROUNDINGS eps, k of them for a power."""
    points, weights = exponential_variances.laguerre(nodes)
    for power in range(2 * nodes):
        error = abs(float(weights @ points**power) / math.factorial(power) - 1)
        assert error <= exponential_variances.NODE_ROUNDINGS * (power + 1) * EPS


def test_the_enumerated_risk_of_a_layer_that_predicts_nothing_is_that_of_the_target() -> None:
    """E (w.x_q)^2/d = c."""
    case = {"dimension": 2, "length": 1, "scale": 2.5, "gain": 0.0}
    found = exponential_variances.enumerated_risks([case], "cpu")
    assert abs(found["mean"][0] - 2.5) <= found["rounding"][0] < 1e-9


def test_the_enumerated_moment_is_that_of_the_variances() -> None:
    """d = 1: E yhat w x^(2k + 1) at A = I is E lambda x^(2k + 2) = (2k + 1)!! (k + 2)!."""
    cases = [{"dimension": 1, "length": 2, "scale": 1.0, "gain": 1.0, "power": k} for k in (0, 1, 2)]
    found = exponential_variances.enumerated_moments(cases, "cpu")
    for mean, bound, exact in zip(found["mean"], found["rounding"], (2.0, 18.0, 360.0), strict=True):
        assert abs(mean - exact) <= bound < 1e-6 * exact


def test_sampled_variances_have_the_moments_of_exp_1() -> None:
    """The mean of 40,000 draws of (w.x_q)^2/d at d = 4 is c up to six standard errors."""
    case = {"dimension": 4, "length": 1, "scale": 3.0, "gain": 0.0}
    found = exponential_variances.sampled_statistics([case], 40_000, "test of variances", "cpu")
    # E (w.x_q)^4 = 3 (2 E tr Lambda^2 + E (tr Lambda)^2) = 3 (4 d + d (d + 1)) c^2 = 108 c^2; over d^2 it is 6.75 c^2.
    assert abs(found["sum"][0][1] / 40_000 - 3.0) < 6 * 3.0 * math.sqrt(6.75 / 40_000)


def test_one_head_has_the_loss_and_the_slopes_of_the_layer() -> None:
    law = PromptDistribution([[1.0, 0.2], [0.2, 0.5]], (2,), [[1.0, 0.0], [0.0, 2.0]], 0.1)
    U = np.array([[0.3, -0.2], [0.1, 0.4]])
    found = merged_heads.head_slopes(
        [{"distribution": law.to_plain(), "gains": [0.7], "key_queries": [U.tolist()]}], "cpu"
    )
    W_PV, W_KQ = np.zeros((3, 3)), np.zeros((3, 3))
    W_PV[2, 2], W_KQ[:2, :2] = 0.7, U
    slope = cubature.population_gradient(law, W_PV, W_KQ)
    expected = [slope.W_PV[2, 2], *slope.W_KQ[:2, :2].reshape(-1)]
    bounds = np.array(found["rounding"][0]) + np.array(
        [slope.rounding_PV[2, 2], *slope.rounding_KQ[:2, :2].reshape(-1)]
    )
    assert np.all(np.abs(np.array(found["slopes"][0]) - expected) <= bounds)
    loss = cubature.population_loss(law, W_PV, W_KQ)
    assert abs(found["loss"][0] - loss.value[0]) <= found["loss_rounding"][0] + loss.rounding[0]


def test_heads_with_the_same_sum_have_the_same_loss() -> None:
    law = PromptDistribution([[1.0]], (2,), [[1.0]]).to_plain()
    pairs = [([0.5], [[[1.0]]]), ([1.0, -1.0], [[[1.5]], [[1.0]]]), ([0.0, 0.25], [[[9.0]], [[2.0]]])]
    cases = [{"distribution": law, "gains": gains, "key_queries": U} for gains, U in pairs]
    found = merged_heads.head_slopes(cases, "cpu")
    for (a, p), (b, q) in itertools.pairwise(zip(found["loss"], found["loss_rounding"], strict=True)):
        assert abs(a - b) <= p + q
