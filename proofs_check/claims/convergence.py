r"""Convergence: weights trained from the start that the theorem assumes end at the prediction.

Main statement
    Each replica draws its own setting, start and prompts from the claim's domain and trains by a plain first-order
    method on fresh prompts. It hits if |A_trained - A*|_F <= margin |A*|_F and, for d > 1, the leak |u12| |u21| is at
    most margin |A*|_F. Nobody knows the distribution of trained weights, so the statement counts hits: the
    probability p of a hit is at least `required`, by Clopper-Pearson over independent replicas.
What it would miss
    A prediction that is off by a relative delta still collects hits when delta is below the margin plus the training's
    own error, so `detectable` is the margin plus the largest error of a hit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..records.tasks import Task
from ..verdicts.replicas import count_replicas
from ..verdicts.verdict import Verdict
from .claim import Budget, Run, Values
from .settings import FloatArray, Setting, dimension_of
from .stationarity import MEASUREMENTS, Predictor

REPLICAS_PER_TASK = 16


@dataclass(frozen=True)
class Convergence:
    """Replicas trained from the theorem's start.

    setting(seed, replica) draws the replica's law; training holds the optimiser's settings.
    """

    predicted: Predictor
    setting: Callable[[int, int], Setting]
    training: dict[str, Any]
    margin: float = 0.05
    required: float = 0.9
    false_alarm: float = 1e-6

    @property
    def name(self) -> str:
        return "convergence of training"

    def configurations(self, budget: Budget) -> list[dict[str, Any]]:
        """One training configuration per replica."""
        common = {**self.training, "steps": budget.training_steps, "seed": budget.seed}
        return [
            {**common, "distribution": self.setting(budget.seed, replica), "replica": replica}
            for replica in range(budget.replicas)
        ]

    def tasks(self, budget: Budget) -> list[Task]:
        wanted = self.configurations(budget)
        return [
            Task(
                f"{MEASUREMENTS}:trained_weights",
                {"configurations": wanted[first : first + REPLICAS_PER_TASK]},
                budget.device,
                cost=4.0,
            )
            for first in range(0, len(wanted), REPLICAS_PER_TASK)
        ]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        settings = [one["distribution"] for one in self.configurations(budget)]
        errors = np.array(
            [error for s, w in zip(settings, by_replica(found), strict=True) for error in [self.error(s, *w)]]
        )
        count = count_replicas(
            int((errors <= self.margin).sum()),
            len(errors),
            required=self.required,
            false_alarm=self.false_alarm,
        )
        prompts = sum(sum(values["prompts"]) for values in found)
        hits = errors[errors <= self.margin]
        return Verdict(
            self.name, count.outcome, float(np.median(errors)), 0.0, self.margin,
            self.margin + float(hits.max(initial=0.0)), "as a relative error of A (median over replicas)",
            self.false_alarm, 0.0,
            f"{count}; {prompts:.1e} prompts",
            {
                "hits": count.hits, "replicas": count.replicas, "lower": count.lower, "upper": count.upper,
                "median": float(np.median(errors)), "largest": float(errors.max()),
            },
        )  # fmt: skip

    def error(self, setting: Setting, preconditioner: FloatArray, leak: float) -> float:
        """The relative error that decides a hit: of A, or of the leak where that is larger (d > 1)."""
        predicted = self.predicted(setting)
        size = float(np.linalg.norm(predicted))
        off = float(np.linalg.norm(preconditioner - predicted)) / size
        return off if dimension_of(setting) == 1 else max(off, leak / size)


def by_replica(found: list[Values]) -> list[tuple[FloatArray, float]]:
    """(A, leak) of each replica, in order."""
    return [
        (np.array(A), leak(np.array(W_PV), np.array(W_KQ)))
        for values in found
        for A, W_PV, W_KQ in zip(values["preconditioner"], values["W_PV"], values["W_KQ"], strict=True)
    ]


def leak(W_PV: FloatArray, W_KQ: FloatArray) -> float:
    """|u12| |u21|."""
    return float(np.linalg.norm(W_PV[-1, :-1]) * np.linalg.norm(W_KQ[-1, :-1]))
