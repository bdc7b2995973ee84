r"""How much the gradient of a prompt's loss on all parameters fluctuates: the noise of one training step.

Main statement
    With the residual r = yhat - w.x_q of a prompt, w the last row of W_PV and e_q the query column, the gradient has
    the blocks r (E E^T / N) W_KQ e_q in w and r ((E E^T / N) w) e_q^T in W_KQ (see `gradients.batch_gradient`), so
        |g|^2 = r^2 (|(E E^T / N) W_KQ e_q|^2 + |(E E^T / N) w|^2 |e_q|^2),
    and the trace of its covariance is E |g|^2 - |E g|^2. All in float64, with any tails.
"""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike

from .layer import prediction_and_readout, prompts_innermost
from .power_sums import PowerSums, power_sums
from .prompts import PromptDistribution, Prompts


def squared_gradients(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    """|g|^2 of each prompt's loss on all entries of W_PV and W_KQ (d + 1, d + 1), shape (B,)."""
    yhat, readout = prediction_and_readout(prompts, W_PV, W_KQ)
    tokens = prompts_innermost(prompts)  # (D, T, B)
    query = tokens[:, -1]
    scores = (tokens * (W_KQ @ query).unsqueeze(-2)).sum(0)
    by_value = (tokens * scores).sum(-2) / prompts.context_length
    squares = by_value.square().sum(0) + readout.square().sum(0) * query.square().sum(0)
    return (yhat - prompts.target).square() * squares


def squared_gradient_sums(
    distribution: PromptDistribution,
    W_PV: ArrayLike,
    W_KQ: ArrayLike,
    count: int,
    seed_key: str,
    *,
    device: str | torch.device = "cpu",
) -> PowerSums:
    """Sums of |g|^2 and |g|^4 over `count` fresh prompts, the stream `seed_key`; K = 1."""
    value, key_query = (torch.as_tensor(W, dtype=torch.float64, device=device) for W in (W_PV, W_KQ))
    return power_sums(
        lambda prompts: squared_gradients(prompts, value, key_query).unsqueeze(0),
        distribution,
        count,
        seed_key,
        device=device,
    )
