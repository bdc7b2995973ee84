r"""Checks of the population loss on all parameters: its value, its gradient, and where it leads training.

Three checks
    SampledLoss          the mean loss of the real layer over fresh prompts is the predicted L
    EnumeratedLoss       loss and all gradients over Gauss nodes, exact up to rounding, at random weights
    DescentPath          stochastic gradient descent from a random start of ALL parameters ends where gradient descent
                         on the predicted L, same rate and number of steps, ends
The predictions come from the trace polynomial and its matrix derivatives, the measurements from the layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.heavy_tails import MeanComparison, compare_mean
from ..verdicts.verdict import Verdict, decide
from .claim import AlterationCost, Budget, Run, Values
from .convergence import REPLICAS_PER_TASK, replicas_of, training_tasks
from .replica_verdict import replica_verdict
from .sampled_verdicts import SampledCheck, verdict_on_means
from .settings import FloatArray, Setting, dimension_of, gaussian_setting, generator
from .stationarity import ENUMERATED, SAMPLED, described

if TYPE_CHECKING:
    from ...theory.one_layer.population_loss import LossOnWeights

Loss = Callable[[], "LossOnWeights"]
GAP_OF_LOSS, GAP_OF_LOSS_AT_PROMPTS = 0.027, 8_000_000  # measured (evidence/quick-cpu.json), not derived


def gap_of_sampled_loss(budget: Budget) -> float:
    """The gap that a sampled loss or risk will state, scaled from one that was measured."""
    return GAP_OF_LOSS * math.sqrt(GAP_OF_LOSS_AT_PROMPTS / budget.prompts)


@dataclass(frozen=True)
class Case:
    """A law of the prompt and weights with all parameters different from zero."""

    setting: Setting
    weights: tuple[FloatArray, FloatArray]

    def parameters(self) -> dict[str, Any]:
        W_PV, W_KQ = self.weights
        return {"distribution": self.setting, "W_PV": W_PV.tolist(), "W_KQ": W_KQ.tolist()}

    def law(self) -> tuple[FloatArray, int]:
        return np.array(self.setting["covariance"]), self.setting["context_lengths"][0]

    def loss(self, on_weights: LossOnWeights) -> LossOnWeights:
        """The loss with this case's Psi and sigma^2."""
        return on_weights.for_task(np.array(self.setting["task_covariance"]), self.setting["noise_variance"])


def random_weights(name: str, seed: int, dimension: int, scale: float) -> tuple[FloatArray, FloatArray]:
    """W_PV and W_KQ with independent entries uniform in (-1.7, 1.7) scale where they enter, zeros elsewhere."""
    draw = generator(f"weights/{name}", seed)
    W_PV, W_KQ = (np.zeros((dimension + 1, dimension + 1)) for _ in range(2))
    W_PV[-1] = 1.7 * scale * draw.uniform(-1, 1, size=dimension + 1)
    W_KQ[:, :-1] = 1.7 * scale * draw.uniform(-1, 1, size=(dimension + 1, dimension))
    return W_PV, W_KQ


def loss_cases(
    sizes: tuple[tuple[int, int], ...], scale: float, name: str, seed: int, *, noise: bool = False
) -> list[Case]:
    """One case for each size (d, N); with noise, Psi is random too, else it is I."""
    return [
        Case(
            gaussian_setting(f"{name}/{d}/{n}", seed, d, [n], noise=noise, plain_task=not noise),
            random_weights(f"{name}/{d}/{n}", seed, d, scale),
        )
        for d, n in sizes
    ]


