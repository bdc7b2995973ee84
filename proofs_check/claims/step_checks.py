r"""Checks that the layer's prediction is one explicit preconditioned gradient step, on the same prompts.

Two checks
    LayerIsStep           at the predicted weights, layer and explicit step agree on every sampled prompt up to rounding
    TrainedLayerIsStep    a trained layer predicts what one step with the predicted preconditioner predicts, within a
                          margin in root mean square over fresh prompts; replicas are counted as in `convergence`
The explicit step is numerics' own: the gradient of the prompt's squared loss by automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..records.tasks import Task
from ..verdicts.replicas import count_replicas
from ..verdicts.verdict import Verdict, decide
from .claim import Budget, Run
from .convergence import Convergence
from .settings import Setting
from .stationarity import MEASUREMENTS, Predictor, layer_weights

PROMPTS_PER_CASE = 2000


@dataclass(frozen=True)
class LayerIsStep:
    """Layer and explicit step at the predicted weights.

    step    the preconditioner that the explicit step takes; altered in controls
    """

    predicted: Predictor
    step: Predictor
    settings: Callable[[int], list[Setting]]
    name: str = "layer equals step"

    def tasks(self, budget: Budget) -> list[Task]:
        cases = [
            {"distribution": setting, **layer_weights(self.predicted(setting)), "preconditioner": A.tolist()}
            for setting in self.settings(budget.seed)
            for A in [self.step(setting)]
        ]
        return [steps_task(cases, PROMPTS_PER_CASE, f"{self.name}/{budget.seed}", budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (values,) = run(self.tasks(budget))
        settings = self.settings(budget.seed)
        measured = max(values["largest_rounding"])
        return Verdict(
            self.name, decide(measured <= 1, 2, 2), measured, 0.0, 1.0, 2.0,
            "as the largest difference in units of its rounding bound", 0.0, 0.0,
            f"{len(settings) * PROMPTS_PER_CASE} prompts in {len(settings)} settings",
            {"largest": measured},
        )  # fmt: skip


@dataclass(frozen=True)
class TrainedLayerIsStep:
    """Trained layers, the same runs as the convergence check of fixed-point, against the explicit step."""

    trained: Convergence
    margin: float = 0.05
    required: float = 0.9
    false_alarm: float = 1e-6
    name: str = "trained layer predicts the step"

    def tasks(self, budget: Budget) -> list[Task]:
        return self.trained.tasks(budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.trained.tasks(budget))
        settings = [one["distribution"] for one in self.trained.configurations(budget)]
        weights = [pair for v in found for pair in zip(v["W_PV"], v["W_KQ"], strict=True)]
        cases = [
            {
                "distribution": s,
                "W_PV": W_PV,
                "W_KQ": W_KQ,
                "preconditioner": self.trained.predicted(s).tolist(),
            }
            for s, (W_PV, W_KQ) in zip(settings, weights, strict=True)
        ]
        (values,) = run([steps_task(cases, PROMPTS_PER_CASE, f"{self.name}/{budget.seed}", budget)])
        errors = np.array(values["difference"]) / np.array(values["step"])
        hits = errors[errors <= self.margin]
        count = count_replicas(len(hits), len(errors), required=self.required, false_alarm=self.false_alarm)
        return Verdict(
            self.name, count.outcome, float(np.median(errors)), 0.0, self.margin,
            self.margin + float(hits.max(initial=0.0)),
            "as a relative root mean square over prompts (median over replicas)", self.false_alarm, 0.0,
            f"{count}; {PROMPTS_PER_CASE} prompts each",
            {"hits": count.hits, "replicas": count.replicas, "median": float(np.median(errors)),
             "largest": float(errors.max())},
        )  # fmt: skip


def steps_task(cases: list[dict[str, Any]], prompts: int, stream_key: str, budget: Budget) -> Task:
    parameters = {"cases": cases, "prompts": prompts, "stream_key": stream_key}
    return Task(f"{MEASUREMENTS}:layers_against_steps", parameters, budget.device, cost=0.5)
