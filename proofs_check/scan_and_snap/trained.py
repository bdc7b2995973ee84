r"""The claim scan-trained: descent on sequences of finite length beside the flow in the limit of long ones.

Six checks
    FiniteStart     the real layer's first velocities averaged over all counts: at each length, without sampling
    the term in 1/T from the same, extrapolated
    LongSequences   replicas at T = infinity, batches and momentum: attention beside the joint flow at the time
                    steps x rate/(1 - momentum)
    FiniteGaps      replicas at T = 32, 128 and 512, each beside one at T = infinity with the same batches of classes:
                    the gap beside the predicted one
    two more        order, signs and freezing (`trained_phases`)
The error budget apart: LongSequences has the errors of step size, momentum and batches alone, FiniteGaps that of T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.scan_training import finite_sequences as theory
from ...theory.scan_training.means_over_counts import means_of_classes
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.replica_verdict import replica_verdict
from ..claims.settings import FloatArray
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from . import quantities
from .joint_flow import Table, random_table
from .trained_phases import CHECKS as PHASES
from .trained_phases import tables_of

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

STARTS = "iclcheck.numerics.scan_training.finite_starts:enumerated_starts"
TRAINED = "iclcheck.numerics.scan_training.sampled_training:trained_attention"
FLOW = "iclcheck.numerics.scan_and_snap.flows_of_tasks:joint_flows"
KEYS = (24, 48, 96, 192)  # each twice the one before: what Richardson's extrapolation needs
MOMENTUM, BATCH = 0.9, 128
LENGTHS = (32, 128, 512)
Made = Callable[[], "Formula"]

PARAMETERS = (
    Parameter("contexts", "P(l | n), one row for each class (K x M); next token n is token n"),
    Parameter("length", f"T, keys and the query: a whole number from 2 to {theory.LONGEST}"),
    Parameter("queries", "the query token of each class (K); left out: one query", required=False),
    Parameter("probabilities", "P_n (K); left out: equal", required=False),
    Parameter("decoder_rate", "eta_Y, a number", required=False, default=1.0),
    Parameter("attention_rate", "eta_Z, a number", required=False, default=1.0),
    Parameter("momentum", "of the descent, from 0 to below 1", required=False, default=0.0),
    Parameter("steps", "how many, each of a batch mean", required=False, default=1),
)


def table_seed(budget: Budget, number: int) -> int:
    """Tables of one shape that differ."""
    return 1_000_000 * budget.seed + number


# Without sampling


def small_tables(seed: int) -> list[Table]:
    """Two or three tokens a class, so that all counts can be listed; one query and two."""
    return [
        random_table((2, 5, 1, 1, 2), seed),
        random_table((3, 6, 2, 1, 1), seed),
        random_table((2, 40, 1, 1, 2), seed),
    ]


def starts_task(budget: Budget) -> Task:
    cases = [{"classes": one, "keys": list(KEYS)} for one in small_tables(budget.seed)]
    return Task(STARTS, {"cases": cases}, budget.device, cost=2.0)


def velocity_of(class_vectors: FloatArray, chances: FloatArray) -> FloatArray:
    """sum_n P_n f_n (e_n - 1/M)^T, (M, K), the columns of the next tokens."""
    K, M = class_vectors.shape
    found: FloatArray = (class_vectors * chances[:, None]).T @ (np.eye(K) - 1 / M)
    return found


# What the quadrature of `means_over_counts` may leave out, beside entries of size one.
CUT = 1e-9


def start_rows(budget: Budget, found: Values) -> list[Row]:
    """Velocity and force at every length against the means over counts, in units of the largest."""
    made = []
    for one, velocities, forces in zip(small_tables(budget.seed), found["velocity"], found["force"], strict=True):
        contexts, rows, chances = tables_of(one)
        for keys, velocity, force in zip(KEYS, velocities, forces, strict=True):
            means, slopes = means_of_classes(contexts, keys)
            expected = theory.force_of_means(means, slopes, rows, chances)
            made.append(relative_row(np.array(force), expected))
            made.append(relative_row(np.array(velocity)[:, : len(contexts)], velocity_of(means, chances)))
    return made


def relative_row(measured: FloatArray, expected: FloatArray) -> Row:
    size = float(np.abs(measured).max())
    return float(np.abs(measured - expected).max()) / size, CUT / size


def extrapolated(values: list[FloatArray]) -> tuple[FloatArray, float]:
    """The limit of a_1 + a_2/S + .. along doubled S, and how far the last two extrapolations are apart.

    The second is an estimate of the error of the first, not a bound.
    """
    level, best = 1, values[-1]
    while len(values) > 1:
        previous = best
        values = [(2**level * b - a) / (2**level - 1) for a, b in pairwise(values)]
        best, level = values[-1], level + 1
    return best, float(np.linalg.norm(best - previous))


def term_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """S (measured - limit) as S grows, against the derived coefficients, in units of these as measured."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        made = []
        for one, velocities, forces in zip(small_tables(budget.seed), found["velocity"], found["force"], strict=True):
            contexts, of_query, chances = tables_of(one)
            of_class, of_force = theory.coefficients(formula().parts, contexts, of_query, chances)
            means, slopes = theory.limit_of_means(contexts)
            limits = (velocity_of(means, chances), theory.force_of_means(means, slopes, of_query, chances))
            measured = ([np.array(v)[:, : len(contexts)] for v in velocities], [np.array(f) for f in forces])
            for values, limit, derived in zip(
                measured, limits, (velocity_of(of_class, chances), of_force), strict=True
            ):
                scaled = [keys * (value - limit) for keys, value in zip(KEYS, values, strict=True)]
                term, error = extrapolated(scaled)
                size = float(np.linalg.norm(term))
                made.append((float(np.linalg.norm(term - derived)) / size, error / size))
        return made

    return rows


