r"""Derivatives of the per-prompt loss l = (yhat - w.x_q)^2 / 2 of the layer, at given weights.

Main statements
    directional_derivatives      d/dt l(W_PV + t dW_PV, W_KQ + t dW_KQ) at t = 0, one number per prompt, for
                                 any direction; what attention adds to E is bilinear in the weights, so the
                                 layer's own forward at (dW_PV, W_KQ) and (W_PV, dW_KQ) gives it exactly
    preconditioner_derivatives   the same for directions V of the effective preconditioner, W_KQ's block
                                 U moving along V / u; the layer is linear in W_KQ, so this is
                                 (yhat - w.x_q) yhat[V] / u, with one value readout for all V
    batch_gradient               the mean gradient over a batch with respect to all entries
For each direction the mean over fresh prompts is unbiased for the derivative of the population loss, with
any number of prompts. All arithmetic is float64: in float32 the rounding of 10^7 prompts already shows
beside their sampling error.
"""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike

from .layer import attention_part, fast_prediction, prediction_and_readout, prompts_innermost
from .power_sums import PowerSums, power_sums
from .prompts import PromptDistribution, Prompts


def prompt_losses(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    """l = (yhat - w.x_q)^2 / 2 of each prompt, (..., B)."""
    return (fast_prediction(prompts, W_PV, W_KQ) - prompts.target).square() / 2


def directional_derivatives(
    prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor, dW_PV: torch.Tensor, dW_KQ: torch.Tensor
) -> torch.Tensor:
    """The derivative of each prompt's loss along K directions, (K, B); dW_PV, dW_KQ (K, d + 1, d + 1)."""

    residual = fast_prediction(prompts, W_PV, W_KQ) - prompts.target
    return torch.stack(
        [
            residual * (attention_part(prompts, value, W_KQ) + attention_part(prompts, W_PV, key_query))
            for value, key_query in zip(dW_PV, dW_KQ, strict=True)
        ]
    )


def preconditioner_derivatives(
    prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    """The derivative of each prompt's loss along directions V (K, d, d) of A = u U + u12 u21^T, (K, B).

    U moves along V / u, all else stands still. Raises ValueError at u = 0, where U does not move A.
    """
    gain, d = W_PV[-1, -1], directions.shape[-1]
    if gain == 0:
        raise ValueError("need u different from 0 to move A = u U + u12 u21^T through U, got u = 0")
    yhat, readout = prediction_and_readout(prompts, W_PV, W_KQ)
    query = prompts_innermost(prompts)[:d, -1]  # (d, B)
    products = (readout[:d, None] * query).flatten(0, 1)  # (d * d, B)
    return (directions.flatten(-2) / gain @ products).mul_(yhat - prompts.target)


def batch_gradient(
    prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The batch's mean loss (...), its gradient in the last row of W_PV (..., D) and in W_KQ (..., D, D).

    The other rows of W_PV do not reach the prediction. With the residual r of a prompt,
    dL/dw = mean r (E E^T / N) W_KQ e_q and dL/dW_KQ = mean r (E E^T / N) w e_q^T.
    """
    yhat, readout = prediction_and_readout(prompts, W_PV, W_KQ)
    residual = yhat - prompts.target
    tokens = prompts_innermost(prompts)
    query = tokens[..., -1, :]  # (..., D, B)
    share = residual / residual.shape[-1]
    key_query = (readout * share.unsqueeze(-2)) @ query.mT
    scores = (tokens * (W_KQ @ query).unsqueeze(-2)).sum(-3)  # (..., T, B)
    scores = scores * (share / prompts.context_length).unsqueeze(-2)
    value = tokens.flatten(-2) @ scores.flatten(-2).unsqueeze(-1)  # (..., D, 1)
    return residual.square().mean(-1) / 2, value.squeeze(-1), key_query


def directional_gradient_sums(
    distribution: PromptDistribution,
    W_PV: ArrayLike,
    W_KQ: ArrayLike,
    directions: ArrayLike,
    count: int,
    seed_key: str,
    *,
    over_queries: bool = False,
    device: str | torch.device = "cpu",
) -> PowerSums:
    """Sums of Z_k, the loss's derivative along direction V_k of A, and of Z_k^2, over `count` fresh prompts.

    W_PV, W_KQ: (d + 1, d + 1); directions: (K, d, d). over_queries: Z_k is averaged exactly over the query, context
    and task given; it is a quadratic form in the query where nothing leaks.
    The prompts are the stream `seed_key`. See `preconditioner_derivatives`.
    Raises ValueError for over_queries at weights that leak.
    """
    value, key_query = _weights(distribution, W_PV, W_KQ, device)
    V = _directions(distribution, directions, device)
    if over_queries and (value[-1, :-1].any() or key_query[-1].any()):
        raise ValueError(
            "need u12 = u21 = 0 to average over the query by its second moments, got weights that leak: there the "
            "derivative has degree 6 in the query; sample the query instead"
        )
    return power_sums(
        lambda prompts: preconditioner_derivatives(prompts, value, key_query, V),
        distribution,
        count,
        seed_key,
        over_queries=over_queries,
        device=device,
    )


def loss_sums(
    distribution: PromptDistribution,
    W_PV: ArrayLike,
    W_KQ: ArrayLike,
    count: int,
    seed_key: str,
    *,
    device: str | torch.device = "cpu",
) -> PowerSums:
    """Sums of l = (yhat - w.x_q)^2 / 2 and of l^2 over `count` prompts from the stream `seed_key`; K = 1."""
    value, key_query = _weights(distribution, W_PV, W_KQ, device)
    return power_sums(
        lambda prompts: prompt_losses(prompts, value, key_query).unsqueeze(0),
        distribution,
        count,
        seed_key,
        device=device,
    )


def _float64(values: ArrayLike, device: str | torch.device) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device=torch.device(device))


def _weights(
    distribution: PromptDistribution, W_PV: ArrayLike, W_KQ: ArrayLike, device: str | torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    value, key_query = _float64(W_PV, device), _float64(W_KQ, device)
    size = distribution.dimension + 1
    if not (value.shape == key_query.shape == (size, size)):
        raise ValueError(
            f"need W_PV and W_KQ of shape ({size}, {size}) for prompts of dimension {size - 1}, got "
            f"{tuple(value.shape)} and {tuple(key_query.shape)}"
        )
    return value, key_query


def _directions(distribution: PromptDistribution, directions: ArrayLike, device: str | torch.device) -> torch.Tensor:
    V, d = _float64(directions, device), distribution.dimension
    if V.ndim != 3 or V.shape[1:] != (d, d):
        raise ValueError(f"need directions of shape (K, {d}, {d}), got {tuple(V.shape)}; put a single one in a list")
    return V
