"""SOAP as an optimiser of a model's parameters [vyas2024soap]; the updates themselves are those of `training.soap`.

Small decoders come as near to their Bayes predictor with half of the steps that Adam takes
(`benchmarks/train_decoders.py` trains the shipped ones by it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..training.soap import Soap


class SoapUpdates(torch.optim.Optimizer):
    """One SOAP state for each parameter: a kernel in its own basis, a vector as by Adam."""

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        super().__init__(parameters, {"lr": learning_rate})
        (group,) = self.param_groups
        self.parameters: list[nn.Parameter] = group["params"]
        self.soap = Soap([_as_slice(parameter.data) for parameter in self.parameters])

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update with the group's learning rate, from the gradients that the parameters hold."""
        gradients = [_as_slice(parameter.grad) for parameter in self.parameters if parameter.grad is not None]
        self.soap.step(gradients, torch.tensor([self.param_groups[0]["lr"]], device=gradients[0].device))
        return closure() if closure else None


def _as_slice(parameter: Tensor) -> Tensor:
    """(1, m, n); a vector is one row, which SOAP treats as Adam does. A view: updates reach the parameter."""
    return parameter.view(1, *parameter.shape) if parameter.ndim == 2 else parameter.view(1, 1, -1)
