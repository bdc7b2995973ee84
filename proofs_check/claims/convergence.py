r"""Convergence: weights trained from the start that the theorem assumes end at the prediction.

Main statement
    Each replica draws its own setting, start and prompts from the claim's domain and trains by a plain first-order
    method on fresh prompts. It hits if |A_trained - A*|_F <= margin |A*|_F and, for d > 1, each of |u12| |u21|,
    |u12| |U|_F and |u| |u21| is at most margin |A*|_F. Nobody knows the distribution of trained weights, so the
    statement counts hits: the probability p of a hit is at least `required`, by Clopper-Pearson over independent
    replicas.
What it would miss: see `replica_verdict`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .claim import AlterationCost, Budget, Run
from .replica_verdict import replica_verdict
from .settings import FloatArray, Setting, dimension_of
from .stationarity import Predictor

if TYPE_CHECKING:
    from ...numerics.one_layer.observables import Blocks

TRAINED_WEIGHTS = "iclcheck.numerics.training.measurements:trained_weights"
REPLICAS_PER_TASK = 16
# Measured in the quick profile (evidence/quick-cpu.json), not derived: the error falls like the root of the prompts.
LARGEST_HIT, LARGEST_HIT_AT_STEPS = 0.046, 768
TRAINING_SECONDS = 1.7e-7  # about, per prompt on one core: for the order of tasks and estimates only


@dataclass(frozen=True)
class Convergence:
    """Replicas trained from the theorem's start.

    setting(seed, replica) draws the replica's law; training holds the optimiser's settings.
    """

    predicted: Predictor
    setting: Callable[[int, int], Setting]
    training: dict[str, Any]
    required: float = 0.9
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"

    @property
    def name(self) -> str:
        return "convergence of training"

    def configurations(self, budget: Budget) -> list[dict[str, Any]]:
        """One training configuration per replica."""
        return replicas_of({**self.training, "steps": budget.training_steps}, self.setting, budget)

    def expected_gap(self, budget: Budget) -> float:
        """The margin, and the largest error that a hit had in trainings of other lengths, scaled."""
        return budget.margin + LARGEST_HIT * math.sqrt(LARGEST_HIT_AT_STEPS / budget.training_steps)

    def tasks(self, budget: Budget) -> list[Task]:
        return training_tasks(self.configurations(budget), budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        settings = [one["distribution"] for one in self.configurations(budget)]
        weights = [pair for v in found for pair in zip(v["W_PV"], v["W_KQ"], strict=True)]
        errors = [self.error(s, np.array(PV), np.array(KQ)) for s, (PV, KQ) in zip(settings, weights, strict=True)]
        prompts = sum(sum(values["prompts"]) for values in found)
        return replica_verdict(
            self.name, np.array(errors), budget.margin, self.required, self.false_alarm, "as a relative error of A",
            f"{prompts:.1e} prompts",
        )  # fmt: skip

    def error(self, setting: Setting, W_PV: FloatArray, W_KQ: FloatArray) -> float:
        """What decides a hit, relative to |A*|_F: how far A is off, and for d > 1 the products that leak.

        |u12| |u21| alone would not see u12 U and u u21, which carry the part of the prediction even in the task.
        """
        # The verbs that only derive and predict never load numerics.
        from ...numerics.one_layer.observables import blocks, effective_preconditioner

        predicted = self.predicted(setting)
        off = float(np.linalg.norm(effective_preconditioner(W_PV, W_KQ) - predicted))
        leaks = leaking_products(blocks(W_PV, W_KQ)) if dimension_of(setting) > 1 else (0.0,)
        return max(off, *leaks) / float(np.linalg.norm(predicted))


def replicas_of(
    training: Mapping[str, Any], setting: Callable[[int, int], Setting], budget: Budget
) -> list[dict[str, Any]]:
    """One training configuration per replica, each with a law of its own."""
    return [
        {**training, "distribution": setting(budget.seed, replica), "seed": budget.seed, "replica": replica}
        for replica in range(budget.replicas)
    ]


def training_tasks(configurations: list[dict[str, Any]], budget: Budget) -> list[Task]:
    """The trainings, REPLICAS_PER_TASK in a task."""
    return [
        Task(
            TRAINED_WEIGHTS,
            {"configurations": part},
            budget.device,
            cost=TRAINING_SECONDS * sum(one["steps"] * one["batch_size"] for one in part),
        )
        for part in in_parts(configurations)
    ]


def in_parts(configurations: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The configurations of each task."""
    for first in range(0, len(configurations), REPLICAS_PER_TASK):
        yield configurations[first : first + REPLICAS_PER_TASK]


def leaking_products(parts: Blocks) -> tuple[float, float, float]:
    """|u12| |u21|, |u12| |U|_F and |u| |u21|: invariant under the scale of the two weights, zero without leak."""
    a, b = float(np.linalg.norm(parts.u12)), float(np.linalg.norm(parts.u21))
    return a * b, a * float(np.linalg.norm(parts.U)), abs(float(parts.u)) * b
