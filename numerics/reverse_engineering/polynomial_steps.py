r"""Polynomials in the states seen so far: which of them a trained deep model has become, and which ones are optimal.

With G_t = sum_{t' < t} s_t' s_t'^T and M_t = sum_{t' < t} s_{t'+1} s_t'^T least squares predicts M_t G_t^-1 s_t. A
layer of linear attention multiplies by one more G_t, so that L layers can precondition with a polynomial q of degree
L - 1 and predict M_t q(G_t) s_t; on an eigenvalue x of G_t the part 1 - x q(x) of the target is left.
Main statements
    krylov_vectors         G_t^k s_t, k = 0 .. K, for a batch
    fitted_coefficients    the c_k with the least mean of |value - sum_k c_k feature_k|^2, and the share explained
    optimal_coefficients   the same for the target s_{t+1}: the best polynomial for the risk
    richardson, chebyshev  q on [low, high] with 1 - x q(x) = (1 - 2x/(low + high))^L, and = T_L(z(x))/T_L(z(0)) with z
                           affine onto [-1, 1]: the least maximum among polynomials of degree L with value 1 at 0
    left_on                1 - x q(x) on given eigenvalues
No normalisation by t or T is taken out: coefficients are those of a model with `normalisation` "none".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def gram_matrices(states: torch.Tensor) -> torch.Tensor:
    """G_t (B, T, n, n) of states (B, T, n), 0 at t = 1."""
    outer = states.unsqueeze(-1) * states.unsqueeze(-2)
    return outer.cumsum(1) - outer


def transition_sums(states: torch.Tensor) -> torch.Tensor:
    """M_t = sum_{t' < t} s_{t'+1} s_t'^T, (B, T, n, n)."""
    pairs = torch.zeros_like(states.unsqueeze(-1) * states.unsqueeze(-2))
    pairs[:, 1:] = states[:, 1:].unsqueeze(-1) * states[:, :-1].unsqueeze(-2)
    return pairs.cumsum(1)


def krylov_vectors(states: torch.Tensor, powers: int) -> torch.Tensor:
    """G_t^k s_t for k = 0 .. powers, (powers + 1, B, T, n)."""
    G, found = gram_matrices(states), [states]
    for _ in range(powers):
        found.append((G @ found[-1].unsqueeze(-1)).squeeze(-1))
    return torch.stack(found)


def predicted_vectors(states: torch.Tensor, powers: int) -> torch.Tensor:
    """M_t G_t^k s_t for k = 0 .. powers, (powers + 1, B, T, n)."""
    M = transition_sums(states)
    found: torch.Tensor = (M @ krylov_vectors(states, powers).unsqueeze(-1)).squeeze(-1)
    return found


def fitted_coefficients(values: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, float]:
    """c (K,) and the share of the mean square of `values` that sum_k c_k features_k explains.

    values (..), features (K, ..).
    """
    rows = features.reshape(len(features), -1)
    scale = rows.square().mean(1).sqrt().clamp_min(1e-300)  # powers of G differ by orders of magnitude
    flat = values.reshape(-1)
    solved = torch.linalg.lstsq((rows / scale[:, None]).mT, flat.unsqueeze(-1)).solution.squeeze(-1)
    rest = flat - solved @ (rows / scale[:, None])
    return solved / scale, 1 - float(rest.square().mean() / flat.square().mean())


def optimal_coefficients(states: torch.Tensor, degree: int) -> tuple[torch.Tensor, float]:
    """The best M_t q(G_t) s_t for s_{t+1} over all t of the batch, q of this degree; and the share explained."""
    return fitted_coefficients(states[:, 1:], predicted_vectors(states, degree)[:, :, :-1])


def spectrum(states: torch.Tensor, position: int) -> torch.Tensor:
    """The eigenvalues of G_t at one t (counted from 1), (B, n), ascending."""
    found: torch.Tensor = torch.linalg.eigvalsh(gram_matrices(states)[:, position - 1])
    return found


def richardson(low: float, high: float, layers: int) -> FloatArray:
    """Coefficients of q, lowest first, with 1 - x q(x) = (1 - 2x/(low + high))^layers.

    >>> richardson(1.0, 3.0, 1).tolist()
    [0.5]
    """
    return inverse_of_residual(Polynomial([1.0, -2 / (low + high)]) ** layers)


def chebyshev(low: float, high: float, layers: int) -> FloatArray:
    """Coefficients of q, lowest first, whose 1 - x q(x) is the Chebyshev polynomial of [low, high] with value 1 at 0.

    >>> chebyshev(1.0, 3.0, 1).tolist()
    [0.5]
    """
    on_interval = Chebyshev.basis(layers, domain=[low, high]).convert(kind=Polynomial, domain=[-1, 1], window=[-1, 1])
    return inverse_of_residual(on_interval / on_interval(0.0))


def inverse_of_residual(residual: Polynomial) -> FloatArray:
    """q with residual(x) = 1 - x q(x), for residual(0) = 1."""
    return np.asarray(-residual.coef[1:], dtype=np.float64)


def left_on(coefficients: Sequence[float] | FloatArray, eigenvalues: FloatArray) -> FloatArray:
    """1 - x q(x) at each x."""
    return np.asarray(1 - eigenvalues * Polynomial(list(coefficients))(eigenvalues))
