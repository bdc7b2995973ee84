r"""What it takes to catch a gap, before anything is spent.

Main statements
    prompts     of a sampled check follow from exact second moments (`verdicts.sample_size`)
    margin      of a check that counts replicas is 3/5 of the gap; the trainings are as long as their error needs to be
                within the other 2/5, since their error falls like the root of the prompts that they see
    time        is measured: every kind of measurement runs once with few prompts or steps, and is scaled
The pilots take seconds and are kept nowhere. What cannot be known before the run is said to be so.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .checking import default_workers
from .claims.alterable import mutants_of
from .claims.claim import Budget, Check, Claim, Run, Values
from .claims.convergence import LARGEST_HIT, LARGEST_HIT_AT_STEPS
from .claims.loss_checks import GAP_OF_LOSS, GAP_OF_LOSS_AT_PROMPTS
from .records.tasks import Task, measured_unrecorded
from .verdicts.verdict import Verdict

PILOT_PROMPTS = (50_000, 200_000)
PILOT_STEPS = (16, 64)
PILOTS_OF_A_KIND = 3
FEWEST_STEPS = 200  # below, a training has not left its start


def budget_to_detect(gap: float, base: Budget) -> Budget:
    """The budget at which every check that can be scaled states a gap of at most about `gap`."""
    margin = 0.6 * gap
    steps = math.ceil(LARGEST_HIT_AT_STEPS * (LARGEST_HIT / (gap - margin)) ** 2)
    prompts = math.ceil(GAP_OF_LOSS_AT_PROMPTS * (GAP_OF_LOSS / gap) ** 2)
    return replace(
        base, gap=gap, gap_of_variants=gap, margin=margin, training_steps=max(steps, FEWEST_STEPS), prompts=prompts
    )


@dataclass(frozen=True)
class PlannedCheck:
    """One row of a plan.

    prompts     in all;  replicas: trainings that are counted, 0 where none is
    gap         what the verdict will state, in `unit`; None where only the run can say
    seconds     on one core
    """

    check: str
    prompts: int
    replicas: int
    gap: float | None
    seconds: float

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "check": self.check,
            "prompts": self.prompts,
            "replicas": self.replicas,
            "gap": self.gap,
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True)
class Plan:
    """What a check of one claim will take.

    seconds     wall-clock estimate with `workers` processes, from nothing recorded
    """

    claim: str
    budget: Budget
    checks: tuple[PlannedCheck, ...]
    workers: int
    seconds: float

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "claim": self.claim,
            "detect": self.budget.gap,
            "checks": [one.as_plain() for one in self.checks],
            "prompts": sum(one.prompts for one in self.checks),
            "workers": self.workers,
            "seconds": round(self.seconds, 1),
        }


def plan(claim: Claim, budget: Budget, workers: int | None = None) -> Plan:
    """Plan a check of one claim at a budget; runs pilots of some seconds."""
    rates = Rates()
    checks = tuple(planned(check, budget, rates) for check in claim.checks)
    tasks = {task.key: task for check in claim.checks for task in check.tasks(budget)}
    processes = min(workers or default_workers(budget), len(tasks))
    each = [rates.seconds(task) for task in tasks.values()]
    measuring = max(sum(each) / processes, *each) + (start_up_seconds() if processes > 1 else 0.0)
    return Plan(claim.identifier, budget, checks, processes, measuring + controls_seconds(claim, budget))


def planned(check: Check, budget: Budget, rates: Rates) -> PlannedCheck:
    """The row of one check."""
    tasks = check.tasks(budget)
    configurations = [one for task in tasks for one in task.parameters.get("configurations", ())]
    prompts = sum(drawn_by(task) * len(task.parameters.get("cases", (1,))) for task in tasks)
    prompts += sum(one["steps"] * one["batch_size"] for one in configurations)
    seconds = sum(rates.seconds(task) for task in tasks)
    replicas = len(configurations) or sum(task.measurement.endswith(":own_run") for task in tasks)
    return PlannedCheck(check.name, prompts, replicas, stated_gap(check, budget), seconds)


def drawn_by(task: Task) -> int:
    """The prompts of a task, or the draws of a claim of one's own."""
    return int(task.parameters.get("prompts", task.parameters.get("draws", 0)))


def stated_gap(check: Check, budget: Budget) -> float | None:
    """The gap that the verdict will state, as far as it is known before the run; exact checks are simply run."""
    if check.cost_of_alteration == "exact":
        return exact_verdict(check, budget).detectable
    return check.expected_gap(budget)


