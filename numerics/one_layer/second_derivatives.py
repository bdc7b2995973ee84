"""Second derivatives of the real layer's loss over Gauss nodes, exact up to rounding: plain data in, plain data out.

The loss is quadratic in each entry of W_PV and in each of W_KQ, so its gradient is of degree at most two along an entry
and a central difference is exact, whatever its step. Always on the CPU in float64.

    enumerated_second_derivatives    loss, gradient and second derivatives on the entries that the prediction reads
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import cubature
from .prompts import PromptDistribution

Plain = Mapping[str, Any]
FloatArray = NDArray[np.float64]
STEP = 1.0  # of the order of the weights: any step is exact, and this one loses the fewest digits


def enumerated_second_derivatives(
    distribution: Plain, W_PV: Sequence[Any], W_KQ: Sequence[Any], device: str
) -> dict[str, Any]:
    """For the entries theta = (last row of W_PV, first d columns of W_KQ row by row), n = (d+1)^2 of them.

    loss, gradient (n,), second_derivatives (n, n), and bounds on their rounding errors.
    """
    law = PromptDistribution.from_plain(distribution)
    theta = entries(np.array(W_PV, dtype=float), np.array(W_KQ, dtype=float))
    n, loss = len(theta), cubature.population_loss(law, W_PV, W_KQ)
    gradient, rounding = slope(law, theta)
    second, error = np.zeros((n, n)), np.zeros((n, n))
    for k in range(n):
        moved = STEP * np.eye(n)[k]
        (up, up_error), (down, down_error) = slope(law, theta + moved), slope(law, theta - moved)
        second[k], error[k] = (up - down) / (2 * STEP), (up_error + down_error) / (2 * STEP)
    return {
        "loss": float(loss.value[0]),
        "loss_rounding": float(loss.rounding[0]),
        "gradient": gradient.tolist(),
        "gradient_rounding": rounding.tolist(),
        "second_derivatives": ((second + second.T) / 2).tolist(),
        "rounding": ((error + error.T) / 2).tolist(),
        "nodes": loss.nodes * (2 * n + 1),
    }


def entries(W_PV: FloatArray, W_KQ: FloatArray) -> FloatArray:
    """theta of the weights."""
    return np.concatenate([W_PV[-1], W_KQ[:, :-1].ravel()])


def weights(theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(W_PV, W_KQ) of theta, with zeros where the prediction does not read."""
    size = round(len(theta) ** 0.5)
    W_PV, W_KQ = np.zeros((size, size)), np.zeros((size, size))
    W_PV[-1], W_KQ[:, :-1] = theta[:size], theta[size:].reshape(size, size - 1)
    return W_PV, W_KQ


def slope(law: PromptDistribution, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The gradient by theta, and its rounding bounds."""
    W_PV, W_KQ = weights(theta)
    found = cubature.population_gradient(law, W_PV.tolist(), W_KQ.tolist())
    return entries(found.W_PV, found.W_KQ), entries(found.rounding_PV, found.rounding_KQ)
