"""The verb status: what is derived, and what the records say at present."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from ..claims.claim import Budget, Claim
from ..claims.parameters import UsageError
from ..claims.registry import all_claims, claims_option, find
from .checking import DEFAULT_STORE, RunOptions, counted, opened_store, other_versions
from .exit_status import reader_may_leave, say
from .printing import paragraph, print_json, print_table

if TYPE_CHECKING:
    from ..records.store import ReadRecords, Record, Records, RecordStore
    from ..status import ClaimStatus, Evidence, StatusReport


def show_status(names: Sequence[str], records: Path | None, options: RunOptions, as_json: bool) -> int:
    from ..status import status_report

    claims = chosen(names)
    with readable_records(records) as (opened, path):
        budget = reading_budget(claims, options, opened)
        if path is not None:
            say(f"judging the records of {counted(len(claims), 'claim')}, each with its altered statements")
        report = status_report(claims, budget, opened)
    with reader_may_leave():
        if as_json:
            place = None if path is None else str(path)
            heading = {"profile": budget.profile, "device": budget.device, "seed": budget.seed, "records": place}
            print_json({**heading, **report.as_plain()})
        else:
            print_status(report, path)
    return report.exit_status


def chosen(names: Sequence[str]) -> list[Claim]:
    """The named claims, each once, or all. Raises UsageError."""
    return [find(name) for name in dict.fromkeys(names)] or list(all_claims().values())


@contextmanager
def readable_records(named: Path | None) -> Iterator[tuple[RecordStore | ReadRecords, Path | None]]:
    """The records to read and where they lie; without a name and a default store, none. Raises UsageError.

    A file that ends in .json is read as an export; nothing is made where nothing is.
    """
    from ..records.store import ReadRecords, read_records_json

    path = store_to_read(named)
    if path is None:
        yield ReadRecords(), None
    elif path.suffix == ".json":
        yield ReadRecords(read_records_json(path)), path
    else:
        with opened_store(path) as store:
            yield store, path


def store_to_read(named: Path | None) -> Path | None:
    """The store, or None if none was named and there is none yet. Raises UsageError for a name without a store."""
    if named is None:
        return DEFAULT_STORE if DEFAULT_STORE.exists() else None
    path = named / "records.sqlite" if named.is_dir() else named
    if not path.exists():
        raise UsageError(
            f"there are no records in {named}; name a store, a records.json or the folder of check --record"
        )
    return path


def reading_budget(claims: Sequence[Claim], options: RunOptions, records: Records) -> Budget:
    """The budget whose records are asked for.

    With --device auto and no record from a GPU it is the CPU's, without asking torch, which takes seconds to load.
    """
    from dataclasses import replace

    from ..status import holds_gpu_records

    if options.device != "auto" or holds_gpu_records(claims, replace(options, device="cpu").budget(), records):
        return options.budget()
    return replace(options, device="cpu").budget()


HEADINGS = ("claim", "derivation", "evidence", "altered statements", "records", "measured", "where")


def print_status(report: StatusReport, path: Path | None) -> None:
    """The table of claims, then what is to be said about single ones."""
    print_table(HEADINGS, (row_of(claim) for claim in report.claims))
    budget = report.budget
    where = "no store of records yet" if path is None else f"records in {path}"
    print(f"\n{where}; profile {budget.profile}, device {budget.device}, seed {budget.seed}")
    for line in other_versions(report.environments()):
        print(line)
    for line in remarks(report):
        print(paragraph(line, ""))
    lacking = [claim.identifier for claim in report.claims if claim.evidence.status in ("none", "stale")]
    if lacking:
        names = [] if len(lacking) == len(all_claims()) else lacking
        print(
            f"\nto measure what is missing or stale:\n  {measuring_command(names, budget, path)}"
        )  # not wrapped: to be copied


def row_of(claim: ClaimStatus) -> list[str]:
    """The cells of one claim; a row goes on below for each further device and commit."""
    from ..status import days, origins

    found = claim.evidence
    dates = sorted(record.created for record in found.records)
    return [
        claim.identifier,
        claim.level_text,
        found.status,
        altered_text(found),
        counts_text(found),
        days(dates[0], dates[-1]) if dates else "",
        "\n".join(f"{origin.device}, {origin.commit_text}" for origin in origins(found.records)),
    ]


def altered_text(found: Evidence) -> str:
    if found.verdict is None or found.verdict.audit is not None:
        return ""
    score = found.verdict.controls
    return "not measured" if score is None else f"{score.refused} of {len(score.results)} refused"


def counts_text(found: Evidence) -> str:
    """How many records there are, and how many of the needed ones where some are missing or stale.

    >>> from iclcheck.proofs_check.status import Evidence
    >>> from iclcheck.proofs_check.claims.claim import Budget
    >>> counts_text(Evidence(Budget(), (), (), 5))
    '0 of 5'
    """
    if found.missing:
        stale = f", {len(found.stale)} stale" if found.stale else ""
        return f"{len(found.records)} of {found.needed}{stale}"
    return f"{len(found.records)}, {len(found.stale)} stale" if found.stale else f"{len(found.records)}"


def remarks(report: StatusReport) -> Iterator[str]:
    """What does not fit the table: audits, failing steps, survivors, missing and stale records, other devices."""
    for name, state in report.audits().items():
        yield f"{name}: {state['in_words']}"
    for claim in report.claims:
        found, name = claim.evidence, claim.identifier
        for step in claim.failed_steps:
            yield f"{name}: the step {step!r} of the derivation fails; see iclcheck derive {name}{claims_option()}"
        yield from survivor_lines(name, found)
        if found.missing and found.records:
            yield f"{name}: {found.missing} of {found.needed} measurements have no record"
        yield from stale_lines(name, found)
    for claim in report.claims:
        yield from further_lines(claim)


def survivor_lines(name: str, found: Evidence) -> Iterator[str]:
    if found.verdict is not None and found.verdict.controls is not None:
        for survivor in found.verdict.controls.survivors:
            alike = f"differs by {survivor.mutant.difference:.2g}"
            yield f"{name}: an altered statement survived ({alike}): {survivor.mutant.description}"


def stale_lines(name: str, found: Evidence) -> Iterator[str]:
    """One line for each measurement with stale records: how many, and where they come from."""
    from ..status import origins

    for measurement, some in by_measurement(found.stale):
        places = "; ".join(map(str, origins(some)))
        yield f"{name}: stale, the code of {measurement} has changed: {counted(len(some), 'record')} ({places})"


def by_measurement(records: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    name = attrgetter("measurement")
    for measurement, some in groupby(sorted(records, key=name), key=name):
        yield measurement, list(some)


def further_lines(claim: ClaimStatus) -> Iterator[str]:
    """The evidence that the table leaves out: other profiles and devices. It decides nothing."""
    from ..status import origins

    for found in claim.further:
        places = "; ".join(map(str, origins(found.records)))
        at = f"profile {found.budget.profile}, device {found.budget.device}"
        yield f"{claim.identifier}, further evidence ({at}): {found.status}, records: {counts_text(found)} ({places})"


def measuring_command(names: Sequence[str], budget: Budget, path: Path | None) -> str:
    """The command that measures what lacks in the store at `path`; options only where they are not the default."""
    options = [f"--profile {budget.profile}"] if budget.profile != "quick" else []
    options += [f"--device {budget.device}"] if budget.device != "cpu" else []
    options += [f"--seed {budget.seed}"] if budget.seed else []
    if path is not None and path != DEFAULT_STORE:
        # check writes folders; an export, or a store by another name, is only read.
        own = path.name == "records.sqlite"
        options += [f"--record {shlex.quote(str(path.parent))} --resume" if own else "--record DIR"]
    return " ".join([f"iclcheck check{claims_option()}", *names, *options])
