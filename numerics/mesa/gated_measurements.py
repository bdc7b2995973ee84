r"""MesaNet's layer on given sequences: outputs by solving and by conjugate gradients, with bounds on their rounding.

Main statements
    gated_outputs         o_t by elimination, or after `steps` conjugate gradients from x_0 = q
    gated_errors          for steps 0, 1, 2, ...: |x_n - x| in the norm of H_T + diag(a), and its condition number, from
                          x_0 = 0
A case is plain data: keys (T, d), values (T, m), queries (T, d), forget, gate (T), penalty (d).
Rounding by elimination: as in `rounding_bounds`, with 3 t + 2 roundings of every sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..training.threads import one_thread
from .gated_least_squares import conjugate_gradients, outputs_by_conjugate_gradients, outputs_by_solving, states
from .rounding_balls import Ball, Rows, applied, balls, outer_step
from .rounding_balls import conjugate_gradients as steps_in_balls
from .rounding_bounds import FloatArray, Sums, error_of_system

Plain = Mapping[str, Any]
INPUTS = ("keys", "values", "queries", "forget", "gate", "penalty")


def tensors(case: Plain, device: str) -> dict[str, Any]:
    """The inputs of the layer in float64."""
    return {name: torch.tensor(case[name], dtype=torch.float64, device=device) for name in INPUTS}


def solving_bounds(case: Plain) -> FloatArray:
    """On |do_t| of `outputs_by_solving`, (T, m): errors of H, G and of the elimination, to first order, doubled."""
    keys, values, queries, forget, gate, penalty = (np.array(case[name], dtype=float) for name in INPUTS)
    d, m, found = keys.shape[1], values.shape[1], []
    H, G, H_size, G_size = np.zeros((d, d)), np.zeros((m, d)), np.zeros((d, d)), np.zeros((m, d))
    for t, (k, v, q, f, b) in enumerate(zip(keys, values, queries, forget, gate, strict=True), start=1):
        H, G = f * H + b * np.outer(k, k), f * G + b * np.outer(v, k)
        H_size = f * H_size + b * np.outer(abs(k), abs(k))
        G_size = f * G_size + b * np.outer(abs(v), abs(k))
        system = H + np.diag(penalty)
        R = np.linalg.inv(system)
        at = Sums(system, G, R, G @ R, H_size + np.diag(penalty), G_size, 3 * t + 2 + d)
        of_sums = float(np.finfo(float).eps) / 2 * at.roundings * G_size
        found.append((of_sums + abs(at.Phi) @ error_of_system(at)) @ abs(R) @ abs(q) + 2 * of_sums @ abs(R @ q))
    return 2 * np.array(found)


def steps_bounds(case: Plain, steps: int) -> FloatArray:
    """On |do_t| of `outputs_by_conjugate_gradients` from x_0 = q, (T, m), in balls."""
    keys, values, queries, forget, gate, penalty = (np.array(case[name], dtype=float) for name in INPUTS)
    d, m, found = keys.shape[1], values.shape[1], []
    H: Rows = [[Ball(0.0)] * d for _ in range(d)]
    G: Rows = [[Ball(0.0)] * d for _ in range(m)]
    for k, v, q, f, b in zip(keys, values, queries, forget, gate, strict=True):
        key, query, gates = balls(k), balls(q), (Ball(float(f)), Ball(float(b)))
        H, G = outer_step(H, *gates, key, key), outer_step(G, *gates, balls(v), key)
        A = [[entry + Ball(float(penalty[i]) * (i == j)) for j, entry in enumerate(row)] for i, row in enumerate(H)]
        found.append([one.error for one in applied(G, steps_in_balls(A, query, query, steps))])
    return np.array(found)


@one_thread()
def gated_outputs(cases: Sequence[Plain], steps: int | None, device: str) -> dict[str, Any]:
    """Per case: outputs (T, m) after so many steps (by elimination where that is None), and bounds on their errors."""
    found: dict[str, Any] = {"outputs": [], "rounding": []}
    for case in cases:
        given = tensors(case, device)
        if steps is None:
            outputs, rounding = outputs_by_solving(**given), solving_bounds(case)
        else:
            outputs, rounding = outputs_by_conjugate_gradients(**given, steps=steps), steps_bounds(case, steps)
        found["outputs"].append(outputs.tolist())
        found["rounding"].append(rounding.tolist())
    return found


@one_thread()
def gated_errors(cases: Sequence[Plain], steps: int, device: str) -> dict[str, Any]:
    """Per case: |x_n - x|_A/|x|_A for n = 0 .. steps at the last t, from x_0 = 0, and the condition number of A."""
    found: dict[str, Any] = {"errors": [], "condition": []}
    for case in cases:
        given = tensors(case, device)
        *_, (H, _) = states(given["keys"], given["values"], given["forget"], given["gate"])
        A, q = H + torch.diag(given["penalty"]), given["queries"][-1]
        x = torch.linalg.solve(A, q)
        off = [conjugate_gradients(A, q, 0 * q, n) - x for n in range(steps + 1)]
        sizes = torch.stack([(one @ A @ one).clamp(min=0).sqrt() for one in off])
        found["errors"].append((sizes / sizes[0]).tolist())
        found["condition"].append(float(torch.linalg.cond(A)))
    return found