@dataclass(frozen=True)
class SampledLoss:
    """The sampled loss at random weights, relative to the predicted one."""

    loss: Loss
    cases: Callable[[int], list[Case]]
    resolution: float = 0.1
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "loss, sampled"

    def task(self, case: Case, budget: Budget) -> Task:
        stream_key = f"{self.name}/{budget.seed}/{content_hash(case.parameters())}"
        parameters = {**case.parameters(), "prompts": budget.prompts, "stream_key": stream_key}
        return Task(f"{SAMPLED}:sampled_loss", parameters, budget.device, cost=2e-7 * budget.prompts)

    def expected_gap(self, budget: Budget) -> float:
        """Scaled from a gap that was measured: the second moment of a loss is part of the measurement."""
        return gap_of_sampled_loss(budget)

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(case, budget) for case in self.cases(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        cases = self.cases(budget.seed)
        found = run([self.task(case, budget) for case in cases])
        predicted = [float(case.loss(self.loss()).value(*case.law(), case.weights)) for case in cases]
        compared = compared_with_sampled(predicted, found, self.false_alarm, self.miss)
        settings = [described(case.setting) for case in cases]
        return sampled_verdict(
            self, compared, "in units of the predicted L", f"at {len(cases)} random weights", settings
        )


def sampled_verdict(
    check: SampledCheck,
    compared: Sequence[MeanComparison],
    unit: str,
    where: str,
    settings: list[str],
    drawn: str = "prompts",
) -> Verdict:
    """The verdict on losses or risks in units of the predicted ones, so that all predictions are 1."""
    ran = f"{sum(one.draws for one in compared):.1e} {drawn} {where}"
    return verdict_on_means(check, compared, unit, ran, {"settings": settings})


def enumerated_verdict(
    name: str, resolution: float, rows: Sequence[tuple[float, float]], unit: str, ran: str, settings: list[str]
) -> Verdict:
    """The verdict on rows (difference, allowed) that no sampling has touched; a gap of twice the allowed is seen."""
    measured, allowed = max(rows, key=lambda row: row[0] / row[1])
    gap = 2 * max(row[1] for row in rows)
    return Verdict(
        name, decide(all(m <= a for m, a in rows), gap, resolution), measured, 0.0, allowed, gap, unit, 0.0, 0.0, ran,
        {"settings": settings},
    )  # fmt: skip


# A term of a risk is at most 6 products of matrices with d <= 3, and 6 such terms are added up: below 30 roundings. The
# rest of the hundred is for A, solved at condition numbers of some ten.
ROUNDINGS = 100 * float(np.finfo(float).eps)


def terms_of_risk(A: FloatArray, Lambda: FloatArray, Psi: FloatArray, M: FloatArray, C: FloatArray) -> FloatArray:
    """Bounds on the three terms of tr(Lambda Psi) - 2 tr(A^T C Lambda) + tr(A^T M A Lambda), (3,)."""
    size = np.linalg.norm(A)
    linear, square = 2 * size * np.linalg.norm(C @ Lambda), size**2 * np.linalg.norm(M) * np.linalg.norm(Lambda)
    return np.array([abs(np.trace(Lambda @ Psi)), linear, square], dtype=np.float64)


def compared_with_sampled(
    predicted: Sequence[float], found: Sequence[Values], false_alarm: float, miss: float
) -> list[MeanComparison]:
    """Sampled losses in units of the predicted ones, all false alarms together at the given rate."""
    compared = []
    for loss, values in zip(predicted, found, strict=True):
        scale = 1 / loss
        compared.append(
            compare_mean(
                values["count"], scale * values["sum"][0], scale**2 * values["sum_of_squares"][0],
                # E (Z - 1)^2 = E Z^2 - 2 E Z + 1 <= E Z^2 + 1, since a loss is not negative
                scale**2 * values["second_moment"] + 1, predicted=1.0,
                false_alarm=false_alarm / len(predicted), miss=miss,
            )
        )  # fmt: skip
    return compared


@dataclass(frozen=True)
class EnumeratedLoss:
    """Loss and gradients on all entries at random weights, without sampling."""

    loss: Loss
    cases: Callable[[int], list[Case]]
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "loss and gradients, enumerated"

    def task(self, case: Case) -> Task:
        return Task(f"{ENUMERATED}:enumerated_gradient", case.parameters(), cost=0.2)

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(case) for case in self.cases(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        cases = self.cases(budget.seed)
        found = run([self.task(case) for case in cases])
        rows = [row for case, values in zip(cases, found, strict=True) for row in self.rows(case, values)]
        return enumerated_verdict(
            self.name, self.resolution, rows, "as a difference in units of L and of the gradient's norm",
            f"{sum(v['nodes'] for v in found):.1e} Gauss nodes at {len(cases)} random weights",
            [described(case.setting) for case in cases],
        )  # fmt: skip

    def rows(self, case: Case, values: Values) -> list[tuple[float, float]]:
        """(largest difference, its allowance) for the loss and for each of the two gradients, relative."""
        (loss, loss_bound), slopes, bounds = case.loss(self.loss()).with_rounding(*case.law(), case.weights)
        scale = float(np.sqrt(sum(np.sum(slope**2) for slope in slopes)))
        rows = [(abs(loss - values["loss"]) / loss, (loss_bound + values["loss_rounding"]) / loss)]
        for slope, bound, name in zip(slopes, bounds, ("W_PV", "W_KQ"), strict=True):
            difference = np.linalg.norm(slope - np.array(values[name]))
            allowed = np.linalg.norm(bound + np.array(values[f"{name}_rounding"]))
            rows.append((float(difference) / scale, float(allowed) / scale))
        return rows


@dataclass(frozen=True)
class DescentPath:
    """Replicas of stochastic gradient descent on all parameters against gradient descent on the predicted L.

    It shows the sign, the scale and the linear pull of L, and its even part as a whole; most single terms leave the
    path within the margin (`EnumeratedLoss` sees each of them).
    The error of a replica is |W_end - W_predicted| / |W_predicted - W_start| over both weights.
    """

    loss: Loss
    setting: Callable[[int, int], Setting]
    training: dict[str, Any] = field(default_factory=dict)
    margin: float = 0.15
    required: float = 0.9
    false_alarm: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "path of gradient descent"

    def configurations(self, budget: Budget) -> list[dict[str, Any]]:
        return replicas_of(self.training, self.setting, budget)

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: the margin, and how far paths on fresh prompts stray."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return training_tasks(self.configurations(budget), budget)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        errors = self.errors([one["distribution"] for one in self.configurations(budget)], found)
        return replica_verdict(
            self.name, errors, self.margin, self.required, self.false_alarm,
            "as a distance from the predicted end in units of the distance travelled",
            f"{sum(sum(v['prompts']) for v in found):.1e} prompts",
        )  # fmt: skip

    def errors(self, settings: list[Setting], found: list[Values]) -> FloatArray:
        """Per replica; replicas of one dimension are predicted in one batch."""
        ends, starts = ([weights_of(found, prefix, k) for k in range(len(settings))] for prefix in ("", "start_"))
        errors = np.zeros(len(settings))
        for d in {dimension_of(setting) for setting in settings}:
            places = [k for k, setting in enumerate(settings) if dimension_of(setting) == d]
            predicted = self.loss().descend(
                np.array([settings[k]["covariance"] for k in places]),
                np.array([settings[k]["context_lengths"][0] for k in places]),
                stacked([starts[k] for k in places]),
                self.training["learning_rate"],
                self.training["steps"],
            )
            end, start = stacked([ends[k] for k in places]), stacked([starts[k] for k in places])
            errors[places] = distance(end, predicted) / distance(predicted, start)
        return errors


def weights_of(found: list[Values], prefix: str, replica: int) -> tuple[FloatArray, FloatArray]:
    """(W_PV, W_KQ) of one replica out of the values of all tasks."""
    values, place = found[replica // REPLICAS_PER_TASK], replica % REPLICAS_PER_TASK
    return np.array(values[f"{prefix}W_PV"][place]), np.array(values[f"{prefix}W_KQ"][place])


def stacked(weights: list[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    return np.stack([w[0] for w in weights]), np.stack([w[1] for w in weights])


def distance(a: tuple[FloatArray, FloatArray], b: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Frobenius distance over both weights, per leading index."""
    squares = [np.sum((x - y) ** 2, axis=(-2, -1)) for x, y in zip(a, b, strict=True)]
    return np.asarray(np.sqrt(sum(squares)))
