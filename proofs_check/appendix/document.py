"""What the appendix says, gathered from derivations and records, and written in two formats.

Main statement
    The text depends on the derivations, their certificates, the stored records and the decision rules only: the same
    records and certificates give the same bytes.
Status is computed: derivation = stated, derived or certified (`levels`); evidence = the verdict, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..certificates.making import certificate_behind
from ..checking import NotMeasuredError, judge_stored
from ..claims.audit import Audit, in_words, level_in_words, outcomes_of
from ..claims.claim import Budget, Claim, ClaimVerdict
from ..levels import DERIVED, Level, level_of
from ..records.store import Record, RecordStore
from ..verdicts.verdict import Outcome

if TYPE_CHECKING:
    from ...theory.algebra.derivations import Derivation


@dataclass(frozen=True)
class ClaimEntry:
    """One claim with its derivation and, where it was measured, its verdict and records.

    trusted     what its certificate leaves to trust; () without one
    """

    claim: Claim
    derivation: Derivation
    failed_steps: tuple[str, ...]
    verdict: ClaimVerdict | None
    records: tuple[Record, ...]
    level: Level = DERIVED
    trusted: tuple[str, ...] = ()

    @property
    def derivation_status(self) -> str:
        return level_in_words(Level("stated") if self.failed_steps else self.level, self.audit)

    @property
    def identifier(self) -> str:
        return self.claim.identifier

    @property
    def audit(self) -> Audit | None:
        return self.claim.audit

    @property
    def outcome(self) -> Outcome:
        """What is not measured decides nothing."""
        return self.verdict.outcome if self.verdict else "inconclusive"

    @property
    def evidence_status(self) -> str:
        return self.verdict.outcome if self.verdict else "none"


@dataclass(frozen=True)
class Document:
    """The whole appendix."""

    version: str
    budget: Budget
    entries: tuple[ClaimEntry, ...]

    @property
    def identifiers(self) -> list[str]:
        return [entry.claim.identifier for entry in self.entries]

    def entry(self, identifier: str) -> ClaimEntry | None:
        """The entry of a claim, if it is in the document."""
        return next((entry for entry in self.entries if entry.identifier == identifier), None)

    def audit_in_words(self, entry: ClaimEntry) -> str:
        """The state of an audited statement beside the claim that corrects it; nothing for any other claim."""
        return in_words(entry, outcomes_of(self.entries))

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


def gather(claims: Sequence[Claim], budget: Budget, store: RecordStore) -> Document:
    """Derive every claim anew and judge it from the stored records."""
    from iclcheck import __version__

    return Document(__version__, budget, tuple(entry_of(claim, budget, store) for claim in claims))


def entry_of(claim: Claim, budget: Budget, store: RecordStore) -> ClaimEntry:
    derivation = claim.derivation()
    failed = tuple(derivation.failures())
    level = level_of(derivation, failed)
    certificate = certificate_behind(derivation)
    trusted = tuple(certificate["trusted"]) if certificate else ()
    try:
        verdict, records = judge_stored(claim, budget, store)
    except NotMeasuredError:
        return ClaimEntry(claim, derivation, failed, None, (), level, trusted)
    return ClaimEntry(claim, derivation, failed, verdict, tuple(records), level, trusted)
