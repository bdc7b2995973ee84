r"""MesaNet's layer in plain steps: an input gate, a constant diagonal regulariser, and conjugate gradients.

    H_t = f_t H_{t-1} + b_t k_t k_t^T,  G_t = f_t G_{t-1} + b_t v_t k_t^T,  o_t = G_t x_t,  (H_t + diag(a)) x_t = q_t
[vonoswald2025mesanet, Eqs. 4-8]
Main statements
    outputs_by_solving                 x_t by elimination
    outputs_by_conjugate_gradients     x_t after n steps [hestenes1952methods] from q_t, from 0, or from q_t over the
                                       diagonal of H_t + diag(a)
Readable and slow: a loop over t in Python. Shapes: keys, queries (T, d), values (T, m), forget and gate (T), penalty
(d).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch

Start = Literal["query", "zero", "diagonal"]


def states(
    keys: torch.Tensor, values: torch.Tensor, forget: torch.Tensor, gate: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(H_t, G_t) for t = 1 .. T."""
    H, G = keys.new_zeros(keys.shape[1], keys.shape[1]), keys.new_zeros(values.shape[1], keys.shape[1])
    for k, v, f, b in zip(keys, values, forget, gate, strict=True):
        H, G = f * H + b * k[:, None] * k, f * G + b * v[:, None] * k
        yield H, G


def outputs_by_solving(
    keys: torch.Tensor,
    values: torch.Tensor,
    queries: torch.Tensor,
    forget: torch.Tensor,
    gate: torch.Tensor,
    penalty: torch.Tensor,
) -> torch.Tensor:
    """G_t (H_t + diag(a))^-1 q_t, (T, m)."""
    pairs = zip(states(keys, values, forget, gate), queries, strict=True)
    return torch.stack([G @ torch.linalg.solve(H + torch.diag(penalty), q) for (H, G), q in pairs])


def outputs_by_conjugate_gradients(
    keys: torch.Tensor,
    values: torch.Tensor,
    queries: torch.Tensor,
    forget: torch.Tensor,
    gate: torch.Tensor,
    penalty: torch.Tensor,
    *,
    steps: int,
    start: Start = "query",
) -> torch.Tensor:
    """G_t x with x after so many steps, (T, m)."""
    found = []
    for (H, G), q in zip(states(keys, values, forget, gate), queries, strict=True):
        A = H + torch.diag(penalty)
        first = {"query": q, "zero": 0 * q, "diagonal": q / A.diagonal()}[start]
        found.append(G @ conjugate_gradients(A, q, first, steps))
    return torch.stack(found)


def conjugate_gradients(A: torch.Tensor, q: torch.Tensor, start: torch.Tensor, steps: int) -> torch.Tensor:
    """x (d) after so many steps on A x = q, fewer where the residual vanishes before."""
    x, r = start, q - A @ start
    p, size = r, r @ r
    for _ in range(steps):
        if not size:
            break
        Ap = A @ p
        a = size / (p @ Ap)
        x, r = x + a * p, r - a * Ap
        size, before = r @ r, size
        p = r + (size / before) * p
    return x
