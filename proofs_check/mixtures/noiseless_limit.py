r"""The claim mixture-noiseless-limit: which supports remain without noise, and what that makes of the prediction.

Three checks
    "approach at noise 1e-7 and 1e-10"   numerics' predictor by rotations against the derived factors of every support,
                                         to within the derived rate
    "supports that fit, counted"         whole-number prompts: which supports fit at N = k and at N = k + 1, by exact
                                         ranks in numerics
    "risk without noise, sampled"        on dense functions, and on those with more than k nonzero coefficients, at
                                         every N from k + 1 on
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ...theory.mixtures import noiseless_limit as theory
from ...theory.mixtures import noiseless_predictions
from ..claims.alterable import Alterable
from ..claims.claim import AlterationCost, Budget, Claim, Parameter, Quantity, Run, Values
from ..claims.exact_checks import ExactCheck, ExactCount, Row
from ..claims.loss_checks import sampled_verdict
from ..claims.settings import generator
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.heavy_tails import compare_mean
from ..verdicts.verdict import Verdict
from .mixture_posterior import Case, FormulaMaker, letters_of

POSTERIOR = "iclcheck.numerics.mixtures.posterior_measurements"
NOISELESS = "iclcheck.numerics.mixtures.noiseless_measurements"


# The approach to the limit


@dataclass(frozen=True)
class Size:
    """d, k, N, the nonzero coefficients of the function, and the binary logarithm of the noise variance."""

    d: int
    k: int
    examples: int
    nonzeros: int
    log_noise: int


SHAPES = (
    (2, 1, 1, 2),
    (3, 1, 2, 1),
    (3, 2, 2, 3),
    (4, 1, 3, 4),
    (4, 2, 4, 2),
    (4, 2, 3, 3),
    (5, 1, 2, 1),
    (3, 1, 4, 1),
)
APPROACHED = tuple(Size(*shape, log_noise) for shape in SHAPES for log_noise in (-24, -34))
WELL_CONDITIONED = 100  # the largest slope of a support in a case


def drawn_case(size: Size, seed: int, attempt: int) -> Case:
    """A prompt without noise in short dyadic numbers, at the given noise variance of the predictor; one for both."""
    shape = f"{size.d}/{size.k}/{size.examples}/{size.nonzeros}"
    draw = generator(f"noiseless limit/{shape}/{attempt}", seed)
    X, query, w = (np.round(draw.normal(size=n) * 256) / 256 for n in ((size.examples, size.d), size.d, size.d))
    w[size.nonzeros :] = 0
    v_d, v_s, share = draw.integers(4, 13), draw.integers(4, 13), draw.integers(2, 7)
    return {
        "X": X.tolist(), "y": (X @ w).tolist(), "x_query": query.tolist(), "sparsity": size.k,
        "dense_variance": float(v_d / 8), "sparse_variance": float(v_s / 8), "dense_probability": float(share / 8),
        "noise_variance": 2.0**size.log_noise,
    }  # fmt: skip


@cache
def settled(size: Size, seed: int) -> tuple[Case, dict[str, Any], list[float]]:
    """The first well-conditioned case, its letters, and the slopes of its supports."""
    for attempt in range(1_000):
        case = drawn_case(size, seed, attempt)
        letters = letters_of(case)
        slopes = [float(one.slope) for one in theory.limits(theory.formula().parts, letters)]
        if max(slopes) < WELL_CONDITIONED:
            return case, letters, slopes
    raise ValueError(f"need a well-conditioned prompt of {size}, found none in 1000")


@dataclass(frozen=True)
class Predicted:
    """P(dense), prediction and log evidences at leading order, and how far the derived rate lets them be off."""

    values: tuple[float, float, float, float]
    bounds: tuple[float, float, float, float]


@lru_cache(maxsize=64)
def predicted(formula: FormulaMaker, size: Size, seed: int) -> Predicted:
    """Every support's density at leading order, mixed by Bayes' rule.

    A support's logarithm is off by at most s2 slope/2, so that densities, and sums of them, are off by factors; its
    prediction by at most s2 slope |x_q| sqrt(v square): in the norm of kappa, a moves by s2 tr (M kappa)^-1 times a.
    """
    case, letters, slopes = settled(size, seed)
    s2, N = case["noise_variance"], size.examples
    rows = np.array(formula().value(letters), dtype=float)
    weight, power, volume, square, means, left_over = rows.T
    with np.errstate(divide="ignore"):
        logs = np.log(weight) - power / 2 * math.log(s2) - np.log(volume) / 2 - square / 2 - left_over / (2 * s2)
    logs -= N / 2 * math.log(2 * math.pi)
    off = s2 * np.array(slopes) / 2
    variances = np.array([case["dense_variance"], *[case["sparse_variance"]] * (len(rows) - 1)])
    moved = 2 * off * np.linalg.norm(case["x_query"]) * np.sqrt(variances * np.abs(square))
    shares = np.exp(logs - np.logaddexp.reduce(logs))
    total_off = math.log(float(shares @ np.exp(off)))
    sparse_log = float(np.logaddexp.reduce(logs[1:]))
    sparse_off = math.log(float(np.exp(logs[1:] - sparse_log) @ np.exp(off[1:])))
    dense, mean = float(shares[0]), float(shares @ means)
    swing = float(shares @ (np.abs(means - mean) * np.expm1(off + total_off) + moved))
    return Predicted(
        (dense, mean, float(logs[0] - np.log(weight[0])), sparse_log - math.log(1 - case["dense_probability"])),
        (dense * (1 - dense) * math.expm1(off[0] + sparse_off), swing, float(off[0]), sparse_off),
    )


def approach_task(budget: Budget) -> Task:
    """The predictor by rotations at little noise."""
    cases = [settled(size, budget.seed)[0] for size in APPROACHED]
    return Task(f"{POSTERIOR}:bayes_predictions", {"cases": cases}, budget.device, cost=0.3)


def rows_of_approach(formula: FormulaMaker) -> Callable[[Budget, Values], list[Row]]:
    """Four rows a prompt: differences, and what rate and rounding allow; log evidences in units of 1 + their size."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for size, measured, rounding in zip(APPROACHED, found["values"], found["rounding"], strict=True):
            one = predicted(formula, size, budget.seed)
            for place in range(4):
                scale = 1.0 if place < 2 else 1 + abs(measured[place])
                off = abs(measured[place] - one.values[place])
                allowed = one.bounds[place] + rounding[place] + 1e-14 * (1 + abs(measured[place]))  # log, exp in floats
                result.append((off / scale if math.isfinite(off) else math.inf, allowed / scale))
        return result

    return rows


