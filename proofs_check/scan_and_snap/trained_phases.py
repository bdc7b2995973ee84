r"""Checks on trained layers, counted over replicas: the order in which tokens gain attention, and its freezing.

Two checks on the same trainings
    GainOrder    pairs of distinct tokens of one class with frequencies at least 3 : 2 apart: the frequent one gains
                 more; tokens with more than a fifth of the largest predicted force: they move in its direction; the
                 share of attention on distinct tokens grows in every class
    Freezing     how fast the entropy of attention still moves at the end, beside its fastest; no token takes all
Domain
    quick   10 common tokens that share half of the probability equally, and 10 distinct tokens a class with shares in
            proportion to random numbers; K = 2, M = 30, T = 128, batches of 128, momentum 0.9, eta_Y = eta_Z = 0.3 or 1
    full    more of these, and 10 seeds for each of eta_Y = 0.5, 1, 2, 5 at eta_Z = 0.5 on 10 classes with 5 queries
            and M = 1000 (after Syn-Medium of [tian2023scan, sec. 8])
Every replica has tables of its own: their share of hits is that of the domain.
The predicted force is that at finite T (scan-trained): at T = 128 it has another sign than the limit's for rare
distinct tokens, which lose attention although they are distinct.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.scan_training import finite_sequences as theory
from ...theory.scan_training.means_over_counts import means_of_classes
from ..claims.claim import AlterationCost, Budget, Run
from ..claims.replica_verdict import replica_verdict
from ..claims.settings import FloatArray, generator
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .joint_flow import Table

TRAINED = "iclcheck.numerics.scan_training.sampled_training:trained_attention"
RATES = (0.3, 1.0)
MEDIUM_RATES, SEEDS = (0.5, 1.0, 2.0, 5.0), 10
RECORDED = (0, 5, 10, 15, 20, 30, 40, 60, 80, 100, 120)
MEDIUM_RECORDED = (0, 10, 20, 40, 60, 80, 100, 150, 200, 300, 400, 500, 600)
LENGTH, BATCH, MOMENTUM = 128, 128, 0.9
APART, FELT = 1.5, 0.2  # frequencies of a pair, and shares of the largest force, from which on a token counts


def half_common(name: str, seed: int, queries: int, common: int, distinct: int, vocabulary: int) -> Table:
    """Two classes a query; common tokens share half of the probability equally, distinct ones the other half."""
    draw, K = generator(f"trained phases/{name}", seed), 2 * queries
    rows = []
    for n in range(K):
        row = [0.0] * vocabulary
        row[:common] = [0.5 / common] * common
        weights = [int(w) for w in draw.integers(10, 100, size=distinct)]
        row[common + n * distinct : common + (n + 1) * distinct] = [w / sum(weights) / 2 for w in weights]
        rows.append(row)
    return {"contexts": rows, "queries": [n // 2 for n in range(K)], "probabilities": [1 / K] * K}


def run_of(
    table: Table, eta_Y: float, eta_Z: float, replica: int, budget: Budget, steps: tuple[int, ...] = RECORDED
) -> dict[str, Any]:
    recorded = [step for step in steps if step <= max(10, budget.training_steps)]
    return {
        "classes": table, "decoder_rate": eta_Y, "attention_rate": eta_Z, "recorded": recorded,
        "momentum": MOMENTUM, "batch_size": BATCH, "length": LENGTH, "replica": 1_000_000 * budget.seed + replica,
    }  # fmt: skip


@dataclass(frozen=True)
class CountedRuns:
    """The trainings that both checks judge; subclasses give an error to each."""

    name: str
    margin: float
    unit: str
    replicas: int = 48
    required: float = 0.7
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    runs_in_a_task: int = 10

    def error(self, run: dict[str, Any], Z: FloatArray, entropy: FloatArray) -> float:
        """Of one training: its Z (records, Q, M) and the entropies of its classes (records, K)."""
        raise NotImplementedError

    def expected_gap(self, budget: Budget) -> float:
        """The margin, and as much for the largest error of a hit."""
        return 2 * self.margin

    def runs(self, budget: Budget) -> list[dict[str, Any]]:
        count = max(1, self.replicas * budget.replicas // 192)
        small = [
            run_of(half_common(f"small {k}", budget.seed, 1, 10, 10, 30), RATES[k % 2], RATES[k % 2], k, budget)
            for k in range(count)
        ]
        return [*small, *self.medium(budget)]

    def medium(self, budget: Budget) -> list[dict[str, Any]]:
        """In the full profile only."""
        if budget.profile != "full":
            return []
        # tables of their own at each rate, too: with those of another rate they would share the batches
        return [
            run_of(half_common(f"medium {k}", budget.seed, 5, 20, 20, 1000), eta_Y, 0.5, k, budget, MEDIUM_RECORDED)
            for k, eta_Y in enumerate(np.repeat(MEDIUM_RATES, SEEDS).tolist())
        ]

    def parts(self, budget: Budget) -> list[list[dict[str, Any]]]:
        """The runs task by task, each of one shape."""
        runs, small = self.runs(budget), len(self.runs(budget)) - len(self.medium(budget))
        size = self.runs_in_a_task
        groups = [runs[start : min(start + size, small)] for start in range(0, small, size)]
        return groups + [runs[start : start + size] for start in range(small, len(runs), size)]

    def tasks(self, budget: Budget) -> list[Task]:
        made = []
        for part in self.parts(budget):
            M = len(part[0]["classes"]["contexts"][0])
            cost = len(part) * part[0]["recorded"][-1] * 5e-4 * (1 + M / 150)
            made.append(Task(TRAINED, {"runs": part}, budget.device, cost=cost))
        return made

    def judge(self, run: Run, budget: Budget) -> Verdict:
        errors = []
        for part, values in zip(self.parts(budget), run(self.tasks(budget)), strict=True):
            Z, entropy = np.array(values["Z"]), np.array(values["entropy"])  # (records, R, Q, M) and (records, R, K)
            errors += [self.error(one, Z[:, k], entropy[:, k]) for k, one in enumerate(part)]
        return replica_verdict(
            self.name, np.array(errors), self.margin, self.required, self.false_alarm, self.unit,
            f"T = {LENGTH}, {self.runs(budget)[0]['recorded'][-1]} steps of {BATCH} sequences",
        )  # fmt: skip


@dataclass(frozen=True)
class GainOrder(CountedRuns):
    """The share of statements that a training breaks, the largest of the three kinds."""

    def error(self, run: dict[str, Any], Z: FloatArray, entropy: FloatArray) -> float:
        del entropy
        contexts, rows, chances = tables_of(run["classes"])
        kinds = (
            ordered_pairs(contexts, rows, Z[-1]),
            felt_signs(contexts, rows, chances, Z[-1]),
            grown_shares(contexts, rows, Z[-1]),
        )
        return float(max(1 - np.mean(kind) for kind in kinds))


@dataclass(frozen=True)
class Freezing(CountedRuns):
    """The entropy's speed at the end beside its fastest, both a step; 1 where one token took all."""

    def error(self, run: dict[str, Any], Z: FloatArray, entropy: FloatArray) -> float:
        del Z
        mean = entropy.mean(axis=-1)
        speeds = np.abs(np.diff(mean) / np.diff(run["recorded"]))
        alive = mean[-1] > mean[0] / 2
        return float(speeds[-1] / speeds.max()) if alive else 1.0


