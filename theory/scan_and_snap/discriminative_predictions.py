"""Forces on attention logits for a user's tables: the formulas of `discriminative` at floats, and what they refuse.

Main statement
    The sign of a force does not depend on h > 0; rounding hides forces below 1e-13 times the condition number of the
    overlaps, in units of the largest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..algebra.evaluation import evaluate
from ..one_layer.assumptions import AssumptionError, FloatArray, real_array
from .discriminative import distance_and_sum, float_values, formula, in_floats, speed_parts, strength, weak


class Forces(NamedTuple):
    """Forces on the attention logits.

    queries      the rows: queries in use
    forces       z_ml' for eta_Z, (Q, M)
    signs        -1, 0 or 1; 0 where rounding hides it
    xi           of each class
    sufficient   of each class: no row of overlaps between the other classes sums to more than 1
    """

    queries: list[int]
    forces: list[list[float]]
    signs: list[list[int]]
    xi: list[float]
    sufficient: list[bool]


def for_user(contexts: Any, h: Any, logits: Any = None, queries: Any = None, eta_Z: Any = 1.0) -> Forces:
    """Forces at P(l|n) (K, M), w_n = h (M e_n - 1) and attention logits (Q, M), P(n) = 1/K. Raises AssumptionError."""
    table = check_contexts(contexts)
    own = check_queries(queries, table)
    used = sorted(set(own))
    Z = np.zeros((len(used), table.shape[1])) if logits is None else real_array(logits, "logits")
    if Z.shape != (len(used), table.shape[1]):
        raise AssumptionError(f"logits needs shape {(len(used), table.shape[1])}, a row for each query, got {Z.shape}")
    height, rate = positive(h, "h"), positive(eta_Z, "eta_Z")
    values = float_values(table, Z, [used.index(query) for query in own], height, rate)
    overlaps = values["f"] @ values["f"].T
    if np.linalg.cond(overlaps) > 1e12:
        raise AssumptionError("the class vectors are dependent in double precision; give classes that differ")
    forces = formula().value(values)
    allowed = 1e-13 * np.linalg.cond(overlaps) * np.abs(forces).max()
    signs = np.where(np.abs(forces) <= allowed, 0, np.sign(forces)).astype(int)
    xi = strengths(values)
    return Forces(used, forces.tolist(), signs.tolist(), xi.tolist(), [weak(overlaps, n) for n in range(len(table))])


def strengths(values: Mapping[str, Any]) -> FloatArray:
    """xi of every class, (K,)."""
    f, parts = values["f"], speed_parts()
    top, bottom = (evaluate(parts[name], dict(values)) for name in ("numerator", "denominator"))
    pace = top / bottom / (values["eta"] * values["p"])
    found = []
    for n in range(len(f)):
        s, beta = distance_and_sum(f, n)
        found.append(pace * in_floats(strength(), {"R": values["M"] - 1, "s": s, "beta": beta}))
    return np.array(found)


def check_contexts(value: Any) -> FloatArray:
    """P(l|n). Raises AssumptionError."""
    table = real_array(value, "contexts")
    if table.ndim != 2 or not 1 < len(table) <= table.shape[1]:
        raise AssumptionError(
            "contexts needs shape (K, M) with 2 <= K <= M, a row P(l|n) for each class over all M tokens, got "
            f"{table.shape}"
        )
    if (table < 0).any() or not np.allclose(table.sum(1), 1, rtol=0, atol=1e-9):
        raise AssumptionError(
            "contexts needs rows of probabilities with sum 1, got sums "
            f"{table.sum(1).tolist()}; divide each row by its sum"
        )
    return table


def check_queries(value: Any, table: FloatArray) -> list[int]:
    """psi(n), all 0 where left out. Raises AssumptionError."""
    if value is None:
        return [0] * len(table)
    found = real_array(value, "queries")
    if found.shape != (len(table),) or (found != found.astype(int)).any() or found.min() < 0:
        raise AssumptionError(f"queries needs a token for each of the {len(table)} classes, got {value!r}")
    return [int(query) for query in found]


def positive(value: Any, name: str) -> float:
    """A number above 0. Raises AssumptionError."""
    found = real_array(value, name)
    if found.shape != () or found <= 0:
        raise AssumptionError(f"{name} needs one number above 0, got {value!r}")
    return float(found)
