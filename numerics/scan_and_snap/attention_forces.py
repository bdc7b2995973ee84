r"""How attention logits move: velocities of the real layer by autograd, and trajectories of both flows, plain data.

attention_velocities     -eta_Z dL/dZ at any decoder and attention logits
span_velocities          the same at Y = (F^dagger)^T W for given logits W of the classes
table_trajectories       Z along the reparametrised flow and along the flow of the loss itself, on given tables
scan_trajectories        the same on random tables
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..training.threads import one_thread
from .flows import TOLERANCE, Tasks, joint_flow, reparametrised_flow
from .layer import class_vectors
from .sequence_classes import SequenceClasses, random_classes

Case = Mapping[str, Any]


@one_thread()
def attention_velocities(cases: Sequence[Case], device: str = "cpu") -> dict[str, Any]:
    """`velocity`, (Q, M), for each case {"classes", "attention" (Q, M), "decoder" (M, K + 1), "eta_Z"}."""
    found = []
    for case in cases:
        stacked, attention = read(case)
        found.append(velocity(stacked, torch.tensor([case["decoder"]], dtype=torch.float64), attention, case["eta_Z"]))
    return {"velocity": found}


@one_thread()
def span_velocities(cases: Sequence[Case], device: str = "cpu") -> dict[str, Any]:
    """`velocity` for each case {"classes", "attention", "logits" (K, K + 1), "eta_Z"}, and `condition` of F^T F.

    The pseudo-inverse is torch's own, by singular values, on the class vectors of the layer.
    """
    velocities, conditions = [], []
    for case in cases:
        stacked, attention = read(case)
        f = class_vectors(stacked.contexts, attention[..., stacked.rows, :])
        logits = torch.tensor([case["logits"]], dtype=torch.float64)
        velocities.append(velocity(stacked, torch.linalg.pinv(f) @ logits, attention, case["eta_Z"]))
        conditions.append(float(torch.linalg.cond(f)) ** 2)
    return {"velocity": velocities, "condition": conditions}


def read(case: Case) -> tuple[Tasks, torch.Tensor]:
    """The tables of a case as a stack of one, and its attention logits (1, Q, M)."""
    tasks = Tasks.of([SequenceClasses.from_plain(case["classes"])])
    return tasks, torch.tensor([case["attention"]], dtype=torch.float64)


def velocity(tasks: Tasks, decoder: torch.Tensor, attention: torch.Tensor, rate: float) -> list[list[float]]:
    """-rate dL/dZ."""
    _, slope = tasks.slopes(decoder, attention)
    found: list[list[float]] = (-rate * slope[0]).tolist()
    return found


@one_thread()
def table_trajectories(
    classes: Sequence[Case], eta_Y: float, eta_Z: float, scaled_times: Sequence[float], device: str = "cpu"
) -> dict[str, Any]:
    """The tables back, and Z along their flows from Z = 0, Y = 0; times in units of K ln M / eta_Y.

    For each table and flow ("reparametrised", "joint"): Z (times, Q, M) and the error as `flows` estimates it. The
    joint flow is only told beside the other, to three digits.
    """
    tasks = [SequenceClasses.from_plain(table) for table in classes]
    found: dict[str, Any] = {"classes": [task.plain() for task in tasks]}
    for name, (flow, tolerance) in {
        "reparametrised": (reparametrised_flow, TOLERANCE),
        "joint": (joint_flow, 1e-5),
    }.items():
        runs = []
        for task in tasks:
            unit = task.classes * float(np.log(task.vocabulary)) / eta_Y
            run = flow([task], eta_Y, eta_Z, [unit * time for time in scaled_times], tolerance=tolerance)
            runs.append({"Z": run["Z"][:, 0].tolist(), "error": run["error"]})
        found[name] = runs
    return found


def scan_trajectories(
    sizes: Sequence[Mapping[str, int]],
    keys: Sequence[str],
    eta_Y: float,
    eta_Z: float,
    scaled_times: Sequence[float],
    device: str = "cpu",
) -> dict[str, Any]:
    """The same on random tables of these sizes: classes, vocabulary, queries, common, distinct."""
    tables = [random_classes(**size, key=key).plain() for size, key in zip(sizes, keys, strict=True)]
    return table_trajectories(tables, eta_Y, eta_Z, scaled_times, device)
