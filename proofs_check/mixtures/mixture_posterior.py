r"""The claim mixture-posterior: the Bayes predictor of the dense and sparse mixture, at any noise.

Three checks
    "rotations at noise 1 to 1e-8"   numerics' predictor in float64, by rotations, against the formula in rational
                                     numbers for the very same prompts; what is left is rounding, which is bounded
    "prior times likelihood"         the formula against sums over grids of coefficients: nothing but Bayes' rule
    "calibration, sampled"           over prompts of the law, P(dense) is right in the mean where it lies in a bin, and
                                     the error of the prediction is orthogonal to signs that the prompt decides
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory.mixtures import mixture_posterior as theory
from ...theory.mixtures.exact_elimination import rational
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Quantity, Run, Values
from ..claims.exact_checks import ExactCheck, Row
from ..claims.sampled_verdicts import verdict_on_means
from ..claims.settings import generator
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.empirical_bernstein import compare_mean_in_interval
from ..verdicts.heavy_tails import MeanComparison, compare_mean
from ..verdicts.verdict import Verdict

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENTS = "iclcheck.numerics.mixtures.posterior_measurements"
FormulaMaker = Callable[[], "Formula"]
Case = dict[str, Any]
EPS = float(np.finfo(float).eps)


@dataclass(frozen=True)
class Size:
    """d, k, N, whether the function is dense, and the noise's standard deviation."""

    d: int
    k: int
    examples: int
    dense: bool
    deviation: float


ROTATED = (
    Size(1, 1, 2, True, 1.0), Size(2, 1, 0, True, 1e-4), Size(2, 1, 2, False, 0.1), Size(3, 1, 1, True, 1e-4),
    Size(3, 2, 2, False, 1e-4), Size(3, 2, 5, True, 0.01), Size(4, 1, 2, False, 1e-3), Size(4, 3, 3, True, 1e-4),
    Size(5, 2, 3, False, 1e-4), Size(5, 3, 4, True, 0.03), Size(6, 1, 8, True, 1e-4), Size(6, 2, 2, False, 1e-4),
    Size(6, 3, 3, True, 1e-4), Size(6, 3, 4, False, 1e-4), Size(6, 3, 5, True, 0.5), Size(6, 3, 8, False, 1e-4),
)  # fmt: skip
ON_GRIDS = (
    Size(2, 1, 0, True, 0.5), Size(2, 1, 1, False, 0.5), Size(2, 1, 2, True, 0.5), Size(2, 1, 3, False, 1.0),
    Size(2, 1, 4, True, 0.7),
)  # fmt: skip
GRID = 361  # points a coefficient: a step of a twentieth of the prior's deviation


def case_of(size: Size, seed: int) -> Case:
    """A prompt of the law in short dyadic numbers, which floats hold: y too, with the noise in units of 2^-40."""
    draw = generator(f"mixture posterior/{size}", seed)

    def dyadic(shape: Any, digits: int, scale: float = 1.0) -> Any:
        return np.round(draw.normal(size=shape) * scale * 2.0**digits) / 2.0**digits

    X, query, w = dyadic((size.examples, size.d), 8), dyadic(size.d, 8), dyadic(size.d, 8)
    if not size.dense:
        w[draw.permutation(size.d)[size.k :]] = 0
    y = X @ w + dyadic(size.examples, 40, size.deviation)
    dense_variance, sparse_variance = draw.integers(4, 13, size=2) / 8
    return {
        "X": X.tolist(), "y": y.tolist(), "x_query": query.tolist(), "sparsity": size.k,
        "dense_variance": float(dense_variance), "sparse_variance": float(sparse_variance),
        "dense_probability": float(draw.integers(2, 7) / 8), "noise_variance": size.deviation**2,
    }  # fmt: skip


@cache
def cases_of(sizes: tuple[Size, ...], seed: int) -> list[Case]:
    return [case_of(size, seed) for size in sizes]


