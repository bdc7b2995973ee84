r"""One layer of linear attention, f(E) = E + W_PV E (E^T W_KQ E) / N.

Main statements
    attend            f(E) in full, as the formula reads
    fast_prediction   its bottom-right entry alone, yhat = E_dN + w^T (E E^T / N) W_KQ e_q, where w^T is the
                      last row of W_PV and e_q the query column of E
N is the prompt's context length (not the number of columns), and the query column is part of E E^T. The
layer is linear in each of its two weights: `value_readout` is the factor that W_KQ multiplies, shared by
all directions in W_KQ. Shapes: E (..., B, D, T) with D = d + 1 rows and T tokens; weights (..., D, D), one
pair for the B prompts of each leading index; context lengths (..., B).
"""

from __future__ import annotations

import torch
from torch import nn

from .prompts import Prompts


class LinearAttention(nn.Module):
    """The layer with parameters W_PV and W_KQ, (d + 1, d + 1), or (C, d + 1, d + 1) for C configurations.

    >>> layer = LinearAttention(torch.eye(2), torch.eye(2))
    >>> layer(torch.ones(1, 2, 3), torch.tensor([2.0]))[0, :, -1]
    tensor([4., 4.], grad_fn=<SelectBackward0>)
    """

    def __init__(self, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> None:
        super().__init__()
        self.W_PV = nn.Parameter(W_PV)
        self.W_KQ = nn.Parameter(W_KQ)

    def forward(self, embedding: torch.Tensor, context_length: torch.Tensor) -> torch.Tensor:
        """f(E), of the shape of E."""
        return attend(embedding, context_length, self.W_PV, self.W_KQ)

    def prediction(self, prompts: Prompts) -> torch.Tensor:
        """yhat (..., B): the bottom-right entry of f(E)."""
        output: torch.Tensor = self(prompts.embedding, prompts.context_length)
        return output[..., -1, -1]


def attend(
    embedding: torch.Tensor, context_length: torch.Tensor, W_PV: torch.Tensor, W_KQ: torch.Tensor
) -> torch.Tensor:
    """f(E) = E + W_PV E (E^T W_KQ E) / N, of the shape of E."""
    value, key_query = W_PV.unsqueeze(-3), W_KQ.unsqueeze(-3)  # one weight for the B prompts
    attention = embedding.mT @ key_query @ embedding / context_length[..., None, None]  # (..., B, T, T)
    return embedding + value @ embedding @ attention


def fast_prediction(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    """yhat (..., B), the bottom-right entry of f(E), without the other entries."""
    return prompts.embedding[..., -1, -1] + attention_part(prompts, W_PV, W_KQ)


def attention_part(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    """yhat - E_dN (..., B): what attention adds to that entry; linear in W_PV and in W_KQ."""
    return _readout_part(prompts, value_readout(prompts, W_PV), W_KQ)


def prediction_and_readout(
    prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """yhat (..., B) and the value readout (..., D, B) that it was made from."""
    readout = value_readout(prompts, W_PV)
    return prompts.embedding[..., -1, -1] + _readout_part(prompts, readout, W_KQ), readout


def value_readout(prompts: Prompts, W_PV: torch.Tensor) -> torch.Tensor:
    """(E E^T / N) w, (..., D, B), with w^T the last row of W_PV: yhat = E_dN + readout^T W_KQ e_q."""
    return second_moment_times(prompts, W_PV[..., -1:, :])


def second_moment_times(prompts: Prompts, vectors: torch.Tensor) -> torch.Tensor:
    """(E E^T / N) v of shape (..., D, B) for one row vector v^T per leading index, (..., 1, D)."""
    tokens = prompts_innermost(prompts)
    flat = vectors @ tokens.flatten(-2)
    scores = flat.reshape(*flat.shape[:-1], *tokens.shape[-2:])  # (..., 1, T, B)
    total: torch.Tensor = (tokens * scores).sum(-2)
    return total / prompts.context_length.unsqueeze(-2)


def prompts_innermost(prompts: Prompts) -> torch.Tensor:
    """The embedding as (..., D, T, B), which is how the samplers lay it in memory."""
    return prompts.embedding.movedim(-3, -1)


def _readout_part(prompts: Prompts, readout: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    query = prompts_innermost(prompts)[..., -1, :]  # (..., D, B)
    return (readout * (W_KQ @ query)).sum(-2)
