r"""The Bayes predictor on prompts whose inputs are scaled: given numbers in, its numbers out.

A case is a prompt X (N, d), y, x_query with noise and the variance of dense coefficients, as plain data. It is put to
the dense class, and to a mixture of that with the sparse class of one nonzero coefficient, at both of its scales:
    as it is              inputs r g, labels y, noise s2
    at scale 1            inputs g, labels y/r, noise s2/r^2, its prediction times r
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .posterior import posterior
from .predictive_variances import predictive_law
from .prompt_laws import PromptLaw

Plain = Mapping[str, Any]


def at_both_scales(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case X, y, x_query, scale r, noise_variance, variance.

    -> dense: prediction, variance and log evidence of the dense class; mixture: [prediction, probability of the dense
    class] of the mixture as it is, and at scale 1.
    """
    found: dict[str, Any] = {"dense": [], "mixture": []}
    for case in cases:
        xs = torch.tensor([[*case["X"], case["x_query"]]], dtype=torch.float64, device=device)
        ys = torch.tensor([[*case["y"], 0.0]], dtype=torch.float64, device=device)
        r, s2, v = case["scale"], case["noise_variance"], case["variance"]
        found["dense"].append(_of_dense(_law(xs, [1.0, 0.0], s2, v), xs, ys))
        as_it_is = _of_mixture(_law(xs, [0.5, 0.5], s2, v), xs, ys)
        prediction, probability = _of_mixture(_law(xs, [0.5, 0.5], s2 / r**2, v), xs / r, ys / r)
        found["mixture"].append([as_it_is, [r * prediction, probability]])
    return found


def _law(xs: Tensor, weights: list[float], noise_variance: float, variance: float) -> PromptLaw:
    classes = ({"kind": "dense", "variance": variance}, {"kind": "sparse", "nonzeros": 1, "variance": 2 * variance})
    return PromptLaw(xs.shape[2], xs.shape[1], classes, tuple(weights), noise_variance)


def _of_dense(law: PromptLaw, xs: Tensor, ys: Tensor) -> list[float]:
    found = posterior(law, xs, ys)
    constant = 0.5 * (xs.shape[1] - 1) * math.log(2 * math.pi * law.noise_variance)
    variance = predictive_law(law, xs, ys).variance[0, -1]
    return [float(found.by_class[0, -1, 0]), float(variance), float(found.log_evidence[0, -1, 0]) + constant]


def _of_mixture(law: PromptLaw, xs: Tensor, ys: Tensor) -> list[float]:
    found = posterior(law, xs, ys)
    return [float(found.prediction[0, -1]), float(found.classes[0, -1, 0])]
