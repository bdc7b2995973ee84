r"""The decoder's flow of the loss on classes that overlap equally: logits, velocities, and the force on attention.

    common     one token common to all classes, the others distinct: f_n.f_j = f_nC^2
    shared     the first K tokens in all classes, one with a share of its own: no token is distinct, K = M can be
The force is read off the velocity of attention's logits at rest: z_l' = P(n) f_nl^2 xi_n for every token l that is
distinct to class n, by autograd of the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..scan_and_snap.flows import Tasks, decoder_flow
from ..scan_and_snap.layer import multiplicities
from ..scan_and_snap.sequence_classes import SequenceClasses, one_common_token
from ..training.threads import one_thread
from .class_logits import EPS, vectors_of

Array = NDArray[np.float64]
Plain = Mapping[str, Any]
TOLERANCE = 1e-12


def task_of(case: Plain) -> SequenceClasses:
    """{classes, vocabulary, common, profile}, or {classes, vocabulary, share}."""
    K, M = case["classes"], case["vocabulary"]
    if "profile" in case:
        return one_common_token(K, M, case["common"], case["profile"])
    contexts = np.zeros((K, M))
    contexts[:, :K] = (1 - case["share"]) / (K - 1)
    np.fill_diagonal(contexts, case["share"])
    return SequenceClasses.from_plain({"contexts": contexts})


def velocities(task: SequenceClasses, decoder: Array) -> tuple[Array, Array]:
    """dw_n/dtau, (K, columns), and dz/dtau over eta_Z/eta_Y, (M,), at a decoder (M, columns) and attention at rest."""
    stacked = Tasks.of([task])
    slope_Y, slope_Z = stacked.slopes(torch.tensor(decoder)[None], torch.zeros(1, 1, task.vocabulary).double())
    moved = -slope_Y[0] / multiplicities(task.classes, task.vocabulary)
    return task.classes * (vectors_of(task) @ moved).numpy(), -slope_Z[0, 0].numpy()


def forces(task: SequenceClasses, attention: Array) -> list[float]:
    """xi_n of every distinct token of every class, from the velocities of attention's logits."""
    f = vectors_of(task).numpy()
    pairs = [(n, token) for n in range(task.classes) for token in task.distinct_tokens(n)]
    return [float(attention[token] / (task.probabilities[n] * f[n, token] ** 2)) for n, token in pairs]


@one_thread()
def overlapping_flows(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case, with learning_rate and times: logits and rates (times, K, columns), force (times, distinct tokens).

    overlaps    f_n.f_j of all pairs
    error       of Y, relative to its largest entry, as `flows` estimates it;  size: that entry at each time
    rounding    one for each evaluation of the velocity, relative to the same
    """
    del device
    names = ("logits", "rates", "force", "overlaps", "error", "rounding", "size")
    found: dict[str, list[Any]] = {name: [] for name in names}
    for case in cases:
        task = task_of(case)
        f = vectors_of(task).numpy()
        flow = decoder_flow([task], case["learning_rate"], case["times"], tolerance=TOLERANCE)
        states = flow["Y"][:, 0]
        moved = [velocities(task, state) for state in states]
        found["logits"].append((f @ states).tolist())
        found["rates"].append([rates.tolist() for rates, _ in moved])
        found["force"].append([forces(task, attention) for _, attention in moved])
        found["overlaps"].append((f @ f.T)[np.triu_indices(task.classes, 1)].tolist())
        found["error"].append(flow["error"])
        found["rounding"].append(flow["evaluations"] * EPS)
        found["size"].append(np.abs(states).max((1, 2)).tolist())
    return found


@one_thread()
def slopes_at_rest(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case: dw_n/dtau at Y = 0, (K, columns), and all f_n.f_j."""
    del device
    rates, overlaps = [], []
    for case in cases:
        task = task_of(case)
        f = vectors_of(task).numpy()
        start = np.zeros((task.vocabulary, len(multiplicities(task.classes, task.vocabulary))))
        rates.append(velocities(task, start)[0].tolist())
        overlaps.append((f @ f.T)[np.triu_indices(task.classes, 1)].tolist())
    return {"rates": rates, "overlaps": overlaps}
