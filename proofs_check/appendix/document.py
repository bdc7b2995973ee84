"""What the appendix says, gathered from derivations and records, and written in several formats.

Main statement
    The text depends on the derivations, their certificates, the stored records and the decision rules only: the same
    records and certificates give the same bytes.
Status is computed: derivation = stated, derived or certified (`levels`); evidence = the verdict, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..certificates.making import certificate_on
from ..certificates.proving import proved_on
from ..claims.audit import in_words, outcomes_of
from ..claims.claim import Budget, Claim
from ..levels import Level, level_by
from ..records.store import ReadRecords, Record, RecordStore
from .entry import ClaimEntry
from .judging import JudgedClaims, judged_claim


@dataclass(frozen=True)
class Document:
    """The whole appendix."""

    version: str
    budget: Budget
    entries: tuple[ClaimEntry, ...]

    @property
    def identifiers(self) -> list[str]:
        return [entry.identifier for entry in self.entries]

    def entry(self, identifier: str) -> ClaimEntry | None:
        """The entry of a claim, if it is in the document."""
        return next((entry for entry in self.entries if entry.identifier == identifier), None)

    def audit_in_words(self, entry: ClaimEntry) -> str:
        """The state of an audited statement beside the claim that corrects it; nothing for any other claim."""
        return in_words(entry, outcomes_of(self.entries))

    @property
    def records(self) -> list[Record]:
        """Every record that a verdict rests on, once, by key."""
        found = {record.key: record for entry in self.entries for record in entry.records}
        return [found[key] for key in sorted(found)]

    @property
    def environments(self) -> list[str]:
        """The distinct machines and versions that the records come from, in words."""
        found = {environment_text(record) for entry in self.entries for record in entry.records}
        return sorted(found)


def environment_text(record: Record) -> str:
    """Versions, device and commit of one record."""
    known = record.environment
    commit = known.get("commit") or "no checkout"
    changed = " with uncommitted changes" if known.get("uncommitted_changes") else ""
    return (
        f"Python {known.get('python')}, torch {known.get('torch')}, NumPy {known.get('numpy')}, "
        f"{known.get('platform')}, {known.get('device')}, commit {str(commit)[:12]}{changed}"
    )


def gather(claims: Sequence[Claim], budget: Budget, store: RecordStore | ReadRecords) -> Document:
    """Each claim as the stored records judge it; what the same code judged before on the same records is kept."""
    from iclcheck import __version__

    kept = JudgedClaims(budget)
    return Document(
        __version__, budget, tuple(with_level(judged_claim(claim, budget, store, kept)) for claim in claims)
    )


def with_level(entry: ClaimEntry) -> ClaimEntry:
    """The entry with the stored certificate of exactly its derivation, and the level that it has by it."""
    certificate = certificate_on(entry.identifier, entry.forms)
    coq = bool(certificate and proved_on(entry.identifier, entry.forms))
    level: Level = level_by(entry.failed_steps, certificate, coq)
    return replace(entry, level=level, certificate=certificate)
