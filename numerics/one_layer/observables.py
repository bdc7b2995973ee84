r"""Quantities of trained weights that the scale symmetry leaves alone, and the representative that fixes it.

With the blocks W_PV[d, :] = (u12^T, u) and W_KQ[:, :d] = (U; u21^T), the function that the layer computes
does not change under (W_PV, W_KQ) -> (c W_PV, W_KQ / c), c != 0.

Main statements
    effective_preconditioner   A = u U + u12 u21^T: the layer predicts s^T A x_q, s = (1/N) sum_i y_i x_i,
                               where nothing leaks
    leak                       |u12| |u21|
    balance                    u^2 + |u12|^2 - |U|_F^2 - |u21|^2, constant under gradient flow: with
                               w = (u12, u) and K = (U; u21^T) the loss depends on w and K through a
                               bilinear yhat, so w . dL/dw = <K, dL/dK>, and d/dt (|w|^2 - |K|_F^2) = 0
    balanced                   the representative with |w| = |K|_F and u > 0
Shapes: weights (..., d + 1, d + 1), NumPy arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Blocks:
    """The blocks that enter a prediction: u12 (..., d), u (...), U (..., d, d), u21 (..., d)."""

    u12: Array
    u: Array
    U: Array
    u21: Array


def blocks(W_PV: Array, W_KQ: Array) -> Blocks:
    """The entries of the weights that have a gradient: the last row of W_PV, the first d columns of W_KQ."""
    d = W_PV.shape[-1] - 1
    return Blocks(W_PV[..., -1, :d], W_PV[..., -1, -1], W_KQ[..., :d, :d], W_KQ[..., -1, :d])


def weights_from_blocks(parts: Blocks) -> tuple[Array, Array]:
    """W_PV and W_KQ (..., d + 1, d + 1) with these blocks and zeros elsewhere."""
    d = parts.U.shape[-1]
    W_PV = np.zeros((*parts.U.shape[:-2], d + 1, d + 1))
    W_KQ = np.zeros_like(W_PV)
    W_PV[..., -1, :d], W_PV[..., -1, -1] = parts.u12, parts.u
    W_KQ[..., :d, :d], W_KQ[..., -1, :d] = parts.U, parts.u21
    return W_PV, W_KQ


def effective_preconditioner(W_PV: Array, W_KQ: Array) -> Array:
    """A = u U + u12 u21^T, (..., d, d)."""
    parts = blocks(W_PV, W_KQ)
    return parts.u[..., None, None] * parts.U + parts.u12[..., :, None] * parts.u21[..., None, :]


def leak(W_PV: Array, W_KQ: Array) -> Array:
    """|u12| |u21|, (...): 0 unless labels and covariates mix through both weights."""
    parts = blocks(W_PV, W_KQ)
    size: Array = np.linalg.norm(parts.u12, axis=-1) * np.linalg.norm(parts.u21, axis=-1)
    return size


def balance(W_PV: Array, W_KQ: Array) -> Array:
    """u^2 + |u12|^2 - |U|_F^2 - |u21|^2, (...)."""
    value, key_query = _sizes(W_PV, W_KQ)
    difference: Array = value**2 - key_query**2
    return difference


def balanced(W_PV: Array, W_KQ: Array) -> tuple[Array, Array]:
    """The weights of the same layer with |(u12, u)| = |(U; u21)|_F and u > 0 (u12 first where u = 0).

    Entries without a gradient are kept. Raises ValueError where one of the two is zero: such a layer adds
    nothing to the prompt, and no scale balances it.
    """
    value, key_query = _sizes(W_PV, W_KQ)
    if not (np.all(value > 0) and np.all(key_query > 0)):
        raise ValueError(
            "need (u12, u) and (U; u21) both different from zero, got a layer that predicts 0 everywhere; "
            "it has no balanced representative"
        )
    scale = (np.sqrt(key_query / value) * _sign(W_PV))[..., None, None]
    return W_PV * scale, W_KQ / scale


def relative_error(measured: Array, expected: Array) -> Array:
    """|measured - expected|_F / |expected|_F over the last two axes; inf or nan where `expected` is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error: Array = np.linalg.norm(measured - expected, axis=(-2, -1)) / np.linalg.norm(expected, axis=(-2, -1))
    return error


def _sizes(W_PV: Array, W_KQ: Array) -> tuple[Array, Array]:
    value = np.linalg.norm(W_PV[..., -1, :], axis=-1)
    key_query = np.linalg.norm(W_KQ[..., :-1], axis=(-2, -1))
    return value, key_query


def _sign(W_PV: Array) -> Array:
    """The sign of u, or of the first entry of u12 that is not zero where u = 0."""
    row = np.moveaxis(np.roll(W_PV[..., -1, :], 1, axis=-1), -1, 0)  # (u, u12)
    sign = np.zeros(row.shape[1:])
    for entry in row:
        sign = np.where(sign == 0, np.sign(entry), sign)
    return sign
