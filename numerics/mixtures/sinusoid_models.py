r"""A class of sinusoids as a finite set of Gaussian models: the nodes of a quadrature over frequency and scale.

    f(x) = a sin(omega x_1 + phi),   a ~ N(0, v), phi ~ U(0, 2 pi), omega ~ U(l, h).
Main statement
    f has the law of sqrt(v beta) (g_1 sin(omega x_1) + g_2 cos(omega x_1)) with g ~ N(0, I_2) and an independent beta
    of the arcsine law, beta = sin^2(theta), theta ~ U(0, pi/2). So amplitude and phase are integrated in closed form,
    and given (omega, theta) the class is a Gaussian model with two rows.
Proof
    The coefficients (a cos phi, a sin phi) have a uniform direction, and so have sqrt(beta) g. Their squared lengths
    are a^2/v = 2 Gamma(1/2) and beta |g|^2 = 2 beta Gamma(1) in law, and Beta(1/2, 1/2) Gamma(1) = Gamma(1/2) for
    independent factors: beta is the share of one of two independent Gamma(1/2) in their sum, and independent of it. []
Quadrature
    omega by Gauss and Legendre's nodes; theta by equal steps, as all is even and periodic in theta. Both converge
    geometrically: omega once its step is below the width of the posterior, which is about sigma/|a| sqrt(2/sum x_i^2);
    theta at a rate that the noise hardly changes, where a phase would need steps below sigma/|a| sqrt(2/n).
    At the law of the shipped model (16 points, sigma^2 = 0.1, inputs of size 1, a range of 3) predictions by NODES err
    by 3e-4 in the root mean square, by 6e-3 at most among 768, and those by FINE by 1e-6 and 3e-5. Two places where
    NODES is not enough: sigma^2 = 0.01, where it errs by 7e-3 (FINE: 4e-4), and inputs of size 3 and more, where the
    posterior of omega is as narrow. `quadrature_errors` of `sinusoid_measurements` states it at given prompts, by
    doubling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Plain = Mapping[str, Any]
Rows = Callable[[Tensor], Tensor]  # inputs (B, d) -> rows (B, S, k)
Nodes = tuple[int, int]  # of frequency and of scale
NODES, FINE = (64, 16), (128, 32)


def sinusoid_models(kind: Plain, nodes: Nodes = NODES) -> tuple[Rows, Tensor]:
    """Rows of the models, and the logarithms of their probabilities, (S,) for S the product of `nodes`."""
    frequencies, weights = frequency_nodes(kind["lowest"], kind["highest"], nodes[0])
    theta = math.pi / 2 * (torch.arange(nodes[1], dtype=torch.float64) + 0.5) / nodes[1]
    scales = math.sqrt(kind["variance"]) * theta.sin()

    def rows(x: Tensor) -> Tensor:
        angle = frequencies.to(x.device) * x[:, :1]
        waves = torch.stack([angle.sin(), angle.cos()], -1)  # (B, frequencies, 2)
        return (waves[:, :, None] * scales.to(x.device)[:, None]).reshape(len(x), -1, 2)

    return rows, weights.log().repeat_interleave(nodes[1]) - math.log(nodes[1])


def frequency_nodes(lowest: float, highest: float, count: int) -> tuple[Tensor, Tensor]:
    """Gauss and Legendre's nodes in [lowest, highest], and their weights, which add up to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy((lowest + highest) / 2 + (highest - lowest) / 2 * nodes), torch.from_numpy(weights / 2)


def combined_models(share: float, first: tuple[Rows, Tensor], second: tuple[Rows, Tensor]) -> tuple[Rows, Tensor]:
    """The models of c f_1 + (1 - c) f_2 for independent f_1, f_2: every pair, and the coefficients of both."""

    def rows(x: Tensor) -> Tensor:
        one, other = share * first[0](x), (1 - share) * second[0](x)  # (B, S_1, k_1), (B, S_2, k_2)
        B, S, T = len(x), one.shape[1], other.shape[1]
        pairs = one[:, :, None].expand(B, S, T, -1), other[:, None].expand(B, S, T, -1)
        return torch.cat(pairs, -1).reshape(B, S * T, -1)

    return rows, (first[1][:, None] + second[1][None]).reshape(-1)
