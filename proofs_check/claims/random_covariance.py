r"""The claim random-covariance: a covariance for every prompt, the A that training leads to, and the risk that stays.

Three checks
    MixtureStationarity     the real layer's mean gradient on all parameters at the predicted A, enumerated: of U as a
                            displacement of A, of u12 and u21 in units of |E Lambda^2|_F
    ExponentialRisk         the risk at the predicted gain and another length, enumerated, for Exp(1) entries
    SampledExponentialRisk  the same over fresh prompts
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.evaluation import evaluate
from ...theory.one_layer import random_covariance, target_formulas
from ...theory.symbols import NEXT_LENGTH
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .alterable import Alterable
from .claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from .loss_checks import ROUNDINGS, compared_with_sampled, enumerated_verdict, gap_of_sampled_loss, sampled_verdict
from .settings import ROUNDED, FloatArray, generator, rounded
from .settings import random_covariance as drawn_covariance
from .stationarity import UNIT, layer_weights

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENTS = "iclcheck.numerics.one_layer.random_covariance"
RISK_UNIT = "in units of the predicted risk"
# Nodes and weights of the Gauss-Laguerre rule with two nodes, exact to degree three: where the curvature is evaluated.
LAGUERRE = tuple((2 + sign * math.sqrt(2), (2 - sign * math.sqrt(2)) / 4) for sign in (1, -1))


@dataclass(frozen=True)
class FiniteLaw:
    """Covariances with weights that add up to 1."""

    covariances: tuple[FloatArray, ...]
    weights: tuple[float, ...]
    length: int
    noise_variance: float

    @property
    def dimension(self) -> int:
        return len(self.covariances[0])

    def letters(self) -> dict[str, Any]:
        return {"covariances": self.covariances, "weights": self.weights, **lengths(self)}

    def task(self, weights: Mapping[str, Any]) -> Task:
        cases = [
            {"distribution": self.distribution(one), "probability": share}
            for one, share in zip(self.covariances, self.weights, strict=True)
        ]
        return Task(f"{MEASUREMENTS}:enumerated_mixture", {"cases": cases, **weights}, cost=0.5)

    def distribution(self, covariance: FloatArray) -> dict[str, Any]:
        return {
            "covariance": covariance.tolist(), "context_lengths": [self.length],
            "task_covariance": np.eye(self.dimension).tolist(), "noise_variance": self.noise_variance,
            "covariates": "gaussian",
        }  # fmt: skip

    def rule(self) -> tuple[tuple[FloatArray, float], ...]:
        """Covariances and weights that have the law's moments up to degree three."""
        return tuple(zip(self.covariances, self.weights, strict=True))

    def described(self) -> str:
        return f"{len(self.weights)} covariances, d = {self.dimension}, N = {self.length}"


@dataclass(frozen=True)
class ExponentialLaw:
    """Independent Exp(1) entries on the diagonal; the layer is that of training at `trained`."""

    dimension: int
    length: int
    noise_variance: float
    trained: int

    def letters(self) -> dict[str, Any]:
        at_test = {"M": float(self.length), "sigma2'": self.noise_variance}
        trained = {"N": float(self.trained), NEXT_LENGTH: float(self.trained + 1), "sigma2": self.noise_variance}
        return {**trained, **at_test, "d": float(self.dimension)}

    def sizes(self) -> dict[str, Any]:
        return {
            "dimension": self.dimension, "context_length": self.length, "noise_variance": self.noise_variance,
        }  # fmt: skip

    def task(self, weights: Mapping[str, Any]) -> Task:
        return Task(f"{MEASUREMENTS}:enumerated_exponential", {**self.sizes(), **weights}, cost=0.5)

    def rule(self) -> tuple[tuple[FloatArray, float], ...]:
        """As `FiniteLaw.rule`."""
        chosen = itertools.product(LAGUERRE, repeat=self.dimension)
        return tuple((np.diag([x for x, _ in one]), math.prod(share for _, share in one)) for one in chosen)

    def described(self) -> str:
        return f"exponential, d = {self.dimension}, trained at N = {self.trained}, M = {self.length}"


CovarianceLaw = FiniteLaw | ExponentialLaw
Predictor = Callable[[Any], FloatArray]
Risk = Callable[[ExponentialLaw], float]


def lengths(law: CovarianceLaw) -> dict[str, Any]:
    """N, N + 1 and the noise."""
    return {"N": float(law.length), NEXT_LENGTH: float(law.length + 1), "sigma2": law.noise_variance}


def preconditioner_by(formula: Formula) -> Predictor:
    """A of a finite law."""
    return lambda law: np.asarray(formula.value(law.letters()), dtype=float)


def gain_by(formula: Formula) -> Predictor:
    """A = a I of the exponential law."""
    return lambda law: float(formula.value(law.letters())) * np.eye(law.dimension)


def risk_by(formula: Formula) -> Risk:
    return lambda law: float(formula.value(law.letters()))


