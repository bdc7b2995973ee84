"""The layer under random covariance: by hand in one dimension, and enumerated against sampled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from iclcheck.numerics.one_layer.random_covariance import (
    ExponentialLaw,
    enumerated_exponential,
    enumerated_mixture,
    sampled_exponential,
)
from iclcheck.numerics.training.random_streams import stream
from iclcheck.proofs_check.verdicts.heavy_tails import compare_mean


def weights(u: float, U: list[list[float]]) -> tuple[Any, Any]:
    d = len(U)
    W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    W_PV[d, d], W_KQ[:d, :d] = u, U
    return W_PV.tolist(), W_KQ.tolist()


def test_one_dimension_by_hand() -> None:
    """N = 1, no noise: E (a x^2 x_q - x_q)^2 = lam - 2 a lam^2 + 3 a^2 lam^3 given lam, so 1 - 4 a + 18 a^2."""
    found = enumerated_exponential(1, 1, 0.0, *weights(0.9, [[0.4]]), "cpu")
    a = 0.9 * 0.4
    # some ten roundings of the nodes and weights, of terms below 10
    assert 2 * found["loss"] == pytest.approx(1 - 4 * a + 18 * a**2, abs=2 * found["loss_rounding"] + 1e-13)
    assert 2 * found["W_KQ"][0][0] == pytest.approx(0.9 * (-4 + 36 * a), abs=1e-12)


def test_a_mixture_is_the_mean_of_its_parts() -> None:
    law = {"context_lengths": [2], "task_covariance": [[1.0]], "noise_variance": 0.0, "covariates": "gaussian"}
    cases = [
        {"distribution": {**law, "covariance": [[lam]]}, "probability": p} for lam, p in ((1.0, 0.25), (3.0, 0.75))
    ]
    W = weights(1.0, [[0.3]])
    mixed = enumerated_mixture(cases, *W, "cpu")
    parts = [enumerated_mixture([{**case, "probability": 1.0}], *W, "cpu") for case in cases]
    for name in ("loss", "W_PV", "W_KQ", "loss_rounding"):
        expected = 0.25 * np.array(parts[0][name]) + 0.75 * np.array(parts[1][name])
        np.testing.assert_allclose(mixed[name], expected, rtol=1e-14)
    assert mixed["nodes"] == sum(part["nodes"] for part in parts)


def test_the_exact_loss_is_that_of_samples() -> None:
    """At a rate of 1e-6 for any tails (`heavy_tails`), with the exact second moment."""
    W = weights(0.8, [[0.2, 0.1], [-0.1, 0.3]])
    exact = enumerated_exponential(2, 2, 0.3, *W, "cpu")["loss"]
    found = sampled_exponential(2, 2, 0.3, *W, 400_000, "exponential test", "cpu")
    squares, second = found["sum_of_squares"][0], found["second_moment"]
    compared = compare_mean(found["count"], found["sum"][0], squares, second, predicted=exact)
    assert compared.holds
    assert compared.detectable < 0.5 * exact


def test_entries_of_the_covariance_are_exponential_and_shared_within_a_prompt() -> None:
    """Two covariates of a prompt have E x^2 x'^2 = E lam^2 = 2 and E x^2 = 1; entries of other prompts are fresh.

    x^2 x'^2 has variance below E x^4 x'^4 = 9 E lam^4 = 216: 4e5 prompts leave 0.023, of which 0.2 is more than eight.
    """
    rows = ExponentialLaw(1, 2, 0.0).draw(400_000, stream("entries")).embedding[:, 0]
    squares = rows.square()
    assert abs(float(squares.mean()) - 1) < 0.05
    assert abs(float((squares[:, 0] * squares[:, 1]).mean()) - 2) < 0.2
    assert torch.isfinite(rows).all()
