"""How fast attention leaves its start: second derivatives of the layer's loss, by autograd.

At Y = 0 attention does not move (no gradient reaches it), and its acceleration is -eta_Z d^2L/dZ dY applied to the
decoder's velocity there: Y' = -eta_Y dL/dY in the flow of the loss, Y' = F G^-1 W' in the reparametrised one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..training.threads import one_thread
from .flows import Tasks, started
from .layer import class_losses, columns, multiplicities, population_loss
from .sequence_classes import SequenceClasses

EPSILON = float(torch.finfo(torch.float64).eps)


def acceleration(task: Tasks, decoder_velocity: Tensor, eta_Z: float) -> Tensor:
    """-eta_Z d/dZ <dL/dY, Y'> at Y = 0 and Z = 0, (B, Q, M)."""
    Y = torch.zeros_like(decoder_velocity).requires_grad_()
    Z = started(task, None).requires_grad_()
    loss = population_loss(task.contexts, task.rows, task.probabilities, Y, Z).sum()
    (slope,) = torch.autograd.grad(loss, Y, create_graph=True)
    (mixed,) = torch.autograd.grad((slope * decoder_velocity).sum(), Z)
    return -eta_Z * mixed


def loss_velocity(task: Tasks, eta_Y: float) -> Tensor:
    """Y' of the loss's own flow at the start, (B, M, K + 1)."""
    B, K, M = task.shape
    slope, _ = task.slopes(torch.zeros(B, M, columns(K, M), dtype=torch.float64), started(task, None))
    return -eta_Y * slope / multiplicities(K, M)


def reparametrised_velocity(task: Tasks, eta_Y: float) -> Tensor:
    """Y' of the reparametrised flow at the start: Z stands still there, so that it is (F^dagger)^T W'."""
    B, K, M = task.shape
    W = torch.zeros(B, K, columns(K, M), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((task.probabilities * class_losses(W, M)).sum(), W)
    return task.decoder_of(-eta_Y * slope / multiplicities(K, M), started(task, None))


@one_thread()
def accelerations(
    tasks: Sequence[Mapping[str, Any]], decoder_rate: float, attention_rate: float, device: str
) -> dict[str, Any]:
    """For each task z'' of the loss's flow and of the reparametrised one, (Q, M), with a bound on the first's rounding.

    The bound: with P_n adding up to 1 an entry is a mean over classes of products of numbers of size at most 1, times
    the rates; sums run over the tokens of a class and over K + 1 columns (adding 0 does not round), and the class
    vectors and the softmax round some ten times more.
    """
    found: dict[str, Any] = {"loss": [], "reparametrised": [], "rounding": []}
    for plain in tasks:
        task = Tasks.of([SequenceClasses.from_plain(plain)])
        sums = int((task.contexts > 0).sum(-1).max()) + columns(*task.shape[1:])
        found["loss"].append(acceleration(task, loss_velocity(task, decoder_rate), attention_rate)[0].tolist())
        other = acceleration(task, reparametrised_velocity(task, decoder_rate), attention_rate)
        found["reparametrised"].append(other[0].tolist())
        found["rounding"].append(decoder_rate * attention_rate * (sums + 12) * EPSILON)
    return {**found, "device": device}