def exact_verdict(check: Check, budget: Budget) -> Verdict:
    """The verdict of a check that takes milliseconds."""
    return check.judge(measured_unrecorded, budget)


class Rates:
    """Measured seconds per expected second of a task's cost, for each kind of measurement."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {}
        self.piloted: dict[str, float] = {}

    def seconds(self, task: Task) -> float:
        """The time of a task on one core: of its own pilot, or of its kind's once enough have run."""
        if task.key in self.piloted:
            return self.piloted[task.key]
        kind = self.found.setdefault(task.measurement, [])
        if len(kind) < PILOTS_OF_A_KIND:
            self.piloted[task.key] = pilot_seconds(task, warm=bool(kind))
            kind.append(self.piloted[task.key] / task.cost)
            return self.piloted[task.key]
        return task.cost * sum(kind) / len(kind)


def pilot_seconds(task: Task, *, warm: bool) -> float:
    """The time of a task from two small versions of it: what is spent per prompt or step, and what once.

    The first task of a kind is run once before, since it loads libraries.
    """
    (few, few_units), (more, more_units), units = pilots(task)
    if not warm:
        measured_unrecorded([few])
    first = seconds_of(few)
    if units == few_units:
        return first
    slope = max(0.0, (seconds_of(more) - first) / (more_units - few_units))
    return first + slope * (units - few_units)


def seconds_of(task: Task) -> float:
    """How long a task keeps one core busy; on a GPU, how long it takes."""
    clock = time.process_time if task.kind_of_device == "cpu" else time.perf_counter
    started = clock()
    measured_unrecorded([task])
    return clock() - started


def pilots(task: Task) -> tuple[tuple[Task, int], tuple[Task, int], int]:
    """Two small versions of a task, each with its units (prompts, sequences or steps), and those of the task itself."""
    if "configurations" in task.parameters:
        units = max(one["steps"] for one in task.parameters["configurations"])
        sizes = PILOT_STEPS
    elif (unit := unit_of(task)) is not None:
        units, sizes = task.parameters[unit], PILOT_PROMPTS
    else:
        return (task, 1), (task, 1), 1
    if units <= sizes[1]:
        return (task, units), (task, units), units
    return (with_units(task, sizes[0]), sizes[0]), (with_units(task, sizes[1]), sizes[1]), units


UNITS = ("prompts", "sequences", "count", "draws")  # what a sampled sum is over, by the name of its parameter


def unit_of(task: Task) -> str | None:
    """The parameter that says how many draws a task sums over; None for one that is no such sum."""
    sampled = "stream_key" in task.parameters and "cases" not in task.parameters
    return next((name for name in UNITS if name in task.parameters), None) if sampled else None


def with_units(task: Task, units: int) -> Task:
    """The same trainings with so many steps, or the same sums over so many draws."""
    if "configurations" not in task.parameters:
        unit = unit_of(task)
        assert unit is not None  # a pilot is made of such tasks only
        return replace(task, parameters={**task.parameters, unit: units})
    configurations = [{**one, "steps": units} for one in task.parameters["configurations"]]
    return replace(task, parameters={**task.parameters, "configurations": configurations})


def start_up_seconds() -> float:
    """What a worker process needs before its first measurement: Python and torch."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True, capture_output=True)
    return time.perf_counter() - started


def controls_seconds(claim: Claim, budget: Budget) -> float:
    """Sorting the altered statements, and putting them to the exact checks: measured on a few of them.

    What the original's checks measure is there by then: altered statements that ask for the same do not wait for it.
    """
    started = time.perf_counter()
    counted = mutants_of(claim, budget.seed).counted
    sorting = time.perf_counter() - started
    sample = counted[:: max(1, len(counted) // 4)]
    if not sample:
        return sorting
    run = remembering()
    judge_exactly(claim, run, budget)
    started = time.perf_counter()
    for mutant in sample:
        judge_exactly(mutant.claim, run, budget)
    return sorting + (time.perf_counter() - started) * len(counted) / len(sample)


def judge_exactly(claim: Claim, run: Run, budget: Budget) -> None:
    """Put a claim to its exact checks."""
    for check in claim.checks:
        if check.cost_of_alteration == "exact":
            check.judge(run, budget)


def remembering() -> Run:
    """A run that measures equal tasks once, and records nothing."""
    known: dict[str, Values] = {}

    def run(tasks: Sequence[Task]) -> list[Values]:
        for task in tasks:
            if task.key not in known:
                (known[task.key],) = measured_unrecorded([task])
        return [known[task.key] for task in tasks]

    return run
