r"""The mesa layer in plain steps: at each time the least-squares map from the keys so far to the values so far.

With keys k_s in R^d, values v_s in R^m and forget factors f_s (1 if none are given), zeta_ts = f_{s+1} ... f_t,

    Phi_t = argmin_Phi  1/2 sum_{s <= t} zeta_ts |v_s - Phi k_s|^2 + zeta_t0 / (2 lambda) |Phi|_F^2
          = G_t H_t^{-1},   H_t = f_t H_{t-1} + k_t k_t^T,  H_0 = I / lambda,
                            G_t = f_t G_{t-1} + v_t k_t^T,  G_0 = 0,

and the layer's output is Phi_t q_t [vonoswald2023uncovering, Eqs. 5-8]. At step t every past term, the regulariser's
included, is multiplied by f_t.

Main statements
    weights_by_direct_solve    Phi_t at every t: one linear system a step, in float64
    outputs_by_direct_solve    Phi_t q_t from it; what every faster form is compared with
    outputs_by_recursion       Phi_t q_t with R_t = H_t^{-1} carried by rank-one updates [sherman1950adjustment]
These are readable and slow, of order T d^3 and T d^2 (m + d) with T steps in Python; use `MesaLayer` for work.

Shapes: keys (..., T, d), values (..., T, m), queries (..., T, d); forget (..., T) or None; the regulariser lambda > 0 a
number or a tensor that broadcasts to the leading axes. Dtype and device of the keys are kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch


def weights_by_direct_solve(
    keys: torch.Tensor,
    values: torch.Tensor,
    regulariser: float | torch.Tensor,
    forget: torch.Tensor | None = None,
) -> torch.Tensor:
    """Phi_t = G_t H_t^{-1} for every t, (..., T, m, d); computed in float64 whatever the dtype, then rounded to it.

    >>> weights_by_direct_solve(torch.ones(2, 1), torch.ones(2, 1), 1.0).flatten()
    tensor([0.5000, 0.6667])
    """
    check_shapes(keys, values, None, forget)
    solved = [torch.linalg.solve(H, G, left=False) for H, G in _moments(keys, values, regulariser, forget)]
    return torch.stack(solved, -3).to(keys.dtype)


def outputs_by_direct_solve(
    keys: torch.Tensor,
    values: torch.Tensor,
    queries: torch.Tensor,
    regulariser: float | torch.Tensor,
    forget: torch.Tensor | None = None,
) -> torch.Tensor:
    """Phi_t q_t, (..., T, m); computed in float64 whatever the dtype, then rounded to it."""
    check_shapes(keys, values, queries, forget)
    weights = weights_by_direct_solve(keys.double(), values, regulariser, forget)
    return applied(weights, queries.double()).to(keys.dtype)


def outputs_by_recursion(
    keys: torch.Tensor,
    values: torch.Tensor,
    queries: torch.Tensor,
    regulariser: float | torch.Tensor,
    forget: torch.Tensor | None = None,
) -> torch.Tensor:
    """Phi_t q_t = G_t R_t q_t, (..., T, m), step by step in the dtype given, with R_0 = lambda I and

    R_t = (R_{t-1} - R_{t-1} k_t k_t^T R_{t-1} / (f_t + k_t^T R_{t-1} k_t)) / f_t.

    The difference loses about as many digits as H_t's condition number has, and R_t need not stay positive definite.
    """
    check_shapes(keys, values, queries, forget)
    R = per_sequence(regulariser, keys) * _identities(keys)  # (..., d, d)
    G = keys.new_zeros(*keys.shape[:-2], values.shape[-1], keys.shape[-1])
    outputs = []
    for k, v, q, f in zip(
        keys.unbind(-2), values.unbind(-2), queries.unbind(-2), forget_factors(keys, forget).unbind(-1), strict=True
    ):
        f = f[..., None, None]
        Rk = R @ k[..., None]  # (..., d, 1)
        R = (R - Rk @ Rk.mT / (f + k[..., None, :] @ Rk)) / f
        G = f * G + v[..., None] * k[..., None, :]
        outputs.append((G @ (R @ q[..., None])).squeeze(-1))
    return torch.stack(outputs, -2)


def applied(weights: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Phi_t q_t for weights (..., T, m, d) and queries (..., T, d)."""
    return (weights @ queries[..., None]).squeeze(-1)


def forget_factors(keys: torch.Tensor, forget: torch.Tensor | None) -> torch.Tensor:
    """f (..., T), ones where no forgetting is asked for."""
    shape = keys.shape[:-1]
    return keys.new_ones(shape) if forget is None else forget.to(keys.dtype).expand(shape)


def per_sequence(number: float | torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """A number for each sequence as (..., 1, 1), in the dtype and on the device of the keys."""
    return torch.as_tensor(number, dtype=keys.dtype, device=keys.device)[..., None, None]


def check_shapes(
    keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor | None, forget: torch.Tensor | None
) -> None:
    """Raise ValueError unless the shapes are those of the module docstring, with equal leading axes and T >= 1."""
    wrong = (
        keys.dim() < 2
        or not keys.shape[-2]
        or values.shape[:-1] != keys.shape[:-1]
        or (queries is not None and queries.shape != keys.shape)
        or (forget is not None and (forget.dim() < 1 or forget.shape[-1] not in (1, keys.shape[-2])))
    )
    if wrong:
        shapes = {"keys": keys, "values": values, "queries": queries, "forget": forget}
        came = ", ".join(f"{name} {tuple(one.shape)}" for name, one in shapes.items() if one is not None)
        raise ValueError(
            "need keys and queries (..., T, d), values (..., T, m) and forget (..., T) with the same leading axes and "
            f"T >= 1, got {came}; the time axis is the last but one"
        )


def _moments(
    keys: torch.Tensor, values: torch.Tensor, regulariser: float | torch.Tensor, forget: torch.Tensor | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(H_t, G_t) in float64 for t = 1 .. T."""
    keys, values = keys.double(), values.double()
    H = _identities(keys) / per_sequence(regulariser, keys)
    G = keys.new_zeros(*keys.shape[:-2], values.shape[-1], keys.shape[-1])
    for k, v, f in zip(keys.unbind(-2), values.unbind(-2), forget_factors(keys, forget).unbind(-1), strict=True):
        H = f[..., None, None] * H + k[..., None] * k[..., None, :]
        G = f[..., None, None] * G + v[..., None] * k[..., None, :]
        yield H, G


def _identities(keys: torch.Tensor) -> torch.Tensor:
    """The identity of size d, one for each sequence, (..., d, d)."""
    d = keys.shape[-1]
    return torch.eye(d, dtype=keys.dtype, device=keys.device).expand(*keys.shape[:-2], d, d)