def letters_of(case: Case) -> dict[str, Any]:
    """The formula's letters, exact."""
    law = {name: Fraction(case[name]) for name in case if name.endswith(("variance", "probability"))}
    mixture = theory.Mixture(case["sparsity"], **law)
    d = len(case["x_query"])
    X = rational(case["X"]) if case["X"] else rational(np.zeros((0, d)))
    y, query = (rational(case[name]).reshape(-1, 1) for name in ("y", "x_query"))
    return theory.values_at(X, y, query, mixture)


@cache
def letters_at(size: Size, seed: int) -> dict[str, Any]:
    return letters_of(case_of(size, seed))


@lru_cache(maxsize=64)
def predicted(formula: FormulaMaker, size: Size, seed: int) -> tuple[float, ...]:
    """P(dense), prediction and log evidences, from exact numbers."""
    letters = letters_at(size, seed)
    found = theory.answer(formula().value(letters), size.examples, letters["s2"])
    return tuple(float(value) for value in found)


def differences(derived: tuple[float, ...], measured: list[float], rounding: list[float]) -> list[Row]:
    """(difference, allowed): of P and prediction as they are, of log evidences in units of 1 + their size."""
    rows = []
    for place, (a, b, bound) in enumerate(zip(derived, measured, rounding, strict=True)):
        scale = 1.0 if place < 2 else 1 + abs(b)
        off = abs(a - b) / scale if np.isfinite(a) else np.inf
        rows.append((off, (bound + 4 * EPS * (1 + abs(b))) / scale))
    return rows


def rotated_task(budget: Budget) -> Task:
    """The predictor by rotations on all prompts."""
    return Task(f"{MEASUREMENTS}:bayes_predictions", {"cases": cases_of(ROTATED, budget.seed)}, budget.device, cost=0.3)


