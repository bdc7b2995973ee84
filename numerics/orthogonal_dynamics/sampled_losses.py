r"""The loss of one layer of linear attention over random orthogonal dynamics, sampled with bounded draws.

Main statements
    length of s_1    the loss is a polynomial of degree 3 in |s_1|^2, which has a chi-squared law with n degrees of
                     freedom and is independent of W and of the direction of s_1: two Gauss-Laguerre nodes average over
                     it exactly, by running the layer on the sequence at two lengths
    bound            what is left to sample, the law of W and the direction, gives values in [0, R]: with |s_t| = r
                     |yhat_t| <= sum over blocks (a, b, c) and heads of |W_PV(0, a)| |W_KQ(b, c)| (t - max(a, b)) r^3
                     and R is the mean of 1/2 (r + that)^2 over t and r
So no moment has to be known for a comparison at stated error rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.special import roots_genlaguerre

from ..mesa.sequences import apply, haar_orthogonal
from ..training.random_streams import standard_normals, stream
from ..training.threads import use_one_thread
from .exact_means import layer_with, losses

Nested = Sequence[Any]
BATCH = 1_000


def squared_lengths(n: int, nodes: int) -> tuple[list[float], list[float]]:
    """Nodes r^2 and weights for r^2 ~ chi-squared(n), exact to degree 2 nodes - 1."""
    half, weights = roots_genlaguerre(nodes, n / 2 - 1)
    return [2 * float(x) for x in half], [float(w) for w in weights / weights.sum()]


def directions(count: int, size: int, length: int, generator: torch.Generator) -> torch.Tensor:
    """Sequences (count, T, n) of W^(t-1) u, u uniform on the sphere."""
    W = haar_orthogonal(count, size, generator, torch.float64)
    state = standard_normals((count, size), generator, torch.float64)
    states = [state / state.norm(dim=-1, keepdim=True)]
    for _ in range(length - 1):
        states.append(apply(W, states[-1]))
    return torch.stack(states, 1)


def sampled_losses(
    size: int, length: int, W_KQ: Nested, W_PV: Nested, sequences: int, stream_key: str, device: str
) -> dict[str, Any]:
    """Sums of the loss and its square over fresh (W, direction), each averaged over |s_1|, and the bound R."""
    use_one_thread()
    layer = layer_with(*(torch.tensor(W, dtype=torch.float64, device=torch.device(device)) for W in (W_KQ, W_PV)))
    squares, weights = squared_lengths(size, 2)
    generator = stream(stream_key, device)
    total = total_of_squares = 0.0
    with torch.no_grad():
        for first in range(0, sequences, BATCH):
            turned = directions(min(BATCH, sequences - first), size, length, generator)
            at_lengths = torch.stack([losses(layer, turned * r2**0.5) for r2 in squares], -1)
            values = at_lengths @ torch.tensor(weights, dtype=torch.float64, device=at_lengths.device)
            total += float(values.sum())
            total_of_squares += float(values.square().sum())
    bound = largest_loss(np.array(W_KQ), np.array(W_PV), size, length)
    return {"count": sequences, "sum": total, "sum_of_squares": total_of_squares, "largest": bound}


def largest_loss(W_KQ: np.ndarray[Any, Any], W_PV: np.ndarray[Any, Any], size: int, length: int) -> float:
    """R of the module. Raises ValueError for weights that read or write beside the blocks of constructed tokens."""
    if W_KQ.shape != W_PV.shape or W_KQ.shape[1:] != (3 * size, 3 * size):
        raise ValueError(f"need merged weights (H, {3 * size}, {3 * size}), got {W_KQ.shape} and {W_PV.shape}")
    squares, weights = squared_lengths(size, 4)
    gains = np.zeros(length - 1)
    for P, Q in zip(W_PV, W_KQ, strict=True):
        for a, b, c in product((0, 1), repeat=3):
            gain = norm_of_block(P, 0, 1 + a, size) * norm_of_block(Q, 1 + b, 1 + c, size)
            gains += gain * np.maximum(np.arange(1, length) - max(a, b), 0)
    found = sum(w * np.mean(0.5 * (r2**0.5 + gains * r2**1.5) ** 2) for r2, w in zip(squares, weights, strict=True))
    return float(found)


def norm_of_block(matrix: np.ndarray[Any, Any], row: int, column: int, size: int) -> float:
    """The operator norm of one n x n block."""
    return float(np.linalg.norm(matrix[row * size : (row + 1) * size, column * size : (column + 1) * size], 2))
