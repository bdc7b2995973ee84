"""Evaluations of the shipped models as tasks: one model on one law each, so that claims share them.

The random numbers of a task follow from the law and the seed alone: all models of a law see the same prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..claims.claim import Budget, Values
from ..records.plain_data import content_hash
from ..records.tasks import Task
from .shipped_models import recorded_digest

MEASUREMENT = "iclcheck.numerics.decoders.evaluations:evaluated_models"
Plain = dict[str, Any]
FULL = 16  # times as many prompts in the full profile


def prompts_of(budget: Budget, quick: int) -> int:
    """`quick` prompts, 16 times as many in the full profile, fewer where the budget has less than 8 million."""
    whole = quick * FULL if budget.profile == "full" else quick
    return max(64, min(whole, budget.prompts // 800))


def evaluation_task(
    law: Mapping[str, Any],
    models: Sequence[str],
    untrained: Sequence[str],
    oracles: Mapping[str, Mapping[str, Any]],
    prompts: int,
    caps: float | Sequence[float],
    budget: Budget,
    *,
    among: bool = True,
) -> Task:
    """Shipped models and untrained predictors on prompts of a law, beside oracles."""
    parameters = {
        "law": law,
        "models": {name: recorded_digest(name) for name in models},
        "untrained": list(untrained),
        "oracles": oracles,
        "prompts": prompts,
        "stream_key": f"evaluation/{budget.seed}/{content_hash(law)}",
        "cap": caps,
        "among": among,
    }
    return Task(MEASUREMENT, parameters, budget.device, cost=1e-4 * prompts * (1.6 * len(models) + len(oracles)))


def mean_of(values: Values, *path: str, kind: str = "sum") -> list[float]:
    """Means over prompts of a statistic, per prefix."""
    sums: Any = values
    for name in path:
        sums = sums[name]
    return [one / values["count"] for one in sums[kind]]


def noisy_risks(values: Values, oracle: str, noise: float) -> list[float]:
    """The oracle's own estimate of its risk on labels, per prefix: its mean variance, and that of the noise."""
    return [one + noise for one in mean_of(values, "variance", oracle)]
