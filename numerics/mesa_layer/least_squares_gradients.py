r"""Gradients through o_t = G_t A_t^{-1} q_t that do not depend on how it was solved.

S_t = (H_t; G_t) = f_t S_{t-1} + b_t a_t k_t^T with a_t = (k_t; v_t), and A_t is H_t, or H_t plus a constant. With the
gradient g_t of the loss for o_t, x_t = A_t^{-1} q_t and u_t = A_t^{-1} G_t^T g_t,

    dL = sum_t g_t^T dG_t x_t - u_t^T dA_t x_t + u_t . dq_t,

so S_t has the gradient p_t x_t^T with p_t = (-u_t; g_t) from its own output, and from all later ones

    B_s = sum_{t >= s} zeta_ts p_t x_t^T,   dL/da_s = b_s B_s k_s,   dL/dk_s = b_s B_s^T a_s on top of its part in a_s.

Two solutions a step and sums backwards in time are all; no solver is differentiated.

Forgetting. f_r dL/df_r = <S_{r-1}, dL/dS_{r-1}>. From r to r + 1 this inner product gains what step r adds,
a_r . dL/da_r, and loses what its output takes, g_r^T G_r x_r - u_r^T H_r x_r, which is 0 where A_t = H_t. So it is a
running sum, started afresh from the states in each chunk lest rounding pile up.

Main statement
    state_gradients    all of these from x, u and g, in chunks
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .decayed_sums import gradients_at_ends, plus_product
from .sequence_blocks import Block


def check_first_order() -> None:
    """Raises RuntimeError where a gradient of the gradient is wanted: what is returned would be a constant to it."""
    if torch.is_grad_enabled():
        raise RuntimeError("need create_graph=False here, got True; for second derivatives take the direct form")


class Pulls(NamedTuple):
    """p_t = (-u_t; g_t) in its parts, (N, n, C, d) and (N, n, C, m): H_t has the gradient -u x^T, and G_t g x^T."""

    on_keys: torch.Tensor
    on_values: torch.Tensor


class StateGradients(NamedTuple):
    """Gradients of the loss: keys (N, n, C, d), values (N, n, C, m), gate and forget (N, n, C), start (N, d + m, d)."""

    keys: torch.Tensor
    values: torch.Tensor
    gate: torch.Tensor
    forget: torch.Tensor | None
    start: torch.Tensor


def state_gradients(
    block: Block,
    states: torch.Tensor | None,
    solved: torch.Tensor,
    pulls: Pulls,
    end: torch.Tensor,
    taken: torch.Tensor | None = None,
) -> StateGradients:
    """From x (N, n, C, d) as `solved`, p as `pulls`, and the gradient `end` (N, d + m, d) of S_T.

    states (N, n + 1, d + m, d) are S at the start of each chunk and after the last, needed where something is
    forgotten. taken (N, n, C): what the outputs take from the running sum, 0 if None.
    """
    d, keys, values, decays = solved.shape[-1], block.keys, block.values, block.decays
    own = torch.cat([decays.faded(one, decays.from_start).mT @ solved for one in pulls], -2)
    B = gradients_at_ends(own, decays, end)
    of_H = B[:, 1:, :d] + B[:, 1:, :d].mT  # k stands on both sides of k k^T
    of_G = B[:, 1:, d:].contiguous()
    scores = decays.anticausal(keys @ solved.mT)
    other_scores = decays.anticausal(plus_product(values @ pulls.on_values.mT, keys, pulls.on_keys.mT))
    of_keys = decays.faded(plus_product(keys @ of_H, values, of_G), decays.to_end)
    of_keys = plus_product(plus_product(of_keys, other_scores, solved), scores, pulls.on_keys)
    of_values = plus_product(decays.faded(keys @ of_G.mT, decays.to_end), scores, pulls.on_values)
    of_gate = ((keys * of_keys).sum(-1) + (values * of_values).sum(-1)) / 2
    if block.gate is not None:
        of_keys, of_values = block.gate * of_keys, block.gate * of_values
    of_forget = None
    if block.forget is not None and states is not None:
        gained = of_gate if block.gate is None else block.gate.squeeze(-1) * of_gate
        starts = (states[:, :-1] * B[:, :-1]).sum((-2, -1))
        of_forget = _running_sums(starts, gained if taken is None else gained - taken) / block.forget
    return StateGradients(of_keys, of_values, of_gate, of_forget, B[:, 0])


def _running_sums(starts: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """starts (N, n) plus the gains (N, n, C) of the steps before each, in each chunk."""
    return starts[..., None] + gains.cumsum(-1) - gains
