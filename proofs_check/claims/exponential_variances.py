r"""The claim exponential-variances, and the audits of two printed limits.

Five checks
    gain, risk, moments    over Gauss-Laguerre nodes of the variances and Gauss nodes of the prompts, without sampling:
                           the vertex of the measured risk; the risk at random gains, scales and lengths; the means of
                           yhat (w.x_q) x_q1^(2k), which know E[yhat | x_q, w]
    against the target, risk, sampled    E yhat (w.x_q) and the risk of the trained layer in the sizes of the paper
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...theory.audits import exponential_variances as theory
from ..records.tasks import Task
from ..verdicts.heavy_tails import MeanComparison, compare_mean
from ..verdicts.verdict import Verdict
from .alterable import Alterable
from .audit import Audit
from .claim import AlterationCost, Budget, Claim, Parameter, Run, Values
from .exact_checks import ExactCheck, Row
from .loss_checks import sampled_verdict
from .settings import generator

if TYPE_CHECKING:
    from ...theory.algebra.formulas import Formula

MEASUREMENTS = "iclcheck.numerics.audits.exponential_variances"
SIZES = ((1, 1), (1, 3), (2, 1), (2, 2), (2, 3))
POWERS = (0, 1, 2)
PAPER = (20, 100)  # d, and N = M, of the figure
PARAMETERS = (
    Parameter("dimension", "d, a whole number of at least 1"),
    Parameter("context_length", "N of training, a whole number of at least 1"),
    Parameter("test_length", "M, a whole number of at least 1"),
    Parameter("scale", "c of the test prompts, above 0", required=False, default=1.0),
    Parameter("training_scale", "c_0 of training, above 0", required=False, default=1.0),
    Parameter("x_query", "a query (d), for the mean prediction given it", required=False, default=None),
    Parameter("task", "a task w (d), for the same", required=False, default=None),
)
Case = dict[str, Any]


def case(d: int, length: int, scale: float, gain: float, **more: Any) -> Case:
    return {"dimension": d, "length": length, "scale": scale, "gain": gain, **more}


def trained_gain(d: int, length: int, scale: float = 1.0) -> float:
    return theory.at_numbers(theory.gain(), {"d": d, "N": length, "c_0": scale})


def letters(one: Case) -> dict[str, Any]:
    """Values of the letters of the risk at a case."""
    return {"a": one["gain"], "c": one["scale"], "M": float(one["length"]), "d": float(one["dimension"])}


# Exact checks


def risk_cases(seed: int) -> list[Case]:
    """Random gains of both signs and random scales."""
    found = []
    for d, length in SIZES:
        draw = generator(f"exponential/risk/{d}/{length}", seed)
        found.append(case(d, length, float(draw.uniform(0.5, 3)), float(draw.uniform(-1, 1))))
    return found


def risk_rows(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for one, mean, rounding in zip(risk_cases(budget.seed), found["mean"], found["rounding"], strict=True):
            predicted = float(formula().value(letters(one)))
            # Five terms of at most nine factors: their rounding is far below the bound on the measured mean.
            result.append((abs(mean - predicted) / mean, 2 * rounding / mean))
        return result

    return rows


def gain_cases(seed: int) -> list[Case]:
    """Three gains at each training law, for the vertex of a quadratic."""
    return [case(d, length, scale, gain) for d, length, scale in training_laws(seed) for gain in (-1.0, 0.0, 1.0)]


def training_laws(seed: int) -> list[tuple[int, int, float]]:
    return [
        (d, length, float(generator(f"exponential/gain/{d}/{length}", seed).uniform(0.5, 3))) for d, length in SIZES
    ]


def gain_rows(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for k, (d, length, scale) in enumerate(training_laws(budget.seed)):
            (low, middle, high), bounds = (found[name][3 * k : 3 * k + 3] for name in ("mean", "rounding"))
            curvature = low - 2 * middle + high
            vertex = (low - high) / (2 * curvature)
            predicted = float(formula().value({"c_0": scale, "N": float(length), "d": float(d)}))
            # low - high is off by at most 2 bounds, the curvature by 4, and vertex = (low - high)/(2 curvature).
            allowed = (1 + 4 * abs(vertex)) * max(bounds) / curvature
            result.append((abs(vertex - predicted) / abs(vertex), allowed / abs(vertex)))
        return result

    return rows


def moment_cases(seed: int) -> list[Case]:
    del seed
    return [case(d, length, 1.0, 1.0, power=power) for d, length in SIZES[:4] for power in POWERS]


def moment_rows(formula: Callable[[], Formula]) -> Callable[[Budget, Values], list[Row]]:
    """E yhat (w.x_q) x_q1^(2k) at A = I: the first coordinate's own term, and d - 1 independent ones."""

    def rows(budget: Budget, found: Values) -> list[Row]:
        result = []
        for one, mean, rounding in zip(moment_cases(budget.seed), found["mean"], found["rounding"], strict=True):
            d, k = one["dimension"], one["power"]
            others = (d - 1) * theory.moment_by(formula(), 1) * math.factorial(2 * k) / 2**k
            predicted = (theory.moment_by(formula(), k + 1) + others) / d
            result.append((abs(mean - predicted) / mean, 2 * rounding / mean))
        return result

    return rows