# Supports that fit


COUNTED = tuple(
    (d, k, nonzeros, N)
    for d, k in ((3, 1), (3, 2), (4, 2), (5, 3), (6, 2), (6, 3))
    for nonzeros in sorted({1, k, k + 1, d})
    for N in (k, k + 1)
)
COPIES = 2


def counted_case(d: int, k: int, nonzeros: int, N: int, copy: int, seed: int) -> Case:
    """Whole numbers from -99 to 99, none of them 0."""
    draw = generator(f"supports that fit/{d}/{k}/{nonzeros}/{N}/{copy}", seed)

    def whole(shape: Any) -> Any:
        return draw.integers(1, 100, size=shape) * draw.choice((-1, 1), size=shape)

    X, w = whole((N, d)), whole(d)
    w[draw.permutation(d)[nonzeros:]] = 0
    return {"X": X.tolist(), "y": (X @ w).tolist(), "sparsity": k}


def counting_task(budget: Budget) -> Task:
    cases = [counted_case(*one, copy, budget.seed) for one in COUNTED for copy in range(COPIES)]
    return Task(f"{NOISELESS}:supports_that_fit", {"cases": cases}, budget.device, cost=1.0)


def expected_fits(d: int, k: int, nonzeros: int, N: int) -> int:
    """All for N <= k, else those that contain the function's own support."""
    return math.comb(d, k) if k >= N else math.comb(d - nonzeros, k - nonzeros) if nonzeros <= k else 0


def differences_of_counts(budget: Budget, found: Values) -> list[int]:
    """The k-supports that fit beside what is stated, and that all coordinates together fit (N <= d)."""
    del budget
    expected = [expected_fits(*one) for one in COUNTED for _ in range(COPIES)]
    sparse = [abs(a - b) for a, b in zip(found["sparse"], expected, strict=True)]
    return sparse + [1 - dense for dense in found["dense"]]


# Risks without noise


DIMENSION, SPARSITY = 5, 2
NEARLY_NONE = 1e-16  # a wrong support leaves less than 1e-7 of y by chance: with a probability of that order
FUNCTIONS: tuple[dict[str, Any], ...] = (
    {"kind": "dense", "variance": 1.0},
    *({"kind": "sparse", "nonzeros": nonzeros, "variance": 1.0} for nonzeros in range(SPARSITY + 1, DIMENSION)),
)
LAW: dict[str, Any] = {
    "dimension": DIMENSION, "length": DIMENSION, "weights": [0.5, 0.5], "noise_variance": NEARLY_NONE,
    "classes": [{"kind": "dense", "variance": 1.0}, {"kind": "sparse", "nonzeros": SPARSITY, "variance": 1.0}],
}  # fmt: skip


def risk_and_second_moment(nonzeros: int, N: int) -> tuple[float, float]:
    """E Z and E Z^2 of Z = (x.u)^2, u the part of w outside N random directions: |u|^2/|w|^2 ~ Beta((d - N)/2, N/2).

    w has `nonzeros` entries N(0, 1); E |w|^4 = k'(k' + 2), and (x.u)^2 is |u|^2 times a squared normal.
    """
    d, left = DIMENSION, DIMENSION - N
    fourth = nonzeros * (nonzeros + 2) * left * (left + 2) / (d * (d + 2))
    return nonzeros * left / d, 3 * fourth


