r"""The claim conservation-law: what the flow of all parameters conserves, and what finite steps do to it.

Three checks
    EnumeratedConservation    the derivative of Q along the real layer's enumerated gradient, at random weights: zero up
                              to rounding
    EnumeratedDrift           Q after a step along that gradient, against the drift of the derived gradient
    DescentDrift              Q at every step of stochastic gradient descent on the real layer, against the drift of the
                              gradient of its own batch: up to the rounding of float64
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.algebra.evaluation import evaluate
from ...theory.one_layer import conservation_law, formulas
from ...theory.one_layer.conservation_law import letters_of_gradients, letters_of_weights
from ...theory.one_layer.population_loss import Weights, absolute, general_loss, rounding_factor, weight_gradients
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.verdict import Verdict
from .alterable import Alterable
from .any_start import general_loss_cases
from .claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from .loss_checks import Case, enumerated_verdict, random_weights
from .one_layer import CONTEXT_LENGTH, COVARIANCE, NOISE_VARIANCE, TASK_COVARIANCE
from .settings import FloatArray, gaussian_setting
from .stationarity import ENUMERATED, described

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula
    from ...theory.algebra.trace_polynomials import TracePolynomial

DESCENT_PATH = "iclcheck.numerics.training.descent_paths:descent_path"
FormulaMaker = Callable[[], "Formula"]
RATE = 0.1  # of the enumerated step
EPS = float(np.finfo(np.float64).eps)


def gradient_of(values: Values, suffix: str = "") -> Weights:
    """(dL/dW_PV, dL/dW_KQ) of an enumerated gradient, or the bounds on their rounding."""
    return np.array(values[f"W_PV{suffix}"]), np.array(values[f"W_KQ{suffix}"])


@cache
def slopes_of(formula: TracePolynomial) -> dict[str, TracePolynomial]:
    """dQ/dtheta of a polynomial in the weights."""
    return weight_gradients(formula)


def rate_along(Q: TracePolynomial, weights: Weights, gradient: Weights) -> tuple[float, float]:
    """<dQ/dtheta, g>, and the sum of the absolute values of its products."""
    letters, moved = letters_of_weights(weights), letters_of_weights(gradient)
    products = [np.ravel(evaluate(slope, letters) * moved[name]) for name, slope in slopes_of(Q).items()]
    row = np.concatenate(products)
    return float(np.sum(row)), float(np.sum(np.abs(row)))


def entries(weights: Weights) -> FloatArray:
    """u12, u, U and u21 in one row."""
    return np.concatenate([np.ravel(part) for part in letters_of_weights(weights).values()])


@dataclass(frozen=True)
class EnumeratedConservation:
    """dQ/dt along the real layer's enumerated gradient at random weights, in units of |theta| |grad L|."""

    formula: FormulaMaker
    cases: Callable[[int], list[Case]]
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "conserved along the gradient, enumerated"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return enumerated_tasks(self.cases(budget.seed))

    def judge(self, run: Run, budget: Budget) -> Verdict:
        cases = self.cases(budget.seed)
        found = run(self.tasks(budget))
        rows = [self.row(case, values) for case, values in zip(cases, found, strict=True)]
        return enumerated_verdict(
            self.name, self.resolution, rows, "as dQ/dt in units of |theta| |grad L|", said(cases, found),
            [described(case.setting) for case in cases],
        )  # fmt: skip

    def row(self, case: Case, values: Values) -> tuple[float, float]:
        Q, gradient = self.formula().parts["conserved"], gradient_of(values)
        rate, products = rate_along(Q, case.weights, gradient)
        # The gradient's own rounding enters times dQ/dtheta; the sum of the products adds at most one rounding each,
        # and a slope of Q has at most 2 d + 4 (`rounding_factor`).
        _, from_gradient = rate_along(Q, case.weights, gradient_of(values, "_rounding"))
        size = float(np.linalg.norm(entries(case.weights)) * np.linalg.norm(entries(gradient)))
        terms = len(entries(case.weights))
        allowed = from_gradient + (terms + 2 * len(case.weights[0]) + 4) * EPS * products
        return abs(rate) / size, allowed / size


def enumerated_tasks(cases: list[Case]) -> list[Task]:
    """The measurement that the checks of fixed-point-any-start make, too."""
    return [Task(f"{ENUMERATED}:enumerated_gradient", case.parameters(), cost=0.2) for case in cases]


