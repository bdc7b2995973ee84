"""Measurements over fresh prompts: plain data in, plain data out.

Each is one unit of work: its parameters name everything that it depends on, random numbers included, and its result is
raw material (sums), never a verdict.

    sampled_stationarity        sums of the gradient of the layer's loss at given weights
    sampled_step_stationarity   the same for the risk of one explicit preconditioned gradient step
    sampled_loss                sums of the loss at given weights, with its exact second moment
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import cubature
from .gradient_step import step_risk_gradient_sums
from .gradients import directional_gradient_sums, loss_sums
from .prompts import PromptDistribution

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


def sampled_loss(
    distribution: Plain, W_PV: Nested, W_KQ: Nested, prompts: int, stream_key: str, device: str
) -> dict[str, Any]:
    """Power sums of the loss over fresh prompts, and its exact second moment (from above) by a Gauss rule."""
    law = PromptDistribution.from_plain(distribution)
    moments = cubature.population_loss_moments(law, W_PV, W_KQ)
    sums = loss_sums(law, W_PV, W_KQ, prompts, stream_key, device=device)
    return {**sums, "second_moment": float(moments.value[1] + moments.rounding[1])}
