r"""A predictor beside the Bayes predictor of a law, at every prefix and on average over the prefixes of each prompt.

Let f be the answer at a prefix, t = f(x_i) without noise, o and V its mean and variance under the law given what the
predictor sees, and m its mean under another law. Added up over fresh prompts are, by name,
    variance  V        distance        (f - o)^2      price  (m - o)^2
    cross     (f - o)(t - o)           cross_variance (f - o)^2 V
Each list has N + 1 entries: one for each prefix 0 .. N - 1, and one for the mean over the prefixes. Prompts are
independent, the prefixes of one prompt are not: so the risk of a whole prompt is bounded by its own spread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..mixtures.posterior import posterior
from ..mixtures.predictive_variances import predictive_law
from ..mixtures.prompt_laws import PromptLaw, Prompts
from ..training.random_streams import stream
from ..training.threads import one_thread
from .evaluations import CHUNK, Predict


@one_thread()
@torch.no_grad()
def averaged(
    law: PromptLaw,
    predict: Predict,
    other: PromptLaw,
    prompts: int,
    stream_key: str,
    cap: float,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Sums over `prompts` fresh prompts of the law; `other` is the law of m.

    -> count, cap, and by name {"sum", "squares", "capped", "capped_squares"}, the last two of values cut at cap.
    progress is told how many prompts are done.
    """
    generator = stream(stream_key)
    totals: dict[str, Tensor] = {}
    for start in range(0, prompts, CHUNK):
        batch = law.sample(min(CHUNK, prompts - start), generator)
        for name, values in _statistics(law, predict, other, batch).items():
            sums = _sums(torch.cat([values, values.mean(1, keepdim=True)], 1), cap)
            totals[name] = totals[name] + sums if name in totals else sums
        progress(start + len(batch.xs))
    return {"count": prompts, "cap": cap, **{name: _plain(sums) for name, sums in totals.items()}}


def _statistics(law: PromptLaw, predict: Predict, other: PromptLaw, batch: Prompts) -> dict[str, Tensor]:
    """Every statistic (B, N) by name."""
    xs, ys, t = batch.xs, batch.ys, batch.targets.double()
    o, V = posterior(law, xs, ys).prediction, predictive_law(law, xs, ys).variance
    m = o if other == law else posterior(other, xs, ys).prediction
    away = predict(xs, ys).double() - o
    return {
        "variance": V,
        "distance": away.square(),
        "price": (m - o).square(),
        "cross": away * (t - o),
        "cross_variance": away.square() * V,
    }


def _sums(values: Tensor, cap: float) -> Tensor:
    cut = values.clamp(-cap, cap)
    return torch.stack([values.sum(0), values.square().sum(0), cut.sum(0), cut.square().sum(0)])


def _plain(sums: Tensor) -> dict[str, list[float]]:
    return dict(zip(("sum", "squares", "capped", "capped_squares"), sums.tolist(), strict=True))
