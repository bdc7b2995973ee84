"""Observables do not see the scale symmetry, and the balanced representative is the same layer."""

from typing import Any

import numpy as np
import pytest

from iclcheck.numerics.one_layer import observables
from iclcheck.numerics.one_layer.cubature import population_gradient, population_loss
from iclcheck.numerics.one_layer.prompts import PromptDistribution

W_PV, W_KQ = np.random.default_rng(0).normal(size=(2, 3, 3))
LAW = PromptDistribution([[2.0, 0.5], [0.5, 1.0]], (2,), np.eye(2), 0.1)


def test_blocks_put_together_give_the_weights_that_matter() -> None:
    again = observables.weights_from_blocks(observables.blocks(W_PV, W_KQ))
    assert np.array_equal(again[0][-1], W_PV[-1])
    assert np.array_equal(again[1][:, :2], W_KQ[:, :2])
    assert not again[0][:2].any()
    assert not again[1][:, 2].any()


@pytest.mark.parametrize("c", [2.0, -0.25])  # powers of two, so that scaling is exact
def test_preconditioner_and_leak_do_not_see_the_scale(c: Any) -> None:
    A = observables.effective_preconditioner(W_PV, W_KQ)
    assert np.array_equal(observables.effective_preconditioner(c * W_PV, W_KQ / c), A)
    assert observables.leak(c * W_PV, W_KQ / c) == pytest.approx(observables.leak(W_PV, W_KQ), rel=1e-15)
    u12, u, U, u21 = W_PV[2, :2], W_PV[2, 2], W_KQ[:2, :2], W_KQ[2, :2]
    np.testing.assert_allclose(A, u * U + np.outer(u12, u21), rtol=1e-15)
    assert observables.leak(W_PV, W_KQ) == pytest.approx(np.linalg.norm(u12) * np.linalg.norm(u21), rel=1e-15)


def test_balance_is_conserved_by_gradient_flow() -> None:
    gradient = population_gradient(LAW, W_PV, W_KQ)
    change = 2 * (W_PV[-1] @ gradient.W_PV[-1] - (W_KQ * gradient.W_KQ).sum())
    bound = np.abs(W_PV).max() * gradient.rounding_PV.sum() + np.abs(W_KQ).max() * gradient.rounding_KQ.sum()
    assert abs(change) <= 2 * bound
    parts = [abs(W_PV[-1, -1] * gradient.W_PV[-1, -1]), abs((W_KQ[:2] * gradient.W_KQ[:2]).sum())]
    assert min(parts) > 1e3 * bound  # without u12 or u21 the balance would move
    assert observables.balance(W_PV, W_KQ) == pytest.approx((W_PV[-1] ** 2).sum() - (W_KQ[:, :2] ** 2).sum(), rel=1e-14)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_balanced_representative_is_the_same_layer(sign: Any) -> None:
    P, K = observables.balanced(sign * 3 * W_PV, sign * W_KQ / 3)
    assert P[-1, -1] > 0
    assert observables.balance(P, K) == pytest.approx(0, abs=1e-14)
    assert population_loss(LAW, P, K).value == pytest.approx(population_loss(LAW, W_PV, W_KQ).value, rel=1e-12)


def test_a_zero_gain_takes_its_sign_from_u12_and_a_zero_layer_is_refused() -> None:
    row = W_PV.copy()
    row[-1] = [-1.0, 2.0, 0.0]
    assert observables.balanced(row, W_KQ)[0][-1, 0] > 0
    with pytest.raises(ValueError, match="no balanced representative"):
        observables.balanced(np.zeros((3, 3)), W_KQ)


def test_stacked_weights_give_stacked_observables() -> None:
    stack = np.stack([W_PV, 2 * W_PV]), np.stack([W_KQ, W_KQ])
    assert observables.effective_preconditioner(*stack).shape == (2, 2, 2)
    assert observables.relative_error(
        observables.effective_preconditioner(*stack), observables.effective_preconditioner(W_PV, W_KQ)
    ) == (pytest.approx([0.0, 1.0]))
