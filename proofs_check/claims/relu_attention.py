r"""The claim relu-attention: the exact risk of a layer with ReLU scores, and the A at which it is least.

Three checks
    EnumeratedReluRisk            the real layer's risk over Gauss nodes at random u and U, exact up to rounding
    EnumeratedReluStationarity    its central differences at the predicted A: exact, for the risk is quadratic in A
    SampledReluRisk               the risk at the predicted A over fresh prompts
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.evaluation import evaluate
from ...theory.one_layer import formulas, relu_attention
from ...theory.one_layer.prompt_law import PromptLaw
from ...theory.one_layer.stationarity import orthonormal_matrices
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .alterable import Alterable
from .claim import AlterationCost, Budget, Claim, Parameter, Run
from .loss_checks import (
    ROUNDINGS,
    compared_with_sampled,
    enumerated_verdict,
    gap_of_sampled_loss,
    sampled_verdict,
    terms_of_risk,
)
from .one_layer_predictions import letters_of_law, predictor_of
from .settings import ROUNDED, FloatArray, Setting, gaussian_setting, generator, rounded
from .stationarity import UNIT, Predictor, described, layer_weights

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENTS = "iclcheck.numerics.one_layer.relu_attention"
RISK_UNIT = "in units of the predicted risk"
Risk = Callable[[Setting, FloatArray], float]


def risk_by(formula: Formula) -> Risk:
    """The risk at a law and A by a formula in the letter A."""
    return lambda setting, A: float(formula.value({**letters_of_law(setting), "A": A}))


def predicted_risk(setting: Setting, A: FloatArray) -> float:
    return risk_by(formulas.relu_risk())(setting, A)


def predicted_preconditioner(setting: Setting) -> FloatArray:
    return predictor_of(formulas.relu_fixed_point())(setting)


def curvature(setting: Setting) -> FloatArray:
    """M of the risk at a law."""
    M, _ = relu_attention.moments(PromptLaw())
    return np.asarray(evaluate(M, letters_of_law(setting)), dtype=float)


def case_of(setting: Setting, u: float, U: FloatArray) -> dict[str, Any]:
    """What the real layer is measured at: u12 = u21 = 0."""
    d = len(U)
    W_PV, W_KQ = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
    W_PV[d, d], W_KQ[:d, :d] = u, U
    return {"distribution": setting, "W_PV": W_PV.tolist(), "W_KQ": W_KQ.tolist()}


def rounding_of_risk(setting: Setting, A: FloatArray) -> float:
    """What floating point may lose of the predicted risk."""
    values = letters_of_law(setting)
    M, C = (np.asarray(evaluate(part, values), dtype=float) for part in relu_attention.moments(PromptLaw()))
    return float(ROUNDINGS * np.sum(terms_of_risk(A, values["Lambda"], values["Psi"], M, C)))


@dataclass(frozen=True)
class EnumeratedReluRisk:
    """The real layer's risk at random weights, with u of both signs, relative to the predicted one."""

    predicted: Risk
    settings: Callable[[int], list[Setting]]
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "risk, enumerated"

    def weights(self, budget: Budget) -> list[tuple[Setting, float, FloatArray]]:
        return random_weights(self.settings(budget.seed), budget.seed)

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        cases = [case_of(*one) for one in self.weights(budget)]
        return [Task(f"{MEASUREMENTS}:enumerated_relu_risk", {"cases": cases}, cost=0.2)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        rows = []
        for (setting, u, U), measured, rounding in zip(
            self.weights(budget), found["risk"], found["rounding"], strict=True
        ):
            predicted = self.predicted(setting, u * U)
            allowed = (rounding + rounding_of_risk(setting, u * U)) / abs(predicted)
            rows.append((abs(measured / predicted - 1), float(allowed)))
        ran = f"{sum(found['nodes']):.1e} Gauss nodes at {len(rows)} random weights"
        settings = [described(setting) for setting, _, _ in self.weights(budget)]
        return enumerated_verdict(self.name, self.resolution, rows, f"as a difference {RISK_UNIT}", ran, settings)


def random_weights(settings: list[Setting], seed: int) -> list[tuple[Setting, float, FloatArray]]:
    """(law, u, U) with u of both signs and U not symmetric."""
    found = []
    for k, setting in enumerate(settings):
        draw = generator(f"relu weights/{k}", seed)
        d = len(setting["covariance"])
        found.append((setting, (-1) ** k * draw.uniform(0.5, 1.5), draw.uniform(-1.0, 1.0, size=(d, d))))
    return found


@dataclass(frozen=True)
class EnumeratedReluStationarity:
    """[risk(A + V_k) - risk(A - V_k)]/4 = <W_k, A - A*> for V_k = M^-1 W_k Lambda^-1, at the predicted A, all k."""

    predicted: Predictor
    settings: Callable[[int], list[Setting]]
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "stationarity, enumerated"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def task(self, setting: Setting) -> Task:
        A = rounded(self.predicted(setting))
        cases = [case_of(setting, 1.0, A + sign * V) for V in self.directions(setting, A) for sign in (1, -1)]
        return Task(f"{MEASUREMENTS}:enumerated_relu_risk", {"cases": cases}, cost=0.4)

    def directions(self, setting: Setting, A: FloatArray) -> FloatArray:
        """V_k (d^2, d, d)."""
        Lambda = np.array(setting["covariance"])
        unit = np.linalg.solve(curvature(setting), orthonormal_matrices(A)) @ np.linalg.inv(Lambda)
        return rounded(np.asarray(unit, dtype=np.float64))

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(setting) for setting in self.settings(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        settings = self.settings(budget.seed)
        found = run(self.tasks(budget))
        rows = [self.row(setting, values) for setting, values in zip(settings, found, strict=True)]
        ran = f"{sum(sum(values['nodes']) for values in found):.1e} Gauss nodes in {len(settings)} settings"
        return enumerated_verdict(self.name, self.resolution, rows, UNIT, ran, [described(one) for one in settings])

    def row(self, setting: Setting, values: Mapping[str, Any]) -> tuple[float, float]:
        """(displacement, allowance) relative to |A|_F, over all d^2 directions."""
        A = self.predicted(setting)
        risks, rounding = (np.array(values[name]).reshape(-1, 2) for name in ("risk", "rounding"))
        size = float(np.linalg.norm(A))
        displaced = np.linalg.norm((risks[:, 0] - risks[:, 1]) / 4) / size
        # The weights carry A up to ROUNDED |A|_F. The directions are rounded alike, which changes a displacement in
        # its eleventh digit; twice ROUNDED is enough for both.
        allowed = np.linalg.norm(rounding.sum(1) / 4) / size + 2 * ROUNDED
        return float(displaced), float(allowed)


@dataclass(frozen=True)
class SampledReluRisk:
    """The risk at the predicted A over fresh prompts, relative to the predicted one."""

    predicted: Risk
    preconditioner: Predictor
    settings: Callable[[int], list[Setting]]
    resolution: float = 0.1
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "measured anew"
    name: str = "risk, sampled"

    def task(self, setting: Setting, budget: Budget) -> Task:
        weights = layer_weights(rounded(self.preconditioner(setting)))
        key = content_hash({"distribution": setting, **weights})
        parameters = {
            "distribution": setting, **weights, "prompts": budget.prompts,
            "stream_key": f"relu {self.name}/{budget.seed}/{key}",
        }  # fmt: skip
        return Task(f"{MEASUREMENTS}:sampled_relu_risk", parameters, budget.device, cost=3e-7 * budget.prompts)

    def expected_gap(self, budget: Budget) -> float:
        """That of a sampled loss (`SampledLoss`): the second moment is part of the measurement."""
        return gap_of_sampled_loss(budget)

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(setting, budget) for setting in self.settings(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        settings = self.settings(budget.seed)
        found = run(self.tasks(budget))
        risks = [self.predicted(setting, self.preconditioner(setting)) for setting in settings]
        compared = compared_with_sampled(risks, found, self.false_alarm, self.miss)
        where = f"in {len(settings)} settings"
        return sampled_verdict(self, compared, RISK_UNIT, where, [described(one) for one in settings])


def enumerated_laws(seed: int) -> list[Setting]:
    sizes = ((1, 1, True), (1, 3, True), (2, 1, True), (2, 2, True), (2, 3, False), (3, 1, True))
    return [gaussian_setting(f"relu/enumerated/{d}/{n}", seed, d, [n], noise=noise) for d, n, noise in sizes]


def sampled_laws(seed: int) -> list[Setting]:
    return [gaussian_setting(f"relu/sampled/{d}/{n}", seed, d, [n], noise=True) for d, n in ((1, 3), (2, 2))]


def letters_of_weights(seed: int) -> list[Mapping[str, Any]]:
    """Values of the letters where the risk is enumerated."""
    return [{**letters_of_law(setting), "A": u * U} for setting, u, U in random_weights(enumerated_laws(seed), seed)]


def predict_relu(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"gain": relu_attention.isotropic_gain(**parameters)}


def relu_attention_claim(risk: Risk = predicted_risk, preconditioner: Predictor = predicted_preconditioner) -> Claim:
    """`risk` and `preconditioner` can be altered, to see the same checks refuse other formulas."""
    return Claim(
        "relu-attention",
        relu_attention.derivation,
        (
            Parameter("dimension", "d, a whole number of at least 1; Lambda = Psi = I, no noise"),
            Parameter("context_length", "N, a whole number of at least 1"),
        ),
        predict_relu,
        (
            EnumeratedReluRisk(risk, enumerated_laws),
            EnumeratedReluStationarity(preconditioner, enumerated_laws),
            SampledReluRisk(risk, preconditioner, sampled_laws),
        ),
        "the risk at random u (both signs) and U under six random laws (d <= 3, N <= 3, condition numbers up to 3, "
        "with and without noise), and its differences along all directions at the predicted A; two laws sampled. "
        "Training of a ReLU layer is not measured",
        (
            Alterable(
                formulas.relu_risk,
                formulas.preconditioner_points,
                letters_of_weights,
                lambda formula: relu_attention_claim(risk=risk_by(formula)),
            ),
            Alterable(
                formulas.relu_fixed_point,
                formulas.rational_points,
                lambda seed: [letters_of_law(setting) for setting in enumerated_laws(seed)],
                lambda formula: relu_attention_claim(preconditioner=predictor_of(formula)),
            ),
        ),
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (relu_attention_claim(),)
