r"""MesaNet's layer on given sequences: outputs by solving and by conjugate gradients, with bounds on their rounding.

Main statements
    gated_outputs         o_t by elimination, or after `steps` conjugate gradients from x_0 = q/a
    gated_errors          for steps 0, 1, 2, ...: |x_n - x| in the norm of H_T + diag(a), and its condition number, from
                          x_0 = 0
A case is plain data: keys (T, d), values (T, m), queries (T, d), forget, gate (T), penalty (d).
Rounding by elimination: as in `rounding_bounds`, with 3 t + 2 roundings of every sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ..training.threads import one_thread
from .conjugate_gradients import conjugate_gradients, outputs_by_conjugate_gradients
from .gated_least_squares import outputs_by_solving, states
from .rounding_balls import Ball, Rows, Vector, added, balls, combined, dot, scaled
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
    """On |do_t| of `outputs_by_conjugate_gradients`, (T, m), in balls and in the order of one chunk of all steps."""
    keys, values, queries = ([balls(row) for row in case[name]] for name in ("keys", "values", "queries"))
    forget, gate, ridge = (balls(case[name]) for name in ("forget", "gate", "penalty"))
    gated = [scaled(b, k) for b, k in zip(gate, keys, strict=True)]
    found = []
    for t in range(1, len(keys) + 1):
        decays = [Ball(1.0)] * t
        for s in range(t - 1, 0, -1):
            decays[s - 1] = decays[s] * forget[s]
        product = partial(times_system, keys[:t], gated[:t], decays, ridge)
        start = [entry / own for entry, own in zip(queries[t - 1], ridge, strict=True)]
        x = steps_in_balls(product, queries[t - 1], start, steps)
        outputs = combined(scores(x, gated[:t], decays), values[:t])
        found.append([one.error for one in outputs])
    return np.array(found)


def scores(vector: Vector, keys: Rows, decays: Vector) -> Vector:
    """zeta_ts (p.k_s)."""
    return [decay * dot(vector, key) for decay, key in zip(decays, keys, strict=True)]


def times_system(keys: Rows, gated: Rows, decays: Vector, ridge: Vector, vector: Vector) -> Vector:
    """(H_t + diag(a)) p = sum_s zeta_ts (p.k_s) b_s k_s + a p."""
    own = [a * entry for a, entry in zip(ridge, vector, strict=True)]
    return added(combined(scores(vector, keys, decays), gated), own)


@one_thread()
def gated_outputs(cases: Sequence[Plain], steps: int | None, device: str) -> dict[str, Any]:
    """Per case: outputs (T, m) after so many steps (by elimination where that is None), and bounds on their errors."""
    found: dict[str, Any] = {"outputs": [], "rounding": []}
    for case in cases:
        given = tensors(case, device)
        if steps is None:
            outputs, rounding = outputs_by_solving(**given), solving_bounds(case)
        else:
            given["ridge"] = given.pop("penalty")
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
        off = [conjugate_gradients(A.__matmul__, q, 0 * q, n, 0.0) - x for n in range(steps + 1)]
        sizes = torch.stack([(one @ A @ one).clamp(min=0).sqrt() for one in off])
        found["errors"].append((sizes / sizes[0]).tolist())
        found["condition"].append(float(torch.linalg.cond(A)))
    return found
