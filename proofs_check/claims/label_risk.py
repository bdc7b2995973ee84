r"""Checks of test-risk on labels of any law: y = a.x + x^T B x + eps, whose law is not symmetric.

Two kinds of checks
    EnumeratedLabelRisk    the real layer's E (yhat - g(x_q))^2 over Gauss nodes, exact up to rounding, at random A or
                           at the trained A = Gamma^-1
    SampledLabelRisk       the same at the trained layer over fresh prompts
The noise of the query's own label is left out on both sides: it adds sigma^2 to both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.evaluation import evaluate
from ...theory.one_layer import fixed_point, risk, target_formulas
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .claim import AlterationCost, Budget, Run
from .loss_checks import ROUNDINGS, compared_with_sampled, enumerated_verdict, gap_of_sampled_loss, sampled_verdict
from .settings import ROUNDED, generator, random_covariance, rounded
from .stationarity import ENUMERATED, SAMPLED, layer_weights

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula


@dataclass(frozen=True)
class LabelLaw:
    """Labels on covariates N(0, Lambda), prompts of `length` samples, and the layer: trained at N, or of a random A."""

    name: str
    seed: int
    dimension: int
    length: int
    trained: int | None

    def letters(self) -> dict[str, Any]:
        """Values of the letters of the risk."""
        d, draw = self.dimension, generator(f"label risk/{self.name}/{self.dimension}/{self.length}", self.seed)
        Lambda, B = random_covariance(draw, d, 3.0), random_covariance(draw, d, 3.0)
        a, A = draw.uniform(-1.0, 1.0, size=(d, 1)), rounded(draw.uniform(-1.0, 1.0, size=(d, d)))
        n = float(self.trained or self.length)
        values = {
            "Lambda": Lambda, "a": a, "B": 0.5 * B, "sigma2'": float(draw.uniform(0.0, 0.5)), "M": float(self.length),
            "N": n, "(N+1)": n + 1, "A": A,
        }  # fmt: skip
        if self.trained is not None:
            values["A"] = fixed_point.fixed_point(Lambda, self.trained).preconditioner
        return {**values, **target_formulas.of_layer(values)}

    def parameters(self) -> dict[str, Any]:
        """What is measured; the labels are one fixed function: w = 0."""
        values, d = self.letters(), self.dimension
        labels = {"link": "linear", "linear": values["a"][:, 0].tolist(), "quadratic": values["B"].tolist()}
        distribution = {
            "covariance": values["Lambda"].tolist(), "context_lengths": [self.length],
            "task_covariance": np.zeros((d, d)).tolist(), "noise_variance": values["sigma2'"],
            "covariates": "gaussian", "labels": labels,
        }  # fmt: skip
        return {"distribution": distribution, **layer_weights(rounded(values["A"]))}

    def rounding(self) -> float:
        """How far the risk at the weights that are measured may be from that at A, and its own rounding.

        As in `risk.Shift`: the risk is E g^2 - 2 tr(A^T c) + tr(A^T S A Lambda) with c = Lambda a a^T Lambda and
        S = Sig/M + c; the weights carry A up to ROUNDED |A|_F.
        """
        values = self.letters()
        Sig, least = (evaluate(part, values) for part in risk.quadratic_labels())
        Lambda, a, size = values["Lambda"], values["a"], float(np.linalg.norm(values["A"]))
        c = Lambda @ a @ a.T @ Lambda
        constant = float(least + (a.T @ Lambda @ a)[0, 0])
        linear = 2 * size * float(np.linalg.norm(c))
        square = size**2 * float(np.linalg.norm(Sig / self.length + c) * np.linalg.norm(Lambda))
        moved = ROUNDED * linear + (2 * ROUNDED + ROUNDED**2) * square
        return moved + ROUNDINGS * (constant + linear + square)

    def described(self) -> str:
        layer = "random A" if self.trained is None else f"trained at N = {self.trained}"
        return f"labels a.x + x^T B x + eps: d = {self.dimension}, M = {self.length}, {layer}"


LabelRisk = Callable[[LabelLaw], float]
Laws = Callable[[int], list[LabelLaw]]


def label_risk_by(formula: Formula) -> LabelRisk:
    return lambda law: float(formula.value(law.letters()))


def predicted_at_any_layer(law: LabelLaw) -> float:
    return label_risk_by(target_formulas.labels_risk())(law)


def predicted_at_trained_layer(law: LabelLaw) -> float:
    return label_risk_by(target_formulas.trained_labels_risk())(law)


@dataclass(frozen=True)
class EnumeratedLabelRisk:
    """The risk over Gauss nodes, in its own units."""

    predicted: LabelRisk
    laws: Laws
    name: str
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [Task(f"{ENUMERATED}:enumerated_gradient", law.parameters(), cost=0.1) for law in self.laws(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        laws, found = self.laws(budget.seed), run(self.tasks(budget))
        rows = []
        for law, values in zip(laws, found, strict=True):
            measured = 2 * values["loss"]
            allowed = (2 * values["loss_rounding"] + law.rounding()) / measured
            rows.append((abs(self.predicted(law) / measured - 1), float(allowed)))
        ran = f"{sum(v['nodes'] for v in found):.1e} Gauss nodes for {len(laws)} laws"
        described = [law.described() for law in laws]
        return enumerated_verdict(
            self.name, self.resolution, rows, "as a difference in units of the risk", ran, described
        )


@dataclass(frozen=True)
class SampledLabelRisk:
    """The risk over fresh prompts, relative to the predicted one."""

    predicted: LabelRisk
    laws: Laws
    resolution: float = 0.1
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "labels of any law, sampled"

    def task(self, law: LabelLaw, budget: Budget) -> Task:
        stream_key = f"{self.name}/{budget.seed}/{content_hash(law.parameters())}"
        parameters = {**law.parameters(), "prompts": budget.prompts, "stream_key": stream_key}
        return Task(f"{SAMPLED}:sampled_loss", parameters, budget.device, cost=2e-7 * budget.prompts)

    def expected_gap(self, budget: Budget) -> float:
        """That of a sampled loss (`SampledLoss`): the second moment is part of the measurement."""
        return gap_of_sampled_loss(budget)

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(law, budget) for law in self.laws(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        laws, found = self.laws(budget.seed), run(self.tasks(budget))
        # An altered formula may give 0, which is no unit; no measurement confirms 1e-9 either.
        losses = [(self.predicted(law) or 1e-9) / 2 for law in laws]
        compared = compared_with_sampled(losses, found, self.false_alarm, self.miss)
        unit = "in units of the predicted risk"
        where = "for one law" if len(laws) == 1 else f"for {len(laws)} laws"
        return sampled_verdict(self, compared, unit, where, [law.described() for law in laws])


def laws_at_any_layer(seed: int) -> list[LabelLaw]:
    return [LabelLaw("any layer", seed, d, m, None) for d, m in ((1, 1), (1, 3), (2, 2))]


def laws_at_trained_layer(seed: int) -> list[LabelLaw]:
    return [LabelLaw("trained", seed, d, m, n) for d, m, n in ((1, 2, 4), (2, 1, 3), (2, 2, 20))]


def sampled_label_laws(seed: int) -> list[LabelLaw]:
    return [LabelLaw("sampled", seed, 2, 2, 6)]
