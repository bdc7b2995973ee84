r"""Status of a claim: how far it is derived, and what the stored records say about it at present.

Main statements
    derivation   stated, derived or certified (`levels`)
    evidence     none        a measurement that the checks need has no record
                 stale       all have one, but some were measured by code that has changed since
                 agrees, contradicts, inconclusive    the verdict of the present rules on the recorded raw values
Status is computed each time. A changed rule changes the verdict without a measurement; only a changed measuring path
makes a record stale, and then no verdict is given on it.
Records of other devices and profiles are told as further evidence, stale or not; they decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any, Literal

from .checking import EXIT_STATUS, NotMeasuredError, StoredRun, judge_stored
from .claims.audit import Audit, counted, in_words, level_in_words, outcome_of_run, outcomes_of
from .claims.claim import Budget, Claim, ClaimVerdict, budget_for, judge
from .levels import DERIVED, Level, Word, level_of
from .records.measuring_path import measuring_path
from .records.store import Record, Records
from .records.tasks import Task
from .verdicts.verdict import Outcome

EvidenceStatus = Literal["none", "stale", "agrees", "contradicts", "inconclusive"]
PROFILES, DEVICES = ("quick", "full"), ("cpu", "cuda")


@dataclass(frozen=True)
class Origin:
    """Records that come from one device and one commit.

    commit is None outside a checkout; `changed` says that its tree had uncommitted changes.
    """

    device: str
    commit: str | None
    changed: bool
    records: tuple[Record, ...]

    @property
    def oldest(self) -> str:
        return min(record.created for record in self.records)

    @property
    def newest(self) -> str:
        return max(record.created for record in self.records)

    @property
    def commit_text(self) -> str:
        """The commit in words."""
        if self.commit is None:
            return "an installed copy without commit"
        return f"commit {self.commit[:12]}" + (" with uncommitted changes" if self.changed else "")

    def __str__(self) -> str:
        return f"{self.device}, {self.commit_text}, {days(self.oldest, self.newest)}"

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        return {
            "device": self.device,
            "commit": self.commit,
            "uncommitted_changes": self.changed,
            "records": len(self.records),
            "oldest": self.oldest,
            "newest": self.newest,
        }


def days(oldest: str, newest: str) -> str:
    """The days between two times of ISO 8601.

    >>> days("2026-01-02T03:04:05+00:00", "2026-01-02T10:00:00+00:00")
    '2026-01-02'
    """
    first, last = oldest[:10], newest[:10]
    return first if first == last else f"{first} to {last}"


def origins(records: Iterable[Record]) -> list[Origin]:
    """The records by device and commit."""

    def place(record: Record) -> tuple[str, str, bool]:
        known = record.environment
        return str(known.get("device")), str(known.get("commit") or ""), bool(known.get("uncommitted_changes"))

    ordered = sorted(records, key=lambda record: (place(record), record.created, record.key))
    return [
        Origin(device, commit or None, changed, tuple(some))
        for (device, commit, changed), some in groupby(ordered, key=place)
    ]


@dataclass(frozen=True)
class Evidence:
    """What a store holds of the measurements that a claim's checks need at one budget, and the verdict on it.

    current     records of the present code; with a verdict exactly those that it used
    stale       newest records of the other measurements, made by code that has changed since
    missing     how many measurements have no record at all
    verdict     only where nothing is stale or missing
    """

    budget: Budget
    current: tuple[Record, ...]
    stale: tuple[Record, ...]
    missing: int
    verdict: ClaimVerdict | None = None

    @property
    def status(self) -> EvidenceStatus:
        if self.verdict is not None:
            return self.verdict.outcome
        return "stale" if self.stale and not self.missing else "none"

    @property
    def records(self) -> tuple[Record, ...]:
        return self.current + self.stale

    @property
    def needed(self) -> int:
        """How many measurements are known to be needed; what depends on others is known after these."""
        return len(self.records) + self.missing

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        dates = sorted(record.created for record in self.records)
        return {
            "profile": self.budget.profile,
            "device": self.budget.device,
            "seed": self.budget.seed,
            "evidence": self.status,
            "measurements": self.needed,
            "current": len(self.current),
            "stale": len(self.stale),
            "missing": self.missing,
            "oldest": dates[0] if dates else None,
            "newest": dates[-1] if dates else None,
            "origins": [origin.as_plain() for origin in origins(self.records)],
            "stale_records": [stale_as_plain(record) for record in self.stale],
        }


def stale_as_plain(record: Record) -> dict[str, Any]:
    """Which measurement is stale, and where it was made."""
    return {
        "key": record.key,
        "measurement": record.measurement,
        "commit": record.environment.get("commit"),
        "device": record.environment.get("device"),
        "created": record.created,
    }


@dataclass(frozen=True)
class ClaimStatus:
    """The status of one claim.

    further     evidence at other devices and profiles of which the store holds records; decides nothing
    """

    identifier: str
    failed_steps: tuple[str, ...]
    evidence: Evidence
    further: tuple[Evidence, ...] = ()
    level: Level = DERIVED
    audit: Audit | None = None

    @property
    def derivation(self) -> Word:
        return "stated" if self.failed_steps else self.level.word

    @property
    def outcome(self) -> Outcome:
        """A step that fails contradicts the claim; no or stale evidence decides nothing."""
        if self.failed_steps:
            return "contradicts"
        verdict = self.evidence.verdict
        return "inconclusive" if verdict is None else verdict.outcome

    @property
    def level_text(self) -> str:
        """The level with its engines; of an audit that of its counterexample."""
        return level_in_words(Level("stated") if self.failed_steps else self.level, self.audit)

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        verdict = self.evidence.verdict
        return {
            "claim": self.identifier,
            "derivation": self.derivation,
            "engines": list(self.level.engines),
            "failed_steps": list(self.failed_steps),
            **self.evidence.as_plain(),
            "checks": [] if verdict is None else [one.as_plain() for one in verdict.verdicts],
            "controls": None if verdict is None or verdict.controls is None else verdict.controls.as_plain(),
            "further": [one.as_plain() for one in self.further],
            "audit": None if self.audit is None else self.audit.as_plain(),
        }


@dataclass(frozen=True)
class StatusReport:
    """The status of some claims at one budget."""

    budget: Budget
    claims: tuple[ClaimStatus, ...]

    @property
    def exit_status(self) -> int:
        """0 all agree, 1 one is contradicted, 3 else: inconclusive, stale or not measured; audits as in `check`."""
        return EXIT_STATUS[outcome_of_run(self.claims)]

    def audits(self) -> dict[str, dict[str, str]]:
        """For every audited statement its state in words and what it counts for."""
        outcomes = outcomes_of(self.claims)
        return {
            one.identifier: {"in_words": in_words(one, outcomes), "counts_as": counted(one, outcomes)}
            for one in self.claims
            if one.audit is not None
        }

    def environments(self) -> list[dict[str, Any]]:
        """The environment of every record that the status rests on."""
        return [dict(record.environment) for claim in self.claims for record in claim.evidence.records]

    def as_plain(self) -> dict[str, Any]:
        """Strict JSON data."""
        claims = [claim.as_plain() for claim in self.claims]
        return {"claims": claims, "audits": self.audits(), "exit_status": self.exit_status}


def status_report(claims: Sequence[Claim], budget: Budget, records: Records) -> StatusReport:
    """Derive each claim anew and judge it by the records."""
    return StatusReport(budget, tuple(status_of(claim, budget, records) for claim in claims))


def status_of(claim: Claim, budget: Budget, records: Records) -> ClaimStatus:
    """The status of one claim, with its altered statements put to the checks again."""
    failed = tuple(claim.derivation().failures())
    found = evidence(claim, budget, records)
    further = tuple(further_evidence(claim, budget, records))
    return ClaimStatus(claim.identifier, failed, found, further, level_of(claim.derivation(), failed), claim.audit)


def evidence(claim: Claim, budget: Budget, records: Records, *, score: bool = True) -> Evidence:
    """What the records say about a claim; `score` adds the altered statements that its checks refused."""
    found = at_hand(claim, budget, records)
    if found.missing or found.stale:
        return found
    try:
        verdict, used = judged(claim, budget, records, score)
    except NotMeasuredError as error:  # of a measurement that depends on what others gave
        if error.stale is None:
            return replace(found, missing=1)
        return replace(found, stale=(error.stale,))
    return replace(found, current=tuple(used), verdict=verdict if used else None)  # no check, no evidence


def judged(claim: Claim, budget: Budget, records: Records, score: bool) -> tuple[ClaimVerdict, list[Record]]:
    if score:
        return judge_stored(claim, budget, records)
    run = StoredRun(records)
    verdict = judge(claim, run, budget)
    return verdict, list(run.used.values())


def at_hand(claim: Claim, budget: Budget, records: Records) -> Evidence:
    """The records of the measurements that can be made before anything is known, without a verdict."""
    present_path = cache(measuring_path)  # once per measurement: it reads the sources
    current, stale, missing = [], [], 0
    for key, task in tasks_of(claim, budget).items():
        record = records.newest(key)
        if record is None:
            missing += 1
        elif record.measuring_path == present_path(task.measurement):
            current.append(record)
        else:
            stale.append(record)
    return Evidence(budget, tuple(current), tuple(stale), missing)


def tasks_of(claim: Claim, budget: Budget) -> dict[str, Task]:
    """What a claim's checks measure before anything is known, by key."""
    return {task.key: task for check in claim.checks for task in check.tasks(budget)}


