"""Second derivatives over Gauss nodes: against differences of small step, and where the layer predicts 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from iclcheck.numerics.one_layer import cubature
from iclcheck.numerics.one_layer.prompts import PromptDistribution
from iclcheck.numerics.one_layer.second_derivatives import entries, enumerated_second_derivatives, weights

LAW = {
    "covariance": [[1.0, 0.2], [0.2, 2.0]],
    "context_lengths": [2],
    "task_covariance": [[1.0, 0.0], [0.0, 1.0]],
    "noise_variance": 0.3,
    "covariates": "gaussian",
}


def random_weights() -> Any:
    draw = np.random.default_rng(0)
    return weights(draw.normal(size=9) / 2)


def test_they_are_differences_of_the_loss_with_small_steps() -> None:
    W_PV, W_KQ = random_weights()
    found = enumerated_second_derivatives(LAW, W_PV.tolist(), W_KQ.tolist(), "cpu")
    theta, law, h = entries(W_PV, W_KQ), PromptDistribution.from_plain(LAW), 1e-3

    def loss(at: Any) -> Any:
        return float(cubature.population_loss(law, *(part.tolist() for part in weights(at))).value[0])

    for i, j in ((0, 0), (0, 4), (2, 8), (5, 5), (1, 7)):
        e, f = h * np.eye(9)[i], h * np.eye(9)[j]
        mixed = (loss(theta + e + f) - loss(theta + e - f) - loss(theta - e + f) + loss(theta - e - f)) / (4 * h * h)
        # the loss is of degree four: the mixed difference is off by h^2 times fourth derivatives of order 100
        assert abs(found["second_derivatives"][i][j] - mixed) < 1e-3


def test_the_scale_of_the_weights_is_a_flat_direction_at_a_stationary_point_only_through_the_gradient() -> None:
    # d/dc at c = 1 of grad L along (p, -K): H (p, -K) = -(g_p, -g_K), exactly, since L(c p, K/c) = L(p, K)
    W_PV, W_KQ = random_weights()
    found = enumerated_second_derivatives(LAW, W_PV.tolist(), W_KQ.tolist(), "cpu")
    theta, signs = entries(W_PV, W_KQ), np.array([1.0] * 3 + [-1.0] * 6)
    moved = np.array(found["second_derivatives"]) @ (signs * theta)
    bound = np.abs(np.array(found["rounding"])) @ np.abs(theta) + np.array(found["gradient_rounding"])
    assert np.all(np.abs(moved + signs * np.array(found["gradient"])) <= 2 * bound)
