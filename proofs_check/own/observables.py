r"""Observables of claims of one's own, and the rules that judge them.

Main statements (rates: 1e-6 for a false alarm of a whole check, 1e-3 to miss the gap that it states)
    exact      numbers without sampling; they agree up to a stated rounding
    mean       the mean of independent draws. No test of a mean holds at a stated rate for every law with heavy tails
               [bahadur1956nonexistence], so one thing about the law has to be known beforehand:
                   variance   a bound on the variance of a draw, whatever its tails (`verdicts.heavy_tails`), or
                   bounds     numbers between which every draw lies (`verdicts.empirical_bernstein`)
    replicas   the share of independent runs that end within a margin, whatever their law (`verdicts.replicas`)
How many draws a mean takes follows from the gap `detect` that it has to catch, relative to the prediction of the stated
formula; altered statements are judged by the same draws.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..claims.claim import AlterationCost, Budget, Run, Values, budget_for
from ..claims.loss_checks import enumerated_verdict
from ..claims.parameters import UsageError
from ..claims.replica_verdict import replica_verdict
from ..records.plain_data import content_hash
from ..records.tasks import Task
from ..verdicts.empirical_bernstein import compare_mean_in_interval, deviation
from ..verdicts.heavy_tails import MeanComparison, compare_mean
from ..verdicts.sample_size import MOST_DRAWS, draws_needed
from ..verdicts.verdict import Outcome, Verdict, decide
from .domains import described, settings_of

if TYPE_CHECKING:
    from ...theory.algebra.derivations import Derivation
    from .stating import OwnClaim

Measure = Callable[..., Any]  # (parameters, generator), and device where it takes one
Number = float | str | Callable[..., float]  # a number, a formula in the parameters, or a function of them
Predicted = Callable[[Mapping[str, Any]], dict[str, float]]

MEASURING = "iclcheck.proofs_check.own.measuring"
FALSE_ALARM, MISS = 1e-6, 1e-3
FULL = 0.1  # of the gap: what the full profile has to catch
TOO_WIDE = 2.5  # draws that spread more than this times the stated variance leave no error rate (`heavy_tails`)
LONGEST_NAME = 52


@dataclass(frozen=True)
class Observable:
    """A function of the user's that measures, and what its rule needs to know.

    amount    the settings of exact and mean, the runs of replicas; 0: the claim's, or the profile's
    detect    the gap to catch, relative to the prediction
    """

    kind: Literal["exact", "mean", "replicas"]
    measure: Measure
    name: str
    detect: float
    rounding: float = 0.0
    variance: Callable[[Mapping[str, Any]], float] | None = None
    bounds: tuple[Callable[[Mapping[str, Any]], float], Callable[[Mapping[str, Any]], float]] | None = None
    margin: float = 0.0
    share: float = 0.9
    runs: int = 0

    def limits(self, setting: Mapping[str, Any]) -> tuple[float, float]:
        """Between what the draws lie; infinite where that is not stated."""
        if self.bounds is None:
            return -math.inf, math.inf
        low, high = (one(setting) for one in self.bounds)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(f"{self.name} needs bounds in order, got {low:g} and {high:g} at {described(setting)}")
        return low, high

    def in_words(self) -> str:
        """What it tests, for the domain."""
        rule = {
            "exact": f"exactly, up to {self.rounding:g}",
            "mean": "by independent draws " + ("of known variance" if self.variance else "within known bounds"),
            "replicas": f"by independent runs, of which a share of {self.share:g} has to end within {self.margin:g}",
        }
        return f"{self.name} {rule[self.kind]}"


@dataclass(frozen=True)
class OwnCheck:
    """One observable beside a formula; what the three kinds have in common.

    predicted    the formula that is judged, perhaps altered
    stated       the formula of the file: it sets how much is measured, and the unit
    """

    own: OwnClaim
    observable: Observable
    predicted: Predicted
    stated: Predicted

    @property
    def name(self) -> str:
        return self.observable.name

    def settings(self, budget: Budget) -> list[dict[str, Any]]:
        return settings_of(self.own.identifier, self.own.domain, budget.seed, self.own.settings)

    def scales(self, setting: Mapping[str, Any]) -> dict[str, float]:
        """The size of each quantity, the unit of its gap. Raises UsageError where the prediction is 0."""
        found = self.stated(setting)
        for name, value in found.items():
            if value == 0:
                raise UsageError(
                    f"{self.own.place}: {name} is predicted to be 0 at {described(setting)}, so no gap relative to it "
                    "can be caught; predict a quantity that is not 0 (1 + it, say), or leave that setting out"
                )
        return {name: abs(value) for name, value in found.items()}

    def task(self, function: str, budget: Budget, **parameters: Any) -> Task:
        common = {"claim": self.own.identifier, "check": self.name, "code": self.own.code}
        device = budget.device if takes_device(self.observable.measure) else "cpu"
        return Task(f"{MEASURING}:{function}", {**common, **parameters}, device)

    def stream_key(self, budget: Budget, setting: Mapping[str, Any], further: str = "") -> str:
        return f"own claim/{self.own.identifier}/{self.name}/{budget.seed}/{content_hash(dict(setting))}{further}"


def gap_to_catch(observable: Observable, budget: Budget) -> float:
    """Relative to the prediction: the file's, a tenth of it in the full profile, or that of --detect."""
    if budget == budget_for(budget.profile, budget.device, budget.seed):
        return observable.detect * (FULL if budget.profile == "full" else 1.0)
    return budget.gap


