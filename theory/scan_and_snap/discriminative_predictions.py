"""Forces on attention logits for a user's tables: the formulas of `discriminative` at floats, and what they refuse.

Main statement
    The sign of a force does not depend on h > 0. Rounding hides forces below 1e-13 times the condition number of the
    overlaps, in units of eta_Z P speed |phi|^2, the size of the two terms that it is the difference of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..algebra.evaluation import evaluate
from ..one_layer.assumptions import AssumptionError, FloatArray, check_positive, real_array
from .discriminative import distance_and_sum, float_values, formula, in_floats, speed_parts, strength, weak
from .early_attention import checked_tables

MOST_LEAD = 700.0  # e^(M h) stays in the range of floats


class Forces(NamedTuple):
    """Forces on the attention logits.

    queries      the rows: queries in use
    forces       z_ml', (Q, M)
    signs        -1, 0 or 1; 0 where rounding hides it
    xi           of each class
    sufficient   of each class: no row of overlaps between the other classes sums to more than 1
    """

    queries: list[int]
    forces: list[list[float]]
    signs: list[list[int]]
    xi: list[float]
    sufficient: list[bool]


def for_user(contexts: Any, h: Any, logits: Any = None, queries: Any = None, attention_rate: Any = 1.0) -> Forces:
    """Forces at P(l|n) (K, M), w_n = h (M e_n - 1) and attention logits (Q, M), P(n) = 1/K. Raises AssumptionError."""
    plain = checked_tables(contexts, queries, None)
    table, used = np.array(plain["contexts"]), sorted(set(plain["queries"]))
    Z = np.zeros((len(used), table.shape[1])) if logits is None else real_array(logits, "logits")
    if Z.shape != (len(used), table.shape[1]):
        raise AssumptionError(f"logits needs shape {(len(used), table.shape[1])}, a row for each query, got {Z.shape}")
    rows = [used.index(query) for query in plain["queries"]]
    values = float_values(table, Z, rows, check_positive(h, "h"), check_positive(attention_rate, "attention_rate"))
    if values["M"] * values["h"] > MOST_LEAD:
        raise AssumptionError(
            f"h needs M h up to {MOST_LEAD:g}, got {values['M'] * values['h']:.6g}; beyond, forces are below 1e-290"
        )
    overlaps = values["f"] @ values["f"].T
    condition = float(np.linalg.cond(overlaps))
    if condition > 1e12:
        raise AssumptionError("the class vectors are dependent in double precision; give classes that differ")
    forces = formula().value(values)
    hidden = np.abs(forces) <= 1e-13 * condition * pace(values) * (values["f"] ** 2).sum(0)
    signs = np.where(hidden, 0, np.sign(forces)).astype(int)
    sufficient = [weak(overlaps, n) for n in range(len(table))]
    return Forces(used, forces.tolist(), signs.tolist(), strengths(values).tolist(), sufficient)


def pace(values: Mapping[str, Any]) -> float:
    """eta_Z P speed."""
    top, bottom = (evaluate(speed_parts()[name], dict(values)) for name in ("numerator", "denominator"))
    return float(top / bottom)


def strengths(values: Mapping[str, Any]) -> FloatArray:
    """xi of every class, (K,)."""
    speed, found = pace(values) / (values["eta"] * values["p"]), []
    for n in range(len(values["f"])):
        s, beta = distance_and_sum(values["f"], n)
        found.append(speed * in_floats(strength(), {"R": values["M"] - 1, "s": s, "beta": beta}))
    return np.array(found)
