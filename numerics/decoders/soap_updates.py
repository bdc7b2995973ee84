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

SIDES, BASIS = ("left", "right"), ("product", "vectors", "live")


class SoapUpdates(torch.optim.Optimizer):
    """One SOAP state for each parameter: a kernel in its own basis, a vector as by Adam.

    stacked    the parameters of several models stand along a leading axis, and each model's has a state of its own
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, *, stacked: bool = False) -> None:
        super().__init__(parameters, {"lr": learning_rate})
        (group,) = self.param_groups
        self.parameters: list[nn.Parameter] = group["params"]
        self.slices = _as_slices if stacked else _as_slice
        self.soap = Soap([self.slices(parameter.data) for parameter in self.parameters])

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update with the group's learning rate, from the gradients that the parameters hold."""
        gradients = [self.slices(parameter.grad) for parameter in self.parameters if parameter.grad is not None]
        self.soap.step(gradients, torch.tensor([self.param_groups[0]["lr"]], device=gradients[0].device))
        return closure() if closure else None

    def tensors(self) -> list[dict[str, Tensor]]:
        """What the state of each parameter is made of, with the step of its next basis."""
        found = []
        for state in self.soap.states:
            held = {"mean": state.mean, "square": state.square, "renewal": torch.tensor(state.renewal)}
            for side, basis in zip(SIDES, state.sides, strict=True):
                held |= {f"{side} {part}": getattr(basis, part) for part in BASIS}
            found.append(held)
        return found

    def restore(self, steps: int, tensors: list[dict[str, Tensor]]) -> None:
        """Go on from the state that `tensors` gave after that many steps."""
        self.soap.steps = steps
        for state, held in zip(self.soap.states, tensors, strict=True):
            state.mean, state.square, state.renewal = held["mean"], held["square"], int(held["renewal"])
            for side, basis in zip(SIDES, state.sides, strict=True):
                for part in BASIS:
                    setattr(basis, part, held[f"{side} {part}"])


def _as_slices(parameters: Tensor) -> Tensor:
    """(E, m, n) of E models; vectors are one row each. A view, as in `_as_slice`."""
    return parameters if parameters.ndim == 3 else parameters[:, None]


def _as_slice(parameter: Tensor) -> Tensor:
    """(1, m, n); a vector is one row, which SOAP treats as Adam does. A view: updates reach the parameter."""
    return parameter.view(1, *parameter.shape) if parameter.ndim == 2 else parameter.view(1, 1, -1)
