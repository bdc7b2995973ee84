r"""The claim test-risk: a layer at the fixed point of one law, run on prompts of another.

Checks
    EnumeratedRisk    the mean squared error over Gauss nodes, exact up to rounding, against the predicted risk
    SampledRisk       the same over fresh prompts
    the first also where the query has a law of its own; on labels of any law: see `label_risk`
The layer's weights are those of fixed-point at the training law, whatever the formula says: an altered formula predicts
another risk, and the measurement stays what it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.evaluation import evaluate
from ...theory.one_layer import baselines, formulas, risk, target_formulas
from ...theory.one_layer.fixed_point import balanced_weights, general_second_moment
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .alterable import Alterable
from .claim import AlterationCost, Budget, Claim, Parameter, Run
from .label_risk import (
    EnumeratedLabelRisk,
    LabelRisk,
    SampledLabelRisk,
    label_risk_by,
    laws_at_any_layer,
    laws_at_trained_layer,
    predicted_at_any_layer,
    predicted_at_trained_layer,
    sampled_label_laws,
)
from .loss_checks import (
    ROUNDINGS,
    compared_with_sampled,
    enumerated_verdict,
    gap_of_sampled_loss,
    sampled_verdict,
    terms_of_risk,
)
from .one_layer import LAW
from .one_layer_predictions import letters_of_law, predicted_fixed_point
from .parameters import UsageError
from .settings import ROUNDED, FloatArray, Setting, gaussian_setting, generator, random_covariance, rounded
from .stationarity import ENUMERATED, SAMPLED, described

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

UNIT = "in units of the predicted risk"


@dataclass(frozen=True)
class Shift:
    """A training law and a test law of the same dimension."""

    training: Setting
    test: Setting

    def letters(self) -> dict[str, Any]:
        """Values of the letters of both laws, and Q of the query."""
        tested = letters_of_law(self.test)
        query = np.array(self.test.get("query_covariance", self.test["covariance"]))
        return {**letters_of_law(self.training), **formulas.with_primes(tested), "Q": query}

    def parameters(self) -> dict[str, Any]:
        """What is measured: the layer of the training law on prompts of the test law."""
        W_PV, W_KQ = balanced_weights(rounded(predicted_fixed_point(self.training)))
        return {"distribution": self.test, "W_PV": W_PV.tolist(), "W_KQ": W_KQ.tolist()}

    def rounding(self) -> float:
        """How far the risk at the weights that are measured may be from that at A, and its own rounding.

        The weights carry A up to delta = ROUNDED |A|_F (`settings`). The risk is tr(Psi' Q) - 2 tr(A^T C) +
        tr(A Q A^T M) with C = Lambda' Psi' Q and M = E s s^T, so that it moves by at most 2 delta |C| + (2 delta |A| +
        delta^2) |Q| |M|; floating point adds ROUNDINGS of the three terms' sizes.
        """
        values = self.letters()
        A, Lambda, Psi = predicted_fixed_point(self.training), values["Lambda'"], values["Psi'"]
        law = {"Lambda": Lambda, "Psi": Psi, "sigma2": values["sigma2'"], "N": values["M"]}
        M = np.asarray(evaluate(general_second_moment(), law), dtype=float)
        constant, linear, square = terms_of_risk(A, values["Q"], Psi, M, Lambda @ Psi)
        moved = ROUNDED * linear + (2 * ROUNDED + ROUNDED**2) * square
        return float(moved + ROUNDINGS * (constant + linear + square))

    def described(self) -> str:
        query = ", queries of another law" if "query_covariance" in self.test else ""
        return f"trained: {described(self.training)}; tested: {described(self.test)}{query}"


Shifts = Callable[[int], list[Shift]]
Risk = Callable[[Shift], float]


def risk_by(formula: Formula) -> Risk:
    """The risk of a shift by a formula in the letters of both laws."""
    return lambda shift: float(formula.value(shift.letters()))


def predicted_risk(shift: Shift) -> float:
    return risk_by(formulas.trained_risk())(shift)


def predicted_query_risk(shift: Shift) -> float:
    return risk_by(formulas.query_risk())(shift)


@dataclass(frozen=True)
class EnumeratedRisk:
    """The risk over Gauss nodes, relative to the predicted one.

    Allowed are the rounding of the measurement, and what `Shift.rounding` says of the prediction.
    """

    predicted: Risk
    shifts: Shifts
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "risk, enumerated"

    def task(self, shift: Shift) -> Task:
        return Task(f"{ENUMERATED}:enumerated_gradient", shift.parameters(), cost=0.2)

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(shift) for shift in self.shifts(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        shifts = self.shifts(budget.seed)
        found = run([self.task(shift) for shift in shifts])
        rows = []
        for shift, values in zip(shifts, found, strict=True):
            predicted = self.predicted(shift)
            allowed = (2 * values["loss_rounding"] + shift.rounding()) / abs(predicted)
            rows.append((abs(2 * values["loss"] / predicted - 1), allowed))
        ran = f"{sum(v['nodes'] for v in found):.1e} Gauss nodes at {len(shifts)} shifts"
        unit, settings = f"as a difference {UNIT}", [shift.described() for shift in shifts]
        return enumerated_verdict(self.name, self.resolution, rows, unit, ran, settings)


@dataclass(frozen=True)
class SampledRisk:
    """The risk over fresh prompts, relative to the predicted one."""

    predicted: Risk
    shifts: Shifts
    resolution: float = 0.1
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "risk, sampled"

    def task(self, shift: Shift, budget: Budget) -> Task:
        stream_key = f"{self.name}/{budget.seed}/{content_hash(shift.parameters())}"
        parameters = {**shift.parameters(), "prompts": budget.prompts, "stream_key": stream_key}
        return Task(f"{SAMPLED}:sampled_loss", parameters, budget.device, cost=2e-7 * budget.prompts)

    def expected_gap(self, budget: Budget) -> float:
        """That of a sampled loss (`SampledLoss`): the second moment is part of the measurement."""
        return gap_of_sampled_loss(budget)

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(shift, budget) for shift in self.shifts(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        shifts = self.shifts(budget.seed)
        found = run(self.tasks(budget))
        losses = [self.predicted(shift) / 2 for shift in shifts]
        compared = compared_with_sampled(losses, found, self.false_alarm, self.miss)
        settings = [shift.described() for shift in shifts]
        return sampled_verdict(self, compared, UNIT, f"at {len(shifts)} shifts", settings)


def shift_at(name: str, seed: int, d: int, lengths: tuple[int, int]) -> Shift:
    """Random laws for training and test, both with noise; lengths (N, M)."""
    training = gaussian_setting(f"{name}/training/{d}/{lengths}", seed, d, [lengths[0]], noise=True)
    return Shift(training, gaussian_setting(f"{name}/test/{d}/{lengths}", seed, d, [lengths[1]], noise=True))


def enumerated_shifts(seed: int) -> list[Shift]:
    """Test prompts short enough for a Gauss rule; the training length is free."""
    sizes = ((1, (4, 1)), (1, (2, 3)), (2, (5, 1)), (2, (3, 2)), (2, (20, 2)))
    return [shift_at("risk/enumerated", seed, d, lengths) for d, lengths in sizes]


def sampled_shifts(seed: int) -> list[Shift]:
    return [shift_at("risk/sampled", seed, d, lengths) for d, lengths in ((1, (6, 3)), (2, (8, 2)))]


def query_shifts(seed: int) -> list[Shift]:
    """Queries with a covariance of their own; in the last setting all of them lie on one line, as a fixed one does."""
    name = "risk/query"
    found = [shift_at(name, seed, d, lengths) for d, lengths in ((1, (4, 3)), (2, (5, 1)), (2, (20, 2)), (2, (3, 2)))]
    draw = generator(f"{name}/covariances", seed)
    queries = [random_covariance(draw, len(shift.test["covariance"]), 3.0) for shift in found[:-1]]
    line = draw.uniform(-1.0, 1.0, size=(2, 1))
    return [with_query(shift, query) for shift, query in zip(found, [*queries, line @ line.T], strict=True)]


def with_query(shift: Shift, covariance: FloatArray) -> Shift:
    """The shift with queries of this covariance."""
    return replace(shift, test={**shift.test, "query_covariance": covariance.tolist()})


def predict_risk(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The layer's risk; with baselines=all those of least squares (null where infinite) and of Bayes beside it."""
    law = dict(parameters)
    wanted = law.pop("baselines")
    found = {"risk": risk.trained_risk(**law)}
    if wanted == "none":
        return found
    if wanted != "all":
        raise UsageError(f"baselines needs none or all, got {wanted!r}; write --set baselines=all")
    least_squares, bayes = baselines.beside_the_layer(**law)
    return {**found, "least_squares": least_squares if math.isfinite(least_squares) else None, "bayes": bayes}


def risk_claim(
    predicted: Risk = predicted_risk,
    any_layer: LabelRisk = predicted_at_any_layer,
    trained_layer: LabelRisk = predicted_at_trained_layer,
    at_query: Risk = predicted_query_risk,
) -> Claim:
    """The predictions can be altered, to see the same checks refuse other formulas."""
    return Claim(
        "test-risk",
        risk.derivation,
        (
            *LAW,
            Parameter("test_length", "M, a whole number of at least 1; as in training if not given", False),
            Parameter("test_covariance", "Lambda' of test covariates; as in training if not given", False),
            Parameter("test_noise_variance", "sigma'^2 of test labels; as in training if not given", False),
            Parameter("test_task_covariance", "Psi' of test tasks; as in training if not given", False),
            Parameter(
                "test_query_covariance",
                "E x_q x_q^T of test queries independent of the context (c c^T: one fixed query c); that of test "
                "covariates if not given",
                False,
            ),
            Parameter(
                "baselines",
                "all: also the risks of least squares (null: infinite) and of Bayes on the test law, which has to be "
                "isotropic; or none",
                False,
                "none",
                word=True,
            ),
        ),
        predict_risk,
        (
            EnumeratedRisk(predicted, enumerated_shifts),
            SampledRisk(predicted, sampled_shifts),
            EnumeratedRisk(at_query, query_shifts, name="query shift, enumerated"),
            EnumeratedLabelRisk(any_layer, laws_at_any_layer, "labels of any law, enumerated"),
            EnumeratedLabelRisk(trained_layer, laws_at_trained_layer, "labels of any law at the trained layer"),
            SampledLabelRisk(trained_layer, sampled_label_laws),
        ),
        "five enumerated and two sampled pairs of random laws for training and test, independent of each other "
        "(Lambda, Psi, sigma^2; condition numbers up to 3), d = 1, 2, training lengths 2 to 20, test lengths 1 to 3; "
        "four more with queries of a random covariance of their own, enumerated; "
        "labels of any law are derived and certified, and measured for a.x + x^T B x + eps (three laws at random A, "
        "three at a trained layer, one sampled; d <= 2, M <= 3)",
        (
            Alterable(
                formulas.trained_risk,
                formulas.two_law_points,
                lambda seed: [shift.letters() for shift in (*enumerated_shifts(seed), *sampled_shifts(seed))],
                lambda formula: risk_claim(risk_by(formula)),
            ),
            Alterable(
                formulas.query_risk,
                formulas.query_points,
                lambda seed: [shift.letters() for shift in query_shifts(seed)],
                lambda formula: risk_claim(at_query=risk_by(formula)),
                most=60,
            ),
            Alterable(
                target_formulas.labels_risk,
                target_formulas.label_points,
                lambda seed: [law.letters() for law in laws_at_any_layer(seed)],
                lambda formula: risk_claim(any_layer=label_risk_by(formula)),
                most=60,
            ),
            Alterable(
                target_formulas.trained_labels_risk,
                target_formulas.label_points,
                lambda seed: [law.letters() for law in laws_at_trained_layer(seed)],
                lambda formula: risk_claim(trained_layer=label_risk_by(formula)),
                most=60,
            ),
        ),
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (risk_claim(),)
