"""Measurements of single predictions, of layers beside explicit steps: plain data in, plain data out.

layers_against_steps   differences between layers and explicit steps over sampled prompts
layer_predictions      a few prompts in full, with the layer's prediction on each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..training.random_streams import stream
from ..training.threads import one_thread
from .gradient_step import gradient_step_prediction
from .layer import LinearAttention
from .prompts import PromptDistribution, Prompts, sample_prompts

Plain = Mapping[str, Any]


@one_thread()
def layers_against_steps(cases: Sequence[Plain], prompts: int, stream_key: str, device: str) -> dict[str, Any]:
    """For each case: how far the layer's predictions are from those of the explicit step, over fresh prompts.

    A case has distribution, W_PV, W_KQ and preconditioner (of the step). Per case: `difference` and `step`,
    root mean squares of the difference and of the step's prediction; `largest_rounding`, the largest ratio
    of a single difference to what rounding alone may make of it (at most 1 where layer and step are the
    same function).
    """
    found = [layer_against_step(case, prompts, f"{stream_key}/{place}", device) for place, case in enumerate(cases)]
    return {key: [one[key] for one in found] for key in ("difference", "step", "largest_rounding")}


def layer_against_step(case: Plain, prompts: int, stream_key: str, device: str) -> dict[str, float]:
    """One case of `layers_against_steps`."""
    law = PromptDistribution.from_plain(case["distribution"])
    batch = sample_prompts(law, prompts, stream(stream_key, device), torch.float64, device)
    W_PV, W_KQ, P = (
        torch.as_tensor(case[name], dtype=torch.float64, device=device) for name in ("W_PV", "W_KQ", "preconditioner")
    )
    step = gradient_step_prediction(batch, P)  # differentiates the prompt's loss, so it needs gradients on
    with torch.no_grad():
        difference = LinearAttention(W_PV, W_KQ).prediction(batch) - step
    return {
        "difference": float(difference.square().mean().sqrt()),
        "step": float(step.square().mean().sqrt()),
        "largest_rounding": float((difference.abs() / rounding_of_predictions(batch, W_PV, W_KQ)).max()),
    }


@one_thread()
def layer_predictions(cases: Sequence[Plain], prompts: int, stream_key: str, device: str) -> dict[str, Any]:
    """Per case (distribution, W_PV, W_KQ): `prompts` prompts, the layer's predictions, and bounds on their rounding.

    `embedding` (prompts, d + 1, N + 1), `prediction` and `rounding` (prompts,): what rounding may make of the layer's
    prediction and of another evaluation of the same polynomial together.
    """
    found = [layer_on_prompts(case, prompts, f"{stream_key}/{place}", device) for place, case in enumerate(cases)]
    return {key: [one[key] for one in found] for key in ("embedding", "prediction", "rounding")}


def layer_on_prompts(case: Plain, prompts: int, stream_key: str, device: str) -> dict[str, Any]:
    """One case of `layer_predictions`."""
    law = PromptDistribution.from_plain(case["distribution"])
    batch = sample_prompts(law, prompts, stream(stream_key, device), torch.float64, device)
    W_PV, W_KQ = (torch.as_tensor(case[name], dtype=torch.float64, device=device) for name in ("W_PV", "W_KQ"))
    with torch.no_grad():
        prediction = LinearAttention(W_PV, W_KQ).prediction(batch)
    return {
        "embedding": batch.embedding.tolist(),
        "prediction": prediction.tolist(),
        "rounding": rounding_of_predictions(batch, W_PV, W_KQ).tolist(),
    }


def rounding_of_predictions(prompts: Prompts, W_PV: torch.Tensor, W_KQ: torch.Tensor) -> torch.Tensor:
    """A bound on the rounding of each prediction by layer and by step together.

    Either is a sum of products of at most five factors over N + 1 columns and d + 1 rows, three sums deep,
    so each is off by at most (N + 3 d + 8) eps times the same sum with absolute values; twice that for the
    two.
    """
    sizes = Prompts(prompts.embedding.abs(), prompts.target, prompts.context_length)
    with torch.no_grad():
        magnitude = LinearAttention(W_PV.abs(), W_KQ.abs()).prediction(sizes)
    rows, columns = prompts.embedding.shape[-2:]
    return 2 * (columns + 3 * rows + 8) * torch.finfo(torch.float64).eps * magnitude
