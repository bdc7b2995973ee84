r"""The claim baseline-risks: zero, averaging, one gradient step and least squares at every prefix.

Three checks
    gradient steps, averaging included, over Gauss nodes: exact, at random task covariances
    least squares below and above the dimension, by enumeration: exact
    least squares at d = 20 over fresh examples, for one dense and one sparse task
Sampled draws without noise lie in [0, W]. With noise their second moment is bounded beforehand (`second_moment`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.prompt_risks import baseline_risks as theory
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Parameter, Quantity, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.settings import generator, random_covariance
from ..records.tasks import Task
from ..verdicts.empirical_bernstein import compare_mean_in_interval
from ..verdicts.heavy_tails import MeanComparison, compare_mean
from .sampled_baselines import MEASUREMENTS, UNIT, SampledBaseline, SampledCase

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

EPS = float(np.finfo(np.float64).eps)
STEPS = ((1, 1), (1, 4), (2, 1), (2, 3), (3, 1), (3, 2))  # d, N
ENUMERATED = ((3, 1), (4, 2), (5, 2), (5, 3), (1, 3), (2, 4), (2, 6), (3, 5))
PARAMETERS = (
    Parameter("dimension", "d, a whole number of at least 1"),
    Parameter("lengths", "numbers of examples: a list, or the largest of 0, 1, ..; left out: 0 to 2 d", False),
    Parameter("squared_norm", "E |w|^2, at least 0; left out: nonzeros times variance", False),
    Parameter("nonzeros", "nonzero coefficients of w, 1 to d; left out: d (dense)", False),
    Parameter("variance", "variance of each of them, above 0; left out: 1", False),
    Parameter("noise_variance", "sigma^2 of the labels' noise, at least 0", False, 0.0),
    Parameter("rate", "eta of the gradient step; left out: the best one at every length", False),
)
QUANTITIES = (
    Quantity("lengths", "the numbers N of examples seen, in the order of all lists"),
    Quantity("zero", "risk of the prediction 0 at each: E |w|^2"),
    Quantity("averaging", "risk of w_hat = (1/N) sum y_i x_i at each"),
    Quantity("one_step", "risk of one gradient step from 0 with the rate given, or with the best one, at each"),
    Quantity("rates", "that rate at each"),
    Quantity("least_squares", "risk of least squares of least norm at each; null where it is infinite"),
    Quantity("least_squares_infinite", "why it is infinite somewhere; null where it is nowhere"),
)

Made = Callable[[], "Formula"]


def letters(N: int, d: int, W: float, sigma2: float, eta: float) -> dict[str, Any]:
    return theory.letters(d, N, W, sigma2, eta)


# Gradient steps


def step_cases(seed: int) -> list[dict[str, Any]]:
    """A random task covariance, noise and rate at each size; every second one is averaging."""
    found = []
    for place, (d, n) in enumerate(STEPS):
        draw = generator(f"baseline-risks/step/{d}/{n}", seed)
        law = {
            "covariance": np.eye(d).tolist(), "context_lengths": [n],
            "task_covariance": random_covariance(draw, d, 4.0).tolist(),
            "noise_variance": float(draw.uniform(0.1, 1.0)), "covariates": "gaussian",
        }  # fmt: skip
        rate = float(draw.uniform(0.2, 1.5))
        kind = {"kind": "one-step", "rate": rate} if place % 2 else {"kind": "averaging"}
        found.append({"distribution": law, "baseline": kind})
    return found


def letters_of_step(case: Mapping[str, Any]) -> dict[str, Any]:
    law = case["distribution"]
    W = float(np.trace(np.array(law["task_covariance"])))
    (length,) = law["context_lengths"]
    return letters(length, len(law["covariance"]), W, law["noise_variance"], case["baseline"].get("rate", 1.0))


def step_task(budget: Budget) -> Task:
    return Task(f"{MEASUREMENTS}:polynomial_risks", {"cases": step_cases(budget.seed)}, cost=0.4)


def step_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for case, risk, rounding in zip(step_cases(budget.seed), found["risk"], found["rounding"], strict=True):
            at = letters_of_step(case)
            predicted, W = float(theory.risk_of_step(formula().parts, at)), float(at["W"])
            # W is a trace in float64, and the formula is evaluated exactly there
            result.append((abs(risk - predicted) / W, (rounding + 8 * EPS * risk) / W))
        return result

    return rows


def steps_in_words(found: Values) -> str:
    return f"{sum(found['nodes']):.1e} Gauss nodes at {len(found['nodes'])} laws, d <= 3, N <= 4"


# Least squares, enumerated


def enumerated_cases(seed: int) -> list[dict[str, Any]]:
    found = []
    for d, n in ENUMERATED:
        draw = generator(f"baseline-risks/least squares/{d}/{n}", seed)
        W, noise = (float(x) for x in draw.uniform(0.3, 2.0, size=2))
        found.append({"dimension": d, "length": n, "squared_norm": W, "noise_variance": noise})
    return found


def letters_of_case(case: Mapping[str, Any]) -> dict[str, Any]:
    return letters(case["length"], case["dimension"], case["squared_norm"], case["noise_variance"], 1.0)


def enumerated_task(budget: Budget) -> Task:
    return Task(f"{MEASUREMENTS}:enumerated_least_squares", {"cases": enumerated_cases(budget.seed)}, cost=0.6)


def enumerated_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for case, risk, rounding in zip(enumerated_cases(budget.seed), found["risk"], found["rounding"], strict=True):
            try:
                predicted = float(theory.risk_of_least_squares(formula().parts, letters_of_case(case)))
            except ValueError:  # an altered gap that is 0: infinite
                predicted = math.inf
            W = case["squared_norm"]
            result.append((abs(risk - predicted) / W, rounding / W))
        return result

    return rows


def enumerated_in_words(found: Values) -> str:
    return f"{sum(found['matrices'])} matrices of examples at {len(found['matrices'])} sizes, d <= 5, N <= 6"


# Least squares, sampled


SAMPLED = (
    SampledCase(10, 0.0, dense=False),
    SampledCase(15, 0.0, dense=True),
    SampledCase(10, 0.1, dense=True),
    SampledCase(30, 0.1, dense=False),
)


def sampled_task(case: SampledCase, prompts: int, budget: Budget) -> Task:
    stream = f"baseline-risks/{case.length}/{case.noise_variance}"
    return case.measurement({"kind": "least-squares"}, "gaussian", stream, prompts, budget, 2.5e-6)


def second_moment(case: SampledCase) -> float:
    """A bound on E |w_hat - w|^4 with noise, where m - k + 1 = q > 4.

    The error is -b + c with b = (I - P) w, c = X^+ e orthogonal to b, so its square is |b|^2 + |c|^2 with |b| <=
    |w|. Given X, E |c|^2 = s2 t and E |c|^4 = s2^2 (t^2 + 2 tr G^-2) <= 3 s2^2 t^2 with t = tr G^-1, the sum of k
    variables 1/chi^2_q: E t = k/(q - 2), and by Cauchy and Schwarz E t^2 <= k^2 E chi^-4 = k^2/((q - 2)(q - 4)).
    """
    k, q = min(case.length, case.dimension), abs(case.length - case.dimension) + 1
    s2 = case.noise_variance
    norm = 1.0 if case.length < case.dimension else 0.0
    return norm + 2 * norm * s2 * k / (q - 2) + 3 * (s2 * k) ** 2 / ((q - 2) * (q - 4))


def compare_errors(
    case: SampledCase, sums: tuple[int, float, float], *, predicted: float, false_alarm: float, miss: float
) -> MeanComparison:
    """Draws in [0, W] without noise, of a bounded second moment with noise."""
    if not case.noise_variance:  # |(I - P) w|^2 <= |w|^2 = 1, up to rounding
        return compare_mean_in_interval(*sums, 1 + 1e-9, predicted=predicted, false_alarm=false_alarm, miss=miss)
    # E (Z - p)^2 <= E Z^2 + p^2 for Z >= 0 <= p, and (sqrt(E Z^2) + |p|)^2 for p < 0
    moment = second_moment(case)
    bound = moment + predicted**2 if predicted >= 0 else (math.sqrt(moment) - predicted) ** 2
    return compare_mean(*sums, bound, predicted=predicted, false_alarm=false_alarm, miss=miss)


def sampled_least_squares(formula: Made) -> SampledBaseline:
    """The gap is that of the bound on the second moment, which rules."""

    def predicted(case: SampledCase) -> float:
        at = letters(case.length, case.dimension, 1.0, case.noise_variance, 1.0)
        return float(theory.risk_of_least_squares(formula().parts, at))

    return SampledBaseline(
        "least squares, sampled at d = 20", SAMPLED, sampled_task, predicted, compare_errors, gap=0.09
    )


def baselines_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "baseline-risks",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.prediction(**parameters),
        (
            ExactCheck("gradient steps over Gauss nodes", step_task, step_rows(formula), steps_in_words, UNIT),
            ExactCheck(
                "least squares, enumerated", enumerated_task, enumerated_rows(formula), enumerated_in_words, UNIT
            ),
            sampled_least_squares(formula),
        ),
        "gradient steps at six random laws of tasks (d <= 3, N <= 4, with noise); least squares at eight sizes (d <= "
        "5, N <= 6) on both sides of the dimension, and sampled for one dense and one sparse task at d = 20 (N = 10, "
        "15 without, N = 10, 30 with noise). At N = d - 1, d, d + 1 with noise the risk is infinite: no sample can "
        "show that, it is derived",
        (
            Alterable(
                theory.formula,
                theory.points,
                lambda seed: [letters_of_case(case) for case in enumerated_cases(seed)],
                lambda altered: baselines_claim(lambda: altered),
            ),
        ),
        quantities=QUANTITIES,
    )


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (baselines_claim(),)