@dataclass(frozen=True)
class ExactNumbers(OwnCheck):
    """Numbers without sampling, at the settings."""

    cost_of_alteration: AlterationCost = "exact"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself is made."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        settings = self.settings(budget)
        keys = [self.stream_key(budget, setting) for setting in settings]
        return [self.task("measured_numbers", budget, settings=settings, stream_keys=keys)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        settings, rows = self.settings(budget), []
        for place, setting in enumerate(settings):
            predicted, scales = self.predicted(setting), self.scales(setting)
            for name, numbers in found["measured"].items():
                size = max(scales[name], abs(numbers[place]))
                rows.append((abs(numbers[place] - predicted[name]) / size, self.observable.rounding))
        return enumerated_verdict(
            self.name, self.observable.detect, rows, "as a difference in units of the larger of both",
            f"{len(rows)} numbers at {len(settings)} settings", [described(one) for one in settings],
        )  # fmt: skip


@dataclass(frozen=True)
class SampledMean(OwnCheck):
    """Means of independent draws, in units of what is predicted for them."""

    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float | None:
        """What the draws are counted for; nothing is known before where the draws are bounded only."""
        return gap_to_catch(self.observable, budget)

    def rate(self, settings: Sequence[Any]) -> float:
        """The false-alarm rate of one comparison: all of the check together have FALSE_ALARM."""
        return FALSE_ALARM / (len(settings) * len(self.own.quantities))

    def draws(self, setting: Mapping[str, Any], budget: Budget, rate: float) -> int:
        """Enough for the gap in every quantity. Raises UsageError."""
        gap = gap_to_catch(self.observable, budget) * min(self.scales(setting).values())
        try:
            if self.observable.variance is not None:
                return draws_needed(gap, [self.variance(setting)], false_alarm=rate, miss=MISS)
            low, high = self.observable.limits(setting)
            return bounded_draws(gap, high - low, rate)
        except UsageError:
            raise
        except ValueError as error:
            raise UsageError(f"{self.own.place}: {self.name} at {described(setting)}: {error}") from None

    def variance(self, setting: Mapping[str, Any]) -> float:
        assert self.observable.variance is not None  # asked only then
        found = self.observable.variance(setting)
        if not (math.isfinite(found) and found > 0):
            raise UsageError(f"{self.own.place}: {self.name} needs a positive variance, got {found:g}")
        return found

    def tasks(self, budget: Budget) -> list[Task]:
        settings = self.settings(budget)
        return [
            self.task(
                "sampled_sums", budget, setting=setting, draws=self.draws(setting, budget, self.rate(settings)),
                stream_key=self.stream_key(budget, setting),
            )
            for setting in settings
        ]  # fmt: skip

    def judge(self, run: Run, budget: Budget) -> Verdict:
        settings, found = self.settings(budget), run(self.tasks(budget))
        compared, widest = [], 0.0
        for setting, values in zip(settings, found, strict=True):
            predicted, scales = self.predicted(setting), self.scales(setting)
            for name in values["sum"]:
                unit = scales[name]
                compared.append(self.compared(setting, values, name, predicted[name] / unit, unit, self.rate(settings)))
            widest = max(widest, self.spread(setting, values))
        return self.verdict(compared, widest, settings, budget)

    def compared(
        self, setting: Mapping[str, Any], values: Values, name: str, predicted: float, scale: float, rate: float
    ) -> MeanComparison:
        """One mean beside its prediction, in units of the stated one."""
        count, total, squares = values["draws"], values["sum"][name], values["sum_of_squares"][name]
        if self.observable.variance is not None:
            # The bound holds with the variance about the draws' own mean, right or wrong as the prediction may be.
            return compare_mean(
                count, total / scale, squares / scale**2, self.variance(setting) / scale**2, predicted=predicted,
                false_alarm=rate, miss=MISS,
            )  # fmt: skip
        low, high = self.observable.limits(setting)
        return shifted_comparison(count, total, squares, low, high, predicted * scale, rate, scale)

    def spread(self, setting: Mapping[str, Any], values: Values) -> float:
        """The variance of the draws in units of the stated one, the largest over the quantities."""
        if self.observable.variance is None:
            return 0.0
        count, stated = values["draws"], self.variance(setting)
        means = {name: total / count for name, total in values["sum"].items()}
        return max(float(values["sum_of_squares"][name] / count - mean**2) / stated for name, mean in means.items())

    def verdict(
        self, compared: Sequence[MeanComparison], widest: float, settings: list[dict[str, Any]], budget: Budget
    ) -> Verdict:
        """The worst comparison and the largest gap; nothing is decided on draws that belie their stated variance."""
        worst = max(compared, key=lambda one: abs(one.measured - one.predicted) / one.allowed)
        gap = max(one.detectable for one in compared)
        # The draws were counted for a sample that spreads as stated. The spread is a sixth of the interval, so a tenth
        # more covers samples that spread 1.6 times as much, as those of heavy tails do now and then.
        outcome: Outcome = decide(all(one.holds for one in compared), gap, 1.1 * gap_to_catch(self.observable, budget))
        ran = f"{sum(one.draws for one in compared):.1e} draws at {len(settings)} settings"
        if self.observable.variance is not None:
            ran += f"; they spread {widest:.2g} times the stated variance at most"
        if widest > TOO_WIDE:
            outcome, ran = "inconclusive", f"{ran}, too much for the error rates to hold"
        return Verdict(
            self.name, outcome, worst.measured, worst.predicted, worst.allowed, gap,
            "in units of the prediction", FALSE_ALARM, MISS, ran, {"settings": [described(one) for one in settings]},
        )  # fmt: skip


def shifted_comparison(
    count: int, total: float, squares: float, low: float, high: float, predicted: float, rate: float, scale: float
) -> MeanComparison:
    """The mean of draws between two bounds beside a prediction, in units of `scale`."""
    # Clipped to what such draws can add up to: sums are rounded.
    sum_above = min(max(total - count * low, 0.0), count * (high - low))
    squares_above = min(max(squares - 2 * low * total + count * low**2, 0.0), (high - low) * sum_above)
    found = compare_mean_in_interval(
        count, sum_above / scale, squares_above / scale**2, (high - low) / scale, predicted=(predicted - low) / scale,
        false_alarm=rate, miss=MISS,
    )  # fmt: skip
    return MeanComparison(
        found.measured + low / scale, predicted / scale, found.allowed, found.detectable, rate, MISS, count
    )


def bounded_draws(gap: float, width: float, rate: float) -> int:
    """Draws that catch a gap whatever the law between two bounds is: for the largest variance there, width^2/4."""
    count = 16
    while deviation(count, width**2 / 4, width, rate) + deviation(count, width**2 / 4, width, MISS) > gap:
        count = math.ceil(1.1 * count)
        if count > MOST_DRAWS:
            raise ValueError(f"a gap of {gap:g} needs more than {MOST_DRAWS:.0e} draws; plan for a larger one")
    return count


@dataclass(frozen=True)
class CountedRuns(OwnCheck):
    """Independent runs, each at a setting of its own: how many end within the margin of what is predicted."""

    cost_of_alteration: AlterationCost = "judged again"

    def runs(self, budget: Budget) -> list[dict[str, Any]]:
        """The settings of the runs, one each."""
        base = budget_for("quick", budget.device, budget.seed).replicas
        count = math.ceil((self.observable.runs or base) * budget.replicas / base)
        return settings_of(self.own.identifier, self.own.domain, budget.seed, count, f"runs of {self.name}")

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run: the margin, and the largest error within it."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [
            self.task("own_run", budget, setting=setting, stream_key=self.stream_key(budget, setting, f"/run {k}"))
            for k, setting in enumerate(self.runs(budget))
        ]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found, errors = run(self.tasks(budget)), []
        for setting, values in zip(self.runs(budget), found, strict=True):
            predicted, scales = self.predicted(setting), self.scales(setting)
            errors.append(
                max(abs(number - predicted[name]) / scales[name] for name, number in values["measured"].items())
            )
        return replica_verdict(
            self.name, np.array(errors), self.observable.margin, self.observable.share, FALSE_ALARM,
            "as a difference in units of the prediction", "each at a setting of its own",
        )  # fmt: skip


