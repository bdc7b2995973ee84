r"""Plain first-order updates of many configurations at once.

Each parameter carries a leading configuration axis, and each configuration its own learning rate; nothing
is shared along that axis. No curvature and no closed form enters: the methods see the gradient of the batch
loss alone.

Main statements
    Adam         theta <- theta - rate m / (sqrt v + 1e-8), with m, v the bias-corrected running means
    (weights
                 0.9, 0.99) of the gradient and its square [Kingma and Ba, arXiv 1412.6980, Algorithm 1]
    SGD          theta <- theta - rate g
    TailAverage  the mean of the weights over the last fraction of the steps [Polyak and Juditsky, 1992]
An entry whose gradient is exactly 0 at every step stays where it is under both.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch

RISE = 0.2  # of a run with the schedule "triangle"


class Optimiser(Protocol):
    """Updates parameters in place from their gradients."""

    def step(self, gradients: list[torch.Tensor], rates: torch.Tensor) -> None:
        """One update with learning rates (C,)."""


class Adam:
    """Adam with the weights (0.9, 0.99)."""

    def __init__(self, parameters: list[torch.Tensor], first: float = 0.9, second: float = 0.99) -> None:
        self.parameters, self.first, self.second = parameters, first, second
        self.means = [torch.zeros_like(parameter) for parameter in parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in parameters]
        self.steps = 0

    def step(self, gradients: list[torch.Tensor], rates: torch.Tensor) -> None:
        """One update with learning rates (C,)."""
        self.steps += 1
        correction = 1 - self.first**self.steps
        root_correction = math.sqrt(1 - self.second**self.steps)
        for parameter, gradient, mean, square in zip(self.parameters, gradients, self.means, self.squares, strict=True):
            mean.lerp_(gradient, 1 - self.first)
            square.mul_(self.second).addcmul_(gradient, gradient, value=1 - self.second)
            size = square.sqrt().div_(root_correction).add_(1e-8)
            parameter.sub_(_per_configuration(rates / correction, mean) * mean / size)


class SGD:
    """Plain stochastic gradient descent."""

    def __init__(self, parameters: list[torch.Tensor]) -> None:
        self.parameters = parameters

    def step(self, gradients: list[torch.Tensor], rates: torch.Tensor) -> None:
        """One update with learning rates (C,)."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.sub_(_per_configuration(rates, gradient) * gradient)


class TailAverage:
    """The mean of the parameters over each configuration's last fraction of steps."""

    def __init__(self, parameters: list[torch.Tensor], steps: int, fractions: list[float]) -> None:
        self.parameters = parameters
        taken = [max(1, round(fraction * steps)) for fraction in fractions]
        self.starts = torch.tensor([steps - count for count in taken], device=parameters[0].device)
        self.first = int(self.starts.min())
        self.counts = torch.tensor(taken, device=parameters[0].device, dtype=parameters[0].dtype)
        self.sums = [torch.zeros_like(parameter) for parameter in parameters]

    def add(self, step: int) -> None:
        """Count the parameters after this step."""
        if step < self.first:
            return
        share = (self.starts <= step) / self.counts
        for total, parameter in zip(self.sums, self.parameters, strict=True):
            total.addcmul_(parameter, share.view(-1, *[1] * (parameter.ndim - 1)))

    def means(self) -> list[torch.Tensor]:
        """The means, once all steps are counted."""
        return self.sums


def schedule_factor(schedule: str, progress: float) -> float:
    """The learning rate at `progress` in [0, 1) of the run, as a fraction of the largest."""
    if schedule == "linear":
        return 1 - progress
    if schedule == "triangle":  # slow at first: noise that enters u12, u21 while u U is small can grow into a leak
        return min(progress / RISE, (1 - progress) / (1 - RISE))
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1.0


def _per_configuration(rates: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return rates.view(-1, *[1] * (like.ndim - 1))
