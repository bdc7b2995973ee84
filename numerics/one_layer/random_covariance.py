r"""The layer on prompts that have a covariance each: finite laws, and diagonal ones with independent Exp(1) entries.

Main statements
    enumerated_mixture        loss and gradient on all entries of the weights for a law of finitely many covariances:
                              each is enumerated over Gauss nodes, the results are added with the law's probabilities
    enumerated_exponential    the same for the exponential law: Gauss-Laguerre nodes for each entry. Of each component
                              x_a = sqrt(lam_a) z_a only even powers count, and the residual and each of its derivatives
                              have three factors x (of s, S or r two, the query one): degree 3 in lam_a, for 2 nodes
    sampled_exponential       power sums of the loss over fresh prompts, with the exact second moment: the residual to
                              the fourth power has degree 6 in lam_a, for 4 nodes, which reach 7
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..training.random_streams import standard_normals, stream
from ..training.threads import one_thread
from .cubature import population_loss_moments
from .enumerated_measurements import enumerated_gradient
from .gradients import prompt_losses
from .power_sums import CHUNK, ChunkTotals
from .prompts import PromptDistribution, Prompts, write_labels

Plain = Mapping[str, Any]
Nested = Sequence[Any]
GRADIENT_NODES, SECOND_MOMENT_NODES = 2, 4
SUMMED = ("loss", "loss_rounding", "W_PV", "W_KQ", "W_PV_rounding", "W_KQ_rounding")


def enumerated_mixture(cases: Sequence[Plain], W_PV: Nested, W_KQ: Nested, device: str) -> dict[str, Any]:
    """Mean loss and gradient over cases (distribution, probability), with bounds on their rounding error."""
    totals: dict[str, Any] = {name: np.zeros(()) for name in SUMMED}
    nodes = 0
    for case in cases:
        found = enumerated_gradient(case["distribution"], W_PV, W_KQ, device)
        for name in SUMMED:
            totals[name] = totals[name] + case["probability"] * np.asarray(found[name])
        nodes += found["nodes"]
    return {**{name: value.tolist() for name, value in totals.items()}, "nodes": nodes}


def exponential_cases(dimension: int, context_length: int, noise_variance: float, nodes: int) -> Iterator[Plain]:
    """The covariances diag(lam) at the nodes of a product Gauss-Laguerre rule, with its weights as probabilities."""
    points, weights = np.polynomial.laguerre.laggauss(nodes)
    for chosen in itertools.product(range(nodes), repeat=dimension):
        law = PromptDistribution(
            np.diag(points[list(chosen)]), (context_length,), np.eye(dimension), noise_variance
        ).to_plain()
        yield {"distribution": law, "probability": float(np.prod(weights[list(chosen)]))}


def enumerated_exponential(
    dimension: int, context_length: int, noise_variance: float, W_PV: Nested, W_KQ: Nested, device: str
) -> dict[str, Any]:
    """Mean loss and gradient for independent Exp(1) entries."""
    cases = list(exponential_cases(dimension, context_length, noise_variance, GRADIENT_NODES))
    return enumerated_mixture(cases, W_PV, W_KQ, device)


def sampled_exponential(
    dimension: int,
    context_length: int,
    noise_variance: float,
    W_PV: Nested,
    W_KQ: Nested,
    prompts: int,
    stream_key: str,
    device: str,
) -> dict[str, Any]:
    """Power sums of the loss over fresh prompts, and its exact second moment (from above) by Gauss rules."""
    second = 0.0
    for case in exponential_cases(dimension, context_length, noise_variance, SECOND_MOMENT_NODES):
        moments = population_loss_moments(PromptDistribution.from_plain(case["distribution"]), W_PV, W_KQ)
        second += case["probability"] * float(moments.value[1] + moments.rounding[1])
    law = ExponentialLaw(dimension, context_length, noise_variance)
    return {**exponential_loss_sums(law, W_PV, W_KQ, prompts, stream_key, device), "second_moment": second}


@dataclass(frozen=True)
class ExponentialLaw:
    """Prompts with Lambda = diag(lam), lam_a independent Exp(1) and fresh for each prompt, w ~ N(0, I)."""

    dimension: int
    context_length: int
    noise_variance: float

    def draw(self, count: int, generator: torch.Generator) -> Prompts:
        """`count` prompts."""
        d, n = self.dimension, self.context_length
        uniform = torch.rand(d, 1, count, generator=generator, dtype=torch.float64, device=generator.device)
        roots = uniform.neg_().add_(1).log_().neg_().sqrt_()  # 1 - uniform is exact and never 0
        task = standard_normals((d, count), generator, torch.float64)
        noise = None
        if self.noise_variance:
            noise = standard_normals((n, count), generator, torch.float64).mul_(math.sqrt(self.noise_variance))
        rows = torch.empty(d + 1, n + 1, count, dtype=torch.float64, device=generator.device)
        torch.mul(roots, standard_normals((d, n + 1, count), generator, torch.float64), out=rows[:-1])
        target = write_labels(rows, task, noise)
        return Prompts(rows.permute(2, 0, 1), target, torch.full_like(target, n))


@one_thread()
def exponential_loss_sums(
    law: ExponentialLaw, W_PV: Nested, W_KQ: Nested, count: int, seed_key: str, device: str
) -> dict[str, Any]:
    """count, and the sums of l and of l^2 over prompts from the stream `seed_key`."""
    value, key_query = (torch.tensor(W, dtype=torch.float64, device=torch.device(device)) for W in (W_PV, W_KQ))
    generator, sums, squares = stream(seed_key, device), ChunkTotals(), ChunkTotals()
    for start in range(0, count, CHUNK):
        losses = prompt_losses(law.draw(min(CHUNK, count - start), generator), value, key_query)
        sums.add(losses.sum(-1, keepdim=True))
        squares.add((losses * losses).sum(-1, keepdim=True))
    return {"count": count, "sum": sums.exact(), "sum_of_squares": squares.exact()}
