r"""The claim nonlinear-targets: labels y = g(x) + eps with a random g, and the gradient step that the layer becomes.

Three kinds of checks
    EnumeratedTargetRisk            the real layer's risk at random u and U over Gauss nodes, exact up to rounding
    EnumeratedTargetStationarity    its gradient on all parameters at the predicted A, u12 = u21 = 0: of U as a
                                    displacement of A, of u12 and u21 in units of |P|_F
    SampledTargetRisk               the risk at the predicted rate over fresh prompts, also for sine and sign labels
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.evaluation import evaluate
from ...theory.one_layer import link_moments, nonlinear_targets, target_formulas
from ...theory.one_layer.formulas import rational_points
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .alterable import Alterable
from .claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from .loss_checks import ROUNDINGS, compared_with_sampled, enumerated_verdict, gap_of_sampled_loss, sampled_verdict
from .one_layer_predictions import letters_of_law
from .settings import ROUNDED, FloatArray, Setting, dimension_of, gaussian_setting, generator, rounded
from .stationarity import ENUMERATED, SAMPLED, UNIT, Predictor, described, layer_weights

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

RISK_UNIT = "in units of the predicted risk"
POLYNOMIAL = ("linear", "relu", "cubic")
SAMPLED_LINKS = "iclcheck.numerics.one_layer.sampled_links"
KNOWN_LINKS = ", ".join((*link_moments.LINKS, link_moments.NETWORK))
Risk = Callable[[Setting, FloatArray], float]


def link_of(setting: Setting) -> str:
    return str(setting["labels"]["link"])


def letters(setting: Setting) -> dict[str, Any]:
    """Values of the letters at a setting: the law's, P, Q, tau of its labels, and alpha, beta of the whitened link."""
    law, link, d = letters_of_law(setting), link_of(setting), dimension_of(setting)
    found = link_moments.link_moments(link)
    alpha, beta, tau = (at_numbers(part, d, law["sigma2"]) for part in (found.alpha, found.beta, found.tau))
    if link in POLYNOMIAL:
        P, Q, tau = (evaluate(part, law) for part in link_moments.moments_for(link))
    else:
        P, Q = (np.array(setting["covariance"]) * moment / d for moment in (alpha, beta))
    return {**law, "P": P, "Q": Q, "tau": float(tau), "alpha": alpha, "beta": beta, "d": d}


def at_numbers(expression: Any, d: int, sigma2: float) -> float:
    """A SymPy expression in d and sigma2."""
    return float(expression.subs({s: {"d": d, "sigma2": sigma2}[s.name] for s in expression.free_symbols}))


def risk_by(formula: Formula) -> Risk:
    """The risk at a law and A by a formula in the letter A."""
    return lambda setting, A: float(formula.value({**letters(setting), "A": A}))


def preconditioner_by(formula: Formula) -> Predictor:
    """A at a law."""
    return lambda setting: np.asarray(formula.value(letters(setting)), dtype=float)


def rate_by(formula: Formula) -> Predictor:
    """eta Lambda^-1 at a law with Psi = Lambda^-1."""
    return lambda setting: float(formula.value(letters(setting))) * np.array(setting["task_covariance"])


def predicted_risk(setting: Setting, A: FloatArray) -> float:
    return risk_by(target_formulas.moments_risk())(setting, A)


def predicted_preconditioner(setting: Setting) -> FloatArray:
    return preconditioner_by(target_formulas.moments_fixed_point())(setting)


def predicted_cubic(setting: Setting) -> FloatArray:
    return preconditioner_by(target_formulas.cubic_fixed_point())(setting)


def predicted_step(setting: Setting) -> FloatArray:
    return rate_by(target_formulas.gradient_rate())(setting)


def curvature(setting: Setting) -> FloatArray:
    """W of the risk at a law."""
    return np.asarray(evaluate(nonlinear_targets.system()[0], letters(setting)), dtype=float)


