"""Measurements of the Bayes predictor: on given prompts, by quadrature, and its calibration on prompts of its law."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..training.random_streams import stream
from ..training.threads import use_one_thread
from .posterior import class_models, posterior
from .posterior_by_quadrature import posterior_by_quadrature
from .posterior_rounding import bounds_of_models, rounding_of_mixture
from .prompt_laws import PromptLaw, Prompts

Plain = Mapping[str, Any]
BATCH = 20_000
BINS = (0.0, 0.05, 0.35, 0.65, 0.95, 1.0)


def law_of(case: Plain) -> PromptLaw:
    """The dense and sparse mixture of a case."""
    kinds = (
        {"kind": "dense", "variance": case["dense_variance"]},
        {"kind": "sparse", "nonzeros": case["sparsity"], "variance": case["sparse_variance"]},
    )
    share = case["dense_probability"]
    return PromptLaw(len(case["x_query"]), len(case["y"]) + 1, kinds, (share, 1 - share), case["noise_variance"])


def with_query(case: Plain) -> tuple[Tensor, Tensor]:
    """The prompt as xs (1, n + 1, d), ys (1, n + 1): the query last, its label not looked at."""
    xs = torch.tensor([*case["X"], case["x_query"]], dtype=torch.float64)
    return xs[None], torch.tensor([[*case["y"], math.nan]], dtype=torch.float64)


def bayes_predictions(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """P(dense), prediction and log evidences at the query of every case, each with a bound on its rounding."""
    use_one_thread()
    rows = []
    for case in cases:
        law, (xs, ys) = law_of(case), with_query(case)
        found = posterior(law, xs.to(device), ys.to(device))
        classes = found.classes[0, -1].cpu()
        examples = (xs[0, :-1], ys[0, :-1], xs[0, -1], law.noise_variance)
        bounds = rounding_of_mixture(
            [bounds_of_models(class_models(kind, law.dimension), *examples) for kind in law.classes], classes
        )
        values = [float(classes[0]), float(found.prediction[0, -1]), *found.log_evidence[0, -1].tolist()]
        rows.append((values, [bounds.posterior, bounds.prediction, *bounds.log_evidence]))
    return {"values": [row[0] for row in rows], "rounding": [row[1] for row in rows]}


def quadrature_predictions(cases: Sequence[Plain], steps: int, device: str) -> dict[str, Any]:
    """The same four numbers by grids of that many points a coefficient, and by half as many."""
    use_one_thread()

    def by(points: int) -> list[list[float]]:
        found = [posterior_by_quadrature(case, points) for case in cases]
        return [[p, f, *map(math.log, evidence)] for p, f, evidence in found]

    return {"values": by(steps), "coarser": by(steps // 2), "device": device}


def zero_mean_statistics(prompts: Prompts, classes: Tensor, prediction: Tensor) -> Tensor:
    """What is zero in the mean, of every prompt (B, tests), the mean over its prefixes.

    (dense or not - P(dense)) where P(dense) lies in a bin: calibration, between -1 and 1. Then (f - prediction) times
    a sign that the prompt decides: that of the prediction, of P(dense) - 1/2, and of the query's first entry.
    """
    dense = classes[..., 0]
    excess = (prompts.classes == 0).double()[:, None] - dense
    binned = [excess * ((dense >= low) & ((dense < high) | (high == 1.0))) for low, high in pairwise(BINS)]
    errors = prompts.targets - prediction
    signs = (prediction, dense - 0.5, prompts.xs[..., 0])
    signed = [errors * torch.where(sign > 0, 1.0, -1.0) for sign in signs]
    return torch.stack([part.mean(1) for part in (*binned, *signed)], -1)


def calibration(law: Plain, prompts: int, stream_key: str, device: str) -> dict[str, Any]:
    """Sums and sums of squares of the statistics over prompts of the law."""
    use_one_thread()
    made = PromptLaw.from_plain(law)
    generator = stream(stream_key, device)
    tests = len(BINS) - 1 + 3
    total, squares = torch.zeros(2, tests, dtype=torch.float64, device=device)
    for first in range(0, prompts, BATCH):
        drawn = made.sample(min(BATCH, prompts - first), generator)
        found = posterior(made, drawn.xs, drawn.ys)
        values = zero_mean_statistics(drawn, found.classes, found.prediction)
        total, squares = total + values.sum(0), squares + values.square().sum(0)
    return {"count": prompts, "sum": total.tolist(), "sum_of_squares": squares.tolist(), "bins": len(BINS) - 1}
