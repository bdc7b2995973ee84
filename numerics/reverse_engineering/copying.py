r"""Two steps in one model: tokens are built by copying, then later layers optimise over them.

With learned tokens a softmax layer comes first. If it builds (s_t, s_{t-1}) as the construction has it
[vonoswald2023uncovering], one of its heads puts its attention at t on t - 1; later layers then read tokens.
Main statements
    previous_token_mass    the mean attention of each head at t on t - 1, (heads, T - 1); 1/t for uniform attention
    sensitivities          the mean over sequences of |d prediction_t/d token_t'|_F^2, for one t and all t'
"""

from __future__ import annotations

import torch

from ..mesa.attention import AutoregressiveModel, CausalAttention


def previous_token_mass(layer: CausalAttention, stream: torch.Tensor) -> torch.Tensor:
    """(heads, T - 1), t = 2 .. T, from the stream (B, T, D) that the layer reads."""
    with torch.no_grad():
        return layer.attention(stream).diagonal(-1, -2, -1).mean(0)


def copying_mass(model: AutoregressiveModel, states: torch.Tensor) -> torch.Tensor:
    """`previous_token_mass` of the layer that builds the tokens. Raises ValueError where tokens are not learned."""
    if model.copying is None or model.embedding is None:
        raise ValueError("need a model with learned tokens for its copying layer, got constructed tokens")
    read: list[torch.Tensor] = []
    hook = model.copying.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    with torch.no_grad():
        model.tokens(states)
    hook.remove()
    return previous_token_mass(model.copying, read[0])


def sensitivities(model: AutoregressiveModel, tokens: torch.Tensor, position: int) -> torch.Tensor:
    """(T,): zeros for t' > position; tokens (B, T, D) as they enter the first layer, position counted from 1."""
    given = tokens.detach().requires_grad_(True)
    prediction = model.prediction(model.streams_from_tokens(given)[-1])[:, position - 1]
    squares = torch.zeros(tokens.shape[1], dtype=tokens.dtype)
    for channel in prediction.unbind(-1):
        (slope,) = torch.autograd.grad(channel.sum(), given, retain_graph=True)
        squares += slope.square().sum(-1).mean(0)
    return squares
