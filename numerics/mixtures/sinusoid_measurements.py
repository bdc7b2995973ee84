r"""Measurements with the Bayes predictor of mixtures that hold sinusoids.

Main statements
    predictors_at_prompts   posterior and prediction at given prompts, with the error of the quadrature by doubling: it
                            converges geometrically, so what doubling changes bounds what is left
    orthogonality           sums of products (y_i - prediction_i) g_i over prompts of the law itself, g_i a function of
                            what the predictor sees: their mean is 0 exactly if the prediction is E[y_i | seen]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..training.random_streams import stream
from .posterior import ClassModels, Posterior, class_evidence, class_models, posterior
from .prompt_laws import PromptLaw
from .sinusoid_models import FINE, NODES, Nodes, sinusoid_models

Plain = Mapping[str, Any]
CHUNK = 256  # prompts at a time: some hundred MB


def posterior_with(law: PromptLaw, xs: Tensor, ys: Tensor, nodes: Nodes) -> Posterior:
    """`posterior`, sinusoids with a quadrature of `nodes`."""
    models = [
        ClassModels(*sinusoid_models(kind, nodes)) if kind["kind"] == "sinusoid" else class_models(kind, law.dimension)
        for kind in law.classes
    ]
    found = [class_evidence(one, xs, ys, law.noise_variance) for one in models]
    by_class, log_evidence = (torch.stack(part, -1) for part in zip(*found, strict=True))
    prior = torch.tensor(law.weights, dtype=torch.float64, device=xs.device).log()
    return Posterior((prior + log_evidence).softmax(-1), by_class, log_evidence)


def predictors_at_prompts(cases: Sequence[Plain], device: str) -> dict[str, Any]:
    """Per case P(first class | examples) and the prediction at x_query, and what doubling the nodes changed in them.

    A case holds `law` (of `PromptLaw`), x and y of the examples, and x_query.
    """
    found: dict[str, list[float]] = {"posterior": [], "prediction": [], "posterior_error": [], "prediction_error": []}
    for case in cases:
        law = PromptLaw.from_plain(case["law"])
        xs = torch.tensor([*case["x"], case["x_query"]], dtype=torch.float64, device=device)[None, :, None]
        ys = torch.tensor([*case["y"], 0.0], dtype=torch.float64, device=device)[None]
        coarse, fine = (at_query(law, xs, ys, (k * FINE[0], k * FINE[1])) for k in (1, 2))
        for name, before, after in zip(("posterior", "prediction"), coarse, fine, strict=True):
            found[name].append(after)
            found[f"{name}_error"].append(abs(after - before))
    return found


def at_query(law: PromptLaw, xs: Tensor, ys: Tensor, nodes: Nodes) -> tuple[float, float]:
    """Posterior of the first class and prediction at the last input of one prompt."""
    one = posterior_with(law, xs, ys, nodes)
    return float(one.classes[0, -1, 0]), float(one.prediction[0, -1])


def quadrature_errors(law: PromptLaw, xs: Tensor, ys: Tensor, nodes: Nodes) -> Tensor:
    """|change of the prediction| (B, N) by doubling the nodes of frequency and of scale."""
    doubled = (2 * nodes[0], 2 * nodes[1])
    return (posterior_with(law, xs, ys, nodes).prediction - posterior_with(law, xs, ys, doubled).prediction).abs()


def orthogonality(law: Plain, prompts: int, stream_key: str, device: str) -> dict[str, Any]:
    """Count, sums and sums of squares of Z = mean over prefixes of (y_i - prediction_i) tanh(g_i), for three g_i:

    the prediction itself, the difference of the predictions of the first two classes, and the label before.
    quadrature: the mean over some prompts of what doubling the nodes changes in a prediction; |E Z| is at most what is
    left of it, as every tanh(g_i) is a function of what is seen, whatever its nodes.
    """
    chosen = PromptLaw.from_plain(law)
    generator = stream(stream_key, device)
    total, squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for start in range(0, prompts, CHUNK):
        drawn = chosen.sample(min(CHUNK, prompts - start), generator)
        Z = products(posterior(chosen, drawn.xs, drawn.ys), drawn.ys).cpu()
        total, squares = total + Z.sum(0), squares + Z.square().sum(0)
    few = chosen.sample(16, generator)
    quadrature = float(quadrature_errors(chosen, few.xs, few.ys, NODES).mean())
    return {
        "count": prompts, "sum": total.tolist(), "sum_of_squares": squares.tolist(), "quadrature": quadrature,
    }  # fmt: skip


def products(found: Posterior, ys: Tensor) -> Tensor:
    """The three means over prefixes, (B, 3)."""
    before = torch.cat([torch.zeros_like(ys[:, :1]), ys[:, :-1]], 1)
    seen = (found.prediction, found.by_class[..., 0] - found.by_class[..., 1], before)
    return torch.stack([((ys - found.prediction) * g.tanh()).mean(1) for g in seen], -1)
