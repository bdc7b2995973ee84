"""The layer in plain loops and float64, to be read beside the formula and to test the fast paths against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def attend(E: Matrix, context_length: int, W_PV: Matrix, W_KQ: Matrix) -> Matrix:
    """f(E) = E + W_PV E (E^T W_KQ E) / N for one prompt E (d + 1, N + 1); weights (d + 1, d + 1)."""
    attention = product(product(transpose(E), W_KQ), E) / context_length
    return E + product(product(W_PV, E), attention)


def prediction(E: Matrix, context_length: int, W_PV: Matrix, W_KQ: Matrix) -> float:
    """yhat, the bottom-right entry of f(E)."""
    return float(attend(E, context_length, W_PV, W_KQ)[-1, -1])


def product(A: Matrix, B: Matrix) -> Matrix:
    """(A B)_ij = sum_k A_ik B_kj."""
    result = np.zeros((A.shape[0], B.shape[1]))
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            for k in range(A.shape[1]):
                result[i, j] += A[i, k] * B[k, j]
    return result


def transpose(A: Matrix) -> Matrix:
    """(A^T)_ij = A_ji."""
    result = np.zeros((A.shape[1], A.shape[0]))
    for i in range(A.shape[1]):
        for j in range(A.shape[0]):
            result[i, j] = A[j, i]
    return result
