r"""What float64 may lose in the mesa layer: running error bounds for its plain forms, by norms and by entries.

With u = 2^-53, H_t and G_t the sums of `least_squares_layer` and R_t = H_t^-1, to first order in u:
Main statements
    sums           an entry of H_t or G_t passes 2 t + 1 roundings: |dH_t| <= (2 t + 1) u |H|_t, with |H|_t the same sum
                   of absolute values
    direct         solving by elimination with row exchanges is exact for H_t + E, |E| <= 3 d u |L| |U|
                   [higham2002accuracy, Theorem 9.4], where |L| <= 1 and |U| <= 2^(d-1) max |H| entrywise; so
                   |dPhi_t| <= (|dG_t| + |Phi_t| (|dH_t| + E)) |R_t|
    recursion      a step adds the roundings D_t of its own terms, entry by entry, and maps what is there by
                   dR -> gamma R_t H_{t-1} dR H_{t-1} R_t, which does not grow in the norm |H_t^(1/2) dR H_t^(1/2)|,
                   since gamma H_{t-1} <= H_t; so the relative error of R_t is at most the sum of the relative sizes of
                   D_1 .. D_t
    gradients      of the direct form: norms of every product of the chain rule, with the relative errors of its factors
Every bound is doubled, for terms of second order and for its own rounding. In words: the roundings of a step times the
condition number of H_t, times u.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
U = float(np.finfo(np.float64).eps) / 2


@dataclass(frozen=True)
class Sums:
    """At one t: H, G, R, Phi, the sums of absolute values |H| and |G|, and 2 t + 1."""

    H: FloatArray
    G: FloatArray
    R: FloatArray
    Phi: FloatArray
    H_size: FloatArray
    G_size: FloatArray
    roundings: int


def sums_of(keys: FloatArray, values: FloatArray, regulariser: float, forget: FloatArray) -> list[Sums]:
    """The sums for t = 0 .. T."""
    d, m = keys.shape[1], values.shape[1]
    H, G = np.eye(d) / regulariser, np.zeros((m, d))
    H_size, G_size = H, G
    found = [Sums(H, G, np.eye(d) * regulariser, G, H, G, 1)]
    for t, (key, value, gate) in enumerate(zip(keys, values, forget, strict=True), start=1):
        H, H_size = gate * H + np.outer(key, key), gate * H_size + np.outer(abs(key), abs(key))
        G, G_size = gate * G + np.outer(value, key), gate * G_size + np.outer(abs(value), abs(key))
        R = np.linalg.inv(H)
        found.append(Sums(H, G, R, G @ R, H_size, G_size, 2 * t + 1))
    return found


def error_of_system(at: Sums) -> FloatArray:
    """A bound on |dH| + E, entry by entry."""
    d = len(at.H)
    growth: float = 3 * d * d * 2.0 ** (d - 1)
    return U * (at.roundings * at.H_size + growth * float(np.max(abs(at.H))))


def error_of_weights(at: Sums) -> FloatArray:
    """A bound on |dPhi| of the direct solve, entry by entry."""
    return (U * at.roundings * at.G_size + abs(at.Phi) @ error_of_system(at)) @ abs(at.R)


def direct_bounds(
    keys: FloatArray, values: FloatArray, queries: FloatArray, regulariser: float, forget: FloatArray
) -> FloatArray:
    """On |do_t| of `outputs_by_direct_solve`, (T, m)."""
    found = []
    for at, query in zip(sums_of(keys, values, regulariser, forget)[1:], queries, strict=True):
        found.append((error_of_weights(at) + (keys.shape[1] + 2) * U * abs(at.Phi)) @ abs(query))
    return 2 * np.array(found)


def root(matrix: FloatArray) -> FloatArray:
    """The symmetric square root of a positive definite matrix."""
    eigenvalues, vectors = np.linalg.eigh(matrix)
    rooted: FloatArray = (vectors * np.sqrt(np.maximum(eigenvalues, 0))) @ vectors.T
    return rooted


def roundings_of_step(R: FloatArray, key: FloatArray, gate: float) -> FloatArray:
    """D: what one update of R rounds, entry by entry."""
    d = len(key)
    Rk, size_of_Rk = R @ key, abs(R) @ abs(key)
    off = d * U * size_of_Rk
    below, off_below = gate + key @ Rk, U * (2 * d * abs(key) @ size_of_Rk + gate + abs(key @ Rk))
    outer = np.outer(abs(Rk), abs(Rk)) / below
    change = 2 * np.outer(abs(Rk), off) / below + outer * (off_below / below + 3 * U)
    entries: FloatArray = (change + change.T) / 2 + 2 * U * (abs(R) + outer)
    return entries / gate


def recursion_bounds(
    keys: FloatArray, values: FloatArray, queries: FloatArray, regulariser: float, forget: FloatArray
) -> FloatArray:
    """On |do_t| of `outputs_by_recursion`, (T, m)."""
    all_sums = sums_of(keys, values, regulariser, forget)
    relative, found, d = 0.0, [], keys.shape[1]
    for before, at, key, query, gate in zip(all_sums, all_sums[1:], keys, queries, forget, strict=False):
        D = roundings_of_step(before.R, key, float(gate))
        spread = abs(root(at.H))
        relative += float(np.linalg.norm(spread @ D @ spread))
        of_inverse = np.linalg.norm(at.Phi @ root(at.H), axis=1) * relative * np.linalg.norm(root(at.R) @ query)
        of_products = U * ((at.roundings + d) * at.G_size @ abs(at.R) + d * at.G_size @ abs(at.R)) @ abs(query)
        found.append(of_inverse + of_products)
    return 2 * np.array(found)


def condition_numbers(keys: FloatArray, values: FloatArray, regulariser: float, forget: FloatArray) -> list[float]:
    """Of H_1 .. H_T, in the spectral norm."""
    return [float(np.linalg.cond(at.H)) for at in sums_of(keys, values, regulariser, forget)[1:]]


# Gradients of sum_t g_t.o_t by the direct form


def gradient_bounds(
    keys: FloatArray, values: FloatArray, queries: FloatArray, regulariser: float, forget: FloatArray, pulls: FloatArray
) -> dict[str, Any]:
    """On the Euclidean norm of the error of d/dk_t, d/dv_t, d/dq_t, d/dgamma_t (T each) and of d/dlambda."""
    norm, all_sums = np.linalg.norm, sums_of(keys, values, regulariser, forget)
    found: dict[str, Any] = {name: [0.0] * len(keys) for name in ("keys", "values", "queries", "forget")}
    Bbar = Pbar = dB = dP = 0.0  # sizes of the two adjoint sums, and of their errors
    few = (keys.shape[1] + values.shape[1] + 8) * U
    for t in range(len(keys), 0, -1):
        at, before = all_sums[t], all_sums[t - 1]
        key, value, query, g = (float(norm(one[t - 1])) for one in (keys, values, queries, pulls))
        R, Phi, dPhi = (float(norm(one)) for one in (at.R, at.Phi, error_of_weights(at)))
        off = R * float(norm(error_of_system(at))) + few  # relative error of a solve with H
        Bbar, dB = Bbar + g * query * R, dB + 2 * off * g * query * R
        Pbar, dP = Pbar + Phi * g * query * R, dP + (dPhi + 2 * off * Phi) * g * query * R
        dB, dP = dB + few * Bbar, dP + few * Pbar
        H, G = float(norm(before.H_size)), float(norm(before.G_size))
        of_sums = before.roundings * U + few * len(keys[0]) * len(values[0])
        found["keys"][t - 1] = dB * value + 2 * dP * key + few * (Bbar * value + 2 * Pbar * key)
        found["values"][t - 1] = dB * key + few * Bbar * key
        found["queries"][t - 1] = dPhi * g + few * Phi * g
        found["forget"][t - 1] = dB * G + dP * H + of_sums * (Bbar * G + Pbar * H)
        gate = float(forget[t - 1])
        Bbar, Pbar, dB, dP = gate * Bbar, gate * Pbar, gate * dB, gate * dP
    found["regulariser"] = [len(keys[0]) * (dP + few * Pbar) / regulariser**2]
    return {name: [2 * one for one in bounds] for name, bounds in found.items()}


# The chunkwise form


def chunk_bounds(
    keys: FloatArray,
    values: FloatArray,
    queries: FloatArray,
    regulariser: float,
    forget: FloatArray,
    chunk: int,
) -> FloatArray:
    """On |do_t| of `outputs_by_chunks` with chunks of that many steps, (T, m), by norms.

    o_t = G M^T qbar + sum_s w_s (z_s.qbar) has the factors M = L^-1 of a chunk's H and z, w by the Cholesky factor of
    its A. A Cholesky factor of size n and its inverse are exact for a matrix that is off by 10 n^2 u of its norm or
    less, so they are off by 10 n^2 u kappa, relative to norms [higham2002accuracy, Theorems 10.3 and 8.5]; kappa(A) is
    taken after scaling A to a unit diagonal, which changes no rounding in its factor.
    """
    all_sums, found = sums_of(keys, values, regulariser, forget), np.zeros((len(keys), values.shape[1]))
    norm, d = np.linalg.norm, keys.shape[1]
    for first in range(0, len(keys), chunk):
        part, at = slice(first, first + chunk), all_sums[first]
        M = np.linalg.inv(np.linalg.cholesky(at.H))
        zeta, turned, weights = np.cumprod(forget[part]), keys[part] @ M.T, at.G @ M.T
        A = turned @ turned.T + np.diag(zeta)
        scale = np.sqrt(np.diag(A))
        L = np.linalg.cholesky(A)
        rows = [float(norm(np.linalg.solve(L, one))) for one in (turned, values[part] - turned @ weights.T)]
        of_H = (10 * d * d + at.roundings * d) * float(norm(at.H_size) * norm(at.R))
        of_A = 10 * chunk * chunk * float(np.linalg.cond(A / np.outer(scale, scale)))
        # z, w, M and G M^T enter as products of at most four, and A by K M^T twice
        size = (float(norm(weights)) + rows[0] * rows[1]) * float(norm(M)) * norm(queries[part], axis=1)
        found[part] = (8 * U * (of_H * (1 + float(norm(A)) / float(zeta.min())) + of_A) * size)[:, None]
    return 2 * found
