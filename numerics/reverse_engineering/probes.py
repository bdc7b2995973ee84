r"""Linear probes: what can be read linearly from a residual stream at each layer and position.

A probe of layer l at position t is the linear map W from the stream e_t (D) to a target (n) with the least mean of
|y - W e_t|^2 + kappa |W|^2 over training sequences, kappa = ridge * (mean square of a feature). Its error is measured
on held-out sequences, relative to the mean square of the target there.
Targets
    next_states            s_{t+1}
    preconditioned_inputs  (S_t S_t^T + I/lambda)^-1 s_t with the columns s_1 .. s_{t-1} of S_t, by which
                           one gradient step becomes regularised least squares [vonoswald2023uncovering, Prop. 2]
Main statements
    probe_errors     (layers + 1, positions): the relative held-out error
    contrasts        for two errors a, b of one held-out sequence (a - b)/(a + b), in [-1, 1]: a mean of it has an
                     interval without an assumption on tails. 0 where both are 0
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def next_states(states: torch.Tensor) -> torch.Tensor:
    """s_{t+1} at t, (B, T - 1, n) of states (B, T, n)."""
    return states[:, 1:]


def preconditioned_inputs(states: torch.Tensor, regulariser: float) -> torch.Tensor:
    """(S_t S_t^T + I/lambda)^-1 s_t at t, (B, T, n); regulariser is lambda.

    >>> preconditioned_inputs(torch.tensor([[[2.0], [1.0]]]), 1.0)
    tensor([[[2.0000],
             [0.2000]]])
    """
    outer = states.unsqueeze(-1) * states.unsqueeze(-2)
    before = outer.cumsum(1) - outer
    eye = torch.eye(states.shape[-1], dtype=states.dtype, device=states.device)
    solved: torch.Tensor = torch.linalg.solve(before + eye / regulariser, states.unsqueeze(-1))
    return solved.squeeze(-1)


def fitted_probe(features: torch.Tensor, targets: torch.Tensor, ridge: float) -> torch.Tensor:
    """W (n, D) with the least mean of |y - W h|^2 + kappa |W|^2; features (B, D), targets (B, n)."""
    count, width = features.shape
    moments = features.mT @ features / count
    penalty = ridge * moments.diagonal().mean().clamp_min(1e-300) * torch.eye(width, dtype=features.dtype)
    weights: torch.Tensor = torch.linalg.solve(moments + penalty, features.mT @ targets / count)
    return weights.mT


def held_out_errors(features: torch.Tensor, targets: torch.Tensor, ridge: float) -> torch.Tensor:
    """|y - W h|^2 of the second half of the sequences, W fitted to the first: (B - B//2,)."""
    half = len(features) // 2
    W = fitted_probe(features[:half], targets[:half], ridge)
    return (targets[half:] - features[half:] @ W.mT).square().sum(-1)


def probe_errors(
    streams: Sequence[torch.Tensor], targets: torch.Tensor, positions: Sequence[int], ridge: float = 1e-4
) -> torch.Tensor:
    """Held-out |error|^2 by sequence, (layers + 1, positions, held-out sequences).

    streams: layers + 1 arrays (B, T, D); targets (B, T' <= T, n); positions: t, counted from 1.
    """
    return torch.stack(
        [
            torch.stack(
                [held_out_errors(layer[:, t - 1].double(), targets[:, t - 1].double(), ridge) for t in positions]
            )
            for layer in streams
        ]
    )


def relative_errors(errors: torch.Tensor, targets: torch.Tensor, positions: Sequence[int]) -> torch.Tensor:
    """Mean held-out errors over the mean square of the target there, (layers + 1, positions)."""
    return errors.mean(-1) / target_sizes(targets, positions)


def target_sizes(targets: torch.Tensor, positions: Sequence[int]) -> torch.Tensor:
    """The mean square of a target at each position over held-out sequences, (positions,)."""
    held_out = targets[len(targets) // 2 :].double()
    return torch.stack([held_out[:, t - 1].square().sum(-1).mean() for t in positions])


def contrasts(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(first - second)/(first + second), entry by entry, for errors >= 0."""
    total = first + second
    return torch.where(total > 0, (first - second) / total.clamp_min(1e-300), torch.zeros_like(total))
