"""Running checks: tasks of all claims first, in parallel, then the verdicts.

The verdicts are computed anew from the records each time: a record holds raw measurements only, so a changed
decision rule re-judges them, and only a changed measuring path measures again.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .claims.audit import counted, in_words, outcome_of_run, outcomes_of
from .claims.claim import Budget, Claim, ClaimVerdict, Run, Values, judge
from .controls import controls
from .records.measuring_path import measuring_path
from .records.plain_data import canonical_json
from .records.store import Record, Records, RecordStore
from .records.tasks import Progress, Task, run_tasks
from .verdicts.verdict import Outcome

EXIT_STATUS: Mapping[Outcome, int] = {"agrees": 0, "contradicts": 1, "inconclusive": 3}


@dataclass(frozen=True)
class CheckRun:
    """The verdicts on some claims, and the records that they were judged by; `keys` are those of each claim."""

    budget: Budget
    verdicts: tuple[ClaimVerdict, ...]
    records: tuple[Record, ...]
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0 all agree, 1 one is contradicted, 3 else; among other claims audits count as `claims.audit` says."""
        return EXIT_STATUS[outcome_of_run(self.verdicts)]

    def audits(self) -> dict[str, dict[str, Any]]:
        """Every audited statement, with what it counts for in this run."""
        outcomes = outcomes_of(self.verdicts)
        return {
            v.identifier: {**v.audit.as_plain(), "in_words": in_words(v, outcomes), "counts_as": counted(v, outcomes)}
            for v in self.verdicts
            if v.audit is not None
        }

    def environments(self) -> list[dict[str, Any]]:
        """The distinct versions, devices and commits that the records come from."""
        distinct = {canonical_json(record.environment): dict(record.environment) for record in self.records}
        return [distinct[key] for key in sorted(distinct)]

    def _repr_html_(self) -> str:
        from .notebooks import table_html

        rows = [[v.identifier, one.check, one.outcome, str(one)] for v in self.verdicts for one in v.verdicts]
        return table_html(["claim", "check", "outcome", "verdict"], rows)

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        audits = self.audits()
        return {
            "profile": self.budget.profile,
            "device": self.budget.device,
            "seed": self.budget.seed,
            "claims": [
                {
                    "claim": v.identifier,
                    "outcome": v.outcome,
                    "checks": [one.as_plain() for one in v.verdicts],
                    "controls": None if v.controls is None else v.controls.as_plain(),
                    "audit": audits.get(v.identifier),
                }
                for v in self.verdicts
            ],
            "records": [record.key for record in self.records],
            "environments": self.environments(),
            "exit_status": self.exit_status,
        }


def check_claims(
    claims: Sequence[Claim],
    budget: Budget,
    store: RecordStore,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CheckRun:
    """Measure what the store lacks, then judge every check of every claim."""
    run = RecordedRun(store)
    tasks = [task for claim in claims for check in claim.checks for task in check.tasks(budget)]
    run.measure(tasks, workers or default_workers(budget), progress)
    verdicts, keys = [], {}
    for claim in claims:
        run.asked = set()
        verdicts.append(judged_with_controls(claim, run, budget))
        keys[claim.identifier] = tuple(sorted(run.asked))
    return CheckRun(budget, tuple(verdicts), run.records(), keys)


def judged_with_controls(claim: Claim, run: Run, budget: Budget) -> ClaimVerdict:
    """The verdict on a claim, with the score of its altered statements."""
    verdict = judge(claim, run, budget)
    return replace(verdict, controls=controls(claim, verdict, run, budget))


class RecordedRun:
    """A `Run` that measures what the store lacks, and keeps the records that it gave.

    asked    the keys of the tasks that were asked for since it was emptied
    """

    def __init__(self, store: RecordStore) -> None:
        self.store = store
        self.used: dict[str, Record] = {}
        self.asked: set[str] = set()

    def __call__(self, tasks: Sequence[Task]) -> list[Values]:
        self.asked.update(task.key for task in tasks)
        self.measure(tasks)
        return [self.used[task.key].values for task in tasks]

    def measure(self, tasks: Sequence[Task], workers: int = 1, progress: Progress | None = None) -> None:
        """Measure and keep; a task that this run has the record of is not looked up again."""
        waiting = [task for task in tasks if task.key not in self.used]
        if waiting:
            self.used.update(run_tasks(waiting, self.store, workers=workers, progress=progress))

    def records(self) -> tuple[Record, ...]:
        """Every record used so far, by key."""
        return tuple(self.used[key] for key in sorted(self.used))


class NotMeasuredError(LookupError):
    """A verdict was asked for whose records are not in the store; `stale` is what other code recorded, if anything."""

    def __init__(self, task: Task, stale: Record | None) -> None:
        super().__init__(f"{task.measurement} was not measured, or its code has changed since")
        self.task, self.stale = task, stale


def judge_stored(claim: Claim, budget: Budget, store: Records) -> tuple[ClaimVerdict, list[Record]]:
    """The verdict on a claim from stored records alone. Raises NotMeasuredError where one is missing or stale."""
    run = StoredRun(store)
    verdict = judge_with(claim, budget, run)
    return verdict, [run.used[key] for key in sorted(run.used)]


def judge_with(claim: Claim, budget: Budget, run: StoredRun) -> ClaimVerdict:
    """The verdict on a claim with its altered statements, from what a run reads. Raises NotMeasuredError."""
    verdict = judge(claim, run, budget)
    # Where altered statements are not measured, the verdict stands without a score, and says so.
    with contextlib.suppress(NotMeasuredError):
        verdict = replace(verdict, controls=controls(claim, verdict, run, budget))
    return verdict


class StoredRun:
    """A `Run` that only reads, and keeps the records that it gave."""

    def __init__(self, store: Records) -> None:
        self.store = store
        self.used: dict[str, Record] = {}
        self.present_path = functools.cache(measuring_path)  # once per measurement: it reads the sources

    def __call__(self, tasks: Sequence[Task]) -> list[Values]:
        return [self.record_of(task).values for task in tasks]

    def record_of(self, task: Task) -> Record:
        """The current record of a task. Raises NotMeasuredError."""
        if task.key not in self.used:
            record = self.store.newest(task.key)
            if record is None or record.measuring_path != self.present_path(task.measurement):
                raise NotMeasuredError(task, record)
            self.used[task.key] = record
        return self.used[task.key]


def default_workers(budget: Budget) -> int:
    """One process per core on the CPU, one in all on a GPU."""
    if budget.device != "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
