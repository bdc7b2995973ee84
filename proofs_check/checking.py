"""Running checks: tasks of all claims first, in parallel, then the verdicts.

The verdicts are computed anew from the records each time: a record holds raw measurements only, so a changed
decision rule re-judges them, and only a changed measuring path measures again.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .claims.claim import Budget, Claim, ClaimVerdict, Run, Values, judge
from .records.measuring_path import measuring_path
from .records.plain_data import canonical_json
from .records.store import Record, RecordStore
from .records.tasks import Progress, Task, run_tasks
from .verdicts.verdict import Outcome, combine

EXIT_STATUS: Mapping[Outcome, int] = {"agrees": 0, "contradicts": 1, "inconclusive": 3}


@dataclass(frozen=True)
class CheckRun:
    """The verdicts on some claims, and the records that they were judged by."""

    budget: Budget
    verdicts: tuple[ClaimVerdict, ...]
    records: tuple[Record, ...]

    @property
    def exit_status(self) -> int:
        """0 all agree, 1 one is contradicted, 3 else."""
        return EXIT_STATUS[combine(verdict.outcome for verdict in self.verdicts)]

    def environments(self) -> list[dict[str, Any]]:
        """The distinct versions, devices and commits that the records come from."""
        distinct = {canonical_json(record.environment): dict(record.environment) for record in self.records}
        return [distinct[key] for key in sorted(distinct)]

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "profile": self.budget.profile,
            "device": self.budget.device,
            "seed": self.budget.seed,
            "claims": [
                {
                    "claim": v.identifier,
                    "outcome": v.outcome,
                    "checks": [one.as_plain() for one in v.verdicts],
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
    used: dict[str, Record] = {}

    def run(tasks: Sequence[Task]) -> list[Values]:
        found = run_tasks(tasks, store)
        used.update(found)
        return [found[task.key].values for task in tasks]

    tasks = [task for claim in claims for check in claim.checks for task in check.tasks(budget)]
    used.update(run_tasks(tasks, store, workers=workers or default_workers(budget), progress=progress))
    verdicts = tuple(judge(claim, run, budget) for claim in claims)
    return CheckRun(budget, verdicts, tuple(used[key] for key in sorted(used)))


class NotMeasuredError(LookupError):
    """A verdict was asked for whose records are not in the store."""


def judge_stored(claim: Claim, budget: Budget, store: RecordStore) -> tuple[ClaimVerdict, list[Record]]:
    """The verdict on a claim from stored records alone. Raises NotMeasuredError where one is missing or stale."""
    used: dict[str, Record] = {}
    verdict = judge(claim, stored_values(store, used), budget)
    return verdict, [used[key] for key in sorted(used)]


def stored_values(store: RecordStore, used: dict[str, Record]) -> Run:
    """A `run` that only reads; the records that it gave are collected in `used`."""

    present_path = functools.cache(measuring_path)  # once per measurement: it reads the sources

    def run(tasks: Sequence[Task]) -> list[Values]:
        for task in tasks:
            record = store.newest(task.key)
            if record is None or record.measuring_path != present_path(task.measurement):
                raise NotMeasuredError(f"{task.measurement} was not measured, or its code has changed since")
            used[task.key] = record
        return [used[task.key].values for task in tasks]

    return run


def default_workers(budget: Budget) -> int:
    """One process per core on the CPU, one in all on a GPU."""
    if budget.device != "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
