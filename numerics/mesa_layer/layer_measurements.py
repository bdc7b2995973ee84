r"""The mesa layer on given sequences: outputs of its forms and gradients, each with a bound on its rounding.

Main statements
    layer_outputs      o_t by every plain form in float64, with linear attention sum_i zeta_ti v_i (k_i.q_t) beside them
    layer_gradients    gradients of sum_t g_t.o_t: automatic differentiation of the direct solve, and the chunks' own
A case is plain data: keys (T, d), values (T, m), queries (T, d), regulariser, forget (T); for gradients pulls g (T, m).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ..training.threads import one_thread
from .chunkwise_layer import outputs_by_chunks
from .least_squares_layer import outputs_by_direct_solve, outputs_by_recursion
from .rounding_bounds import (
    chunk_bounds,
    chunk_gradient_bounds,
    condition_numbers,
    direct_bounds,
    gradient_bounds,
    recursion_bounds,
)

Plain = Mapping[str, Any]
CHUNK = 4
FORMS: dict[str, Any] = {
    "direct solve": outputs_by_direct_solve,
    "recursion": outputs_by_recursion,
    "chunks": partial(outputs_by_chunks, chunk=CHUNK),
}
BOUNDS: dict[str, Any] = {
    "direct solve": direct_bounds,
    "recursion": recursion_bounds,
    "chunks": partial(chunk_bounds, chunk=CHUNK),
}
INPUTS = ("keys", "values", "queries", "regulariser", "forget")


def tensors(case: Plain, device: str) -> dict[str, torch.Tensor]:
    """The inputs of a layer in float64."""
    return {name: torch.tensor(case[name], dtype=torch.float64, device=device) for name in INPUTS}


def arrays(case: Plain) -> tuple[Any, Any, Any, float, Any]:
    """The same for a bound."""
    keys, values, queries, forget = (
        np.array(case[name], dtype=float) for name in ("keys", "values", "queries", "forget")
    )
    return keys, values, queries, float(case["regulariser"]), forget


def linear_attention(keys: Any, values: Any, queries: Any, forget: Any) -> Any:
    """sum_{i <= t} zeta_ti v_i (k_i.q_t), (T, m)."""
    memory, found = np.zeros((values.shape[1], keys.shape[1])), []
    for key, value, query, gate in zip(keys, values, queries, forget, strict=True):
        memory = gate * memory + np.outer(value, key)
        found.append(memory @ query)
    return np.array(found)


@one_thread()
def layer_outputs(cases: Sequence[Plain], forms: Sequence[str], device: str) -> dict[str, Any]:
    """Per case and form: outputs (T, m) and bounds on their errors; linear attention, the largest condition number."""
    found: dict[str, Any] = {"outputs": [], "rounding": [], "linear_attention": [], "condition": []}
    for case in cases:
        given = tensors(case, device)
        keys, values, queries, regulariser, forget = arrays(case)
        outputs = {name: FORMS[name](**given).tolist() for name in forms}
        rounding = {name: BOUNDS[name](*arrays(case)).tolist() for name in forms}
        found["outputs"].append(outputs)
        found["rounding"].append(rounding)
        found["linear_attention"].append(linear_attention(keys, values, queries, forget).tolist())
        found["condition"].append(max(condition_numbers(keys, values, regulariser, forget)))
    return found


GRADIENT_FORMS: dict[str, Any] = {
    "direct solve": gradient_bounds,
    "chunks": partial(chunk_gradient_bounds, chunk=CHUNK),
}


@one_thread()
def layer_gradients(cases: Sequence[Plain], forms: Sequence[str], device: str) -> dict[str, Any]:
    """Per case and form: gradients of sum_t g_t.o_t by inputs, and bounds on the norms of their errors."""
    found: dict[str, Any] = {"gradients": [], "rounding": []}
    for case in cases:
        found["gradients"].append({form: slopes_of(case, form, device) for form in forms})
        pulls = np.array(case["pulls"], dtype=float)
        found["rounding"].append({form: GRADIENT_FORMS[form](*arrays(case), pulls) for form in forms})
    return found


def slopes_of(case: Plain, form: str, device: str) -> dict[str, Any]:
    """Gradients of sum_t g_t.o_t by one form, by inputs."""
    given = {name: tensor.requires_grad_() for name, tensor in tensors(case, device).items()}
    pulls = torch.tensor(case["pulls"], dtype=torch.float64, device=device)
    slopes = torch.autograd.grad((pulls * FORMS[form](**given)).sum(), list(given.values()))
    return {name: slope.tolist() for name, slope in zip(given, slopes, strict=True)}
