r"""Checks that the layer's prediction is one explicit preconditioned gradient step, on the same prompts.

Two checks
    LayerIsStep           for random A, layer and explicit step agree on the sampled prompts up to rounding
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
from ..verdicts.verdict import Verdict, decide
from .claim import Budget, Run
from .convergence import Convergence
from .replica_verdict import replica_verdict
from .settings import ROUNDED, FloatArray, Setting, dimension_of, generator
from .stationarity import MEASUREMENTS, layer_weights

PROMPTS_PER_CASE = 2000


@dataclass(frozen=True)
class LayerIsStep:
    """Layer with u U = A for random A, not symmetric, against the explicit step preconditioned with A^T.

    It tests the identity of the two functions, transpose included, and nothing about A*.
    step    the preconditioner that the explicit step takes for A; a control leaves out the transpose
    """

    settings: Callable[[int], list[Setting]]
    step: Callable[[FloatArray], FloatArray] = np.transpose
    name: str = "layer equals step"

    def tasks(self, budget: Budget) -> list[Task]:
        cases = []
        for place, setting in enumerate(self.settings(budget.seed)):
            d = dimension_of(setting)
            A = generator(f"{self.name}/{place}", budget.seed).uniform(-1, 1, size=(d, d))
            step = self.step(A).tolist()
            cases.append({"distribution": setting, **layer_weights(A), "preconditioner": step})
        return [steps_task(cases, PROMPTS_PER_CASE, f"{self.name}/{budget.seed}", budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (values,) = run(self.tasks(budget))
        settings = self.settings(budget.seed)
        # u and U are rounded before they enter a task, each by ROUNDED at most.
        allowed = 2 * ROUNDED
        measured = max(d / s for d, s in zip(values["difference"], values["step"], strict=True))
        return Verdict(
            self.name, decide(measured <= allowed, 2 * allowed, 1e-6), measured, 0.0, allowed, 2 * allowed,
            "as a relative root mean square over prompts", 0.0, 0.0,
            f"{len(settings) * PROMPTS_PER_CASE} prompts, {len(settings)} random A",
            {"largest in units of its rounding bound": max(values["largest_rounding"])},
        )  # fmt: skip


@dataclass(frozen=True)
class TrainedLayerIsStep:
    """Trained layers, the same runs as the convergence check of fixed-point, against the explicit step."""

    trained: Convergence
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
        return replica_verdict(
            self.name, errors, budget.margin, self.required, self.false_alarm,
            "as a relative root mean square over prompts", f"{PROMPTS_PER_CASE} prompts each",
        )  # fmt: skip


def steps_task(cases: list[dict[str, Any]], prompts: int, stream_key: str, budget: Budget) -> Task:
    parameters = {"cases": cases, "prompts": prompts, "stream_key": stream_key}
    return Task(f"{MEASUREMENTS}:layers_against_steps", parameters, budget.device, cost=0.5)
