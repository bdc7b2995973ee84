r"""The Bayes predictor of dense linear functions, run on every turned copy of a prompt: means without sampling.

Main statements
    over the d 2^d signed cyclic permutations g the mean of (g w)^T M (g w) is |w|^2 tr(M)/d: signs kill what is off the
    diagonal, shifts level the diagonal
    over the 2 N points +- sigma sqrt(N) e_i the noise has mean 0 and covariance sigma^2 I, so quadratics have the mean
    that they have over normal noise
So a mean over copies and points is the mean over a random turn of the inputs and over the noise, to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from .posterior import posterior
from .prompt_laws import PromptLaw

Plain = Mapping[str, Any]


def risks_over_copies(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case the mean of c |w - w_hat|^2 over copies and noise, and how many prompts it took.

    A case holds inputs (N, d) before scaling, weights w (d,), dense_variance, noise_variance, and input_scale c;
    w_hat is what the Bayes predictor of w ~ N(0, dense_variance I) answers at the d unit queries.
    """
    found = [risk_over_copies(case, device) for case in cases]
    return {"risk": [risk for risk, _ in found], "prompts": [count for _, count in found]}


def risk_over_copies(case: Plain, device: str) -> tuple[float, int]:
    """The mean of one case."""
    z, w = (torch.tensor(case[name], dtype=torch.float64, device=device) for name in ("inputs", "weights"))
    N, d = z.shape
    scale, turned = float(case["input_scale"]), signed_shifts(d, device) @ w  # (copies, d)
    labels = math.sqrt(scale) * turned @ z.T  # (copies, N)
    noisy = (labels[:, None] + noise_points(N, case["noise_variance"], device)).reshape(-1, N)
    answers = at_unit_queries(math.sqrt(scale) * z, noisy, case)
    errors = turned.repeat_interleave(2 * N, 0) - answers
    return scale * float(errors.square().sum(-1).mean()), d * len(noisy)


def signed_shifts(d: int, device: str) -> Tensor:
    """The matrices of the group, (d 2^d, d, d)."""
    eye = torch.eye(d, dtype=torch.float64, device=device)
    shifts = torch.stack([eye.roll(k, 0) for k in range(d)])
    signs = torch.tensor(list(product((1.0, -1.0), repeat=d)), dtype=torch.float64, device=device)
    return (signs[:, None, :, None] * shifts).reshape(-1, d, d)


def noise_points(N: int, variance: float, device: str) -> Tensor:
    """The 2 N points, (2 N, N)."""
    corners = math.sqrt(variance * N) * torch.eye(N, dtype=torch.float64, device=device)
    return torch.cat([corners, -corners])


def at_unit_queries(xs: Tensor, ys: Tensor, case: Plain) -> Tensor:
    """What the predictor answers at e_1 .. e_d after the examples xs (N, d), ys (B, N): (B, d)."""
    (N, d), B = xs.shape, len(ys)
    dense = {"kind": "dense", "variance": case["dense_variance"]}
    law = PromptLaw(d, N + 1, (dense,), (1.0,), case["noise_variance"])
    eye = torch.eye(d, dtype=torch.float64, device=xs.device)
    prompts = torch.cat([xs.expand(d, N, d), eye[:, None]], 1).expand(B, d, N + 1, d).reshape(-1, N + 1, d)
    labels = torch.nn.functional.pad(ys, (0, 1)).repeat_interleave(d, 0)
    return posterior(law, prompts, labels).prediction[:, -1].view(B, d)
