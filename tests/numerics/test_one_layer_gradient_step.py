"""The explicit gradient step is one, and least squares is its own minimiser."""

from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer.gradient_step import (
    gradient_step_prediction,
    least_squares_prediction,
    risk,
    risk_gradient_at_zero,
    step_derivatives,
    step_risk_gradient_sums,
)
from iclcheck.numerics.one_layer.prompts import PromptDistribution, sample_prompts
from iclcheck.numerics.training.random_streams import stream

LAW = PromptDistribution([[2.0, 0.5], [0.5, 1.0]], (1, 4), np.eye(2), 0.3)
P = np.array([[0.4, 0.1], [0.3, 0.2]])  # not symmetric, so that a transpose would show


def loops(prompts: Any, b: Any) -> Any:
    """Prediction of one step for prompt b in plain loops."""
    N = int(prompts.context_length[b])
    E = prompts.embedding[b].numpy()
    gradient = np.zeros(2)
    for i in range(N):
        gradient += (np.zeros(2) @ E[:2, i] - E[2, i]) * E[:2, i] / N
    w_1 = -P @ gradient
    return float(w_1 @ E[:2, -1]), gradient


def test_prediction_is_one_step_from_zero_on_the_prompts_risk() -> None:
    prompts = sample_prompts(LAW, 8, stream("step"))
    got = gradient_step_prediction(prompts, torch.from_numpy(P))
    slopes = risk_gradient_at_zero(prompts)
    for b in range(8):
        expected, gradient = loops(prompts, b)
        # a dozen products of size below 100
        assert float(got[b]) == pytest.approx(expected, abs=1e-12)
        np.testing.assert_allclose(slopes[b], gradient, atol=1e-12)


def test_derivatives_in_the_preconditioner_are_difference_quotients() -> None:
    prompts = sample_prompts(LAW, 8, stream("step slope"))
    V, t = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 2, 2))), 0.5
    got = step_derivatives(prompts, torch.from_numpy(P), V)
    for k in range(2):
        above, below = (
            (gradient_step_prediction(prompts, torch.from_numpy(P) + sign * t * V[k]) - prompts.target) ** 2 / 2
            for sign in (1, -1)
        )
        torch.testing.assert_close(got[k], (above - below) / (2 * t), atol=1e-10, rtol=1e-10)  # quadratic in t


def test_least_squares_has_no_slope_left_and_is_exact_without_noise() -> None:
    law = PromptDistribution(np.eye(2), (5,), np.eye(2))
    prompts = sample_prompts(law, 6, stream("least squares"))
    # conditioning of a 5 x 2 problem: squared condition numbers reach 1e4 here, so 1e-10 is rounding
    torch.testing.assert_close(least_squares_prediction(prompts), prompts.target, atol=1e-10, rtol=1e-10)
    short = sample_prompts(PromptDistribution(np.eye(2), (1,), np.eye(2)), 6, stream("one example"))
    x, y = short.embedding[:, :2, 0], short.embedding[:, 2, 0]
    least_norm = x * (y / x.square().sum(-1))[:, None]
    assert risk(short, least_norm).max() < 1e-25
    expected = (least_norm * short.embedding[:, :2, -1]).sum(-1)
    torch.testing.assert_close(least_squares_prediction(short), expected, atol=1e-10, rtol=1e-10)


def test_sums_vanish_at_the_best_preconditioner_and_not_elsewhere() -> None:
    N, Lambda, Psi, noise = 3, np.diag([2.0, 1.0]), np.array([[1.0, 0.3], [0.3, 0.5]]), 0.2
    law = PromptDistribution(Lambda, (N,), Psi, noise)
    C = (1 + 1 / N) * Psi @ Lambda + (np.trace(Lambda @ Psi) + noise) / N * np.eye(2)
    best, V = np.linalg.solve(C, Psi).T, np.eye(4).reshape(4, 2, 2)
    n = 400_000

    def sizes(preconditioner: Any) -> Any:
        sums = step_risk_gradient_sums(law, preconditioner, V, n, "best step")
        return np.abs(sums["sum"]) / np.sqrt(sums["sum_of_squares"])

    # Chebyshev at rate 1e-3: the sum is within sqrt(1000) of its standard deviations; the sampled variance
    # may be off by half, which the factor 1.5 covers
    assert np.all(sizes(best) < 1.5 * np.sqrt(1000))
    assert np.any(sizes(1.5 * best) > 1.5 * np.sqrt(1000))


def test_a_preconditioner_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"need P of shape \(2, 2\)"):
        step_risk_gradient_sums(LAW, np.eye(3), np.eye(2)[None], 10, "refused")
