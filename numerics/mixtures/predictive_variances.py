r"""Mean and variance of f(x_i) given the examples before it, at every prefix, one example after the other.

Main statement
    Given a model s (`posterior`), f(x) = r_s(x) . u with u ~ N(0, I). Let u given the examples have the mean m and the
    covariance A A^T. Then at the next row r, with phi = A^T r and v = phi . phi,
        f(x) has the mean r . m and the variance v, and y has the density N(r . m, v + sigma^2);
        after y,   m + A phi (y - r . m)/(v + sigma^2)   and   A - A phi phi^T/(v + sigma^2 + sigma sqrt(v + sigma^2))
    have the same meaning (Potter's square root of the Kalman filter: A' A'^T = A A^T - A phi phi^T A^T/(v + sigma^2)).
    With P(class, s | examples) the total variance is
        Var f(x_i) = sum P (v_s + (r_s . m_s - o)^2),   o = sum P r_s . m_s.
The mean is a second route to that of `posterior`. Variances are sums of squares, never differences: at a noise variance
of 1e-8 they keep about ten digits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .posterior import ClassModels, class_models
from .prompt_laws import PromptLaw

IN_CACHE = 2**17  # entries of the square roots that are worked on together


class PredictiveLaw(NamedTuple):
    """E and Var of f(x_i) given the examples before x_i, (B, N) each."""

    mean: Tensor
    variance: Tensor


def predictive_law(law: PromptLaw, xs: Tensor, ys: Tensor) -> PredictiveLaw:
    """Of prompts xs (B, N, d), ys (B, N), in float64. Raises ValueError without noise, as `posterior` does."""
    if not law.noise_variance > 0:
        raise ValueError(f"need a positive noise variance, got {law.noise_variance}")
    xs, ys = xs.double(), ys.double()
    models = [class_models(kind, law.dimension) for kind in law.classes]
    weights = [
        one.log_weights.to(xs.device) + (math.log(weight) if weight else -math.inf)
        for one, weight in zip(models, law.weights, strict=True)
    ]
    sizes = [one.rows(xs[:1, 0]) for one in models]
    together = max(1, IN_CACHE // max(rows.numel() * rows.shape[-1] for rows in sizes))
    few = [slice(start, start + together) for start in range(0, len(xs), together)]
    found = [_of_few(models, torch.cat(weights), xs[some], ys[some], law.noise_variance) for some in few]
    mean, variance = (torch.cat(part) for part in zip(*found, strict=True))
    return PredictiveLaw(mean, variance)


def _of_few(models: list[ClassModels], log_weights: Tensor, xs: Tensor, ys: Tensor, noise: float) -> PredictiveLaw:
    parts = [_of_class(one, xs, ys, noise) for one in models]
    log_density, means, variances = (torch.cat(part, -1) for part in zip(*parts, strict=True))
    probability = (log_weights + log_density).softmax(-1)
    mean = (probability * means).sum(-1)
    return PredictiveLaw(mean, (probability * (variances + (means - mean[..., None]).square())).sum(-1))


def _of_class(models: ClassModels, xs: Tensor, ys: Tensor, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log density of the examples before, mean and variance of f(x_i) given each model, (B, N, S) each."""
    B, S, k = models.rows(xs[:, 0]).shape
    root = torch.eye(k, dtype=xs.dtype, device=xs.device).expand(B, S, k, k).clone()
    centre, log_density = xs.new_zeros(B, S, k), xs.new_zeros(B, S)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for x, y in zip(xs.unbind(1), ys.unbind(1), strict=True):
        row = models.rows(x)
        phi = (row[..., None, :] @ root)[..., 0, :]
        mean, variance = (row * centre).sum(-1), phi.square().sum(-1)
        found.append((log_density, mean, variance))
        total, error = variance + noise, y[:, None] - mean
        log_density = log_density - 0.5 * (error.square() / total + (2 * math.pi * total).log())
        gain = (root @ phi[..., None])[..., 0]
        centre = centre + gain * (error / total)[..., None]
        root.sub_((gain / (total + math.sqrt(noise) * total.sqrt())[..., None])[..., None] * phi[..., None, :])
    log_densities, means, variances = (torch.stack(part, 1) for part in zip(*found, strict=True))
    return log_densities, means, variances