def task_of(function: str, cases: Callable[[int], list[Case]]) -> Callable[[Budget], Task]:
    return lambda budget: Task(f"{MEASUREMENTS}:{function}", {"cases": cases(budget.seed)}, cost=0.3)


def nodes_in_words(found: Values) -> str:
    return f"{sum(found['nodes']):.1e} Gauss nodes in {len(found['nodes'])} settings"


# Sampled checks


def sampled_cases(scales: Sequence[float]) -> list[Case]:
    """The layer trained at scale 1, tested at these scales; sizes of the paper."""
    d, length = PAPER
    return [case(d, length, scale, trained_gain(d, length)) for scale in scales]


def sampled_task(name: str, scales: Sequence[float], prompts: int, budget: Budget) -> Task:
    d, length = PAPER
    parameters = {"cases": sampled_cases(scales), "prompts": prompts, "stream_key": f"exponential/{name}/{budget.seed}"}
    cost = 1.8e-8 * d * (length + 1) * prompts * len(scales)
    return Task(f"{MEASUREMENTS}:sampled_statistics", parameters, budget.device, cost=cost)


def trained_task(budget: Budget) -> Task:
    """One layer at scale 1; both sampled checks and the first audit read it."""
    return sampled_task("trained", (1.0,), prompts_of_trained(budget), budget)


