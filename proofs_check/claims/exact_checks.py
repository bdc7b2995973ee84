"""Checks without sampling that one function of a budget makes and another one judges, row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..records.tasks import Task
from ..verdicts.verdict import Verdict, decide
from .claim import AlterationCost, Budget, Run, Values
from .loss_checks import enumerated_verdict

Row = tuple[float, float]


@dataclass(frozen=True)
class ExactCheck:
    """Differences between measured and predicted numbers, each beside what rounding allows.

    task(budget)               what is measured
    rows(budget, values)       (difference, allowed), every allowance above 0
    ran(values)                what was run, in words
    """

    name: str
    task: Callable[[Budget], Task]
    rows: Callable[[Budget, Values], list[Row]]
    ran: Callable[[Values], str]
    unit: str
    resolution: float = 1e-6
    cost_of_alteration: AlterationCost = "exact"

    def expected_gap(self, budget: Budget) -> float | None:
        """Nothing is sampled: the verdict itself takes milliseconds."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        return enumerated_verdict(self.name, self.resolution, self.rows(budget, found), self.unit, self.ran(found), [])


@dataclass(frozen=True)
class ExactCount:
    """Whole numbers counted exactly: the largest difference from the predicted ones, of which none is allowed."""

    name: str
    task: Callable[[Budget], Task]
    differences: Callable[[Budget, Values], list[int]]
    ran: Callable[[Values], str]
    unit: str
    cost_of_alteration: AlterationCost = "exact"

    def expected_gap(self, budget: Budget) -> float | None:
        """A difference of one."""
        return 1.0

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        measured = float(max(self.differences(budget, found)))
        return Verdict(
            self.name, decide(measured == 0, 1.0, 1.0), measured, 0.0, 0.0, 1.0, self.unit, 0.0, 0.0,
            self.ran(found), {},
        )  # fmt: skip


@dataclass(frozen=True)
class PrintedNumber:
    """One measured number beside the one that a paper prints.

    compare(values)    (measured, printed, allowed, whether they agree)
    finest             the smallest gap there is, for whole numbers
    """

    name: str
    task: Callable[[Budget], Task]
    compare: Callable[[Values], tuple[float, float, float, bool]]
    ran: Callable[[Values], str]
    unit: str
    finest: float = 0.0
    cost_of_alteration: AlterationCost = "exact"

    def expected_gap(self, budget: Budget) -> float | None:
        """Known after the run."""
        return None

    def tasks(self, budget: Budget) -> list[Task]:
        return [self.task(budget)]

    def judge(self, run: Run, budget: Budget) -> Verdict:
        (found,) = run(self.tasks(budget))
        measured, printed, allowed, agree = self.compare(found)
        gap = max(2 * allowed, self.finest)
        return Verdict(
            self.name, decide(agree, gap, gap), measured, printed, allowed, gap, self.unit, 0.0, 0.0,
            self.ran(found), {},
        )  # fmt: skip