def further_evidence(claim: Claim, budget: Budget, records: Records) -> Iterator[Evidence]:
    """Evidence at the other profiles and devices of which the store holds records of their own.

    Budgets share measurements: one whose records are all among those of another tells nothing.
    """
    held: list[tuple[Budget, frozenset[str]]] = []
    for other in (budget, *other_budgets(budget)):
        keys = frozenset(key for key in tasks_of(claim, other) if records.newest(key) is not None)
        if not any(keys <= earlier for _, earlier in held):
            held = [one for one in held if one[0] == budget or not one[1] < keys] + [(other, keys)]
    for other, _ in held:
        if other != budget:
            yield evidence(claim, other, records, score=False)


def other_budgets(budget: Budget) -> Iterator[Budget]:
    """The budgets of the same seed at every other profile and device."""
    for profile in PROFILES:
        for device in DEVICES:
            if (profile, device) != (budget.profile, budget.device):
                yield budget_for(profile, device, budget.seed)


def holds_gpu_records(claims: Iterable[Claim], budget: Budget, records: Records) -> bool:
    """Whether there is a record of any of these claims' measurements on a GPU; exact ones are made on the CPU."""
    on_gpu = replace(budget, device="cuda")
    keys = (key for claim in claims for key, task in tasks_of(claim, on_gpu).items() if task.kind_of_device == "cuda")
    return any(records.newest(key) is not None for key in keys)