def predicted_preconditioner(law: Any) -> FloatArray:
    return preconditioner_by(target_formulas.finite_law())(law)


def predicted_gain(law: Any) -> FloatArray:
    return gain_by(target_formulas.exponential_gain())(law)


def predicted_risk(law: ExponentialLaw) -> float:
    return risk_by(target_formulas.exponential_risk())(law)


def curvature(law: CovarianceLaw) -> tuple[FloatArray, float]:
    """E[M (x) Lambda], (d^2, d^2), and |E[C Lambda]|_F, the unit of the gradients of the leak."""
    M, C = random_covariance.moments()
    operator: Any = 0
    pull: Any = 0
    for Lambda, share in law.rule():
        values = {**lengths(law), "Lambda": Lambda}
        operator = operator + share * np.kron(evaluate(M, values), Lambda)
        pull = pull + share * evaluate(C, values) @ Lambda
    return np.asarray(operator), float(np.linalg.norm(pull))


@dataclass(frozen=True)
class MixtureStationarity:
    """The mean gradient of the real layer's loss at u U = A, u12 = u21 = 0, the predicted A."""

    predicted: Predictor
    laws: Callable[[int], list[Any]]
    name: str
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [law.task(layer_weights(rounded(self.predicted(law)))) for law in self.laws(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        laws, tasks = self.laws(budget.seed), self.tasks(budget)
        found = run(tasks)
        rows = [
            row
            for law, task, values in zip(laws, tasks, found, strict=True)
            for row in self.rows(law, task.parameters["W_PV"][-1][-1], values)
        ]
        ran = f"{sum(values['nodes'] for values in found):.1e} Gauss nodes for {len(laws)} laws"
        return enumerated_verdict(self.name, self.resolution, rows, UNIT, ran, [law.described() for law in laws])

    def rows(self, law: CovarianceLaw, u: float, values: Values) -> list[tuple[float, float]]:
        """(displacement of A, allowance) relative to |A|_F, then the gradients of u12 and u21 in units of |E C Lambda|.

        The gradient in U is u E[M (A - A*) Lambda]. The weights carry A up to ROUNDED |A|_F; the nodes and
        probabilities of a rule are right to a few units in the last place, which moves a gradient by no more than
        ROUNDINGS of its terms.
        """
        d, A = law.dimension, self.predicted(law)
        slope, bound = np.array(values["W_KQ"]), np.array(values["W_KQ_rounding"])
        operator, unit = curvature(law)
        inverse, size = np.linalg.inv(operator), float(np.linalg.norm(A))
        displaced = np.linalg.norm(inverse @ slope[:d, :d].reshape(-1)) / (u * size)
        of_nodes = ROUNDINGS * (unit + np.linalg.norm(operator, 2) * size)
        uncertain = np.linalg.norm(bound[:d, :d]) / u + of_nodes
        rows = [(float(displaced), float(np.linalg.norm(inverse, 2) * uncertain / size + ROUNDED))]
        of_values, bound_of_values = np.array(values["W_PV"])[d, :d], np.array(values["W_PV_rounding"])[d, :d]
        for leak, rounding in ((of_values, bound_of_values), (slope[d, :d], bound[d, :d])):
            rows.append((float(np.linalg.norm(leak)) / unit, float(np.linalg.norm(rounding)) / unit))
        return rows


@dataclass(frozen=True)
class ExponentialRisk:
    """The real layer's risk at the trained gain on prompts of another length, relative to the predicted one."""

    predicted: Risk
    laws: Callable[[int], list[ExponentialLaw]]
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "risk, enumerated"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        """At the gain of the derivation, whatever the formula says: an altered one predicts another risk."""
        return [law.task(layer_weights(rounded(predicted_gain(law)))) for law in self.laws(budget.seed)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        laws, found = self.laws(budget.seed), run(self.tasks(budget))
        rows = []
        for law, values in zip(laws, found, strict=True):
            measured = 2 * values["loss"]
            allowed = (2 * values["loss_rounding"] + rounding_of_risk(law)) / measured
            rows.append((abs(self.predicted(law) / measured - 1), float(allowed)))
        ran = f"{sum(v['nodes'] for v in found):.1e} Gauss nodes for {len(laws)} laws"
        described = [law.described() for law in laws]
        return enumerated_verdict(
            self.name, self.resolution, rows, "as a difference in units of the risk", ran, described
        )


def rounding_of_risk(law: ExponentialLaw) -> float:
    """What weights that carry a up to ROUNDED a, nodes, and floating point may move the risk: as in `risk.Shift`.

    The risk is d - 2 a tr C + a^2 tr M with C = E Lambda^2 and M = E[M Lambda] at length M.
    """
    operator, pull = curvature(law)
    A = predicted_gain(law)
    linear, square = 2 * float(np.linalg.norm(A)) * pull, float(A.reshape(-1) @ operator @ A.reshape(-1))
    return float(ROUNDED * linear + 2 * ROUNDED * square + ROUNDINGS * (law.dimension + linear + square))


@dataclass(frozen=True)
class SampledExponentialRisk:
    """The same over fresh prompts."""

    predicted: Risk
    laws: Callable[[int], list[ExponentialLaw]]
    resolution: float = 0.1
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "risk, sampled"

    def task(self, law: ExponentialLaw, budget: Budget) -> Task:
        parameters = {**law.sizes(), **layer_weights(rounded(predicted_gain(law)))}
        key = f"random covariance/{budget.seed}/{content_hash(parameters)}"
        sampled = {**parameters, "prompts": budget.prompts, "stream_key": key}
        return Task(f"{MEASUREMENTS}:sampled_exponential", sampled, budget.device, cost=2e-7 * budget.prompts)

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
        return sampled_verdict(self, compared, RISK_UNIT, f"for {len(laws)} laws", [law.described() for law in laws])


def finite_laws(seed: int) -> list[FiniteLaw]:
    sizes = ((1, 2, 3, 0.25), (2, 2, 2, 0.0), (2, 3, 1, 0.5), (3, 2, 1, 0.0))
    return [finite_law(seed, *size) for size in sizes]


def finite_law(seed: int, d: int, count: int, length: int, noise_variance: float) -> FiniteLaw:
    """Random covariances of different scales that do not commute; the weights are whole parts of a power of two."""
    draw = generator(f"covariances/{d}/{count}/{length}", seed)
    matrices = tuple((k + 1.0) * drawn_covariance(draw, d, 4.0) for k in range(count))
    parts = (0.375, 0.625) if count == 2 else (0.25, 0.25, 0.5)
    return FiniteLaw(matrices, parts, length, noise_variance)


def exponential_laws(seed: int) -> list[ExponentialLaw]:
    """The same for every seed: nothing is random in them."""
    sizes = ((1, 1, 0.0), (1, 3, 0.25), (2, 1, 0.5), (2, 2, 0.0))
    return [ExponentialLaw(d, n, noise, n) for d, n, noise in sizes]


def tested_laws(seed: int) -> list[ExponentialLaw]:
    """Trained at one length and tested at another."""
    sizes = ((1, 1, 0.0, 4), (1, 3, 0.25, 2), (2, 1, 0.5, 20), (2, 2, 0.25, 1))
    return [ExponentialLaw(*size) for size in sizes]


def sampled_laws(seed: int) -> list[ExponentialLaw]:
    return [ExponentialLaw(1, 3, 0.25, 6), ExponentialLaw(2, 2, 0.0, 4)]


def predict_random_covariance(parameters: Mapping[str, Any]) -> dict[str, Any]:
    gain, risk = random_covariance.gain_and_risk(**parameters)
    return {"gain": gain, "risk": risk}


def random_covariance_claim(
    general: Predictor = predicted_preconditioner, gain: Predictor = predicted_gain, risk: Risk = predicted_risk
) -> Claim:
    """The predictions can be altered, to see the same checks refuse other formulas."""
    return Claim(
        "random-covariance",
        random_covariance.derivation,
        (
            Parameter("dimension", "d, a whole number of at least 1"),
            Parameter("context_length", "N of training, a whole number of at least 1"),
            Parameter("test_length", "M, a whole number of at least 1; as in training if not given", False),
            Parameter(
                "law", "exponential: diagonal, independent Exp(1) entries, in training and test", False, "exponential",
                word=True,
            ),
        ),
        predict_random_covariance,
        (
            MixtureStationarity(general, finite_laws, "stationarity, finite laws, enumerated"),
            MixtureStationarity(gain, exponential_laws, "stationarity, exponential law, enumerated"),
            ExponentialRisk(risk, tested_laws),
            SampledExponentialRisk(risk, sampled_laws),
        ),
        "the gradient on all parameters at the predicted A for four random finite laws of covariances that do not "
        "commute (d <= 3, N <= 3) and for the exponential law (d <= 2, N <= 3); the risk of the exponential law at "
        "d <= 2, training lengths 1 to 20, test lengths 1 to 3, with and without noise. The limit of long prompts is "
        "derived and certified; training is not measured",
        (
            Alterable(
                target_formulas.finite_law, target_formulas.finite_law_points,
                lambda seed: [law.letters() for law in finite_laws(seed)],
                lambda formula: random_covariance_claim(general=preconditioner_by(formula)),
            ),
            Alterable(
                target_formulas.exponential_gain, target_formulas.length_points,
                lambda seed: [law.letters() for law in exponential_laws(seed)],
                lambda formula: random_covariance_claim(gain=gain_by(formula)),
            ),
            Alterable(
                target_formulas.exponential_risk, target_formulas.length_points,
                lambda seed: [law.letters() for law in (*tested_laws(seed), *sampled_laws(seed))],
                lambda formula: random_covariance_claim(risk=risk_by(formula)),
            ),
        ),
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (random_covariance_claim(),)
