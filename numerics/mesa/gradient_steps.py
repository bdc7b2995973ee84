r"""One layer of causal linear attention beside an explicit gradient step, on the same sequences.

Main statements
    layer_against_step    predictions of the real layer with given weights, and (Phi_0 - eta grad L_t(Phi_0)) s_t with
                          the gradient of L_t(Phi) = 1/2 sum_{t'<t} |s_{t'+1} - Phi s_{t'}|^2 by automatic
                          differentiation; both with bounds on their rounding
    rounding              every term of a prediction is a product whose factors are sums; its relative error is at most
                          (number of additions and multiplications on its way) eps [higham2002accuracy, section 3.1], so
                          that an output is off by at most that number times eps times the same computation on absolute
                          values
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..training.random_streams import stream
from .attention import CausalAttention
from .sequences import SequenceTask, sample_sequences
from .tokens import constructed_tokens

Plain = Mapping[str, Any]
EPS = torch.finfo(torch.float64).eps


def layer_against_step(cases: Sequence[Plain], sequences: int, stream_key: str, device: str) -> dict[str, Any]:
    """Per case: sequences (B, T, n), predictions of layer and step (B, T, n), bounds on the rounding of both.

    A case holds `task` (of `SequenceTask`), `initial_map` (n, n), `learning_rate`, `value_weights` and
    `key_query_weights` (3n, 3n).
    """
    found: dict[str, list[Any]] = {"sequence": [], "layer": [], "step": [], "rounding": []}
    for place, case in enumerate(cases):
        task = SequenceTask.from_plain(case["task"])
        states = sample_sequences(task, sequences, stream(f"{stream_key}/{place}", device)).observed
        initial, value, key_query = (
            torch.tensor(case[name], dtype=torch.float64, device=device)
            for name in ("initial_map", "value_weights", "key_query_weights")
        )
        eta = float(case["learning_rate"])
        layer = first_block(constructed_tokens(states, initial), value, key_query)
        sizes = first_block(constructed_tokens(states.abs(), initial.abs()), value.abs(), key_query.abs())
        bounds = roundings(3 * task.size, task.length) * EPS * (sizes + size_of_step(states, initial, eta))
        found["sequence"].append(states.tolist())
        found["layer"].append(layer.tolist())
        found["step"].append(gradient_step(states, initial, eta).tolist())
        found["rounding"].append(bounds.tolist())
    return found


def roundings(width: int, length: int) -> int:
    """At most so many operations on the way of one term: tokens, values, P, keys, queries, scores, the sum over t'."""
    return 6 * width + length + 10


def first_block(tokens: torch.Tensor, value: torch.Tensor, key_query: torch.Tensor) -> torch.Tensor:
    """The first third of the stream after one layer with P W_V and W_K^T W_Q as given, (B, T, n)."""
    (layer,) = layers_of([([value], [key_query])], tokens)
    with torch.no_grad():
        out: torch.Tensor = layer(tokens)
    return out[..., : tokens.shape[-1] // 3]


def layers_of(
    weights: Sequence[tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]], tokens: torch.Tensor
) -> list[CausalAttention]:
    """Real layers of linear attention; for each the heads' P W_V and W_K^T W_Q, taken with P = W_K = I."""
    width = tokens.shape[-1]
    eye = torch.eye(width, dtype=tokens.dtype, device=tokens.device)
    made = []
    for values, key_queries in weights:
        heads = len(values)
        layer = CausalAttention(width, heads=heads, generator=torch.Generator(), dtype=tokens.dtype)
        with torch.no_grad():
            layer.W_V.copy_(torch.stack(list(values)))
            layer.W_Q.copy_(torch.stack(list(key_queries)))
            layer.P.copy_(eye.expand(heads, -1, -1))
            layer.W_K.copy_(eye.expand(heads, -1, -1))
        made.append(layer.to(tokens.device))
    return made


def gradient_step(states: torch.Tensor, initial: torch.Tensor, eta: float) -> torch.Tensor:
    """(Phi_0 - eta grad L_t(Phi_0)) s_t at t = 1 .. T, (B, T, n), the gradient by automatic differentiation."""
    batch, length, _ = states.shape
    rows = []
    for t in range(length):
        Phi = initial.expand(batch, -1, -1).clone().requires_grad_()
        errors = states[:, 1 : t + 1] - states[:, :t] @ Phi.mT
        (slope,) = torch.autograd.grad(errors.square().sum() / 2, Phi)
        rows.append((initial - eta * slope) @ states[:, t].unsqueeze(-1))
    return torch.stack(rows, 1).squeeze(-1)


def size_of_step(states: torch.Tensor, initial: torch.Tensor, eta: float) -> torch.Tensor:
    """The step on absolute values, every sign positive: (|Phi_0| + |eta| sum (|s_t'+1| + |Phi_0| |s_t'|) |s_t'|^T)."""
    size, start = states.abs(), initial.abs()
    targets = size[:, 1:] + size[:, :-1] @ start.mT
    moments = (targets.unsqueeze(-1) * size[:, :-1].unsqueeze(-2)).cumsum(1)
    maps = start + abs(eta) * torch.cat([torch.zeros_like(moments[:, :1]), moments], 1)
    return (maps @ size.unsqueeze(-1)).squeeze(-1)
