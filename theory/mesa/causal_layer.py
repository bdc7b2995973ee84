r"""One layer of causal linear attention on tokens (a_t, s_t, s_{t-1}), as a polynomial in the sequence.

Statement
    increment    what one head adds to the first block at t: sum_{t' <= t} (V z_t') (z_t'^T G z_t), z_t = (s_t, s_{t-1})
    merged       the full tokens are e_t = (Phi_0 s_t, s_t, s_{t-1}) = J z_t with s_0 = 0: of the first block row V' of
                 P W_V and of G' = W_K^T W_Q only V = V' J and G = J^T G' J enter
Letters
    y, x           s_{t'} and s_{t'-1} of one summed token t' <= t; x = 0 at t' = 1
    s_t, s_t-1     those of the token that asks
Conventions
    No softmax, no factor 1/t, t' = t among the keys; the layer adds to the residual stream, and the first block is
    the prediction of s_{t+1}.
Reference
    [vonoswald2023uncovering, Proposition 1].
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..algebra.evaluation import Array
from ..algebra.trace_polynomials import TracePolynomial, matrix, scalar, sum_over_samples, vector, zero

PHI_0 = matrix("Phi_0")
Y, X = vector("y"), vector("x")
NOW, BEFORE = vector("s_t"), vector("s_t-1")
SAMPLES = ("y", "x")
ETA = scalar("eta")

Blocks = Sequence[TracePolynomial]
Grid = Sequence[Sequence[TracePolynomial]]


def increment(value: Blocks, key_query: Grid) -> TracePolynomial:
    """What the layer adds to the first block, (d x 1)."""
    key, query = (Y, X), (NOW, BEFORE)
    read = sum((V * part for V, part in zip(value, key, strict=True)), start=zero("d", "1"))
    score = zero()
    for i in range(2):
        for j in range(2):
            score = score + key[i].T * key_query[i][j] * query[j]
    return sum_over_samples(read * score, SAMPLES)


def any_weights() -> tuple[Blocks, Grid]:
    """A letter for each block: s for s_t, p for the previous one."""
    return [matrix("V_s"), matrix("V_p")], [[matrix(f"G_{i}{j}") for j in "sp"] for i in "sp"]


# Instances: rational sequences


def draw_fractions(draw: random.Random, rows: int, cols: int) -> Array:
    """Independent rationals with numerators up to 9, denominators 1 to 3, none of them 0."""
    entries = [Fraction(draw.choice((-1, 1)) * draw.randint(1, 9), draw.randint(1, 3)) for _ in range(rows * cols)]
    return np.array(entries, dtype=object).reshape(rows, cols)


def rational_sequence(name: str, size: int, length: int) -> Array:
    """s_1 .. s_T as rows, (T, n)."""
    return draw_fractions(random.Random(f"sequence/{name}"), length, size)


def before(sequence: Array) -> Array:
    """s_0 .. s_{T-1} with s_0 = 0, (T, n)."""
    return np.concatenate([0 * sequence[:1], sequence[:-1]])


def columns(rows: Array) -> list[Array]:
    """The rows as columns (n, 1)."""
    return [row.reshape(-1, 1) for row in rows]


def letters_at(sequence: Array, t: int) -> tuple[dict[str, Any], dict[str, list[Array]]]:
    """Values of the letters at t = 1 .. T: those of the asking token, and the summed samples y, x."""
    earlier = before(sequence)
    own = {"s_t": columns(sequence)[t - 1], "s_t-1": columns(earlier)[t - 1]}
    return own, {"y": columns(sequence[:t]), "x": columns(earlier[:t])}


def literal_increment(sequence: Array, Phi_0: Array, value: Array, key_query: Array) -> Array:
    """The first block of the increments at every t (T, n), from tokens (T, 3n) and full weights (3n, 3n)."""
    n = sequence.shape[1]
    tokens = np.concatenate([sequence @ Phi_0.T, sequence, before(sequence)], axis=1)
    rows = []
    for t in range(len(tokens)):
        seen = tokens[: t + 1]
        rows.append(value[:n] @ (seen.T @ (seen @ (key_query @ tokens[t]))))
    return np.array(rows)


FIRST_ROW = tuple(f"V_{i}" for i in (1, 2, 3))
GRID = tuple(f"G_{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3))


def full_weights(blocks: Mapping[str, Any], size: int) -> tuple[Array, Array]:
    """(P W_V, W_K^T W_Q), both (3n, 3n), of the blocks V_i and G_ij that are not 0."""
    whole = {name: blocks.get(name, np.zeros((size, size), dtype=int).astype(object)) for name in (*FIRST_ROW, *GRID)}
    first = np.concatenate([whole[name] for name in FIRST_ROW], axis=1)
    rows = [np.concatenate([whole[f"G_{i}{j}"] for j in (1, 2, 3)], axis=1) for i in (1, 2, 3)]
    return np.concatenate([first, 0 * first, 0 * first]), np.concatenate(rows)


def merged(blocks: Mapping[str, Any], Phi_0: Array) -> dict[str, Array]:
    """V' J and J^T G' J of all the blocks, by the names of `any_weights`."""
    value, key_query = full_weights(blocks, len(Phi_0))
    n, eye = len(Phi_0), np.eye(len(Phi_0), dtype=int).astype(object)
    J = np.concatenate([np.concatenate([Phi_0, eye, 0 * eye]), np.concatenate([0 * eye, 0 * eye, eye])], axis=1)
    V, G = value[:n] @ J, J.T @ key_query @ J
    parts = {"s": slice(0, n), "p": slice(n, 2 * n)}
    found = {f"V_{j}": V[:, part] for j, part in parts.items()}
    return found | {f"G_{i}{j}": G[rows, part] for i, rows in parts.items() for j, part in parts.items()}
