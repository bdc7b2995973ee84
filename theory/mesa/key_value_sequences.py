r"""Sequences of keys and values in rational numbers, and what the mesa layer is defined by on them, sum by sum.

Main statements
    discounts            zeta_ti = gamma_{i+1} .. gamma_t, so zeta_tt = 1; zeta_t0 multiplies the regulariser
    objective            L_t(Phi) = 1/2 sum_{i<=t} zeta_ti |v_i - Phi k_i|^2 + zeta_t0/(2 lambda) |Phi|_F^2, term by
                         term
    statistics           B_t = sum_i zeta_ti v_i k_i^T and P_t = zeta_t0/lambda I + sum_i zeta_ti k_i k_i^T, as sums
    least_squares        B_t P_t^-1: the minimiser, from the sums and one linear system for each t
    tangent              its exact derivative along any direction in keys, values, lambda and gamma
These are the witnesses that the steps of the derivations are held against: nothing here is recursive.
Derivatives without limits
    (a, da) -> [[a, da], [0, a]] turns sums, products and inverses into those of matrices (d eps)^2 = 0; so the literal
    sums, made of such blocks, carry their derivative in the upper right corner, in rational numbers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..algebra.evaluation import Array, exact_inverse


@dataclass(frozen=True)
class KeyValueSequence:
    """k_t (d, 1), v_t (m, 1), q_t (d, 1) and gamma_t for t = 1..T as lists from t = 1, and lambda: exact numbers."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    queries: tuple[Array, ...]
    forget: tuple[Any, ...]
    regulariser: Any

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dimension(self) -> int:
        return len(self.keys[0])


def discount(sequence: KeyValueSequence, t: int, i: int) -> Any:
    """zeta_ti, a product of gates; 1 for i = t."""
    product = Fraction(1)
    for gate in sequence.forget[i:t]:
        product = product * gate
    return product


def objective(sequence: KeyValueSequence, t: int, Phi: Array) -> Any:
    """L_t(Phi), sum by sum."""
    total = discount(sequence, t, 0) / (2 * sequence.regulariser) * np.sum(Phi * Phi)
    for i in range(1, t + 1):
        error = sequence.values[i - 1] - Phi @ sequence.keys[i - 1]
        total = total + discount(sequence, t, i) / 2 * np.sum(error * error)
    return total


def statistics(sequence: KeyValueSequence, t: int) -> tuple[Array, Array]:
    """(B_t (m, d), P_t (d, d)) as sums."""
    d, m = sequence.dimension, len(sequence.values[0])
    cross = np.zeros((m, d), dtype=int).astype(object)
    precision = np.eye(d, dtype=int).astype(object) * (discount(sequence, t, 0) / sequence.regulariser)
    for i in range(1, t + 1):
        key, zeta = sequence.keys[i - 1], discount(sequence, t, i)
        cross, precision = cross + zeta * sequence.values[i - 1] @ key.T, precision + zeta * key @ key.T
    return cross, precision


def least_squares(sequence: KeyValueSequence, t: int) -> Array:
    """B_t P_t^-1, (m, d)."""
    cross, precision = statistics(sequence, t)
    solved: Array = cross @ exact_inverse(precision)
    return solved


# Derivatives


Blocks = Callable[[Array, Array], Array]


def lifted(value: Array, slope: Array) -> Array:
    """[[a, da], [0, a]]."""
    return np.block([[value, slope], [0 * value, value]])


def slope_of(block: Array) -> Array:
    """da of [[a, da], [0, a]]."""
    rows, cols = block.shape[0] // 2, block.shape[1] // 2
    return block[:rows, cols:]


def lifted_number(value: Any, slope: Any, size: int) -> Array:
    """A number as a multiple of the identity, lifted."""
    eye = np.eye(size, dtype=int).astype(object)
    return lifted(eye * value, eye * slope)


def tangent(sequence: KeyValueSequence, direction: KeyValueSequence, t: int) -> Array:
    """d/deps of B_t P_t^-1 at `sequence` + eps `direction`, (m, d), from the literal sums."""
    d, m = sequence.dimension, len(sequence.values[0])
    inverse = exact_inverse(lifted_number(sequence.regulariser, direction.regulariser, d))
    precision, cross = inverse, np.zeros((2 * m, 2 * d), dtype=int).astype(object)
    for i in range(t):
        key, value = lifted(sequence.keys[i], direction.keys[i]), lifted(sequence.values[i], direction.values[i])
        key_row = lifted(sequence.keys[i].T, direction.keys[i].T)
        gates = sequence.forget[i], direction.forget[i]
        precision = lifted_number(*gates, d) @ precision + key @ key_row
        cross = lifted_number(*gates, m) @ cross + value @ key_row
    return slope_of(cross @ exact_inverse(precision))


# Random rational instances


def random_column(draw: random.Random, size: int) -> Array:
    """Small rational entries."""
    return np.array([[Fraction(draw.randint(-6, 6), draw.randint(1, 3))] for _ in range(size)], dtype=object)


def random_sequence(seed: int | str, shape: Sequence[int] | None = None) -> KeyValueSequence:
    """Rational keys, values, queries, gates in (0, 1] and lambda > 0; shape = (T, d, m)."""
    draw = random.Random(f"key-value sequence/{seed}")
    T, d, m = shape or (draw.randint(3, 5), draw.randint(1, 3), draw.randint(1, 3))
    return KeyValueSequence(
        tuple(random_column(draw, d) for _ in range(T)),
        tuple(random_column(draw, m) for _ in range(T)),
        tuple(random_column(draw, d) for _ in range(T)),
        tuple(Fraction(draw.randint(1, 6), 6) for _ in range(T)),
        Fraction(draw.randint(1, 12), draw.randint(1, 4)),
    )


def random_matrix(seed: int | str, rows: int, cols: int) -> Array:
    """Small rational entries, (rows, cols)."""
    draw = random.Random(f"matrix/{seed}")
    return np.hstack([random_column(draw, rows) for _ in range(cols)])
