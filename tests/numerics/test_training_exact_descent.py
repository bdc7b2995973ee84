"""Descent on a loss that is given by moments: derivatives by autograd, the flow by SciPy, and what it conserves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from iclcheck.numerics.training.exact_descent import (
    MomentLoss,
    adam,
    apart,
    gradient_descent,
    gradient_flow,
    joined,
    random_starts,
    size,
)


def random_loss(dimension: Any, seed: Any = 0) -> Any:
    """Moments of 400 random feature vectors: T is definite, and the loss bounded below."""
    draw = torch.Generator().manual_seed(seed)
    n = (dimension + 1) ** 2 * dimension
    features = torch.randn(400, n, generator=draw, dtype=torch.float64)
    target = torch.randn(400, generator=draw, dtype=torch.float64) + features[:, 0]
    return MomentLoss(float(target @ target) / 800, features.T @ target / 400, features.T @ features / 400)


@pytest.mark.parametrize("heads", [1, 2])
def test_gradient_and_second_derivatives_are_those_of_autograd(heads: Any) -> None:
    loss = random_loss(2)
    p, K = random_starts(3, heads, 2, 1.0, 5)
    theta = joined(p, K)
    found, second = loss.joined_gradient(theta, 3), loss.second_derivatives(theta, 3)
    for run in range(3):

        def at(flat: Any) -> Any:
            return loss.value(*apart(flat[None], 3))[0]

        by_autograd = torch.autograd.functional.jacobian(at, theta[run])  # type: ignore[no-untyped-call]
        hessian = torch.autograd.functional.hessian(at, theta[run])  # type: ignore[no-untyped-call]
        torch.testing.assert_close(found[run], by_autograd, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(second[run], hessian, rtol=1e-9, atol=1e-9)


def test_the_flow_ends_where_scipys_integrator_ends() -> None:
    loss = random_loss(1, seed=2)
    p, K = random_starts(6, 1, 1, 0.7, 1)
    ends = gradient_flow(loss, p, K, 1e-7, 4000)
    for run, start in enumerate(joined(p, K).numpy()):

        def downhill(_: Any, theta: Any) -> Any:
            return -loss.joined_gradient(torch.tensor(theta)[None], 2)[0].numpy()

        oracle = solve_ivp(downhill, (0, 2000), start, method="LSODA", rtol=1e-9, atol=1e-11).y[:, -1]
        # Local errors of 1e-5 a step over about 100 steps, contracted near the end: well below a hundredth
        expected = float(loss.value(*apart(torch.tensor(oracle)[None], 2)))
        assert float(ends.loss[run]) == pytest.approx(expected, rel=1e-2)
        np.testing.assert_allclose(
            joined(ends.p, ends.K)[run].numpy(), oracle, atol=0.02 * float(np.linalg.norm(oracle))
        )


def test_the_flow_conserves_the_difference_of_the_squared_norms() -> None:
    loss = random_loss(2, seed=4)
    p, K = random_starts(20, 1, 2, 0.5, 3)
    ends = gradient_flow(loss, p, K, 1e-6, 4000)
    before, after = (
        (q.flatten(1).square().sum(-1) - R.flatten(1).square().sum(-1)) for q, R in ((p, K), (ends.p, ends.K))
    )
    # At most some hundred steps with errors of 1e-5 |theta| each move |p|^2 - |K|^2 by 2e-5 |theta|^2 a step
    assert float(((after - before).abs() / size(ends.p, ends.K).square()).max()) < 0.01


def test_small_steps_of_descent_and_adam_end_at_a_stationary_point() -> None:
    loss = random_loss(1, seed=6)
    p, K = random_starts(8, 1, 1, 0.5, 9)
    for ends in (gradient_descent(loss, p, K, 0.05, 6000), adam(loss, p, K, 0.05, 6000)):
        assert bool(ends.finite.all())
        assert float(ends.slope.max()) < 1e-3


def test_a_rate_that_is_too_large_is_reported_as_not_finite() -> None:
    loss = random_loss(2, seed=8)
    p, K = random_starts(5, 1, 2, 2.0, 1)
    assert not bool(gradient_descent(loss, p, K, 5.0, 200).finite.any())


def test_curves_start_at_the_loss_of_the_start() -> None:
    loss = random_loss(1, seed=1)
    p, K = random_starts(3, 1, 1, 0.5, 2)
    ends = gradient_descent(loss, p, K, 0.01, 100, curve_points=10)
    assert len(ends.curves) == 10
    torch.testing.assert_close(ends.curves[0][1], loss.value(p, K))
