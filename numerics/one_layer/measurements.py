"""The measurements of one layer that claims are judged by: plain data in, plain data out.

Each function is one unit of work: its parameters name everything that it depends on, random numbers
included, and its result is raw material (sums, exact means, weights), never a verdict.

    sampled_stationarity      sums of the gradient of the layer's loss at given weights, over fresh prompts
    enumerated_stationarity   the same means without sampling, by Gauss rules, with a rounding bound
    enumerated_gradient       loss and gradient on all entries of the weights, likewise
    sampled_loss              sums of the loss at given weights, with its exact second moment
    sampled_step_stationarity the gradient of the risk of one explicit preconditioned gradient step
    layers_against_steps      differences between layers and explicit steps over sampled prompts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..training.random_streams import stream
from ..training.threads import one_thread
from . import cubature
from .gradient_step import gradient_step_prediction, step_risk_gradient_sums
from .gradients import directional_gradient_sums, loss_sums
from .layer import LinearAttention
from .prompts import PromptDistribution, Prompts, sample_prompts

Plain = Mapping[str, Any]
Nested = Sequence[Any]


def sampled_stationarity(
    distribution: Plain,
    W_PV: Nested,
    W_KQ: Nested,
    directions: Nested,
    prompts: int,
    stream_key: str,
    device: str,
) -> dict[str, Any]:
    """Power sums of the derivative along each direction (K, d, d) of A, averaged exactly over the query."""
    law = PromptDistribution.from_plain(distribution)
    sums = directional_gradient_sums(law, W_PV, W_KQ, directions, prompts, stream_key, over_queries=True, device=device)
    return {**sums}


def enumerated_stationarity(
    distribution: Plain, W_PV: Nested, W_KQ: Nested, directions: Nested, device: str
) -> dict[str, Any]:
    """Exact means of the same derivatives, with bounds on their rounding error; always on the CPU in float64."""
    law = PromptDistribution.from_plain(distribution)
    found = cubature.preconditioner_derivative_means(law, W_PV, W_KQ, directions)
    return {
        "mean": found.value.tolist(),
        "rounding": found.rounding.tolist(),
        "nodes": found.nodes,
    }


def enumerated_gradient(distribution: Plain, W_PV: Nested, W_KQ: Nested, device: str) -> dict[str, Any]:
    """Exact population loss and gradient on all entries, with bounds on their rounding error."""
    law = PromptDistribution.from_plain(distribution)
    loss, slope = cubature.population_loss(law, W_PV, W_KQ), cubature.population_gradient(law, W_PV, W_KQ)
    return {
        "loss": float(loss.value[0]),
        "loss_rounding": float(loss.rounding[0]),
        "W_PV": slope.W_PV.tolist(),
        "W_KQ": slope.W_KQ.tolist(),
        "W_PV_rounding": slope.rounding_PV.tolist(),
        "W_KQ_rounding": slope.rounding_KQ.tolist(),
        "nodes": slope.nodes,
    }


def sampled_loss(
    distribution: Plain, W_PV: Nested, W_KQ: Nested, prompts: int, stream_key: str, device: str
) -> dict[str, Any]:
    """Power sums of the loss over fresh prompts, and its exact second moment (from above) by a Gauss rule."""
    law = PromptDistribution.from_plain(distribution)
    moments = cubature.population_loss_moments(law, W_PV, W_KQ)
    sums = loss_sums(law, W_PV, W_KQ, prompts, stream_key, device=device)
    return {**sums, "second_moment": float(moments.value[1] + moments.rounding[1])}


def sampled_step_stationarity(
    distribution: Plain,
    preconditioner: Nested,
    directions: Nested,
    prompts: int,
    stream_key: str,
    device: str,
) -> dict[str, Any]:
    """Power sums of the derivative of the risk of x_q.w_1 along each direction of the preconditioner."""
    law = PromptDistribution.from_plain(distribution)
    return {**step_risk_gradient_sums(law, preconditioner, directions, prompts, stream_key, device=device)}


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
