"""The error of a baseline over fresh examples, sampled at d = 20, against its derived risk."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..claims.claim import AlterationCost, Budget, Run
from ..claims.sampled_verdicts import verdict_on_means
from ..records.tasks import Task
from ..verdicts.heavy_tails import MeanComparison
from ..verdicts.verdict import Verdict

MEASUREMENTS = "iclcheck.numerics.mixtures.baseline_measurements"
UNIT = "in units of E |w|^2"
PROMPTS = 12_500  # of each case in the quick profile


@dataclass(frozen=True)
class SampledCase:
    """One task w in 20 dimensions, |w|^2 = 1: dense, or with two nonzero coefficients."""

    length: int
    noise_variance: float
    dense: bool

    dimension = 20

    def task(self) -> list[float]:
        if not self.dense:
            return [0.6, 0.8] + [0.0] * (self.dimension - 2)
        signs = [(-1.0) ** (k * (k + 1) // 2) for k in range(self.dimension)]
        return [sign / math.sqrt(self.dimension) for sign in signs]

    def measurement(
        self, baseline: Mapping[str, Any], noise: str, stream: str, prompts: int, budget: Budget, seconds: float
    ) -> Task:
        """|w_hat - w|^2 of a baseline with noise of a law, at so many seconds for each example of a prompt."""
        parameters = {
            "baseline": baseline, "length": self.length, "task": self.task(), "noise_variance": self.noise_variance,
            "noise": noise, "prompts": prompts, "stream_key": f"{stream}/{self.dense}/{budget.seed}",
        }  # fmt: skip
        return Task(f"{MEASUREMENTS}:sampled_errors", parameters, budget.device, cost=seconds * self.length * prompts)


class Comparison(Protocol):
    """Of the errors of a case, given as their number, sum and sum of squares, with the predicted risk."""

    def __call__(
        self, case: SampledCase, sums: tuple[int, float, float], *, predicted: float, false_alarm: float, miss: float
    ) -> MeanComparison: ...


@dataclass(frozen=True)
class SampledBaseline:
    """|w_hat - w|^2 over fresh examples against the risk; one false-alarm rate for all cases together.

    task         (case, prompts, budget) -> the measurement
    predicted    the derived risk of a case
    compare      a comparison that the draws of a case allow
    gap          as measured at PROMPTS draws of each case
    """

    name: str
    cases: tuple[SampledCase, ...]
    task: Callable[[SampledCase, int, Budget], Task]
    predicted: Callable[[SampledCase], float]
    compare: Comparison
    gap: float
    resolution: float = 0.1
    false_alarm: float = 1e-6
    miss: float = 1e-3
    cost_of_alteration: AlterationCost = "judged again"

    def expected_gap(self, budget: Budget) -> float:
        """From the measured one."""
        return self.gap * math.sqrt(PROMPTS / self.prompts(budget))

    def prompts(self, budget: Budget) -> int:
        return max(100, budget.prompts // 640)

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(case, self.prompts(budget), budget) for case in self.cases]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        found = run(self.tasks(budget))
        compared = [
            self.compare(
                case, (values["count"], values["sum"], values["sum_of_squares"]), predicted=self.predicted(case),
                false_alarm=self.false_alarm / len(self.cases), miss=self.miss,
            )
            for case, values in zip(self.cases, found, strict=True)
        ]  # fmt: skip
        ran = f"{sum(one.draws for one in compared):.1e} prompts at {len(compared)} lengths and tasks"
        return verdict_on_means(self, compared, UNIT, ran, {})