def tables_of(one: Table) -> tuple[FloatArray, list[int], FloatArray]:
    """P(l | n), the rows of the queries, and P_n."""
    rows = np.unique(np.array(one["queries"]), return_inverse=True)[1]
    return np.array(one["contexts"]), rows.tolist(), np.array(one["probabilities"])


def distinct_of(contexts: FloatArray, n: int) -> list[int]:
    """The tokens of class n alone, frequent ones first."""
    own = np.flatnonzero((contexts[n] > 0) & ((contexts > 0).sum(0) == 1))
    return sorted((int(token) for token in own), key=lambda token: -contexts[n, token])


def ordered_pairs(contexts: FloatArray, rows: list[int], Z: FloatArray) -> list[bool]:
    """For each pair of distinct tokens that are far apart in frequency, whether the frequent one gained more."""
    found = []
    for n, row in enumerate(rows):
        own = distinct_of(contexts, n)
        for place, first in enumerate(own):
            rarer = [token for token in own[place + 1 :] if contexts[n, first] >= APART * contexts[n, token]]
            found += [bool(Z[row, first] > Z[row, token]) for token in rarer]
    return found


def felt_signs(contexts: FloatArray, rows: list[int], chances: FloatArray, Z: FloatArray) -> list[bool]:
    """For each token with a large predicted force, whether it moved in that direction."""
    force = theory.force_of_means(*means_of_classes(contexts, LENGTH - 1), rows, chances)
    felt = np.abs(force) >= FELT * np.abs(force).max()
    return [bool(same) for same in (np.sign(force) == np.sign(Z))[felt]]


def grown_shares(contexts: FloatArray, rows: list[int], Z: FloatArray) -> list[bool]:
    """For each class, whether its distinct tokens have a larger share of attention than at the start."""
    weights = contexts * np.exp(Z[rows])
    shares = weights / weights.sum(1, keepdims=True)
    return [
        bool(shares[n][own].sum() > contexts[n][own].sum())
        for n in range(len(rows))
        if (own := distinct_of(contexts, n))
    ]


CHECKS = (
    GainOrder("order of gains", 0.2, "of the statements of one kind broken"),
    Freezing("attention freezes", 0.1, "of the fastest change of entropy a step"),
)
