r"""Gradients through o_t = G_t A_t^{-1} q_t that do not depend on how it was solved.

S_t = (H_t; G_t) = f_t S_{t-1} + b_t a_t k_t^T with a_t = (k_t; v_t), and A_t is H_t, or H_t plus a constant. With the
gradient g_t of the loss for o_t, x_t = A_t^{-1} q_t and u_t = A_t^{-1} G_t^T g_t,

    dL = sum_t g_t^T dG_t x_t - u_t^T dA_t x_t + u_t . dq_t,

so S_t has the gradient p_t x_t^T with p_t = (-u_t; g_t) from its own output, and from all later ones

    B_s = sum_{t >= s} zeta_ts p_t x_t^T,   dL/da_s = b_s B_s k_s,   dL/dk_s = b_s B_s^T a_s on top of its part in a_s.

Two solutions a step and sums backwards in time are all; no solver is differentiated, and nothing of it is kept.

Forgetting. f_r dL/df_r = <S_{r-1}, dL/dS_{r-1}>. From r to r + 1 this inner product gains what step r adds,
a_r . dL/da_r, and loses what its output takes, g_r^T G_r x_r - u_r^T H_r x_r, which is 0 where A_t = H_t. So it is a
running sum, started afresh from the states in each chunk lest rounding pile up.

Main statement
    state_gradients    all of these from x, u and g, in chunks
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .decayed_sums import gradients_at_ends
from .sequence_blocks import Block


class StateGradients(NamedTuple):
    """Gradients of the loss: keys (N, n, C, d), values (N, n, C, m), gate and forget (N, n, C), start (N, d + m, d)."""

    keys: torch.Tensor
    values: torch.Tensor
    gate: torch.Tensor
    forget: torch.Tensor | None
    start: torch.Tensor


def state_gradients(
    block: Block,
    states: torch.Tensor,
    solved: torch.Tensor,
    pulls: torch.Tensor,
    end: torch.Tensor,
    taken: torch.Tensor | None = None,
) -> StateGradients:
    """From x (N, n, C, d) as `solved`, p (N, n, C, d + m) as `pulls`, and the gradient `end` (N, d + m, d) of S_T.

    states (N, n + 1, d + m, d) are S at the start of each chunk and after the last. taken (N, n, C): what the outputs
    take from the running sum, 0 if None.
    """
    d, keys, decays = solved.shape[-1], block.keys, block.decays
    added = torch.cat([keys, block.values], -1)  # a, (N, n, C, d + m)
    B = gradients_at_ends((pulls * decays.from_start).mT @ solved, decays, end)
    later = B[:, 1:]
    of_added = decays.anticausal(keys @ solved.mT) @ pulls + decays.to_end * (keys @ later.mT)
    of_keys = decays.anticausal(added @ pulls.mT) @ solved + decays.to_end * (added @ later)
    of_gate = (keys * of_keys).sum(-1)
    if block.gate is not None:
        of_added, of_keys = block.gate * of_added, block.gate * of_keys
    of_forget = None
    if block.forget is not None:
        gained = of_gate if block.gate is None else block.gate.squeeze(-1) * of_gate
        starts = (states[:, :-1] * B[:, :-1]).sum((-2, -1))
        of_forget = _running_sums(starts, gained if taken is None else gained - taken) / block.forget
    return StateGradients(of_keys + of_added[..., :d], of_added[..., d:], of_gate, of_forget, B[:, 0])


def _running_sums(starts: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """starts (N, n) plus the gains (N, n, C) of the steps before each, in each chunk."""
    return starts[..., None] + gains.cumsum(-1) - gains
