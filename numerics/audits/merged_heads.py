r"""Several heads of linear attention whose predictions add up: loss and slopes without sampling.

Main statement
    head_slopes    of f(E)[d, N] = E_dN + sum_h (attention of head h), u12 = u21 = 0 in every head: the loss, and its
                   derivatives in each v_h and in each entry of U_h. What a head adds is bilinear in its weights, so the
                   layer's own forward at (dW_PV, W_KQ) and (W_PV, dW_KQ) gives them; Gauss nodes make the means exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ..one_layer.cubature import TIGHT, expectation
from ..one_layer.layer import attention_part
from ..one_layer.prompts import PromptDistribution, Prompts

Plain = Mapping[str, Any]


def head_slopes(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case (distribution, gains (H,), key_queries (H, d, d)): loss, slopes, rounding bounds, nodes.

    slopes: for each head dL/dv, then dL/dU row by row, all heads in one list.
    """
    found = []
    for case in cases:
        law = PromptDistribution.from_plain(case["distribution"])
        found.append(expectation(loss_and_slopes, law, (case["gains"], case["key_queries"]), TIGHT + TIGHT))
    return {
        "loss": [float(one.value[0]) for one in found],
        "slopes": [one.value[1:].tolist() for one in found],
        "loss_rounding": [float(one.rounding[0]) for one in found],
        "rounding": [one.rounding[1:].tolist() for one in found],
        "nodes": [one.nodes for one in found],
    }


def loss_and_slopes(prompts: Prompts, gains: torch.Tensor, key_queries: torch.Tensor) -> torch.Tensor:
    """The loss of each prompt and its derivatives, (1 + H (1 + d^2), B)."""
    heads = [weights(v, U) for v, U in zip(gains, key_queries, strict=True)]
    yhat = prompts.embedding[..., -1, -1] + sum(attention_part(prompts, *head) for head in heads)
    residual = yhat - prompts.target
    slopes = [residual * attention_part(prompts, *moved) for head in heads for moved in directions(*head)]
    return torch.stack([residual.square() / 2, *slopes])


def weights(v: torch.Tensor, U: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """W_PV = diag(0, v), W_KQ = diag(U, 0)."""
    d = len(U)
    W_PV, W_KQ = U.new_zeros(d + 1, d + 1), U.new_zeros(d + 1, d + 1)
    W_PV[d, d], W_KQ[:d, :d] = v, U
    return W_PV, W_KQ


def directions(W_PV: torch.Tensor, W_KQ: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The weights at which a head's attention is its derivative in v, then in each entry of U."""
    d = len(W_PV) - 1
    unit = torch.zeros_like(W_PV)
    unit[d, d] = 1.0
    yield unit, W_KQ
    for i in range(d):
        for j in range(d):
            unit = torch.zeros_like(W_KQ)
            unit[i, j] = 1.0
            yield W_PV, unit
