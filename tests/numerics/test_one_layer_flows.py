"""The integrated flow of the real layer: against a closed form, its tolerance, and the gradient of the Gauss rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer import cubature, flows
from iclcheck.numerics.one_layer.prompts import PromptDistribution

ONE: dict[str, Any] = {
    "covariance": [[1.0]], "context_lengths": [1], "task_covariance": [[1.0]], "noise_variance": 0.0,
    "covariates": "gaussian",
}  # fmt: skip
TWO: dict[str, Any] = {
    "covariance": [[1.0, 0.3], [0.3, 0.6]], "context_lengths": [2], "task_covariance": [[1.0, 0.0], [0.0, 0.5]],
    "noise_variance": 0.2, "covariates": "gaussian",
}  # fmt: skip


def test_the_gradient_is_that_of_the_rule_on_all_entries_without_the_leak() -> None:
    """Sums of the same terms in another order: within the rule's own bound on its rounding, twice."""
    W_PV, W_KQ = np.zeros((3, 3)), np.zeros((3, 3))
    W_PV[2, 2], W_KQ[:2, :2] = 0.7, [[0.4, -0.2], [0.3, 0.5]]
    law = PromptDistribution.from_plain(TWO)
    expected = cubature.population_gradient(law, W_PV, W_KQ)
    _, (value, key_query) = flows.EnumeratedLoss(law).value_and_gradient(
        (torch.from_numpy(W_PV)[None], torch.from_numpy(W_KQ)[None])
    )
    assert abs(value[0, 2, 2].item() - expected.W_PV[2, 2]) <= 2 * expected.rounding_PV[2, 2]
    difference = np.abs(key_query[0, :2, :2].numpy() - expected.W_KQ[:2, :2])
    assert np.all(difference <= 2 * expected.rounding_KQ[:2, :2])
    assert torch.count_nonzero(value) == 1
    assert torch.count_nonzero(key_query) == 4


def test_the_balanced_flow_in_one_dimension_is_logistic() -> None:
    """d = N = 1, Lambda = Psi = 1: E x^4 = 3 gives L = 1/2 - g + (3/2) g^2, g = u U, g' = 2 g (1 - 3 g) for u = U."""
    found = flows.enumerated_flows(ONE, [{"u": 0.1, "U": [[0.1]]}, {"u": -0.3, "U": [[-0.3]]}], 2.0, 4, 1e-9, "cpu")
    for place, start in enumerate((0.01, 0.09)):
        for k, point in enumerate(found["fine"]):
            time = 2.0 * k / 4
            gain = start / (3 * start + (1 - 3 * start) * math.exp(-2 * time))
            # tolerance 1e-9 a step and below a hundred steps
            assert point["u"][place] * point["U"][place][0][0] == pytest.approx(gain, abs=1e-8)
            assert point["loss"][place] == pytest.approx(0.5 - gain + 1.5 * gain**2, abs=1e-8)
            slope = 2 * gain * (1 - 3 * gain) ** 2  # u^2 + U^2 = 2 g, times (1 - 3 g)^2
            assert point["squared_gradient"][place] == pytest.approx(slope, abs=1e-7)
    assert found["nodes"] > 0


def test_the_coarse_flow_is_about_ten_times_farther_off_than_the_fine_one() -> None:
    """What the allowance of the checks rests on: at least three times here, against a run at a thousandth."""
    starts = [{"u": 0.8, "U": [[0.9, -0.4], [0.3, 0.7]]}]
    close = flows.enumerated_flows(TWO, starts, 2.0, 2, 1e-11, "cpu")["fine"][-1]
    found = flows.enumerated_flows(TWO, starts, 2.0, 2, 1e-8, "cpu")
    fine, coarse = (
        abs(found[name][-1]["u"][0] - close["u"][0])
        + float(np.linalg.norm(np.array(found[name][-1]["U"]) - np.array(close["U"])))
        for name in ("fine", "coarse")
    )
    assert 3 * fine < coarse < 1e-5


def test_the_limit_is_the_fixed_point_and_keeps_the_difference_of_squares() -> None:
    """u U = 1/3 at d = N = 1, by hand; tolerance 1e-9 a step, gradient 1e-7."""
    found = flows.enumerated_limits(
        ONE, [{"u": 0.2, "U": [[1.0]]}, {"u": 0.5, "U": [[-1.0]]}], 1e-7, 100.0, 1e-9, "cpu"
    )
    for place, c in enumerate((0.04 - 1.0, 0.25 - 1.0)):
        u, U = found["fine"]["u"][place], found["fine"]["U"][place][0][0]
        assert u * U == pytest.approx(1 / 3, abs=1e-6)
        assert u**2 - U**2 == pytest.approx(c, abs=1e-6)
        assert found["fine"]["gradient"][place] <= 1e-7
    assert found["fine"]["u"][1] < 0  # it crossed
    assert found["fine"]["time"] < 100.0


def test_a_time_that_is_too_short_is_kept() -> None:
    found = flows.enumerated_limits(ONE, [{"u": 0.2, "U": [[1.0]]}], 1e-12, 0.5, 1e-6, "cpu")
    assert found["fine"]["time"] == pytest.approx(0.5, abs=1e-12)
    assert found["fine"]["gradient"][0] > 1e-3
