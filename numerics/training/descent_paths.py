r"""Every step of a short run of stochastic gradient descent, in float64: plain data in, plain data out.

    descent_path    weights before each step and at the end, and the batch gradient of each step
The layer is the real one, all of u12, u, U and u21 move, and every step draws fresh prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..one_layer.gradients import batch_gradient
from ..one_layer.prompts import PromptDistribution, PromptSampler
from .optimisers import SGD, Adam
from .random_streams import stream
from .threads import one_thread

OPTIMISERS = {"sgd": SGD, "adam": Adam}


@one_thread()
def descent_path(
    distribution: Mapping[str, Any],
    W_PV: Sequence[Any],
    W_KQ: Sequence[Any],
    optimiser: str,
    learning_rate: float,
    steps: int,
    batch_size: int,
    stream_key: str,
    device: str,
) -> dict[str, Any]:
    """W_PV and W_KQ, (steps + 1, d + 1, d + 1) each, and the gradients (steps, d + 1, d + 1) that moved them."""
    draw = PromptSampler(PromptDistribution.from_plain(distribution), device=device)
    generator = stream(stream_key, device)
    # The rows of W_PV above the last do not reach the prediction; they get no gradient.
    parameters = [torch.tensor(one, dtype=torch.float64, device=device).unsqueeze(0) for one in (W_PV, W_KQ)]
    update = OPTIMISERS[optimiser](parameters)
    rates = torch.full((1,), learning_rate, dtype=torch.float64, device=device)
    weights: list[list[Any]] = [[], []]
    gradients: list[list[Any]] = [[], []]
    for _ in range(steps):
        prompts = draw(batch_size, generator)
        _, row, key_query = batch_gradient(prompts, parameters[0][0], parameters[1][0])
        value = torch.zeros_like(parameters[0][0])
        value[-1] = row
        for place, (parameter, slope) in enumerate(zip(parameters, (value, key_query), strict=True)):
            weights[place].append(parameter[0].tolist())
            gradients[place].append(slope.tolist())
        update.step([value.unsqueeze(0), key_query.unsqueeze(0)], rates)
    for place, parameter in enumerate(parameters):
        weights[place].append(parameter[0].tolist())
    return {
        "W_PV": weights[0], "W_KQ": weights[1], "gradient_PV": gradients[0], "gradient_KQ": gradients[1],
        "prompts": steps * batch_size,
    }  # fmt: skip
