r"""The Bayes predictor from prior and likelihood alone: sums over a grid of coefficients, no Gaussian linear algebra.

Every integral int p(y | w) p(w) (w . x)^j dw over the coefficients of a support is a sum over a grid of step h.
Main statements
    step      for a Gaussian with the standard deviation a along its narrowest direction, the sum over a grid of step h
              times h^k is off by a relative error of at most about 2 k exp(-2 pi^2 a^2/h^2): Poisson's summation
              formula, the transform of the Gaussian at 2 pi/h
    range     beyond R standard deviations of the prior on each side the prior holds less than exp(-R^2/2)
The likelihood is at most (2 pi s2)^(-N/2), so what is cut off is at most that times exp(-R^2/2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

Plain = Mapping[str, Any]
RANGE = 9.0  # standard deviations of the prior: exp(-R^2/2) = 3e-18


def grid(count: int, standard_deviation: float, steps: int) -> Tensor:
    """The points (steps^count, count) of a grid over +- RANGE standard deviations."""
    line = torch.linspace(-RANGE, RANGE, steps, dtype=torch.float64) * standard_deviation
    return torch.cartesian_prod(*[line] * count).reshape(-1, count)


def integrals(
    X: Tensor, y: Tensor, query: Tensor, variance: float, noise_variance: float, steps: int
) -> tuple[float, float]:
    """int p(y | w) p(w) dw and int p(y | w) p(w) w.x dw, the coefficients on the columns of X (n, k)."""
    k = X.shape[1]
    w = grid(k, math.sqrt(variance), steps)
    log_prior = -(w.square().sum(-1) / variance + k * math.log(2 * math.pi * variance)) / 2
    errors = y - w @ X.T
    log_likelihood = -(errors.square().sum(-1) / noise_variance + len(y) * math.log(2 * math.pi * noise_variance)) / 2
    cell = (2 * RANGE * math.sqrt(variance) / (steps - 1)) ** k
    density = (log_prior + log_likelihood).exp() * cell
    return float(density.sum()), float((density * (w @ query)).sum())


def posterior_by_quadrature(case: Plain, steps: int) -> tuple[float, float, list[float]]:
    """P(dense), the prediction, and the evidence of both classes: Bayes' rule on the integrals."""
    X, y, query = (torch.tensor(case[name], dtype=torch.float64) for name in ("X", "y", "x_query"))
    X = X.reshape(len(y), len(query))
    supports = list(combinations(range(len(query)), case["sparsity"]))

    def of_support(support: Sequence[int], variance: float) -> tuple[float, float]:
        used = list(support)
        return integrals(X[:, used], y, query[used], variance, case["noise_variance"], steps)

    dense = of_support(range(len(query)), case["dense_variance"])
    sparse = [of_support(support, case["sparse_variance"]) for support in supports]
    evidence = [dense[0], sum(one[0] for one in sparse) / len(sparse)]
    moments = [dense[1], sum(one[1] for one in sparse) / len(sparse)]
    prior = [case["dense_probability"], 1 - case["dense_probability"]]
    total = sum(p * e for p, e in zip(prior, evidence, strict=True))
    prediction = sum(p * m for p, m in zip(prior, moments, strict=True)) / total
    return prior[0] * evidence[0] / total, prediction, evidence
