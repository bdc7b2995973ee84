"""Gradient descent on the exact loss of the real layer ends at the predicted A, for laws beyond the linear task.

The gradients come from Gauss nodes, so that nothing is sampled; the start is that of fixed-point (u > 0, U positive
definite, no leak). Stopped where the gradient G in U is below 1e-9: then A - A* = K^-1 G/u with the curvature K of the
claim, which gives the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iclcheck.numerics.one_layer.enumerated_measurements import enumerated_gradient
from iclcheck.numerics.one_layer.random_covariance import enumerated_exponential
from iclcheck.proofs_check.claims import nonlinear_targets, random_covariance

pytestmark = pytest.mark.slow

SMALL, STEPS = 1e-9, 4000
Gradient = Callable[[Any, Any], dict[str, Any]]


def descended(gradient: Gradient, d: int, rate: float) -> tuple[float, Any]:
    """(u, U) where the gradient is below SMALL, from u = 0.5, U = 0.5 I with one entry moved."""
    W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    W_PV[d, d], W_KQ[:d, :d] = 0.5, 0.5 * np.eye(d)
    W_KQ[0, 0] = 0.4
    for _ in range(STEPS):
        found = gradient(W_PV.tolist(), W_KQ.tolist())
        slopes = [np.array(found[name]) for name in ("W_PV", "W_KQ")]
        bounds = [np.array(found[f"{name}_rounding"])[d, :d] for name in ("W_PV", "W_KQ")]
        assert all((abs(slope[d, :d]) <= bound).all() for slope, bound in zip(slopes, bounds, strict=True))  # no leak
        if max(float(np.linalg.norm(slope)) for slope in slopes) < SMALL:
            return float(W_PV[d, d]), W_KQ[:d, :d]
        W_PV, W_KQ = W_PV - rate * slopes[0], W_KQ - rate * slopes[1]
    raise AssertionError("the descent has not ended")


@pytest.mark.parametrize(
    ("setting", "rate"),
    [
        (nonlinear_targets.whitened_law("relu", 2, 1, 0.25), 0.4),
        (nonlinear_targets.law("descent", 0, "relu", 2, 2, noise=False), 0.4),
    ],
    ids=["whitened ReLU", "ReLU"],
)
def test_nonlinear_labels(setting: dict[str, Any], rate: float) -> None:
    d = len(setting["covariance"])
    u, U = descended(lambda V, K: enumerated_gradient(setting, V, K, "cpu"), d, rate)
    best = nonlinear_targets.predicted_preconditioner(setting)
    inverses = (np.linalg.inv(part) for part in (nonlinear_targets.curvature(setting), setting["covariance"]))
    reach = float(np.prod([np.linalg.norm(inverse, 2) for inverse in inverses]))
    assert float(np.linalg.norm(u * U - best)) < reach * SMALL / u + 1e-12


def test_exponential_covariances() -> None:
    law = random_covariance.ExponentialLaw(2, 1, 0.25, 1)
    u, U = descended(lambda V, K: enumerated_exponential(2, 1, 0.25, V, K, "cpu"), 2, 0.05)
    curvature, _ = random_covariance.curvature(law)
    reach = float(np.linalg.norm(np.linalg.inv(curvature), 2))
    assert float(np.linalg.norm(u * U - random_covariance.predicted_gain(law))) < reach * SMALL / u + 1e-12
