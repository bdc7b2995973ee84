r"""One predictor beside Bayes predictors, at every prefix and on average over the prefixes of each prompt.

The statistics are those of `evaluations`; each list of sums has one entry more, for the mean of the statistic over the
N prefixes of a prompt. Means of different prompts are independent, those of the prefixes of one prompt are not: so the
risk of a whole prompt is bounded by its own spread, and not prefix by prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..mixtures.prompt_laws import PromptLaw
from ..training.threads import one_thread
from .evaluations import Predict, fresh_batches, nested, plain_sums, statistics_of, sums_of


@one_thread()
@torch.no_grad()
def averaged(
    law: PromptLaw,
    predict: Predict,
    oracles: Mapping[str, PromptLaw],
    prompts: int,
    stream_key: str,
    cap: float,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """`evaluated` for one predictor, called "model", with lists over the prefixes 0 .. N - 1 and their mean.

    progress is told how many prompts are done.
    """
    totals: dict[tuple[str, ...], Tensor] = {}
    done = 0
    for batch in fresh_batches(law, prompts, stream_key, device):
        for key, values in statistics_of(batch, {"model": predict}, oracles):
            sums = sums_of(torch.cat([values, values.mean(1, keepdim=True)], 1), cap)
            totals[key] = totals[key] + sums if key in totals else sums
        done += len(batch.xs)
        progress(done)
    return {"count": prompts, "cap": cap, **nested({key: plain_sums(sums) for key, sums in totals.items()})}