def said(cases: list[Case], found: list[Values]) -> str:
    """What was run, in words."""
    return f"{sum(values['nodes'] for values in found):.1e} Gauss nodes at {len(cases)} random weights"


def value_of(formula: TracePolynomial, letters: Mapping[str, Any], dimension: int) -> tuple[float, float]:
    """A polynomial's value, and a bound on its rounding error."""
    sizes = {name: np.abs(value) for name, value in letters.items()}
    bound = rounding_factor(formula, dimension) * evaluate(absolute(formula), sizes)
    return float(evaluate(formula, dict(letters))), float(bound)


def change_of_Q(before: Weights, after: Weights) -> tuple[float, float]:
    """Q(after) - Q(before) by numerics' own observable, and a bound on its rounding."""
    # The verbs that only derive and predict never load numerics.
    from ...numerics.one_layer.observables import balance

    squares = [float(np.sum(entries(one) ** 2)) for one in (before, after)]
    # norms and their squares: some 10 roundings and one for each of the entries, of sums of squares
    return float(balance(*after) - balance(*before)), (len(entries(before)) + 10) * EPS * sum(squares)


@dataclass(frozen=True)
class EnumeratedDrift:
    """Q(theta - h g) - Q(theta) at the enumerated gradient g, against the drift at the derived gradient of L."""

    formula: FormulaMaker
    cases: Callable[[int], list[Case]]
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"
    name: str = "drift of a step, enumerated"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return enumerated_tasks(self.cases(budget.seed))

    def judge(self, run: Run, budget: Budget) -> Verdict:
        cases = self.cases(budget.seed)
        found = run(self.tasks(budget))
        rows = [self.row(case, values) for case, values in zip(cases, found, strict=True)]
        return enumerated_verdict(
            self.name, self.resolution, rows, "as a difference in units of h^2 |grad L|^2", said(cases, found),
            [described(case.setting) for case in cases],
        )  # fmt: skip

    def row(self, case: Case, values: Values) -> tuple[float, float]:
        measured = gradient_of(values)
        after = (case.weights[0] - RATE * measured[0], case.weights[1] - RATE * measured[1])
        change, rounding = change_of_Q(case.weights, after)
        _, derived, bounds = case.loss(general_loss()).with_rounding(*case.law(), case.weights)
        drift, of_drift = value_of(
            self.formula().parts["drift"], {**letters_of_gradients(derived), "h": RATE}, len(case.weights[0]) - 1
        )
        # Both gradients carry a rounding error e: Q moves by 2 h |theta - h g| e and the drift by 2 h^2 |g| e.
        lost = np.linalg.norm(entries(gradient_of(values, "_rounding"))) + np.linalg.norm(entries(bounds))
        reach = np.linalg.norm(entries(after)) + RATE * np.linalg.norm(entries(derived))
        unit = RATE**2 * float(np.linalg.norm(entries(derived))) ** 2
        allowed = rounding + of_drift + float(2 * RATE * reach * lost)
        return abs(change - drift) / unit, allowed / unit


