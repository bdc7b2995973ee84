r"""Models of several layers of causal linear attention with given weights, beside regularised least squares.

Tokens are (0, s_t, s_{t-1}, p_t, one-hot position) with s_0 = 0 and p_t = start s_t; the layers are real ones, with the
heads' P W_V and W_K^T W_Q put together from named blocks.
Main statements
    iterated_predictions    the first block of the last stream, and Phi_t s_t with Phi_t = C_t (X_t + I/lambda)^-1 of
                            the pairs seen at t, by a linear solve; both with bounds on their rounding
    rounding                what one layer rounds is at most (operations on the way of a term) eps times the layer on
                            absolute values [higham2002accuracy, section 3.1]; a later layer multiplies it by at most
                            its own norm as a linear map of p_t, which is found by running the layer on unit vectors
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..training.random_streams import stream
from .attention import CausalAttention
from .gradient_steps import EPS, layers_of, roundings
from .sequences import SequenceTask, sample_sequences
from .tokens import shifted

Plain = Mapping[str, Any]
PARTS = ("prediction", "state", "previous", "iterate")  # n channels each; `position` lies behind them


def iterated_predictions(cases: Sequence[Plain], stream_key: str, device: str) -> dict[str, Any]:
    """Per case: sequence, model, least_squares (B, T, n), and bounds on the rounding of either (B, T).

    A case holds either `sequence` (B, T, n), or `task`, `sequences` and `energy`: each sequence of the task is scaled
    so that its squares add up to `energy`. Besides: `regulariser` lambda, `start` (n, n), and `layers` and `readout` as
    lists of heads with blocks [rows, columns, matrix] of P W_V (`value`) and W_K^T W_Q (`key_query`).
    """
    names = ("sequence", "model", "least_squares", "model_rounding", "solve_rounding")
    found: dict[str, list[Any]] = {name: [] for name in names}
    for place, case in enumerate(cases):
        states = states_of(case, f"{stream_key}/{place}", device)
        start = torch.tensor(case["start"], dtype=states.dtype, device=device)
        stack = [*case["layers"], case["readout"]]
        model, bounds = run_model(stream_tokens(states, start), stack, states.shape[-1])
        exact, allowed = least_squares_predictions(states, float(case["regulariser"]))
        for name, value in zip(names, (states, model, exact, bounds, allowed), strict=True):
            found[name].append(value.tolist())
    return found


def states_of(case: Plain, stream_key: str, device: str) -> torch.Tensor:
    """The sequences of a case, (B, T, n)."""
    if "sequence" in case:
        return torch.tensor(case["sequence"], dtype=torch.float64, device=device)
    task = SequenceTask.from_plain(case["task"])
    states = sample_sequences(task, case["sequences"], stream(stream_key, device)).observed
    scale: torch.Tensor = (case["energy"] / states.square().sum((1, 2), keepdim=True)).sqrt()
    return states * scale


def stream_tokens(states: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """(0, s_t, s_{t-1}, start s_t, one-hot position), (B, T, 4n + T)."""
    batch, length, _ = states.shape
    places = torch.eye(length, dtype=states.dtype, device=states.device).expand(batch, -1, -1)
    return torch.cat([torch.zeros_like(states), states, shifted(states, 1), states @ start.mT, places], -1)


def real_layer(heads: Sequence[Plain], tokens: torch.Tensor, n: int) -> CausalAttention:
    """One layer with these heads."""
    width = tokens.shape[-1]
    values, key_queries = (
        [from_blocks(head[name], width, n).to(tokens.device) for head in heads] for name in ("value", "key_query")
    )
    (layer,) = layers_of([(values, key_queries)], tokens)
    return layer


def from_blocks(blocks: Sequence[Any], width: int, n: int) -> torch.Tensor:
    """Blocks put into a (width, width) matrix of zeros; the matrix "I" is the identity."""
    spans = {name: slice(k * n, (k + 1) * n) for k, name in enumerate(PARTS)}
    spans["position"] = slice(len(PARTS) * n, width)
    full = torch.zeros(width, width, dtype=torch.float64)
    for rows, cols, block in blocks:
        size = spans[rows].stop - spans[rows].start
        full[spans[rows], spans[cols]] = (
            torch.eye(size).double() if block == "I" else torch.tensor(block, dtype=full.dtype)
        )
    return full


def run_model(tokens: torch.Tensor, stack: Sequence[Sequence[Plain]], n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The prediction (B, T, n) after all layers, and a bound on its rounding (B, T)."""
    iterate = slice(3 * n, 4 * n)
    operations = roundings(tokens.shape[-1], tokens.shape[1]) * EPS
    bounds = operations * tokens[..., iterate].abs().sum(-1) * n  # of start s_t
    with torch.no_grad():
        for place, heads in enumerate(stack):
            read = slice(0, n) if place == len(stack) - 1 else iterate
            layer, sizes = real_layer(heads, tokens, n), real_layer(absolute(heads), tokens, n)
            local = operations * sizes(tokens.abs())[..., read].norm(dim=-1)
            bounds = norm_in_iterate(layer, tokens, n, read) * bounds + local
            tokens = layer(tokens)
    return tokens[..., :n], 2 * bounds  # twice, for products of roundings and the rounding of the bounds themselves


def absolute(heads: Sequence[Plain]) -> list[dict[str, Any]]:
    """The heads with absolute values for weights."""

    def positive(block: Any) -> Any:
        return block if block == "I" else torch.tensor(block, dtype=torch.float64).abs().tolist()

    return [
        {name: [[rows, cols, positive(block)] for rows, cols, block in head[name]] for name in head} for head in heads
    ]


def norm_in_iterate(layer: CausalAttention, tokens: torch.Tensor, n: int, read: slice) -> torch.Tensor:
    """The Frobenius norm of the layer as a map from p_t to the channels read at t, (B, T): affine, as keys and values
    are read from channels that no layer writes to."""
    without = tokens.clone()
    without[..., 3 * n : 4 * n] = 0
    base, squares = layer(without)[..., read], torch.zeros_like(tokens[..., 0])
    for k in range(n):
        unit = without.clone()
        unit[..., 3 * n + k] = 1
        squares += (layer(unit)[..., read] - base).square().sum(-1)
    return squares.sqrt()


def least_squares_predictions(states: torch.Tensor, regulariser: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Phi_t s_t (B, T, n) by a linear solve at every t, and bounds on its rounding (B, T).

    A solve with a symmetric positive definite A in dimension n has a backward error below 20 n^2 eps |A|
    [higham2002accuracy, section 10.1], so that the solution is off by 20 n^2 eps cond(A) of its size; the sums over at
    most T pairs add T eps each.
    """
    n, length = states.shape[-1], states.shape[1]
    eye = torch.eye(n, dtype=states.dtype, device=states.device)
    rows, bounds = [], []
    for t in range(1, length + 1):
        inputs, targets = states[:, : t - 1], states[:, 1:t]
        gram, cross = inputs.mT @ inputs + eye / regulariser, targets.mT @ inputs
        p = torch.linalg.solve(gram, states[:, t - 1].unsqueeze(-1))
        rows.append((cross @ p).squeeze(-1))
        size = cross.abs().sum((1, 2)) * p.norm(dim=(1, 2))
        bounds.append((20 * n * n + 4 * length) * EPS * torch.linalg.cond(gram) * size)
    return torch.stack(rows, 1), torch.stack(bounds, 1)
