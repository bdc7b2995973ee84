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
    gradients      norms of every product of the chain rule, with the errors of its factors
Every bound is doubled, for terms of second order and for its own rounding. In words: the roundings of a step times the
condition number of H_t, times u.
"""

from __future__ import annotations

from dataclasses import dataclass

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


# Gradients of sum_t g_t.o_t, by norms


@dataclass(frozen=True)
class Solved:
    """At one t: norms of x = R q and u = Phi^T g, and bounds on the norms of their errors."""

    x: float
    off_x: float
    u: float
    off_u: float


Bounds = dict[str, list[float]]


def gradient_bounds(
    keys: FloatArray, values: FloatArray, queries: FloatArray, regulariser: float, forget: FloatArray, pulls: FloatArray
) -> Bounds:
    """For the direct form: on the norms of the errors of d/dk_t, d/dv_t, d/dq_t, d/dgamma_t (T each), d/dlambda."""
    norm, found = np.linalg.norm, []
    few = (keys.shape[1] + values.shape[1] + 8) * U
    all_sums = sums_of(keys, values, regulariser, forget)
    for at, query, g in zip(all_sums[1:], queries, pulls, strict=True):
        R, Phi, off_Phi = (float(norm(one)) for one in (at.R, at.Phi, error_of_weights(at)))
        x, size = R * float(norm(query)), float(norm(g))
        off = 2 * (R * float(norm(error_of_system(at))) + few)  # relative error of the two solves with H
        found.append(Solved(x, off * x, Phi * size, (off_Phi + few * Phi) * size))
    return passed_back(keys, values, regulariser, forget, pulls, found, all_sums, chunk=1)


def passed_back(
    keys: FloatArray,
    values: FloatArray,
    regulariser: float,
    forget: FloatArray,
    pulls: FloatArray,
    solved: list[Solved],
    all_sums: list[Sums],
    chunk: int,
) -> Bounds:
    """What errors of x and u come to in the gradients: those of Bbar and Pbar, their products, and the gates' sums.

    The derivative in a gate is an inner product with the sums at the start of its chunk, and what the steps before it
    in the chunk add to that.
    """
    norm, T = np.linalg.norm, len(keys)
    found: Bounds = {name: [0.0] * T for name in ("keys", "values", "queries", "forget")}
    few = (keys.shape[1] + values.shape[1] + T + 8) * U
    B = P = off_B = off_P = gained = 0.0  # sizes of the two adjoint sums, of their errors, of a chunk's further terms
    for t in range(T, 0, -1):
        at, before = solved[t - 1], all_sums[t - 1]
        key, value, g = (float(norm(one[t - 1])) for one in (keys, values, pulls))
        B, P = B + g * at.x, P + at.u * at.x
        off_B, off_P = off_B + g * at.off_x + few * B, off_P + at.off_u * at.x + at.u * at.off_x + few * P
        H, G = float(norm(before.H_size)), float(norm(before.G_size))
        of_sums = before.roundings * U + few * keys.shape[1] * values.shape[1]
        found["keys"][t - 1] = off_B * value + 2 * off_P * key + few * (B * value + 2 * P * key)
        found["values"][t - 1] = off_B * key + few * B * key
        found["queries"][t - 1] = at.off_u
        paired = off_B * G + off_P * H + of_sums * (B * G + P * H)
        gained = (0.0 if t % chunk == 0 else gained) + key * found["keys"][t - 1] + value * found["values"][t - 1]
        gate = float(forget[t - 1])
        found["forget"][t - 1] = paired if chunk == 1 else paired + gained
        B, P, off_B, off_P = gate * B, gate * P, gate * off_B, gate * off_P
    if chunk > 1:  # gate times derivative is a sum from the chunk's start, bounded by all that the chunk adds
        found["forget"] = [found["forget"][t - t % chunk] / float(forget[t]) for t in range(T)]
    found["regulariser"] = [keys.shape[1] * (off_P + few * P) / regulariser**2]
    return {name: [2 * one for one in bounds] for name, bounds in found.items()}


# The chunkwise form


@dataclass(frozen=True)
class Chunk:
    """Norms of one chunk: of M, G M^T, z and w, of zeta_t0 (C), and the relative error of what is solved with them."""

    M: float
    weights: float
    z: float
    w: float
    zeta: FloatArray
    off: float


def chunk_norms(at: Sums, keys: FloatArray, values: FloatArray, forget: FloatArray) -> Chunk:
    """Of the chunk of these steps that starts from `at`.

    o_t = G M^T qbar + sum_s w_s (z_s.qbar) has the factors M = L^-1 of a chunk's H and z, w by the Cholesky factor of
    its A. A Cholesky factor of size n and its inverse are exact for a matrix that is off by 10 n^2 u of its norm or
    less, so they are off by 10 n^2 u kappa, relative to norms [higham2002accuracy, Theorems 10.3 and 8.5]; kappa(A) is
    taken after scaling A to a unit diagonal, which changes no rounding in its factor. What H is off by moves
    A = Z + K M^T M K^T by as much, relative to |A|, and A^-1 is at most 1/zeta. z, w, M and G M^T enter as products of
    at most four.
    """
    norm, d, C = np.linalg.norm, keys.shape[1], len(keys)
    M = np.linalg.inv(np.linalg.cholesky(at.H))
    zeta, turned, weights = np.cumprod(forget), keys @ M.T, at.G @ M.T
    A = turned @ turned.T + np.diag(zeta)
    scale, L = np.sqrt(np.diag(A)), np.linalg.cholesky(A)
    z, w = (float(norm(np.linalg.solve(L, one))) for one in (turned, values - turned @ weights.T))
    of_H = (10 * d * d + at.roundings * d) * float(norm(at.H_size) * norm(at.R))
    of_A = 10 * C * C * float(np.linalg.cond(A / np.outer(scale, scale)))
    off = 8 * U * (of_H * (1 + float(norm(A)) / float(zeta.min())) + of_A)
    return Chunk(float(norm(M)), float(norm(weights)), z, w, np.asarray(zeta, dtype=np.float64), off)


def chunk_bounds(
    keys: FloatArray, values: FloatArray, queries: FloatArray, regulariser: float, forget: FloatArray, chunk: int
) -> FloatArray:
    """On |do_t| of `outputs_by_chunks` with chunks of that many steps, (T, m), by norms."""
    all_sums, found = sums_of(keys, values, regulariser, forget), np.zeros((len(keys), values.shape[1]))
    for first in range(0, len(keys), chunk):
        part = slice(first, first + chunk)
        one = chunk_norms(all_sums[first], keys[part], values[part], forget[part])
        size = (one.weights + one.w * one.z) * one.M * np.linalg.norm(queries[part], axis=1)
        found[part] = (one.off * size)[:, None]
    return 2 * found


def chunk_gradient_bounds(
    keys: FloatArray,
    values: FloatArray,
    queries: FloatArray,
    regulariser: float,
    forget: FloatArray,
    pulls: FloatArray,
    chunk: int,
) -> Bounds:
    """As `gradient_bounds`, for `outputs_by_chunks`: R q = M^T (qbar - sum z (z.qbar))/zeta, Phi^T g alike."""
    all_sums, solved, norm = sums_of(keys, values, regulariser, forget), [], np.linalg.norm
    for first in range(0, len(keys), chunk):
        part = slice(first, first + chunk)
        one = chunk_norms(all_sums[first], keys[part], values[part], forget[part])
        for zeta, query, g in zip(one.zeta, queries[part], pulls[part], strict=True):
            x = one.M**2 * (1 + one.z**2) * float(norm(query)) / float(zeta)
            u = (one.weights + one.w * one.z) * one.M * float(norm(g))
            solved.append(Solved(x, one.off * x, u, one.off * u))
    return passed_back(keys, values, regulariser, forget, pulls, solved, all_sums, chunk)