@dataclass(frozen=True)
class DescentDrift:
    """Q at every step of stochastic gradient descent on fresh prompts, all parameters moving."""

    formula: FormulaMaker
    cases: Callable[[int], list[Case]]
    steps: int = 40
    batch_size: int = 64
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "drift along stochastic gradient descent"

    def expected_gap(self, budget: Budget) -> float | None:
        """The prompts are sampled, but the statement holds for every batch: no sampling error."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(case, budget) for case in self.cases(budget.seed)]

    def task(self, case: Case, budget: Budget) -> Task:
        key = content_hash(case.parameters())
        parameters = {
            **case.parameters(), "optimiser": "sgd", "learning_rate": 0.05, "steps": self.steps,
            "batch_size": self.batch_size, "stream_key": f"{self.name}/{budget.seed}/{key}",
        }  # fmt: skip
        return Task(DESCENT_PATH, parameters, budget.device, cost=0.05)

    def judge(self, run: Run, budget: Budget) -> Verdict:
        cases = self.cases(budget.seed)
        found = run(self.tasks(budget))
        rows = [row for values in found for row in self.rows(values)]
        ran = f"{len(rows)} steps from {len(cases)} random starts, {sum(v['prompts'] for v in found):.1e} prompts"
        unit = "as a difference in units of h^2 |g|^2"
        settings = [described(case.setting) for case in cases]
        return enumerated_verdict(self.name, self.resolution, rows, unit, ran, settings)

    def rows(self, values: Values) -> list[tuple[float, float]]:
        """(difference, allowance) of every step."""
        PV, KQ = np.array(values["W_PV"]), np.array(values["W_KQ"])
        gradients = zip(np.array(values["gradient_PV"]), np.array(values["gradient_KQ"]), strict=True)
        return [self.row((PV[k], KQ[k]), (PV[k + 1], KQ[k + 1]), g) for k, g in enumerate(gradients)]

    def row(self, before: Weights, after: Weights, gradient: Weights) -> tuple[float, float]:
        rate = 0.05
        change, rounding = change_of_Q(before, after)
        letters = {**letters_of_gradients(gradient), "h": rate}
        drift, of_drift = value_of(self.formula().parts["drift"], letters, len(before[0]) - 1)
        size, reach = (float(np.linalg.norm(entries(one))) for one in (gradient, after))
        # The batch gradient is a mean of products over B prompts: some B + 50 roundings of a sum whose terms are no
        # larger than ten times the gradient (`GRADIENT_ROUNDINGS`), and the step rounds every entry once more.
        lost = GRADIENT_ROUNDINGS * EPS * size + EPS * reach / rate
        allowed = rounding + of_drift + 2 * rate * (reach + rate * size) * lost
        return abs(change - drift) / (rate * size) ** 2, allowed / (rate * size) ** 2


GRADIENT_ROUNDINGS = 1000


def descent_cases(seed: int) -> list[Case]:
    """Random weights, all of them, under laws with Psi and noise."""
    sizes = ((1, 2), (2, 3), (3, 5))
    return [
        Case(
            gaussian_setting(f"conserved/{d}/{n}", seed, d, [n], noise=True),
            random_weights(f"conserved/{d}/{n}", seed, d, 0.4),
        )
        for d, n in sizes
    ]


def predict_conserved(parameters: Mapping[str, Any]) -> dict[str, Any]:
    found = conservation_law.conserved_quantity(**parameters)
    return {"conserved": found.conserved, "after_one_step": found.after_one_step, "at_time": found.at_time}


def letters_of_steps(seed: int) -> list[Mapping[str, Any]]:
    """Values of the gradients' letters where the drift of a step is enumerated."""
    found: list[Mapping[str, Any]] = []
    for case in general_loss_cases(seed):
        slopes = case.loss(general_loss()).gradients(*case.law(), case.weights)
        found.append({**letters_of_gradients(slopes), "h": RATE})
    return found


def conservation_law_claim(conserved: FormulaMaker = formulas.conserved, drift: FormulaMaker = formulas.drift) -> Claim:
    """Both formulas can be altered, to see the same checks refuse other laws."""
    return Claim(
        "conservation-law",
        conservation_law.derivation,
        (
            COVARIANCE,
            CONTEXT_LENGTH,
            Parameter("value_weights", "W_PV, (d+1) x (d+1)"),
            Parameter("key_query_weights", "W_KQ, (d+1) x (d+1)"),
            TASK_COVARIANCE,
            NOISE_VARIANCE,
            Parameter("learning_rate", "h of one full-batch step, at least 0", False, 0.0),
            Parameter("weight_decay", "wd of theta' = -dL/dtheta - wd theta, at least 0", False, 0.0),
            Parameter("time", "t of that flow, at least 0", False, 0.0),
        ),
        predict_conserved,
        (
            EnumeratedConservation(conserved, general_loss_cases),
            EnumeratedDrift(drift, general_loss_cases),
            DescentDrift(drift, descent_cases),
        ),
        "random weights (all of u12, u, U, u21 different from zero) under laws with Psi and noise: enumerated d <= 2, "
        "N <= 2; along 40 steps of stochastic gradient descent d <= 3, N <= 5, batches of 64. Weight decay is derived "
        "and certified, not measured",
        (
            Alterable(
                formulas.conserved,
                formulas.weight_points,
                lambda seed: [letters_of_weights(case.weights) for case in general_loss_cases(seed)],
                lambda formula: conservation_law_claim(conserved=lambda: formula),
            ),
            Alterable(
                formulas.drift,
                formulas.gradient_points,
                letters_of_steps,
                lambda formula: conservation_law_claim(drift=lambda: formula),
            ),
        ),
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (conservation_law_claim(),)
