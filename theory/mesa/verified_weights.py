r"""Phi_t of a mesa layer for given floats, to double precision at any condition number.

Main statement
    With M_t = lambda P_t = gamma_t M_{t-1} + lambda k_t k_t^T, M_0 = I, and N_t = lambda B_t, Phi_t M_t = N_t. Floats
    are dyadic rationals, so M_t and N_t are whole numbers over a power of two and are carried exactly. Any X solves the
    system to within
        |X - Phi_t|_F <= |N_t - X M_t|_F / zeta_t0,
    for M_t = zeta_t0 I + lambda S_t has no eigenvalue below zeta_t0. The residual is computed exactly too, so the bound
    needs no estimate of the condition number; X is sought with more digits until the bound is below 2^-60 |X|_F.
The returned doubles are X rounded once. Elimination without pivoting is enough for positive definite M_t: where fixed
point loses the sign of a pivot, more digits follow.
Assumptions
    lambda > 0 and 0 < gamma_t <= 1. gamma_t = 0 is refused: then L_t has no regulariser left and its minimum may not be
    unique.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..algebra.evaluation import Array
from ..one_layer.assumptions import AssumptionError, FloatArray, check_positive, real_array

CLOSE = 60  # bits to which |X - Phi_t|_F is known in units of |X|_F
MOST_WORK = 40_000_000  # multiplications of whole numbers; about half a minute


@dataclass(frozen=True)
class Dyadic:
    """Whole numbers over a power of two: numbers 2^-shift."""

    numbers: Array
    shift: int


def dyadic(floats: FloatArray) -> Dyadic:
    """Floats exactly."""
    ratios = [float(entry).as_integer_ratio() for entry in floats.reshape(-1)]
    shift = max((below.bit_length() - 1 for _, below in ratios), default=0)
    whole = [above << (shift - below.bit_length() + 1) for above, below in ratios]
    numbers = np.empty(len(whole), dtype=object)
    numbers[:] = whole
    return Dyadic(numbers.reshape(floats.shape), shift)


def systems(keys: FloatArray, values: FloatArray, regulariser: float, forget: FloatArray) -> Iterator[tuple[Any, ...]]:
    """(M_t, N_t, zeta_t0) for t = 1..T as whole numbers, all three over the same power of two."""
    K, V, F, lam = dyadic(keys), dyadic(values), dyadic(forget), dyadic(np.array([regulariser]))
    d, m = keys.shape[1], values.shape[1]
    shift = lam.shift + K.shift + max(K.shift, V.shift)
    zeta = 1 << shift
    M, N = np.eye(d, dtype=int).astype(object) * zeta, np.zeros((m, d), dtype=int).astype(object)
    for key, value, gate in zip(K.numbers, V.numbers, F.numbers, strict=True):
        M, N, zeta = M * gate, N * gate, zeta * gate
        shift += F.shift
        scaled = key * lam.numbers[0]
        M = M + np.outer(scaled, key) * (1 << (shift - lam.shift - 2 * K.shift))
        N = N + np.outer(value, scaled) * (1 << (shift - lam.shift - K.shift - V.shift))
        yield M, N, zeta


def eliminated(M: Array, N: Array, bits: int) -> Array:
    """X 2^bits with X M ~ N, in whole numbers, by elimination in fixed point. Raises ValueError at a pivot <= 0."""
    size = max(int(entry).bit_length() for entry in M.diagonal()) - bits
    rows = np.hstack([M, N.T])
    rows = rows >> size if size > 0 else rows << -size  # diagonal entries below 2^bits
    d = len(M)
    for c in range(d):
        if rows[c, c] <= 0:
            raise ValueError("a pivot has lost its sign")
        factors = (rows[c + 1 :, c] << bits) // rows[c, c]
        rows[c + 1 :, c:] = rows[c + 1 :, c:] - ((factors[:, None] * rows[c, c:][None, :]) >> bits)
    solution = np.zeros((d, N.shape[0]), dtype=object)
    for c in reversed(range(d)):
        rest = (rows[c, d:] << bits) - rows[c, c + 1 : d] @ solution[c + 1 :]
        solution[c] = rest // rows[c, c]
    return solution.T


def is_close(X: Array, bits: int, M: Array, N: Array, zeta: int) -> bool:
    """Whether |N - X M|_F/zeta <= 2^-CLOSE |X|_F for X 2^-bits, exactly."""
    residual = (N << bits) - X @ M
    left, right = (sum(int(entry) ** 2 for entry in part.reshape(-1)) for part in (residual, X))
    return left << (2 * CLOSE) <= right * zeta * zeta


def solved(M: Array, N: Array, zeta: int) -> FloatArray:
    """Phi = N M^-1 in doubles."""
    # trace(M)/zeta bounds the condition number; N may be smaller than M by any factor.
    condition = (sum(M.diagonal()) // zeta).bit_length()
    largest = max(int(abs(entry)).bit_length() for entry in N.reshape(-1))
    smaller = max(0, int(max(M.diagonal())).bit_length() - largest) if largest else 0
    bits = 2 * CLOSE + 2 * condition + smaller
    while True:
        try:
            X = eliminated(M, N, bits)
            if is_close(X, bits, M, N, zeta):
                return rounded(X, bits)
        except ValueError:
            pass
        bits *= 2


def rounded(X: Array, bits: int) -> FloatArray:
    """X 2^-bits in doubles, each rounded once. Raises OverflowError beyond their range."""
    flat = [float(Fraction(int(entry), 1 << bits)) for entry in X.reshape(-1)]
    return np.array(flat).reshape(X.shape)


def checked(keys: Any, values: Any, regulariser: Any, forget: Any) -> tuple[FloatArray, FloatArray, float, FloatArray]:
    """The parameters of a layer as arrays. Raises AssumptionError."""
    K, V = (of_sequence(value, name) for value, name in ((keys, "keys"), (values, "values")))
    if len(K) != len(V):
        raise AssumptionError(
            f"keys and values need one row for each time, got {len(K)} and {len(V)} rows; give both for the same times"
        )
    F = gates(forget, "forget", len(K))
    if F.min() <= 0 or F.max() > 1:
        wrong = F.min() if F.min() <= 0 else F.max()
        raise AssumptionError(
            f"forget needs gates above 0 and at most 1, got {wrong:g}; at a gate of 0 nothing is left of the "
            "regulariser and the least squares need not have one solution"
        )
    work = len(K) * K.shape[1] ** 2 * (K.shape[1] + 3 * V.shape[1])
    if work > MOST_WORK:
        raise AssumptionError(
            f"keys of shape {K.shape} and values of shape {V.shape} need {work:.1g} multiplications in exact "
            f"arithmetic, more than {MOST_WORK:.0g}; give a shorter sequence, or use the layer itself"
        )
    return K, V, check_positive(regulariser, "regulariser"), F


def gates(value: Any, name: str, times: int) -> FloatArray:
    """One number for each time, given as such or as one for all. Raises AssumptionError."""
    array = real_array(value, name)
    array = np.full(times, float(array)) if array.ndim == 0 else array
    if array.shape != (times,):
        raise AssumptionError(
            f"{name} needs one gate for each of the {times} times, or one number, got shape {array.shape}; "
            "give a list as long as keys"
        )
    return array


def of_sequence(value: Any, name: str) -> FloatArray:
    """One row for each time. Raises AssumptionError."""
    array = real_array(value, name)
    if array.ndim != 2 or 0 in array.shape:
        raise AssumptionError(
            f"{name} needs the shape (times, size) with at least one of each, got {array.shape}; give one row per time"
        )
    return array


def mesa_weights(keys: Any, values: Any, regulariser: Any, forget: Any = 1.0) -> FloatArray:
    """Phi_t for all t, (T, m, d), each to within 2^-60 |Phi_t|_F before the rounding to doubles.

    keys (T, d), values (T, m), regulariser lambda > 0, forget (T,) or one number in (0, 1]. Raises AssumptionError.

    >>> mesa_weights([[1.0], [1.0]], [[1.0], [1.0]], 1.0).tolist()
    [[[0.5]], [[0.6666666666666666]]]
    """
    found = [solved(*system) for system in systems(*checked(keys, values, regulariser, forget))]
    return np.array(found)


def decayed_sums(keys: Any, values: Any, regulariser: Any, forget: Any = 1.0) -> FloatArray:
    """B_t = sum_i zeta_ti v_i k_i^T for all t, (T, m, d): the weights of linear attention. Raises AssumptionError.

    >>> decayed_sums([[1.0], [1.0]], [[1.0], [1.0]], 1.0, 0.5).tolist()
    [[[1.0]], [[1.5]]]
    """
    K, V, lam, F = checked(keys, values, regulariser, forget)
    # N_t is lambda B_t, and the scale of a system is zeta_t0 over the product of the gates
    found = []
    for (_, N, zeta), gate in zip(systems(K, V, lam, F), exact_products(F), strict=True):
        scale = Fraction(zeta) / gate * Fraction(lam)
        found.append([[float(Fraction(int(entry)) / scale) for entry in row] for row in N])
    return np.array(found)


def exact_products(gates_: FloatArray) -> Iterator[Fraction]:
    """zeta_t0 for t = 1..T."""
    product = Fraction(1)
    for gate in gates_:
        product *= Fraction(float(gate))
        yield product


# The layer with a constant regulariser and input gates


def gated_systems(
    keys: FloatArray, values: FloatArray, penalty: FloatArray, forget: FloatArray, input_gate: FloatArray
) -> Iterator[tuple[Any, ...]]:
    """(H_t + diag(penalty), G_t, the least penalty) for t = 1..T as whole numbers over one power of two."""
    K, V, F, beta, ridge = (dyadic(one) for one in (keys, values, forget, input_gate, penalty))
    shift = beta.shift + K.shift + max(K.shift, V.shift)
    H = np.zeros((keys.shape[1],) * 2, dtype=int).astype(object)
    G = np.zeros((values.shape[1], keys.shape[1]), dtype=int).astype(object)
    for key, value, gate, given in zip(K.numbers, V.numbers, F.numbers, beta.numbers, strict=True):
        H, G, shift = H * gate, G * gate, shift + F.shift
        scaled = key * given
        H = H + np.outer(scaled, key) * (1 << (shift - beta.shift - 2 * K.shift))
        G = G + np.outer(value, scaled) * (1 << (shift - beta.shift - K.shift - V.shift))
        common = max(shift, ridge.shift)
        diagonal = ridge.numbers * (1 << (common - ridge.shift))
        up = 1 << (common - shift)
        yield H * up + np.diag(diagonal), G * up, min(diagonal)


def mesanet_weights(keys: Any, values: Any, penalty: Any, forget: Any = 1.0, input_gate: Any = 1.0) -> FloatArray:
    """G_t (H_t + diag(penalty))^-1 for all t, (T, m, d), as precise as `mesa_weights`: no eigenvalue is below the least
    penalty.

    keys (T, d), values (T, m), penalty (d) > 0, forget in [0, 1] and input_gate >= 0 (T) or one number each. Raises
    AssumptionError.

    >>> mesanet_weights([[1.0]], [[1.0]], [1.0], 1.0, 0.5).tolist()
    [[[0.3333333333333333]]]
    """
    K, V, _, _ = checked(keys, values, 1.0, 1.0)
    ridge = real_array(penalty, "penalty")
    if ridge.shape != (K.shape[1],) or ridge.min() <= 0:
        raise AssumptionError(
            f"penalty needs the {K.shape[1]} diagonal entries of Lambda, all above 0, got {ridge.tolist()}; without a "
            "regulariser the least squares need not have one solution"
        )
    F, beta = gates(forget, "forget", len(K)), gates(input_gate, "input_gate", len(K))
    if F.min() < 0 or F.max() > 1 or beta.min() < 0:
        raise AssumptionError(
            f"forget needs gates from 0 to 1 and input_gate none below 0, got forget from {F.min():g} to {F.max():g} "
            f"and input_gate from {beta.min():g}; a negative weight leaves the objective without a minimum"
        )
    return np.array([solved(*system) for system in gated_systems(K, V, ridge, F, beta)])