def prompts_of_trained(budget: Budget) -> int:
    """A prompt of this size costs as much as some eighty small ones."""
    return max(1, budget.prompts // 80)


def second_moment(one: Case, statistic: int) -> float:
    """E of the square of a statistic, exact."""
    numbers = {"a": one["gain"], "c": one["scale"], "M": one["length"], "d": one["dimension"]}
    return theory.at_numbers(theory.second_moments()[statistic], numbers) / float(one["dimension"] ** 2)


def compared(found: Values, one: Case, statistic: int, predicted: float, rate: float, miss: float) -> MeanComparison:
    """A sampled statistic in units of the predicted one.

    E (Z/p - 1)^2 <= E Z^2/p^2 + 1, where E Z/p is not negative: both means are positive at a positive gain.
    """
    return compare_mean(
        found["count"], found["sum"][0][statistic] / predicted, found["sum_of_squares"][0][statistic] / predicted**2,
        second_moment(one, statistic) / predicted**2 + 1, predicted=1.0, false_alarm=rate, miss=miss,
    )  # fmt: skip


@dataclass(frozen=True)
class SampledStatistic:
    """A statistic of the trained layer over fresh prompts, in units of its predicted mean."""

    name: str
    statistic: int
    predicted: Callable[[Case], float]
    resolution: float = 0.1
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float:
        """From the exact second moment, as in `compare_mean` with the sample's spread at its mean."""
        (one,) = sampled_cases((1.0,))
        relative = second_moment(one, self.statistic) / self.predicted(one) ** 2
        count = prompts_of_trained(budget)
        ends = math.sqrt(2 * math.log(2 / self.false_alarm)) + math.sqrt(2 * math.log(1 / self.miss))
        return float(ends * math.sqrt((relative + 1) / count))

    def tasks(self, budget: Budget) -> list[Task]:
        return [trained_task(budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        (one,) = sampled_cases((1.0,))
        result = compared(found, one, self.statistic, self.predicted(one), self.false_alarm, self.miss)
        d, length = PAPER
        where = f"at d = {d}, N = M = {length}"
        return sampled_verdict(self, [result], "in units of the predicted mean", where, [where])


def predicted_product(formula: Callable[[], Formula]) -> Callable[[Case], float]:
    """E yhat (w.x_q)/d = a E mean(xi) x^2."""
    return lambda one: float(one["gain"] * theory.moment_by(formula(), 1))


def predicted_risk(formula: Callable[[], Formula]) -> Callable[[Case], float]:
    return lambda one: float(formula().value(letters(one)))


Formulas = tuple[Callable[[], "Formula"], Callable[[], "Formula"], Callable[[], "Formula"]]
DERIVED: Formulas = (theory.risk_formula, theory.gain_formula, theory.mean_formula)


def variances_claim(formulas: Formulas = DERIVED) -> Claim:
    """Any of the three formulas (risk, gain, conditional mean) can be altered, to see the same checks refuse it."""
    risk, gain, mean = formulas
    unit, risks = "as a relative difference", "enumerated_risks"
    return Claim(
        "exponential-variances",
        theory.derivation,
        PARAMETERS,
        lambda parameters: theory.predict(**parameters),
        (
            ExactCheck("gain, enumerated", task_of(risks, gain_cases), gain_rows(gain), nodes_in_words, unit),
            ExactCheck("risk, enumerated", task_of(risks, risk_cases), risk_rows(risk), nodes_in_words, unit),
            ExactCheck(
                "prediction given the query, enumerated", task_of("enumerated_moments", moment_cases),
                moment_rows(mean), nodes_in_words, unit,
            ),
            SampledStatistic("prediction against the target, sampled", 0, predicted_product(mean)),
            SampledStatistic("risk, sampled", 1, predicted_risk(risk)),
        ),
        "d <= 2, M <= 3 without sampling, at random gains and scales; the layer trained at scale 1 with d = 20, N = M "
        "= 100 by sampling. The prediction given the query is known through its means with 1, x_q1^2 and x_q1^4",
        alterables(formulas),
    )  # fmt: skip


def alterables(formulas: Formulas) -> tuple[Alterable, ...]:
    """The three formulas, each with the settings of its exact check."""
    risk, gain, mean = formulas

    def law(seed: int) -> list[Mapping[str, Any]]:
        return [{"c_0": scale, "N": float(length), "d": float(d)} for d, length, scale in training_laws(seed)]

    def queries(seed: int) -> list[Mapping[str, Any]]:
        return [{"xi": float(value)} for value in generator("exponential/xi", seed).uniform(0.5, 3, size=4)]

    return (
        Alterable(
            theory.risk_formula, theory.points, lambda seed: [letters(one) for one in risk_cases(seed)],
            lambda altered: variances_claim((lambda: altered, gain, mean)),
        ),
        Alterable(
            theory.gain_formula, theory.points, law, lambda altered: variances_claim((risk, lambda: altered, mean))
        ),
        Alterable(
            theory.mean_formula, theory.points, queries, lambda altered: variances_claim((risk, gain, lambda: altered))
        ),
    )  # fmt: skip


# The printed limits


@dataclass(frozen=True)
class PrintedLimit:
    """E yhat (w.x_q)/d of the trained layer, beside what the printed limit of E[yhat | x_q, w] gives: E x_q^2/3 = 1/3.

    Allowed are the error of sampling and the exact distance of the corrected mean at N = M = 100 from its limit.
    """

    name: str = "yhat (w.x_q) beside the printed limit, sampled"
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "measured anew"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [trained_task(budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        (one,) = sampled_cases((1.0,))
        printed = float(theory.printed_factor())
        result = compared(found, one, 0, printed, self.false_alarm, self.miss)
        measured, sampling = result.measured * printed, result.allowed * printed
        finite_size = abs(trained_gain(*PAPER) - theory.gain_limit({"c_0": 1.0})) * theory.moment_by(
            theory.mean_formula(), 1
        )
        allowed = sampling + finite_size
        holds = abs(measured - printed) <= allowed
        return Verdict(
            self.name, "inconclusive" if holds else "contradicts", measured, printed, allowed,
            result.detectable * printed + finite_size, "E yhat (w.x_q) divided by d", self.false_alarm, self.miss,
            f"{result.draws:.1e} prompts at d = {PAPER[0]}, N = M = {PAPER[1]}",
            {"sampling": sampling, "finite size": finite_size},
        )  # fmt: skip


@dataclass(frozen=True)
class LimitOnAxis:
    """The risk divided by d of the layer trained at scale 1, tested at c, beside the top of the panel for c.

    The line is in the panel if its limit is below the next tick. Allowed are the error of sampling and the exact
    distance of the risk at N = M = 100 from its limit.
    """

    scale: int
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "measured anew"

    @property
    def name(self) -> str:
        return f"risk of a layer trained at 1, scale {self.scale}, sampled"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [sampled_task(f"scale {self.scale}", (float(self.scale),), max(1, budget.prompts // 400), budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        (one,) = sampled_cases((float(self.scale),))
        top = float(theory.SHOWN[self.scale])
        result = compared(found, one, 1, top, self.false_alarm, self.miss)
        measured, sampling = result.measured * top, result.allowed * top
        finite_size = abs(predicted_risk(theory.risk_formula)(one) - float(theory.limit_at(self.scale)))
        allowed = sampling + finite_size
        return Verdict(
            self.name, "inconclusive" if measured <= top + allowed else "contradicts", measured, top, allowed,
            result.detectable * top + finite_size, "divided by d, the panel shows at most", self.false_alarm, self.miss,
            f"{result.draws:.1e} prompts at d = {PAPER[0]}, N = M = {PAPER[1]}",
            {"sampling": sampling, "finite size": finite_size},
        )  # fmt: skip


FAILURE = Audit(
    printed=(
        "Let us assume that M, N -> infinity. Taking expectation over Lambda_new: E[yhat | x_q, w] -> x_q^T "
        "E[Lambda^2] E[Lambda^3]^-1 E[Lambda] w. For iid Exp(1) entries: E yhat -> (1/3) w.x_q."
    ),
    reading=(
        "Conditionally on x_q, as printed, with x_q ~ N(0, Lambda_new): the query tells about Lambda_new, so that "
        "E[Lambda_new | x_q] stands where E[Lambda] is printed. For a query that is drawn independently of Lambda_new "
        "the printed limit holds. Text: Section 4.3 of the preprint."
    ),
    counterexample=theory.failure_counterexample,
    corrected="exponential-variances",
    correction=(
        "E[yhat | x_q, w] -> sum_i w_i x_qi (1 + sqrt(2) |x_qi|)/6, and at any N and M it is N/(3N + d + 5) sum_i w_i "
        "x_qi (1 + sqrt(2) |x_qi|)/2. Averaged over the query, E yhat (w.x_q) -> 2d/3, twice what the printed limit "
        "gives."
    ),
    survives=(
        "The conclusion: the layer does not learn in context under random covariances; its limit is not w.x_q, and "
        "its risk divided by d tends to 1/3, not to 0."
    ),
)
FIGURE = Audit(
    printed=(
        "We set c = 1 during training and vary this value at test time. Figure 1: the black dashed line [is] the "
        "prediction error of LSA model when M, N -> infinity."
    ),
    reading=(
        "The lines lie inside the panels. We hold the text layer of the figure only, not its data: the axis labels of "
        "the panel for scale 4.0 are 0, 1, 2, 3, 4, of that for scale 9.0 they are 0, 2, 4, 6, 8, so that the panels "
        "show less than 5 and 10. Where the lines are drawn is not printed as a number; if they are outside of the "
        "panels, the statement stands, and the legend names a line that cannot be seen."
    ),
    counterexample=theory.figure_counterexample,
    corrected="exponential-variances",
    correction=(
        "The limit of the error divided by d is c - (4/3) c^2/c_0 + (2/3) c^3/c_0^2 for a layer trained at scale c_0: "
        "for c_0 = 1 it is 1/3, 76/3 and 387 at c = 1, 4, 9; for c_0 = c it is c/3, that is 1/3, 4/3 and 3, which the "
        "panels would show."
    ),
    survives=(
        "The comparison at c = 1, and that the layer fails at c = 4 and 9: by more than a line inside the panels "
        "says, far above the zero predictor's c."
    ),
)


def failure_claim() -> Claim:
    """The printed limit of the prediction."""
    return Claim(
        "audit-zfb-failure",
        theory.failure_refutation,
        PARAMETERS,
        lambda parameters: theory.predict_beside_printed(**parameters),
        (PrintedLimit(),),
        "the layer of exponential-variances in the sizes of the paper; no formula of its own is altered: those of "
        "exponential-variances are",
        audit=FAILURE,
    )


def figure_claim() -> Claim:
    """The printed limit of the risk."""
    return Claim(
        "audit-zfb-figure",
        theory.figure_refutation,
        PARAMETERS,
        lambda parameters: theory.predict(**parameters),
        tuple(LimitOnAxis(scale) for scale in theory.SHOWN),
        "the layer of exponential-variances in the sizes of the paper, at scales 4 and 9; no formula of its own is "
        "altered: those of exponential-variances are",
        audit=FIGURE,
    )


def claims() -> tuple[Claim, ...]:
    """The claim, and the printed statements that it corrects."""
    return variances_claim(), failure_claim(), figure_claim()
