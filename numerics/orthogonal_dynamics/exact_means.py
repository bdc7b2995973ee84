r"""Means over random orthogonal dynamics without sampling, for states of at most three dimensions.

Main statements
    transitions    nodes and weights on O(n) that average every polynomial of degree L in the entries of W exactly: the
                   two points of O(1); rotations by L + 1 angles and their mirror images on O(2); Euler angles on O(3),
                   L + 1 values of the outer two and Gauss-Legendre nodes of the cosine of the middle one, and -W
    first states   Gauss-Hermite nodes, exact to the degree of the loss in s_1
    enumerated_losses   the real layer's loss, and its gradient on the merged weights, on every sequence of nodes
No property of the answer is used: neither that the loss depends on the angles of W only, nor that it is a parabola.
Proof for O(3)
    A polynomial of degree L in the entries is a combination of matrix elements of the irreducible representations of
    spin at most L. The outer angles leave those with both weights 0, Legendre polynomials of the cosine, which
    floor(L/2) + 1 Gauss-Legendre nodes average exactly. []
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..mesa.attention import CausalAttention
from ..mesa.tokens import constructed_tokens
from ..training.threads import use_one_thread

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)
BATCH = 40_000  # sequences at a time


@dataclass(frozen=True)
class Rule:
    """Nodes (count, ...) with weights (count,) that add up to 1."""

    nodes: Array
    weights: Array


def transitions(n: int, degree: int) -> Rule:
    """Nodes W (count, n, n) on O(n). Raises ValueError for n > 3."""
    if n == 1:
        return Rule(np.array([[[1.0]], [[-1.0]]]), np.full(2, 0.5))
    if n == 2:
        turns = np.array([rotation(angle) for angle in circle(degree)])
        return with_images(Rule(turns, np.full(len(turns), 1 / len(turns))), np.diag([1.0, -1.0]))
    if n == 3:
        return with_images(euler_rotations(degree), -np.eye(3))
    raise ValueError(f"need states of at most 3 dimensions to average over O(n) without sampling, got {n}")


def circle(degree: int) -> Array:
    """Angles whose mean is exact for trigonometric polynomials of that degree."""
    return np.array([2 * math.pi * k / (degree + 1) for k in range(degree + 1)])


def rotation(angle: float) -> Array:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def euler_rotations(degree: int) -> Rule:
    """R_z(alpha) R_y(beta) R_z(gamma) with the Haar law of SO(3)."""
    cosines, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    about_z = np.array([block(rotation(angle), 2) for angle in circle(degree)])
    about_y = np.array([block(rotation(math.acos(c)), 1) for c in cosines])
    nodes = np.einsum("aij,bjk,ckl->abcil", about_z, about_y, about_z).reshape(-1, 3, 3)
    each = np.broadcast_to(weights[None, :, None] / 2, (degree + 1, len(cosines), degree + 1))
    return Rule(nodes, each.reshape(-1) / (degree + 1) ** 2)


def block(turn: Array, fixed: int) -> Array:
    """A rotation of R^3 that keeps one axis."""
    others = [axis for axis in range(3) if axis != fixed]
    matrix = np.zeros((3, 3))
    matrix[np.ix_(others, others)] = turn
    matrix[fixed, fixed] = 1.0
    return matrix


def with_images(rule: Rule, reflection: Array) -> Rule:
    """The rule on the other coset too."""
    return Rule(np.concatenate([rule.nodes, rule.nodes @ reflection]), np.concatenate([rule.weights] * 2) / 2)


def first_states(n: int, degree: int) -> Rule:
    """Nodes s_1 (count, n) of N(0, I), exact to that degree in each entry."""
    z, weights = np.polynomial.hermite_e.hermegauss(degree // 2 + 1)
    grid = np.stack(np.meshgrid(*[z] * n, indexing="ij"), -1).reshape(-1, n)
    each = np.stack(np.meshgrid(*[weights / weights.sum()] * n, indexing="ij"), -1).reshape(-1, n)
    return Rule(grid, each.prod(-1))


@cache
def sequences(n: int, length: int) -> Rule:
    """Every sequence (count, T, n) of nodes.

    A prediction is trilinear in states of degree at most T - 2 in W, and a target has degree at most T - 1; so the loss
    has degree 6 in s_1, and in W twice the larger of 3 (T - 2) and T - 1.
    """
    moves, starts = transitions(n, 2 * max(3 * (length - 2), length - 1)), first_states(n, 6)
    state = np.broadcast_to(starts.nodes, (len(moves.nodes), *starts.nodes.shape))
    states = [state]
    for _ in range(length - 1):
        state = np.einsum("wij,wsj->wsi", moves.nodes, state)
        states.append(state)
    nodes = np.stack(states, 2).reshape(-1, length, n)
    return Rule(nodes, (moves.weights[:, None] * starts.weights).reshape(-1))


def layer_with(W_KQ: torch.Tensor, W_PV: torch.Tensor) -> CausalAttention:
    """The layer of linear attention with these merged weights (H, D, D): W_K = W_V = I."""
    heads, width, _ = W_KQ.shape
    layer = CausalAttention(width, heads=heads, generator=torch.Generator(), dtype=W_KQ.dtype)
    eye = torch.eye(width, dtype=W_KQ.dtype, device=W_KQ.device).expand(heads, width, width)
    layer.W_Q, layer.P = torch.nn.Parameter(W_KQ), torch.nn.Parameter(W_PV)
    layer.W_K, layer.W_V = torch.nn.Parameter(eye.clone()), torch.nn.Parameter(eye.clone())
    return layer


def losses(layer: CausalAttention, states: torch.Tensor) -> torch.Tensor:
    """1/2 |s_(t+1) - yhat_t|^2, the mean over t = 1 .. T - 1, of each sequence: (B,)."""
    predicted = layer(constructed_tokens(states))[:, :-1, : states.shape[-1]]
    found: torch.Tensor = (states[:, 1:] - predicted).square().sum(-1).mean(-1) / 2
    return found


def majorant_layer(layer: CausalAttention) -> CausalAttention:
    """The layer with the absolute values of its merged weights."""
    return layer_with(layer.W_Q.detach().abs(), layer.P.detach().abs())


def majorants(positive: CausalAttention, states: torch.Tensor) -> torch.Tensor:
    """The losses with absolute values everywhere and signs that add up: what rounding is relative to, (B,)."""
    predicted = positive(constructed_tokens(states.abs()))[:, :-1, : states.shape[-1]]
    found: torch.Tensor = (states[:, 1:].abs() + predicted).square().sum(-1).mean(-1) / 2
    return found


def roundings(length: int, width: int) -> float:
    """Relative rounding of a loss in units of its majorant.

    Sums over the width (five matrix products in a row), over T keys, over T n squares and over the nodes, pairwise;
    each node carries a few roundings of angles and weights, times the degree 6 T of the loss in them.
    """
    return EPS * (5 * width + 3 * length + 8 * 6 * length + 64)


def enumerated_losses(cases: Sequence[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """Per case (size, length, W_KQ, W_PV of shape (H, D, D)): loss and |gradient|, with bounds on their rounding.

    The gradient is that of the loss with respect to W_KQ and W_PV; its bound is gradient_majorant, the majorant's
    gradient, times the same roundings, as every term of the gradient is a term of the loss with a factor left out.
    """
    use_one_thread()
    found = [enumerated_case(case, torch.device(device)) for case in cases]
    return {name: [one[name] for one in found] for name in found[0]}


def enumerated_case(case: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    rule = sequences(case["size"], case["length"])
    merged = (torch.tensor(case[name], dtype=torch.float64, device=device) for name in ("W_KQ", "W_PV"))
    layer = layer_with(*merged)
    loss, slope = mean_and_slope(rule, lambda states: losses(layer, states), [layer.W_Q, layer.P])
    positive = majorant_layer(layer)
    above, steep = mean_and_slope(rule, lambda states: majorants(positive, states), [positive.W_Q, positive.P])
    allowed = roundings(case["length"], layer.W_Q.shape[-1])
    return {
        "loss": loss,
        "loss_rounding": allowed * above,
        "gradient": slope,
        "gradient_rounding": allowed * steep,
        "gradient_majorant": steep,
        "nodes": len(rule.weights),
    }


def mean_and_slope(
    rule: Rule, values: Callable[[torch.Tensor], torch.Tensor], weights: list[torch.nn.Parameter]
) -> tuple[float, float]:
    """The weighted mean of values(states) over all nodes, and the norm of its gradient on the weights."""
    total, slopes = 0.0, [torch.zeros_like(one) for one in weights]
    for first in range(0, len(rule.weights), BATCH):
        part = slice(first, first + BATCH)
        states, shares = (torch.tensor(array[part], device=weights[0].device) for array in (rule.nodes, rule.weights))
        mean = (shares * values(states)).sum()
        total += float(mean.detach())
        for slope, more in zip(slopes, torch.autograd.grad(mean, weights), strict=True):
            slope += more
    return total, math.sqrt(sum(float(slope.square().sum()) for slope in slopes))