@dataclass(frozen=True)
class RiskWithoutNoise:
    """The risk at every N from k + 1 to d - 1, relative to the derived one."""

    resolution: float = 0.3
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"
    name: str = "risk without noise, sampled"

    def prompts(self, budget: Budget) -> int:
        return max(500, budget.prompts // 160)

    def expected_gap(self, budget: Budget) -> float:
        """As measured at 50,000 prompts of each kind."""
        return 0.12 * math.sqrt(50_000 / self.prompts(budget))

    def tasks(self, budget: Budget) -> list[Task]:
        parameters = {"law": LAW, "functions": list(FUNCTIONS), "prompts": self.prompts(budget)}
        key = f"noiseless risks/{budget.seed}/{content_hash({'law': LAW})}"
        cost = 3e-5 * self.prompts(budget)
        return [Task(f"{NOISELESS}:risks", {**parameters, "stream_key": key}, budget.device, cost=cost)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        places = [(at, N) for at in range(len(FUNCTIONS)) for N in range(SPARSITY + 1, DIMENSION)]
        compared = []
        for at, N in places:
            risk, second = risk_and_second_moment(FUNCTIONS[at].get("nonzeros", DIMENSION), N)
            compared.append(
                compare_mean(
                    found["count"], found["sum"][at][N] / risk, found["sum_of_squares"][at][N] / risk**2,
                    second / risk**2 + 1, predicted=1.0, false_alarm=self.false_alarm / len(places), miss=self.miss,
                )
            )  # fmt: skip
        where = "with 3, 4 and 5 nonzeros of 5, k = 2, N = 3 and 4"
        return sampled_verdict(self, compared, "in units of the derived risk", where, [])


PARAMETERS = (
    Parameter("X", 'x_1 .. x_N, one per row (N x d): numbers, or texts like "1/3"; [] for none'),
    Parameter("y", "y_1 .. y_N, without noise"),
    Parameter("x_query", "where the target is predicted (d)"),
    Parameter("sparsity", "k, the nonzero coefficients of the sparse class: a whole number from 1 to d"),
    Parameter("dense_variance", "v_d: dense w ~ N(0, v_d I)", False, 1.0),
    Parameter("sparse_variance", "v_s: w ~ N(0, v_s) on a random support of k coordinates", False, 1.0),
    Parameter("dense_probability", "pi, the prior probability of the dense class", False, 0.5),
    Parameter("tolerance", "0: ranks are exact; above 0, for rounded X and y: relative, such as 1e-9", False, 0.0),
)
QUANTITIES = (
    Quantity("dense_posterior", "the limit of P(dense | X, y) as the noise goes to 0"),
    Quantity("prediction", "the limit of E[w . x_query | X, y]"),
    Quantity("supports_left", "how many k-subsets keep a share of the posterior"),
    Quantity("identified", '"dense" or "sparse" where only that class is left, else "neither"'),
)


def letters_of_approach(seed: int) -> list[Mapping[str, Any]]:
    """Where altered formulas are compared: the prompts of the check."""
    return [settled(size, seed)[1] for size in APPROACHED[:8:2]]


def noiseless_claim(formula: FormulaMaker = theory.formula) -> Claim:
    """`formula` can be altered, to see the same checks refuse it."""
    return Claim(
        "mixture-noiseless-limit",
        theory.derivation,
        PARAMETERS,
        lambda parameters: noiseless_predictions.for_user(**parameters)._asdict(),
        (
            ExactCheck(
                "approach at noise 1e-7 and 1e-10", approach_task, rows_of_approach(formula),
                lambda found: f"{len(found['values'])} prompts, d <= 5, k <= 2, N from k to d + 1", "as a difference",
                resolution=1e-3,
            ),
            ExactCount(
                "supports that fit, counted", counting_task, differences_of_counts,
                lambda found: f"{len(found['sparse'])} prompts of whole numbers, d <= 6, k <= 3, N = k and k + 1",
                "supports too many or too few, at most",
            ),
            RiskWithoutNoise(),
        ),
        "prompts without noise: the predictor at noise variances 6e-8 and 6e-11 beside the limit and its rate, for "
        "well-conditioned examples; supports counted exactly for whole-number prompts with d <= 6 and k <= 3; risks "
        "sampled for d = 5, k = 2. That other inputs with a density behave alike is proved in words",
        (
            Alterable(
                theory.formula,
                theory.points,
                letters_of_approach,
                lambda altered: noiseless_claim(lambda: altered),
            ),
        ),
        quantities=QUANTITIES,
    )  # fmt: skip


def claims() -> tuple[Claim, ...]:
    """The claims of this module."""
    return (noiseless_claim(),)
