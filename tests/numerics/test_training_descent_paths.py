"""Every step of a run: the steps are those of the method, and only plain descent keeps the drift of its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer.gradients import batch_gradient
from iclcheck.numerics.one_layer.observables import balance
from iclcheck.numerics.one_layer.prompts import PromptDistribution, PromptSampler
from iclcheck.numerics.training.descent_paths import descent_path
from iclcheck.numerics.training.random_streams import stream

LAW: dict[str, Any] = {
    "covariance": [[1.0, 0.3], [0.3, 0.6]], "context_lengths": [3], "task_covariance": [[1.0, 0.0], [0.0, 0.5]],
    "noise_variance": 0.2, "covariates": "gaussian",
}  # fmt: skip
STARTS = ([[0.0] * 3, [0.0] * 3, [0.2, -0.3, 0.6]], [[0.5, 0.1, 0.0], [-0.2, 0.4, 0.0], [0.3, 0.1, 0.0]])


def path(optimiser: str, steps: int = 5) -> dict[str, Any]:
    return descent_path(LAW, *STARTS, optimiser, 0.05, steps, 32, "paths", "cpu")


def test_the_first_gradient_is_that_of_the_first_batch() -> None:
    found = path("sgd")
    prompts = PromptSampler(PromptDistribution.from_plain(LAW))(32, stream("paths"))
    W_PV, W_KQ = (torch.tensor(one, dtype=torch.float64) for one in STARTS)
    _, row, key_query = batch_gradient(prompts, W_PV, W_KQ)
    np.testing.assert_array_equal(found["gradient_PV"][0][-1], row)
    np.testing.assert_array_equal(found["gradient_KQ"][0], key_query)
    assert found["prompts"] == 160


def test_plain_descent_steps_along_the_gradient() -> None:
    found = path("sgd")
    for name in ("PV", "KQ"):
        weights, gradients = np.array(found[f"W_{name}"]), np.array(found[f"gradient_{name}"])
        np.testing.assert_allclose(weights[1:], weights[:-1] - 0.05 * gradients, rtol=0, atol=1e-15)
    assert len(found["W_PV"]) == 6


@pytest.mark.parametrize(("optimiser", "keeps"), [("sgd", True), ("adam", False)])
def test_only_plain_descent_changes_the_balance_by_its_drift(optimiser: str, keeps: bool) -> None:
    """h^2 (|g_p|^2 - |g_K|^2), to 1e-14: sums of some twenty squares of order one."""
    found = path(optimiser)
    PV, KQ = np.array(found["W_PV"]), np.array(found["W_KQ"])
    change = balance(PV[1:], KQ[1:]) - balance(PV[:-1], KQ[:-1])
    drift = 0.05**2 * balance(np.array(found["gradient_PV"]), np.array(found["gradient_KQ"]))
    assert bool(np.all(np.abs(change - drift) < 1e-14)) == keeps
    if not keeps:
        assert np.abs(change).max() > 1e-3
