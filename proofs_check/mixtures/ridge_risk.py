r"""The claim ridge-risk: the exact risk of ridge regression at every prefix and for every penalty.

Three checks
    one or two eigenvalues: an integral over the triangular factor of the Gram matrix, exact
    the best penalty: the same integral on both sides of it, which the predicted one has to be below
    d = 20 over fresh examples, for one dense and one sparse task; noise of two values makes the draws bounded
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.prompt_risks import ridge_risk as theory
from ..claims.alterable import Alterable
from ..claims.claim import Budget, Claim, Parameter, Quantity, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.settings import generator
from ..records.tasks import Task
from ..verdicts.empirical_bernstein import compare_mean_in_interval
from ..verdicts.heavy_tails import MeanComparison
from .baseline_risks import PARAMETERS as OF_BASELINES
from .sampled_baselines import MEASUREMENTS, UNIT, SampledBaseline, SampledCase

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

EPS = float(np.finfo(np.float64).eps)
INTEGRATED = ((1, 1, 60), (3, 1, 60), (1, 4, 60), (2, 2, 27), (3, 2, 27), (2, 3, 27))  # d, N, nodes for each number
STEP_OF_PENALTY = 0.2
PARAMETERS = (
    *(one for one in OF_BASELINES if one.name != "rate"),
    Parameter("penalty", "lambda, above 0; left out: the best one, sigma^2 d/E|w|^2", False),
)
QUANTITIES = (
    Quantity("lengths", "the numbers N of examples seen, in the order of all lists"),
    Quantity("ridge", "risk of w_hat = (X^T X + lambda)^-1 X^T y at each"),
    Quantity("of_noise", "the part of it that the labels' noise adds, at each"),
    Quantity("penalty", "lambda"),
    Quantity(
        "best_penalty", "sigma^2 d/E|w|^2, where the risk is least at every length; null where it is 0 or infinite"
    ),
)

Made = Callable[[], "Formula"]


@lru_cache(maxsize=256)
def cached_letters(d: int, N: int, W: float, sigma2: float, lam: float) -> Mapping[str, Any]:
    """The letters of a setting; T1 and T2 take some milliseconds."""
    return theory.letters(d, N, W, sigma2, lam)


def integrated_cases(seed: int) -> list[dict[str, Any]]:
    found = []
    for d, n, nodes in INTEGRATED:
        draw = generator(f"ridge-risk/{d}/{n}", seed)
        W, noise = (float(x) for x in draw.uniform(0.8, 2.0, size=2))
        lam = float(draw.uniform(1.5, 3.0))  # the pole at -lambda is that far from the nodes
        found.append({
            "dimension": d, "length": n, "squared_norm": W, "noise_variance": noise, "penalty": lam, "nodes": nodes
        })  # fmt: skip
    return found


def letters_of(case: Mapping[str, Any]) -> Mapping[str, Any]:
    names = ("dimension", "length", "squared_norm", "noise_variance", "penalty")
    d, n, W, noise, lam = (case[name] for name in names)
    return cached_letters(d, n, W, noise, lam)


def integrated_task(budget: Budget) -> Task:
    return Task(f"{MEASUREMENTS}:integrated_ridge", {"cases": integrated_cases(budget.seed)}, cost=1.5)


def value_of(formula: Made, at: Mapping[str, Any], place: int) -> float:
    """The risk (0) or the best penalty (1) by a formula."""
    return float(formula().value(at)[place])


def integrated_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """Beside the change from a coarser rule: Gauss and Legendre converge geometrically on these analytic integrands."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        cases = integrated_cases(budget.seed)
        for case, risk, coarse in zip(cases, found["risk"], found["coarse"], strict=True):
            W = case["squared_norm"]
            # beyond the ends of the nodes lies less than 3 * 2e-11 of the mass; a risk given X is at most W +
            # sigma^2/lambda
            cut = 6e-11 * (W + case["noise_variance"] / case["penalty"])
            predicted = value_of(formula, letters_of(case), 0)
            result.append((abs(risk - predicted) / W, (abs(risk - coarse) + cut + 1e3 * EPS * risk) / W))
        return result

    return rows


def integrated_in_words(found: Values) -> str:
    return f"{sum(found['nodes'])} triangular matrices at {len(found['nodes'])} sizes, min(N, d) <= 2"


# The best penalty


def penalty_cases(seed: int) -> list[dict[str, Any]]:
    """Three penalties about the middle one, for d = 1 and 2: where the parabola through the risks is least."""
    found = []
    for case in integrated_cases(seed)[:2]:
        star = case["noise_variance"] * case["dimension"] / case["squared_norm"]
        found += [{**case, "penalty": star * factor} for factor in PENALTIES]
    return found