def described(found: Values) -> str:
    return f"{len(found['force'])} tables, T - 1 = {', '.join(map(str, KEYS))} keys, all counts"


# Trained


@dataclass(frozen=True)
class LongSequences:
    """Replicas at T = infinity: |z - z of the flow| / |z of the flow|, the larger of two times, within the margin.

    Every replica has tables of its own (K = 3, M = 30), and eta_Z/eta_Y = 1/4, 1/2, 3/4 or 1. The times are about
    K ln M/eta_Y and three times that. The margin is for momentum, which lags by mu/(1 - mu) steps, and for the step.
    """

    replicas: int = 96
    steps: int = 1_200
    flow_time: float = 20.0  # of the decoder, eta_Y t, after all steps
    margin: float = 0.15
    required: float = 0.8
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "long sequences beside the joint flow"

    def expected_gap(self, budget: Budget) -> float:
        """The margin, and the largest distance of a hit as measured in the quick profile."""
        return self.margin + 0.1

    def count(self, budget: Budget) -> int:
        return max(1, self.replicas * budget.replicas // 192)

    def recorded(self, budget: Budget) -> list[int]:
        """Fewer steps only where the budget has far fewer than the quick one."""
        steps = min(self.steps, 3 * budget.training_steps)
        return [max(1, steps // 3), steps]

    def runs(self, budget: Budget) -> list[dict[str, Any]]:
        rate = self.flow_time * (1 - MOMENTUM) / self.steps
        return [
            {
                "classes": random_table((3, 30, 1, 4, 5), table_seed(budget, k)), "decoder_rate": rate,
                "attention_rate": rate * (1 + k % 4) / 4, "recorded": self.recorded(budget), "momentum": MOMENTUM,
                "batch_size": BATCH, "length": None, "replica": 1_000_000 * budget.seed + k,
            }
            for k in range(self.count(budget))
        ]  # fmt: skip

    def tasks(self, budget: Budget) -> list[Task]:
        runs = self.runs(budget)
        times = [step / (1 - MOMENTUM) for step in self.recorded(budget)]
        flow = {
            "tasks": [run["classes"] for run in runs],
            "decoder_rates": [run["decoder_rate"] for run in runs],
            "attention_rates": [run["attention_rate"] for run in runs],
            "times": times,
        }
        cost = 1e-3 * self.recorded(budget)[-1] * (0.5 + len(runs) / 100)
        return [
            Task(TRAINED, {"runs": runs}, budget.device, cost=cost),
            Task(FLOW, flow, budget.device, cost=1.0),
        ]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        trained, flow = (np.array(values["Z"]) for values in run(self.tasks(budget)))
        size = np.linalg.norm(flow, axis=(-2, -1))
        errors = (np.linalg.norm(trained - flow, axis=(-2, -1)) / size).max(axis=0)
        steps = self.recorded(budget)[-1]
        return replica_verdict(
            self.name, errors, self.margin, self.required, self.false_alarm, "as a relative distance of logits",
            f"{steps} steps of {BATCH} sequences",
        )  # fmt: skip


@dataclass(frozen=True)
class FiniteGaps:
    """Replicas at T = 32, 128 and 512, less their twins at T = infinity: the gap along the predicted one, less 1.

    Every replica has tables of its own.

    With D the difference of attention and u = eta_Y eta_Z a_k (force at T - force of the limit) the error is
    |D.u/u.u - 1|: 0 in the mean to first order in the pull. One run's batches of 128 leave a spread of some 0.04, 0.1
    and 0.15 at the three lengths.
    """

    replicas: int = 96
    steps: int = 60
    rate: float = 0.002
    margin: float = 0.5
    required: float = 0.8
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "gap of finite sequences"

    def expected_gap(self, budget: Budget) -> float:
        """The margin, and the largest error of a hit as measured in the quick profile."""
        return self.margin + 0.35

    def lengths(self, budget: Budget) -> list[int]:
        """Of the replicas: seven of a dozen at 32, four at 128, one at 512, which takes the longest."""
        pattern = (32, 128, 32, 32, 128, 32, 32, 128, 32, 32, 128, 512)
        return [pattern[k % len(pattern)] for k in range(max(1, self.replicas * budget.replicas // 192))]

    def table_of(self, replica: int, budget: Budget) -> Table:
        return random_table((2, 30, 1, 4, 6), table_seed(budget, replica))

    def run_of(self, replica: int, length: int | None, budget: Budget) -> dict[str, Any]:
        return {
            "classes": self.table_of(replica, budget), "decoder_rate": self.rate, "attention_rate": self.rate,
            "recorded": [min(self.steps, budget.training_steps + 1)], "momentum": MOMENTUM, "batch_size": BATCH,
            "length": length, "replica": 1_000_000 * budget.seed + replica,
        }  # fmt: skip

    def tasks(self, budget: Budget) -> list[Task]:
        """One for each length, and the twins."""
        lengths = self.lengths(budget)
        made = []
        for length in (None, *sorted(set(lengths))):
            chosen = [k for k, own in enumerate(lengths) if length in (None, own)]
            runs = [self.run_of(k, length, budget) for k in chosen]
            draws = len(runs) * self.steps * BATCH * (length or 1)
            made.append(Task(TRAINED, {"runs": runs}, budget.device, cost=0.2 + 5e-8 * draws))
        return made

    def gaps(self, run: Run, budget: Budget) -> list[FloatArray]:
        """The difference of attention of every replica, (Q, M)."""
        lengths = self.lengths(budget)
        twins, *others = (values["Z"][-1] for values in run(self.tasks(budget)))
        left = {length: iter(Z) for length, Z in zip(sorted(set(lengths)), others, strict=True)}
        return [np.array(next(left[length])) - np.array(twin) for length, twin in zip(lengths, twins, strict=True)]

    def predicted(self, replica: int, length: int, budget: Budget) -> FloatArray:
        """eta_Y eta_Z a_k times what T adds to the force."""
        contexts, rows, chances = tables_of(self.table_of(replica, budget))
        finite = theory.force_of_means(*means_of_classes(contexts, length - 1), rows, chances)
        limit = theory.force_of_means(*theory.limit_of_means(contexts), rows, chances)
        steps = min(self.steps, budget.training_steps + 1)
        return self.rate**2 * theory.moved(steps, MOMENTUM)[1] * (finite - limit)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        lengths, found = self.lengths(budget), []
        for replica, (length, gap) in enumerate(zip(lengths, self.gaps(run, budget), strict=True)):
            expected = self.predicted(replica, length, budget)
            found.append(float((gap * expected).sum() / (expected**2).sum()))
        shares_of = np.array(found)
        verdict = replica_verdict(
            self.name, np.abs(shares_of - 1), self.margin, self.required, self.false_alarm,
            "of the predicted gap", f"T = {', '.join(str(one) for one in sorted(set(lengths)))}",
        )  # fmt: skip
        means = {
            f"mean share at T = {length}": float(shares_of[np.array(lengths) == length].mean())
            for length in sorted(set(lengths))
        }
        verdict.details.update(means)
        return verdict


def trained_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "scan-trained",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.for_user(**parameters),
        (
            ExactCheck(
                "first velocities at finite T", starts_task, start_rows, described, "in units of the largest"
            ),
            ExactCheck(
                "the term in 1/T, extrapolated", starts_task, term_rows(formula), described,
                "in units of the term", resolution=0.01,
            ),
            LongSequences(),
            FiniteGaps(),
            *PHASES,
        ),
        "the start without sampling: K <= 3, M <= 40, two or three tokens a class; trained with momentum 0.9, batches "
        "of 128, from Y = Z = 0: at T = infinity K = 3, M = 30, to three times K ln M/eta_Y; the gap of T = 32, 128, "
        "512 early, K = 2, M = 30; order, signs and freezing at T = 128, K = 2, M = 30, common tokens alike, 120 steps "
        "at eta_Y = eta_Z = 0.3 and 1; the full profile adds K = 10, M = 1000, eta_Y = 0.5 .. 5 (minutes on a CPU; "
        "--device cuda trains there). What larger steps do: docs/scan_training.md",
        (
            Alterable(
                theory.formula,
                theory.points,
                lambda seed: [
                    {"p": np.array(one["contexts"][0]), "o": np.array(one["contexts"][1])} for one in small_tables(seed)
                ],
                lambda altered: trained_claim(lambda: altered),
            ),
        ),
        quantities=quantities.TRAINED,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claim."""
    return (trained_claim(),)