def rounding_of_risk(setting: Setting, A: FloatArray) -> float:
    """How far the risk at the weights that are measured may be from that at A, and its own rounding.

    The weights carry A up to ROUNDED |A|_F, and the risk is tau - 2 tr(A P) + tr(A^T W A Lambda): as in `risk.Shift`.
    """
    values, size = letters(setting), float(np.linalg.norm(A))
    linear = 2 * size * np.linalg.norm(values["P"])
    square = size**2 * np.linalg.norm(curvature(setting)) * np.linalg.norm(values["Lambda"])
    moved = ROUNDED * linear + (2 * ROUNDED + ROUNDED**2) * square
    return float(moved + ROUNDINGS * (values["tau"] + linear + square))


def enumerated_task(setting: Setting, weights: Mapping[str, Any]) -> Task:
    """Loss and gradient of the real layer over Gauss nodes."""
    return Task(f"{ENUMERATED}:enumerated_gradient", {"distribution": setting, **weights}, cost=0.2)


def described_labels(setting: Setting) -> str:
    return f"{link_of(setting)} labels: {described(setting)}"


@dataclass(frozen=True)
class EnumeratedTargetRisk:
    """The real layer's risk at random u and U, relative to the predicted one."""

    predicted: Risk
    settings: Callable[[int], list[Setting]]
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "risk, enumerated"

    def weights(self, budget: Budget) -> list[tuple[Setting, FloatArray]]:
        return random_weights(self.settings(budget.seed), budget.seed)

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [enumerated_task(setting, layer_weights(A)) for setting, A in self.weights(budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        weights, found = self.weights(budget), run(self.tasks(budget))
        rows = []
        for (setting, A), values in zip(weights, found, strict=True):
            predicted = self.predicted(setting, A)
            allowed = (2 * values["loss_rounding"] + rounding_of_risk(setting, A)) / abs(predicted)
            rows.append((abs(2 * values["loss"] / predicted - 1), float(allowed)))
        ran = f"{sum(v['nodes'] for v in found):.1e} Gauss nodes at {len(rows)} random weights"
        settings = [described_labels(setting) for setting, _ in weights]
        return enumerated_verdict(self.name, self.resolution, rows, f"as a difference {RISK_UNIT}", ran, settings)


def random_weights(settings: list[Setting], seed: int) -> list[tuple[Setting, FloatArray]]:
    """(law, A), A of the size of A* and not symmetric, so that no term of the risk hides beside another."""
    found = []
    for k, setting in enumerate(settings):
        d = dimension_of(setting)
        draw = generator(f"target weights/{k}", seed)
        size = float(np.linalg.norm(predicted_preconditioner(setting)))
        found.append((setting, rounded(size * draw.uniform(-1.0, 1.0, size=(d, d)))))
    return found


@dataclass(frozen=True)
class EnumeratedTargetStationarity:
    """The gradient of the real layer's loss on all parameters at u = 1, U = A, u12 = u21 = 0, the predicted A."""

    predicted: Predictor
    settings: Callable[[int], list[Setting]]
    name: str
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [
            enumerated_task(setting, layer_weights(rounded(self.predicted(setting))))
            for setting in self.settings(budget.seed)
        ]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        settings, found = self.settings(budget.seed), run(self.tasks(budget))
        rows = [row for setting, values in zip(settings, found, strict=True) for row in self.rows(setting, values)]
        ran = f"{sum(values['nodes'] for values in found):.1e} Gauss nodes in {len(settings)} settings"
        return enumerated_verdict(
            self.name, self.resolution, rows, UNIT, ran, [described_labels(one) for one in settings]
        )

    def rows(self, setting: Setting, values: Values) -> list[tuple[float, float]]:
        """(displacement of A, allowance) relative to |A|_F, then the gradients of u12 and u21 in units of |P|_F.

        The gradient in U at u = 1 is W A Lambda - P = W (A - A*) Lambda. The weights carry A up to ROUNDED |A|_F.
        """
        d, A = dimension_of(setting), self.predicted(setting)
        at, slope, bound = letters(setting), np.array(values["W_KQ"]), np.array(values["W_KQ_rounding"])
        left, right = np.linalg.inv(curvature(setting)), np.linalg.inv(at["Lambda"])
        size, unit = float(np.linalg.norm(A)), float(np.linalg.norm(at["P"]))
        displaced = np.linalg.norm(left @ slope[:d, :d] @ right) / size
        allowed = np.linalg.norm(left, 2) * np.linalg.norm(bound[:d, :d]) * np.linalg.norm(right, 2) / size + ROUNDED
        rows = [(float(displaced), float(allowed))]
        values_row, row_bound = np.array(values["W_PV"])[d, :d], np.array(values["W_PV_rounding"])[d, :d]
        for leak, rounding in ((values_row, row_bound), (slope[d, :d], bound[d, :d])):
            rows.append((float(np.linalg.norm(leak)) / unit, float(np.linalg.norm(rounding)) / unit))
        return rows


@dataclass(frozen=True)
class SampledTargetRisk:
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
            "stream_key": f"targets {self.name}/{budget.seed}/{key}",
        }  # fmt: skip
        bounded = link_of(setting) not in POLYNOMIAL
        measurement = f"{SAMPLED_LINKS}:sampled_link_loss" if bounded else f"{SAMPLED}:sampled_loss"
        return Task(measurement, parameters, budget.device, cost=3e-7 * budget.prompts)

    def expected_gap(self, budget: Budget) -> float:
        """That of a sampled loss (`SampledLoss`): the second moment is part of the measurement."""
        return gap_of_sampled_loss(budget)

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(setting, budget) for setting in self.settings(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        settings = self.settings(budget.seed)
        found = run(self.tasks(budget))
        losses = [self.predicted(setting, self.preconditioner(setting)) / 2 for setting in settings]
        compared = compared_with_sampled(losses, found, self.false_alarm, self.miss)
        where = f"in {len(settings)} settings"
        return sampled_verdict(self, compared, RISK_UNIT, where, [described_labels(one) for one in settings])


def with_labels(setting: Setting, link: str) -> Setting:
    return {**setting, "labels": {"link": link}}


def law(name: str, seed: int, link: str, d: int, n: int, *, noise: bool) -> Setting:
    """Random Lambda and Psi."""
    return with_labels(gaussian_setting(f"targets/{name}/{link}/{d}/{n}", seed, d, [n], noise=noise), link)


# Lambda and its inverse as exact binary fractions, by dimension.
WHITENING: dict[int, tuple[list[list[float]], list[list[float]]]] = {
    1: ([[2.0]], [[0.5]]),
    2: ([[1.25, 0.5], [0.5, 1.0]], [[1.0, -0.5], [-0.5, 1.25]]),
}


def whitened_law(link: str, d: int, n: int, noise_variance: float, *, isotropic: bool = False) -> Setting:
    """Psi = Lambda^-1: w.x is a link of whitened covariates with w ~ N(0, I)."""
    covariance, task = (np.eye(d).tolist(),) * 2 if isotropic else WHITENING[d]
    setting = {
        "covariance": covariance, "context_lengths": [n], "task_covariance": task, "noise_variance": noise_variance,
        "covariates": "gaussian",
    }  # fmt: skip
    return with_labels(setting, link)


def enumerated_laws(seed: int) -> list[Setting]:
    sizes = (("relu", 1, 3, True), ("relu", 2, 2, True), ("cubic", 1, 2, True), ("cubic", 2, 1, True),
             ("cubic", 2, 2, False), ("linear", 2, 2, True))  # fmt: skip
    return [law("enumerated", seed, link, d, n, noise=noise) for link, d, n, noise in sizes]


def stationary_laws(seed: int) -> list[Setting]:
    sizes = (("relu", 1, 3, True), ("relu", 2, 2, False), ("cubic", 2, 1, True), ("linear", 2, 1, True))
    return [law("stationary", seed, link, d, n, noise=noise) for link, d, n, noise in sizes]


def cubic_laws(seed: int) -> list[Setting]:
    return [law("cubic", seed, "cubic", d, n, noise=True) for d, n in ((1, 2), (2, 1))]


def whitened_laws(seed: int) -> list[Setting]:
    """The same for every seed: nothing is random in them."""
    return [
        whitened_law("relu", 1, 2, 0.25), whitened_law("relu", 2, 2, 0.0), whitened_law("cubic", 1, 3, 0.5),
        whitened_law("cubic", 2, 1, 0.25), whitened_law("linear", 2, 2, 0.0),
    ]  # fmt: skip


def sampled_laws(seed: int) -> list[Setting]:
    return [
        whitened_law("relu", 2, 2, 0.25), whitened_law("sine", 2, 3, 0.25, isotropic=True),
        whitened_law("sign", 2, 2, 0.0, isotropic=True),
    ]  # fmt: skip


def letters_of_weights(seed: int) -> list[Mapping[str, Any]]:
    """Values of the letters where the risk is enumerated."""
    return [{**letters(setting), "A": A} for setting, A in random_weights(enumerated_laws(seed), seed)]


def predict_targets(parameters: Mapping[str, Any]) -> dict[str, Any]:
    eta, risk = nonlinear_targets.rate_and_risk(**parameters)
    return {"learning_rate": eta, "risk": risk}


def nonlinear_targets_claim(
    risk: Risk = predicted_risk,
    general: Predictor = predicted_preconditioner,
    cubic: Predictor = predicted_cubic,
    step: Predictor = predicted_step,
) -> Claim:
    """The predictions can be altered, to see the same checks refuse other formulas."""
    return Claim(
        "nonlinear-targets",
        nonlinear_targets.derivation,
        (
            Parameter("dimension", "d, a whole number of at least 1; x ~ N(0, I)"),
            Parameter("context_length", "N, a whole number of at least 1"),
            Parameter("link", f"phi of y = phi(w.x) + eps: {KNOWN_LINKS}", word=True),
            Parameter("noise_variance", "Var eps, at least 0", False, 0.0),
            Parameter("task_law", "w: gaussian, N(0, I), or sphere, uniform on |w| = 1", False, "gaussian", word=True),
        ),
        predict_targets,
        (
            EnumeratedTargetRisk(risk, enumerated_laws),
            EnumeratedTargetStationarity(general, stationary_laws, "stationarity, enumerated"),
            EnumeratedTargetStationarity(cubic, cubic_laws, "stationarity of cubic labels, enumerated"),
            EnumeratedTargetStationarity(step, whitened_laws, "rotation-invariant laws, enumerated"),
            SampledTargetRisk(risk, step, sampled_laws),
        ),
        "labels linear, ReLU and cubic in w.x: the risk at random u and U under six random laws, and the gradient on "
        "all parameters at the predicted A under six more (d <= 2, N <= 3) and five rotation-invariant ones "
        "(Psi = Lambda^-1); sampled at the predicted rate: ReLU, sine and sign labels. Networks and w on the sphere "
        "are derived, not measured; training is not measured",
        (
            Alterable(
                target_formulas.moments_risk, target_formulas.moment_points, letters_of_weights,
                lambda formula: nonlinear_targets_claim(risk=risk_by(formula)),
            ),
            Alterable(
                target_formulas.moments_fixed_point, target_formulas.moment_points,
                lambda seed: [letters(setting) for setting in stationary_laws(seed)],
                lambda formula: nonlinear_targets_claim(general=preconditioner_by(formula)),
            ),
            Alterable(
                target_formulas.cubic_fixed_point, rational_points,
                lambda seed: [letters(setting) for setting in cubic_laws(seed)],
                lambda formula: nonlinear_targets_claim(cubic=preconditioner_by(formula)),
                most=25,
            ),
            Alterable(
                target_formulas.gradient_rate, target_formulas.scalar_points,
                lambda seed: [letters(setting) for setting in whitened_laws(seed)],
                lambda formula: nonlinear_targets_claim(step=rate_by(formula)),
            ),
        ),
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (nonlinear_targets_claim(),)