PENALTIES = tuple(1 + STEP_OF_PENALTY * math.cos(math.pi * (k + 0.5) / 9) for k in range(9))


def penalty_task(budget: Budget) -> Task:
    return Task(f"{MEASUREMENTS}:integrated_ridge", {"cases": penalty_cases(budget.seed)}, cost=0.3)


def penalty_rows(formula: Made) -> Callable[[Budget, Values], list[Row]]:
    """Where the polynomial of degree 8 through nine penalties has slope 0, beside the predicted one.

    It interpolates at Chebyshev nodes of [1 - h, 1 + h] in units of lambda*, h = 1/5. The risk is analytic but for
    lambda <= 0, so within the ellipse of Bernstein of rho = 5 + sqrt(24) = 9.9, and the slope of the interpolant is
    right to some rho^-8 = 1e-8 of the risk's variation there, over the curvature: 1e-5 is ample for lambda*.
    """

    def rows(budget: Budget, found: Values) -> list[Row]:
        result, cases = [], penalty_cases(budget.seed)
        for start in range(0, len(cases), len(PENALTIES)):
            case, risks = cases[start], found["risk"][start : start + len(PENALTIES)]
            star = case["penalty"] / PENALTIES[0]
            x = (np.array(PENALTIES) - 1) / STEP_OF_PENALTY
            slope = np.polynomial.Chebyshev.fit(x, risks, len(PENALTIES) - 1, domain=[-1, 1]).deriv()
            (zero,) = [float(r.real) for r in slope.roots() if abs(r.imag) < 1e-9 and abs(r.real) <= 1]
            measured = star * (1 + STEP_OF_PENALTY * zero)
            predicted = value_of(formula, letters_of({**case, "penalty": star}), 1)
            result.append((abs(measured - predicted) / star, 1e-5))
        return result

    return rows


def penalty_in_words(found: Values) -> str:
    return f"{len(found['risk'])} penalties at d = 1 and 3, N = 1"


# Sampled


SAMPLED = (SampledCase(10, 0.05, dense=False), SampledCase(20, 0.05, dense=True), SampledCase(30, 0.05, dense=False))


def penalty_of(case: SampledCase) -> float:
    """Twice the Bayes penalty, so that bias and noise are told apart."""
    return 2 * case.noise_variance * case.dimension


def sampled_task(case: SampledCase, prompts: int, budget: Budget) -> Task:
    baseline = {"kind": "ridge", "penalty": penalty_of(case)}
    return case.measurement(baseline, "signs", f"ridge-risk/{case.length}", prompts, budget, 1.5e-6)


def compare_errors(
    case: SampledCase, sums: tuple[int, float, float], *, predicted: float, false_alarm: float, miss: float
) -> MeanComparison:
    """With noises +-sigma the draws are bounded.

    |w_hat - w| <= |w| + |R X^T e| <= 1 + sigma sqrt(N)/(2 sqrt(lambda)): the largest sqrt(t)/(t + lambda) is
    1/(2 sqrt(lambda)).
    """
    largest = (1 + math.sqrt(case.noise_variance * case.length / penalty_of(case)) / 2) ** 2
    return compare_mean_in_interval(*sums, largest, predicted=predicted, false_alarm=false_alarm, miss=miss)


def sampled_ridge(formula: Made) -> SampledBaseline:
    """At twice the Bayes penalty."""

    def predicted(case: SampledCase) -> float:
        at = cached_letters(case.dimension, case.length, 1.0, case.noise_variance, penalty_of(case))
        return value_of(formula, at, 0)

    return SampledBaseline("ridge, sampled at d = 20", SAMPLED, sampled_task, predicted, compare_errors, gap=0.02)


def ridge_claim(formula: Made = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "ridge-risk",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.prediction(**parameters),
        (
            ExactCheck(
                "ridge, integrated", integrated_task, integrated_rows(formula), integrated_in_words, UNIT
            ),
            ExactCheck(
                "best penalty", penalty_task, penalty_rows(formula), penalty_in_words, "in units of it", resolution=1e-4
            ),
            sampled_ridge(formula),
        ),
        "six sizes with min(N, d) <= 2 (d <= 3, N <= 4) at random norms, noises and penalties, integrated; the best "
        "penalty at two of them; d = 20 and N = 10, 20, 30 sampled, for one dense and one sparse task. Derived up to "
        "40 positive eigenvalues, for every penalty above 0",
        (
            Alterable(
                theory.formula,
                theory.points,
                lambda seed: [letters_of(case) for case in integrated_cases(seed)],
                lambda altered: ridge_claim(lambda: altered),
            ),
        ),
        quantities=QUANTITIES,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (ridge_claim(),)
