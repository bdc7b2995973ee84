r"""Mean and variance of f(x_i) given the examples before it, at every prefix, by the normal equations.

Main statement
    Given a model s (`posterior`), f(x) = r_s(x) . u with u ~ N(0, I), so that u given the examples has
        covariance  C_s = sigma^2 (sigma^2 I + sum r r^T)^-1  and  mean  u_s = C_s sum r y/sigma^2,
    and with P(class, s | examples), the total variance is
        Var f(x_i) = sum P (r^T C_s r + (r . u_s)^2) - (sum P r . u_s)^2.
The mean is here a second route to that of `posterior`, not as precise: the inverse loses digits as sigma^2 falls. What
is needed of it is the variance, which sets the width of an interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .posterior import ClassModels, class_models
from .prompt_laws import PromptLaw

AT_ONCE = 2**22  # numbers of a Gram matrix of all models at all prefixes, for the prompts that are taken together


class PredictiveLaw(NamedTuple):
    """E and Var of f(x_i) given the examples before x_i, (B, N) each."""

    mean: Tensor
    variance: Tensor


def predictive_law(law: PromptLaw, xs: Tensor, ys: Tensor) -> PredictiveLaw:
    """Of prompts xs (B, N, d), ys (B, N), in float64. Raises ValueError without noise, as `posterior` does."""
    if not law.noise_variance > 0:
        raise ValueError(f"need a positive noise variance, got {law.noise_variance}")
    few = max(1, AT_ONCE // (law.length * sum(_numbers(kind, law.dimension) for kind in law.classes)))
    parts = [_of_few(law, *some) for some in zip(*(torch.split(one.double(), few) for one in (xs, ys)), strict=True)]
    return PredictiveLaw(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _numbers(kind: Mapping[str, Any], dimension: int) -> int:
    """How many there are in the Gram matrices of a class's models, at one prefix of one prompt."""
    _, models, size = class_models(kind, dimension).rows(torch.zeros(1, dimension, dtype=torch.float64)).shape
    return models * size**2


def _of_few(law: PromptLaw, xs: Tensor, ys: Tensor) -> PredictiveLaw:
    parts = []
    for kind, weight in zip(law.classes, law.weights, strict=True):
        log_joint, mean, square = _of_models(class_models(kind, law.dimension), xs, ys, law.noise_variance)
        parts.append((log_joint + (math.log(weight) if weight else -math.inf), mean, square))
    log_joint, means, squares = (torch.cat(part, -1) for part in zip(*parts, strict=True))
    probability = log_joint.softmax(-1)
    mean = (probability * means).sum(-1)
    return PredictiveLaw(mean, (probability * squares).sum(-1) - mean.square())


def _of_models(models: ClassModels, xs: Tensor, ys: Tensor, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """log P(s) + log evidence, E f(x_i) and E f(x_i)^2 given each model, (B, N, S) each."""
    rows = torch.stack([models.rows(x) for x in xs.unbind(1)], 1)  # (B, N, S, k)
    k = rows.shape[-1]
    gram = _before(rows[..., :, None] * rows[..., None, :]) + noise * torch.eye(k, dtype=xs.dtype, device=xs.device)
    moment = _before(rows * ys[:, :, None, None])
    factor = torch.linalg.cholesky(gram)
    solved = torch.cholesky_solve(torch.stack([moment, rows], -1), factor)
    mean = (rows * solved[..., 0]).sum(-1)
    variance = noise * (rows * solved[..., 1]).sum(-1)
    explained = (moment * solved[..., 0]).sum(-1)
    seen = torch.arange(xs.shape[1], dtype=xs.dtype, device=xs.device)[:, None]
    log_determinant = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + (seen - k) * math.log(noise)
    left = (_before(ys.square()[:, :, None]) - explained) / noise
    log_evidence = -0.5 * (left + log_determinant + seen * math.log(2 * math.pi))
    return models.log_weights.to(xs.device) + log_evidence, mean, variance + mean.square()


def _before(values: Tensor) -> Tensor:
    """Sums along dimension 1 over what stands before each position."""
    return values.cumsum(1) - values