@dataclass(frozen=True)
class DerivationSteps:
    """The equalities of a derivation at random rational values: a claim with a step that fails is contradicted."""

    derivation: Derivation
    cost_of_alteration: AlterationCost = "exact"
    name: str = "steps of the derivation"

    def expected_gap(self, budget: Budget) -> float | None:
        """A step."""
        return 1.0

    def tasks(self, budget: Budget) -> list[Task]:
        return []

    def judge(self, run: Run, budget: Budget) -> Verdict:
        del run, budget
        failed = self.derivation.failures()
        ran = f"{len(self.derivation.steps)} equalities at 2 random rational points" + "".join(
            f"; {name!r} fails" for name in failed
        )
        return Verdict(
            self.name, decide(not failed, 1.0, 1.0), float(len(failed)), 0.0, 0.0, 1.0, "steps that fail", 0.0, 0.0,
            ran, {},
        )  # fmt: skip


KINDS: Mapping[str, Callable[..., ExactNumbers | SampledMean | CountedRuns]] = {
    "exact": ExactNumbers,
    "mean": SampledMean,
    "replicas": CountedRuns,
}


def takes_device(measure: Measure) -> bool:
    """Whether a function has a parameter `device`: then it is told where to compute, else it is the CPU."""
    try:
        return "device" in inspect.signature(measure).parameters
    except (TypeError, ValueError):  # a callable without a signature
        return False


