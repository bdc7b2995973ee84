r"""Tokens built by hand: what a layer needs at t to take a gradient step on the pairs (s_{t'-1}, s_{t'}), t' <= t.

Main statements
    constructed_tokens    e_t = (Phi_0 s_t, s_t, s_{t-1}), or (0, s_t, s_{t-1}) without Phi_0; s_0 = 0
    last_observations     z_t = (s_t, s_{t-1}, .., s_{t-k+1}), zeros before the beginning
    delay_tokens          e_t = (0, z_t, z_{t-1}): the tokens of a partially observed sequence
The first block is where a model writes its prediction of s_{t+1} [vonoswald2023uncovering, Prop. 1]. At t = 1 the last
block is 0, so that this pair drops out of every sum over t' whose keys or values come from it.
"""

from __future__ import annotations

import torch


def constructed_tokens(states: torch.Tensor, initial_map: torch.Tensor | None = None) -> torch.Tensor:
    """e (B, T, 3n) = (Phi_0 s_t, s_t, s_{t-1}) of states (B, T, n); initial_map Phi_0 (n, n), 0 if None.

    >>> constructed_tokens(torch.tensor([[[1.0], [2.0]]]))
    tensor([[[0., 1., 0.],
             [0., 2., 1.]]])
    """
    first = torch.zeros_like(states) if initial_map is None else states @ initial_map.T
    return torch.cat([first, states, shifted(states, 1)], -1)


def last_observations(states: torch.Tensor, count: int) -> torch.Tensor:
    """z (B, T, count n), z_t = (s_t, s_{t-1}, .., s_{t-count+1}).

    >>> last_observations(torch.tensor([[[1.0], [2.0], [3.0]]]), 2)[0].tolist()
    [[1.0, 0.0], [2.0, 1.0], [3.0, 2.0]]
    """
    if count < 1:
        raise ValueError(f"need at least 1 observation in a token, got {count}")
    return torch.cat([shifted(states, back) for back in range(count)], -1)


def delay_tokens(states: torch.Tensor, count: int) -> torch.Tensor:
    """e (B, T, n + 2 count n) = (0, z_t, z_{t-1}); with count = 1 the constructed tokens without Phi_0."""
    seen = last_observations(states, count)
    return torch.cat([torch.zeros_like(states), seen, shifted(seen, 1)], -1)


def shifted(states: torch.Tensor, back: int) -> torch.Tensor:
    """s_{t - back} at t, zero for t <= back; the shape of states (B, T, n)."""
    if back == 0:
        return states
    result = torch.zeros_like(states)
    result[:, back:] = states[:, :-back]
    return result
