"""Population quantities by cubature: exact up to the rounding that they state."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer import cubature, gauss_rules
from iclcheck.numerics.one_layer.gradients import prompt_losses
from iclcheck.numerics.one_layer.observables import Blocks, weights_from_blocks
from iclcheck.numerics.one_layer.prompts import PromptDistribution

MIX = np.array([[1.0, 0.4], [-0.3, 0.7]])
LAMBDA, PSI = np.eye(2) + MIX @ MIX.T, np.eye(2) + MIX.T @ MIX


def leaking(d: Any, seed: Any = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(2, d + 1, d + 1))


def tight(A: Any, u: Any = 1.3) -> Any:
    d = len(A)
    return weights_from_blocks(Blocks(np.zeros(d), np.asarray(u), np.asarray(A) / u, np.zeros(d)))


def one_dimensional_loss(lam: Any, psi: Any, noise: Any, N: Any, a: Any, fourth: Any) -> Any:
    """L of yhat = a s x_q by hand: s = w S + mean(eps x), E S = lam, E S^2 = lam^2 (1 + (fourth - 1)/N)."""
    second = lam**2 * (1 + (fourth - 1) / N)
    return lam * (psi * (1 - 2 * a * lam + a**2 * second) + a**2 * noise * lam / N) / 2


@pytest.mark.parametrize("covariates, fourth", [("gaussian", 3.0), ("uniform", 9 / 5)])
@pytest.mark.parametrize("N, noise", [(1, 0.0), (3, 0.4), (6, 0.4)])
def test_loss_in_one_dimension_is_the_one_computed_by_hand(covariates: Any, fourth: Any, N: Any, noise: Any) -> None:
    law = PromptDistribution([[1.7]], (N,), [[0.6]], noise, covariates)
    got = cubature.population_loss(law, *tight([[0.3]]))
    expected = one_dimensional_loss(1.7, 0.6, noise, N, 0.3, fourth)
    # the hand formula has fewer than 20 operations on numbers of size below 10
    assert abs(got.value[0] - expected) <= got.rounding[0] + 20 * 10 * 2.3e-16
    assert got.rounding[0] < 1e-11


def test_a_query_of_another_law_scales_the_loss_in_one_dimension() -> None:
    """Without leak the error is linear in the query, so the loss is in proportion to E x_q^2."""
    law = PromptDistribution([[1.7]], (3,), [[0.6]], 0.4, query_covariance=[[0.2]])
    got = cubature.population_loss(law, *tight([[0.3]]))
    expected = one_dimensional_loss(1.7, 0.6, 0.4, 3, 0.3, 3.0) * 0.2 / 1.7
    assert abs(got.value[0] - expected) <= got.rounding[0] + 20 * 10 * 2.3e-16  # as above


def test_the_loss_at_one_fixed_query_is_the_one_computed_by_hand() -> None:
    """Lambda = 1.7 I, x_q = +-e_2: only w_2 matters to the target, and yhat = a s_2 for A = a I has N = 1 moments."""
    lam, psi, a, other = 1.7, 0.6, 0.3, 2.5
    law = PromptDistribution(
        lam * np.eye(2), (1,), np.diag([other, psi]), 0.4, query_covariance=[[0.0, 0.0], [0.0, 1.0]]
    )
    got = cubature.population_loss(law, *tight(a * np.eye(2)))
    # s_2 = x_2 (w_1 x_1 + w_2 x_2 + eps): the first and third terms are noise of variance other lam + 0.4 for x_2
    expected = one_dimensional_loss(lam, psi, other * lam + 0.4, 1, a, 3.0) / lam
    assert abs(got.value[0] - expected) <= got.rounding[0] + 20 * 10 * 2.3e-16  # as above


def test_leaking_loss_in_one_dimension_is_the_one_computed_by_hand() -> None:
    # only u and u21: yhat = u u21 r x_q, r = mean y^2; E[y^2 | w] = w^2 lam + noise, and E r w = 0
    lam, psi, noise, N, gain = 1.7, 0.6, 0.4, 3, 0.8
    law = PromptDistribution([[lam]], (N,), [[psi]], noise)
    weights = weights_from_blocks(Blocks(np.zeros(1), np.array(2.0), np.zeros((1, 1)), np.array([gain / 2])))
    square = 3 * psi**2 * lam**2 + 2 * psi * lam * noise + noise**2  # E (w^2 lam + noise)^2
    expected = lam * (psi + gain**2 * square * (1 + 2 / N)) / 2
    got = cubature.population_loss(law, *weights)
    assert abs(got.value[0] - expected) <= got.rounding[0] + 20 * 10 * 2.3e-16


def test_random_context_lengths_average_the_losses() -> None:
    losses = [
        cubature.population_loss(PromptDistribution(LAMBDA, lengths, PSI, 0.2), *leaking(2)).value[0]
        for lengths in ((1,), (3,), (1, 3))
    ]
    assert losses[2] == pytest.approx((losses[0] + losses[1]) / 2, rel=1e-12)
    assert losses[0] != pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_gradient_vanishes_at_the_known_minimum_and_nowhere_near_it(noise: Any) -> None:
    N = 3
    C = (1 + 1 / N) * PSI @ LAMBDA + (np.trace(LAMBDA @ PSI) + noise) / N * np.eye(2)
    law = PromptDistribution(LAMBDA, (N,), PSI, noise)
    best = np.linalg.solve(C, PSI)
    at_best = cubature.population_gradient(law, *tight(best))
    assert np.all(np.abs(at_best.W_PV) <= at_best.rounding_PV)
    assert np.all(np.abs(at_best.W_KQ) <= at_best.rounding_KQ)
    off = cubature.population_gradient(law, *tight(best * (1 + 1e-6)))
    assert np.any(np.abs(off.W_KQ) > off.rounding_KQ)
    longer = PromptDistribution(LAMBDA, (N + 1,), PSI, noise)
    other_length = cubature.population_gradient(longer, *tight(best))
    assert np.any(np.abs(other_length.W_KQ) > 1e6 * other_length.rounding_KQ)


def test_gradient_is_the_difference_quotient_of_the_loss_in_every_entry() -> None:
    law = PromptDistribution(LAMBDA, (2,), PSI, 0.2)
    weights = leaking(2)
    gradient = cubature.population_gradient(law, *weights)
    loss = cubature.population_loss(law, *weights)
    for side, got in enumerate((gradient.W_PV, gradient.W_KQ)):
        for entry in itertools.product(range(3), range(3)):
            step = np.zeros_like(weights)
            step[(side, *entry)] = 0.5
            # the loss is a quadratic polynomial of each single entry, so any step gives the exact derivative
            above = cubature.population_loss(law, *(weights + step)).value[0]
            below = cubature.population_loss(law, *(weights - step)).value[0]
            # three losses enter; each is known to the rounding that it states, enlarged by the step
            assert abs(above - below - got[entry]) < 20 * loss.rounding[0]


def test_directional_derivatives_are_the_gradients_components() -> None:
    law = PromptDistribution(LAMBDA, (2,), PSI)
    W_PV, W_KQ = leaking(2)
    gradient = cubature.population_gradient(law, W_PV, W_KQ)
    V = np.random.default_rng(1).normal(size=(3, 2, 2))
    along_U = np.zeros((3, 3, 3))
    along_U[:, :2, :2] = V / W_PV[-1, -1]
    expected = (gradient.W_KQ * along_U).sum((1, 2))
    means = cubature.preconditioner_derivative_means(law, W_PV, W_KQ, V)
    general = cubature.directional_derivative_moments(law, W_PV, W_KQ, np.zeros((3, 3, 3)), along_U)
    moments = cubature.preconditioner_derivative_moments(law, W_PV, W_KQ, V)
    assert np.all(np.abs(means.value - expected) <= means.rounding + np.abs(gradient.rounding_KQ).sum())
    np.testing.assert_allclose(moments.value[:3], expected, atol=float(moments.rounding.max()))
    np.testing.assert_allclose(general.value, moments.value, atol=float(moments.rounding.max()))
    dW = leaking(2, seed=5)
    inner = (gradient.W_PV * dW[0]).sum() + (gradient.W_KQ * dW[1]).sum()
    whole = cubature.directional_derivative_moments(law, W_PV, W_KQ, dW[:1], dW[1:])
    assert abs(whole.value[0] - inner) <= whole.rounding[0]


def losses(prompts: Any, W_PV: Any, W_KQ: Any) -> Any:
    return prompt_losses(prompts, W_PV, W_KQ).unsqueeze(0)


def squared_losses(prompts: Any, W_PV: Any, W_KQ: Any) -> Any:
    return losses(prompts, W_PV, W_KQ).square()


@pytest.mark.parametrize("quantity, power", [(losses, 2), (squared_losses, 4)])
@pytest.mark.parametrize("covariates", ["gaussian", "uniform"])
def test_the_degrees_are_enough_and_none_is_too_many(quantity: Any, power: Any, covariates: Any) -> None:
    law = PromptDistribution([[1.2]], (2,), [[0.7]], 0.3, covariates)
    weights = leaking(1)
    degree = np.array([2, 3, 2, 2]) * power

    def value(change: Any) -> Any:
        return cubature.expectation(quantity, law, weights, gauss_rules.Degrees(*(degree + change)))

    exact = value(np.zeros(4, int))
    for coordinate in range(4):
        change = np.zeros(4, int)
        change[coordinate] = 2  # one node more
        more = value(change)
        assert abs(more.value[0] - exact.value[0]) <= exact.rounding[0] + more.rounding[0]
        fewer = value(-change)
        assert abs(fewer.value[0] - exact.value[0]) > 1e3 * exact.rounding[0]


@pytest.mark.parametrize("leak", [False, True])
def test_degrees_follow_from_the_weights(leak: Any) -> None:
    weights = leaking(2) if leak else tight(MIX)
    expected = (2, 3, 2, 2) if leak else (2, 1, 1, 1)
    assert cubature.prediction_degrees(*weights) == gauss_rules.Degrees(*expected)


def test_unordered_contexts_stand_for_all_ordered_ones() -> None:
    law = PromptDistribution(LAMBDA, (3,), PSI)
    rule = gauss_rules.GaussRule(law, 3, gauss_rules.Degrees(2, 2, 2, 0))
    total = sum(float(weights.sum()) for weights, _, _ in rule.chunks())
    assert total == pytest.approx(1.0, abs=1e-13)  # 3 000 weights that sum to 1
    chosen, orders = gauss_rules._multisets(4, 3)
    counted: dict[tuple[int, ...], int] = {}
    for ordered in itertools.product(range(4), repeat=3):
        key = tuple(sorted(ordered))
        counted[key] = counted.get(key, 0) + 1
    assert {tuple(column): n for column, n in zip(chosen.T.tolist(), orders, strict=True)} == counted


def test_too_large_a_rule_is_refused_before_any_work() -> None:
    law = PromptDistribution(np.eye(3), (8,), np.eye(3), 0.1)
    with pytest.raises(ValueError, match=r"need a rule of at most 5e\+07 nodes, got .* d = 3, N = 8"):
        cubature.population_loss(law, *leaking(3))


def test_the_absolute_twin_bounds_every_prompt() -> None:
    law = PromptDistribution(LAMBDA, (2,), PSI, 0.3)
    W_PV, W_KQ = (torch.from_numpy(matrix) for matrix in leaking(2))
    rule = gauss_rules.GaussRule(law, 2, cubature.LEAKING + cubature.LEAKING)
    for _, prompts, bounds in itertools.islice(rule.chunks(), 3):
        larger = losses(bounds, W_PV.abs(), W_KQ.abs())
        assert torch.all(losses(prompts, W_PV, W_KQ) <= larger * (1 + 1e-12))
