r"""One preconditioned gradient step on the prompt's own regression problem, and least squares on it.

Main statements
    risk                     R(w) = (1/2N) sum_i (w.x_i - y_i)^2, the prompt's empirical risk
    gradient_step_weights    w_1 = -P grad R(0): one step from 0 with the preconditioner P
    gradient_step_prediction x_q . w_1
    least_squares_prediction x_q . argmin |w|^2 over the minimisers of R
The gradient is taken by automatic differentiation of R, so this baseline shares no formula with the layer.
"""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike

from .power_sums import PowerSums, power_sums
from .prompts import PromptDistribution, Prompts


def risk(prompts: Prompts, weights: torch.Tensor) -> torch.Tensor:
    """R(w) of each prompt at its own w, (B,); weights (B, d). Padding columns add nothing."""
    x, y = examples(prompts)
    residual = (x * weights.unsqueeze(-1)).sum(-2) - y
    return residual.square().sum(-1) / (2 * prompts.context_length)


def risk_gradient_at_zero(prompts: Prompts) -> torch.Tensor:
    """grad R(0) of each prompt, (B, d)."""
    start = prompts.embedding.new_zeros(len(prompts.target), prompts.embedding.shape[-2] - 1)
    start.requires_grad_()
    gradient: torch.Tensor = torch.autograd.grad(risk(prompts, start).sum(), start)[0]
    return gradient


def gradient_step_weights(prompts: Prompts, P: torch.Tensor) -> torch.Tensor:
    """w_1 = 0 - P grad R(0), (B, d); P (d, d)."""
    return -risk_gradient_at_zero(prompts) @ P.T


def gradient_step_prediction(prompts: Prompts, P: torch.Tensor) -> torch.Tensor:
    """x_q . w_1 after one step from 0 with the preconditioner P, (B,)."""
    return (query(prompts) * gradient_step_weights(prompts, P)).sum(-1)


def least_squares_prediction(prompts: Prompts) -> torch.Tensor:
    """x_q . w with w the least-norm minimiser of R, (B,)."""
    x, y = examples(prompts)
    # the singular-value driver: with fewer examples than dimensions the minimiser is not unique
    solution = torch.linalg.lstsq(x.mT.cpu(), y.cpu().unsqueeze(-1), driver="gelsd").solution.squeeze(-1)
    prediction: torch.Tensor = (query(prompts) * solution.to(y.device)).sum(-1)
    return prediction


def step_risk_gradient_sums(
    distribution: PromptDistribution,
    P: ArrayLike,
    directions: ArrayLike,
    count: int,
    seed_key: str,
    *,
    device: str | torch.device = "cpu",
) -> PowerSums:
    """Sums over fresh prompts of Z_k, the derivative along V_k of (x_q . w_1(P) - w.x_q)^2 / 2, and of Z_k^2.

    P: (d, d); directions V: (K, d, d). The step is linear in P, so Z_k is the mean over the query of
    (x_q . w_1(P) - w.x_q) x_q . w_1(V_k), exact because that is a quadratic form in the query.
    """
    d = distribution.dimension
    preconditioner = torch.as_tensor(P, dtype=torch.float64, device=torch.device(device))
    V = torch.as_tensor(directions, dtype=torch.float64, device=torch.device(device))
    if preconditioner.shape != (d, d) or V.ndim != 3 or V.shape[1:] != (d, d):
        raise ValueError(
            f"need P of shape ({d}, {d}) and directions of shape (K, {d}, {d}), got "
            f"{tuple(preconditioner.shape)} and {tuple(V.shape)}"
        )
    return power_sums(
        lambda prompts: step_derivatives(prompts, preconditioner, V),
        distribution,
        count,
        seed_key,
        over_queries=True,
        device=device,
    )


def step_derivatives(prompts: Prompts, P: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """The derivative along each V_k (K, d, d) of each prompt's (x_q . w_1(P) - w.x_q)^2 / 2, (K, B)."""
    gradient, x_q = risk_gradient_at_zero(prompts), query(prompts)

    def prediction(step: torch.Tensor) -> torch.Tensor:
        return -(x_q * (gradient @ step.T)).sum(-1)

    residual = prediction(P) - prompts.target
    return torch.stack([residual * prediction(V) for V in directions])


def examples(prompts: Prompts) -> tuple[torch.Tensor, torch.Tensor]:
    """The context: covariates (B, d, N_max) and labels (B, N_max)."""
    return prompts.embedding[..., :-1, :-1], prompts.embedding[..., -1, :-1]


def query(prompts: Prompts) -> torch.Tensor:
    """x_q, (B, d)."""
    return prompts.embedding[..., :-1, -1]
