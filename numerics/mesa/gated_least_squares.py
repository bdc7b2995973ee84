r"""MesaNet's layer in plain steps: an input gate, a constant diagonal regulariser, and one linear system a step.

    H_t = f_t H_{t-1} + b_t k_t k_t^T,  G_t = f_t G_{t-1} + b_t v_t k_t^T,  o_t = G_t (H_t + diag(a))^{-1} q_t
[vonoswald2025mesanet, Eqs. 4-8]
Main statements
    states                (H_t, G_t), step by step
    outputs_by_solving    o_t by elimination; the form to work with is `conjugate_gradients`
Readable and slow. Shapes: keys, queries (T, d), values (T, m), forget and gate (T), penalty a (d).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch


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
    """G_t (H_t + diag(a))^{-1} q_t, (T, m)."""
    pairs = zip(states(keys, values, forget, gate), queries, strict=True)
    return torch.stack([G @ torch.linalg.solve(H + torch.diag(penalty), q) for (H, G), q in pairs])
