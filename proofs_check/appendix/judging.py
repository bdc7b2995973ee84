"""Judging a claim for the appendix, and keeping what came out.

Deriving all claims and putting their altered statements to the checks takes minutes. What comes out depends on the
code, the budget and the records alone, so it is kept with their hashes, and used again while these are the same.

Main statements
    judged_claim   equals what judging anew gives
    what is kept lies in the user's own folder, as certificates do, never beside the records that somebody sends;
    `iclcheck verify` does not read it
Limits
    Only the project's own claims are kept: the code of a user's claim lies in places that nobody here knows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..certificates.examining import seed_of
from ..certificates.forms import forms_of
from ..checking import NotMeasuredError, StoredRun, judge_with
from ..claims.claim import Budget, Claim, ClaimVerdict
from ..claims.registry import all_claims
from ..records.plain_data import content_hash
from ..records.store import ReadRecords, Record, Records, RecordStore
from ..records.whole_files import write_whole
from .entry import ClaimEntry, altered_statements, entry_as_plain, entry_from_plain, entry_of_derivation

DEFAULT_FOLDER = Path(".iclcheck") / "judged"
LIBRARIES = ("numpy", "scipy", "sympy")


def judged_claim(claim: Claim, budget: Budget, store: RecordStore | ReadRecords, kept: JudgedClaims) -> ClaimEntry:
    """The entry of a claim, with its records."""
    found = kept.read(claim, store)
    if found is None:
        found = judge_anew(claim, budget, store)
        kept.write(claim, found)
        # Through plain data, so that nobody can tell whether it was kept.
        found = replace(entry_from_plain(claim.identifier, entry_as_plain(found)), records=found.records)
    return found


def judge_anew(claim: Claim, budget: Budget, records: Records) -> ClaimEntry:
    """Derive a claim, and judge it from the records alone."""
    entry, run = derived_entry(claim), StoredRun(records)
    try:
        verdict = judge_with(claim, budget, run)
    except NotMeasuredError:
        return entry
    return with_verdict(entry, verdict, [run.used[key] for key in sorted(run.used)])


def derived_entry(claim: Claim) -> ClaimEntry:
    """The entry of a claim without evidence, made once for each of the project's own claims."""
    if all_claims().get(claim.identifier) is not claim:
        return derived_anew(claim)
    if claim.identifier not in _DERIVED:
        _DERIVED[claim.identifier] = derived_anew(claim)
    return _DERIVED[claim.identifier]


_DERIVED: dict[str, ClaimEntry] = {}


def derived_anew(claim: Claim) -> ClaimEntry:
    """The entry of a claim without evidence: every step with a check is checked."""
    derivation = claim.derivation()
    return entry_of_derivation(claim, derivation, tuple(derivation.failures()), seed_of(forms_of(derivation)))


def with_verdict(entry: ClaimEntry, verdict: ClaimVerdict, records: list[Record]) -> ClaimEntry:
    if not records:  # no check, no evidence
        return entry
    altered = altered_statements(verdict.controls)
    return replace(entry, verdicts=verdict.verdicts, altered=altered, records=tuple(records))


class JudgedClaims:
    """Entries that were judged at one budget, each kept in a file with the hashes that it depends on."""

    def __init__(self, budget: Budget, folder: Path | None = None) -> None:
        self.budget, self.folder = budget, folder or DEFAULT_FOLDER

    def key(self, claim: Claim) -> str:
        """The sha256 of everything but the records."""
        return content_hash([claim.identifier, asdict(self.budget), code_and_libraries()])

    def keeps(self, claim: Claim) -> bool:
        """Whether it is one of the project's own claims."""
        return all_claims().get(claim.identifier) is claim

    def path(self, claim: Claim) -> Path:
        return self.folder / f"{claim.identifier}.json"

    def read(self, claim: Claim, store: RecordStore | ReadRecords) -> ClaimEntry | None:
        """What is kept on a claim, if its records are those of the store; else None."""
        if not self.keeps(claim):
            return None
        try:
            found = json.loads(self.path(claim).read_text(encoding="utf-8"))
            if found["key"] != self.key(claim) or not store.holds(found["records"]):
                return None
            entry = entry_from_plain(claim.identifier, found["entry"])
        except (OSError, ValueError, LookupError, TypeError):  # none, or not what `write` wrote: judge anew
            return None
        records = (store.newest(key) for key in sorted(found["records"]))
        return replace(entry, records=tuple(record for record in records if record is not None))

    def write(self, claim: Claim, entry: ClaimEntry) -> None:
        """Keep an entry that is complete: what was not measured yet may be measured any time."""
        complete = entry.verdicts is not None and (entry.altered is not None or entry.audit is not None)
        if not complete or not self.keeps(claim):
            return
        plain: dict[str, Any] = {
            "key": self.key(claim),
            "entry": entry_as_plain(entry),
            "records": {record.key: record.sha256() for record in entry.records},
        }
        with contextlib.suppress(OSError):  # nothing is lost but time
            write_whole(self.path(claim), json.dumps(plain))


@cache
def code_and_libraries() -> str:
    """The sha256 of all code and data of the package, and of the versions of the libraries that judge."""
    digest = hashlib.sha256(f"{sys.version_info[:3]} {[library_version(name) for name in LIBRARIES]}".encode())
    for file in package_files():
        digest.update(f"{file.parent.name}/{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def package_files() -> list[Path]:
    """Python and JSON files of the three packages."""
    import iclcheck.numerics
    import iclcheck.proofs_check
    import iclcheck.theory

    packages = (iclcheck.theory, iclcheck.numerics, iclcheck.proofs_check)
    folders = [Path(str(package.__file__)).resolve().parent for package in packages]
    return [
        file
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.suffix in (".py", ".json") and file.is_file()
    ]


def library_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
