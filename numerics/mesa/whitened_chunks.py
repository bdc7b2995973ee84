r"""The mesa layer in chunks, exactly and without iterations: causal linear attention on whitened keys.

Let a chunk of C steps start from (H, G), Phi = G H^{-1}, and let Z = diag(zeta_t0). Its keys K (C, d), values V (C, m) move
the minimiser, by the matrix inversion lemma, at step t to

    Phi_t = Phi + (V_t - K_t Phi^T)^T (Z_t + K_t H^{-1} K_t^T)^{-1} K_t H^{-1},     K_t the first t rows of K.

The matrices inverted are the leading blocks of one, A = Z + K H^{-1} K^T = L L^T, and so are their Cholesky factors. With
whitened keys z_s and whitened residuals w_s, the rows of L^{-1} K H^{-1} and of L^{-1} (V - K Phi^T),

    Phi_t q_t = Phi q_t + sum_{s <= t} w_s (z_s . q_t),        R_t q_t = (H^{-1} q_t - sum_{s <= t} z_s (z_s . q_t)) / zeta_t0.

One Cholesky factor of H and one of A a chunk are all. H and G at the starts are plain decayed sums (`decayed_sums`), so
every chunk is solved at once, and none inherits the rounding of another's inverse.

Digits. Rounding H costs eps times its condition number. The Cholesky factorisation of A subtracts: A_tt falls to L_tt^2,
which costs eps A_tt / L_tt^2. This is large when a chunk starts from a nearly empty memory and has more than d keys, or when
much is forgotten in it; with C = 1 it is nothing. Both numbers come with the factors (`lost_in_chunks`, `condition_bounds`).

Main statements
    whitened          z, w and the factors, for all chunks
    chunk_outputs     Phi_t q_t
    transposed_outputs, solved_queries     Phi_t^T g_t and R_t q_t, which the gradients need
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .decayed_sums import Decays


class Whitened(NamedTuple):
    """The factors of n chunks of N sequences.

    inverse_factor: M (N, n, d, d), lower triangular, M^T M = H^{-1}. weights: Phi (N, n, m, d). keys, values: z (N, n, C, d)
    and w (N, n, C, m). lost: A_tt / L_tt^2 at its largest, (); condition: a bound on that of H at its largest, ().
    Both are infinite where a matrix is not positive definite in floating point.
    """

    inverse_factor: torch.Tensor
    weights: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    lost: torch.Tensor
    condition: torch.Tensor


def whitened(
    keys: torch.Tensor, values: torch.Tensor, H: torch.Tensor, G: torch.Tensor, decays: Decays
) -> Whitened:
    """z and w for keys (N, n, C, d), values (N, n, C, m) and H (N, n, d, d), G (N, n, m, d) at the chunks' starts."""
    d = keys.shape[-1]
    M, condition = inverse_factors(H)
    Phi = G @ M.mT @ M
    y = keys @ M.mT
    A = y @ y.mT
    A.diagonal(dim1=-2, dim2=-1).add_(decays.from_start.squeeze(-1))
    L, failed = torch.linalg.cholesky_ex(A)
    lost = (A.diagonal(dim1=-2, dim2=-1) / L.diagonal(dim1=-2, dim2=-1).square()).max()
    right = torch.cat([y @ M, values - keys @ Phi.mT], -1)
    # from the right and transposed: the layout that LAPACK takes without a copy
    rows = torch.linalg.solve_triangular(L.mT, right.mT, upper=True, left=False).mT
    lost = torch.where(failed.any(), torch.inf, lost)
    return Whitened(M, Phi, rows[..., :d], rows[..., d:], lost, condition)


def inverse_factors(H: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The inverse M of H's Cholesky factor, (..., d, d), and an upper bound on H's condition number at its largest, ().

    For symmetric H, |H|_2 <= |H|_inf and |H^{-1}|_2 = |M|_2^2 <= |M|_1 |M|_inf; the bound is at most d^{3/2} too large.
    """
    L, failed = torch.linalg.cholesky_ex(H)
    eye = torch.eye(H.shape[-1], dtype=H.dtype, device=H.device).expand_as(H)
    M = torch.linalg.solve_triangular(L, eye, upper=False)
    sizes = M.abs()
    bound = (H.abs().sum(-1).amax(-1) * sizes.sum(-1).amax(-1) * sizes.sum(-2).amax(-1)).max()
    return M, torch.where(failed.any(), torch.inf, bound)


def chunk_outputs(queries: torch.Tensor, found: Whitened) -> torch.Tensor:
    """Phi_t q_t (N, n, C, m)."""
    return queries @ found.weights.mT + (queries @ found.keys.mT).tril_() @ found.values


def transposed_outputs(gradients: torch.Tensor, found: Whitened) -> torch.Tensor:
    """Phi_t^T g_t (N, n, C, d) for g (N, n, C, m)."""
    return gradients @ found.weights + (gradients @ found.values.mT).tril_() @ found.keys


def solved_queries(queries: torch.Tensor, found: Whitened, decays: Decays) -> torch.Tensor:
    """R_t q_t (N, n, C, d)."""
    M, z = found.inverse_factor, found.keys
    return (queries @ M.mT @ M - (queries @ z.mT).tril_() @ z) / decays.from_start
