"""The ReLU layer: against a plain loop, its exact risk against sampling, and by hand in one dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer.cubature import TIGHT, expectation
from iclcheck.numerics.one_layer.prompts import PromptDistribution, sample_prompts
from iclcheck.numerics.one_layer.relu_attention import (
    enumerated_relu_risk,
    relu_prediction,
    relu_risk,
    sampled_relu_risk,
    with_fourth_powers,
)
from iclcheck.numerics.training.random_streams import stream
from iclcheck.proofs_check.verdicts.heavy_tails import compare_mean

LAW: dict[str, Any] = {
    "covariance": [[1.0, 0.3], [0.3, 0.6]],
    "context_lengths": [2],
    "task_covariance": [[1.0, 0.0], [0.0, 0.5]],
    "noise_variance": 0.2,
    "covariates": "gaussian",
}


def weights(u: float, U: list[list[float]]) -> tuple[Any, Any]:
    d = len(U)
    W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    W_PV[d, d], W_KQ[:d, :d] = u, U
    return W_PV, W_KQ


def plain_prediction(E: Any, n: float, W_PV: Any, W_KQ: Any) -> float:
    """f(E)[d, N], column by column."""
    total = 0.0
    for column in E.T:
        score = max(column @ W_KQ @ E[:, -1], 0.0)
        total += (W_PV[-1] @ column) * score / n
    return float(E[-1, -1] + total)


def test_the_prediction_is_that_of_a_plain_loop_with_all_weights() -> None:
    prompts = sample_prompts(PromptDistribution.from_plain(LAW), 50, stream("relu"))
    draw = np.random.default_rng(0)
    W_PV, W_KQ = draw.normal(size=(3, 3)), draw.normal(size=(3, 3))
    found = relu_prediction(prompts, torch.from_numpy(W_PV), torch.from_numpy(W_KQ))
    expected = [plain_prediction(E.numpy(), 2.0, W_PV, W_KQ) for E in prompts.embedding]
    # Sums of some 30 products of three factors of order 1 to 10: below 30 x 1000 x 2.2e-16 < 1e-11.
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("u", [0.9, -0.7])
@pytest.mark.parametrize(("n", "moment"), [(1, 3 / 2), (2, (3 / 2) / 2 + 1 / 8)])
def test_one_dimension_by_hand(u: float, n: int, moment: float) -> None:
    """Lambda = Psi = 1, no noise: E x^2 ReLU(x)^2 = 3/2 and E x ReLU(x) = 1/2, so that
    risk = g^2 ((3/2)/N + (1 - 1/N)/4) - g + 1 with g = u U, whatever the sign of u."""
    law = PromptDistribution([[1.0]], (n,), [[1.0]])
    found = relu_risk(law, *weights(u, [[0.4]]))
    g = 0.4 * u
    assert found.value[0] == pytest.approx(g**2 * moment - g + 1, abs=found.rounding[0])
    assert found.rounding[0] < 1e-12


def test_the_exact_risk_is_that_of_samples() -> None:
    """At a rate of 1e-6 for any tails (`heavy_tails`), with the exact second moment."""
    W_PV, W_KQ = weights(0.8, [[0.5, -0.3], [0.2, 0.4]])
    exact = enumerated_relu_risk([{"distribution": LAW, "W_PV": W_PV, "W_KQ": W_KQ}], "cpu")["risk"][0]
    found = sampled_relu_risk(LAW, W_PV.tolist(), W_KQ.tolist(), 200_000, "relu test", "cpu")
    squares = found["sum_of_squares"][0]
    compared = compare_mean(found["count"], found["sum"][0], squares, found["second_moment"], predicted=exact)
    assert compared.holds
    assert compared.detectable < 0.2 * exact  # a fifth too much or too little would be seen


@pytest.mark.parametrize("u", [0.9, -0.7])
def test_the_second_moment_in_one_dimension_by_hand(u: float) -> None:
    """N = 1, Lambda = Psi = 1, no noise: E (yhat - w x_q)^4 = 9 E (g x ReLU(x) - 1)^4; x < 0 gives 1 with weight 1/2,
    and E (g x^2 - 1)^4 = 105 g^4 - 60 g^3 + 18 g^2 - 4 g + 1 at the other half."""
    law = PromptDistribution([[1.0]], (1,), [[1.0]])
    squares = TIGHT + TIGHT
    found = expectation(with_fourth_powers, law, weights(u, [[0.4]]), squares + squares)
    g = 0.4 * u
    by_hand = 9 * (1 + 105 * g**4 - 60 * g**3 + 18 * g**2 - 4 * g + 1) / 2
    assert found.value[1] == pytest.approx(by_hand, abs=found.rounding[1])
    assert found.rounding[1] < 1e-10


def test_weights_that_leak_are_refused() -> None:
    W_PV, W_KQ = weights(0.8, [[0.5, 0.0], [0.0, 0.4]])
    W_PV[-1, 0] = 0.1
    with pytest.raises(ValueError, match="u12 = u21 = 0"):
        relu_risk(PromptDistribution.from_plain(LAW), W_PV, W_KQ)
