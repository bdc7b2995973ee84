r"""A check on trained layers, counted over replicas: what the learning rates do to the attention that is left.

Each replica is three trainings on the same task and the same sequences, up to the same step: at eta_Y = eta_Z = 1, at
eta_Y = 10 with eta_Z = 1, and at eta_Y = eta_Z = 0.3. It hits if the entropy of attention is larger with the faster
decoder and larger with the slower rates: denser, as [tian2023scan, sec. 6, (a) to (c)] has it late in training. No
margin: the sign alone is predicted for training on samples, whose flow is that of the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..claims.claim import AlterationCost, Budget, Run
from ..claims.replica_verdict import replica_verdict
from ..claims.settings import FloatArray
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .trained_phases import BATCH, LENGTH, TRAINED, half_common, run_of

RATES = ((1.0, 1.0), (10.0, 1.0), (0.3, 0.3))  # (eta_Y, eta_Z): the base, a faster decoder, both slower


@dataclass(frozen=True)
class RatesOfTraining:
    """How much less attention has gathered at the other two pairs of rates, in units of the base's fall of entropy."""

    name: str = "rates of trained layers"
    replicas: int = 24
    required: float = 0.5
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    replicas_in_a_task: int = 4

    def expected_gap(self, budget: Budget) -> float | None:
        """A sign has no margin; the verdict states the smallest difference that was seen."""
        return None

    def triples(self, budget: Budget) -> list[list[dict[str, Any]]]:
        """Of each replica the three trainings; they draw the same sequences, which the rates do not enter."""
        count = max(1, self.replicas * budget.replicas // 192)
        tables = [half_common(f"rates {k}", budget.seed, 1, 10, 10, 30) for k in range(count)]
        return [[run_of(table, *pair, k, budget) for pair in RATES] for k, table in enumerate(tables)]

    def parts(self, budget: Budget) -> list[list[dict[str, Any]]]:
        """The trainings task by task."""
        triples, size = self.triples(budget), self.replicas_in_a_task
        groups = [triples[start : start + size] for start in range(0, len(triples), size)]
        return [[run for triple in group for run in triple] for group in groups]

    def tasks(self, budget: Budget) -> list[Task]:
        return [
            Task(TRAINED, {"runs": part}, budget.device, cost=len(part) * part[0]["recorded"][-1] * 6e-4)
            for part in self.parts(budget)
        ]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        ends = []
        for values in run(self.tasks(budget)):
            ends.append(np.array(values["entropy"]).mean(-1)[[0, -1]])  # mean over classes, (2, runs)
        errors = less_gathered(np.concatenate(ends, axis=1))
        steps = self.triples(budget)[0][0]["recorded"][-1]
        return replica_verdict(
            self.name, errors, 0.0, self.required, self.false_alarm, "of the base's fall of entropy",
            f"T = {LENGTH}, {steps} steps of {BATCH} sequences, three pairs of rates", signed=True,
        )  # fmt: skip


def less_gathered(ends: FloatArray) -> FloatArray:
    """Of each replica the worse of the two differences, (replicas,), from entropies at start and end, (2, 3 replicas).

    Negative where both entropies are above the base's; 1, a miss, where the base's has not fallen or is no number.
    """
    start, base, faster, slower = ends[0, 0::3], ends[1, 0::3], ends[1, 1::3], ends[1, 2::3]
    fallen = start > base
    found: FloatArray = np.maximum(base - faster, base - slower) / np.where(fallen, start - base, 1.0)
    return np.where(fallen, found, 1.0)
