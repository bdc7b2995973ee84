r"""The mesa layer in chunks, exactly and without iterations: causal linear attention on whitened keys.

A chunk of C steps starts from (H, G), Phi = G H^{-1}; let Z = diag(zeta_t0). By the matrix inversion lemma its keys
K (C, d) and values V (C, m) move the minimiser, at step t, to

    Phi_t = Phi + (V_t - K_t Phi^T)^T (Z_t + K_t H^{-1} K_t^T)^{-1} K_t H^{-1},     K_t the first t rows of K.

The matrices inverted are the leading blocks of one, A = Z + K H^{-1} K^T = L L^T, and so are their Cholesky factors.
Let H^{-1} = M^T M, qbar = M q, and z_s and w_s the rows of L^{-1} (K M^T) and L^{-1} (V - K Phi^T). Then

    Phi_t q = G M^T qbar + sum_{s <= t} w_s (z_s . qbar),
    R_t q = M^T (qbar - sum_{s <= t} z_s (z_s . qbar)) / zeta_t0.

One Cholesky factor of H and one of A a chunk are all. H and G at the starts are plain decayed sums (`decayed_sums`), so
every chunk is solved at once, and none inherits the rounding of another's inverse.

Digits. Rounding H costs eps times its condition number. The Cholesky factorisation of A subtracts: A_tt falls to
L_tt^2, which costs eps A_tt / L_tt^2. This is large when a chunk starts from a nearly empty memory and has more than d
keys, or when much is forgotten in it; with C = 1 it is nothing. Both come with the rest (`Loss`).

Main statements
    whitened            M, G M^T, z and w of every chunk
    Whitened.outputs    Phi_t q_t
    Whitened.solved     zeta_t0 R_t q_t and R_t G_t^T g_t, which the gradients need
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .decayed_sums import Decays, plus_product


class Whitened(NamedTuple):
    """n chunks of N sequences.

    inverse_factor: M (N, n, d, d), lower triangular. weights: G M^T (N, n, m, d). keys: z (N, n, C, d). residuals:
    w (N, n, C, m).
    """

    inverse_factor: torch.Tensor
    weights: torch.Tensor
    keys: torch.Tensor
    residuals: torch.Tensor

    def outputs(self, queries: torch.Tensor) -> torch.Tensor:
        """Phi_t q_t (N, n, C, m)."""
        turned = queries @ self.inverse_factor.mT
        return plus_product(turned @ self.weights.mT, (turned @ self.keys.mT).tril_(), self.residuals)

    def solved(self, queries: torch.Tensor, gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """zeta_t0 R_t q_t and R_t G_t^T g_t = Phi_t^T g_t, both (N, n, C, d), for q (N, n, C, d) and g (N, n, C, m)."""
        turned = queries @ self.inverse_factor.mT
        of_queries = turned - (turned @ self.keys.mT).tril_() @ self.keys
        of_gradients = plus_product(gradients @ self.weights, (gradients @ self.residuals.mT).tril_(), self.keys)
        return of_queries @ self.inverse_factor, of_gradients @ self.inverse_factor


class Loss(NamedTuple):
    """What rounding may cost: the largest A_tt / L_tt^2 and an upper bound on H's condition number, (N, n) both.

    Infinite where a matrix is not positive definite in floating point.
    """

    in_chunks: torch.Tensor
    condition: torch.Tensor


def whitened(
    keys: torch.Tensor, values: torch.Tensor, H: torch.Tensor, G: torch.Tensor, decays: Decays
) -> tuple[Whitened, Loss]:
    """z, w and their factors, for keys (N, n, C, d), values (N, n, C, m), and H, G (N, n, ., d) at their starts."""
    d = keys.shape[-1]
    M, condition = inverse_factors(H)
    weights, turned = G @ M.mT, keys @ M.mT
    A = turned @ turned.mT
    A.diagonal(dim1=-2, dim2=-1).add_(decays.from_start.squeeze(-1))
    L, failed = torch.linalg.cholesky_ex(A)
    lost = (A.diagonal(dim1=-2, dim2=-1) / L.diagonal(dim1=-2, dim2=-1).square()).amax(-1)
    rows = solved_from_the_left(L, torch.cat([turned, values - turned @ weights.mT], -1))
    lost = lost.where(failed == 0, torch.inf)
    return Whitened(M, weights, rows[..., :d], rows[..., d:]), Loss(lost, condition)


def inverse_factors(H: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The inverse M of H's Cholesky factor, (..., d, d), and an upper bound on H's condition number, (...).

    For symmetric H, |H|_2 <= |H|_inf and |H^{-1}|_2 = |M|_2^2 <= |M|_1 |M|_inf; the bound is at most d^{3/2} too large.
    """
    L, failed = torch.linalg.cholesky_ex(H)
    M = solved_from_the_left(L, torch.eye(H.shape[-1], dtype=H.dtype, device=H.device).expand_as(H))
    sizes = M.abs()
    bound = H.abs().sum(-1).amax(-1) * sizes.sum(-1).amax(-1) * sizes.sum(-2).amax(-1)
    return M, bound.where(failed == 0, torch.inf)


def solved_from_the_left(L: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """L^{-1} right, solved from the right and transposed: the layout that LAPACK takes without a copy."""
    solved: torch.Tensor = torch.linalg.solve_triangular(L.mT, right.mT, upper=True, left=False)
    return solved.mT