def rows_of_rotations(formula: FormulaMaker) -> Callable[[Budget, Values], list[Row]]:
    """Four rows a prompt."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for size, measured, rounding in zip(ROTATED, found["values"], found["rounding"], strict=True):
            result += differences(predicted(formula, size, budget.seed), measured, rounding)
        return result

    return rows


def grids_task(budget: Budget) -> Task:
    """The same numbers from prior and likelihood."""
    cases = cases_of(ON_GRIDS, budget.seed)
    return Task(f"{MEASUREMENTS}:quadrature_predictions", {"cases": cases, "steps": GRID}, budget.device, cost=0.3)


def rows_of_grids(formula: FormulaMaker) -> Callable[[Budget, Values], list[Row]]:
    """Four rows a prompt; what is allowed is what half the points change, and rounding.

    With 361 points a coefficient the error of the step is squared four times against 180: what half the points change
    bounds it. A density is exp of a number below 700 in size, so rounded to 700 eps; sums of positive terms, pairwise,
    add 20 eps at most: 1e-12 covers the quotients, which are of order 1.
    """

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for size, fine, coarse in zip(ON_GRIDS, found["values"], found["coarser"], strict=True):
            rounding = [abs(a - b) + 1e-12 for a, b in zip(fine, coarse, strict=True)]
            result += differences(predicted(formula, size, budget.seed), fine, rounding)
        return result

    return rows


LAW: dict[str, Any] = {
    "dimension": 4, "length": 6, "weights": [0.375, 0.625], "noise_variance": 0.1,
    "classes": [{"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": 1, "variance": 2.0}],
}  # fmt: skip
SECOND_MOMENT = 0.375 * 4 * 1.0 + 0.625 * 1 * 2.0  # of w . x, |w|^2 in the mean


@dataclass(frozen=True)
class Calibration:
    """What is zero in the mean if the posterior is the posterior, over prompts of the law; bounded draws and signs."""

    resolution: float = 0.1
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "calibration, sampled"

    def prompts(self, budget: Budget) -> int:
        return max(1_000, budget.prompts // 40)

    def expected_gap(self, budget: Budget) -> float:
        """As measured at 200,000 prompts."""
        return float(0.06 * np.sqrt(200_000 / self.prompts(budget)))

    def tasks(self, budget: Budget) -> list[Task]:
        key = f"mixture posterior/calibration/{budget.seed}/{content_hash(LAW)}"
        parameters = {"law": LAW, "prompts": self.prompts(budget), "stream_key": key}
        return [Task(f"{MEASUREMENTS}:calibration", parameters, budget.device, cost=4e-6 * self.prompts(budget))]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        compared = [self.compared(found, place) for place in range(len(found["sum"]))]
        ran = f"{found['count']:.1e} prompts of 0 to 5 examples, d = 4, k = 1"
        details = {"bins": found["bins"], "tests": len(compared)}
        return verdict_on_means(self, compared, "as a probability, and as a prediction", ran, details)

    def compared(self, found: Values, place: int) -> MeanComparison:
        """A bin lies between -1 and 1, and is moved by 1 and back; a signed error has the known second moment.

        For a wrong prediction of at most the target's size the error is at most twice as large: 4 E (w.x)^2.
        """
        count, total, squares = found["count"], found["sum"][place], found["sum_of_squares"][place]
        rate = self.false_alarm / len(found["sum"])
        if place < found["bins"]:
            moved = (count, total + count, squares + 2 * total + count, 2.0)
            one = compare_mean_in_interval(*moved, predicted=1.0, false_alarm=rate, miss=self.miss)
            return replace(one, measured=one.measured - 1, predicted=0.0)
        return compare_mean(count, total, squares, 4 * SECOND_MOMENT, false_alarm=rate, miss=self.miss)


PARAMETERS = (
    Parameter("X", "x_1 .. x_N, one per row (N x d); [] for none"),
    Parameter("y", "y_1 .. y_N; [] for none"),
    Parameter("x_query", "where the target without noise is predicted (d)"),
    Parameter("sparsity", "k, the nonzero coefficients of the sparse class: a whole number from 1 to d"),
    Parameter("dense_variance", "v_d: dense w ~ N(0, v_d I)", False, 1.0),
    Parameter("sparse_variance", "v_s: w ~ N(0, v_s) on a random support of k coordinates", False, 1.0),
    Parameter("dense_probability", "pi, the prior probability of the dense class", False, 0.5),
    Parameter("noise_variance", "s2 > 0 of the labels; for s2 -> 0 see mixture-noiseless-limit"),
)
QUANTITIES = (
    Quantity("dense_posterior", "P(dense | X, y), a number"),
    Quantity("prediction", "E[w . x_query | X, y], a number: the best prediction of the target without noise"),
)


def letters_of_rotations(seed: int) -> list[Mapping[str, Any]]:
    """Where altered formulas are compared: prompts of the checks with much noise."""
    return [letters_at(size, seed) for size in (ROTATED[0], ROTATED[2], ROTATED[14])]


def posterior_claim(formula: FormulaMaker = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "mixture-posterior",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.for_user(**parameters)._asdict(),
        (
            ExactCheck(
                "rotations at noise 1 to 1e-8", rotated_task, rows_of_rotations(formula),
                lambda found: f"{len(found['values'])} prompts, d <= 6, k <= 3, 0 to 8 examples",
                "as a difference", resolution=1e-7,
            ),
            ExactCheck(
                "prior times likelihood", grids_task, rows_of_grids(formula),
                lambda found: f"{len(found['values'])} prompts with d = 2, k = 1, {GRID} points a coefficient",
                "as a difference",
            ),
            Calibration(),
        ),
        "prompts of the law with d <= 6, k <= 3, up to d + 2 examples and noise variances from 1 to 1e-8, in numbers "
        "that floats hold, so that input is not rounded; grids for d = 2; calibration at d = 4, k = 1",
        (
            Alterable(
                theory.formula,
                theory.points,
                letters_of_rotations,
                lambda altered: posterior_claim(lambda: altered),
                most=60,
            ),
        ),
        quantities=QUANTITIES,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (posterior_claim(),)
