r"""Weights of a layer of linear attention that forms given features of constructed tokens: plain arrays for numerics.

Main statements
    A layer computes sum over heads of W_PV e_t' (e_t'^T W_KQ e_t), so a feature sum u (v . w) with u in block a, v in
    block b and w in block c takes a head with the identity in block (0, a) of W_PV and in block (b, c) of W_KQ; heads
    that share u are one head.
    sum (u . v) w is the sum over entries i, j of u_j v_j w_i e_i: a head with E_ij in W_PV and E_ji in W_KQ for each.
The blocks of constructed tokens are (0, s_t, s_(t-1)).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..claims.settings import FloatArray, rounded

if TYPE_CHECKING:
    from ...theory.orthogonal_dynamics.one_layer_optimum import Feature


def merged_weights(coefficients: Mapping[Feature, Any], n: int) -> dict[str, Any]:
    """W_KQ and W_PV, (H, 3n, 3n) nested lists, rounded so that they do not depend on the machine."""
    heads = [*vector_heads(coefficients, n), *trace_heads(coefficients, n)]
    W_KQ, W_PV = (np.stack([head[place] for head in heads]) for place in (0, 1))
    return {"W_KQ": rounded(W_KQ).tolist(), "W_PV": W_PV.tolist()}


def vector_heads(coefficients: Mapping[Feature, Any], n: int) -> list[tuple[FloatArray, FloatArray]]:
    """One head for each block of u that occurs."""
    found = []
    for a in (0, 1):
        chosen = {f: x for f, x in coefficients.items() if f.kind == "G" and f.a == a}
        if chosen:
            W_KQ = sum(
                (placed(float(x) * np.eye(n), 1 + f.b, 1 + f.c) for f, x in chosen.items()), np.zeros((3 * n,) * 2)
            )
            found.append((W_KQ, placed(np.eye(n), 0, 1 + a)))
    return found


def trace_heads(coefficients: Mapping[Feature, Any], n: int) -> list[tuple[FloatArray, FloatArray]]:
    """n^2 heads for each block of u that occurs."""
    found = []
    for a in (0, 1):
        chosen = {f: x for f, x in coefficients.items() if f.kind == "tr" and f.a == a}
        for i, j in product(range(n), repeat=2) if chosen else ():
            found.append((keys_and_queries(chosen, unit(j, i, n)), placed(unit(i, j, n), 0, 1 + a)))
    return found


def keys_and_queries(chosen: Mapping[Feature, Any], block: FloatArray) -> FloatArray:
    """W_KQ with the block times each coefficient, where its feature has v and w."""
    total = np.zeros((3 * len(block), 3 * len(block)))
    for feature, x in chosen.items():
        total += placed(float(x) * block, 1 + feature.b, 1 + feature.c)
    return total


def placed(block: FloatArray, row: int, column: int) -> FloatArray:
    """A 3n x 3n matrix with one block."""
    n = len(block)
    matrix = np.zeros((3 * n, 3 * n))
    matrix[row * n : (row + 1) * n, column * n : (column + 1) * n] = block
    return matrix


def unit(i: int, j: int, n: int) -> FloatArray:
    """E_ij."""
    matrix = np.zeros((n, n))
    matrix[i, j] = 1.0
    return matrix
