r"""Least squares on sequences of keys and values in python-flint's rational numbers, from their literal sums.

Main statements
    weights         B_t P_t^-1 with P_t = (prod gamma)/lambda I + sum_i zeta_ti k_i k_i^T, B_t = sum_i zeta_ti v_i k_i^T
    slope           dL_t/dPhi of the literal objective, by central differences along every entry, exact for a quadratic
    derivative      of B_t P_t^-1 along a direction, from blocks [[a, da], [0, a]]: their sums, products and inverses
                    carry the derivative in the upper right corner
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import flint


@dataclass(frozen=True)
class Sequence:
    """k_t (d, 1), v_t (m, 1), q_t (d, 1) as fmpq_mat, gates and lambda as fmpq."""

    keys: list[Any]
    values: list[Any]
    queries: list[Any]
    gates: list[Any]
    regulariser: Any

    def __len__(self) -> int:
        return len(self.keys)


def random_sequence(draw: random.Random, T: int, d: int, m: int) -> Sequence:
    """Whole numbers below 2^20 over another one; gates in (0, 1], lambda > 0."""

    def column(size: int) -> Any:
        return flint.fmpq_mat(size, 1, [flint.fmpq(draw.randrange(-(2**20), 2**20), 2**10) for _ in range(size)])

    def positive() -> Any:
        return flint.fmpq(draw.randrange(1, 2**20), 2**10)

    gates = [flint.fmpq(draw.randrange(1, 2**20 + 1), 2**20) for _ in range(T)]
    keys, values, queries = ([column(size) for _ in range(T)] for size in (d, m, d))
    return Sequence(keys, values, queries, gates, positive())


def identity(size: int, factor: Any) -> Any:
    """A multiple of the identity."""
    return flint.fmpq_mat(size, size, [factor if i == j else 0 for i in range(size) for j in range(size)])


def discount(sequence: Sequence, t: int, i: int) -> Any:
    """zeta_ti."""
    product = flint.fmpq(1)
    for gate in sequence.gates[i:t]:
        product = product * gate
    return product


def weights(sequence: Sequence, t: int) -> Any:
    """B_t P_t^-1."""
    cross, precision = sums(sequence, t)
    return cross * precision.inv()


def sums(sequence: Sequence, t: int) -> tuple[Any, Any]:
    """(B_t, P_t), term by term."""
    d, m = sequence.keys[0].nrows(), sequence.values[0].nrows()
    cross = flint.fmpq_mat(m, d)
    precision = identity(d, discount(sequence, t, 0) / sequence.regulariser)
    for i in range(1, t + 1):
        row = sequence.keys[i - 1].transpose() * discount(sequence, t, i)
        cross, precision = cross + sequence.values[i - 1] * row, precision + sequence.keys[i - 1] * row
    return cross, precision


def objective(sequence: Sequence, t: int, Phi: Any, regulariser: Any) -> Any:
    """L_t(Phi), term by term; `regulariser` multiplies |Phi|_F^2."""
    total = regulariser * square(Phi)
    for i in range(1, t + 1):
        error = sequence.values[i - 1] - Phi * sequence.keys[i - 1]
        total += discount(sequence, t, i) / 2 * square(error)
    return total


def square(matrix: Any) -> Any:
    """The sum of the squares of the entries."""
    return sum((entry * entry for entry in matrix.entries()), flint.fmpq(0))


def slope(sequence: Sequence, t: int, Phi: Any) -> list[Any]:
    """dL_t/dPhi, entry by entry."""
    found, ridge = [], discount(sequence, t, 0) / (2 * sequence.regulariser)
    for i in range(Phi.nrows()):
        for j in range(Phi.ncols()):
            unit = flint.fmpq_mat(Phi.nrows(), Phi.ncols())
            unit[i, j] = flint.fmpq(1)
            up, down = (objective(sequence, t, Phi + sign * unit, ridge) for sign in (1, -1))
            found.append((up - down) / 2)
    return found


def blocks(value: Any, change: Any) -> Any:
    """[[a, da], [0, a]]."""
    rows, cols = value.nrows(), value.ncols()
    found = flint.fmpq_mat(2 * rows, 2 * cols)
    for i in range(rows):
        for j in range(cols):
            found[i, j] = found[rows + i, cols + j] = value[i, j]
            found[i, cols + j] = change[i, j]
    return found


def derivative(sequence: Sequence, along: Sequence, t: int) -> Any:
    """d/deps of B_t P_t^-1 at sequence + eps along."""
    d, m = sequence.keys[0].nrows(), sequence.values[0].nrows()
    precision = blocks(identity(d, sequence.regulariser), identity(d, along.regulariser)).inv()
    cross = flint.fmpq_mat(2 * m, 2 * d)
    for i in range(t):
        key, value = blocks(sequence.keys[i], along.keys[i]), blocks(sequence.values[i], along.values[i])
        row = blocks(sequence.keys[i].transpose(), along.keys[i].transpose())
        gates = sequence.gates[i], along.gates[i]
        precision = blocks(*(identity(d, gate) for gate in gates)) * precision + key * row
        cross = blocks(*(identity(m, gate) for gate in gates)) * cross + value * row
    whole = cross * precision.inv()
    return flint.fmpq_mat(m, d, [whole[i, d + j] for i in range(m) for j in range(d)])
