r"""The layer's first velocities at Y = Z = 0 on sequences of finite length, averaged over all counts there are.

For S keys a class with A tokens in use has C(S + A - 1, A - 1) tables of counts. Each is put through the real layer
(`sampled_training.sequence_losses`) and weighted with its probability: nothing is sampled. With L the mean loss
    velocity      -dL/dY, (M, K + 1), the first velocity of the decoder at rate 1, a kept column as one token's
    force         grad_Z of 1/2 |dL/dY|^2 over all M columns of Y, (Q, M): Y = -t dL/dY to first order, and so
                  Z'' = -d/dt dL/dZ is this gradient, both rates 1
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import torch
from torch import Tensor

from ..scan_and_snap.layer import columns, multiplicities
from ..scan_and_snap.sequence_classes import SequenceClasses
from ..training.threads import one_thread
from .sampled_training import sequence_losses


def compositions(total: int, parts: int) -> Iterator[list[int]]:
    """All counts of `parts` tokens that add up to `total`."""
    for bars in combinations(range(total + parts - 1), parts - 1):
        edges = (-1, *bars, total + parts - 1)
        yield [after - before - 1 for before, after in pairwise(edges)]


def enumerated_counts(law: Tensor, keys: int) -> tuple[Tensor, Tensor]:
    """Every table of counts of a class, (B, M), and its probability, (B,)."""
    active = law.nonzero()[:, 0]
    found = torch.tensor(list(compositions(keys, len(active))), dtype=torch.float64)
    logs = math.lgamma(keys + 1) + (found * law[active].log() - torch.lgamma(found + 1)).sum(-1)
    counts = torch.zeros(len(found), len(law), dtype=torch.float64)
    counts[:, active] = found
    return counts, logs.exp()


def mean_loss(task: SequenceClasses, keys: int, decoder: Tensor, attention: Tensor) -> Tensor:
    """The mean of the loss over classes and counts."""
    total = torch.zeros((), dtype=torch.float64)
    for n, law in enumerate(torch.tensor(task.contexts)):
        counts, chances = enumerated_counts(law, keys)
        rows, targets = (torch.full((1, len(counts)), int(x)) for x in (task.rows[n], n))
        losses = sequence_losses(counts[None], rows, targets, decoder[None], attention[None])[0]
        total = total + float(task.probabilities[n]) * (chances * losses).sum()
    return total


def first_velocities(task: SequenceClasses, keys: int) -> tuple[Tensor, Tensor]:
    """Velocity (M, K + 1) and force (Q, M)."""
    K, M = task.classes, task.vocabulary
    decoder = torch.zeros(M, columns(K, M), dtype=torch.float64, requires_grad=True)
    attention = torch.zeros(task.query_count, M, dtype=torch.float64, requires_grad=True)
    loss = mean_loss(task, keys, decoder, attention)
    (slope,) = torch.autograd.grad(loss, decoder, create_graph=True)
    counts = multiplicities(K, M)
    (force,) = torch.autograd.grad((slope**2 / counts).sum() / 2, attention)
    return -slope.detach() / counts, force


@one_thread()
def enumerated_starts(cases: Sequence[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """Velocities and forces of cases {"classes": .., "keys": [..]}, as lists, one for each number of keys.

    Always on the CPU, whatever the device.
    """
    del device
    found: dict[str, Any] = {"velocity": [], "force": []}
    for case in cases:
        task = SequenceClasses.from_plain(case["classes"])
        both = [first_velocities(task, int(keys)) for keys in case["keys"]]
        found["velocity"].append([velocity.tolist() for velocity, _ in both])
        found["force"].append([force.tolist() for _, force in both])
    return found
