"""The verb check: claims against trained weights. A model of the user's own: `judging`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..claims.claim import Budget, Claim, budget_for
from ..claims.parameters import UsageError, quoted
from ..claims.registry import all_claims, find, with_corrected
from .exit_status import reader_may_leave, say
from .printing import print_json, print_verdicts

if TYPE_CHECKING:
    from ..checking import CheckRun
    from ..records.store import RecordStore
    from ..records.tasks import Task

SMALLEST_GAP, LARGEST_GAP = 1e-5, 0.5  # of --detect: 1e-5 takes years, half of the prediction is no check
DEFAULT_STORE = Path(".iclcheck/records.sqlite")


@dataclass(frozen=True)
class RunOptions:
    """How and where to measure, as given on the command line."""

    profile: str
    device: str
    seed: int
    record: Path | None
    resume: bool
    workers: int | None
    detect: float | None = None

    def budget(self) -> Budget:
        """Raises UsageError for values that cannot be used."""
        if self.profile not in ("quick", "full"):
            raise UsageError(
                f"--profile needs quick or full, got {quoted(self.profile)}; quick takes minutes on 2 cores"
            )
        if self.workers is not None and self.workers < 1:
            raise UsageError(
                f"--workers needs a whole number of at least 1, got {self.workers}; leave it out for one per core"
            )
        budget = budget_for(self.profile, usable_device(self.device), self.seed)
        return budget if self.detect is None else self.scaled(budget, self.detect)

    def scaled(self, budget: Budget, gap: float) -> Budget:
        """The budget that catches a gap of this size. Raises UsageError."""
        from ..planning import budget_to_detect

        if not SMALLEST_GAP <= gap <= LARGEST_GAP:
            raise UsageError(
                f"--detect needs a gap between {SMALLEST_GAP:g} and {LARGEST_GAP:g}, relative to the prediction, got "
                f"{gap:g}; the quick profile has 0.01, the full one 0.001"
            )
        if self.profile != "quick":
            raise UsageError("--detect sets the size of the run itself; leave --profile out")
        return budget_to_detect(gap, budget)

    def store_path(self) -> Path:
        """Where the records go. Raises UsageError where a record folder would be mixed up."""
        if self.record is None:
            if self.resume:
                raise UsageError("--resume goes on from the records in a folder; name it with --record DIR")
            return DEFAULT_STORE
        path = self.record / "records.sqlite"
        if self.record.exists() and not self.record.is_dir():
            raise UsageError(f"--record needs a folder, {self.record} is a file; name another")
        if path.exists() and not self.resume:
            raise UsageError(f"{path} exists already; add --resume to go on from it, or name another folder")
        return path


def usable_device(device: str) -> str:
    """cpu or cuda; auto takes the GPU if there is one. Raises UsageError."""
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device needs auto, cpu or cuda, got {quoted(device)}; auto takes the GPU if there is one")
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError("--device cuda needs a GPU that torch can use, and there is none; use --device cpu")
    return "cpu"


def check_all(names: Sequence[str], options: RunOptions, as_json: bool) -> int:
    from ..checking import check_claims

    claims = with_corrected([find(name) for name in dict.fromkeys(names)]) or list(all_claims().values())
    budget, path = options.budget(), options.store_path()
    with opened_store(path) as store:
        announce(claims, budget, store)
        started = time.perf_counter()
        found = check_claims(claims, budget, store, workers=options.workers, progress=show_progress)
        keep_judged(claims, found, store)
        if options.record is not None:
            store.export_json(options.record / "records.json")
    with reader_may_leave():
        if as_json:
            print_json(found.as_plain())
        else:
            print_verdicts(found.verdicts)
            print(f"\n{time.perf_counter() - started:.0f} s; records in {path}")
            for line in other_versions(found.environments()):
                print(line)
    return found.exit_status


def keep_judged(claims: Sequence[Claim], found: CheckRun, store: RecordStore) -> None:
    """Keep what was judged, so that the appendix need not judge it again."""
    from ..appendix.judging import JudgedClaims, derived_entry, with_verdict

    kept, records = JudgedClaims(found.budget), {record.key: record for record in found.records}
    for claim, verdict in zip(claims, found.verdicts, strict=True):
        used = [records[key] for key in found.keys[claim.identifier]]
        if kept.keeps(claim) and kept.read(claim, store) is None:
            kept.write(claim, with_verdict(derived_entry(claim), verdict, used))


def other_versions(environments: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line for each library of which some records were measured with another version than is installed."""
    from ..records.environment import describe_environment

    present, known = describe_environment(), list(environments)
    lines = []
    for name in ("torch", "numpy"):
        others = sorted({str(one[name]) for one in known if one[name] != present[name]})
        if others:
            lines.append(f"some records were measured with {name} {', '.join(others)}, here is {present[name]}")
    return lines


def opened_store(path: Path) -> RecordStore:
    """The store at `path`. Raises UsageError where none can be opened or made."""
    import sqlite3

    from ..records.store import RecordStore

    try:
        return RecordStore(path)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"no records can be kept in {path} ({reason}); name another folder with --record DIR"
        ) from None


def announce(claims: Sequence[Claim], budget: Budget, store: RecordStore) -> None:
    """Say on stderr what will be measured; for long runs, about how long it takes."""
    from ..records.tasks import tasks_to_run

    tasks = distinct_tasks(claims, budget)
    waiting = tasks_to_run(list(tasks.values()), store)
    recorded = len(tasks) - len(waiting)
    say(f"{counted(len(claims), 'claim')}, {counted(len(tasks), 'measurement')}, {recorded} recorded already")
    if budget.profile == "full" and budget.device == "cpu" and waiting:
        minutes = sum(task.cost for task in waiting) / 60
        say(
            f"the full profile on a CPU: estimated {minutes:.0f} core-minutes; Ctrl-C loses no finished "
            "measurement, the same command goes on"
        )


def counted(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def distinct_tasks(claims: Sequence[Claim], budget: Budget) -> dict[str, Task]:
    """What these claims measure, by key: claims share tasks."""
    return {task.key: task for claim in claims for check in claim.checks for task in check.tasks(budget)}


def show_progress(done: int, total: int, seconds_left: float | None) -> None:
    """One line on stderr, rewritten in place on a terminal."""
    left = "" if seconds_left is None or done == total else f", about {max(1, round(seconds_left))} s left"
    text = f"measured {done} of {total}{left}"
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"\r{text:<60}", end="\n" if done == total else "", file=sys.stderr, flush=True)
    elif done % max(1, total // 8) == 0 or done == total:
        say(text)