# What a file of claims calls


def exact(measure: Measure, *, rounding: float, detect: float = 1e-6, name: str | None = None) -> Observable:
    """Numbers without sampling: measure(parameters, generator) -> a number for each quantity. Raises UsageError.

    rounding    what floating point may lose, relative to the number: count the operations, 1e-16 each
    detect      the relative gap that has to be seen
    """
    refuse_unless(0 < rounding < 1, "rounding", "a number between 0 and 1, such as 1e-12", rounding)
    return Observable("exact", *of(measure, name, "exact"), checked_gap(detect), rounding=float(rounding))


def mean(
    measure: Measure,
    *,
    variance: Number | None = None,
    bounds: tuple[Number, Number] | None = None,
    detect: float = 0.05,
    name: str | None = None,
) -> Observable:
    """The mean of independent draws: measure(parameters, generator) -> as many as one call gives. Raises UsageError.

    variance    an upper bound on the variance of a draw (its second moment is one), a formula or function of the
                parameters; the rates hold for any tails, and rest on it
    bounds      (low, high) between which every draw lies, in its place
    detect      the gap to catch, relative to the prediction; a tenth of it in the full profile
    """
    if (variance is None) == (bounds is None):
        raise UsageError(
            "mean needs variance= or bounds=, and one of them: no test of a mean holds at a stated rate for every law"
        )
    if bounds is not None and (not isinstance(bounds, tuple | list) or len(bounds) != 2):
        raise UsageError(f"bounds needs a pair, got {bounds!r}; write bounds=(0, '(d - 1)**2')")
    made = Observable("mean", *of(measure, name, "sampled"), checked_gap(detect))
    # Read with the claim's parameters when the claim is stated (`predictions.completed`).
    return replace(made, variance=variance, bounds=None if bounds is None else tuple(bounds))  # type: ignore[arg-type]


def replicas(
    measure: Measure, *, margin: float, share: float = 0.9, runs: int = 192, name: str | None = None
) -> Observable:
    """Independent runs, such as trainings: measure(parameters, generator) -> one number for each quantity.

    margin    how far from the prediction, relative to it, a run may end;  share: of the runs, that has to
    runs      in the quick profile; 132 hits without a miss show a share of 0.9 at a rate of 1e-6
    Raises UsageError.
    """
    from ..verdicts.replicas import count_replicas

    refuse_unless(0 < margin < math.inf, "margin", "a positive number, such as 0.05", margin)
    refuse_unless(0 < share < 1, "share", "a number between 0 and 1, such as 0.9", share)
    whole = isinstance(runs, int) and not isinstance(runs, bool)
    refuse_unless(whole and 1 <= runs <= 100_000, "runs", "a whole number from 1 to 100000", runs)
    if count_replicas(runs, runs, required=share, false_alarm=FALSE_ALARM).outcome != "agrees":
        raise UsageError(f"runs={runs} cannot show a share of {share:g}, even without a miss; give more runs")
    made = Observable("replicas", *of(measure, name, "runs"), 0.0)
    return replace(made, margin=float(margin), share=float(share), runs=runs)


def of(measure: Measure, name: str | None, kind: str) -> tuple[Measure, str]:
    """A function and the name of its check. Raises UsageError."""
    if not callable(measure):
        raise UsageError(f"a check needs a function (parameters, generator) -> numbers, got {measure!r}")
    found = name or f"{getattr(measure, '__name__', 'function').replace('_', ' ')}, {kind}"
    if not isinstance(found, str) or not found.strip() or not found.isprintable() or len(found) > LONGEST_NAME:
        raise UsageError(f"a check needs a name of at most {LONGEST_NAME} characters, got {found!r}; give name='...'")
    return measure, found


def checked_gap(detect: float) -> float:
    refuse_unless(0 < detect < math.inf, "detect", "a positive number, such as 0.05", detect)
    return float(detect)


def refuse_unless(fits: bool, name: str, needed: str, came: Any) -> None:
    if not fits:
        raise UsageError(f"{name} needs {needed}, got {came!r}")
